"""Figures of known networks."""

from __future__ import annotations

import pytest

from bgai.evaluation.published_figures import published, usual_name
from bgai.network.config import SCALES


@pytest.mark.parametrize("scale", SCALES)
def test_figures_are_of_the_kind_that_papers_have(scale: int) -> None:
    found = published(scale)
    assert len(found) > 10
    for network in found:
        assert network.source.startswith("https://")
        for psnr, ssim in network.scores.values():
            assert 22 < psnr < 41
            assert 0.65 < ssim < 0.99
    assert {"SwinIR-light", "IMDN"} <= {network.name for network in found}


def test_sets_are_known_by_several_names() -> None:
    assert [usual_name(name) for name in ("BSD100", "urban100", "B100", "mine")] == ["B100", "Urban100", "B100", None]
