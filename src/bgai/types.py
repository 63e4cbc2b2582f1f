"""Types that several rooms share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgai.choices import EngineName as EngineName
from bgai.choices import Precision as Precision

RgbImage = NDArray[np.uint8]
"""H x W x 3, of 0 to 255."""
Pixels = NDArray[Any]
"""H x W, or H x W x channels, uint8 or uint16."""
Plane = NDArray[np.float32]
"""H x W, or H x W x channels, in [0, 1]."""
Tiles = NDArray[np.float32]
"""B x 3 x h x w, RGB in [0, 1]."""
Tensors = dict[str, NDArray[np.float32]]
"""The weights of a network by their names in `bgai.network.model`."""
Size = tuple[int, int]
"""Height and width in pixels."""

PixelProgress = Callable[[int, int], None]
"""Called with the output pixels done and those in all."""
Progress = Callable[[str, int, int], None]
"""Called with the name of the step, the amount done and the total."""
