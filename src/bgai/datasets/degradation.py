"""What cameras and the web do to pictures: blur, noise and lossy compression of low-resolution images.

What is done to an image depends on the seed it is given alone. Nothing moves: a pixel stays where it was.

Images are H x W x 3, uint8.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyvips
from numpy.typing import NDArray

from bgai.types import RgbImage

Phase = tuple[int, int]

BLOCK = 16
"""Side in pixels of the largest blocks: JPEG's at 4:2:0, where they are 8 x 8 of the halved colours, and WebP's."""
MID_GREY = 128
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as JPEG has it


def blur(image: RgbImage, sigmas: tuple[float, float], angle: float = 0) -> RgbImage:
    """Convolve with a Gaussian; what lies outside the image is its reflection.

    Args:
        image: H x W x 3.
        sigmas: Along the Gaussian's two axes, in pixels.
        angle: Of the first axis against the image's rows, in radians.
    """
    kernel = _gaussian(sigmas, angle)
    radius = len(kernel) // 2
    padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="symmetric").astype(np.float32)
    height, width = image.shape[:2]
    out = np.zeros(image.shape, np.float32)
    for (y, x), weight in np.ndenumerate(kernel):
        out += weight * padded[y : y + height, x : x + width]
    return _to_bytes(out)


def _gaussian(sigmas: tuple[float, float], angle: float) -> NDArray[np.float32]:
    radius = int(np.ceil(3 * max(sigmas)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-((along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2) / 2)
    normalised: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    return normalised


def add_noise(
    image: RgbImage, sigma: float, random: np.random.Generator, *, grey: bool = False, poisson: bool = False
) -> RgbImage:
    """Add noise whose standard deviation is `sigma` levels of 255.

    Args:
        image: H x W x 3.
        sigma: With `poisson`, that at mid-grey.
        random: Where the noise comes from.
        grey: The same for the three colours, instead of one for each.
        poisson: That of counted light, whose variance grows with brightness, instead of Gaussian noise.
    """
    light = image @ _LUMA[:, None] if grey else image.astype(np.float64)
    if poisson:
        gain = sigma**2 / MID_GREY  # levels for each count
        noise = random.poisson(light / gain) * gain - light
    else:
        noise = sigma * random.standard_normal(light.shape)
    return _to_bytes(image + noise)


def jpeg(image: RgbImage, quality: int, *, subsampled: bool = True, phase: Phase = (0, 0)) -> RgbImage:
    """Encode as JPEG and decode again.

    Args:
        image: H x W x 3.
        quality: 1 to 100.
        subsampled: 4:2:0, with half of the colours' rows and columns, instead of 4:4:4.
        phase: Where in a block the image's first row and column lie.
    """
    mode = "on" if subsampled else "off"
    data = _as_vips(_with_phase(image, phase)).jpegsave_buffer(Q=quality, subsample_mode=mode, keep="none")
    return _decoded(pyvips.Image.jpegload_buffer(data), phase)


def webp(image: RgbImage, quality: int, *, phase: Phase = (0, 0)) -> RgbImage:
    """Encode as lossy WebP and decode again; arguments as for `jpeg`."""
    data = _as_vips(_with_phase(image, phase)).webpsave_buffer(Q=quality, keep="none")
    return _decoded(pyvips.Image.webpload_buffer(data), phase)


def _with_phase(image: RgbImage, phase: Phase) -> RgbImage:
    """The image and, before it, so much of its reflection that blocks meet it at this phase."""
    top, left = phase
    return np.pad(image, ((top, 0), (left, 0), (0, 0)), mode="symmetric") if top or left else image


def _as_vips(image: RgbImage) -> pyvips.Image:
    height, width, channels = image.shape
    pixels = pyvips.Image.new_from_memory(np.ascontiguousarray(image).data, width, height, channels, "uchar")
    return pixels.copy(interpretation="srgb")


def _decoded(image: pyvips.Image, phase: Phase) -> RgbImage:
    pixels = np.frombuffer(image.write_to_memory(), np.uint8).reshape(image.height, image.width, image.bands)
    return pixels[phase[0] :, phase[1] :]


def _to_bytes(image: NDArray[Any]) -> RgbImage:
    pixels: RgbImage = np.rint(image).clip(0, 255).astype(np.uint8)
    return pixels


@dataclass(frozen=True, slots=True)
class Blur:
    """Arguments of `blur`."""

    sigmas: tuple[float, float]
    angle: float


@dataclass(frozen=True, slots=True)
class Noise:
    """Arguments of `add_noise`."""

    sigma: float
    grey: bool
    poisson: bool


@dataclass(frozen=True, slots=True)
class Coding:
    """Arguments of `jpeg`, or else of `webp`."""

    is_jpeg: bool
    quality: int
    subsampled: bool
    phase: Phase

    def __call__(self, image: RgbImage) -> RgbImage:
        if self.is_jpeg:
            return jpeg(image, self.quality, subsampled=self.subsampled, phase=self.phase)
        return webp(image, self.quality, phase=self.phase)


@dataclass(frozen=True, slots=True)
class Degradation:
    """What is done to one image, in this order; the default is nothing."""

    blur: Blur | None = None
    noise: Noise | None = None
    codings: tuple[Coding, ...] = ()

    def __call__(self, image: RgbImage, random: np.random.Generator) -> RgbImage:
        if self.blur:
            image = blur(image, self.blur.sigmas, self.blur.angle)
        if self.noise:
            image = add_noise(image, self.noise.sigma, random, grey=self.noise.grey, poisson=self.noise.poisson)
        for coding in self.codings:
            image = coding(image)
        return image


@dataclass(frozen=True, slots=True)
class BlurModel:
    """Distribution of `Blur`: round half of the time, else of two sigmas and turned by any angle."""

    sigma: tuple[float, float]
    """Lowest and highest, in pixels."""
    probability: float = 1


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Distribution of `Noise`."""

    sigma: tuple[float, float]
    """Lowest and highest, in levels of 255; of Poisson noise at mid-grey."""
    probability: float = 1
    grey: float = 0
    """Share of noise that is the same in the three colours."""
    poisson: float = 0
    """Share of Poisson noise; the rest is Gaussian."""


@dataclass(frozen=True, slots=True)
class WebpModel:
    """Distribution of `webp`'s qualities."""

    quality: tuple[int, int]
    """Lowest and highest, 1 to 100."""
    probability: float = 1
    """Of WebP instead of JPEG."""


@dataclass(frozen=True, slots=True)
class JpegModel:
    """Distribution of `jpeg`'s arguments."""

    quality: tuple[int, int]
    """Lowest and highest, 1 to 100."""
    probability: float = 1
    subsampling: Literal["4:2:0", "4:4:4", "either"] = "4:2:0"
    """`either` is each half of the time."""
    twice: float = 0
    """Share of these images that are encoded a second time, with a quality and a phase of its own."""


@dataclass(frozen=True, slots=True)
class DegradationModel:
    """The distribution that degradations of images are drawn from; the default does nothing."""

    clean: float = 0
    """Share of images that nothing is done to."""
    blur: BlurModel | None = None
    noise: NoiseModel | None = None
    webp: WebpModel | None = None
    jpeg: JpegModel | None = None


def draw(model: DegradationModel, random: np.random.Generator, *, whole: bool = False) -> Degradation:
    """Draw the degradation of one image.

    Args:
        model: The distribution to draw from.
        random: Source of randomness.
        whole: Blocks begin at the image's corner, as in a file of its own, instead of anywhere, as in a patch.
    """
    if _happens(model.clean, random):
        return Degradation()
    return Degradation(
        _draw_blur(model.blur, random), _draw_noise(model.noise, random), _draw_codings(model, random, whole)
    )


def _draw_blur(model: BlurModel | None, random: np.random.Generator) -> Blur | None:
    if model is None or not _happens(model.probability, random):
        return None
    first, second = random.uniform(*model.sigma, 2)
    round_one = _happens(0.5, random)
    return Blur((first, first if round_one else second), random.uniform(0, np.pi))


def _draw_noise(model: NoiseModel | None, random: np.random.Generator) -> Noise | None:
    if model is None or not _happens(model.probability, random):
        return None
    return Noise(random.uniform(*model.sigma), _happens(model.grey, random), _happens(model.poisson, random))


def _draw_codings(model: DegradationModel, random: np.random.Generator, whole: bool) -> tuple[Coding, ...]:
    if model.webp is not None and _happens(model.webp.probability, random):
        return (_draw_coding(model.webp, random, whole),)
    if model.jpeg is not None and _happens(model.jpeg.probability, random):
        times = 1 + _happens(model.jpeg.twice, random)
        return tuple(_draw_coding(model.jpeg, random, whole) for _ in range(times))
    return ()


def _draw_coding(model: JpegModel | WebpModel, random: np.random.Generator, whole: bool) -> Coding:
    quality = int(random.integers(*model.quality, endpoint=True))
    top, left = random.integers(BLOCK, size=2).tolist()
    phase = (0, 0) if whole else (top, left)
    if isinstance(model, WebpModel):
        return Coding(False, quality, True, phase)
    subsampled = _happens(0.5, random) if model.subsampling == "either" else model.subsampling == "4:2:0"
    return Coding(True, quality, subsampled, phase)


def _happens(probability: float, random: np.random.Generator) -> bool:
    return bool(random.random() < probability)


class DegradationPlan:
    """Degrades the patches of a training: each depends on the seed, the iteration and its number in the batch.

    Args:
        model: The distribution to draw from.
        seed: Of the training.
        first: The number of this process's first patch in the batch of all processes.
    """

    def __init__(self, model: DegradationModel, seed: int, first: int = 0) -> None:
        self._model, self._seed, self._first = model, seed, first

    def degrade(self, patches: RgbImage, iteration: int) -> RgbImage:
        """The patches of an iteration, B x p x p x 3 in and out, whose orientation is that of the training."""
        return np.stack([self._degraded(patch, iteration, number) for number, patch in enumerate(patches)])

    def _degraded(self, patch: RgbImage, iteration: int, number: int) -> RgbImage:
        random = np.random.default_rng((self._seed, 2, iteration, self._first + number))
        return draw(self._model, random)(patch, random)


def degrade_whole(image: RgbImage, model: DegradationModel, seed: int, name: str) -> RgbImage:
    """Degrade a whole image by the seed and its name: the same each time."""
    random = np.random.default_rng((seed, zlib.crc32(name.encode())))
    return draw(model, random, whole=True)(image, random)
