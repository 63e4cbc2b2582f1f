"""The comparison with other networks: what is read from a record, its table and its plot, and loading from clones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import peers  # noqa: E402
from peer_networks import Network, by_torch  # noqa: E402

CODE = """
import torch
from basicsr.utils.registry import ARCH_REGISTRY

@ARCH_REGISTRY.register()
class Nearest(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(1))
        self.scale = scale

    def forward(self, image, added):
        return torch.nn.functional.interpolate(image * self.gain + added, scale_factor=self.scale)
"""


def result(name: str, cpu_seconds: list[float], error: str = "") -> dict[str, Any]:
    seconds = [value / 2 for value in cpu_seconds]
    return {"name": name, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": 2**30, "error": error}


def measured() -> dict[str, Any]:
    """What --json keeps of four peers."""
    results = [
        result("bgai", [4.0, 8.0]),
        result("IMDN", [8.0, 24.0]),
        result("IMDN, OpenVINO", [2.0, 2.0]),
        result("PAN", [], "PAN is missing"),
    ]
    psnr = {name: {"Set5": 32.0, "Set14": 28.4} for name in ("bgai", "IMDN", "IMDN, OpenVINO")}
    return {"settings": {"megapixels": 4.0, "psnr": {**psnr, "PAN": {}}}, "comparisons": [{"results": results}]}


def test_the_table_has_the_fastest_first_and_ratios_of_rounds() -> None:
    lines = peers.table(peers.read_rows(measured())).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| IMDN, OpenVINO", "| bgai", "| IMDN", "| PAN"]
    assert lines[2].startswith("| IMDN, OpenVINO | DIV2K | 32.00 (32.21) | 28.40 (28.58) | 0.500 (0.500 to 0.500)")
    assert lines[3] == "| bgai |  | 32.00 | 28.40 | 1.50 (1.25 to 1.75) | 1.00 (1.00 to 1.00) | 0.750 | 1,024 |"
    assert "| 2.50 (2.25 to 2.75) |" in lines[4]  # 2 and 3 times
    assert lines[5].startswith("| PAN | not run: PAN is missing |")
    assert len({line.count("|") for line in lines}) == 1


def test_labels_of_a_plot_lie_apart() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5))
    panel = figure.subplots()
    points = {f"network {number}": (1 + 0.01 * number, 30.0) for number in range(6)}
    for point in points.values():
        panel.plot(*point, "o")
    figure.draw_without_rendering()
    peers.place_labels(panel, points, list(points.values()))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in panel.texts if text.get_text()]
    assert len(boxes) == 6
    assert not [1 for place, box in enumerate(boxes) for other in boxes[:place] if box.overlaps(other)]


def test_the_plot_is_a_small_picture(tmp_path: Path) -> None:
    peers.draw(peers.read_rows(measured()), tmp_path / "plot", "png")
    assert Image.open(tmp_path / "plot").size == (900, 1000)
    assert (tmp_path / "plot").stat().st_size < 60_000


def test_a_network_of_a_clone_is_imported_and_gets_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, since what is imported stays."""
    code = tmp_path / "Sharp/code/peer_under_test.py"
    code.parent.mkdir(parents=True)
    code.write_text(CODE)
    torch.save({"params": {"module.gain": torch.ones(1)}}, tmp_path / "Sharp/weights.pth")
    script = f"""
import sys; sys.path.insert(0, {str(BENCHMARKS)!r})
from pathlib import Path
import numpy as np
from peer_networks import Network, by_torch
network = Network("someone/Sharp", "weights.pth", "code:peer_under_test:Nearest", {{"scale": 4}}, {{"added": 1}}, 255)
image = np.full((2, 3, 3), 7, np.uint8)
enlarged = by_torch(network)(Path({str(tmp_path)!r}), [])(image)
print(enlarged.shape, np.unique(enlarged))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert (ended.stderr, ended.stdout) == ("", "(8, 12, 3) [8]\n")


def test_a_missing_clone_is_told_with_what_brings_it(tmp_path: Path) -> None:
    network = Network("someone/Sharp", "weights.pth")
    with pytest.raises(FileNotFoundError, match=r"Sharp is missing: git clone https://github\.com/someone/Sharp "):
        by_torch(network)(tmp_path, [])
