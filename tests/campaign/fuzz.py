"""Coverage-guided fuzzing of one reader by atheris, which has to be installed: pip install atheris.

.venv/bin/python tests/campaign/fuzz.py pth -max_total_time=600 FOLDER_OF_EXAMPLES

Arguments behind the name of the reader are those of libFuzzer. What raises anything but a `BgaiError` is kept as
`crash-…` in the current folder, and ends the run with an exit code other than 0.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def _readers() -> dict[str, Callable[[Path], object]]:
    """By name, each with the ending of its files."""
    from bgai.options.evaluation import TestOptions
    from bgai.options.training import TrainOptions
    from bgai.options.yaml_file import read_options
    from bgai.pictures.compression import read_compression
    from bgai.pictures.reading import read_picture, read_xmp
    from bgai.pictures.tiff_exif import read_tiff_exif
    from bgai.pictures.xmp import read_fields, without_stale_fields
    from bgai.weights.onnx_file import read_graph_metadata
    from bgai.weights.pth_file import read_pth
    from bgai.weights.reading import read_weights

    def picture(path: Path) -> None:
        read_xmp(path)
        with path.open("rb") as file:
            read_compression(file)
        read_picture(path, max_pixels=1_000_000)

    def xmp(path: Path) -> None:
        read_fields(without_stale_fields(path.read_bytes()))

    return {
        "picture": picture,
        "tiff_exif": read_tiff_exif,
        "xmp": xmp,
        "safetensors": read_weights,
        "pth": lambda path: read_pth(path, "params_ema"),
        "onnx": read_graph_metadata,
        "test-options": lambda path: read_options(path, TestOptions),
        "train-options": lambda path: read_options(path, TrainOptions),
    }


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["bgai", "yaml"]):
        readers = _readers()
        from bgai.errors import BgaiError
    if len(sys.argv) < 2 or sys.argv[1] not in readers:
        sys.exit(f"expected one of {', '.join(readers)}")
    read = readers[sys.argv.pop(1)]
    suffix = ".safetensors" if read is readers["safetensors"] else ".bin"
    descriptor, name = tempfile.mkstemp(suffix)
    os.close(descriptor)
    path = Path(name)

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(BgaiError):
            read(path)

    try:
        atheris.Setup(sys.argv, attempt)
        atheris.Fuzz()
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
