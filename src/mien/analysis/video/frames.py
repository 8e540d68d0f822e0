"""Frames of video files, upright, each with its true time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One upright frame.

    Attributes:
        index: Its place in the video, counted from 0 over all frames, read or not.
        time_s: Its presentation time in seconds from the video's first frame.
        image_rgb: ``(H, W, 3)`` uint8.
    """

    index: int
    time_s: float
    image_rgb: npt.NDArray[np.uint8]
