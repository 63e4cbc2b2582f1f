"""Training: what a step does, and that stops, kills and several processes change nothing."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support import save_repeating_graph, texture

from bgai.errors import BgaiError, EngineError, ImageError, OutputError, UsageError, WeightsError
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.network.vgg import VggFeatures
from bgai.options.training import TrainOptions
from bgai.provenance import commit
from bgai.training.batches import STOP_SIGNALS
from bgai.training.distributed import ProcessGroup
from bgai.training.log_files import read_records
from bgai.training.memory import FIXED_BYTES, saved_bytes
from bgai.training.run import train
from bgai.training.run_folder import load_state
from bgai.training.trainer import Trainer
from bgai.weights.catalogue import describe
from bgai.weights.checkpoint import load_network, save_network
from bgai.weights.history import read_history
from bgai.weights.reading import read_weights
from bgai.weights.safetensors_file import read_metadata
from bgai.weights.sources import find_weights

CPU = ProcessGroup(0, 1, torch.device("cpu"))
TINY = {"channels": 8, "broadcast_channels": 4, "local_channels": 2, "groups": 2}


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The option file of a training of seconds."""
    monkeypatch.chdir(tmp_path)
    for folder, count in (("photos", 4), ("validation", 1)):
        (tmp_path / folder).mkdir()
        for index in range(count):
            Image.fromarray(texture(70, 90, seed=index)).save(tmp_path / folder / f"{index}.png")
    return {
        "name": "run",
        "scale": 2,
        "num_gpu": 0,
        "network_g": TINY,
        "datasets": {
            "train": {
                "name": "photos",
                "dataroot_gt": str(tmp_path / "photos"),
                "gt_size": 32,
                "batch_size_per_gpu": 2,
                "in_memory": True,
            },
            "val": {"name": "validation", "dataroot_gt": str(tmp_path / "validation")},
        },
        "train": {
            "optim_g": {"lr": 1e-3},
            "scheduler": {"type": "CosineAnnealingLR"},
            "total_iter": 12,
            "ema_decay": 0.9,
        },
        "val": {
            "val_freq": 6,
            "val_at_start": False,
            "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}},
        },
        "logger": {"print_freq": 3, "save_checkpoint_freq": 5},
    }


def options(values: dict[str, Any], **more: Any) -> TrainOptions:
    """The option file, with sections replaced in part."""
    for key, value in more.items():
        values = {**values, key: {**values.get(key, {}), **value} if isinstance(value, dict) else value}
    return TrainOptions.model_validate(values)


def command(values: dict[str, Any], *arguments: str) -> list[str]:
    Path("options.yml").write_text(json.dumps(values))  # JSON is YAML
    return [sys.executable, "-m", "bgai", "train", "-opt", "options.yml", *arguments]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_training_leaves_weights_curves_and_pictures(values: dict[str, Any], tmp_path: Path) -> None:
    path = train(options(values))
    run = tmp_path / "experiments/run"
    assert path.resolve() == (run / "models/net_g_latest.safetensors").resolve()
    assert load_network(path).config == NetworkConfig(2, **TINY)
    assert {file.name for file in (run / "models").iterdir()} == {
        f"net_g_{name}.safetensors" for name in (5, 10, 12, "latest", "best")
    }
    assert [file.name for file in (run / "visualization/validation").iterdir()] == ["0_latest.png"]
    assert (run / "curves.png").stat().st_size > 10_000
    assert json.loads((run / "options.json").read_text())["train"]["total_iter"] == 12
    records = read_records(run / "log.jsonl")
    assert [record["iteration"] for record in records if "loss" in record] == [3, 6, 9, 12]
    assert [record["iteration"] for record in records if "validation" in record] == [6, 12]
    assert "iteration 12 of 12  loss" in (run / "train.log").read_text()


def test_validation_sets_are_degraded_as_they_say(values: dict[str, Any], tmp_path: Path) -> None:
    values["datasets"]["val_2"] = {
        **values["datasets"]["val"],
        "name": "compressed",
        "degradation": {"jpeg": {"quality": 15}},
    }
    train(options(values))
    scores = read_records(tmp_path / "experiments/run/log.jsonl")[-1]["validation"]
    assert scores["compressed"]["psnr"] < scores["validation"]["psnr"] - 1


def test_weights_tell_how_they_were_made(values: dict[str, Any]) -> None:
    metadata = read_metadata(train(options(values)))
    assert metadata["iterations"] == "12"
    assert metadata["data"] == "4 images, 0 megapixels"
    assert json.loads(metadata["options"])["train"]["ema_decay"] == 0.9
    assert str(Path.cwd()) not in metadata["options"]  # where things lay is nobody's business
    assert json.loads(metadata["validation"])["validation"]["psnr"] > 10
    assert "torch" in metadata["versions"]
    assert metadata["commit"] == commit()
    assert metadata["processes"] == "1"
    between = read_metadata("experiments/run/models/net_g_5.safetensors")
    assert "validation" not in between  # it was not measured


def test_weights_tell_of_the_trainings_before_theirs(taught: dict[str, Any], tmp_path: Path) -> None:
    first = train(options(taught, manual_seed=5))
    assert [(run.iterations, run.seed, run.start) for run in read_history(first)] == [(12, 5, None)]
    plain = {"total_iter": 6, "teacher": None, "optim_g": {"lr": 1e-4}}
    values = options(taught, name="second", train=plain, path={"pretrain_network_g": str(first)})
    second = train(values)
    before, last = read_history(second)
    assert before == read_history(first)[0]
    assert before.loss == "pixels 1, features 1, maps 0.3, output 1"
    assert (before.teacher, last.teacher, last.loss) == ("teacher.safetensors", None, "pixels 1")
    assert (last.iterations, last.start, last.scale) == (6, "net_g_latest.safetensors", 2)
    assert (last.data, last.commit) == ("4 images, 0 megapixels", commit())
    assert last.minutes == float(read_metadata(second)["minutes"])


def test_a_training_remembers_what_it_started_from(values: dict[str, Any], tmp_path: Path) -> None:
    start = {"path": {"pretrain_network_g": str(train(options(values)))}}
    state = Trainer(options(values, **start), CPU).state()
    save_network(BGAI(NetworkConfig(2, **TINY)), start["path"]["pretrain_network_g"])
    again = Trainer(options(values, **start), CPU)
    assert again.history == []
    again.restore(state)
    assert [run.iterations for run in again.history] == [12]


def test_a_state_tells_of_its_training(values: dict[str, Any], tmp_path: Path) -> None:
    first = train(options(values))
    train(options(values, name="second", train={"total_iter": 2}, path={"pretrain_network_g": str(first)}))
    entry = describe(tmp_path / "experiments/second/training_states/2.state")
    assert [run.iterations for run in entry.history] == [12]  # those before its own
    assert (entry.scale, entry.commit) == (2, commit())
    assert (entry.minutes or 0) >= entry.history[0].minutes


def test_degraded_data_is_told(values: dict[str, Any]) -> None:
    values["datasets"]["train"]["degradation"] = {"jpeg": {"quality": 15}}
    assert read_metadata(train(options(values)))["data"] == "4 images, 0 megapixels, degraded"


def test_steps_lower_the_loss(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values), CPU)
    lr = torch.rand(2, 3, 16, 16)
    hr = torch.nn.functional.interpolate(lr, scale_factor=2).flip(3)
    losses = [float(trainer.step(lr, hr)) for _ in range(10)]
    assert losses[-1] < losses[0]


def test_every_weight_is_trained_but_the_temperatures_that_have_no_map(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values), CPU)
    before = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    for _ in range(3):
        trainer.step(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
    unchanged = {name for name, tensor in trainer.network.state_dict().items() if torch.equal(tensor, before[name])}
    assert len(unchanged) == 8
    assert all(name.startswith("groups.0.") and name.endswith("temperature") for name in unchanged)


def test_the_average_follows_the_weights(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values), CPU)
    average = trainer.average.head.weight.clone()
    for iteration in range(1, 4):
        trainer.step(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
        decay = min(0.9, iteration / (iteration + 10))
        average = decay * average + (1 - decay) * trainer.network.head.weight.detach()
    torch.testing.assert_close(trainer.average.head.weight, average)


@pytest.mark.parametrize("loss", ["L1Loss", "MSELoss", "CharbonnierLoss"])
def test_the_option_file_chooses_the_loss(values: dict[str, Any], loss: str) -> None:
    train = {
        "pixel_opt": {"type": loss, "loss_weight": 2, "eps": 1e-2},
        "fft_opt": {"type": "FFTLoss", "loss_weight": 0.5},
    }
    trainer = Trainer(options(values, train=train), CPU)
    lr, hr = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
    difference = (trainer.network(lr) - hr).detach()
    assert trainer.terms == ["pixels", "frequencies"]
    pixels, frequencies = trainer.step(lr, hr).tolist()
    expected = {
        "L1Loss": difference.abs(),
        "MSELoss": difference**2,
        "CharbonnierLoss": (difference**2 + 1e-2).sqrt(),
    }[loss]
    assert pixels == pytest.approx(2 * float(expected.mean()), rel=1e-5)
    spectrum = torch.fft.fft2(difference)[..., :17]
    expected_frequencies = 0.5 * float((spectrum.real.abs() + spectrum.imag.abs()).mean()) / 2
    assert frequencies == pytest.approx(expected_frequencies, rel=1e-4)


def test_the_average_can_have_a_constant_decay(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values, train={"ema_warmup": False}), CPU)
    before = trainer.average.head.weight.clone()
    trainer.step(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
    expected = 0.9 * before + 0.1 * trainer.network.head.weight.detach()
    torch.testing.assert_close(trainer.average.head.weight, expected)


def test_the_log_says_the_rules_and_the_memory(values: dict[str, Any], tmp_path: Path) -> None:
    train(options(values, train={"total_iter": 3, "warmup_iter": 2}))
    log = (tmp_path / "experiments/run/train.log").read_text()
    assert "manual_seed 0, as none was given; ema_decay 0.9, at most n / (n + 10) after n iterations, 0.9 later" in log
    assert "the full rate is reached at iteration 2; no last batch of an epoch is dropped" in log
    assert " MiB  0:00:00 left" in log
    assert read_records(tmp_path / "experiments/run/log.jsonl")[0]["memory_mib"] > 50


def test_the_first_weights_are_validated_too(values: dict[str, Any], tmp_path: Path) -> None:
    values["val"]["val_at_start"] = True
    train(options(values, train={"total_iter": 5}))
    train(options(values, train={"total_iter": 7}), auto_resume=True)
    records = read_records(tmp_path / "experiments/run/log.jsonl")
    assert [record["iteration"] for record in records if "validation" in record] == [0, 5, 6, 7]


def test_the_first_weights_are_not_the_best_of_a_training(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([32.0, 31.0, 30.0])
    monkeypatch.setattr("bgai.training.monitor.validate", lambda *_: {"psnr": next(scores)})
    train(options(values, train={"total_iter": 1}, val={"val_at_start": True}))
    best = tmp_path / "experiments/run/models/net_g_best.safetensors"
    assert read_metadata(best)["iterations"] == "1"
    train(options(values, train={"total_iter": 2}), auto_resume=True)
    assert read_metadata(best)["iterations"] == "1"


def test_validation_is_no_part_of_the_speed(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0
    step = Trainer.step

    def stepping(self: Trainer, *batch: torch.Tensor) -> torch.Tensor:
        nonlocal seconds
        seconds += 0.5
        return step(self, *batch)

    def validating(*_: object) -> dict[str, float]:
        nonlocal seconds
        seconds += 30
        return {"psnr": 30.0}

    for module in ("run", "monitor"):
        monkeypatch.setattr(f"bgai.training.{module}.time", SimpleNamespace(monotonic=lambda: seconds))
    monkeypatch.setattr(Trainer, "step", stepping)
    monkeypatch.setattr("bgai.training.monitor.validate", validating)
    train(options(values, train={"total_iter": 6}, val={"val_freq": 1}, logger={"print_freq": 6}))
    (record,) = (record for record in read_records(tmp_path / "experiments/run/log.jsonl") if "loss" in record)
    assert record["images_per_second"] == 2 / 0.5


def test_gradients_are_clipped_to_a_norm(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values, train={"grad_clip": 1e-3}), CPU)
    trainer.step(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
    norm = torch.nn.utils.get_total_norm([p.grad for p in trainer.network.parameters() if p.grad is not None])
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_the_option_file_chooses_the_optimizer(values: dict[str, Any]) -> None:
    assert type(Trainer(options(values), CPU).optimizer) is torch.optim.Adam
    chosen = {"type": "AdamW", "lr": 1e-3, "betas": (0.8, 0.9), "weight_decay": 0.1}
    optimizer = Trainer(options(values, train={"optim_g": chosen}), CPU).optimizer
    assert type(optimizer) is torch.optim.AdamW
    (group,) = optimizer.param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.8, 0.9), 0.1)
    plain = {"type": "SGD", "lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    optimizer = Trainer(options({**values, "train": {**values["train"], "optim_g": plain}}), CPU).optimizer
    assert type(optimizer) is torch.optim.SGD
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 0.1)


def test_what_a_file_of_another_project_means_is_logged(values: dict[str, Any], tmp_path: Path) -> None:
    path = {"experiments_root": str(tmp_path / "elsewhere")}
    train(options(values, model_type="SwinIRModel", path=path, train={"total_iter": 1}))
    log = (tmp_path / "elsewhere/run/train.log").read_text()
    assert "note: model_type SwinIRModel: taken as SRModel" in log
    assert not (tmp_path / "experiments").exists()


def test_a_trial_has_something_to_see_after_a_few_iterations(values: dict[str, Any]) -> None:
    trial = options(values).for_trial()
    assert (trial.name, trial.val.val_freq) == ("debug_run", 8)
    assert (trial.logger.print_freq, trial.logger.save_checkpoint_freq) == (1, 8)


@pytest.mark.parametrize("low", [{"precision": "half"}, {"bfloat16": True}])
def test_half_computes_in_bfloat16_and_keeps_weights_in_float32(values: dict[str, Any], low: dict[str, Any]) -> None:
    trainer = Trainer(options(values, train=low), CPU)
    found = []
    trainer.network.head.register_forward_hook(lambda module, inputs, output: found.append(output.dtype))
    trainer.step(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
    assert found == [torch.bfloat16]
    assert trainer.network.head.weight.dtype == torch.float32


def test_compilation_is_asked_for(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(BGAI, "compile", lambda network: compiled.append(network))
    trainer = Trainer(options(values, train={"compile": True}), CPU)
    trainer.compile()
    assert compiled == [trainer.network]


def test_attending_without_maps_is_an_option(values: dict[str, Any]) -> None:
    batch = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
    trainers = [Trainer(options(values, train={"fused": fused}), CPU) for fused in (False, True, None)]
    with_maps, without, left_out = (
        [type(module).__name__ for module in trainer.network.modules()] for trainer in trainers
    )
    assert left_out == with_maps
    assert "WindowAttention" not in without
    assert list(trainers[0].state()["average"]) == list(trainers[1].state()["average"])
    losses = [[float(trainer.step(*batch)) for _ in range(3)] for trainer in trainers[:2]]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_seed_and_the_weight_of_the_loss_count(values: dict[str, Any]) -> None:
    batch = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
    losses = []
    for more in ({}, {}, {"manual_seed": 5}, {"train": {"pixel_opt": {"loss_weight": 3.0}}}):
        trainer = Trainer(options(values, **more), CPU)
        losses.append([float(trainer.step(*batch)) for _ in range(3)])
    first, again, other, heavy = losses
    assert first == again != other
    assert heavy[0] == pytest.approx(3 * first[0])


def test_no_average_is_the_network_itself(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values, train={"ema_decay": 0}), CPU)
    trainer.step(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
    assert torch.equal(trainer.average.head.weight, trainer.network.head.weight)


def test_a_state_has_all_that_is_needed_and_says_what_made_it(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values, train={"total_iter": None, "minutes": 1}), CPU)
    trainer.step(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
    trainer.spend(30.0)
    state = trainer.state()
    assert state["versions"].startswith("bgai ")
    assert json.loads(state["options"])["name"] == "run"
    drawn = torch.rand(3)
    again = Trainer(trainer.options, CPU)
    again.restore(state)
    assert (again.iteration, again.seconds, again.progress) == (1, 30.0, 0.5)
    assert torch.equal(torch.rand(3), drawn)


def test_settings_of_the_optimizer_are_those_of_the_file_not_of_the_state(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values), CPU)
    trainer.step(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
    again = Trainer(options(values, train={"optim_g": {"lr": 1e-3, "betas": (0.5, 0.6)}}), CPU)
    again.restore(trainer.state())
    assert again.optimizer.param_groups[0]["betas"] == (0.5, 0.6)
    momenta = again.optimizer.state_dict()["state"][0]["exp_avg"]
    assert torch.equal(momenta, trainer.optimizer.state_dict()["state"][0]["exp_avg"])


def test_pictures_are_kept_and_named_as_asked(values: dict[str, Any], tmp_path: Path) -> None:
    train(options(values, val={"save_img": True}))
    pictures = tmp_path / "experiments/run/visualization/validation"
    assert {path.name for path in pictures.iterdir()} == {"0_6.png", "0_12.png", "0_latest.png"}
    train(options(values, name="named", val={"suffix": "mine", "save_img": True}))
    assert (tmp_path / "experiments/named/visualization/validation/0_mine.png").exists()


def test_the_clock_can_set_the_saving(values: dict[str, Any], tmp_path: Path) -> None:
    logger = {"save_checkpoint_freq": 1000, "save_checkpoint_minutes": 1e-6}
    train(options(values, train={"total_iter": 3}, logger=logger))
    assert len(list((tmp_path / "experiments/run/training_states").iterdir())) == 3


def test_either_of_the_weights_in_a_released_file_can_be_the_start(shared: Path, values: dict[str, Any]) -> None:
    released = shared / "weights/official/BGAI_x2.pth"
    values.pop("network_g")
    for key in ("params", "params_ema"):
        path = {"pretrain_network_g": str(released), "param_key_g": key}
        trainer = Trainer(options(values, path=path), CPU)
        expected = torch.load(released, weights_only=True)[key]["conv_shallow.weight"]
        torch.testing.assert_close(trainer.network.shallow.weight.detach(), expected, atol=1e-7, rtol=0)


def test_the_clock_can_set_the_length(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(0, 0.25)
    monkeypatch.setattr("bgai.training.run.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    path = train(options(values, train={"total_iter": None, "minutes": 1 / 60}))
    assert read_metadata(path)["iterations"] == "4"


def test_weights_of_another_scale_start_a_training_if_allowed(values: dict[str, Any], tmp_path: Path) -> None:
    save_network(BGAI(NetworkConfig(4, **TINY)), tmp_path / "x4.safetensors")
    path = {"pretrain_network_g": str(tmp_path / "x4.safetensors")}
    with pytest.raises(WeightsError, match=r"Set path\.strict_load_g to false"):
        Trainer(options(values, path=path), CPU)
    trainer = Trainer(options(values, path={**path, "strict_load_g": False}), CPU)
    body = load_file(tmp_path / "x4.safetensors")
    assert torch.equal(trainer.network.fuse.weight, body["fuse.weight"])
    save_network(BGAI(NetworkConfig(2)), tmp_path / "x4.safetensors")
    with pytest.raises(WeightsError, match="of another shape"):
        Trainer(options(values, path={**path, "strict_load_g": False}), CPU)


# Stops


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "experiments/run/models/net_g_latest.safetensors")


def assert_equal_weights(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.fixture
def taught(values: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The option file, with a teacher of the same shape, and SOAP."""
    torch.manual_seed(9)
    save_network(BGAI(NetworkConfig(2, **TINY)), tmp_path / "teacher.safetensors")
    teacher = {"weights": str(tmp_path / "teacher.safetensors"), "features": 1, "maps": 0.3, "output": 1}
    optimizer = {"type": "SOAP", "lr": 3e-3, "betas": [0.9, 0.9]}
    return {**values, "train": {**values["train"], "teacher": teacher, "optim_g": optimizer}}


def test_a_teacher_is_learnt_from(taught: dict[str, Any], tmp_path: Path) -> None:
    taught["train"] |= {"total_iter": 60, "pixel_opt": {"loss_weight": 0}}
    metadata = read_metadata(train(options(taught)))
    assert metadata["teacher"] == "teacher.safetensors"
    assert str(tmp_path) not in "".join(metadata.values())
    records = read_records(tmp_path / "experiments/run/log.jsonl")
    first, *_, last = [record["terms"] for record in records if "terms" in record]
    assert set(first) == {"features", "maps", "output"}
    assert last["features"] < first["features"] / 2
    assert last["output"] < first["output"]
    assert "features" in (tmp_path / "experiments/run/train.log").read_text()


def test_a_teacher_of_another_shape_is_refused(taught: dict[str, Any], tmp_path: Path) -> None:
    save_network(BGAI(NetworkConfig(2)), tmp_path / "teacher.safetensors")
    with pytest.raises(WeightsError, match=r"train.teacher.weights teacher.safetensors: holds .*; expected"):
        train(options(taught))


@pytest.mark.parametrize("in_memory", [True, False])
def test_going_on_gives_the_same_weights_to_the_bit(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    degradation = {"noise": {"sigma": [1, 9]}, "jpeg": {"probability": 0.7, "quality": [30, 90]}}
    values["datasets"]["train"] |= {"in_memory": in_memory, "num_worker_per_gpu": 0, "degradation": degradation}
    assert_going_on_changes_nothing(values, tmp_path, monkeypatch)


def test_going_on_with_a_teacher_gives_the_same_weights_to_the_bit(
    taught: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_going_on_changes_nothing(taught, tmp_path, monkeypatch)
    state = load_state(tmp_path / "experiments/run/training_states/12.state")
    assert set(state["network"]) == set(load_file(tmp_path / "teacher.safetensors"))


def assert_going_on_changes_nothing(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(options(values))
    whole = final_weights(tmp_path)
    step = Trainer.step
    taken: list[torch.Tensor] = []

    def stop_after_eight(self: Trainer, *batch: torch.Tensor) -> torch.Tensor:
        if len(taken) == 8:
            raise KeyboardInterrupt
        taken.append(step(self, *batch))
        return taken[-1]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", stop_after_eight)
        train(options(values))
    train(options(values), auto_resume=True)
    assert "going on after iteration 5" in (tmp_path / "experiments/run/train.log").read_text()
    assert_equal_weights(final_weights(tmp_path), whole)


def test_every_checkpoint_leaves_weights_to_enlarge_with(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def killed(self: Trainer, *batch: torch.Tensor) -> torch.Tensor:
        if self.iteration == 7:
            raise SystemExit("killed")
        return step(self, *batch)

    monkeypatch.setattr(Trainer, "step", killed)
    with pytest.raises(SystemExit):
        train(options(values))
    run = tmp_path / "experiments/run"
    assert read_metadata(run / "models/net_g_latest.safetensors")["iterations"] == "5"
    assert (run / "curves.png").exists()
    config, tensors = read_weights(run / "training_states/5.state")
    assert config == NetworkConfig(2, **TINY)
    for name, tensor in load_file(run / "models/net_g_latest.safetensors").items():
        np.testing.assert_array_equal(tensors[name], tensor.numpy())
    assert find_weights(run / "training_states/5.state").name == "5.state"


@pytest.mark.parametrize(("better", "best"), [("higher", 2), ("lower", 3)])
def test_the_best_weights_on_the_validation_sets_are_kept(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: str, best: int
) -> None:
    scores = iter([30.0, 31.0, 29.0, 30.5])
    monkeypatch.setattr("bgai.training.monitor.validate", lambda *_: {"ssim": 0.5, "psnr": next(scores)})
    metrics = {name: {"type": f"calculate_{name}", "crop_border": 2, "better": better} for name in ("ssim", "psnr")}
    val = {"val_freq": 1, "metrics": metrics, "best_metric": "psnr"}
    train(options(values, train={"total_iter": 3}, val=val))
    file = tmp_path / "experiments/run/models/net_g_best.safetensors"
    assert read_metadata(file)["iterations"] == str(best)
    train(options(values, train={"total_iter": 4}, val=val), auto_resume=True)
    assert read_metadata(file)["iterations"] == str(best)  # what was best before the stop is remembered


def test_a_best_metric_has_to_be_one_of_the_metrics(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="best_metric 'lpips': expected one of psnr"):
        options(values, val={"best_metric": "lpips"})


@pytest.mark.parametrize("kind", ["plain", "taught", "half"])
def test_a_batch_in_parts_gives_what_the_whole_gives(values: dict[str, Any], taught: dict[str, Any], kind: str) -> None:
    chosen = taught if kind == "taught" else values
    more = {"precision": "half"} if kind == "half" else {}
    batch = torch.rand(5, 3, 16, 16), torch.rand(5, 3, 32, 32)
    batch[0][3] *= 0.1  # its variance alone is not that of the batch
    whole, parts = (Trainer(options(chosen, train={**more, "accumulate": n}), CPU) for n in (1, 3))
    for _ in range(2):
        rtol, atol = (2e-2, 1e-3) if kind == "half" else (2e-5, 1e-6)
        torch.testing.assert_close(parts.step(*batch), whole.step(*batch), rtol=rtol, atol=atol)
        for (name, ours), theirs in zip(parts.network.named_parameters(), whole.network.parameters(), strict=True):
            if ours.grad is not None:
                assert theirs.grad is not None
                error = (ours.grad - theirs.grad).norm() / theirs.grad.norm().clamp(min=1e-6)
                assert error < (0.1 if kind == "half" else 1e-4), name
        parts.network.load_state_dict(whole.network.state_dict())


def test_a_batch_that_does_not_fit_is_taken_in_parts(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = saved_bytes(Trainer(options(values), CPU)._forward_of_one_patch)
    assert needed > 100_000
    monkeypatch.setattr("bgai.training.trainer.free_bytes", lambda _: (FIXED_BYTES + 2 * needed) / 0.8)
    train(options(values, train={"total_iter": 5}))
    log = (tmp_path / "experiments/run/train.log").read_text()
    assert "note: a batch of 2 takes about 0.4 GiB, of which 0.5 are free" in log
    assert "it is computed in 2 parts, with the same result" in log
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    state = load_state(tmp_path / "experiments/run/training_states/5.state")
    trainer = Trainer(options(values), CPU)
    trainer.restore(state)
    assert trainer.fit_memory() is None
    assert trainer.parts == 2  # to the bit as before, though the whole would fit by now
    monkeypatch.setattr("bgai.training.trainer.free_bytes", lambda _: (FIXED_BYTES + needed) / 0.8)
    with pytest.raises(BgaiError, match=r"a patch takes about .* GiB, of which .* are free; lower"):
        trainer.fit_memory()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
    ],
)
def test_want_of_memory_is_one_line(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(Trainer, "step", Mock(side_effect=error))
    with pytest.raises(BgaiError, match=r"cpu: not enough memory; set train\.accumulate higher"):
        train(options(values))


def test_other_errors_are_not_taken_for_want_of_memory(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "step", Mock(side_effect=RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(options(values))


def test_weights_in_the_package_start_a_training(values: dict[str, Any], tmp_path: Path) -> None:
    values.pop("network_g")
    trainer = Trainer(options(values, path={"pretrain_network_g": "bgai"}), CPU)
    _, tensors = read_weights(find_weights("bgai", 2).file)
    np.testing.assert_allclose(trainer.network.shallow.weight.detach().numpy(), tensors["shallow.weight"], atol=1e-7)
    assert trainer.start == "bgai ×2"
    save_repeating_graph(tmp_path / "graph.onnx", 0)
    with pytest.raises(WeightsError, match=r"graph\.onnx: a graph cannot be trained"):
        Trainer(options(values, path={"pretrain_network_g": str(tmp_path / "graph.onnx")}), CPU)


def test_a_training_prints_nothing(values: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    train(options(values, train={"total_iter": 2}))
    assert capfd.readouterr() == ("", "")


def test_a_finished_training_stays_as_it_is(values: dict[str, Any], tmp_path: Path) -> None:
    train(options(values))
    whole = final_weights(tmp_path)
    latest = (tmp_path / "experiments/run/models/net_g_latest.safetensors").read_bytes()
    train(options(values), auto_resume=True)
    assert (tmp_path / "experiments/run/models/net_g_latest.safetensors").read_bytes() == latest
    assert_equal_weights(final_weights(tmp_path), whole)


@pytest.mark.slow
def test_kills_at_any_moment_change_nothing(values: dict[str, Any], tmp_path: Path) -> None:
    values["logger"] = {"print_freq": 1, "save_checkpoint_freq": 1}
    values["train"]["total_iter"] = 40
    train(options(values))
    whole = final_weights(tmp_path)
    (tmp_path / "experiments").rename(tmp_path / "whole")
    log = tmp_path / "experiments/run/log.jsonl"
    random = np.random.default_rng()
    for kill in range(3):
        process = subprocess.Popen(command(values, "--auto_resume"), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(read_records(log)) < 10 * (kill + 1):
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.wait()
        assert len(read_records(log)) < 40, "it must be killed before its end"
    subprocess.run(command(values, "--auto_resume"), env=ENVIRONMENT, check=True)
    assert_equal_weights(final_weights(tmp_path), whole)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_training_that_is_asked_to_stop_saves_and_goes_on(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    train(options(values))
    whole = final_weights(tmp_path)
    step = Trainer.step

    def asked(self: Trainer, *batch: torch.Tensor) -> torch.Tensor:
        if self.iteration == 6:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # as a closed terminal does: to the process, and to its group
        return step(self, *batch)

    run = tmp_path / "experiments/run"
    picture = run / "visualization/validation/0_latest.png"
    picture.unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("bgai.training.run.ONE_REQUEST_SECONDS", 3600)  # however slow this machine is
        patch.setattr(Trainer, "step", asked)
        train(options(values))
    assert picture.exists()
    assert "stopped after iteration 7" in (run / "train.log").read_text()
    stopped = load_file(run / "models/net_g_latest.safetensors")
    assert_equal_weights(stopped, load_file(run / "models/net_g_7.safetensors"))
    assert_equal_weights(stopped, load_state(run / "training_states/7.state")["average"])
    assert (run / "curves.png").exists()
    train(options(values), auto_resume=True)
    assert_equal_weights(final_weights(tmp_path), whole)


def test_a_given_state_is_taken_unless_there_are_newer_ones_to_resume(values: dict[str, Any], tmp_path: Path) -> None:
    train(options(values))
    whole = final_weights(tmp_path)
    states = tmp_path / "experiments/run/training_states"
    (states / "5.state").rename(tmp_path / "given.state")
    given = options(values, path={"resume_state": str(tmp_path / "given.state")})
    train(given)
    assert_equal_weights(final_weights(tmp_path), whole)
    assert {path.name for path in states.iterdir()} == {"10.state", "12.state"}
    (archive,) = (tmp_path / "experiments/run").glob("archived_*")
    assert {path.name for path in (archive / "training_states").iterdir()} == {"10.state", "12.state"}
    log = (tmp_path / "experiments/run/train.log").read_text()
    assert f"note: what was there of iterations after 5 is set aside in {archive.relative_to(tmp_path)}" in log
    train(given, auto_resume=True)
    assert "going on after iteration 12" in (tmp_path / "experiments/run/train.log").read_text()


def test_changed_options_are_noted(values: dict[str, Any], tmp_path: Path) -> None:
    train(options(values))
    train(options(values, manual_seed=3, train={"total_iter": 13}), auto_resume=True)
    log = (tmp_path / "experiments/run/train.log").read_text()
    assert "note: manual_seed was 0, is 3\n" in log
    assert "note: train.total_iter was 12, is 13\n" in log


@pytest.mark.slow
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_workers_leave_signals_to_the_training(values: dict[str, Any], tmp_path: Path, number: int) -> None:
    values["datasets"]["train"] |= {"in_memory": False, "num_worker_per_gpu": 1}
    values["train"]["total_iter"] = 10_000
    process = subprocess.Popen(command(values), env=ENVIRONMENT, start_new_session=True, stderr=subprocess.PIPE)
    while process.poll() is None and not read_records(tmp_path / "experiments/run/log.jsonl"):
        time.sleep(0.05)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert errors.decode().strip() == "bgai: stopped; what was finished is kept"
    assert "--auto_resume goes on from there" in (tmp_path / "experiments/run/train.log").read_text()


def test_the_state_of_another_network_is_refused(values: dict[str, Any]) -> None:
    train(options(values))
    with pytest.raises(WeightsError, match="another network or optimizer; give the training another name"):
        train(options(values, network_g={"channels": 12}), auto_resume=True)


# Failures


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def spoil(self: Trainer, lr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        return step(self, lr * torch.nan if self.iteration == 7 else lr, hr)

    monkeypatch.setattr(Trainer, "step", spoil)
    with pytest.raises(BgaiError, match=r"loss nan at iteration 9: lower train\.optim_g\.lr"):
        train(options(values))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    train(options(values), auto_resume=True)
    assert "going on after iteration 5" in (tmp_path / "experiments/run/train.log").read_text()


def test_weights_that_are_no_numbers_are_not_saved(values: dict[str, Any]) -> None:
    trainer = Trainer(options(values), CPU)
    with torch.no_grad():
        trainer.network.head.weight[0] = torch.inf
    with pytest.raises(BgaiError, match="weights that are not finite"):
        trainer.state()


def test_a_full_disk_stops_and_keeps_the_last_good_state(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if (self.parent / "5.state").exists():
            raise OSError(28, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patch, pytest.raises(OutputError, match=r"10\.state: .*No space left"):
        patch.setattr(Path, "write_bytes", full)
        train(options(values))
    train(options(values), auto_resume=True)
    assert "going on after iteration 5" in (tmp_path / "experiments/run/train.log").read_text()


def test_wrong_data_is_refused_before_anything_is_written(values: dict[str, Any], tmp_path: Path) -> None:
    values["datasets"]["val"]["dataroot_lq"] = str(tmp_path / "photos")
    with pytest.raises(ImageError, match="0 has 90 x 70 pixels; expected 45 x 35"):
        train(options(values))
    assert not (tmp_path / "experiments").exists()


def test_a_list_of_names_that_is_not_there_is_noted(values: dict[str, Any], tmp_path: Path) -> None:
    values["datasets"]["train"] |= {"meta_info_file": "basicsr/names.txt", "gt_size": 36}
    train(options(values, train={"total_iter": 1}))
    log = (tmp_path / "experiments/run/train.log").read_text()
    assert "names.txt: not there; all images of" in log
    assert "patches of 18 x 18 pixels at low resolution are padded to multiples of 16; 32 wastes nothing" in log


def test_a_gpu_that_is_not_there_is_said_so(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(EngineError, match="set num_gpu: 0 to train on the CPU"):
        train(options(values, num_gpu=1))


def test_the_launcher_must_fit(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="start with  torchrun"):
        train(options(values), launcher="pytorch")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="add --launcher pytorch"):
        train(options(values))


def test_images_smaller_than_a_patch_are_named(values: dict[str, Any], tmp_path: Path) -> None:
    Image.fromarray(texture(30, 90)).save(tmp_path / "photos/low.png")
    with pytest.raises(ImageError, match="smaller than a patch of 32 pixels are low; take"):
        train(options(values))


def test_a_kill_in_the_last_validation_costs_no_scores(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("bgai.training.monitor.validate", Mock(side_effect=KeyboardInterrupt))
        train(options(values, val={"val_freq": 100}))
    run = tmp_path / "experiments/run"
    assert "validation" not in read_metadata(run / "models/net_g_12.safetensors")  # the weights are there before it
    train(options(values, val={"val_freq": 100}), auto_resume=True)
    assert "validation" in read_metadata(run / "models/net_g_latest.safetensors")
    assert (run / "models/net_g_best.safetensors").exists()


def test_a_validation_that_fails_loses_nothing(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values["logger"]["save_checkpoint_freq"] = 6
    with monkeypatch.context() as patch, pytest.raises(ImageError, match="gone"):
        patch.setattr("bgai.training.monitor.validate", Mock(side_effect=ImageError("gone")))
        train(options(values))
    train(options(values), auto_resume=True)
    assert "going on after iteration 6" in (tmp_path / "experiments/run/train.log").read_text()


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(values: dict[str, Any], tmp_path: Path) -> None:
    values["logger"]["print_freq"] = 1
    values["train"]["scheduler"] = {"type": "MultiStepLR", "milestones": [9]}
    values["datasets"]["train"]["batch_size_per_gpu"] = 4
    train(options(values, name="one"))
    values["datasets"]["train"]["batch_size_per_gpu"] = 2
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = command(values, "--auto_resume", "--launcher", "pytorch")[1:]
    subprocess.run([*launch, *arguments, "--force_yml", "train:total_iter=6"], env=ENVIRONMENT, check=True)
    again = subprocess.run([*launch, *arguments], env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert "FutureWarning" not in again.stderr
    one, two = (
        [record["loss"] for record in read_records(tmp_path / f"experiments/{name}/log.jsonl") if "loss" in record]
        for name in ("one", "run")
    )
    assert len(two) == 12
    assert two == pytest.approx(one, rel=1e-4)
    assert len(list((tmp_path / "experiments").glob("run*"))) == 1


def perceptual(tmp_path: Path, **settings: Any) -> dict[str, Any]:
    """The section `perceptual_opt`, of a network of random weights."""
    torch.manual_seed(1)
    torch.save(VggFeatures("vgg11", ["relu1_1"]).state_dict(), tmp_path / "vgg.pth")
    shape = {"vgg_type": "vgg11", "layer_weights": {"relu1_1": 1}, "weights": str(tmp_path / "vgg.pth")}
    return {"type": "PerceptualLoss", **shape, "perceptual_weight": 0.5, "style_weight": 2, **settings}


def test_a_perceptual_loss_is_two_terms_with_their_weights(values: dict[str, Any], tmp_path: Path) -> None:
    batch = torch.rand(5, 3, 16, 16), torch.rand(5, 3, 32, 32)
    trainer, plain = (
        Trainer(options(values, train={"perceptual_opt": perceptual(tmp_path, **weights)}), CPU)
        for weights in ({}, {"perceptual_weight": 1, "style_weight": 1})
    )
    assert trainer.terms == ["pixels", "perceptual", "style"]
    terms, unweighted = trainer.step(*batch), plain.step(*batch)
    torch.testing.assert_close(terms, unweighted * torch.tensor([1, 0.5, 2]))
    assert len(trainer.state()["network"]) == len(trainer.network.state_dict())  # nothing of the other network
    parts = Trainer(options(values, train={"perceptual_opt": perceptual(tmp_path), "accumulate": 3}), CPU)
    torch.testing.assert_close(parts.step(*batch), terms, rtol=2e-5, atol=1e-6)


def test_a_norm_of_the_whole_batch_takes_no_parts(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = perceptual(tmp_path, criterion="fro")
    monkeypatch.setattr("bgai.training.trainer.free_bytes", lambda _: 1)
    assert Trainer(options(values, train={"perceptual_opt": section}), CPU).fit_memory() is None
    with pytest.raises(ValueError, match="accumulate: expected 1 with perceptual_opt"):
        options(values, train={"perceptual_opt": section, "accumulate": 2})


def test_weights_that_are_held_anyway_are_no_part_of_a_patch(values: dict[str, Any], tmp_path: Path) -> None:
    trainer = Trainer(options(values, train={"perceptual_opt": perceptual(tmp_path)}), CPU)
    held = trainer._objective.held_tensors()
    assert len(held) == len(list(trainer.network.parameters())) + 2
    assert saved_bytes(trainer._forward_of_one_patch, held) < saved_bytes(trainer._forward_of_one_patch) - 4 * 64 * 27


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_weights": {"conv9_9": 1}}, "vgg11 has no 'conv9_9'"),
        ({"layer_weights": {}}, "at least 1 item"),
        ({"perceptual_weight": 0, "style_weight": 0}, "expected a 'perceptual_weight' or a 'style_weight' above 0"),
        ({"weights": None}, "expected the file of vgg11"),
    ],
)
def test_what_a_perceptual_loss_cannot_be(
    values: dict[str, Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        options(values, train={"perceptual_opt": perceptual(tmp_path, **changes)})
