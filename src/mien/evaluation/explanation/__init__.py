"""Explanation: which pixels of a face a reading rests on, and whether they matter."""

from mien.evaluation.explanation.class_maps import ClassMaps, explain_split
from mien.evaluation.explanation.deletion import DeletionCheck, deletion_check
from mien.evaluation.explanation.network import DifferentiableModel, FaceReader, open_differentiable
from mien.evaluation.explanation.photo import FaceExplanation, Method, SaliencyMap, explain_photo
from mien.evaluation.explanation.saliency import grad_cam, occlusion_sensitivity

__all__ = [
    "ClassMaps",
    "DeletionCheck",
    "DifferentiableModel",
    "FaceExplanation",
    "FaceReader",
    "Method",
    "SaliencyMap",
    "deletion_check",
    "explain_photo",
    "explain_split",
    "grad_cam",
    "occlusion_sensitivity",
    "open_differentiable",
]
