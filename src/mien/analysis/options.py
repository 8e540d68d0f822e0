"""What an analyzer is opened with, as a value that goes to other processes and machines."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer


def check_tta(tta: str | None) -> None:
    """Raise :class:`ValueError` where a test-time augmentation is none that there is."""
    if tta not in (None, "flip"):
        raise ValueError(f"tta must be None or 'flip', got {tta!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzerOptions:
    """How an analyzer is opened.

    Attributes:
        model: An ONNX file; None for the model in the package.
        min_face: Side in pixels of the smallest face to look for.
        uncertain_below: As for :class:`mien.Analyzer`.
        tta: As for :class:`mien.Analyzer`.
        threads: Processor threads of a reader; 0 for as many as there are cores to use.
    """

    model: Path | None = None
    min_face: int | None = None
    uncertain_below: float | None = None
    tta: Literal["flip"] | None = None
    threads: int = 0

    def open_analyzer(self) -> "Analyzer":
        """Open the model and the face detector.

        Raises:
            ModelError: The model cannot be used.
        """
        from mien.analysis.analyzer import Analyzer  # noqa: PLC0415 - opens ONNX Runtime

        return Analyzer(
            self.model,
            min_face=self.min_face,
            threads=self.threads,
            uncertain_below=self.uncertain_below,
            tta=self.tta,
        )
