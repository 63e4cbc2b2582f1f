"""Recipes of outputs: how they differ, and what they are made of."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bgai.upscaling.recipe import Recipe, difference, file_digest, read_recipe, weights_digest
from bgai.weights.sources import Weights, find_weights

RECIPE = Recipe("12-ab", "4", "cd", "95")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (RECIPE, ""),
        (None, "does not say what made it"),
        (replace(RECIPE, source="13-ab"), "was made from another picture"),
        (replace(RECIPE, scale="2"), "was made at ×2"),
        (replace(RECIPE, weights="ce"), "was made with other weights"),
        (replace(RECIPE, quality="80"), "was made with quality 80"),
    ],
)
def test_a_difference_in_words(found: Recipe | None, words: str) -> None:
    assert difference(found, RECIPE) == words


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000  # more than is read at once
    (tmp_path / "a").write_bytes(content)
    assert file_digest(tmp_path / "a") == f"1280000-{hashlib.sha256(content).hexdigest()[:32]}"


def test_weights_are_the_same_wherever_they_lie(tmp_path: Path) -> None:
    shipped = find_weights("bgai", 4)
    shutil.copy(shipped.file, tmp_path / "copy.safetensors")
    copy = find_weights(tmp_path / "copy.safetensors")
    digests = {
        weights_digest(copy),
        weights_digest(find_weights("bgai", 2)),
        weights_digest(replace(copy, other=find_weights("photo", 4).file, clean=0.5)),
        weights_digest(replace(copy, other=find_weights("photo", 4).file, clean=0.6)),
        weights_digest(copy, Weights("photo", find_weights("photo", 4).file)),
    }
    assert len(digests) == 5
    assert weights_digest(copy) == weights_digest(shipped)
    copy.file.write_bytes(b"other weights")
    assert weights_digest(copy) not in digests


def test_what_is_no_picture_has_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    assert read_recipe(tmp_path / "a.png") is None
    assert read_recipe(tmp_path / "b.png") is None
