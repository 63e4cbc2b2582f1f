"""Tests of weights on sets of images, from an option file to the page."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from support import CPU_ENGINE, texture

from bgai.cluster.pool import Pool
from bgai.datasets.degradation import jpeg
from bgai.datasets.lmdb_store import pack_lmdb
from bgai.datasets.matlab_resize import imresize
from bgai.errors import EngineError, ImageError, MissingExtraError, UsageError, WeightsError
from bgai.evaluation.measuring import Enlarger, Place, TestSets
from bgai.evaluation.metrics import psnr
from bgai.evaluation.on_cluster import Measuring
from bgai.evaluation.result_folder import Measurement, Results, means
from bgai.evaluation.run import run_test
from bgai.network.config import NetworkConfig
from bgai.options.evaluation import TestOptions
from bgai.types import RgbImage
from bgai.upscaling.upscaler import Upscaler
from bgai.weights import reading
from bgai.weights.safetensors_file import read_safetensors
from bgai.weights.shapes import parameter_count

METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True},
    "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two pictures, one of them of odd sides, and one in grey."""
    folder = tmp_path / "set/HR"
    folder.mkdir(parents=True)
    for name, size in (("even", (64, 80)), ("odd", (61, 75))):
        Image.fromarray(texture(*size)).save(folder / f"{name}.png")
    Image.fromarray(texture(50, 60)[..., 0]).save(folder / "grey.png")
    return folder


def options(images: Path, **more: Any) -> TestOptions:
    return TestOptions.model_validate(
        {
            "name": "run",
            "scale": 2,
            "datasets": {"test_1": {"name": "Set5", "dataroot_gt": images, "dataroot_lq": images.with_name("X2")}},
            "val": {"metrics": METRICS},
            **more,
        }
    )


def test_scores_are_those_of_the_upscaler(images: Path, tmp_path: Path) -> None:
    results = run_test(options(images, val={"metrics": METRICS, "save_img": True}), root=tmp_path / "results")
    upscaler = Upscaler(2)
    for one in results.measurements:
        hr = np.asarray(Image.open(images / f"{one.image}.png").convert("RGB"))
        hr = hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2]
        lr = imresize(hr, 0.5)
        assert one.scores["psnr"] == pytest.approx(psnr(upscaler.upscale(lr), hr, 2))
        assert one.bicubic["psnr"] == pytest.approx(psnr(imresize(lr, 2), hr, 2))
        saved = Image.open(tmp_path / f"results/run/visualization/Set5/{one.image}_run.png")
        np.testing.assert_array_equal(np.asarray(saved), upscaler.upscale(lr))
    summary = json.loads((tmp_path / "results/run/metrics.json").read_text())["Set5"]
    assert summary["psnr"] == pytest.approx(np.mean([one.scores["psnr"] for one in results.measurements]))
    assert set(summary["images"]) == {"even", "odd", "grey"}
    assert np.asarray(Image.open(images.with_name("X2") / "odd.png")).shape == (30, 37, 3)
    run = json.loads((tmp_path / "results/run/run.json").read_text())
    assert run["parameters"] == 297_572
    assert run["engine"] == CPU_ENGINE


def test_the_page_holds_everything(images: Path, tmp_path: Path) -> None:
    run_test(options(images), root=tmp_path / "results")
    page = (tmp_path / "results/run/report.html").read_text()
    assert "SwinIR-light" in page  # Set5 at ×2 is a set with known figures
    assert "largest gain" in page
    assert "smallest gain" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|https://)", page)
    assert not re.findall(r"src=\"https://", page)


def test_it_goes_on_image_by_image(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[str] = []
    add = Results.add

    def interrupted(self: Results, measurement: Measurement) -> None:
        if len(added) == 2:
            raise KeyboardInterrupt
        add(self, measurement)
        added.append(measurement.image)

    monkeypatch.setattr(Results, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_test(options(images), root=tmp_path)
    assert added == ["even", "grey"]
    added.clear()
    whole = run_test(options(images), root=tmp_path)
    assert added == ["odd"]
    assert [one.image for one in whole.measurements] == ["even", "grey", "odd"]
    assert not list(tmp_path.glob("run_archived*"))


@pytest.mark.parametrize("suffix", ["/../../../../../evil", "..", "a/b", "a\\b", "a\x00b", "x" * 300])
def test_a_suffix_cannot_lead_out_of_the_results(images: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        options(images, val={"metrics": METRICS, "save_img": True, "suffix": suffix})


def test_a_name_in_a_store_cannot_lead_out_of_the_results(images: Path, tmp_path: Path) -> None:
    store = tmp_path / "set.lmdb"
    pack_lmdb(images, store)
    rename_key(store, "even", "../../../evil")
    dataset = {"name": "Set5", "dataroot_gt": store, "io_backend": {"type": "lmdb"}}
    values = options(images, datasets={"test_1": dataset}, val={"metrics": METRICS, "save_img": True})
    with pytest.raises(UsageError, match=r"'../../../evil_run.png' cannot be the name of a file below"):
        run_test(values, root=tmp_path / "results/below")
    assert not list(tmp_path.rglob("evil*"))


def rename_key(store: Path, before: str, after: str) -> None:
    import lmdb

    with lmdb.open(str(store), map_size=2**30) as environment, environment.begin(write=True) as transaction:
        content = transaction.pop(before.encode())
        assert content is not None
        transaction.put(after.encode(), content)
    meta = store / "meta_info.txt"
    meta.write_text(meta.read_text().replace(f"{before}.png", f"{after}.png"))


def test_no_image_is_enlarged_twice(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    upscale = Upscaler.upscale

    def counted(self: Upscaler, lr: RgbImage) -> RgbImage:
        calls.append(1)
        return upscale(self, lr)

    monkeypatch.setattr(Upscaler, "upscale", counted)
    run_test(options(images), root=tmp_path)
    assert len(calls) == 3


class ClusterHere:
    """In place of a cluster: processes of it in this one, in reverse order, some of which end each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost: set[str] = set()
        self.done: list[str] = []
        self.memory = 0
        monkeypatch.setattr("bgai.evaluation.run.check_cluster", lambda pool: None)
        monkeypatch.setattr("bgai.evaluation.run.run_on_cluster", self._run)

    def _run(self, places: Sequence[Place], work: Measuring, pool: Pool) -> Iterator[tuple[Place, Any]]:
        self.memory = work.memory
        measure = pickle.loads(pickle.dumps(work)).open()
        for place in reversed(places):
            if place[1] in self.lost:
                yield place, EngineError("its process ended")
                continue
            self.done.append(place[1])
            yield place, measure(place)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> ClusterHere:
    return ClusterHere(monkeypatch)


def test_results_of_a_cluster_are_those_of_one_machine(images: Path, tmp_path: Path, cluster: ClusterHere) -> None:
    sets = {
        "test_1": {"name": "Set5", "dataroot_gt": images, "dataroot_lq": images.with_name("X2")},
        "test_2": {"name": "single", "type": "SingleImageDataset", "dataroot_lq": str(images)},
    }
    values = options(images, datasets=sets, val={"metrics": METRICS, "save_img": True})
    alone = run_test(values, root=tmp_path / "alone")
    steps: list[tuple[str, int, int]] = []
    spread = run_test(values, root=tmp_path / "spread", pool=Pool(cpus=2), progress=lambda *step: steps.append(step))
    assert [(one.image, one.scores, one.bicubic) for one in spread.measurements] == [
        (one.image, one.scores, one.bicubic) for one in alone.measurements
    ]
    pictures = [
        {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*.png")}
        for root in (tmp_path / "alone", tmp_path / "spread")
    ]
    assert len(pictures[0]) == 6
    assert pictures[0] == pictures[1]
    assert "smallest gain" in (tmp_path / "spread/run/report.html").read_text()
    assert spread.run["machine"].startswith("a cluster, with 2 CPU cores and 0 GPUs for each image; driver: ")
    assert [step for step in steps if "reading" not in step[0] and "making" not in step[0]] == [
        ("Set5", 0, 3),
        *(("single", done, 3) for done in (1, 2, 3)),
        *(("Set5", done, 3) for done in (1, 2, 3)),
    ]
    assert cluster.memory == 2**30


def test_images_that_end_their_processes(images: Path, tmp_path: Path, cluster: ClusterHere) -> None:
    """The others are measured, and the same command tries these alone."""
    cluster.lost = {"even", "grey"}
    with pytest.raises(EngineError) as failure:
        run_test(options(images), root=tmp_path, pool=Pool())
    assert str(failure.value).splitlines() == [
        "all other images were measured:",
        "  Set5: grey: its process ended",
        "  Set5: even: its process ended",
    ]
    cluster.lost.clear()
    results = run_test(options(images), root=tmp_path, pool=Pool())
    assert cluster.done == ["odd", "grey", "even"]
    assert [one.image for one in results.measurements] == ["even", "grey", "odd"]
    run_test(options(images), root=tmp_path, pool=Pool())
    assert len(cluster.done) == 3


def test_processes_that_would_measure_something_else(images: Path, tmp_path: Path) -> None:
    work = Measuring(options(images), TestSets({}, {}, (), tmp_path, ""), "auto", "cpu", 0, {})
    run = Enlarger(work.options, "auto", "cpu").identity()
    assert callable(replace(work, run=run).open())
    with pytest.raises(
        EngineError, match=f"a machine of the cluster has the engine {CPU_ENGINE}, this one torch"
    ) as error:
        replace(work, run={**run, "engine": "torch"}).open()
    assert error.value.parameter == "engine"


def test_a_test_on_the_cpu_takes_no_gpus(images: Path) -> None:
    with pytest.raises(UsageError, match="GPUs for processes on the device cpu: leave one of them out"):
        run_test(options(images, num_gpu=0), pool=Pool(gpus=1))


def test_ray_may_be_missing(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"a cluster needs the extra 'cluster': install it with"):
        run_test(options(images), root=tmp_path / "results", pool=Pool())
    assert not (tmp_path / "results").exists()
    assert not images.with_name("X2").exists()


def test_memory_of_whole_images(images: Path) -> None:
    whole, tiled = (Enlarger(options(images, tile=tile), "auto", "cpu") for tile in (0, "auto"))
    assert whole.memory_needed({"small": [(40, 40)]}) == 2**30
    assert whole.memory_needed({"small": [(40, 40)], "large": [(900, 10), (1000, 2000)]}) > 2**31
    assert tiled.memory_needed({"large": [(1000, 2000)]}) == 2**30


def degraded(images: Path, **degradation: Any) -> dict[str, Any]:
    """A set as it is, and the same degraded."""
    places = {"dataroot_gt": images, "dataroot_lq": images.with_name("X2")}
    return {
        "test_1": {"name": "clean", **places},
        "test_2": {"name": "Set5", **places, "degradation": degradation},
    }


def test_degraded_images_are_what_is_measured(images: Path, tmp_path: Path) -> None:
    sets = degraded(images, jpeg={"quality": 20, "subsampling": "4:4:4"})
    values = {"metrics": METRICS, "save_img": True}
    results = run_test(options(images, datasets=sets, val=values), root=tmp_path / "results")
    upscaler = Upscaler(2)
    for one in results.of_set("Set5"):
        hr = np.asarray(Image.open(images / f"{one.image}.png").convert("RGB"))
        hr = hr[: hr.shape[0] // 2 * 2, : hr.shape[1] // 2 * 2]
        lr = jpeg(imresize(hr, 0.5), 20, subsampled=False)
        assert one.scores["psnr"] == pytest.approx(psnr(upscaler.upscale(lr), hr, 2))
        assert one.bicubic["psnr"] == pytest.approx(psnr(imresize(lr, 2), hr, 2))
        saved = Image.open(tmp_path / f"results/run/visualization/Set5/{one.image}_run.png")
        np.testing.assert_array_equal(np.asarray(saved), upscaler.upscale(lr))
        made = np.asarray(Image.open(images.with_name("X2") / f"{one.image}.png"))
        np.testing.assert_array_equal(made, imresize(hr, 0.5))
    clean, compressed = (means([one.scores for one in results.of_set(name)]) for name in ("clean", "Set5"))
    assert compressed["psnr"] < clean["psnr"] - 3
    page = (tmp_path / "results/run/report.html").read_text()
    assert "SwinIR-light" not in page  # whose published figures are of clean images


def test_noise_is_repeatable_and_follows_the_seed(images: Path, tmp_path: Path) -> None:
    sets = degraded(images, noise={"sigma": 10})
    found = [
        scores(run_test(options(images, datasets=sets, manual_seed=seed), only=["Set5"], root=tmp_path / str(run)))
        for run, seed in enumerate((0, 0, 1))
    ]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_another_degradation_is_another_test(images: Path, tmp_path: Path) -> None:
    strong, weak = (options(images, datasets=degraded(images, jpeg={"quality": quality})) for quality in (20, 95))
    first, second = (scores(run_test(one, only=["Set5"], root=tmp_path)) for one in (strong, weak))
    assert all(second[image] > first[image] for image in first)
    assert len(list(tmp_path.glob("run_archived*"))) == 1


def test_all_that_is_wrong_is_named_before_anything_runs(images: Path, tmp_path: Path) -> None:
    run_test(options(images), root=tmp_path / "first")
    lr = images.with_name("X2")
    Image.fromarray(texture(10, 10)).save(lr / "even.png")
    (lr / "grey.png").write_bytes((lr / "grey.png").read_bytes()[:300])
    with pytest.raises(ImageError) as caught:
        run_test(options(images), root=tmp_path / "second")
    message = str(caught.value)
    assert message.startswith("nothing was measured:")
    assert "even has 10 x 10 pixels; expected 40 x 32, 1/2 of" in message
    assert "grey.png" in message
    assert len(message.splitlines()) == 3
    assert not (tmp_path / "second").exists()
    (lr / "grey.png").unlink()
    (lr / "odd.png").unlink()
    with pytest.raises(ImageError, match=r"X2: expected grey, odd there$"):
        run_test(options(images), root=tmp_path / "second")


def test_sets_that_are_missing_can_be_left_out(images: Path, tmp_path: Path) -> None:
    sets = {
        "test_1": {"name": "mine", "dataroot_gt": images},
        "test_2": {"name": "Urban100", "dataroot_gt": images / "nowhere"},
    }
    both = options(images, datasets=sets)
    with pytest.raises(ImageError, match=r"Urban100: .*no such folder of images\n  sets can be left out: --only mine$"):
        run_test(both, root=tmp_path / "results")
    results = run_test(both, only=["mine"], root=tmp_path / "results")
    assert results.datasets == ["mine"]
    with pytest.raises(UsageError, match="--only Set9: the option file has mine, Urban100"):
        run_test(both, only=["Set9"])


def test_the_weights_file_is_parsed_once(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = mock.Mock(wraps=read_safetensors)
    monkeypatch.setattr(reading, "read_safetensors", read)
    results = run_test(options(images))
    assert read.call_count == 1
    assert results.run["parameters"] == parameter_count(NetworkConfig(2))


def test_names_of_low_resolution_images_may_differ(images: Path, tmp_path: Path) -> None:
    dataset = {"name": "mine", "dataroot_gt": images, "dataroot_lq": tmp_path / "low", "filename_tmpl": "{}x2"}
    for _ in range(2):
        results = run_test(options(images, datasets={"test_1": dataset}), root=tmp_path / "results")
    assert {path.name for path in (tmp_path / "low").iterdir()} == {"evenx2.png", "greyx2.png", "oddx2.png"}
    assert len(results.measurements) == 3


@pytest.fixture
def whole(images: Path, tmp_path: Path) -> dict[str, float]:
    return scores(run_test(options(images), root=tmp_path / "whole"))


def scores(results: Any) -> dict[str, float]:
    return {one.image: one.scores["psnr"] for one in results.measurements}


@pytest.mark.parametrize(
    ("more", "differ"),
    [
        ({"model_type": "TileModel", "tile": 0}, False),
        ({"model_type": "TileModel", "tile": 16}, True),
        ({"tile": "auto"}, False),
        ({"tile": 112}, False),
        ({"val": {"metrics": METRICS, "use_chop": True}}, False),
    ],
)
def test_kinds_of_tiles(
    images: Path, tmp_path: Path, whole: dict[str, float], more: dict[str, Any], differ: bool
) -> None:
    found = scores(run_test(options(images, **more), root=tmp_path / "tiles"))
    assert (found != pytest.approx(whole, abs=1e-3)) == differ


def test_what_memory_cannot_hold_is_refused(images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bgai.engines.openvino_engine import OpenVinoEngine

    monkeypatch.setattr(OpenVinoEngine, "free_memory", lambda _: 2**20)
    with pytest.raises(ImageError, match=r"image of 40 x 32 pixels as a whole takes .* GiB.*tile: auto"):
        run_test(options(images), engine="openvino", root=tmp_path)


def test_weights_have_to_fit(images: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        run_test(options(images, path={"pretrain_network_g": "none.pth"}))
    with pytest.raises(UsageError, match="network_g: channels 64; bgai ×2 has 52"):
        run_test(options(images, network_g={"channels": 64}))


class FakeMetric:
    """What pyiqa gives for a name, in as much as is used of it."""

    def __call__(self, sr: Any, hr: Any) -> Any:
        assert sr.shape == hr.shape
        assert sr.max() <= 1
        return (sr - hr).abs().mean()


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_metric(name: str, device: str) -> FakeMetric:
        return {"lpips": FakeMetric()}[name]

    monkeypatch.setitem(sys.modules, "pyiqa", SimpleNamespace(create_metric=create_metric))


@pytest.mark.usefixtures("pyiqa")
def test_metrics_of_pyiqa(images: Path, tmp_path: Path) -> None:
    metrics = {**METRICS, "lpips": {"type": "pyiqa", "metric": "lpips", "crop_border": 2}}
    results = run_test(options(images, val={"metrics": metrics}), root=tmp_path)
    assert all(0 < one.scores["lpips"] < 0.2 for one in results.measurements)
    metrics["lpips"]["metric"] = "lpipz"
    with pytest.raises(UsageError, match="'lpipz': not known to pyiqa"):
        run_test(options(images, val={"metrics": metrics}), root=tmp_path)


def test_pyiqa_may_be_missing(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    metrics = {"lpips": {"type": "pyiqa", "metric": "lpips"}}
    with pytest.raises(EngineError, match=r"lpips needs the extra 'metrics': install it with"):
        run_test(options(images, val={"metrics": metrics}), root=tmp_path)


def test_released_weights_reach_their_figures(shared: Path, tmp_path: Path) -> None:
    folder = shared / "benchmarks/Set5"
    dataset = {"name": "Set5", "dataroot_gt": folder / "HR_mod2", "dataroot_lq": folder / "X2"}
    path = {"pretrain_network_g": str(shared / "weights/official/BGAI_x2.pth")}
    results = run_test(options(folder, path=path, datasets={"test_1": dataset}), root=tmp_path)
    found = means([one.scores for one in results.measurements])
    assert found["psnr"] == pytest.approx(38.243, abs=0.005)
    assert found["ssim"] == pytest.approx(0.9615, abs=0.0001)


def test_weights_in_the_package_reach_what_is_asked_of_them(shared: Path, tmp_path: Path) -> None:
    folder = shared / "benchmarks/Set5"
    dataset = {"name": "Set5", "dataroot_gt": folder / "HR_mod2", "dataroot_lq": folder / "X2"}
    results = run_test(options(folder, datasets={"test_1": dataset}), root=tmp_path)
    assert means([one.scores for one in results.measurements])["psnr"] > 37


def test_images_without_references_are_enlarged(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    single = {"test_1": {"name": "mine", "type": "SingleImageDataset", "dataroot_lq": str(images)}}
    values = options(images, datasets=single, val={"save_img": True})
    results = run_test(values, root=tmp_path)
    assert results.measurements == []
    pictures = sorted((tmp_path / "run/visualization/mine").iterdir())
    assert [path.name for path in pictures] == ["even_run.png", "grey_run.png", "odd_run.png"]
    expected = Upscaler(2).upscale(np.asarray(Image.open(images / "odd.png")))
    np.testing.assert_array_equal(np.asarray(Image.open(pictures[2])), expected)
    pictures[0].unlink()
    calls: list[Path] = []
    monkeypatch.setattr("bgai.evaluation.measuring.save_rgb_png", lambda path, pixels: calls.append(path))
    run_test(values, root=tmp_path)
    assert [path.name for path in calls] == ["even_run.png"]  # the others are there


def test_a_set_says_whether_its_images_are_kept(images: Path, tmp_path: Path) -> None:
    sets = {
        f"test_{name}": {"name": name, "dataroot_gt": images, "save_img": name == "kept"} for name in ("kept", "no")
    }
    run_test(options(images, datasets=sets, path={"results_root": str(tmp_path / "elsewhere")}))
    assert [path.name for path in (tmp_path / "elsewhere/run/visualization").iterdir()] == ["kept"]


def test_the_mean_of_all_orientations_is_one_way_to_enlarge(images: Path, tmp_path: Path) -> None:
    values = options(images, val={"metrics": METRICS, "save_img": True, "selfensemble_testing": True})
    run_test(values, root=tmp_path)
    saved = np.asarray(Image.open(tmp_path / "run/visualization/Set5/odd_run.png"))
    lr = np.asarray(Image.open(images.with_name("X2") / "odd.png"))
    engine = Upscaler(2).engine
    total = np.zeros((*saved.shape,), np.float64)
    for transposed in (False, True):
        for down in (1, -1):
            for across in (1, -1):
                turned = lr.transpose(1, 0, 2) if transposed else lr
                turned = np.ascontiguousarray(turned[::down, ::across]).astype(np.float32) / np.float32(255)
                sr = engine(turned.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)[::down, ::across]
                total += sr.transpose(1, 0, 2) if transposed else sr
    expected = np.rint((total / 8).clip(0, 1) * 255)
    assert np.abs(saved - expected).max() <= 1
    assert np.mean(saved != expected) < 1e-3
    with pytest.raises(ValueError, match="selfensemble_testing: expected whole images"):
        options(images, tile=32, val={"metrics": METRICS, "selfensemble_testing": True})
