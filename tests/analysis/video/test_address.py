import errno
import sys

import pytest

from mien.analysis.media import without_login
from mien.analysis.video.address import find_address, tell_camera


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EBUSY, "in use by another program; close that first"),
        (errno.EACCES, "no right to open /dev/video0; on Linux, join the group 'video'"),
        (errno.ENOENT, "/dev/video0: no such camera"),
        (errno.EINVAL, "/dev/video0: cannot be opened: wrong"),
    ],
)
def test_a_camera_that_cannot_be_opened_is_told_with_what_to_do(number: int, advice: str) -> None:
    assert tell_camera("/dev/video0", OSError(number, "Wrong")).startswith(advice)


@pytest.mark.parametrize(
    ("platform", "format_name", "url"),
    [("linux", "v4l2", "/dev/video1"), ("darwin", "avfoundation", "1")],
)
def test_cameras_have_numbers_on_every_system(
    monkeypatch: pytest.MonkeyPatch, platform: str, format_name: str, url: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    address = find_address(1, 10.0)

    assert (address.name, address.kind) == ("camera 1", "camera")
    assert (address.format, address.url) == (format_name, url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("rtsp://door/live", "rtsp://door/live"),
        ("rtsp://admin:secret@door/live", "rtsp://door/live"),
        ("rtsp://admin:P@ssw0rd@10.0.0.5/live", "rtsp://10.0.0.5/live"),
        ("http://admin:a@b@door?to=me@home", "http://door?to=me@home"),
    ],
)
def test_a_name_has_no_login(url: str, name: str) -> None:
    assert without_login(url) == find_address(url, 10.0).name == name
    assert find_address(url, 10.0).url == url
