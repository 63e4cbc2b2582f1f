"""The first process's work beside training: it logs, validates and saves."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from bgai import provenance
from bgai.atomic_files import whole_or_nothing
from bgai.datasets.pairs import PairedImages
from bgai.evaluation.device_memory import peak_bytes
from bgai.evaluation.result_folder import mean
from bgai.evaluation.scores import enlarge, validate
from bgai.training.boards import open_boards
from bgai.training.comparison import comparison
from bgai.training.log_files import Journal, draw_curves, read_records
from bgai.training.run_folder import Experiment
from bgai.training.trainer import Trainer
from bgai.types import RgbImage
from bgai.weights.checkpoint import save_network
from bgai.weights.history import as_json, run_of
from bgai.weights.safetensors_file import read_metadata

PICTURES_KEPT = 5

Scores = Mapping[str, Mapping[str, float]]
"""Means of the metrics by validation set."""


class Report:
    """Log, scores, pictures, states and weights of a training.

    Args:
        validation: Sets of images by name.
        description: What the training data are.
        notes: Warnings that are logged at the beginning.
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
        boards, more_notes = open_boards(self.options, experiment.folder, trainer.iteration)
        self.journal = Journal(experiment.folder, trainer.iteration, boards)
        self._keeps = {each.name: each.save_img for each in self.options.datasets.validation.values()}
        self._scores: dict[str, dict[str, float]] = {}
        self._best: float | None = None
        for record in read_records(self.journal.records):
            if record["iteration"]:
                self._is_best(record.get("validation", {}))
        self._logged = (trainer.iteration, trainer.seconds)
        self._besides = 0.0
        """Seconds since the last line that went into validating and saving."""
        self._saved = trainer.seconds
        with whole_or_nothing(experiment.folder / "options.json") as partial:
            partial.write_text(self.options.model_dump_json(indent=2), encoding="utf-8")
        parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
        self.journal.line(f"{self.options.name}: ×{self.options.scale}, {parameters:,} parameters, {description}")
        self.journal.line(f"{provenance.machine()}; {provenance.versions('torch')}; commit {provenance.commit()}")
        self.journal.line(self.options.rules())
        for note in (*notes, *more_notes):
            self.journal.line(f"note: {note}")
        if trainer.iteration:
            self.journal.line(f"going on after iteration {trainer.iteration:,}")

    def loss(self, terms: Mapping[str, float]) -> None:
        """Log the terms of the loss, the learning rate and the speed."""
        trainer, train = self.trainer, self.options.train
        iterations, seconds = trainer.iteration - self._logged[0], max(trainer.seconds - self._logged[1], 1e-9)
        self._logged = (trainer.iteration, trainer.seconds)
        stepping = max(seconds - self._besides, 1e-9)
        self._besides = 0.0
        speed = iterations * self.options.datasets.train.batch_size_per_gpu * trainer.processes.size / stepping
        rate = trainer.optimizer.param_groups[0]["lr"]
        if train.minutes is not None:
            total, left = "", 60 * train.minutes - trainer.seconds
        else:
            assert train.total_iter is not None
            total, left = f" of {train.total_iter:,}", (train.total_iter - trainer.iteration) * seconds / iterations
        loss, memory = sum(terms.values()), peak_bytes(trainer.processes.device)
        parts = "".join(f"  {name} {value:.5f}" for name, value in terms.items()) if len(terms) > 1 else ""
        self.journal.line(
            f"iteration {trainer.iteration:,}{total}  loss {loss:.5f}{parts}  lr {rate:.2e}  {speed:.1f} images/s"
            f"  {memory >> 20:,} MiB  {timedelta(seconds=max(round(left), 0))} left"
        )
        each = {"terms": terms} if len(terms) > 1 else {}
        self.journal.record(
            trainer.iteration,
            loss=loss,
            **each,
            lr=rate,
            images_per_second=round(speed, 2),
            memory_mib=memory >> 20,
        )

    def before_first_step(self) -> None:
        """Validate a new training's first weights, if the options say so."""
        if self.options.val.val_at_start and self.trainer.iteration == 0:
            self.validate(over=False)

    def after_step(self, over: bool, stopping: bool = False) -> None:
        """Save and validate when that is due: the state first, so that nothing that follows can lose it.

        Args:
            over: Whether this was the last step.
            stopping: Whether the training was asked to stop.
        """
        started = time.monotonic()
        iteration, logger = self.trainer.iteration, self.options.logger
        minutes = logger.save_checkpoint_minutes
        late = minutes is not None and self.trainer.seconds - self._saved > 60 * minutes
        saving = iteration % logger.save_checkpoint_freq == 0 or late or over or stopping
        self._scores = {}
        if saving:
            self.experiment.save_state(iteration, self.trainer.state())
            self._saved = self.trainer.seconds
            self._save_weights()
        if iteration % self.options.val.val_freq == 0 or over:
            self.validate(over)
            if saving:
                self._save_weights()  # once more, with their scores
        elif saving:
            self._refresh_pictures()
        if saving:
            self._draw_curves()
        self._besides += time.monotonic() - started

    def validate(self, over: bool) -> None:
        """Measure the averaged weights on the validation sets; keep some pictures, and all if asked to."""
        options, iteration = self.options.val, self.trainer.iteration
        for dataset, pairs in self.validation.items():
            keeps_all = options.save_img if self._keeps[dataset] is None else self._keeps[dataset]
            some = pairs.names[:PICTURES_KEPT]

            def show(
                name: str,
                *images: RgbImage,
                dataset: str = dataset,
                keeps_all: bool | None = keeps_all,
                some: Sequence[str] = some,
            ) -> None:
                if not keeps_all and name not in some:
                    return
                pixels = comparison(*images)
                if name in some:
                    self.experiment.save_picture(dataset, f"{name}_latest", pixels)
                if keeps_all:
                    self.experiment.save_picture(dataset, f"{name}_{options.suffix or iteration}", pixels)
                if keeps_all or over:
                    self.journal.picture(iteration, f"{dataset}/{name}", pixels)

            self._scores[dataset] = validate(self.trainer.average, pairs, options.metrics, show)
            values = "  ".join(f"{name} {value:.4f}" for name, value in self._scores[dataset].items())
            self.journal.line(f"iteration {iteration:,}  {dataset}  {values}")
        if self._scores:
            self.journal.record(iteration, validation=self._scores)
        if iteration and self._is_best(self._scores):  # the first weights are not this training's
            save_network(self.trainer.average, self.experiment.weights("best"), self._metadata())

    def _refresh_pictures(self) -> None:
        """Enlarge the first images of the validation sets, and measure none."""
        for dataset, pairs in self.validation.items():
            for index, name in enumerate(pairs.names[:PICTURES_KEPT]):
                lr, hr = pairs.read(index)
                pixels = comparison(lr, enlarge(self.trainer.average, lr), hr)
                self.experiment.save_picture(dataset, f"{name}_latest", pixels)

    def _is_best(self, scores: Scores) -> bool:
        """Compare scores with the best so far, of which a note is taken."""
        metrics = self.options.val.metrics
        metric = self.options.val.best_metric or next(iter(metrics), None)
        values = [score[metric] for score in scores.values() if metric in score] if metric else []
        if metric is None or not values:
            return False
        score = mean(values) if metrics[metric].better == "higher" else -mean(values)
        if self._best is not None and not score > self._best:
            return False
        self._best = score
        return True

    def stop(self) -> None:
        """End a training that was asked to stop."""
        self._close(
            f"stopped after iteration {self.trainer.iteration:,}; --auto_resume goes on from there;"
            f" {self.experiment.weights('latest')}: its weights"
        )
        raise KeyboardInterrupt

    def finish(self) -> None:
        last = self.experiment.weights(self.trainer.iteration)
        # The process may have been killed between its last state and its last validation.
        if not last.exists() or (self.validation and "validation" not in read_metadata(last)):
            self.validate(over=True)
            self._save_weights()
            self._draw_curves()
        self._copy_to_latest()
        self._close(f"{self.experiment.weights('latest')}: the weights after {self.trainer.iteration:,} iterations")

    def _close(self, last_line: str) -> None:
        self.journal.line(last_line)
        self.journal.close()

    def _draw_curves(self) -> None:
        draw_curves(read_records(self.journal.records), self.experiment.folder / "curves.png", self.options.name)

    def _save_weights(self) -> None:
        """Write the averaged weights, under their iteration and as the latest."""
        save_network(self.trainer.average, self.experiment.weights(self.trainer.iteration), self._metadata())
        self._copy_to_latest()

    def _copy_to_latest(self) -> None:
        with whole_or_nothing(self.experiment.weights("latest")) as partial:
            partial.write_bytes(self.experiment.weights(self.trainer.iteration).read_bytes())

    def _metadata(self) -> dict[str, str]:
        """How the averaged weights were made, and how good they are."""
        metadata = {
            "commit": provenance.commit(),
            "data": self.description,
            "iterations": str(self.trainer.iteration),
            "machine": provenance.machine(),
            "minutes": f"{self.trainer.seconds / 60:.1f}",
            "options": self.options.without_places(),
            "processes": str(self.trainer.processes.size),
            "versions": provenance.versions("torch"),
        }
        if (teacher := self.options.train.teacher) is not None:
            metadata["teacher"] = (
                "the authors' weights" if teacher.weights == "official" else Path(teacher.weights).name
            )
        if self.trainer.start is not None:
            metadata["start"] = self.trainer.start
        metadata["history"] = as_json([*self.trainer.history, run_of(metadata)])
        if self._scores:
            metadata["validation"] = json.dumps(self._scores)
        return metadata
