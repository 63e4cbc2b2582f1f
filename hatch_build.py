"""The package's page: the repository's addresses, and a README whose links and pictures work there.

The address comes from the environment variable `BGAI_REPOSITORY`, which the workflows set to the repository that they
run in. Without it, the page has no addresses and the README stands as it is.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


class PackagePage(MetadataHookInterface):
    """Gives the package's metadata its `urls` and `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add both to `[project]`."""
        repository = os.environ.get("BGAI_REPOSITORY", "")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links(text, repository, f"v{metadata['version']}") if repository else text,
        }
        metadata["urls"] = {"Authors' code": "https://github.com/bbbolt/BGAI"}
        if repository:
            metadata["urls"] |= {
                "Repository": repository,
                "Issues": f"{repository}/issues",
                "Changelog": f"{repository}/blob/main/CHANGELOG.md",
            }


def with_absolute_links(text: str, repository: str, tag: str) -> str:
    """Markdown whose relative links point to the files of a tag."""

    def absolute(link: re.Match[str]) -> str:
        image, label, path = link.groups()
        return f"{image}[{label}]({repository}/{'raw' if image else 'blob'}/{tag}/{path})"

    return _LINK.sub(absolute, text)
