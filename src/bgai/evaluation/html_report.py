"""`report.html`: the results of a test on one page that needs no other file; `report.html.j2` is its template."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bgai.atomic_files import whole_or_nothing
from bgai.evaluation.metrics import luma
from bgai.evaluation.published_figures import Published, published, usual_name
from bgai.evaluation.result_folder import Results, compared, mean, means
from bgai.pictures.writing import encode_png
from bgai.types import RgbImage

_CELL = 16
_CROP = 9 * _CELL
Content = Mapping[str, Any]
"""Values by their names in the template."""


@dataclass(frozen=True, slots=True)
class Example:
    """The part of an image where it gains or loses most over bicubic; all crops of one size."""

    dataset: str
    image: str
    most: bool
    """Whether it is the set's image of the largest gain; of the smallest, else."""
    bicubic: RgbImage
    sr: RgbImage
    hr: RgbImage

    @classmethod
    def cut(cls, dataset: str, image: str, most: bool, bicubic: RgbImage, sr: RgbImage, hr: RgbImage) -> Example:
        """Find the part in whole images of one size, H x W x 3."""
        rows, columns = _telling_part(bicubic, sr, hr, most)
        crops = (np.ascontiguousarray(pixels[rows, columns]) for pixels in (bicubic, sr, hr))
        return cls(dataset, image, most, *crops)


def write_page(results: Results, examples: Sequence[Example]) -> None:
    """Write the page into the folder of the results, whole or not at all."""
    run = results.run
    # A name that the template asks for and that is not there is an error, not an empty cell.
    environment = Environment(loader=PackageLoader("bgai.evaluation", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html.j2").render(
        run=run,
        size=f"{run['parameters']:,} parameters" if run["parameters"] else "a graph",
        means=_means_table(results),
        published=[table for dataset in results.datasets if (table := _published_table(results, dataset))],
        plots=_plots(results),
        examples=[_example(example) for example in examples],
        images=[_images_table(results, dataset) for dataset in results.datasets],
        provenance=[
            *((name, run[name]) for name in ("commit", "machine", "versions", "weights_sha256")),
            ("made", time.strftime("%Y-%m-%d")),
        ],
        options=_lines(run["options"]),
    )
    with whole_or_nothing(results.folder / "report.html") as partial:
        partial.write_text(page + "\n", encoding="utf-8")


def _means_table(results: Results) -> Content:
    rows = []
    for dataset in results.datasets:
        measured = results.of_set(dataset)
        ours, bicubic = means([each.scores for each in measured]), means([each.bicubic for each in measured])
        seconds = mean([each.seconds for each in measured])
        speed = sum(each.megapixels for each in measured) / sum(each.seconds for each in measured)
        rows.append([dataset, len(measured), *compared(ours, bicubic), f"{seconds:.3f}", f"{speed:.2f}"])
    names = list(results.measurements[0].scores)
    return {"head": ["set", "images", *names, "seconds an image", "megapixels a second"], "rows": rows}


def _published_table(results: Results, dataset: str) -> Content | None:
    """The set's row among known networks'; None where there are none."""
    known, usual = _known(results, dataset), usual_name(dataset)
    ours = _psnr_ssim(results, dataset)
    if not known or usual is None or ours is None:
        return None
    parameters = results.run["parameters"]
    own = Published(results.run["weights"], None, "", parameters and parameters / 1000, None, {usual: ours})
    ordered = sorted([*known, own], key=lambda network: network.scores[usual])
    return {"dataset": dataset, "rows": [_published_row(network, usual, network is own) for network in ordered]}


def _published_row(network: Published, usual: str, own: bool) -> Content:
    psnr, ssim = network.scores[usual]
    return {
        "own": own,
        "name": network.name,
        "source": network.source,
        "year": "measured here" if own else network.year,
        "training": network.training or "",
        "parameters": f"{network.parameters:,.0f}" if network.parameters else "",
        "psnr": f"{psnr:.2f}",
        "ssim": f"{ssim:.4f}",
    }


def _known(results: Results, dataset: str) -> list[Published]:
    """Networks with figures for a set; none if the metrics or the images here are not those of papers."""
    usual = usual_name(dataset)
    if usual is None or _psnr_ssim(results, dataset) is None or _is_degraded(results, dataset):
        return []
    return [network for network in published(results.run["scale"]) if usual in network.scores]


def _is_degraded(results: Results, dataset: str) -> bool:
    sets = results.run["options"]["datasets"].values()
    return any(each["name"] == dataset and "degradation" in each for each in sets)


def _psnr_ssim(results: Results, dataset: str) -> tuple[float, float] | None:
    """PSNR and SSIM as papers have them: on the luma, a border of the scale cut; None if they were not measured so."""
    scores = means([each.scores for each in results.of_set(dataset)])
    values = []
    for kind in ("calculate_psnr", "calculate_ssim"):
        for name, metric in results.run["options"]["val"]["metrics"].items():
            if (metric["type"], metric.get("test_y_channel"), metric["crop_border"]) == (
                kind,
                True,
                results.run["scale"],
            ):
                values.append(scores[name])
    return (values[0], values[1]) if len(values) == 2 else None


def _plots(results: Results) -> list[Content]:
    plots = []
    for dataset in results.datasets:
        known, ours = _known(results, dataset), _psnr_ssim(results, dataset)
        if known and ours and results.run["parameters"]:
            plots.append((f"{dataset}: parameters", _parameters_plot(known, results, dataset, ours[0])))
    plots.append(("time", _time_plot(results)))
    return [{"name": name, "source": _data(figure, "svg")} for name, figure in plots]


def _parameters_plot(known: Sequence[Published], results: Results, dataset: str, psnr: float) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    usual = usual_name(dataset)
    assert usual is not None
    ours = results.run["parameters"] / 1000, psnr
    points = {network.name: (network.parameters, network.scores[usual][0]) for network in known if network.parameters}
    panel.plot(*zip(*points.values(), strict=True), "o", color="tab:gray", markersize=5)
    panel.plot(*ours, "*", color="tab:red", markersize=14, label=f"{results.run['weights']}, measured")
    panel.legend(loc="lower right")
    for name in _readable(points, ours):
        panel.annotate(name, points[name], xytext=(4, 3), textcoords="offset points", fontsize=7)
    panel.set(title=f"{dataset}, ×{results.run['scale']}", xlabel="parameters, thousands", ylabel="PSNR, dB")
    panel.grid(alpha=0.3)
    return figure


def _readable(points: Mapping[str, tuple[float, float]], own: tuple[float, float]) -> list[str]:
    """The names to write: none beside our own point, and of those that would cover each other, the highest point's."""
    wide, high = (np.ptp(side) for side in zip(*points.values(), strict=True))
    chosen: list[str] = []
    for name in sorted(points, key=lambda name: -points[name][1]):
        x, y = points[name]
        beside = [own, *(points[other] for other in chosen)]
        if not any(abs(x - left) < 0.17 * wide and abs(y - up) < 0.05 * high for left, up in beside):
            chosen.append(name)
    return chosen


def _time_plot(results: Results) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    metric = next(iter(results.measurements[0].scores))
    for index, dataset in enumerate(results.datasets):
        measured, colour = results.of_set(dataset), f"C{index}"
        for marker, seconds, scores in (
            ("o", [each.seconds for each in measured], [each.scores[metric] for each in measured]),
            ("x", [each.bicubic_seconds for each in measured], [each.bicubic[metric] for each in measured]),
        ):
            panel.plot(seconds, scores, marker, color=colour, alpha=0.25, markersize=4)
            label = f"{dataset}, mean" if marker == "o" else None
            panel.plot(mean(seconds), mean(scores), marker, color=colour, markersize=11, label=label)
    panel.set(
        title=f"● {results.run['weights']}   × bicubic", xlabel="seconds an image", ylabel=metric.upper(), xscale="log"
    )
    panel.legend()
    panel.grid(alpha=0.3)
    return figure


def _example(example: Example) -> Content:
    crops = (("bicubic", example.bicubic), ("SR", example.sr), ("HR", example.hr))
    return {
        "dataset": example.dataset,
        "image": example.image,
        "most": example.most,
        "crops": [{"name": name, "source": _data(encode_png(pixels), "png")} for name, pixels in crops],
    }


def _images_table(results: Results, dataset: str) -> Content:
    measured = results.of_set(dataset)
    rows = [[each.image, *compared(each.scores, each.bicubic), f"{each.seconds:.3f}"] for each in measured]
    return {"dataset": dataset, "head": ["image", *measured[0].scores, "seconds"], "rows": rows}


def _lines(values: Any, indent: str = "") -> str:
    if not isinstance(values, Mapping):
        return f" {values}"
    return "".join(f"\n{indent}{name}:{_lines(value, indent + '  ')}" for name, value in values.items())


def _data(content: Figure | bytes, kind: str) -> str:
    if isinstance(content, Figure):
        buffer = io.BytesIO()
        content.savefig(buffer, format=kind)
        content = buffer.getvalue()
    media = "image/svg+xml" if kind == "svg" else f"image/{kind}"
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def _telling_part(bicubic: RgbImage, sr: RgbImage, hr: RgbImage, most: bool) -> tuple[slice, slice]:
    """Rows and columns of the square in which the error on the luma falls most from bicubic to SR, or least."""
    height, width = hr.shape[:2]
    high, wide = min(_CROP, height), min(_CROP, width)
    if min(height, width) < 2 * _CELL:
        return slice(0, high), slice(0, wide)
    cells = np.stack([_gain(*(image[top : top + _CELL] for image in (bicubic, sr, hr))) for top in _cell_tops(height)])
    rows, columns = max(high // _CELL, 1), max(wide // _CELL, 1)
    windows = np.lib.stride_tricks.sliding_window_view(cells, (rows, columns)).sum(axis=(2, 3))
    place = np.unravel_index(windows.argmax() if most else windows.argmin(), windows.shape)
    top, left = int(place[0]) * _CELL, int(place[1]) * _CELL
    return slice(top, top + high), slice(left, left + wide)


def _cell_tops(height: int) -> range:
    return range(0, height - height % _CELL, _CELL)


def _gain(bicubic: RgbImage, sr: RgbImage, hr: RgbImage) -> NDArray[np.float64]:
    """By how much the squared error falls in each cell of a row of cells."""
    original = luma(hr)
    fall = (luma(bicubic) - original) ** 2 - (luma(sr) - original) ** 2
    width = fall.shape[1] - fall.shape[1] % _CELL
    gains: NDArray[np.float64] = fall[:, :width].reshape(_CELL, -1, _CELL).sum(axis=(0, 2))
    return gains
