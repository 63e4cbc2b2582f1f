"""MkDocs hooks: pages from files outside `docs`, and links that work both in the repository and on the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import bgai

_ROOT = Path(__file__).parent.parent
_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
    "LICENSE": "licence.md",
    "NOTICE": "notice.md",
}
_SOURCES = {page: source for source, page in _PAGES.items()}
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for source, page in _PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links between files of the repository into links between pages."""
    source = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def linked(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        return f"]({_PAGES.get(target, target.removeprefix('docs/'))}"

    if source == "docs/api.md":
        return markdown.replace("<!-- names -->", _reference(2, False)).replace("<!-- errors -->", _reference(3, True))
    if source == "LICENSE":
        return markdown.replace("MIT License", "# Licence", 1)
    if source == "NOTICE":
        return f"# Notice\n\n{markdown}"
    return _LINK.sub(linked, markdown)


def _reference(level: int, errors: bool) -> str:
    """The reference of all public names that are, or are not, errors."""
    names = [name for name in bgai.__all__ if name[0] != "_" and name.endswith("Error") == errors]
    return "\n\n".join(f"::: bgai.{name}\n    options:\n      heading_level: {level}" for name in names)
