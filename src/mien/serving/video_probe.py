"""A clip gone through in a process of its own, before the service opens it.

::

    python -m mien.serving.video_probe CLIP MAX_PIXELS

Measured: an MP4 of 2 KB that says it has 60 million frames keeps FFmpeg busy for 45 s and takes
3.4 GB of memory, and nothing stops it midway. Here it meets a limit of memory, and whoever started
the process ends it in time; a decoder that crashes takes nobody with it.

Prints what was found as one JSON object: ``size_wh`` and ``duration_s``, or ``error``. Prints
nothing where the limit was met.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mien.analysis.video.decoding import VideoGuard
from mien.analysis.video.frames import VideoFile
from mien.errors import MediaError

#: Bytes; a clip of 8K takes less.
_MOST_MEMORY: Final = 1_500_000_000


def probe(path: Path, max_pixels: int) -> dict[str, Any]:
    """Decode a clip's first frame, read all its packets, and return what it is.

    Raises:
        MediaError: It is no video, damaged, or too large.
    """
    guard = VideoGuard(max_pixels=max_pixels, check=lambda: None)
    with VideoFile(path, guard=guard) as video:
        # What a file says of itself can come late in it.
        video.walk()
        return {"size_wh": video.info.size_wh, "duration_s": video.info.duration_s}


def main() -> None:
    """Probe the clip that the command line names."""
    _, path, max_pixels = sys.argv
    _limit_memory()
    try:
        found = probe(Path(path), int(max_pixels))
    except MediaError as error:
        found = {"error": str(error)}
    sys.stdout.write(json.dumps(found))


def _limit_memory() -> None:
    try:
        import resource  # noqa: PLC0415
    except ModuleNotFoundError:  # Windows: there the time alone is limited
        return
    with suppress(ValueError, OSError):  # a lower limit is set already
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))


if __name__ == "__main__":
    main()
