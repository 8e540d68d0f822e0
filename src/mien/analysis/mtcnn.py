"""MTCNN, the default face detector: three small networks, each checking the one before.

P-Net looks at every position of a pyramid of smaller and smaller pictures, R-Net and O-Net look
closer at what it proposes, and O-Net adds five landmarks.

Source: Zhang et al., Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks, 2016, https://arxiv.org/abs/1604.02878
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.analysis.boxes import shift_edges, square, suppress
from mien.analysis.detector import Detections
from mien.analysis.mtcnn_graphs import open_network

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = npt.NDArray[np.float32]

#: Side in pixels of P-Net's window and the step from one to the next.
_WINDOW: Final = 12
_STRIDE: Final = 2
#: Rows of windows times the step that P-Net looks at in one go, the same as all at once. Its values
#: then stay in a processor's cache, a tenth faster, and a large picture takes no more memory.
_STRIP: Final = 64
#: Each level of the pyramid is this much smaller than the one before: half the area.
_PYRAMID_FACTOR: Final = 0.709
#: Overlaps at which one of two boxes goes: within a level, between levels, after R-Net, at the end.
_OVERLAP_LEVEL: Final = 0.5
_OVERLAP: Final = 0.7
#: Faces at a time through R-Net and O-Net: their values then stay in a processor's cache, which
#: takes 9 ms for 128 faces where all at once take 15.
_BATCH: Final = 32
#: Smallest face looked for by default, in a picture of up to _FULL_SEARCH pixels and in larger ones
#: in proportion: the work is then bounded, and a group photo's faces grow with its pixels. Half a
#: model's input has little expression to read. Looking for 20 pixels took a quarter more time, and
#: of 252 faces in 89 pictures 24 pixels lost one of 19 pixels, one of 59 and one that was none.
#: A first threshold of 0.7 would spare another tenth, and 2 % of the faces in FER2013.
_MIN_FACE: Final = 24
_FULL_SEARCH: Final = 1280


class MtcnnDetector:
    """Finds faces from about 24 pixels up, with five landmarks each.

    Args:
        min_face: Side in pixels of the smallest face to look for, at least 12. By default 24 in
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
        self._threads = threads
        self._pnet = open_network("pnet", threads=threads)
        self._rnet = open_network("rnet", threads=threads)
        self._onet = open_network("onet", threads=threads)

    def __repr__(self) -> str:
        return f"MtcnnDetector(min_face={self.min_face}, thresholds={self.thresholds})"

    def __reduce__(self) -> tuple[Callable[..., "MtcnnDetector"], tuple[()]]:
        """Let another process open its own: a session of ONNX Runtime cannot be sent."""
        again = functools.partial(
            type(self),
            min_face=self.min_face,
            thresholds=self.thresholds,
            threads=self._threads,
        )
        return again, ()

    def detect(
        self, image_rgb: npt.NDArray[np.uint8], *, min_face: int | None = None
    ) -> Detections:
        """Find the faces in an upright ``(H, W, 3)`` uint8 RGB picture, best score first.

        Args:
            image_rgb: The picture.
            min_face: For this picture, as for the class; by default the detector's own.

        Raises:
            ValueError: The array is not of that shape and type.
        """
        _check_picture(image_rgb)
        pictures = self._pyramid(Image.fromarray(image_rgb), min_face or self.min_face)
        boxes = self._propose(pictures)
        boxes = self._refine(pictures, boxes)
        return self._conclude(pictures, boxes)

    def refine(
        self, image_rgb: npt.NDArray[np.uint8], boxes_xyxy: npt.NDArray[np.floating]
    ) -> tuple[Detections, npt.NDArray[np.intp]]:
        """Find faces again that are known to be near some boxes, as from one frame to the next.

        R-Net moves the boxes and O-Net judges them, for a thirtieth of the time that the whole of
        a 720p picture takes. A face is lost where O-Net no longer passes it; of boxes that come to
        one face the best stays.

        Args:
            image_rgb: Upright ``(H, W, 3)`` uint8.
            boxes_xyxy: ``(N, 4)`` in pixels of the picture.

        Returns:
            The faces, best score first, and ``(M,)`` for each the index of the box it came from.

        Raises:
            ValueError: The arrays are not of that shape and type.
        """
        _check_picture(image_rgb)
        boxes = np.asarray(boxes_xyxy, np.float32)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"expected boxes_xyxy (N, 4), got {boxes.shape}")
        if not len(boxes):
            return Detections.empty(), np.empty(0, np.intp)
        # As they are: enlarged by 10 or 25 %, or without R-Net, the points of two clips were
        # farther from those of a detection in the same frame (0.03 to 0.08 of the eyes' distance
        # against 0.02 to 0.03), and faces were lost twice to ten times as often.
        boxes = square(boxes)
        _, offsets = _run_batches(self._rnet, _cut_windows(image_rgb, boxes, 24))
        boxes = square(shift_edges(boxes, offsets))
        return self._judge(_cut_windows(image_rgb, boxes, 48), boxes)

    def _pyramid(self, image: Image.Image, min_face: int | None) -> list[Image.Image]:
        """Return the picture and, smaller and smaller, the levels that P-Net looks at."""
        scale = _WINDOW / (min_face or _MIN_FACE * max(1, max(image.size) / _FULL_SEARCH))
        pictures = [image]
        while min(image.size) * scale >= _WINDOW:
            size_wh = (round(image.width * scale), round(image.height * scale))
            # Each from the one before, averaging areas: half the time of starting anew.
            pictures.append(pictures[-1].resize(size_wh, Image.Resampling.BOX, reducing_gap=2.0))
            scale *= _PYRAMID_FACTOR
        return pictures

    def _propose(self, pictures: list[Image.Image]) -> Array:
        """Return P-Net's square proposals ``(N, 4)``."""
        size_wh = pictures[0].size
        found = [self._propose_level(level, size_wh) for level in pictures[1:]]
        boxes = np.concatenate([boxes for boxes, _ in found] or [np.empty((0, 4), np.float32)])
        scores = np.concatenate([scores for _, scores in found] or [np.empty(0, np.float32)])
        return square(boxes[suppress(boxes, scores, threshold=_OVERLAP)])

    def _propose_level(self, level: Image.Image, size_wh: tuple[int, int]) -> tuple[Array, Array]:
        """Return the boxes ``(N, 4)`` in pixels of the picture, and scores, found at one level."""
        pixels = np.asarray(level)[None]
        strips = [
            self._pnet.run(None, {"images_rgb": pixels[:, top : top + _STRIP + _WINDOW - _STRIDE]})
            for top in range(0, level.height - _WINDOW + 1, _STRIP)
        ]
        scores, offsets = (np.concatenate(maps, axis=2) for maps in zip(*strips, strict=True))
        rows, columns = np.nonzero(scores[0, 0] > self.thresholds[0])
        corners = np.stack((columns, rows), axis=1).astype(np.float32) * _STRIDE
        boxes = np.concatenate((corners, corners + _WINDOW), axis=1)
        boxes = shift_edges(boxes, offsets[0][:, rows, columns].T)
        boxes *= np.tile(np.array(size_wh, np.float32) / np.array(level.size, np.float32), 2)
        found = scores[0, 0, rows, columns]
        kept = suppress(boxes, found, threshold=_OVERLAP_LEVEL)
        return boxes[kept], found[kept]

    def _refine(self, pictures: list[Image.Image], boxes: Array) -> Array:
        """Return those of the square boxes that R-Net passes, moved by it, square again."""
        if not len(boxes):
            return boxes
        scores, offsets = _run_batches(self._rnet, _cut(pictures, boxes, 24))
        passed = scores[:, 0] > self.thresholds[1]
        boxes = shift_edges(boxes[passed], offsets[passed])
        return square(boxes[suppress(boxes, scores[passed, 0], threshold=_OVERLAP)])

    def _conclude(self, pictures: list[Image.Image], boxes: Array) -> Detections:
        """Return what O-Net says about the square boxes."""
        if not len(boxes):
            return Detections.empty()
        return self._judge(_cut(pictures, boxes, 48), boxes)[0]

    def _judge(
        self, cuts: npt.NDArray[np.uint8], boxes: Array
    ) -> tuple[Detections, npt.NDArray[np.intp]]:
        """Return O-Net's faces in cuts of square boxes, and which box each came from."""
        scores, offsets, points = _run_batches(self._onet, cuts)
        passed = np.flatnonzero(scores[:, 0] > self.thresholds[2])
        boxes, scores = boxes[passed], scores[passed, 0]
        sides_wh = (boxes[:, 2:] - boxes[:, :2])[:, None]
        landmarks = points[passed].reshape(-1, 2, 5).swapaxes(1, 2) * sides_wh
        landmarks += boxes[:, None, :2]
        boxes = shift_edges(boxes, offsets[passed])
        kept = suppress(boxes, scores, threshold=_OVERLAP, relative_to="smaller")
        # The offsets of what is no face can turn a box inside out.
        kept = kept[(boxes[kept, 2:] > boxes[kept, :2]).all(axis=1)]
        return Detections(boxes[kept], scores[kept], landmarks[kept]), passed[kept]


def _check_picture(image_rgb: npt.NDArray[np.uint8]) -> None:
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ValueError(f"expected uint8 (H, W, 3), got {image_rgb.dtype} {image_rgb.shape}")


def _run_batches(session: "InferenceSession", cuts: npt.NDArray[np.uint8]) -> list[Array]:
    batches = [
        session.run(None, {"images_rgb": cuts[start : start + _BATCH]})
        for start in range(0, len(cuts), _BATCH)
    ]
    return [np.concatenate(outputs) for outputs in zip(*batches, strict=True)]


def _cut(pictures: list[Image.Image], boxes: Array, side: int) -> npt.NDArray[np.uint8]:
    """Cut square boxes out of a picture, each scaled to ``side``; grey where it has no pixels.

    Args:
        pictures: The picture, then smaller ones of it. Each box is cut from the smallest that has
            twice the pixels it needs, which makes large boxes as cheap as small ones. (With
            only as many, 3 % fewer of FER2013's faces were found.)
        boxes: ``(N, 4)`` in pixels of the first picture.
        side: Side of a cut in pixels.

    Returns:
        ``(N, side, side, 3)`` uint8.
    """
    scales = np.array([picture.width for picture in pictures]) / pictures[0].width
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], 1e-3)
    # Scales fall, so the last one that leaves enough pixels is their count, less one.
    levels = np.maximum((sides[:, None] * scales >= 2 * side).sum(axis=1) - 1, 0)
    sizes_wh = np.array([picture.size for picture in pictures], np.float32)
    factors = np.tile(sizes_wh[levels] / sizes_wh[0], 2)
    inside = np.clip(boxes * factors, 0, np.tile(sizes_wh[levels], 2))
    targets = (inside / factors - np.tile(boxes[:, :2], 2)) * (side / sides)[:, None]
    # 127.5 is the networks' zero, which is what they saw beyond a border in training. Pasted into
    # one picture, 220 cuts take 5.7 ms; as an array each, 8.1.
    sheet = Image.new("RGB", (side, side * len(boxes)), (127, 127, 127))
    for place, level, box, (left, top, right, bottom) in zip(
        range(0, sheet.height, side),
        levels.tolist(),
        inside.tolist(),
        np.rint(targets).astype(int).tolist(),
        strict=True,
    ):
        if right > left and bottom > top:
            cut = pictures[level].resize(
                (right - left, bottom - top), Image.Resampling.BOX, tuple(box), reducing_gap=2.0
            )
            sheet.paste(cut, (left, place + top))
    return np.asarray(sheet).reshape(-1, side, side, 3)


def _cut_windows(
    image_rgb: npt.NDArray[np.uint8], boxes: Array, side: int
) -> npt.NDArray[np.uint8]:
    """Cut as :func:`_cut` does, without bringing the rest of a picture into Pillow."""
    cuts = [np.full((1, side, side, 3), 127, np.uint8)] * len(boxes)
    for index, box in enumerate(boxes):
        left, top = np.floor(box[:2]).clip(0).astype(int).tolist()
        right, bottom = np.ceil(box[2:]).clip(0).astype(int).tolist()
        window = np.ascontiguousarray(image_rgb[top:bottom, left:right])
        if window.size:
            inside = box - np.array([left, top, left, top], np.float32)
            cuts[index] = _cut([Image.fromarray(window)], inside[None], side)
    return np.concatenate(cuts)
