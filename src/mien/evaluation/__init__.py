"""Evaluation: figures of a model on a split, the same for checkpoints and ONNX files."""

from mien.evaluation.evaluate import Evaluation, evaluate
from mien.evaluation.metrics import ClassificationMetrics, classification_metrics

__all__ = ["ClassificationMetrics", "Evaluation", "classification_metrics", "evaluate"]
