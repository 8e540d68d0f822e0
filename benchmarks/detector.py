"""Where does the face detector's time go, and what do other settings of it gain and lose?

Times each stage of the default detector, then runs a second one beside it, turn by turn on each
photo, and counts which of the second one's faces the default one finds again::

    python benchmarks/detector.py PHOTO... [--min-face 20] [--thresholds 0.6 0.7 0.7]

The second one looks for smaller faces, as the default one did until 2026-11-21. Times are processor
time of one thread, so that what else runs on the machine matters less; ratios are medians over runs
that alternate. Faces are the same from an intersection over union of 0.5.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from machine import describe_machine
from mien.analysis.detector import Detections
from mien.analysis.mtcnn import MtcnnDetector

ImageRgb = npt.NDArray[np.uint8]

REPEATS: Final = 9
SAME: Final = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--longest", type=int, default=640, help="scale photos to this side")
    parser.add_argument("--min-face", type=int, default=20)
    parser.add_argument("--thresholds", type=float, nargs=3, default=(0.6, 0.7, 0.7))
    arguments = parser.parse_args()
    detector = MtcnnDetector(threads=1)
    p_net, r_net, o_net = arguments.thresholds
    second = MtcnnDetector(min_face=arguments.min_face, thresholds=(p_net, r_net, o_net), threads=1)
    print(describe_machine("mien", "numpy", "pillow", "onnxruntime"))
    print(f"{detector}, stages in ms, against {second}")
    print("pyramid   P-Net   R-Net   O-Net     all   ratio  faces  again  extra  points  photo")
    for path in arguments.photos:
        photo = _read(path, arguments.longest)
        stages = time_stages(detector, photo)
        ratio = time_ratio(partial(detector.detect, photo), partial(second.detect, photo))
        cells = "".join(f"{stage:8.1f}" for stage in (*stages, sum(stages)))
        found = compare(detector.detect(photo), second.detect(photo))
        print(f"{cells.removeprefix(' ')}{ratio:8.2f}{found}  {path.name}")


def time_stages(detector: MtcnnDetector, photo: ImageRgb) -> list[float]:
    """Return the median milliseconds of pyramid, P-Net, R-Net and O-Net, each with what it cuts."""
    runs = []
    for _ in range(REPEATS + 1):
        start = time.process_time()
        pictures = detector._pyramid(Image.fromarray(photo), detector.min_face)
        scaled = time.process_time()
        proposed = detector._propose(pictures)
        p_net = time.process_time()
        refined = detector._refine(pictures, proposed)
        r_net = time.process_time()
        detector._conclude(pictures, refined)
        o_net = time.process_time()
        runs.append((scaled - start, p_net - scaled, r_net - p_net, o_net - r_net))
    return [statistics.median(stage) * 1e3 for stage in zip(*runs[1:], strict=True)]


def time_ratio(call: Callable[[], object], other: Callable[[], object]) -> float:
    """Return the median of what a call takes as a share of another, the two taking turns."""
    ratios = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        between = time.process_time()
        other()
        ratios.append((between - start) / (time.process_time() - between))
    return statistics.median(ratios)


def compare(found: Detections, reference: Detections) -> str:
    """Return the faces of a reference, those found again, others, and how far points moved.

    The last is the mean distance between landmarks in per cent of the eyes' distance.
    """
    overlaps = _overlaps(reference.boxes_xyxy, found.boxes_xyxy)
    again = (overlaps >= SAME).any(axis=1)
    extra = int((~(overlaps >= SAME).any(axis=0)).sum())
    row = f"{len(reference):7}{int(again.sum()):7}{extra:7}"
    if not again.any() or reference.landmarks is None or found.landmarks is None:
        return f"{row}{'–':>8}"
    points = reference.landmarks[again]
    moved = np.linalg.norm(found.landmarks[overlaps[again].argmax(axis=1)] - points, axis=2)
    eyes = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    return f"{row}{(moved.mean(axis=1) / eyes).mean():8.1%}"


def _overlaps(
    boxes: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the intersection over union ``(N, M)`` of boxes ``(N, 4)`` and ``(M, 4)``."""
    least = np.maximum(boxes[:, None, :2], others[None, :, :2])
    most = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.maximum(most - least, 0).prod(axis=2)
    areas, other_areas = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, others))
    overlaps: npt.NDArray[np.float32] = common / (areas[:, None] + other_areas - common)
    return overlaps


def _read(path: Path, longest: int) -> ImageRgb:
    with Image.open(path) as image:
        image.thumbnail((longest, longest))
        return np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    main()
