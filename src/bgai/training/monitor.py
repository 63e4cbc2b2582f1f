"""What the first process of a training does besides training: it tells, validates and saves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from bgai import provenance
from bgai.atomic_files import whole_or_nothing
from bgai.datasets.pairs import PairedImages
from bgai.evaluation.scores import validate
from bgai.training.log_files import Journal, draw_curves, read_records
from bgai.training.run_folder import Experiment
from bgai.training.trainer import Trainer
from bgai.types import RgbImage
from bgai.weights.checkpoint import save_network
from bgai.weights.history import as_json, run_of

PICTURES_KEPT = 5


class Report:
    """Log, scores, pictures, states and weights of a training.

    Args:
        validation: Sets of images by name.
        description: Of the data.
        notes: Lines that the user should see at the beginning.
    """

    def __init__(
        self,
        trainer: Trainer,
        experiment: Experiment,
        validation: Mapping[str, PairedImages],
        description: str,
        notes: Sequence[str],
    ) -> None:
        self.trainer, self.experiment = trainer, experiment
        self.validation, self.description = validation, description
        self.options = trainer.options
        self.journal = Journal(experiment.folder, trainer.iteration, self.options.logger.use_tb_logger)
        self._scores: dict[str, dict[str, float]] = {}
        self._told = (trainer.iteration, trainer.seconds)
        self._saved = trainer.seconds
        with whole_or_nothing(experiment.folder / "options.json") as partial:
            partial.write_text(self.options.model_dump_json(indent=2), encoding="utf-8")
        parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
        self.journal.line(f"{self.options.name}: ×{self.options.scale}, {parameters:,} parameters, {description}")
        self.journal.line(f"{provenance.machine()}; {provenance.versions('torch')}; commit {provenance.commit()}")
        for note in notes:
            self.journal.line(f"note: {note}")
        if trainer.iteration:
            self.journal.line(f"going on after iteration {trainer.iteration:,}")

    def loss(self, terms: Mapping[str, float]) -> None:
        """Tell how the training goes, by the terms of the loss."""
        trainer, train = self.trainer, self.options.train
        iterations, seconds = trainer.iteration - self._told[0], max(trainer.seconds - self._told[1], 1e-9)
        self._told = (trainer.iteration, trainer.seconds)
        speed = iterations * self.options.datasets.train.batch_size_per_gpu * trainer.world.size / seconds
        rate = trainer.optimizer.param_groups[0]["lr"]
        if train.minutes is not None:
            total, left = "", 60 * train.minutes - trainer.seconds
        else:
            assert train.total_iter is not None
            total, left = f" of {train.total_iter:,}", (train.total_iter - trainer.iteration) * seconds / iterations
        loss = sum(terms.values())
        parts = "".join(f"  {name} {value:.5f}" for name, value in terms.items()) if len(terms) > 1 else ""
        self.journal.line(
            f"iteration {trainer.iteration:,}{total}  loss {loss:.5f}{parts}  lr {rate:.2e}  {speed:.1f} images/s"
            f"  {timedelta(seconds=max(round(left), 0))} left"
        )
        told = {"terms": terms} if len(terms) > 1 else {}
        self.journal.record(trainer.iteration, loss=loss, **told, lr=rate, images_per_second=round(speed, 2))

    def attend(self, over: bool) -> None:
        """Save and validate when that is due: the state first, so that nothing that follows can lose it."""
        iteration, logger = self.trainer.iteration, self.options.logger
        minutes = logger.save_checkpoint_minutes
        late = minutes is not None and self.trainer.seconds - self._saved > 60 * minutes
        saving = iteration % logger.save_checkpoint_freq == 0 or late or over
        if saving:
            self.experiment.save_state(iteration, self.trainer.state())
            self._saved = self.trainer.seconds
        self._scores = {}
        if iteration % self.options.val.val_freq == 0 or over:
            self.validate(over)
        if saving:
            self._save_weights()

    def validate(self, over: bool) -> None:
        """Measure the averaged weights on the validation sets; keep pictures if asked to, and some at the end."""
        options, iteration = self.options.val, self.trainer.iteration
        for dataset, pairs in self.validation.items():
            kept = pairs.names if options.save_img else pairs.names[: PICTURES_KEPT if over else 0]

            def show(name: str, *images: RgbImage, dataset: str = dataset, kept: Sequence[str] = kept) -> None:
                if name in kept:
                    self.experiment.save_triptych(dataset, f"{name}_{options.suffix or iteration}", *images)

            self._scores[dataset] = validate(self.trainer.average, pairs, options.metrics, show)
            values = "  ".join(f"{name} {value:.4f}" for name, value in self._scores[dataset].items())
            self.journal.line(f"iteration {iteration:,}  {dataset}  {values}")
        if self._scores:
            self.journal.record(iteration, validation=self._scores)

    def stop(self) -> None:
        """Save, and end a training that was asked to stop."""
        self.experiment.save_state(self.trainer.iteration, self.trainer.state())
        self._close(f"stopped after iteration {self.trainer.iteration:,}; --auto_resume goes on from there")
        raise KeyboardInterrupt

    def finish(self) -> None:
        last, latest = self.experiment.weights(self.trainer.iteration), self.experiment.weights("latest")
        if not last.exists():  # killed between its last state and its weights
            self._save_weights()
        with whole_or_nothing(latest) as partial:
            partial.write_bytes(last.read_bytes())
        self._close(f"{latest}: the weights after {self.trainer.iteration:,} iterations")

    def _close(self, last_line: str) -> None:
        draw_curves(read_records(self.journal.records), self.experiment.folder / "curves.png", self.options.name)
        self.journal.line(last_line)
        self.journal.close()

    def _save_weights(self) -> None:
        """Write the averaged weights with what they should say of their own making."""
        metadata = {
            "commit": provenance.commit(),
            "data": self.description,
            "iterations": str(self.trainer.iteration),
            "machine": provenance.machine(),
            "minutes": f"{self.trainer.seconds / 60:.1f}",
            "options": self.options.without_places(),
            "processes": str(self.trainer.world.size),
            "versions": provenance.versions("torch"),
        }
        if (teacher := self.options.train.teacher) is not None:
            metadata["teacher"] = (
                "the authors' weights" if teacher.weights == "official" else Path(teacher.weights).name
            )
        if (start := self.options.path.pretrain_network_g) is not None:
            metadata["start"] = start.name
        metadata["history"] = as_json([*self.trainer.history, run_of(metadata)])
        if self._scores:
            metadata["validation"] = json.dumps(self._scores)
        save_network(self.trainer.average, self.experiment.weights(self.trainer.iteration), metadata)
