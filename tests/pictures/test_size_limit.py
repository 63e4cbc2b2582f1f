"""How large a picture may be."""

from __future__ import annotations

import pytest

from bgai.errors import ImageError
from bgai.pictures.size_limit import check_size


def test_up_to_the_limit() -> None:
    check_size(20, 10, "a.png", 200)
    with pytest.raises(ImageError, match=r"a\.png: 20 x 10 is more than the limit of 0\.000199 megapixels") as error:
        check_size(20, 10, "a.png", 199)
    assert error.value.parameter == "max_megapixels"


@pytest.mark.parametrize(("width", "height", "words"), [(0, 9, "damaged: 0 x 9"), (10**8, 1, "limit")])
def test_sizes_that_no_picture_has(width: int, height: int, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        check_size(width, height, "a.png", 2**62)
