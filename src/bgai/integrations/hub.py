"""The network on the Hugging Face Hub, with `from_pretrained`, `save_pretrained` and `push_to_hub`.

A repository holds `model.safetensors`, which is one of our files of weights (`bgai upscale --weights` takes it too),
`config.json` and a model card. Needs the extra `[hub]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from bgai.errors import MissingExtraError
from bgai.network.config import NetworkConfig
from bgai.network.model import BGAI
from bgai.types import Tensors
from bgai.weights.catalogue import Entry, describe
from bgai.weights.checkpoint import save_network
from bgai.weights.reading import blended_weights, read_weights
from bgai.weights.safetensors_file import read_metadata
from bgai.weights.sources import Weights, find_weights

try:
    from huggingface_hub import EvalResult, ModelCard, ModelCardData, PyTorchModelHubMixin, hf_hub_download
except ModuleNotFoundError as error:
    raise MissingExtraError("hub", "bgai.integrations.hub") from error

FILE = "model.safetensors"
_TASK = "image-to-image"


class HubNetwork(BGAI, PyTorchModelHubMixin, library_name="bgai"):  # type: ignore[misc, call-arg]
    """The network, to and from folders and repositories of the Hub; otherwise what `bgai.load_network` gives.

    Args:
        config: The network's settings.
        metadata: What its file of weights says of them: `halo`, `purpose`, `data`, `scores` and more.

    Examples:
        >>> HubNetwork.from_weights("photo", scale=2).save_pretrained(folder)  # doctest: +SKIP
        >>> HubNetwork.from_pretrained(folder).config.scale  # doctest: +SKIP
        2
    """

    # Of the mixin: type checkers would look for them among the parts of a module.
    save_pretrained: Callable[..., Any]
    push_to_hub: Callable[..., Any]

    def __init__(self, config: NetworkConfig, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(config)
        self.metadata = dict(metadata or {})

    @classmethod
    def from_pretrained(cls, folder_or_repository: str | Path, **options: Any) -> HubNetwork:
        """The network of a folder that `save_pretrained` wrote, or of a repository of the Hub.

        Args:
            folder_or_repository: A folder, or a name such as `someone/photo_x2`.
            options: `revision`, `token`, `cache_dir`, `local_files_only` and `force_download`, as in huggingface_hub.

        Returns:
            The network in float32 on the CPU, in evaluation mode.

        Raises:
            WeightsError: The file is missing from the folder, damaged, or not of this network.
        """
        network: HubNetwork = super().from_pretrained(folder_or_repository, **options)
        return network

    @classmethod
    def from_weights(cls, weights: str | Path | Weights | None = None, scale: int | None = None) -> HubNetwork:
        """The network of weights of any kind, to be saved for the Hub.

        Args:
            weights: As for `bgai.find_weights`.
            scale: The same.

        Raises:
            WeightsError: The weights cannot be had, or are not of this network.
        """
        found = find_weights(weights, scale)
        metadata = read_metadata(found.file) if found.file.suffix == ".safetensors" else {}
        return cls._build(*blended_weights(found), {**metadata, "halo": str(found.halo)})

    def generate_model_card(self, license: str | None = None) -> ModelCard:
        """The page of the repository: what the weights are for, how they are used, and their scores.

        Args:
            license: Of the weights, such as `mit`; the page names none where it is None. `save_pretrained` and
                `push_to_hub` take it as `model_card_kwargs={"license": "mit"}`.
        """
        entry = self._describe()
        data = ModelCardData(
            library_name="bgai",
            license=license,
            pipeline_tag=_TASK,
            tags=["super-resolution", "image-upscaling"],
            model_name=f"BGAI ×{entry.scale}",
            eval_results=[
                EvalResult(_TASK, dataset.lower(), dataset, metric, value, task_name="Image super-resolution")
                for dataset, means in entry.scores.items()
                for metric, value in means.items()
            ]
            or None,
        )
        return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_page(entry)}")

    def _describe(self) -> Entry:
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            self._save_pretrained(Path(folder))
            return describe(Path(folder) / FILE)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_network(self, save_directory / FILE, self.metadata)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        config: object = None,
        metadata: object = None,
    ) -> HubNetwork:
        """Load the file of weights, which says the settings itself: `config` is that of `config.json`."""
        file = Path(model_id) / FILE
        if not Path(model_id).is_dir():
            file = Path(
                hf_hub_download(
                    model_id,
                    FILE,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        return cls._build(*read_weights(file), read_metadata(file))

    @classmethod
    def _build(cls, config: NetworkConfig, tensors: Tensors, metadata: Mapping[str, str]) -> HubNetwork:
        network = cls(config, metadata)
        network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
        network.eval()
        return network


def _page(entry: Entry) -> str:
    """The text of a model card."""
    said = [("For", entry.purpose), ("Trained on", entry.data), ("Teacher", entry.teacher)]
    facts = [f"- {name}: {text}" for name, text in said if text]
    facts += [f"- Parameters: {entry.parameters:,}", f"- Halo of tiles: {entry.halo} pixels"]
    scores = [
        f"| {dataset} | {means.get('psnr', '')} | {means.get('ssim', '')} |" for dataset, means in entry.scores.items()
    ]
    table = ["", "| | PSNR (luma, dB) | SSIM |", "|---|---|---|", *scores] if scores else []
    return "\n".join(
        [
            f"# BGAI ×{entry.scale}",
            "",
            f"Weights of the super-resolution network BGAI, which enlarges pictures {entry.scale} times.",
            "",
            *facts,
            *table,
            "",
            "With the package `bgai`:",
            "",
            "    from bgai.integrations.hub import HubNetwork",
            "",
            '    network = HubNetwork.from_pretrained("…")   # N x 3 x H x W in [0, 1]',
            "",
            "or download `model.safetensors` and run `bgai upscale photo.jpg --weights model.safetensors`.",
            "",
        ]
    )
