"""The training behind an evaluation: what a run's folder tells of it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError
from mien.evaluation.dynamics import TrainingDynamics, training_dynamics
from mien.evaluation.json_values import finite_or_none, read_count, read_number
from mien.evaluation.predictor import Predictor

#: What of an epoch an evaluation keeps, so that curves can be compared without the run's folder.
KEPT: Final = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")

#: Training faces that are read plainly, drawn at random: near 75 % a standard error of 0.8 points.
_SAMPLE: Final = 3_000


@dataclass(frozen=True, kw_only=True)
class PlainReading:
    """Training faces read as all others are: as they are, by the finished model.

    Attributes:
        accuracy: Share that is read right, 0 to 1.
        faces: How many were read.
    """

    accuracy: float
    faces: int


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """How the measured model was trained.

    Attributes:
        minutes: Time of all epochs; None where the run did not end.
        varied: Whether training faces were augmented; an epoch's training figures are measured on
            those.
        dropout: Whether units were left out at random while those were measured.
        refine_from: The first epoch, from 1, whose training faces were flipped at most; None
            where no epoch's were.
        label_smoothing: Part of the label that was spread over the other classes; it raises the
            training loss.
        history: One mapping of :data:`KEPT` an epoch, in order, at least one; NaN or infinite
            where the training diverged.
        plain: What the model makes of faces that it learned from; None where they are not at hand.
    """

    minutes: float | None
    varied: bool
    refine_from: int | None
    label_smoothing: float
    history: tuple[Mapping[str, float], ...]
    dropout: bool = False
    plain: PlainReading | None = None

    @property
    def dynamics(self) -> TrainingDynamics:
        """What the epochs tell."""
        return training_dynamics(
            self.history, plain_accuracy=self.plain.accuracy if self.plain else None
        )

    def verdict(self) -> str:
        """Return what the epochs tell, and what their training figures are measured on."""
        return " ".join(part for part in (self.dynamics.verdict(), self.caveat()) if part)

    def caveat(self) -> str:
        """Return what an epoch's training figures are measured on; empty where on the same."""
        sentences = []
        if self.varied or self.dropout:
            how = ["on augmented faces"] * self.varied + ["with dropout"] * self.dropout
            end = ""
            if self.varied and self.refine_from is not None:
                end = f" (from epoch {self.refine_from} on, on faces flipped at most)"
            sentences.append(
                f"An epoch's training figures are measured while it learns, "
                f"{' and '.join(how)}{end}, which lowers them."
            )
        if self.plain:
            sentences.append(
                f"The gap is without that, on {self.plain.faces:,} training faces drawn at random."
            )
        elif sentences:
            sentences.append("On plain training faces the gap is larger.")
        if self.label_smoothing:
            sentences.append(
                "Training loss is against smoothed labels, which keep it up: it is not on the "
                "scale of the validation loss."
            )
        return " ".join(sentences)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON types, the epochs as columns."""
        dynamics = self.dynamics
        return {
            "epochs": dynamics.epochs,
            "best_epoch": dynamics.best_epoch,
            "minutes": self.minutes,
            "train_val_gap_points": dynamics.gap_points,
            "val_loss_rise": dynamics.loss_rise,
            "overfits": dynamics.overfits,
            "diverged_epoch": dynamics.diverged_epoch,
            "verdict": self.verdict(),
            "varied": self.varied,
            "dropout": self.dropout,
            "plain_train": asdict(self.plain) if self.plain else None,
            "refine_from": self.refine_from,
            "label_smoothing": self.label_smoothing,
            "history": {
                name: [finite_or_none(round(row[name], 6)) for row in self.history] for name in KEPT
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingFacts":
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError: A fact is missing.
            TypeError: A fact is of another kind.
            ValueError: A fact is out of range, or there are no epochs.
        """
        columns = [_column(name, values["history"][name]) for name in KEPT]
        if len({len(column) for column in columns}) > 1 or not columns[0]:
            raise ValueError("a history without epochs, or with columns of unlike lengths")
        minutes, refine_from = values["minutes"], values["refine_from"]
        return cls(
            minutes=None if minutes is None else read_number(minutes, low=0),
            varied=bool(values["varied"]),
            refine_from=None if refine_from is None else read_count(refine_from, low=1),
            label_smoothing=read_number(values["label_smoothing"], low=0, high=1),
            history=tuple(dict(zip(KEPT, row, strict=True)) for row in zip(*columns, strict=True)),
            dropout=bool(values.get("dropout", False)),
            plain=_read_plain(values.get("plain_train")),
        )


def _read_plain(values: Any) -> PlainReading | None:
    if values is None:
        return None
    return PlainReading(
        accuracy=read_number(values["accuracy"], low=0, high=1),
        faces=read_count(values["faces"], low=1),
    )


def _column(name: str, values: Any) -> list[float]:
    """Read one column of a history, in which null stands for a figure that diverged."""
    if not isinstance(values, list):
        raise TypeError(f"history: expected a list of {name}, got a {type(values).__name__}")
    if name == "epoch":
        return [read_number(value, low=1) for value in values]
    high = 1 if name.endswith("accuracy") else math.inf
    return [math.nan if value is None else read_number(value, low=0, high=high) for value in values]


def read_training_facts(run: Path) -> TrainingFacts | None:
    """Read a run's epochs, recipe and duration; None where the folder has no epochs.

    Raises:
        CheckpointError: A file of the run is damaged.
        RecipeError: The run's recipe is.
    """
    from mien.models import dropout_options  # noqa: PLC0415 - brings torch
    from mien.training.history import METRICS, History  # noqa: PLC0415
    from mien.training.recipe import AugmentConfig, RefineConfig  # noqa: PLC0415
    from mien.training.recipe_file import load_recipe  # noqa: PLC0415

    if not (run / METRICS).is_file():
        return None
    rows = History(run, keep=True).rows
    if not rows:
        return None
    if not all(math.isfinite(row["epoch"]) for row in rows):
        raise CheckpointError(f"{run / METRICS}: not the metrics that mien wrote: a nameless epoch")
    recipe = load_recipe(run / "recipe.toml")
    refine_from = recipe.refined_epochs.start + 1
    flipped_at_most = recipe.refine == RefineConfig(flip=recipe.refine.flip)
    return TrainingFacts(
        minutes=_minutes(run / "run.json"),
        varied=recipe.augment != AugmentConfig(),
        refine_from=refine_from if flipped_at_most and refine_from <= len(rows) else None,
        label_smoothing=recipe.label_smoothing,
        history=tuple({name: row[name] for name in KEPT} for row in rows),
        dropout=any(getattr(recipe.model, name) for name in dropout_options(recipe.model)),
    )


def read_plainly(predictor: Predictor, dataset: ExpressionDataset) -> PlainReading | None:
    """Have a model read faces that it learned from; None where none is known to be there.

    Args:
        predictor: The model.
        dataset: The data set as its recipe prepares it.
    """
    split = predictor.data.get("train")
    if predictor.seen is None or split not in dataset.splits:
        return None
    training = dataset.split(split)
    learned = np.flatnonzero(predictor.seen.contains(training.images))
    if not len(learned):
        return None
    drawn = np.random.default_rng(0).permutation(learned)[:_SAMPLE]
    faces = training.take(drawn)
    right = predictor.logits(faces.images).argmax(axis=1) == faces.labels
    return PlainReading(accuracy=float(right.mean()), faces=len(faces))


def _minutes(summary: Path) -> float | None:
    if not summary.is_file():
        return None
    try:
        return float(json.loads(summary.read_text("utf-8"))["minutes"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{summary}: not the summary of a run: {error!r}") from error
