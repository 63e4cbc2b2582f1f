"""The minimal training loop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import texture
from PIL import Image

from bgai.checkpoint import load_network, read_metadata
from bgai.config import NetworkConfig
from bgai.errors import BgaiError, ImageError, UsageError, WeightsError
from bgai.model import BGAI
from bgai.resize import imresize
from bgai.train import Run, TrainSettings, batches, learning_rate, load_pairs, start_from_interpolation, train


@pytest.fixture
def settings(tmp_path: Path) -> TrainSettings:
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.fromarray(texture(100, 90, seed=index)).save(tmp_path / f"photos/{index}.png")
    photos = (str(tmp_path / "photos"),)
    return TrainSettings(photos, str(tmp_path / "run"), scale=2, minutes=0.05, batch=2, patch=16)


def test_an_untrained_network_interpolates() -> None:
    torch.manual_seed(0)
    network = BGAI(NetworkConfig(4))
    start_from_interpolation(network)
    with torch.no_grad():  # leave the long skip connection alone
        network.refine.join.weight.zero_()
        network.refine.join.bias.zero_()
        network.head.weight[:, 3:] = 0
    ramp = torch.linspace(0, 1, 24).repeat(1, 3, 24, 1)
    with torch.inference_mode():
        enlarged = network(ramp)[0, :, 32:64, 32:64]
    expected = torch.nn.functional.interpolate(ramp, scale_factor=4, mode="bilinear")[0, :, 32:64, 32:64]
    torch.testing.assert_close(enlarged, expected, atol=1e-5, rtol=0)


def test_a_run_leaves_weights_that_tell_how_they_were_made(settings: TrainSettings) -> None:
    target = train(settings)
    assert load_network(target).config.scale == 2
    metadata = read_metadata(target)
    assert int(metadata["iterations"]) > 0
    assert "3 photographs" in metadata["data"]
    assert json.loads(metadata["settings"])["batch"] == 2
    assert "torch" in metadata["versions"]
    assert metadata["commit"]


def test_steps_lower_the_loss(settings: TrainSettings) -> None:
    run = Run(settings)
    lr = torch.rand(2, 3, 16, 16)
    hr = torch.nn.functional.interpolate(lr, scale_factor=2).flip(3)
    losses = []
    for _ in range(8):
        run.seconds += 0.1
        losses.append(run.take_step(lr, hr))
    assert losses[-1] < losses[0]


def test_a_stopped_run_goes_on(settings: TrainSettings) -> None:
    run = Run(settings)
    pair = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
    run.seconds = 1.0
    run.take_step(*pair)
    run.save()
    again = Run(settings)
    assert (again.step, again.seconds) == (1, 1.0)
    assert run.take_step(*pair) == again.take_step(*pair)
    for ours, theirs in zip(run.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_loss_that_is_no_number_stops_the_run(settings: TrainSettings) -> None:
    run = Run(settings)
    with pytest.raises(BgaiError, match="last good state is kept"):
        run.take_step(torch.full((1, 3, 16, 16), torch.nan), torch.zeros(1, 3, 32, 32))


def test_the_state_of_something_else_is_refused(settings: TrainSettings) -> None:
    Path(settings.out).mkdir()
    torch.save({"network": {}}, Path(settings.out) / "state.pt")
    with pytest.raises(WeightsError, match="choose another --out"):
        Run(settings)


def test_patches_match_and_repeat_with_their_seed(settings: TrainSettings) -> None:
    pairs = load_pairs(settings.photos, 2, 16)
    assert len(pairs) == 3
    lr, hr = next(batches(pairs, settings, step=0))
    again, _ = next(batches(pairs, settings, step=0))
    other, _ = next(batches(pairs, settings, step=1))
    assert (lr.shape, hr.shape) == ((2, 3, 16, 16), (2, 3, 32, 32))
    assert lr.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(lr, again)
    assert not torch.equal(lr, other)
    shrunk = imresize(hr[0].permute(1, 2, 0).numpy(), 1 / 2)
    assert np.abs(shrunk - lr[0].permute(1, 2, 0).numpy())[4:-4, 4:-4].max() < 0.02


def test_photographs_that_are_too_small_are_said_so(settings: TrainSettings) -> None:
    with pytest.raises(ImageError, match="at least 200 pixels"):
        load_pairs(settings.photos, 2, 100)


def test_the_learning_rate_rises_and_falls() -> None:
    settings = TrainSettings((), "", learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(settings, progress) for progress in (0, 0.05, 0.1, 0.55, 1)]
    assert rates == pytest.approx([0.01, 0.5, 1, 0.5, 0])


@pytest.mark.parametrize("wrong", [{"scale": 5}, {"minutes": 0}, {"batch": 0}, {"learning_rate": -1}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TrainSettings((), "", **wrong)
