"""The faces of a photo explained: which pixels each reading rests on."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mien.analysis.analyzer import Analyzer
from mien.analysis.classifier import softmax
from mien.analysis.media import read_picture
from mien.errors import ModelError
from mien.evaluation.calibration.model_calibration import read_uncertain_below
from mien.evaluation.explanation.deletion import DeletionCheck, deletion_check
from mien.evaluation.explanation.network import open_differentiable
from mien.evaluation.explanation.saliency import grad_cam, occlusion_sensitivity
from mien.evaluation.predictor import Predictor, open_predictor
from mien.expressions import unknown_name
from mien.metadata import DEFAULT_MODEL, model_file, model_path
from mien.preprocess import crop_face
from mien.results import Face, Probabilities

Method = Literal["grad-cam", "occlusion"]

#: Random orders that a single face's deletion check takes.
_DRAWS: Final = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class SaliencyMap:
    """A map of a face, and whether what it highlights matters.

    Attributes:
        method: How it was made.
        values: ``(48, 48)`` float32. Of Grad-CAM 0 to 1, each map scaled to its own highest
            value; of occlusion the fall of the probability, -1 to 1.
        deletion: The deletion check of this face.
    """

    method: Method
    values: npt.NDArray[np.float32] = field(repr=False)
    deletion: DeletionCheck


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceExplanation:
    """One face of a photo, explained.

    Attributes:
        face: Where it is and what it was read as.
        expression: What is explained: the most probable expression, even where the face is told as
            uncertain, or another one asked for.
        crop_gray: ``(48, 48)`` uint8, what the model saw.
        maps: One for each method.
    """

    face: Face
    expression: str
    crop_gray: npt.NDArray[np.uint8] = field(repr=False)
    maps: tuple[SaliencyMap, ...]

    @property
    def probability(self) -> float:
        """The probability of the expression that is explained."""
        return self.face.probabilities[self.expression]

    def to_dict(self) -> dict[str, Any]:
        """Return the face and its deletion checks, without the maps, as plain JSON types."""
        return {
            **self.face.to_dict(),
            "explained": self.expression,
            "explained_probability": self.probability,
            "deletion": {one.method: one.deletion.to_dict() for one in self.maps},
        }


def explain_photo(
    photo: str | os.PathLike[str],
    model: str | Path | None = None,
    *,
    methods: Sequence[Method] = ("grad-cam",),
    expression: str | None = None,
    whole_image: bool = False,
    seed: int = 0,
) -> tuple[FaceExplanation, ...]:
    """Find a photo's faces, and show which pixels their readings rest on.

    Args:
        photo: The picture's file.
        model: A run's folder, a checkpoint, a classical baseline or an ONNX file; by default the
            model in the package. Grad-CAM needs a network, occlusion takes any.
        methods: One map of each face by each.
        expression: What to explain; by default each face's most probable expression.
        whole_image: The picture is a face crop already.
        seed: Draws the deletion checks' random areas.

    Returns:
        The faces, largest first; none where none is found.

    Raises:
        CheckpointError: The run, checkpoint or baseline cannot be used, or has no gradients.
        MediaError: The picture cannot be read.
        ModelError: The ONNX file cannot be used, or has no gradients; or the model does not know
            that expression.
    """
    file = model_path(model)
    reader = open_predictor(file)
    if expression is not None and expression not in reader.classes:
        raise ModelError(unknown_name("expression", expression, reader.classes))
    # Opened before the work, since not every model can be explained by gradients.
    network = open_differentiable(file) if "grad-cam" in methods else None
    faces, crops = _find(photo, file, reader, whole_image=whole_image)
    explained = []
    for face, crop in zip(faces, crops, strict=True):
        name = expression or face.probabilities.top
        target = np.array([reader.classes.index(name)])
        maps = []
        for method in methods:
            if method == "grad-cam":
                assert network is not None
                values = grad_cam(network, crop[None], target)
            else:
                values = occlusion_sensitivity(reader, crop[None], target)
            check = deletion_check(
                reader, crop[None], values, classes=target, draws=_DRAWS, seed=seed
            )
            maps.append(SaliencyMap(method=method, values=values[0], deletion=check))
        explained.append(
            FaceExplanation(face=face, expression=name, crop_gray=crop, maps=tuple(maps))
        )
    return tuple(explained)


def _find(
    photo: str | os.PathLike[str], file: Path, reader: Predictor, *, whole_image: bool
) -> tuple[list[Face], list[npt.NDArray[np.uint8]]]:
    """Return a photo's faces, largest first, as the model reads them, and their crops."""
    picture = read_picture(photo)
    # Of a run only the faces' places are taken from the analyzer, which reads with ONNX files.
    is_exported = file.suffix == ".onnx"
    analyzer = Analyzer(
        file if is_exported else DEFAULT_MODEL,
        uncertain_below=None if is_exported else read_uncertain_below(model_file(file)),
    )
    metadata = analyzer.classifier.metadata
    found = analyzer.analyze(picture.image_rgb, colour="rgb", whole_image=whole_image).faces
    if not found:
        return [], []
    crops = [
        crop_face(
            picture.image_rgb,
            np.array(face.box_xyxy),
            None if face.landmarks is None else np.array(face.landmarks),
            metadata.crop,
        )
        for face in found
    ]
    rows = softmax(reader.logits(np.stack(crops))).astype(np.float64).round(7).tolist()
    faces = [
        replace(face, probabilities=Probabilities(reader.classes, tuple(row)))
        for face, row in zip(found, rows, strict=True)
    ]
    return faces, crops
