"""MTCNN, the default face detector: three small networks, each checking the one before.

P-Net looks at every position of a pyramid of smaller and smaller pictures, R-Net and O-Net look
closer at what it proposes, and O-Net adds five landmarks.

Source: Zhang et al., Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks, 2016, https://arxiv.org/abs/1604.02878
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.analysis.boxes import shift_edges, square, suppress
from mien.analysis.detector import Detections
from mien.analysis.mtcnn_graphs import Network, load_graph
from mien.analysis.sessions import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = npt.NDArray[np.float32]

#: Side in pixels of P-Net's window and the step from one to the next.
_WINDOW: Final = 12
_STRIDE: Final = 2
#: Each level of the pyramid is this much smaller than the one before: half the area.
_PYRAMID_FACTOR: Final = 0.709
#: Overlaps at which one of two boxes goes: within a level, between levels, after R-Net, at the end.
_OVERLAP_LEVEL: Final = 0.5
_OVERLAP: Final = 0.7
#: Smallest face looked for by default, in a picture of up to _FULL_SEARCH pixels and in larger ones
#: in proportion: the work is then bounded, and a group photo's faces grow with its pixels.
_MIN_FACE: Final = 20
_FULL_SEARCH: Final = 1280


class MtcnnDetector:
    """Finds faces from about 20 pixels up, with five landmarks each.

    Args:
        min_face: Side in pixels of the smallest face to look for, at least 12. By default 20 in
            pictures of up to 1280 pixels, and in proportion to the longer side in larger ones.
        thresholds: Smallest score that passes P-Net, R-Net and O-Net.
        threads: Processor threads; 0 for as many as there are cores.

    Raises:
        ValueError: ``min_face`` is below 12 or a threshold outside 0 to 1.
        ModelError: The detector's weights are missing or not those expected.
    """

    def __init__(
        self,
        *,
        min_face: int | None = None,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        threads: int = 0,
    ) -> None:
        if min_face is not None and min_face < _WINDOW:
            raise ValueError(f"min_face must be at least {_WINDOW} pixels, got {min_face}")
        if not all(0 <= threshold <= 1 for threshold in thresholds):
            raise ValueError(f"thresholds must be between 0 and 1, got {thresholds}")
        self.min_face = min_face
        self.thresholds = thresholds
        self._pnet = _open("pnet", threads)
        self._rnet = _open("rnet", threads)
        self._onet = _open("onet", threads)

    def __repr__(self) -> str:
        return f"MtcnnDetector(min_face={self.min_face}, thresholds={self.thresholds})"

    def detect(self, image_rgb: npt.NDArray[np.uint8]) -> Detections:
        """Find the faces in an upright ``(H, W, 3)`` uint8 RGB picture, best score first.

        Raises:
            ValueError: The array is not of that shape and type.
        """
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
            raise ValueError(f"expected uint8 (H, W, 3), got {image_rgb.dtype} {image_rgb.shape}")
        image = Image.fromarray(image_rgb)
        boxes = self._propose(image)
        boxes = self._refine(image, boxes)
        return self._conclude(image, boxes)

    def _propose(self, image: Image.Image) -> Array:
        """Return P-Net's square proposals ``(N, 4)``."""
        found = [self._propose_level(level, image.size) for level in self._pyramid(image)]
        boxes = np.concatenate([boxes for boxes, _ in found] or [np.empty((0, 4), np.float32)])
        scores = np.concatenate([scores for _, scores in found] or [np.empty(0, np.float32)])
        return square(boxes[suppress(boxes, scores, threshold=_OVERLAP)])

    def _pyramid(self, image: Image.Image) -> list[Image.Image]:
        min_face = self.min_face or _MIN_FACE * max(1, max(image.size) / _FULL_SEARCH)
        scale = _WINDOW / min_face
        levels: list[Image.Image] = []
        while min(image.size) * scale >= _WINDOW:
            size_wh = (round(image.width * scale), round(image.height * scale))
            # From two levels up, half the side: a tenth of the time of starting from the whole
            # picture each time, and softer by less than a level.
            source = levels[-2] if len(levels) >= 2 else image
            levels.append(source.resize(size_wh, Image.Resampling.BILINEAR, reducing_gap=2.0))
            scale *= _PYRAMID_FACTOR
        return levels

    def _propose_level(self, level: Image.Image, size_wh: tuple[int, int]) -> tuple[Array, Array]:
        """Return the boxes ``(N, 4)`` in pixels of the picture, and scores, found at one level."""
        scores, offsets = self._pnet.run(None, {"images_rgb": np.asarray(level)[None]})
        rows, columns = np.nonzero(scores[0, 0] > self.thresholds[0])
        corners = np.stack((columns, rows), axis=1).astype(np.float32) * _STRIDE
        boxes = np.concatenate((corners, corners + _WINDOW), axis=1)
        boxes = shift_edges(boxes, offsets[0][:, rows, columns].T)
        boxes *= np.tile(np.array(size_wh, np.float32) / np.array(level.size, np.float32), 2)
        found = scores[0, 0, rows, columns]
        kept = suppress(boxes, found, threshold=_OVERLAP_LEVEL)
        return boxes[kept], found[kept]

    def _refine(self, image: Image.Image, boxes: Array) -> Array:
        """Return those of the square boxes that R-Net passes, moved by it, square again."""
        if not len(boxes):
            return boxes
        scores, offsets = self._rnet.run(None, {"images_rgb": _cut(image, boxes, 24)})
        passed = scores[:, 0] > self.thresholds[1]
        boxes = shift_edges(boxes[passed], offsets[passed])
        return square(boxes[suppress(boxes, scores[passed, 0], threshold=_OVERLAP)])

    def _conclude(self, image: Image.Image, boxes: Array) -> Detections:
        """Return what O-Net says about the square boxes."""
        if not len(boxes):
            return Detections.empty()
        scores, offsets, points = self._onet.run(None, {"images_rgb": _cut(image, boxes, 48)})
        passed = scores[:, 0] > self.thresholds[2]
        boxes, scores = boxes[passed], scores[passed, 0]
        sides_wh = (boxes[:, 2:] - boxes[:, :2])[:, None]
        landmarks = points[passed].reshape(-1, 2, 5).swapaxes(1, 2) * sides_wh
        landmarks += boxes[:, None, :2]
        boxes = shift_edges(boxes, offsets[passed])
        kept = suppress(boxes, scores, threshold=_OVERLAP, relative_to="smaller")
        return Detections(boxes[kept], scores[kept], landmarks[kept])


def _open(network: Network, threads: int) -> "InferenceSession":
    return open_session(load_graph(network), threads=threads)


def _cut(image: Image.Image, boxes: Array, side: int) -> npt.NDArray[np.uint8]:
    """Cut boxes out of a picture, each scaled to a square; grey where it has no pixels.

    Returns:
        ``(N, side, side, 3)`` uint8.
    """
    # 127.5 is the networks' zero, with which they were trained at the border.
    cuts = np.full((len(boxes), side, side, 3), 127, np.uint8)
    edges = np.array((image.width, image.height) * 2, np.float32)
    inside = np.clip(boxes, 0, edges)
    scales = side / np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
    targets = np.rint((inside - np.tile(boxes[:, :2], 2)) * np.tile(scales, 2)).astype(int)
    for cut, box, (left, top, right, bottom) in zip(
        cuts, inside.tolist(), targets.tolist(), strict=True
    ):
        if right > left and bottom > top:
            size_wh = (right - left, bottom - top)
            cut[top:bottom, left:right] = _resize(image, size_wh, box)
    return cuts


def _resize(image: Image.Image, size_wh: tuple[int, int], box: list[float]) -> Any:
    left, top, right, bottom = box
    return image.resize(
        size_wh, Image.Resampling.BILINEAR, (left, top, right, bottom), reducing_gap=2.0
    )
