"""Where the course of a training is shown while it runs: TensorBoard's files, and Weights & Biases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from bgai.atomic_files import whole_or_nothing
from bgai.errors import BgaiError, MissingExtraError
from bgai.options.training import TrainOptions
from bgai.types import RgbImage


class Board(Protocol):
    """Shows numbers and pictures by iteration."""

    def numbers(self, iteration: int, values: Mapping[str, float]) -> None: ...

    def picture(self, iteration: int, name: str, pixels: RgbImage) -> None:
        """Show a picture, H x W x 3."""

    def close(self) -> None: ...


def open_boards(options: TrainOptions, folder: Path, iteration: int) -> tuple[list[Board], list[str]]:
    """The boards that the options ask for, and notes for the user.

    Args:
        options: Of the training.
        folder: Of the experiment.
        iteration: That the training goes on after; 0 for a new one.

    Raises:
        MissingExtraError: TensorBoard is missing.
        BgaiError: Weights & Biases cannot begin.
    """
    boards: list[Board] = []
    if options.logger.use_tb_logger:
        boards.append(TensorBoard(folder / "tb_logger", iteration))
    if (project := options.logger.wandb.project) is None:
        return boards, []
    try:
        boards.append(WandbRun(options, folder, iteration))
    except ModuleNotFoundError:
        return boards, [f"wandb project {project}: nothing is sent; to send, pip install 'bgai[wandb]'"]
    return boards, []


class TensorBoard:
    """TensorBoard's files; what they have of later iterations is dropped."""

    def __init__(self, folder: Path, iteration: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("train", "use_tb_logger") from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=iteration + 1)

    def numbers(self, iteration: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)

    def picture(self, iteration: int, name: str, pixels: RgbImage) -> None:
        self._writer.add_image(name, pixels, iteration, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class WandbRun:
    """A run of Weights & Biases, which a training that goes on continues.

    Raises:
        ModuleNotFoundError: wandb is not installed.
        BgaiError: wandb cannot begin, as without a login.
    """

    def __init__(self, options: TrainOptions, folder: Path, iteration: int) -> None:
        import wandb

        self._picture = wandb.Image
        known = folder / "wandb_id"
        identity = options.logger.wandb.resume_id
        if identity is None and iteration and known.exists():
            identity = known.read_text(encoding="utf-8").strip() or None
        try:
            self._run = wandb.init(
                project=options.logger.wandb.project,
                name=options.name,
                id=identity,
                resume="allow",
                dir=str(folder.resolve()),
                config=json.loads(options.without_places()),
                # Its facts on the machine have the command line, in which folders are named.
                settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_meta=True),
            )
        except wandb.errors.Error as error:
            raise BgaiError(f"wandb: {error} Or set WANDB_MODE=offline, or leave out logger.wandb.project") from error
        self._run.define_metric("*", step_metric="iteration")  # wandb's own steps cannot go back
        with whole_or_nothing(known) as partial:
            partial.write_text(self._run.id + "\n", encoding="utf-8")

    def numbers(self, iteration: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "iteration": iteration})

    def picture(self, iteration: int, name: str, pixels: RgbImage) -> None:
        self._run.log({name: self._picture(pixels), "iteration": iteration})

    def close(self) -> None:
        self._run.finish()
