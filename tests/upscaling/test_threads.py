"""Upscalers in several threads at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from support import NATIVE, texture

from bgai.types import EngineName
from bgai.upscaling.upscaler import Upscaler

SIZES = ((33, 40), (48, 40), (33, 40), (21, 64))
ROUNDS = 4


@pytest.fixture(autouse=True)
def _threads_that_alternate_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def run_together(tasks: Sequence[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("engine", ["openvino", "torch", NATIVE])
@pytest.mark.parametrize("count", [1, 2])
def test_threads_get_their_own_pixels(engine: EngineName, count: int) -> None:
    upscalers = [Upscaler(2, engine=engine, device="cpu") for _ in range(count)]
    images = [texture(*size, seed=seed) for seed, size in enumerate(SIZES)]
    expected = [Upscaler(2, engine=engine, device="cpu").upscale(image) for image in images]

    def enlarge(index: int) -> None:
        for _ in range(ROUNDS):
            result = upscalers[index % count].upscale(images[index])
            np.testing.assert_array_equal(result, expected[index])

    run_together([lambda index=index: enlarge(index) for index in range(len(images))])  # type: ignore[misc]


@pytest.mark.parametrize("engine", ["openvino", NATIVE])
def test_memory_is_given_back_while_others_enlarge(engine: EngineName) -> None:
    upscaler = Upscaler(2, engine=engine, tile=48, halo=16)
    images = [texture(70, 40, seed=seed) for seed in range(2)]
    expected = [upscaler.upscale(image) for image in images]

    def enlarge(index: int) -> None:
        for _ in range(ROUNDS):
            np.testing.assert_array_equal(upscaler.upscale(images[index]), expected[index])

    def tidy() -> None:
        for _ in range(5 * ROUNDS):
            upscaler.engine.release()
            upscaler.engine.rest()

    run_together([lambda: enlarge(0), lambda: enlarge(1), tidy])
