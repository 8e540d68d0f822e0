"""What a service allows: every limit in one value."""

import os
import re
from dataclasses import dataclass, field, fields
from typing import Final, Literal

from mien.analysis.options import check_tta
from mien.machine import usable_cores

#: An origin as browsers send it, and as it is compared: small letters, no path, and no port that
#: the scheme has anyway.
#: Source: https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
_ORIGIN: Final = re.compile(
    r"(?!http:.*:80$|https:.*:443$)[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?"
)


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The limits of a service, and the model that it reads with.

    Attributes:
        model: An ONNX file written by ``mien export``; by default the model in the package.
        min_face: Side in pixels of the smallest face to look for; by default the detector's own.
        uncertain_below: As for :class:`mien.Analyzer`.
        tta: As for :class:`mien.Analyzer`.
        threads: Pictures that are read at once, one processor thread each; 0 for as many as there
            are cores.
        batch_faces: Faces of all requests that go through the model at once, at most 256.
        batch_wait_ms: How long found faces wait for others that are about to be found; where no
            other picture is being read they never do.
        max_picture_bytes: Largest file of one picture.
        max_request_bytes: Largest body of one request.
        max_pixels: Largest picture, width times height.
        max_pictures: Pictures in one request.
        max_faces: Faces told of one picture, the largest ones; the others are counted.
        max_waiting_pictures: Pictures of all requests that are waiting or being read.
        max_waiting_bytes: Bytes of all requests that are being received, waiting or being read.
        max_live: Live connections at once.
        live_idle_s: Seconds without a frame after which a live connection is closed.
        timeout_s: Seconds from a request's first byte to its answer.
        upload_timeout_s: Seconds in which a video must arrive.
        max_video_bytes: Largest video file.
        max_video_s: Longest video, in seconds.
        max_videos: Videos of a process that arrive, wait or are being read.
        video_readers: Videos that are read at once, beside the pictures.
        video_timeout_s: Seconds that one video may take to be read.
        keep_video_s: Seconds for which what was read in a video is kept, unless deleted before.
        video_folder: Where videos lie while they are read, and their results; by default a private
            temporary folder, gone with the service.
        page: Whether there is a web page, at ``/page/``.
        api_key: Asked of every request for work and for facts; None asks for none.
        allow_origins: Web origins whose pages may use the service, such as
            ``https://example.org``; ``*`` for all.

    Raises:
        ValueError: A limit is out of range, or the key or an origin is none that HTTP can carry.
    """

    model: str | os.PathLike[str] | None = None
    min_face: int | None = None
    uncertain_below: float | None = None
    tta: Literal["flip"] | None = None
    threads: int = 0
    batch_faces: int = 32
    batch_wait_ms: float = 5.0
    max_picture_bytes: int = 16_000_000
    max_request_bytes: int = 64_000_000
    max_pixels: int = 50_000_000
    max_pictures: int = 32
    max_faces: int = 100
    max_waiting_pictures: int = 128
    max_waiting_bytes: int = 256_000_000
    max_live: int = 8
    live_idle_s: float = 60.0
    timeout_s: float = 30.0
    upload_timeout_s: float = 300.0
    max_video_bytes: int = 200_000_000
    max_video_s: float = 600.0
    max_videos: int = 8
    video_readers: int = 1
    video_timeout_s: float = 1800.0
    keep_video_s: float = 600.0
    video_folder: str | os.PathLike[str] | None = None
    page: bool = False
    api_key: str | None = field(default=None, repr=False)
    allow_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError(f"threads must be 0, for all cores, or more, got {self.threads}")
        check_tta(self.tta)
        if not 1 <= self.batch_faces <= 256:
            raise ValueError(f"batch_faces must be 1 to 256, got {self.batch_faces}")
        if not 0 <= self.batch_wait_ms <= 1000:
            raise ValueError(f"batch_wait_ms must be 0 to 1000, got {self.batch_wait_ms}")
        for limit in fields(self):
            name, value = limit.name, getattr(self, limit.name)
            if name.startswith("max_") and not value >= 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
            if name.endswith("_s") and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, got {value}")
        for most, waiting in (
            ("max_pictures", "max_waiting_pictures"),
            ("max_request_bytes", "max_waiting_bytes"),
        ):
            if getattr(self, most) > getattr(self, waiting):
                raise ValueError(
                    f"{waiting} must be at least {most}, or the largest request is always put off: "
                    f"{getattr(self, waiting):,} is below {getattr(self, most):,}"
                )
        if self.video_readers < 1:
            raise ValueError(f"video_readers must be at least 1, got {self.video_readers}")
        key = self.api_key
        if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
            raise ValueError("api_key must be ASCII letters, digits and signs, without blanks")
        for origin in self.allow_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    "an origin looks like https://example.org or http://localhost:3000, in small "
                    f"letters, without a path and the usual port, or is * for all: got {origin!r}"
                )

    @property
    def readers(self) -> int:
        """How many pictures are read at once."""
        return self.threads or usable_cores()

    def limits(self) -> dict[str, int | float]:
        """Return what a client must keep to, by name."""
        names = (
            *("max_picture_bytes", "max_request_bytes", "max_pixels", "max_pictures", "max_faces"),
            *("timeout_s", "max_video_bytes", "max_video_s", "keep_video_s", "live_idle_s"),
        )
        return {name: getattr(self, name) for name in names}
