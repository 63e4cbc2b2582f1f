"""The node for ComfyUI, between stand-ins for three of ComfyUI's modules.

`integrations/comfyui/check.py` tries it in a real ComfyUI.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from support import copied

import bgai.tensors
from bgai.errors import BgaiError
from bgai.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, BgaiUpscale
from bgai.upscaling.upscaler import Upscaler

FOLDER = Path(__file__).parents[2] / "integrations/comfyui"


class StoppedError(Exception):
    """ComfyUI's way to stop a workflow."""


class ComfyUI:
    """What the node asks of ComfyUI: the progress that it was told, and whether the user has stopped it."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.progress: list[tuple[int, int]] = []
        self.stop_after = 1000

    def ProgressBar(self, total: int) -> ComfyUI:  # noqa: N802
        return self

    def update_absolute(self, value: int, total: int) -> None:
        self.progress.append((value, total))

    def throw_exception_if_processing_interrupted(self) -> None:
        if len(self.progress) >= self.stop_after:
            raise StoppedError

    def soft_empty_cache(self) -> None:
        pass

    def get_filename_list(self, folder: str) -> list[str]:
        assert folder == "upscale_models"
        return sorted(file.name for file in self.models.iterdir())

    def get_full_path_or_raise(self, folder: str, name: str) -> str:
        if not (self.models / name).is_file():
            raise FileNotFoundError(f"Model in folder '{folder}' with filename '{name}' not found.")
        return str(self.models / name)


@pytest.fixture
def comfyui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ComfyUI:
    stand_in = ComfyUI(tmp_path)
    for name in ("comfy", "comfy.utils", "comfy.model_management", "folder_paths"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    comfy: Any = sys.modules["comfy"]
    comfy.utils, comfy.model_management = sys.modules["comfy.utils"], sys.modules["comfy.model_management"]
    for name in [name for name in dir(ComfyUI) if name[0] != "_"]:
        for module in ("comfy.utils", "comfy.model_management", "folder_paths"):
            setattr(sys.modules[module], name, getattr(stand_in, name))
    return stand_in


def test_a_batch_is_enlarged_as_an_upscaler_does(comfyui: ComfyUI) -> None:
    images = torch.rand(2, 9, 14, 3)
    (enlarged,) = BgaiUpscale().upscale(images, "bgai", 2, engine="openvino")
    expected = bgai.tensors.upscale(images.movedim(-1, 1), Upscaler(2, engine="openvino")).movedim(1, -1)
    assert enlarged.shape == (2, 18, 28, 3)
    assert enlarged.is_contiguous()
    torch.testing.assert_close(enlarged, expected, rtol=0, atol=0)
    assert comfyui.progress[-1] == (2 * 18 * 28, 2 * 18 * 28)


def test_values_out_of_range_are_clamped_and_alpha_stays(comfyui: ComfyUI) -> None:
    (enlarged,) = BgaiUpscale().upscale(torch.full((1, 5, 4, 4), 1.01), "photo", 2, engine="openvino")
    assert enlarged.shape == (1, 10, 8, 4)
    assert (enlarged == 1).all()


def test_a_stop_ends_the_work_between_tiles(comfyui: ComfyUI) -> None:
    comfyui.stop_after = 2
    with pytest.raises(StoppedError):
        BgaiUpscale().upscale(torch.rand(3, 5, 4, 3), "bgai", 2, engine="openvino")
    assert len(comfyui.progress) == 2


def test_a_file_among_the_models_is_taken_with_its_scale(comfyui: ComfyUI, tmp_path: Path) -> None:
    copied(tmp_path / "mine.safetensors")
    fields = BgaiUpscale.INPUT_TYPES()
    assert "mine.safetensors" in fields["required"]["weights"][0]
    (enlarged,) = BgaiUpscale().upscale(torch.rand(1, 5, 4, 3), "mine.safetensors", 4, engine="openvino")
    assert enlarged.shape == (1, 10, 8, 3)


def test_a_link_to_a_file_that_is_gone_is_an_error(comfyui: ComfyUI, tmp_path: Path) -> None:
    (tmp_path / "gone.pth").symlink_to(tmp_path / "elsewhere.pth")
    assert "gone.pth" in BgaiUpscale.INPUT_TYPES()["required"]["weights"][0]
    with pytest.raises(FileNotFoundError, match=r"'gone\.pth' not found"):
        BgaiUpscale().upscale(torch.rand(1, 5, 4, 3), "gone.pth", 2, engine="openvino")


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, {"tile": None, "halo": None, "memory": None, "clean": None}),
        ({"weights": "between bgai and photo", "clean": 0.25}, {"weights": None, "clean": 0.25}),
        ({"tile": 0, "halo": 64, "memory": 512}, {"tile": 0, "halo": 64, "memory": 2**29}),
        ({"precision": "half", "compile": True, "device": "cuda:1"}, {"precision": "half", "compile": True}),
    ],
)
def test_fields_become_the_upscalers_choices(
    comfyui: ComfyUI, monkeypatch: pytest.MonkeyPatch, wish: dict[str, Any], expected: dict[str, Any]
) -> None:
    taken: dict[str, Any] = {}

    def upscaler(scale: int, weights: str | None, engine: str, device: str, **options: Any) -> Upscaler:
        taken.update(options, weights=weights, device=device)
        return Upscaler(2)

    monkeypatch.setattr("bgai.integrations.comfyui.Upscaler", upscaler)
    BgaiUpscale().upscale(torch.rand(1, 5, 4, 3), **{"weights": "bgai", "scale": 2, **wish})
    assert taken.items() >= expected.items()
    assert taken["device"] == wish.get("device", "auto")


def test_the_result_may_have_a_size(comfyui: ComfyUI) -> None:
    (enlarged,) = BgaiUpscale().upscale(torch.rand(1, 10, 20, 3), "bgai", 2, width=30, engine="openvino")
    assert enlarged.shape == (1, 15, 30, 3)


def test_fields_have_the_defaults_of_the_function(comfyui: ComfyUI) -> None:
    defaults = BgaiUpscale.upscale.__defaults__
    names = BgaiUpscale.upscale.__code__.co_varnames[4 : 4 + len(defaults or ())]
    fields = BgaiUpscale.INPUT_TYPES()["optional"]
    assert list(fields) == list(names)
    for name, default in zip(names, defaults or (), strict=True):
        kind, options = fields[name]
        assert (kind[0] if isinstance(kind, list) else options["default"]) == default


def test_impossible_fields_are_one_clear_error(comfyui: ComfyUI) -> None:
    with pytest.raises(BgaiError, match="tile 17: expected a multiple of 16"):
        BgaiUpscale().upscale(torch.rand(1, 5, 4, 3), "bgai", 2, tile=17)


def test_the_folder_is_a_custom_node(comfyui: ComfyUI) -> None:
    spandrel = pytest.importorskip("spandrel")
    spec = importlib.util.spec_from_file_location("custom_nodes.bgai", FOLDER / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.NODE_CLASS_MAPPINGS is NODE_CLASS_MAPPINGS
    assert NODE_DISPLAY_NAME_MAPPINGS.keys() == NODE_CLASS_MAPPINGS.keys()
    assert "BGAI" in spandrel.MAIN_REGISTRY


def test_the_workflow_names_fields_that_are_there(comfyui: ComfyUI) -> None:
    nodes = json.loads((FOLDER / "workflow.json").read_text())
    mine = [node for node in nodes.values() if node["class_type"] in NODE_CLASS_MAPPINGS]
    assert mine
    for node in mine:
        fields = NODE_CLASS_MAPPINGS[node["class_type"]].INPUT_TYPES()
        assert fields["required"].keys() <= node["inputs"].keys() <= {**fields["required"], **fields["optional"]}.keys()
        for name, value in node["inputs"].items():
            kind = {**fields["required"], **fields["optional"]}[name][0]
            assert not isinstance(kind, list) or value in kind
