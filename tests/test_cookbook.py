"""The examples in docs/cookbook.md, each in a folder with a picture and a video."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from support import texture

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/cookbook.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))


def missing_packages(section: str) -> list[str]:
    imported = re.findall(r">>> (?:import|from) (\w+)", section)
    return [name for name in imported if importlib.util.find_spec(name) is None]


def save_clip(path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for seed in range(3):
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(texture(48, 64, seed=seed), format="rgb24")))
        clip.mux(stream.encode(None))


class Checker(doctest.OutputChecker):
    """Leaves out what IPython prints outside of notebooks to clear a line."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, re.sub(r"(\x1b\[2K\r)+\n?", "", got), optionflags)


def test_sections_are_found() -> None:
    assert len(SECTIONS) > 5
    assert all(">>> " in section for section in SECTIONS.values())


@pytest.mark.filterwarnings("ignore")  # of the packages that the examples use
@pytest.mark.parametrize("title", SECTIONS)
def test_examples_run(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = SECTIONS[title]
    if missing := missing_packages(section):
        pytest.skip(f"{', '.join(missing)} not installed")
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples/cat.jpg", tmp_path)
    if "clip.mp4" in section:
        save_clip(tmp_path / "clip.mp4")
    report: list[str] = []
    example = doctest.DocTestParser().get_doctest(section, {}, title, "cookbook.md", 0)
    results = doctest.DocTestRunner(Checker()).run(example, out=report.append)
    assert results.attempted > 2
    assert results.failed == 0, "".join(report)
