"""What FFmpeg is to open for a camera's number, a file or a URL, and what people call that."""

import errno
import glob
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from mien.analysis.media import URL, without_login
from mien.analysis.video.decoding import import_av, reason
from mien.errors import MediaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What FFmpeg is to open, and how.

    Attributes:
        name: What people call it.
        url: What FFmpeg calls it.
        kind: ``camera``, ``file`` or ``stream``.
        format: The demuxer, where it cannot be seen from the source.
        options: The demuxer's.
    """

    name: str
    url: str
    kind: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)


def find_address(source: int | str | os.PathLike[str], timeout_s: float) -> Address:
    """Return what FFmpeg is to open for a source."""
    text = str(source) if isinstance(source, int) else os.fspath(source)
    path = Path(text)
    if text.isdecimal() and not path.exists():
        return _camera(f"camera {int(text)}", int(text))
    if path.is_char_device():
        return _camera(text, text)
    match = URL.match(text)
    if match is None:
        options = {"protocol_whitelist": "file"}
        return Address(name=text, url=f"file:{text}", kind="file", options=options)
    # What is buffered while the stream is opened need not be thrown away by "nobuffer": it is
    # decoded at once and overtaken, while short streams would have nothing left.
    options = {"flags": "low_delay"}
    protocol = match[1].lower()
    if not protocol.startswith("rtmp"):
        # With RTMP it would be how long to wait, as a server, for somebody who sends.
        options["timeout"] = str(round(timeout_s * 1e6))
    if protocol in ("rtsp", "rtsps"):
        # Over UDP lost packets are grey smears.
        options["rtsp_transport"] = "tcp"
    return Address(name=without_login(text), url=text, kind="stream", options=options)


def _camera(name: str, device: int | str) -> Address:
    """Return a camera's address on this system."""
    if sys.platform == "darwin":
        # 30: AVFoundation refuses rates that the camera does not have; all have this one.
        options = {"framerate": "30", "pixel_format": "uyvy422"}
        return Address(
            name=name, url=str(device), kind="camera", format="avfoundation", options=options
        )
    if sys.platform == "win32":
        url = f"video={_windows_camera(name, device) if isinstance(device, int) else device}"
        return Address(name=name, url=url, kind="camera", format="dshow")
    url = f"/dev/video{device}" if isinstance(device, int) else device
    return Address(name=name, url=url, kind="camera", format="v4l2")


def _windows_camera(name: str, number: int) -> str:
    """Return the name of a camera, since DirectShow knows no numbers.

    Raises:
        MediaError: There is no such camera.
    """
    import_av()
    from av.device import enumerate_input_devices  # noqa: PLC0415

    devices = enumerate_input_devices("dshow")
    cameras = [device.name for device in devices if "video" in device.media_types]
    if number >= len(cameras):
        raise MediaError(f"{name}: no such camera; there are {len(cameras)}, counted from 0")
    return cameras[number]


def tell_camera(url: str, error: Exception) -> str:
    """Return why a camera could not be opened, and what to do."""
    number = getattr(error, "errno", None)
    if number == errno.EBUSY:
        return "in use by another program; close that first"
    if number in (errno.EACCES, errno.EPERM):
        return f"no right to open {url}; on Linux, join the group 'video' and log in again"
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO):
        there = sorted(glob.glob("/dev/video[0-9]*"))  # noqa: PTH207
        others = f"there are {', '.join(there)}" if there else "none is plugged in"
        return f"{url}: no such camera, {others}; a video file or a URL will do as well"
    return f"{url}: cannot be opened: {reason(error)}"
