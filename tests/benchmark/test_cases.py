"""Engines measured in their own processes, on tiny images."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import CPU_ENGINE, NEEDS_COMPILER

from bgai.benchmark import rounds
from bgai.benchmark.cases import Case, Settings, measure, plan
from bgai.errors import EngineError, UsageError
from bgai.weights.sources import SHIPPED

HERE = list(dict.fromkeys(["openvino", CPU_ENGINE, "torch"]))


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "REST_SECONDS", 0)


def test_a_case_in_its_own_process() -> None:
    measured = measure(Case("bgai", 4, 20, 30), rounds=2)
    assert (measured.facts, len(measured.seconds)) == ({"engine": CPU_ENGINE, "device": "cpu"}, 2)
    assert 0 < min(measured.seconds) < 10
    assert min(*measured.cpu_seconds, measured.start_seconds) > 0
    assert 50 * 2**20 < measured.peak_bytes < 2**31


def test_nothing_of_the_current_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "json", "bgai"):
        (tmp_path / f"{name}.py").write_text("open('run', 'w'); raise SystemExit", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert measure(Case("bgai", 4, 8, 8), rounds=1).seconds
    assert not (tmp_path / "run").exists()


def test_what_fails_there_is_told() -> None:
    with pytest.raises(EngineError, match=r"openvino on cuda at 30 x 20: .*OpenVINO runs on the CPU"):
        measure(Case("bgai", 4, 20, 30, "openvino", "cuda"))


def test_the_short_set_is_measured_with_every_engine() -> None:
    planned = plan(Settings())
    assert list(planned) == ["128 x 128 to 512 x 512", "256 x 256 to 1024 x 1024", "640 x 480 to 2560 x 1920"]
    assert all(list(commands) == HERE for commands in planned.values())
    assert [commands["torch"] for commands in planned.values()] == [
        Case("bgai", 4, height, width, "torch", tile=tile).command()
        for width, height, tile in ((128, 128, 0), (256, 256, 0), (640, 480, None))
    ]


@NEEDS_COMPILER
def test_the_engine_native_is_measured() -> None:
    measured = measure(Case("bgai", 4, 16, 32, "native"), rounds=1)
    assert measured.facts == {"engine": "native", "device": "cpu"}


def test_engines_that_are_not_named_run_in_the_precisions_that_they_have() -> None:
    settings = Settings(sizes=["32x16"], device="cpu", precisions=["float32", "half"])
    (commands,) = plan(settings).values()
    halves = {name: [f"{name}, half"] for name in ("openvino", "native")}
    assert list(commands) == [each for name in HERE for each in (name, *halves.get(name, []))]


def test_choices_reach_the_processes() -> None:
    weights = str(SHIPPED / "bgai_x2.safetensors")
    planned = plan(Settings(sizes=["32x16"], weights=weights, engines=["torch", "openvino"], device="cpu", tile=112))
    assert planned == {
        "32 x 16 to 64 x 32": {
            name: Case(weights, 2, 16, 32, name, "cpu", 112).command() for name in ("torch", "openvino")
        }
    }
    both = plan(Settings(sizes=["32x16"], engines=["openvino"], device="cpu", precisions=["float32", "half"]))[
        "32 x 16 to 128 x 64"
    ]
    assert both == {
        "openvino": Case("bgai", 4, 16, 32, "openvino", "cpu", None).command(),
        "openvino, half": Case("bgai", 4, 16, 32, "openvino", "cpu", None, "half").command(),
    }
    assert [list(commands) for commands in plan(Settings(tile=112)).values()] == [HERE] * 3


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"sizes": ["64"]}, "size '64': expected WIDTHxHEIGHT in pixels, such as 640x480"),
        ({"sizes": ["0x64"]}, "size '0x64'"),
        ({"engines": ["openvino", "magic"]}, "engine 'magic'"),
        ({"engines": ["openvino"], "device": "cuda"}, "OpenVINO runs on the CPU"),
        ({"device": "nowhere"}, "device 'nowhere' cannot be used"),
        ({"tile": 100}, "tile 100: expected a multiple of 16"),
        ({"precisions": ["int8"]}, "precision 'int8': expected one of float32, half"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_measured(choices: dict[str, object], message: str) -> None:
    with pytest.raises((UsageError, EngineError), match=message):
        plan(Settings(**choices))  # type: ignore[arg-type]
