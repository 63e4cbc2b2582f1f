"""Pictures spread over the machines of a Ray cluster, by Ray Data.

Ray decides what runs where, starts and restarts worker processes, and gives the pictures of a process or machine that
is gone to others. A picture whose process ends each time it is tried is a failure of that picture.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgai._version import __version__
from bgai.cluster.picture import Outcome, enlarge_picture
from bgai.errors import BgaiError, EngineError, MissingExtraError, UsageError
from bgai.types import EngineName, Precision
from bgai.upscaling.batch import NamedPicture, OutputSettings
from bgai.upscaling.fitting import AnyUpscaler, open_upscalers
from bgai.upscaling.memory_plan import COMMAND_MEMORY
from bgai.weights.sources import SHIPPED_NAMES, find_weights

MOST_BLOCKS = 20_000
"""Of pictures that go to a process together: each costs the driver some milliseconds."""
_RETRIES = 2  # of a block, after its process has ended
_OBJECT_STORE_BYTES = 80 * 2**20  # of a cluster that is this machine alone; names of pictures are all that it holds
_CONNECT_SECONDS = 10.0
_LOCAL = "local"
_RAY_BYTES = 2**28  # of each process, for Ray


@dataclass(frozen=True, slots=True)
class Opening:
    """How each worker process opens its upscaler; arguments are those of `bgai.Upscaler` and `upscale_file`."""

    scale: int | None = None
    weights: str | Path = "auto"
    clean: float | None = None
    engine: EngineName = "auto"
    device: str = "auto"
    precision: Precision = "float32"
    tile: int | None = None
    halo: int | None = None
    compile: bool = False
    memory: int | None = COMMAND_MEMORY
    """Also what tiles depend on: the same on all machines of a cluster, so that the results are the same."""
    sized: bool = False
    """Whether each picture gets the scale that its size needs."""

    def find_scale(self) -> int | None:
        """That of the upscaler, None if it has none of its own; opened only for weights of a file.

        Raises:
            BgaiError: There are no such weights.
        """
        if self.weights not in ("auto", *SHIPPED_NAMES, "official"):
            return self.open().scale
        find_weights(None if self.weights in ("auto", "official") else self.weights, self.scale, self.clean)
        return None if self.sized else self.scale or 4

    def open(self) -> AnyUpscaler:
        """The upscaler.

        Raises:
            BgaiError: It cannot be opened on this machine.
        """
        from bgai.upscaling.upscaler import Upscaler

        return open_upscalers(
            lambda scale, weights, clean: Upscaler(
                scale,
                weights,
                self.engine,
                self.device,
                tile=self.tile,
                halo=self.halo,
                precision=self.precision,
                compile=self.compile,
                clean=clean,
                memory=self.memory,
            ),
            self.scale,
            self.weights,
            self.clean,
            sized=self.sized,
        )


@dataclass(frozen=True, slots=True)
class Pool:
    """Which cluster, and what each worker process takes of it."""

    address: str = "auto"
    """Of the cluster's head, such as `10.0.0.1:6379`; `auto` takes the cluster that this machine belongs to, or else
    this machine alone."""
    cpus: int = 1
    """CPU cores of each worker process."""
    gpus: float = 0
    """GPUs of each worker process; 0.5 lets two share one."""

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise UsageError(f"{self.cpus} CPU cores a worker: expected 1 or more", parameter="worker_cpus")
        if self.gpus < 0:
            raise UsageError(f"{self.gpus} GPUs a worker: expected 0 or more", parameter="worker_gpus")


class _Worker:
    """Enlarges one picture after the other in a process of its own."""

    def __init__(self, version: str, settings: bytes, threads: int) -> None:
        """Open the upscaler; what goes wrong is told instead of outcomes, or else Ray would start the process again.

        Args:
            version: That of the driver's package.
            settings: An `Opening` and `OutputSettings`, which only the same version can read.
            threads: As many as CPU cores.
        """
        self._failure: BgaiError | None = None
        os.environ["VIPS_CONCURRENCY"] = str(threads)
        try:
            if version != __version__:
                raise EngineError(f"a machine of the cluster has bgai {__version__}, this one {version}")
            opening, self._settings = pickle.loads(settings)
            _limit_threads(opening, threads)
            self._upscaler = opening.open()
        except BgaiError as error:
            self._failure = error
        except Exception as error:
            self._failure = EngineError(f"a machine of the cluster cannot begin: {type(error).__name__}: {error}")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        picture: NamedPicture = pickle.loads(row["picture"])
        if self._failure:
            return {"index": row["index"], "outcome": pickle.dumps(self._failure)}
        outcome = enlarge_picture(picture, self._upscaler, self._settings)
        return {"index": row["index"], "outcome": pickle.dumps(outcome)}


def _limit_threads(opening: Opening, threads: int) -> None:
    if opening.engine != "torch":
        from bgai.engines.openvino_runtime import core

        core().set_property("CPU", {"INFERENCE_NUM_THREADS": threads})


def enlarge_on_cluster(
    pictures: Sequence[NamedPicture], opening: Opening, settings: OutputSettings, pool: Pool
) -> Iterator[Outcome]:
    """Enlarge pictures on all machines of a cluster, and yield what became of each, in the order of being done.

    All machines need this package in the same version, and the same paths or addresses of pictures, outputs and
    weights.

    Args:
        pictures: Of `bgai.upscaling.batch.name_outputs`.
        opening: How processes open their upscalers.
        settings: Those that the pictures were named with.
        pool: The cluster.

    Raises:
        EngineError: The cluster cannot be reached, or an upscaler cannot be opened on one of its machines.
        MissingExtraError: Ray is not installed.
        BgaiError: What `Opening.open` raises.
    """
    with _connected(pool):
        missing = dict(enumerate(pictures))
        for blocks in (MOST_BLOCKS, len(pictures)):
            if not missing:
                return
            with _failures_in_one_line():
                for index, outcome in _run(missing, min(blocks, len(missing)), opening, settings, pool):
                    del missing[index]
                    yield outcome
        for picture in missing.values():
            reason = f"its process ended each time, {2 * (_RETRIES + 1)} times in all; is there too little memory?"
            message = f"{picture.source}: {reason}"
            yield Outcome(str(picture.source), str(picture.target), "failed", error=message)


def _run(
    pictures: dict[int, NamedPicture], blocks: int, opening: Opening, settings: OutputSettings, pool: Pool
) -> Iterator[tuple[int, Outcome]]:
    """What became of the pictures by their numbers, without those whose process ended too often."""
    import ray.data
    from ray import cloudpickle

    rows = [{"index": index, "picture": pickle.dumps(picture)} for index, picture in pictures.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the last two arguments, which have no successor yet
        outcomes = ray.data.from_items(rows, override_num_blocks=blocks).map(
            _Worker,
            fn_constructor_args=(__version__, cloudpickle.dumps((opening, settings)), pool.cpus),
            # A pool of fixed size waits for ever for processes of a machine that is gone.
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=blocks, max_tasks_in_flight_per_actor=1),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            memory=(opening.memory or COMMAND_MEMORY) + _RAY_BYTES,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
    # Without looking ahead: outcomes are told as soon as they are there.
    for block in outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in block.to_pylist():
            outcome = pickle.loads(row["outcome"])
            if isinstance(outcome, BgaiError):
                raise outcome
            yield row["index"], outcome


@contextmanager
def _failures_in_one_line() -> Iterator[None]:
    """Turn Ray's errors, which hold tracebacks of other machines, into one of ours."""
    import ray.exceptions

    try:
        yield
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise EngineError(f"the cluster cannot go on: {lines[-1] if lines else type(error).__name__}") from error


@contextmanager
def _connected(pool: Pool) -> Iterator[None]:
    """Connect to the cluster for the time of the block, without Ray's messages and reports of usage."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("cluster", "a cluster") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with _signals_kept():
        _connect(ray, pool.address)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1
        context.execution_options.preserve_order = False
        yield
    finally:
        ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Let signals do after the block what they did before: Ray ends the process at SIGTERM."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _connect(ray: Any, address: str) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    try:
        found = _find_cluster() if address == "auto" else address
        if found == _LOCAL:
            quiet |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
        else:
            _check_answers(found)
        ray.init(address=found, **quiet)
    except Exception as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineError(f"cluster {address}: cannot be reached: {why}", parameter="cluster") from error


def _find_cluster() -> str:
    """The address of the cluster that this machine belongs to, or `local` for this machine alone."""
    from ray._private.services import get_ray_address_from_environment

    try:
        address = str(get_ray_address_from_environment("auto", None))
        if not os.environ.get("RAY_ADDRESS"):
            _check_answers(address)  # which Ray remembers of the last cluster, even if that was killed
    except OSError:
        return _LOCAL
    return address


def _check_answers(address: str) -> None:
    """Find out at once that nothing listens there: Ray tries for minutes.

    Raises:
        OSError: Nothing does.
        ValueError: The address has no port.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("expected auto, or a host and a port such as 10.0.0.1:6379")
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
