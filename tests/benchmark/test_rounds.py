"""Costs of enlarging: real processes, on tiny images."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bgai.benchmark import rounds as bench
from bgai.benchmark.rounds import Case, Command, compare, measure, plan_cases
from bgai.errors import EngineError, UsageError
from bgai.weights.sources import SHIPPED


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "REST_SECONDS", 0)


def side(rounds: str, begin: str = "pass") -> Command:
    """A side that does as the code says at the beginning, and in each round."""
    code = f"""
import os, signal
from bgai.benchmark.side_process import serve
done = []
def run():
    done.append(0)
    {rounds}
def begin():
    {begin}
    return run, {{"version": "side 1.0"}}
serve(begin)
"""
    return [sys.executable, "-c", code]


def test_a_case_in_its_own_process() -> None:
    measured = measure(Case("bgai", 4, 20, 30), rounds=2)
    assert (measured.facts, len(measured.seconds)) == ({"engine": "openvino", "device": "cpu"}, 2)
    assert 0 < min(measured.seconds) < 10
    assert min(*measured.cpu_seconds, measured.start_seconds) > 0
    assert 50 * 2**20 < measured.peak_bytes < 2**31


def test_what_fails_there_is_told() -> None:
    with pytest.raises(EngineError, match=r"openvino on cuda at 30 x 20: .*OpenVINO runs on the CPU"):
        measure(Case("bgai", 4, 20, 30, "openvino", "cuda"))


def test_sides_alternate_after_warm_ups(tmp_path: Path) -> None:
    order = tmp_path / "order"
    commands = {name: side(f"print({name!r}, end='', file=open({str(order)!r}, 'a'))") for name in "ab"}
    seen: list[tuple[str, int, int]] = []
    found = compare("work", commands, 3, 2, progress=lambda *progress: seen.append(progress))
    assert order.read_text() == "aabb" + "ab" * 3
    assert [len(one.seconds) for one in found.sides] == [3, 3]
    assert (seen[0], seen[-1]) == (("work: a", 1, 10), ("work: b", 10, 10))


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_killed_side_is_reported_and_the_others_go_on() -> None:
    killed = side("len(done) < 3 or os.kill(os.getpid(), signal.SIGKILL)")
    found = compare("work", {"killed": killed, "other": side("pass")}, 3, 1)
    assert [len(one.seconds) for one in found.sides] == [1, 3]
    assert [one.error for one in found.sides] == ["killed by SIGKILL, most likely for want of memory", ""]
    assert found.sides[0].peak_bytes > 0


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (side("raise ValueError('two\\nlines')"), "two"),
        (side("raise MemoryError"), "MemoryError"),
        (side("pass", begin="import nothing_of_this_name"), "No module named 'nothing_of_this_name'"),
        ([sys.executable, "-c", "import sys; sys.exit('its own message')"], "its own message"),
        ([sys.executable, "-c", "import os; os._exit(3)"], "ended with 3"),
    ],
)
def test_why_a_side_failed(command: Command, error: str) -> None:
    measured = compare("work", {"side": command}, 1).sides[0]
    assert (measured.error, measured.seconds) == (error, ())


def test_what_libraries_print_is_no_answer() -> None:
    measured = compare("work", {"side": side("print('0.00%'); os.system('echo 1')")}, 2).sides[0]
    assert (measured.error, len(measured.seconds)) == ("", 2)
    assert measured.facts == {"version": "side 1.0"}


def test_variables_are_set_for_all_sides() -> None:
    command = side("pass", begin="assert os.environ['NUMBER'] == '1'")
    assert not compare("work", {"side": command}, 1, environment={"NUMBER": "1"}).sides[0].error


def test_no_rounds_are_refused() -> None:
    with pytest.raises(UsageError, match="0 rounds: expected 1 or more"):
        compare("work", {}, 0)


def test_the_short_set_is_measured_with_every_engine() -> None:
    planned = plan_cases()
    assert list(planned) == ["128 x 128 to 512 x 512", "256 x 256 to 1024 x 1024", "640 x 480 to 2560 x 1920"]
    assert all(list(sides) == ["openvino", "torch"] for sides in planned.values())
    assert [sides["torch"] for sides in planned.values()] == [
        Case("bgai", 4, height, width, "torch", tile=tile).command()
        for width, height, tile in ((128, 128, 0), (256, 256, 0), (640, 480, None))
    ]


def test_choices_reach_the_sides() -> None:
    weights = str(SHIPPED / "bgai_x2.safetensors")
    planned = plan_cases(["32x16"], weights=weights, engines=["torch", "openvino"], device="cpu", tile=112)
    assert planned == {
        "32 x 16 to 64 x 32": {
            name: Case(weights, 2, 16, 32, name, "cpu", 112).command() for name in ("torch", "openvino")
        }
    }
    both = plan_cases(["32x16"], engines=["openvino"], device="cpu", precisions=["float32", "half"])[
        "32 x 16 to 128 x 64"
    ]
    assert both == {
        "openvino": Case("bgai", 4, 16, 32, "openvino", "cpu", None).command(),
        "openvino, half": Case("bgai", 4, 16, 32, "openvino", "cpu", None, "half").command(),
    }
    assert [list(sides) for sides in plan_cases(tile=112).values()] == [["openvino", "torch"]] * 3


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
        plan_cases(**choices)  # type: ignore[arg-type]
