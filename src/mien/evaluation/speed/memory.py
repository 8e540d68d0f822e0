"""Memory: the most that a fresh process holds that opens a model and reads faces with it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import mien
from mien.errors import ModelError
from mien.evaluation.json_values import read_number
from mien.machine import peak_memory_mb
from mien.metadata import CLASSICAL_FILE, model_file
from mien.preprocess import FACE_SIZE

_CHILD: Final = (
    "import sys; from mien.evaluation.speed.memory import hold; "
    "sys.stdout.write(str(hold(sys.argv[1], threads=int(sys.argv[2]), opened=sys.argv[3] == 'y')))"
)


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """The most memory held by two fresh processes, Python and all.

    Attributes:
        imports_mb: MB of one that only imports what runs the model.
        model_mb: MB of one that opens the model as well and reads 64 faces at once.
    """

    imports_mb: float
    model_mb: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PeakMemory":
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError: A figure is missing.
            TypeError: A figure is of another kind.
            ValueError: A figure is negative.
        """
        return cls(
            imports_mb=read_number(values["imports_mb"], low=0),
            model_mb=read_number(values["model_mb"], low=0),
        )


def measure_memory(model: str | Path, *, threads: int = 1) -> PeakMemory | None:
    """Start two processes and ask each for the most memory it held.

    Args:
        model: A run's folder, a checkpoint, a classical baseline or an ONNX file.
        threads: Processor threads; each has memory of its own.

    Returns:
        The figures, or None where the system does not tell them.

    Raises:
        ModelError: A process failed, e.g. for lack of memory.
    """
    try:
        peak_memory_mb()
    except OSError:
        return None
    file = model_file(model)
    return PeakMemory(
        imports_mb=_peak_of_child(file, threads=threads, opened=False),
        model_mb=_peak_of_child(file, threads=threads, opened=True),
    )


def hold(file: str, *, threads: int, opened: bool) -> float:
    """Import what runs a model, open it where wanted, and return this process's peak in MB.

    An ONNX file is opened as :func:`mien.analyze` opens it: counting its operations, as for an
    evaluation, would cost memory of its own.
    """
    faces = np.zeros((64, FACE_SIZE, FACE_SIZE), np.uint8)
    if Path(file).suffix == ".onnx":
        import onnxruntime  # noqa: F401, PLC0415 - the classifier imports it as it opens

        from mien.analysis.classifier import ExpressionClassifier  # noqa: PLC0415

        if opened:
            ExpressionClassifier(file, batch_size=64, threads=threads).classify(faces)
        return peak_memory_mb()
    if Path(file).suffix == Path(CLASSICAL_FILE).suffix:
        import mien.training.classical  # noqa: PLC0415
    else:
        import mien.training.module  # noqa: F401, PLC0415
    from mien.evaluation.predictor import open_predictor  # noqa: PLC0415

    if opened:
        open_predictor(file, threads=threads).logits(faces)
    return peak_memory_mb()


def _peak_of_child(file: Path, *, threads: int, opened: bool) -> float:
    # Unlike this process, one given code looks for modules where it stands first: -P lets it not
    # take a person's random.py for Python's own. The package is named for where it was found there.
    options = ["-P", "-c", _CHILD]
    places = [str(Path(mien.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    try:
        done = subprocess.run(
            [sys.executable, *options, str(file), str(threads), "y" if opened else "n"],
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))},
            check=False,
        )
    except OSError as error:
        raise ModelError(
            f"{file}: no process could be started to measure memory: {error}"
        ) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was stopped"])[-1]
        raise ModelError(f"{file}: a process that reads 64 faces with it failed: {reason}")
    # Libraries may have written before.
    return float(done.stdout.split()[-1])
