"""mien: facial expression recognition, offline, measured and reproducible.

>>> import mien
>>> result = mien.analyze("photo.jpg")  # doctest: +SKIP
>>> result.expression, result.faces[0].confidence  # doctest: +SKIP
('happy', 0.97)

Importing this loads neither torch nor ONNX Runtime; each name below is fetched when first used.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.analysis.analyzer import Analyzer, analyze
    from mien.analysis.video.timeline import Timeline
    from mien.data.dataset import ExpressionDataset
    from mien.data.sources import load_dataset, load_fer2013
    from mien.errors import MienError
    from mien.evaluation.evaluate import evaluate
    from mien.expressions import EXPRESSIONS
    from mien.results import Face, FrameResult, Probabilities
    from mien.training import load_recipe, train

# From version 1.29 on ONNX Runtime tells its maker what is run, unless this is there as it loads;
# whoever wants that sets 0. Source: https://github.com/microsoft/onnxruntime/pull/27379
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = [
    "EXPRESSIONS",
    "Analyzer",
    "ExpressionDataset",
    "Face",
    "FrameResult",
    "MienError",
    "Probabilities",
    "Timeline",
    "__version__",
    "analyze",
    "evaluate",
    "load_dataset",
    "load_fer2013",
    "load_recipe",
    "train",
]

_HOMES = {
    "EXPRESSIONS": "mien.expressions",
    "Analyzer": "mien.analysis.analyzer",
    "ExpressionDataset": "mien.data.dataset",
    "Face": "mien.results",
    "FrameResult": "mien.results",
    "MienError": "mien.errors",
    "Probabilities": "mien.results",
    "Timeline": "mien.analysis.video.timeline",
    "analyze": "mien.analysis.analyzer",
    "evaluate": "mien.evaluation.evaluate",
    "load_dataset": "mien.data.sources",
    "load_fer2013": "mien.data.sources",
    "load_recipe": "mien.training.recipe_file",
    "train": "mien.training.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mien.errors import require_extra  # noqa: PLC0415

    with require_extra("train"):
        value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # Without what it takes to train: help(mien) fetches each name that is told here.
    trains = find_spec("torch") is not None and find_spec("lightning") is not None
    return sorted(
        name for name in __all__ if trains or not _HOMES.get(name, "").startswith("mien.training")
    )
