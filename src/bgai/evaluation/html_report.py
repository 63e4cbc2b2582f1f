"""`report.html`: the results of a test on one page that needs nothing beside it."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
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
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.own { background: var(--soft); font-weight: 600; }
.crops { display: flex; flex-wrap: wrap; gap: .5rem; }
figure { margin: 0; } figcaption { text-align: center; }
.crops img { width: 17rem; max-width: 100%; image-rendering: pixelated; }
.plot { background: #fff; max-width: 100%; }
.slider { position: relative; display: inline-block; }
.slider img:last-of-type { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--at, 50%)); }
.slider input { display: block; width: 100%; margin: 0; }
"""


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
    parts = [
        f"<h1>{escape(run['name'])}</h1><p>{escape(run['weights'])} at ×{run['scale']}, {escape(_size(run))}, through"
        f" {escape(run['engine'])} on {escape(run['device'])}</p>",
        "<h2>Results</h2>" + _means_table(results),
        *(_published_table(results, dataset) for dataset in results.datasets),
        "<h2>Quality, size and time</h2>" + _plots(results),
        "<h2>Where it gains most and least over bicubic</h2>" + "".join(map(_example, examples)),
        "<h2>Every image</h2>" + "".join(_images_table(results, dataset) for dataset in results.datasets),
        "<h2>How this was made</h2>" + _provenance(run),
    ]
    title = f"{escape(run['name'])}: ×{run['scale']}"
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
    with whole_or_nothing(results.folder / "report.html") as partial:
        partial.write_text(page, encoding="utf-8")


def _size(run: Mapping[str, Any]) -> str:
    return f"{run['parameters']:,} parameters" if run["parameters"] else "a graph"


def _means_table(results: Results) -> str:
    names = list(results.found[0].scores)
    rows = []
    for dataset in results.datasets:
        found = results.of(dataset)
        ours, bicubic = means([one.scores for one in found]), means([one.bicubic for one in found])
        seconds = mean([one.seconds for one in found])
        speed = sum(one.megapixels for one in found) / sum(one.seconds for one in found)
        rows.append([dataset, str(len(found)), *compared(ours, bicubic), f"{seconds:.3f}", f"{speed:.2f}"])
    return _table(["set", "images", *names, "seconds an image", "megapixels a second"], rows) + (
        "<p>In parentheses: MATLAB's bicubic enlargement of the same images. Seconds are those of enlarging alone, and"
        " megapixels are those that come out of it.</p>"
    )


def _published_table(results: Results, dataset: str) -> str:
    """The set's row among known networks'."""
    known, usual = _known(results, dataset), usual_name(dataset)
    ours = _psnr_ssim(results, dataset)
    if not known or usual is None or ours is None:
        return ""
    parameters = results.run["parameters"]
    own = Published(results.run["weights"], None, "", parameters and parameters / 1000, None, {usual: ours})
    body = "".join(
        _published_row(one, usual, one is own) for one in sorted([*known, own], key=lambda one: one.scores[usual])
    )
    head = "".join(
        f"<th>{name}</th>" for name in ("network", "year", "trained on", "parameters, thousands", "PSNR, dB", "SSIM")
    )
    return (
        f"<h3>{escape(dataset)} beside published figures at ×{results.run['scale']}</h3>"
        f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
    )


def _published_row(one: Published, usual: str, own: bool) -> str:
    psnr, ssim = one.scores[usual]
    cells = (
        escape(one.name) if own else f'<a href="{escape(one.source)}">{escape(one.name)}</a>',
        "measured here" if own else str(one.year),
        one.training or "",
        f"{one.parameters:,.0f}" if one.parameters else "",
        f"{psnr:.2f}",
        f"{ssim:.4f}",
    )
    return f"<tr{' class=own' if own else ''}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _known(results: Results, dataset: str) -> list[Published]:
    """Networks with figures for a set; none if the metrics or the images here are not those of papers."""
    usual = usual_name(dataset)
    if usual is None or _psnr_ssim(results, dataset) is None or _is_degraded(results, dataset):
        return []
    return [one for one in published(results.run["scale"]) if usual in one.scores]


def _is_degraded(results: Results, dataset: str) -> bool:
    sets = results.run["options"]["datasets"].values()
    return any(one["name"] == dataset and "degradation" in one for one in sets)


def _psnr_ssim(results: Results, dataset: str) -> tuple[float, float] | None:
    """PSNR and SSIM as papers have them: on the luma, a border of the scale cut; None if they were not measured so."""
    scores = means([one.scores for one in results.of(dataset)])
    found = []
    for kind in ("calculate_psnr", "calculate_ssim"):
        for name, metric in results.run["options"]["val"]["metrics"].items():
            if (metric["type"], metric.get("test_y_channel"), metric["crop_border"]) == (
                kind,
                True,
                results.run["scale"],
            ):
                found.append(scores[name])
    return (found[0], found[1]) if len(found) == 2 else None


def _plots(results: Results) -> str:
    plots = []
    for dataset in results.datasets:
        known, ours = _known(results, dataset), _psnr_ssim(results, dataset)
        if known and ours and results.run["parameters"]:
            plots.append((f"{dataset}: parameters", _parameters_plot(known, results, dataset, ours[0])))
    plots.append(("time", _time_plot(results)))
    return "".join(
        f'<img class="plot" alt="{escape(name)}" src="{_data(figure, "svg")}">' for name, figure in plots
    ) + (
        "<p>Parameters: PSNR as published, beside what was measured here; where names would cover each other, one of"
        " them is written, and the tables above have them all. Time: each image and the mean of each set, by the"
        " seconds that enlarging took on this machine.</p>"
    )


def _parameters_plot(known: Sequence[Published], results: Results, dataset: str, psnr: float) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    usual = usual_name(dataset)
    assert usual is not None
    ours = results.run["parameters"] / 1000, psnr
    points = {one.name: (one.parameters, one.scores[usual][0]) for one in known if one.parameters}
    panel.plot(*zip(*points.values(), strict=True), "o", color="tab:gray", markersize=5)
    panel.plot(*ours, "*", color="tab:red", markersize=14, label=f"{results.run['weights']}, measured")
    panel.legend(loc="lower right")
    for name in _readable(points):
        panel.annotate(name, points[name], xytext=(4, 3), textcoords="offset points", fontsize=7)
    panel.set(title=f"{dataset}, ×{results.run['scale']}", xlabel="parameters, thousands", ylabel="PSNR, dB")
    panel.grid(alpha=0.3)
    return figure


def _readable(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Of names that would be written over each other, the one of the highest point."""
    wide, high = (np.ptp(side) for side in zip(*points.values(), strict=True))
    chosen: list[str] = []
    for name in sorted(points, key=lambda name: -points[name][1]):
        x, y = points[name]
        beside = [points[other] for other in chosen]
        if not any(abs(x - left) < 0.17 * wide and abs(y - up) < 0.05 * high for left, up in beside):
            chosen.append(name)
    return chosen


def _time_plot(results: Results) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    panel = figure.subplots()
    metric = next(iter(results.found[0].scores))
    for index, dataset in enumerate(results.datasets):
        found, colour = results.of(dataset), f"C{index}"
        for marker, seconds, scores in (
            ("o", [one.seconds for one in found], [one.scores[metric] for one in found]),
            ("x", [one.bicubic_seconds for one in found], [one.bicubic[metric] for one in found]),
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


def _example(example: Example) -> str:
    kind = "largest" if example.most else "smallest"
    crops = (("bicubic", example.bicubic), ("SR", example.sr), ("HR", example.hr))
    sources = {name: _data(encode_png(pixels), "png") for name, pixels in crops}
    figures = "".join(
        f'<figure><img alt="{name}" src="{source}"><figcaption>{name}</figcaption></figure>'
        for name, source in sources.items()
    )
    slider = (
        f'<figure><div class="slider"><img alt="bicubic" src="{sources["bicubic"]}">'
        f'<img alt="SR" src="{sources["SR"]}">'
        '<input type="range" aria-label="from bicubic to SR" value="50"'
        " oninput=\"this.parentNode.style.setProperty('--at', this.value + '%')\"></div>"
        "<figcaption>bicubic | SR</figcaption></figure>"
    )
    return (
        f"<h3>{escape(example.dataset)}: {escape(example.image)}, the {kind} gain</h3>"
        f'<div class="crops">{figures}{slider}</div>'
    )


def _images_table(results: Results, dataset: str) -> str:
    found = results.of(dataset)
    names = list(found[0].scores)
    rows = [[one.image, *compared(one.scores, one.bicubic), f"{one.seconds:.3f}"] for one in found]
    table = _table(["image", *names, "seconds"], rows)
    return f"<details><summary>{escape(dataset)}, {len(found)} images</summary>{table}</details>"


def _provenance(run: Mapping[str, Any]) -> str:
    rows = [[name, str(run[name])] for name in ("commit", "machine", "versions", "weights_sha256")]
    rows.append(["made", time.strftime("%Y-%m-%d")])
    return (
        _table(["", ""], rows)
        + f"<details><summary>options</summary><pre>{escape(_lines(run['options']))}</pre></details>"
    )


def _lines(values: Any, indent: str = "") -> str:
    if not isinstance(values, Mapping):
        return f" {values}"
    return "".join(f"\n{indent}{name}:{_lines(value, indent + '  ')}" for name, value in values.items())


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


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
