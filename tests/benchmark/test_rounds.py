"""Rounds of processes and of functions."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bgai.benchmark import rounds
from bgai.benchmark.rounds import Command, alternate, compare
from bgai.errors import UsageError


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "REST_SECONDS", 0)


def process(rounds: str, begin: str = "pass") -> Command:
    """A process that runs code at the beginning, and in each round."""
    code = f"""
import os, signal
from bgai.benchmark.worker import serve
done = []
def run():
    done.append(0)
    {rounds}
def begin():
    {begin}
    return run, {{"version": "1.0"}}
serve(begin)
"""
    return [sys.executable, "-c", code]


def test_processes_alternate_after_warm_ups(tmp_path: Path) -> None:
    order = tmp_path / "order"
    commands = {name: process(f"print({name!r}, end='', file=open({str(order)!r}, 'a'))") for name in "ab"}
    seen: list[tuple[str, int, int]] = []
    comparison = compare("work", commands, rounds=3, warm_ups=2, progress=lambda *progress: seen.append(progress))
    assert order.read_text() == "aabb" + "ab" * 3
    assert [len(result.seconds) for result in comparison.results] == [3, 3]
    assert (seen[0], seen[-1]) == (("work: a", 1, 10), ("work: b", 10, 10))


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_killed_process_is_reported_and_the_others_go_on() -> None:
    killed = process("len(done) < 3 or os.kill(os.getpid(), signal.SIGKILL)")
    comparison = compare("work", {"killed": killed, "other": process("pass")}, rounds=3, warm_ups=1)
    assert [len(result.seconds) for result in comparison.results] == [1, 3]
    assert [result.error for result in comparison.results] == ["killed by SIGKILL, most likely for want of memory", ""]
    assert comparison.results[0].peak_bytes > 0


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (process("raise ValueError('two\\nlines')"), "two"),
        (process("raise MemoryError"), "MemoryError"),
        (process("pass", begin="import nothing_of_this_name"), "No module named 'nothing_of_this_name'"),
        ([sys.executable, "-c", "import sys; sys.exit('its own message')"], "its own message"),
        ([sys.executable, "-c", "import os; os._exit(3)"], "ended with 3"),
    ],
)
def test_why_a_process_failed(command: Command, error: str) -> None:
    measured = compare("work", {"it": command}, rounds=1).results[0]
    assert (measured.error, measured.seconds) == (error, ())


def test_what_libraries_print_is_no_answer() -> None:
    measured = compare("work", {"it": process("print('0.00%'); os.system('echo 1')")}, rounds=2).results[0]
    assert (measured.error, len(measured.seconds)) == ("", 2)
    assert measured.facts == {"version": "1.0"}


def test_variables_are_set_for_all_processes() -> None:
    command = process("pass", begin="assert os.environ['NUMBER'] == '1'")
    assert not compare("work", {"it": command}, rounds=1, environment={"NUMBER": "1"}).results[0].error


def test_no_rounds_are_refused() -> None:
    with pytest.raises(UsageError, match="0 rounds: expected 1 or more"):
        compare("work", {}, rounds=0)


def test_functions_of_this_process_take_turns() -> None:
    order: list[str] = []
    seconds = alternate({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2, warm_ups=1)  # type: ignore[misc]
    assert "".join(order) == "ab" * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_a_function_that_fails_is_not_called_again() -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(0)
        if len(calls) == 2:
            raise MemoryError

    seconds = alternate({"fails": fail, "works": lambda: None}, rounds=3, warm_ups=1, errors=(MemoryError,))
    assert len(calls) == 2
    assert [len(seconds["fails"]), len(seconds["works"])] == [0, 3]
    calls.clear()
    with pytest.raises(MemoryError):
        alternate({"fails": fail}, rounds=3)
