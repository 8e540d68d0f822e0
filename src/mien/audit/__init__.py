"""Audits: what is wrong with a data set, and the changes that put it right."""

from mien.audit.audit import Audit, audit
from mien.audit.label_errors import LabelErrors, find_label_errors, rate_labels
from mien.audit.near_duplicates import NearDuplicates, find_near_duplicates
from mien.audit.non_faces import NonFaces, find_non_faces
from mien.audit.repair import repair

__all__ = [
    "Audit",
    "LabelErrors",
    "NearDuplicates",
    "NonFaces",
    "audit",
    "find_label_errors",
    "find_near_duplicates",
    "find_non_faces",
    "rate_labels",
    "repair",
]
