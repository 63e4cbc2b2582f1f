"""Options that commands which enlarge have in common: the weights, and what runs the network."""

from __future__ import annotations

from typing import Annotated

import typer

from bgai.choices import EngineName, Precision

WEIGHTS_PANEL, SPEED_PANEL = "Weights", "Speed and memory"

CleanOption = Annotated[
    float | None,
    typer.Option(
        help="How much compression and noise to remove, from 0 (as 'bgai' does) to 1 (as 'photo' does); replaces"
        " --weights.",
        show_default="as --weights does",
        rich_help_panel=WEIGHTS_PANEL,
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        help="What runs the network: 'torch' on GPUs, 'native' on CPUs with Linux, 'openvino' on all CPUs, Intel's GPUs"
        " and NPUs, 'onnxruntime' on GPUs by DirectML or CoreML.",
        rich_help_panel=SPEED_PANEL,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        help="Where it runs: auto, cpu; cuda, cuda:1, mps by PyTorch; gpu, gpu.1, npu by OpenVINO; dml, coreml by ONNX"
        " Runtime.",
        rich_help_panel=SPEED_PANEL,
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="'half' is faster and slightly less exact; it needs CUDA, the engine native, or a CPU with bfloat16.",
        rich_help_panel=SPEED_PANEL,
    ),
]
