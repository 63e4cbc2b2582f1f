"""What blur, noise and compression do to an image, and which of them are drawn for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import texture

from bgai.datasets.degradation import (
    Coding,
    Degradation,
    DegradationModel,
    DegradationPlan,
    add_noise,
    blur,
    degrade_whole,
    draw,
    jpeg,
    webp,
)
from bgai.evaluation.metrics import psnr
from bgai.options.sections import DegradationOptions
from bgai.types import RgbImage

EVERYTHING = {
    "clean": 0.2,
    "blur": {"probability": 0.5, "sigma": [0.3, 1.5]},
    "noise": {"probability": 0.4, "sigma": [1, 20], "grey": 0.3, "poisson": 0.6},
    "webp": {"probability": 0.25, "quality": [30, 90]},
    "jpeg": {"probability": 0.8, "quality": [25, 96], "subsampling": "either", "twice": 0.3},
}
JPEG_40 = {"jpeg": {"quality": 40}}


def model(values: dict[str, Any]) -> DegradationModel:
    return DegradationOptions.model_validate(values).model()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def grey(level: int, side: int = 96) -> RgbImage:
    return np.full((side, side, 3), level, np.uint8)


def photograph(height: int = 80, width: int = 96) -> RgbImage:
    """Smoother than a texture of every pixel, as pictures are."""
    return blur(texture(height, width), (1, 1))


def spread(image: RgbImage, angle: float) -> float:
    """Standard deviation of an image's light along a direction."""
    light = image[..., 0].astype(float)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    along = x * np.cos(angle) + y * np.sin(angle)
    centre = (light * along).sum() / light.sum()
    return float(np.sqrt((light * (along - centre) ** 2).sum() / light.sum()))


def point() -> RgbImage:
    image = np.zeros((41, 41, 3), np.uint8)
    image[18:23, 18:23] = 255
    return image


@pytest.mark.parametrize(("sigmas", "angle"), [((1.5, 1.5), 0.0), ((2.5, 1.0), 0.0), ((2.5, 1.0), np.pi / 3)])
def test_blur_spreads_as_much_as_it_says(sigmas: tuple[float, float], angle: float) -> None:
    found = blur(point(), sigmas, angle)
    for sigma, direction in zip(sigmas, (angle, angle + np.pi / 2), strict=True):
        added = spread(found, direction) ** 2 - spread(point(), direction) ** 2
        assert np.sqrt(added) == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_blur_keeps_the_mean_and_moves_nothing(angle: float) -> None:
    image = texture(60, 48)
    found = blur(image, (1.7, 0.6), angle)
    assert found.shape == image.shape
    assert found.mean() == pytest.approx(image.mean(), abs=0.2)
    turned = blur(image[::-1, ::-1], (1.7, 0.6), angle)[::-1, ::-1]
    assert np.abs(found.astype(int) - turned).max() <= 1
    np.testing.assert_array_equal(blur(grey(201), (2, 1), angle), grey(201))


@pytest.mark.parametrize("poisson", [False, True])
@pytest.mark.parametrize("sigma", [2, 20])
def test_noise_has_its_sigma_at_mid_grey(sigma: float, poisson: bool) -> None:
    found = add_noise(grey(128, 200), sigma, rng(), poisson=poisson)
    assert found.astype(float).std() == pytest.approx(np.hypot(sigma, np.sqrt(1 / 12)), rel=0.02)
    assert found.mean() == pytest.approx(128, abs=0.3)


def test_noise_does_not_wrap_around() -> None:
    assert add_noise(grey(255), 20, rng()).min() > 100
    assert add_noise(grey(0), 20, rng()).max() < 155


def test_poisson_noise_grows_with_brightness() -> None:
    dark, light = (add_noise(grey(level, 200), 5, rng(), poisson=True).astype(float).std() for level in (40, 160))
    assert light / dark == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("poisson", [False, True])
def test_grey_noise_is_the_same_for_all_colours(poisson: bool) -> None:
    noise = add_noise(grey(100), 6, rng(), grey=True, poisson=poisson).astype(int) - 100
    assert noise.std() > 4
    assert (noise == noise[..., :1]).all()
    coloured = add_noise(grey(100), 6, rng(), poisson=poisson).astype(int) - 100
    assert abs(np.corrcoef(coloured[..., 0].ravel(), coloured[..., 1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("code", [jpeg, webp])
def test_quality_acts(code: Callable[..., RgbImage]) -> None:
    image = photograph()
    found = [psnr(code(image, quality), image, 0) for quality in (95, 75, 50, 20)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] + 6


def test_subsampling_takes_colours_alone() -> None:
    image = grey(128)
    image[:, ::2, 0] = 200  # stripes of colour
    full, halved = (jpeg(image, 96, subsampled=subsampled).astype(int) for subsampled in (False, True))
    assert np.abs(full - image).mean() < 4
    assert np.abs(halved - image).mean() > 12
    stripes = np.repeat(texture(96, 96, 1), 3, axis=2)  # grey
    np.testing.assert_array_equal(jpeg(stripes, 80, subsampled=True), jpeg(stripes, 80, subsampled=False))


def first_block(image: RgbImage, axis: int) -> int:
    """Where the first block begins: the largest steps between rows (axis 0) or columns (1) lie 8 apart."""
    differences = np.abs(np.diff(image[..., 1].astype(int), axis=axis)).mean(axis=1 - axis)
    return (int(np.argmax([differences[start::8].mean() for start in range(8)])) + 1) % 8


@pytest.mark.parametrize("subsampled", [False, True])
@pytest.mark.parametrize("phase", [(0, 0), (3, 0), (0, 13), (7, 2), (15, 15)])
def test_blocks_lie_at_their_phase_and_the_image_stays(phase: tuple[int, int], subsampled: bool) -> None:
    y, x = np.mgrid[:80, :96]
    ramp = np.repeat((60 + x + y)[..., None], 3, axis=2).astype(np.uint8)
    found = jpeg(ramp, 5, subsampled=subsampled, phase=phase)
    assert found.shape == ramp.shape
    assert np.abs(found.astype(int) - ramp).mean() < 12
    assert [first_block(found, axis) for axis in (0, 1)] == [-phase[0] % 8, -phase[1] % 8]


@pytest.mark.parametrize("code", [jpeg, webp])
def test_coding_at_a_phase_moves_nothing(code: Callable[..., RgbImage]) -> None:
    image = photograph()
    for phase in ((0, 0), (5, 11)):
        found = code(image, 90, phase=phase)
        for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
            assert psnr(found, image, 1) > psnr(np.roll(found, shift, axis), image, 1) + 3


def test_what_is_drawn_has_its_shares() -> None:
    random = rng()
    drawn = [draw(model(EVERYTHING), random) for _ in range(4000)]
    clean = [degradation for degradation in drawn if degradation == Degradation()]
    expected = 0.2 + 0.8 * 0.5 * 0.6 * 0.75 * 0.2  # or nothing happened to be drawn
    assert len(clean) / 4000 == pytest.approx(expected, abs=0.03)
    blurs = [degradation.blur for degradation in drawn if degradation.blur]
    assert len(blurs) / 4000 == pytest.approx(0.8 * 0.5, abs=0.03)
    assert np.mean([degradation.sigmas[0] == degradation.sigmas[1] for degradation in blurs]) == pytest.approx(
        0.5, abs=0.05
    )
    assert {0.3 <= sigma <= 1.5 for degradation in blurs for sigma in degradation.sigmas} == {True}
    noises = [degradation.noise for degradation in drawn if degradation.noise]
    assert len(noises) / 4000 == pytest.approx(0.8 * 0.4, abs=0.03)
    assert np.mean([degradation.grey for degradation in noises]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([degradation.poisson for degradation in noises]) == pytest.approx(0.6, abs=0.05)
    jpegs = [degradation.codings for degradation in drawn if degradation.codings and degradation.codings[0].is_jpeg]
    webps = [degradation.codings for degradation in drawn if degradation.codings and not degradation.codings[0].is_jpeg]
    assert len(webps) / 4000 == pytest.approx(0.8 * 0.25, abs=0.03)
    assert len(jpegs) / 4000 == pytest.approx(0.8 * 0.75 * 0.8, abs=0.03)
    assert np.mean([len(codings) == 2 for codings in jpegs]) == pytest.approx(0.3, abs=0.05)
    assert {len(codings) for codings in webps} == {1}
    assert np.mean([codings[0].subsampled for codings in jpegs]) == pytest.approx(0.5, abs=0.05)
    qualities = {coding.quality for codings in jpegs for coding in codings}
    assert (min(qualities), max(qualities)) == (25, 96)


def phases(whole: bool) -> set[tuple[int, int]]:
    random = rng()
    drawn = [draw(model(EVERYTHING), random, whole=whole) for _ in range(4000)]
    return {coding.phase for degradation in drawn for coding in degradation.codings}


def test_blocks_begin_anywhere_in_patches_and_at_the_corner_of_whole_images() -> None:
    assert len(phases(whole=False)) > 0.95 * 16 * 16
    assert phases(whole=True) == {(0, 0)}


def test_a_fixed_degradation_is_what_it_says() -> None:
    image = photograph()
    np.testing.assert_array_equal(degrade_whole(image, model(JPEG_40), 0, "a"), jpeg(image, 40))
    full = {"jpeg": {"quality": 40, "subsampling": "4:4:4"}}
    np.testing.assert_array_equal(degrade_whole(image, model(full), 0, "a"), jpeg(image, 40, subsampled=False))
    np.testing.assert_array_equal(degrade_whole(image, model({"webp": {"quality": 60}}), 0, "a"), webp(image, 60))
    np.testing.assert_array_equal(degrade_whole(image, model({"blur": {"sigma": 1}}), 0, "a"), blur(image, (1, 1)))
    noisy = degrade_whole(grey(128), model({"noise": {"sigma": 20}}), 0, "a")
    assert noisy.astype(float).std() == pytest.approx(20, rel=0.03)


def test_the_order_is_blur_noise_compression() -> None:
    image = photograph()
    values = model({"blur": {"sigma": 2}, "noise": {"sigma": 10}, "jpeg": {"quality": 30}})
    drawn = draw(values, rng(), whole=True)
    assert drawn.blur
    step_by_step = jpeg(add_noise(blur(image, drawn.blur.sigmas, drawn.blur.angle), 10, rng(5)), 30)
    np.testing.assert_array_equal(drawn(image, rng(5)), step_by_step)


def test_whole_images_are_degraded_by_their_names_and_the_seed() -> None:
    image, noise = photograph(), model({"noise": {"sigma": 10}})
    found = degrade_whole(image, noise, 0, "a")
    np.testing.assert_array_equal(found, degrade_whole(image, noise, 0, "a"))
    assert (found != degrade_whole(image, noise, 0, "b")).any()
    assert (found != degrade_whole(image, noise, 1, "a")).any()


def test_a_plan_depends_on_seed_iteration_and_number_alone() -> None:
    patches = np.stack([texture(32, 32)] * 6)
    found = DegradationPlan(model(EVERYTHING), 3).degrade(patches, 9)
    np.testing.assert_array_equal(DegradationPlan(model(EVERYTHING), 3, first=4).degrade(patches[4:], 9), found[4:])
    assert (DegradationPlan(model(EVERYTHING), 3).degrade(patches, 10) != found).any()
    assert (DegradationPlan(model(EVERYTHING), 4).degrade(patches, 9) != found).any()


def test_the_second_encoding_is_another() -> None:
    twice = model({"jpeg": {"quality": [25, 96], "twice": 1}})
    first, second = draw(twice, rng()).codings
    assert first != second
    image = photograph()
    drawn = Degradation(codings=(Coding(True, 30, True, (3, 5)), Coding(True, 90, True, (0, 0))))
    np.testing.assert_array_equal(drawn(image, rng()), jpeg(jpeg(image, 30, phase=(3, 5)), 90))
