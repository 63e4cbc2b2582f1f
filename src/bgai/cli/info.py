"""`bgai info`: what was found on this machine, and what the network computes."""

from __future__ import annotations

import os
import platform
from typing import Annotated

import typer

from bgai._version import __version__
from bgai.cli.console import needing_extra, out, progress_bar


def info(
    complexity: Annotated[
        bool,
        typer.Option(
            "--complexity",
            help="Instead: the network's parameters and operations, and the time and memory that it takes here to"
            " enlarge to 1280 x 720. Needs the extra 'torch'.",
        ),
    ] = False,
) -> None:
    """Show versions, memory, weights, and which engine is used on this machine and why."""
    if complexity:
        _show_complexity()
        return
    import psutil
    from rich.table import Table

    from bgai.engines.selection import choose, torch_accelerator
    from bgai.free_memory import free_memory
    from bgai.weights.sources import cache_folder, find_weights, shipped_scales

    table = Table(show_header=False, box=None)
    table.add_row(
        "bgai", f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    total = psutil.virtual_memory().total
    table.add_row("machine", f"{os.cpu_count()} CPUs, {free_memory() / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    table.add_row("weights", _weights_here())
    table.add_row("cache", str(cache_folder()))
    table.add_row("openvino", _version("openvino"))
    torch = _version("torch")
    if torch != "not installed":
        torch += f", GPU: {torch_accelerator() or 'none'}"
    table.add_row("torch", torch)
    table.add_row("native", _native_here())
    engine, device, reason = choose(find_weights(None, shipped_scales()[-1]))
    table.add_row("picked", f"{engine} on {device}: {reason}")
    out.print(table)


def _native_here() -> str:
    from bgai.engines.native_build import level_here
    from bgai.engines.native_library import packaged_library, reason_against
    from bgai.engines.selection import native_cache

    if why := reason_against(native_cache()):
        return f"not here: {why}"
    return f"{level_here()}, " + ("in the package" if packaged_library().exists() else "compiled by g++ once")


def _weights_here() -> str:
    from bgai.weights.sources import SHIPPED_NAMES, shipped_scales

    held = {name: ", ".join(f"×{scale}" for scale in shipped_scales(name)) for name in SHIPPED_NAMES}
    by_default = "auto, by the picture's compression" if held["photo"] else "bgai"
    parts = [f"{name} {scales}" for name, scales in held.items() if scales]
    return ", ".join(parts) + f"; official ×2, ×3, ×4 on request; default: {by_default}"


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _show_complexity() -> None:
    from rich.table import Table

    from bgai.benchmark.cases import Case, measure
    from bgai.benchmark.report import spread
    from bgai.weights.sources import SHIPPED, shipped_scales

    with needing_extra("torch", "bgai info --complexity"):
        from bgai.network.complexity import OUTPUT, count
        from bgai.weights.checkpoint import load_network
    names = ("parameters", "multiply-adds", "activations", "from", "seconds here", "peak memory", "engine")
    columns = []
    scales = shipped_scales()
    with progress_bar(transient=True) as advance:
        for place, scale in enumerate(scales):
            advance(f"measuring ×{scale}", place, len(scales))
            counts = count(load_network(SHIPPED / f"bgai_x{scale}.safetensors"))
            height, width = counts.lr_size
            measured = measure(Case("bgai", scale, height, width, tile=None))
            columns.append(
                (
                    f"{counts.parameters:,}",
                    f"{counts.multiply_adds / 1e9:.1f} G",
                    f"{counts.activations / 1e6:,.0f} M",
                    f"{width} x {height}",
                    spread(measured.seconds),
                    f"{measured.peak_bytes / 2**20:,.0f} MiB",
                    f"{measured.facts['engine']} on {measured.facts['device']}",
                )
            )
    table = Table(f"{OUTPUT[1]} x {OUTPUT[0]}", *(f"×{scale}" for scale in scales))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, *row in zip(names, *columns, strict=True):
        table.add_row(name, *row)
    out.print(table)
