r"""How does FER2013 frame a face, and what does the way through detector and crop cost?

Runs the detector over FER2013's Training images, prints where eyes and mouth lie in them, and with
a model compares PublicTest accuracy on the plain pixels with that on crops cut out anew::

    python benchmarks/crop_geometry.py --data fer2013.csv \
        --model src/mien/analysis/weights/mien-s.onnx

``mien.preprocess.FER2013_CROP`` comes from this script. FER2013 images are tight crops of 48 × 48
pixels: they are enlarged, and their borders repeated around them, to give the detector the context
that it was trained with. The crops are cut from the 48 × 48 pixels themselves.
"""

import argparse
import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.analysis.classifier import ExpressionClassifier
from mien.analysis.detector import Detector
from mien.analysis.mtcnn import MtcnnDetector
from mien.data.dataset import ExpressionDataset
from mien.data.sources import load_fer2013
from mien.metadata import CropGeometry, ModelMetadata
from mien.preprocess import FACE_SIZE, FREE_ROLL_DEG, align_face, crop_face, resize_face

Faces = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

ENLARGED: Final = 3
BORDER: Final = 16
#: A face fills its image, so smaller ones are not looked for.
MIN_FACE: Final = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MIEN_FER2013"))
    parser.add_argument("--sample", type=int, default=5000, help="Training images to look at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="ONNX file: compare accuracies on PublicTest")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name FER2013 by --data or $MIEN_FER2013")
    dataset = load_fer2013(arguments.data)
    detector = MtcnnDetector(min_face=MIN_FACE, threads=arguments.threads)
    if arguments.sample:
        images = dataset.split("Training").images
        random = np.random.default_rng(arguments.seed)
        chosen = random.choice(len(images), min(arguments.sample, len(images)), replace=False)
        print(f"Training, {len(chosen)} images, seed {arguments.seed}")
        print_geometry(find_landmarks(detector, images[np.sort(chosen)]))
    if arguments.model is not None:
        classifier = ExpressionClassifier(arguments.model, threads=arguments.threads)
        compare_accuracy(classifier, detector, dataset.split("PublicTest"))


def find_landmarks(detector: Detector, faces_gray: Faces) -> Points:
    """Return ``(N, 5, 2)`` landmarks in pixels of each face image; NaN where no face is found."""
    landmarks = np.full((len(faces_gray), 5, 2), np.nan)
    side = FACE_SIZE * ENLARGED
    for index, face in enumerate(faces_gray):
        large = Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC)
        padded = np.pad(np.asarray(large), BORDER * ENLARGED, mode="edge")
        found = detector.detect(np.repeat(padded[:, :, None], 3, axis=2))
        if len(found) and found.landmarks is not None:
            sides_wh = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
            largest = np.argmax(sides_wh.prod(axis=1))
            landmarks[index] = found.landmarks[largest] / ENLARGED - BORDER
    return landmarks


def print_geometry(landmarks: Points) -> None:
    """Print mean positions as fractions of the side, as they are and turned upright."""
    found = landmarks[~np.isnan(landmarks[:, 0, 0])] / FACE_SIZE
    points = np.stack((found[:, 0], found[:, 1], found[:, 3:].mean(axis=1)), axis=1)
    between = points[:, 1] - points[:, 0]
    roll = np.arctan2(between[:, 1], between[:, 0])
    degrees = np.degrees(roll)
    print(f"found: {len(found)} of {len(landmarks)}, {len(found) / len(landmarks):.1%}")
    print(f"roll: {degrees.mean():.1f} ± {degrees.std():.1f}°")
    _print_means("as they are", points)
    # The crop is fitted to faces turned upright, so that is how its geometry has to be measured.
    cosine, sine = np.cos(roll), np.sin(roll)
    turn = np.stack((cosine, sine, -sine, cosine), axis=1).reshape(-1, 2, 2)
    upright = (turn @ (points - 0.5).swapaxes(1, 2)).swapaxes(1, 2) + 0.5
    _print_means("turned upright about the middle", upright)
    left_eye, right_eye, mouth = upright.mean(axis=0)
    half, height = (right_eye[0] - left_eye[0]) / 2, (left_eye[1] + right_eye[1]) / 2
    print(
        "symmetric, for FER2013_CROP: "
        f"eyes x {0.5 - half:.3f} and {0.5 + half:.3f}, y {height:.3f}; mouth y {mouth[1]:.3f}"
    )


def _print_means(title: str, points: Points) -> None:
    print(f"  {title}:")
    means, deviations = points.mean(axis=0), points.std(axis=0)
    for name, (x, y), (x_std, y_std) in zip(
        ("left eye", "right eye", "mouth"), means, deviations, strict=True
    ):
        print(f"    {name:>9}: x {x:.4f} ± {x_std:.4f}   y {y:.4f} ± {y_std:.4f}")


def compare_accuracy(
    classifier: ExpressionClassifier, detector: Detector, dataset: ExpressionDataset
) -> None:
    """Print the accuracy on plain pixels and on crops, where a face was found and over all."""
    landmarks = find_landmarks(detector, dataset.images)
    found = ~np.isnan(landmarks[:, 0, 0])
    print(f"PublicTest, {len(dataset)} images, face found in {found.mean():.1%}")
    plain = classifier.classify(dataset.images).argmax(axis=1) == dataset.labels
    print(f"  plain pixels: {_accuracies(plain, found)}; others {plain[~found].mean():.2%}")
    ways: dict[str, Callable[..., Faces]] = {
        "every face cut anew, turned upright": align_face,
        f"every face cut anew, {FREE_ROLL_DEG:.0f}° of roll left": partial(
            align_face, free_roll_deg=FREE_ROLL_DEG
        ),
        "as in analysis: ready crops left alone": _crop_as_analysis,
    }
    for title, cut in ways.items():
        cropped = _cut_found(dataset.images, landmarks, classifier.metadata, cut)
        right = classifier.classify(cropped).argmax(axis=1) == dataset.labels
        print(f"  {title}: {_accuracies(right, found)}")


def _crop_as_analysis(face_gray: Faces, points: Points, crop: CropGeometry, *, size: int) -> Faces:
    box = np.array([0, 0, FACE_SIZE, FACE_SIZE], np.float32)
    return crop_face(face_gray, box, points, crop, size=size)


def _cut_found(
    faces_gray: Faces, landmarks: Points, facts: ModelMetadata, cut: Callable[..., Faces]
) -> Faces:
    """Return crops ``(N, size, size)``; the plain pixels where there is no face to cut."""
    size = facts.input_size
    cropped = np.stack([resize_face(face, size=size) for face in faces_gray])
    for index in np.flatnonzero(~np.isnan(landmarks[:, 0, 0])):
        # Points that are no face's: the plain pixels stay.
        with contextlib.suppress(ValueError):
            cropped[index] = cut(faces_gray[index], landmarks[index], facts.crop, size=size)
    return cropped


def _accuracies(right: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> str:
    return f"where found {right[found].mean():.2%}, all {right.mean():.2%}"


if __name__ == "__main__":
    main()
