"""A model's calibration as a run keeps it: ``calibration.json`` beside the checkpoint.

That of a checkpoint that does not stand for its run is ``last.ckpt.calibration.json``. It holds for
one very file, named by its digest: a run trained further has another best checkpoint, whose
temperature is not known.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mien.cache import atomic_write
from mien.data.dataset import SPLITS
from mien.errors import CheckpointError
from mien.evaluation.calibration.measure import UncertainFaces
from mien.evaluation.calibration.temperature import TemperatureFit
from mien.evaluation.json_values import read_count, read_number, read_text
from mien.metadata import ModelMetadata, file_sha256, model_file

#: Name of the file, in a run's folder.
CALIBRATION_FILE: Final = "calibration.json"

#: Of an evaluation's figures, those that another temperature makes others.
_BY_TEMPERATURE: Final = frozenset({"temperature", "loss", "calibration", "explanation"})


@dataclass(frozen=True, kw_only=True)
class ModelCalibration:
    """What a model's probabilities are made with, and how that was found.

    Attributes:
        model: Name of the file or run.
        model_sha256: Digest of the model's file.
        split: The split that the temperature was fitted on.
        fingerprint: sha256 of the data.
        fit: The temperature, and figures before and after.
        uncertain: The faces of the split that are uncertain with it.
        breaches: What was done against the protocol, on demand: a clause each.
    """

    model: str
    model_sha256: str
    split: str
    fingerprint: str
    fit: TemperatureFit
    uncertain: UncertainFaces
    breaches: tuple[str, ...] = ()

    @property
    def temperature(self) -> float:
        """What the network's logits are divided by."""
        return self.fit.temperature

    @property
    def uncertain_below(self) -> float:
        """Probability below which an expression is not told; 0 where it always is."""
        return self.uncertain.below

    @property
    def fitted_on(self) -> dict[str, Any]:
        """What the temperature was fitted on and what came of it, as plain JSON types."""
        return {
            "split": self.split,
            "fingerprint": self.fingerprint,
            "count": self.uncertain.count,
            "ece_before": self.fit.before.ece,
            "ece": self.fit.after.ece,
            "cross_fitted_ece": self.fit.cross_fitted_ece,
            "breaches": list(self.breaches),
        }

    def apply(self, metadata: ModelMetadata) -> ModelMetadata:
        """Return a model's metadata with the temperature, and what it was fitted on.

        Of its metrics those stay that hold with the temperature.
        """
        return replace(
            metadata,
            metrics={
                split: figures_at(self.temperature, figures, measured_at=metadata.temperature)
                for split, figures in metadata.metrics.items()
            },
            temperature=self.temperature,
            uncertain_below=self.uncertain_below,
            data={**metadata.data, "calibration": self.fitted_on},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as plain JSON types."""
        return {
            "model": self.model,
            "model_sha256": self.model_sha256,
            "split": self.split,
            "data": self.fingerprint,
            "count": self.uncertain.count,
            "uncertain_below": self.uncertain_below,
            "uncertain": self.uncertain.uncertain,
            "uncertain_wrong": self.uncertain.uncertain_wrong,
            "wrong": self.uncertain.wrong,
            "breaches": list(self.breaches),
            **self.fit.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelCalibration":
        """Read what :meth:`to_dict` wrote, or an older version, without breaches.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is out of range.
        """
        if values["split"] not in SPLITS:
            raise ValueError("an unknown split")
        return cls(
            model=read_text(values["model"]),
            model_sha256=read_text(values["model_sha256"]),
            split=values["split"],
            fingerprint=read_text(values["data"]),
            fit=TemperatureFit.from_dict(values),
            uncertain=UncertainFaces(
                below=read_number(values["uncertain_below"], low=0, high=1),
                count=read_count(values["count"], low=1),
                uncertain=read_count(values["uncertain"]),
                uncertain_wrong=read_count(values["uncertain_wrong"]),
                wrong=read_count(values["wrong"]),
            ),
            breaches=tuple(read_text(breach) for breach in values.get("breaches", ())),
        )

    def write(self, path: Path) -> None:
        """Write the calibration as JSON."""
        with atomic_write(path) as temporary:
            text = json.dumps(self.to_dict(), indent=2, allow_nan=False)
            temporary.write_text(text + "\n", "utf-8")


def calibration_file(file: Path) -> Path:
    """Return where the calibration of a checkpoint or baseline's file is kept."""
    stands_for_run = file == model_file(file.parent)
    return file.with_name(CALIBRATION_FILE if stands_for_run else f"{file.name}.{CALIBRATION_FILE}")


def figures_at(
    temperature: float, figures: Mapping[str, Any], *, measured_at: float = 1.0
) -> dict[str, Any]:
    """Return those of an evaluation's figures that hold with a temperature.

    Args:
        temperature: What logits are divided by.
        figures: The evaluation, as plain JSON types.
        measured_at: What they were divided by where the evaluation does not tell.

    Returns:
        All where it is the same temperature; else those that no temperature changes.
    """
    if (figures.get("temperature") or measured_at) == temperature:
        return dict(figures)
    return {name: value for name, value in figures.items() if name not in _BY_TEMPERATURE}


def read_calibration(file: Path) -> ModelCalibration | None:
    """Return the calibration of a checkpoint or baseline's file.

    Returns:
        None where there is none, or where the one beside it is of another file.

    Raises:
        CheckpointError: It is damaged.
    """
    # Older versions kept that of any checkpoint under the one name.
    for path in dict.fromkeys((calibration_file(file), file.with_name(CALIBRATION_FILE))):
        calibration = _read(path)
        if calibration is not None and calibration.model_sha256 == file_sha256(file):
            return calibration
    return None


def is_calibration_outdated(file: Path) -> bool:
    """Return whether a checkpoint or baseline's file has only an earlier one's calibration.

    Raises:
        CheckpointError: The calibration beside it is damaged.
    """
    return calibration_file(file).is_file() and read_calibration(file) is None


def _read(path: Path) -> ModelCalibration | None:
    if not path.is_file():
        return None
    try:
        return ModelCalibration.from_dict(json.loads(path.read_text("utf-8")))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(
            f"{path}: not a calibration of mien: {reason.splitlines()[0]}; delete it and calibrate "
            f"again"
        ) from error


def read_uncertain_below(file: Path) -> float:
    """Return below which probability a checkpoint or baseline's expressions are not told; 0: none.

    Raises:
        CheckpointError: The calibration beside it is damaged.
    """
    calibration = read_calibration(file)
    return 0.0 if calibration is None else calibration.uncertain_below


def read_temperature(file: Path) -> float:
    """Return the temperature of a checkpoint or baseline's file; 1 where it is not calibrated.

    Raises:
        CheckpointError: The calibration beside it is damaged.
    """
    calibration = read_calibration(file)
    return 1.0 if calibration is None else calibration.temperature
