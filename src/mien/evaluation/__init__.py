"""Evaluation: figures of models on a split, the same for every kind of model."""

from mien.evaluation.comparison import Comparison, compare
from mien.evaluation.dynamics import TrainingDynamics, training_dynamics
from mien.evaluation.evaluate import evaluate
from mien.evaluation.evaluation import Evaluation, read_evaluation
from mien.evaluation.metrics import ClassificationMetrics, classification_metrics
from mien.evaluation.predictor import Predictor, open_predictor

__all__ = [
    "ClassificationMetrics",
    "Comparison",
    "Evaluation",
    "Predictor",
    "TrainingDynamics",
    "classification_metrics",
    "compare",
    "evaluate",
    "open_predictor",
    "read_evaluation",
    "training_dynamics",
]
