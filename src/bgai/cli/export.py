"""`bgai export`: weights in other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bgai.cli.console import needing_extra, tell
from bgai.cli.weights import find_weights
from bgai.errors import UsageError


def export(
    weights: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="'bgai', 'photo', 'official', or a .safetensors or .pth file.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx, .safetensors or .pth file to write.")],
    scale: Annotated[
        int | None, typer.Option(help="2, 3 or 4; for weights with a name.", show_default="that of the weights, or 4")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="ONNX alone: store and compute in float16, for GPUs and NPUs.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
) -> None:
    """Write weights as an ONNX graph for other runtimes, as .safetensors, or as .pth in the authors' layout.

    ONNX needs the extra 'export'. The graph is compared with the network before it is written.
    """
    chosen = find_weights(weights, scale)
    if chosen.is_graph:
        raise UsageError(f"{weights}: a graph already; expected a .safetensors or .pth file")
    if half and output.suffix in (".safetensors", ".pth"):
        raise UsageError(f"{output}: weights are stored in float32; half is for an .onnx file", parameter="half")
    if output.suffix == ".safetensors":
        from bgai.weights.conversion import convert_weights

        convert_weights(chosen, output, overwrite)
        tell(str(output))
        return
    if output.suffix == ".pth":
        from bgai.weights.pth_export import write_pth
        from bgai.weights.reading import read_weights

        write_pth(read_weights(chosen.file, chosen.key)[1], output, overwrite=overwrite)
        tell(str(output))
        return
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: expected a name that ends in .onnx, .safetensors or .pth", parameter="output")
    with needing_extra("export", "an ONNX graph"):
        from bgai.engines.onnx_export import export_onnx
    difference = export_onnx(chosen, output, overwrite, "half" if half else "float32")
    tell(f"{output}: within {difference:.1e} of the network")
