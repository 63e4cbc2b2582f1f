"""Work on many items, such as pictures, spread over the machines of a Ray cluster by Ray Data.

Ray decides what runs where, starts and restarts worker processes, and gives the items of a process or machine that is
gone to others. An item whose process ends each time it is tried is a failure of that item.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bgai._version import __version__
from bgai.errors import BgaiError, EngineError, MissingExtraError, UsageError
from bgai.processors import limit_threads

Item = TypeVar("Item")
Result = TypeVar("Result")
_Item = TypeVar("_Item", contravariant=True)
_Result = TypeVar("_Result", covariant=True)

MOST_BLOCKS = 20_000
"""Of items that go to a process together: each costs the driver some milliseconds."""
_RETRIES = 2  # of a block, after its process has ended
_OBJECT_STORE_BYTES = 80 * 2**20  # of a cluster that is this machine alone; names of pictures are all that it holds
_CONNECT_SECONDS = 10.0
_LOCAL = "local"
_RAY_BYTES = 2**28  # of each process, for Ray


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

    def choose_device(self, device: str) -> str:
        """The device of processes, which see no GPU without a share of one.

        Args:
            device: As for `bgai.Upscaler`.

        Raises:
            UsageError: Device and share do not go together.
        """
        if self.gpus and device == "cpu":
            raise UsageError("GPUs for processes on the device cpu: leave one of them out", parameter="worker_gpus")
        if not self.gpus and device.startswith("cuda"):
            raise UsageError(f"device {device}: expected a share of a GPU for each process", parameter="worker_gpus")
        return "cpu" if device == "auto" and not self.gpus else device


class Work(Protocol[_Item, _Result]):
    """What each worker process of a cluster does; a copy is sent to it."""

    @property
    def memory(self) -> int:
        """Bytes that a process takes."""

    def open(self) -> Callable[[_Item], _Result]:
        """Get ready, in the worker process, to do one item after the other.

        Raises:
            BgaiError: That is not possible on this machine.
        """


class _Worker:
    """Does one item after the other in a process of its own."""

    def __init__(self, version: str, work: bytes, threads: int, folder: str) -> None:
        """Get ready.

        Args:
            version: That of the driver's package.
            work: A `Work`, which only the same version can read.
            threads: As many as CPU cores.
            folder: Where the driver runs: relative paths begin there, if this machine has such a folder.
        """
        os.environ["VIPS_CONCURRENCY"] = str(threads)
        with suppress(OSError):
            os.chdir(folder)

        def open_work() -> Callable[[Any], Any]:
            if version != __version__:
                raise EngineError(f"a machine of the cluster has bgai {__version__}, this one {version}")
            unpacked: Work[Any, Any] = pickle.loads(work)
            limit_threads(threads)
            return unpacked.open()

        self._do = _attempted(open_work)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        do, item = self._do, pickle.loads(row["item"])
        result = do if isinstance(do, BgaiError) else _attempted(lambda: do(item))
        return {"index": row["index"], "result": pickle.dumps(result)}


def _attempted(call: Callable[[], Result]) -> Result | BgaiError:
    """The result of a call, or its error: one that is raised, Ray takes for that of a process to start again."""
    try:
        return call()
    except BgaiError as error:
        return error
    except Exception as error:
        return EngineError(f"a process of the cluster failed: {type(error).__name__}: {error}")


def run_on_cluster(
    items: Sequence[Item], work: Work[Item, Result], pool: Pool
) -> Generator[tuple[Item, Result | EngineError], None, None]:
    """Do work on all machines of a cluster, and yield each item with its result, in the order of being done.

    At the end come the items whose process ended each time, with an error that says so.

    Args:
        items: They go to processes in blocks, in this order.
        work: What is done with each.
        pool: The cluster.

    Raises:
        EngineError: The cluster cannot be reached, or cannot go on.
        MissingExtraError: Ray is not installed.
        BgaiError: What `work` raises in a worker process; an exception of another kind becomes an `EngineError`.
    """
    with _connected(pool):
        missing = dict(enumerate(items))
        for blocks in (MOST_BLOCKS, len(items)):
            if not missing:
                return
            with _failures_in_one_line():
                for index, result in _run(missing, min(blocks, len(missing)), work, pool):
                    yield missing.pop(index), result
        for item in missing.values():
            times = 2 * (_RETRIES + 1)
            yield item, EngineError(f"its process ended each time, {times} times in all; is there too little memory?")


def _run(items: Mapping[int, Item], blocks: int, work: Work[Item, Result], pool: Pool) -> Iterator[tuple[int, Result]]:
    """The results of items by their numbers, without those whose process ended too often."""
    import ray.data
    from ray import cloudpickle

    rows = [{"index": index, "item": pickle.dumps(item)} for index, item in items.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the last two arguments, which have no successor yet
        results = ray.data.from_items(rows, override_num_blocks=blocks).map(
            _Worker,
            fn_constructor_args=(__version__, cloudpickle.dumps(work), pool.cpus, str(Path.cwd())),
            # A pool of fixed size waits for ever for processes of a machine that is gone.
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=blocks, max_tasks_in_flight_per_actor=1),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            memory=work.memory + _RAY_BYTES,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
    # Without looking ahead: results are told as soon as they are there.
    for block in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in block.to_pylist():
            result = pickle.loads(row["result"])
            if isinstance(result, BgaiError):
                raise result
            yield row["index"], result


@contextmanager
def _failures_in_one_line() -> Iterator[None]:
    """Turn Ray's errors, which hold tracebacks of other machines, into one of ours."""
    import ray.exceptions

    try:
        yield
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise EngineError(f"the cluster cannot go on: {lines[-1] if lines else type(error).__name__}") from error


def check_cluster(pool: Pool) -> None:
    """Find out at once that a cluster cannot be used, before other work.

    Raises:
        EngineError: Nothing answers at its address.
        MissingExtraError: Ray is not installed.
    """
    _import_ray()
    with _unreachable_in_one_line(pool.address):
        _answering(pool.address)


@contextmanager
def _connected(pool: Pool) -> Iterator[None]:
    """Connect to the cluster for the time of the block, without Ray's messages and reports of usage."""
    ray = _import_ray()
    with _signals_kept():
        _connect(ray, pool.address)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1
        context.execution_options.preserve_order = False
        # More processes start as soon as all have work; by default that takes more tasks than each of ours is given.
        context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
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


def _import_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray
        import ray.data  # noqa: F401  a part of the extra
    except ImportError as error:
        raise MissingExtraError("cluster", "a cluster") from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


def _connect(ray: Any, address: str) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    with _unreachable_in_one_line(address):
        if _answering(address) == _LOCAL:
            address = _LOCAL
            quiet |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
        # `auto` as it is: with the address that it stands for, Ray would not use this machine's token for its clusters.
        ray.init(address=address, **quiet)


@contextmanager
def _unreachable_in_one_line(address: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineError(f"cluster {address}: cannot be reached: {why}", parameter="cluster") from error


def _answering(address: str) -> str:
    """An address that something answers at, or `local` for this machine alone."""
    found = _find_cluster() if address == "auto" else address
    if found != _LOCAL:
        _check_answers(found)
    return found


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
