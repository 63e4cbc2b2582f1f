"""The page for a Space, through gradio's own client."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import picture

gradio = pytest.importorskip("gradio")

FOLDER = Path(__file__).parents[2] / "integrations/space"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def app() -> Any:
    spec = importlib.util.spec_from_file_location("space_app", FOLDER / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_picture_goes_in_and_two_come_out(app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradio_client import Client, handle_file

    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    _, address, _ = app.demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        client = Client(address, verbose=False)
        given = handle_file(picture(tmp_path / "a.png", 12, 18))
        bicubic, enlarged = client.predict(given, 3, "Clean and sharp", api_name="/enlarge")
    finally:
        app.demo.close()
    assert Image.open(bicubic).size == Image.open(enlarged).size == (54, 36)


def test_large_pictures_and_none_are_refused(app: Any) -> None:
    with pytest.raises(gradio.Error, match="Choose a picture"):
        app.enlarge(None, 2, "Clean and sharp")
    with pytest.raises(gradio.Error, match="more than 2 megapixels"):
        app.enlarge(Image.new("L", (2000, 1001)), 2, "Clean and sharp")


def test_the_space_names_its_page() -> None:
    assert re.search(r"^app_file: app\.py$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert "bgai[pil]" in (FOLDER / "requirements.txt").read_text()
