"""Writes the page as a folder of static files, in which the browser enlarges pictures: no service, no upload."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bgai._version import __version__
from bgai.atomic_files import whole_folder, whole_or_nothing
from bgai.engines.onnx_export import export_onnx
from bgai.errors import UsageError
from bgai.web.graph_layout import Range, shared_ranges
from bgai.weights.sources import SHIPPED_NAMES, Weights, cache_folder, find_weights, shipped_scales

PAGE = Path(__file__).parent / "page"
STANDALONE = Path(__file__).parent / "standalone"
"""Scripts that stand in for the service."""
RUNTIME = "onnxruntime-web-1.30.0.tgz"
"""The package of npm that runs graphs in a browser."""
_RUNTIME_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
_NPM_SECONDS = 600
# What the browser lets the page load: its own files, and compiled code for the network. Servers need not send it.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self';"
    " img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'"
)
_Graphs = dict[str, dict[int, dict[str, str | int]]]
"""File and halo, by name of the weights and scale."""
_HEAD = '<meta charset="utf-8">\n'


def write_static_page(
    target: Path,
    tell: Callable[[str], None],
    runtime: Path | None = None,
    weights: Mapping[tuple[str, int], Weights] | None = None,
) -> None:
    """Write the page, the runtime and the graphs; the folder appears whole or not at all.

    Args:
        target: A folder that does not exist.
        tell: Called with a line for each graph.
        runtime: The package `RUNTIME`; None takes it from the cache, to where npm brings it.
        weights: What to put in, by name in `SHIPPED_NAMES` and scale; None for all in the package.

    Raises:
        UsageError: The runtime cannot be had, or is another one.
        OutputError: The folder exists, or cannot be written.
    """
    with whole_folder(target) as folder:
        _write_runtime(runtime or find_runtime(), folder / "onnxruntime")
        _write_page(folder)
        graphs: _Graphs = {name: {} for name in SHIPPED_NAMES}
        for (name, scale), each in (weights or _shipped()).items():
            graphs[name][scale] = _write_graph(each, f"graphs/{name}_x{scale}.onnx", folder, tell)
        between = _ranges_between(graphs, folder, tell)
        manifest = {"version": __version__, "weights": graphs, "between": between}
        (folder / "graphs.json").write_text(json.dumps(manifest), encoding="utf-8")


def _shipped() -> dict[tuple[str, int], Weights]:
    return {(name, scale): find_weights(name, scale) for name in SHIPPED_NAMES for scale in shipped_scales(name)}


def _write_graph(weights: Weights, name: str, folder: Path, tell: Callable[[str], None]) -> dict[str, str | int]:
    (folder / name).parent.mkdir(exist_ok=True)
    if weights.is_graph:
        shutil.copyfile(weights.file, folder / name)
    else:
        tell(f"{name}: within {export_onnx(weights, folder / name):.1e} of the network")
    return {"file": name, "halo": weights.halo}


def _ranges_between(graphs: _Graphs, folder: Path, tell: Callable[[str], None]) -> dict[int, list[Range]]:
    """For each scale with both weights, where the values lie that the page mixes for a strength between them."""
    between = {}
    plain, photo = (graphs[name] for name in SHIPPED_NAMES)
    for scale in plain.keys() & photo.keys():
        files = [str(each[scale]["file"]) for each in (plain, photo)]
        ranges = shared_ranges(*((folder / file).read_bytes() for file in files))
        if ranges is None:
            tell(f"{files[1]}: differs from {files[0]} in more than its weights: no strength between the two")
        else:
            between[scale] = ranges
    return between


def _write_page(folder: Path) -> None:
    for file in [*PAGE.iterdir(), *STANDALONE.iterdir()]:
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    (folder / "index.html").write_text(index.replace(_HEAD, _HEAD + policy, 1), encoding="utf-8")


def find_runtime() -> Path:
    """The package `RUNTIME` in the cache, fetched by npm if it is not there.

    Raises:
        UsageError: npm is not installed, or cannot fetch it.
    """
    cached = cache_folder() / RUNTIME
    if cached.exists():
        return cached
    package = RUNTIME.removesuffix(".tgz").replace("-web-", "-web@")
    by_hand = f"run  npm pack {package}  where there is a network, and name the file {RUNTIME}"
    npm = shutil.which("npm")
    if npm is None:
        raise UsageError(
            f"{package} is needed, and npm, which fetches it, is not installed: {by_hand}", parameter="runtime"
        )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            command = [npm, "pack", package, "--silent", "--ignore-scripts"]
            subprocess.run(command, cwd=scratch, check=True, capture_output=True, text=True, timeout=_NPM_SECONDS)
            content = (Path(scratch) / RUNTIME).read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise UsageError(f"npm cannot fetch {package}: {by_hand}", parameter="runtime") from error
    cached.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_nothing(cached) as partial:
        partial.write_bytes(content)
    return cached


def _write_runtime(package: Path, folder: Path) -> None:
    """Unpack the few files that browsers need.

    Raises:
        UsageError: It is not the package that is pinned.
    """
    try:
        content = package.read_bytes()
    except OSError as error:
        raise UsageError(f"{package}: cannot be read: {error.strerror or error}", parameter="runtime") from error
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != _RUNTIME_SHA512:
        raise UsageError(f"{package}: not {RUNTIME}, or damaged: its SHA-512 is another one", parameter="runtime")
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in _RUNTIME_FILES:
            member = archive.extractfile(f"package/dist/{name}")
            assert member  # the hash says so
            (folder / name).write_bytes(member.read())
