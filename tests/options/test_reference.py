"""The page of all keys."""

from __future__ import annotations

from pathlib import Path

from bgai.options.reference import page

ROOT = Path(__file__).parents[2]


def test_the_page_in_the_docs_is_that_of_the_code() -> None:
    """`python -m bgai.options.reference > docs/option-keys.md` writes it anew."""
    assert (ROOT / "docs/option-keys.md").read_text(encoding="utf-8") == page()


def test_keys_have_values_defaults_and_meaning() -> None:
    text = page()
    assert "| `batch_size_per_gpu` | whole number | needed |" in text
    assert "### `train.scheduler`, type `MultiStepLR`" in text
    assert "| `fused` | `true` or `false` |  | Attend without stored maps" in text
    assert "### `datasets.test_…`, type `SingleImageDataset`" in text
    assert "### `val.metrics.NAME`, type `pyiqa`" in text
    assert "None" not in text
