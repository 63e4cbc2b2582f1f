"""The folder of a training: states to go on from, weights, pictures and the log, in BasicSR's layout.

experiments/NAME/options.json                       all settings, those left at their defaults too
                 training_states/5000.state         all that is needed to go on after iteration 5000
                 models/net_g_5000.safetensors      the averaged weights, for enlarging and testing
                        net_g_latest, net_g_best    the newest of them, and the best on the validation sets
                 visualization/                     validation pictures
                 train.log, log.jsonl, curves.png   the course of the training, for people and for programs
                 archived_TIME/                     what came after a state that the training went back to
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from bgai.atomic_files import remove_leftovers, set_aside, whole_or_nothing
from bgai.errors import OutputError, UsageError, WeightsError
from bgai.names import path_within
from bgai.pictures.writing import save_rgb_png
from bgai.types import RgbImage
from bgai.weights.state_file import load_checked

State = dict[str, Any]
STATES_KEPT = 3


class Experiment:
    """The files of one training."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder = root / name
        self.states = self.folder / "training_states"
        self.log = self.folder / "log.jsonl"

    def begin(self) -> None:
        """Make room for a new training: an earlier one of this name that saved anything is kept under another."""
        if any(self.states.glob("*.state")):
            set_aside(self.folder)

    def weights(self, iteration: int | str) -> Path:
        return self.folder / "models" / f"net_g_{iteration}.safetensors"

    def save_state(self, iteration: int, state: State) -> None:
        """Write a state, whole or not at all, and then remove those that are older than the newest few."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with whole_or_nothing(self.states / f"{iteration}.state") as partial:
            partial.write_bytes(buffer.getbuffer())
        for path in self._saved()[STATES_KEPT:]:
            path.unlink()

    def go_back_to(self, iteration: int) -> Path | None:
        """Make room for going on after an iteration, and remove what killed processes left.

        Returns:
            The folder in which states and weights of later iterations are set aside, with the records and the best
            weights as they were; None where there are no later states.

        Raises:
            OutputError: The file system refuses.
        """
        for folder in (self.states, self.folder / "models"):
            remove_leftovers(folder)
        later = [path for path in self._saved() if int(path.stem) > iteration]
        if not later:
            return None
        for path in (self.folder / "models").glob("net_g_*.safetensors"):
            number = path.stem.rpartition("_")[2]
            if number == "best" or (number.isdigit() and int(number) > iteration):
                later.append(path)
        archive = self.folder / f"archived_{datetime.now(timezone.utc):%Y%m%d_%H%M%S_%f}"
        try:
            for path in later:
                target = archive / path.relative_to(self.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
            if self.log.exists():
                shutil.copyfile(self.log, archive / self.log.name)
        except OSError as error:
            raise OutputError(f"{archive}: later states cannot be set aside: {error.strerror or error}") from error
        return archive

    def newest_state(self, complain: Callable[[str], None]) -> State | None:
        """The newest state that can be read; `complain` hears of those that cannot."""
        for path in self._saved():
            try:
                return load_state(path)
            except WeightsError as error:
                complain(f"{error}; trying the one before")
        return None

    def save_picture(self, dataset: str, name: str, pixels: RgbImage) -> None:
        """Keep a validation picture, H x W x 3."""
        target = path_within(self.folder / "visualization" / dataset, f"{name.replace('/', '_')}.png")
        save_rgb_png(target, pixels)

    def _saved(self) -> list[Path]:
        """Files of states, the newest first."""
        paths = [path for path in self.states.glob("*.state") if path.stem.isdigit()]
        return sorted(paths, key=lambda path: int(path.stem), reverse=True)


def load_state(path: Path) -> State:
    """Read a state that `save_state` wrote, onto the CPU.

    Raises:
        WeightsError: The file is damaged or something else.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such training state")
    try:
        state = load_checked(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle makes its reader raise anything
        raise WeightsError(f"{path}: damaged, or not a training state") from error
    if not isinstance(state, dict) or "iteration" not in state:
        raise WeightsError(f"{path}: not a training state of this program")
    return state
