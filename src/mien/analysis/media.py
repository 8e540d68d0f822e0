"""Pictures in: files, folders, patterns, bytes, Pillow images and arrays → upright RGB pictures.

What is read is brought to one form, :class:`Picture`; how files are decoded is in
:mod:`mien.pictures`.
"""

import functools
import glob
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from mien.errors import MediaError
from mien.folders import walk_files
from mien.pictures import (
    SUFFIXES,
    check_size,
    decode_picture,
    is_picture,
    normalise_picture,
)

Colour = Literal["rgb", "bgr", "gray"]
#: Anything that :func:`read_picture` takes.
Source = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | Image.Image
    | npt.NDArray[Any]
)
#: What holds the bytes of a file; widgets of a notebook give a memoryview.
FILE_BYTES: Final = (bytes, bytearray, memoryview)

#: How the names of annotated pictures end, which folders and patterns leave out: so reading a
#: folder into itself again finds the same pictures.
ANNOTATED_SUFFIX: Final = "-mien.jpg"

#: What is no path but an address, and its protocol.
URL: Final = re.compile(r"^([a-z][a-z0-9+.-]+)://", re.IGNORECASE)

#: Characters of a path that are shown of one that cannot be read.
_LONGEST_PATH: Final = 500

#: User and password of a URL, up to the last @ before its path as FFmpeg reads it.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#]*@")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One upright picture.

    Attributes:
        source: Where it came from: the path as given, or ``array``, ``image`` or ``bytes``.
        image_rgb: ``(H, W, 3)`` uint8.
    """

    source: str
    image_rgb: npt.NDArray[np.uint8]

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.image_rgb.shape[:2]
        return width, height


def read_picture(
    source: Source, *, colour: Colour | None = None, name: str | None = None
) -> Picture:
    """Read one picture.

    Args:
        source: A path, the bytes of a picture file or an open one, a Pillow image, or an array:
            ``(H, W)`` or ``(H, W, 1)`` grey, ``(H, W, 3)`` or ``(H, W, 4)`` colour; numbers from 0
            to 255, floats of which none is above 1 from 0 to 1, and uint16 of which one is above
            255 over its whole range.
        colour: Channel order of a colour array, which has to be told, since one cannot see it:
            ``"bgr"`` for OpenCV's, ``"rgb"`` for most others. Of a grey one it says nothing.
        name: What to call a picture in memory, by default as :func:`kind_of` does.

    Raises:
        MediaError: The picture cannot be read; the message names it and the reason.
        ValueError: An array's shape, type or missing ``colour``.
        TypeError: ``source`` is none of these.
    """
    if isinstance(source, str | os.PathLike):
        return _read_file(os.fspath(source))
    name = name or kind_of(source)
    if isinstance(source, np.ndarray):
        return Picture(name, _from_array(source, colour, name))
    if isinstance(source, Image.Image):
        return Picture(name, _rgb(normalise_picture(source, name)))
    data = source if isinstance(source, FILE_BYTES) else source.read()
    return Picture(name, _rgb(decode_picture(io.BytesIO(data), name)))


def kind_of(source: Source) -> str:
    """Return what a picture in memory is called: ``array``, ``image``, ``bytes`` or ``file``.

    Raises:
        TypeError: ``source`` is none of these.
    """
    for kind, name in ((np.ndarray, "array"), (Image.Image, "image"), (FILE_BYTES, "bytes")):
        if isinstance(source, kind):
            return name
    if hasattr(source, "read"):
        return "file"
    many = (
        "; for several pictures there is analyze_many" if isinstance(source, list | tuple) else ""
    )
    raise TypeError(
        f"expected a path, bytes, an open file, Pillow image or array, got "
        f"{type(source).__name__}{many}"
    )


def find_pictures(sources: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Yield the picture files that paths, folders and patterns stand for.

    A folder gives the pictures in it and in its folders, a pattern (``*``, ``?``, ``[``, ``**``)
    the pictures that match; both sorted by name, without hidden ones and those that ``mien
    analyze --annotate`` wrote. A file given by name is yielded whatever its name. A file that comes
    up twice is yielded once.

    Raises:
        MediaError: A source does not exist, is a URL, stands for no picture at all, or is a
            folder that cannot be read.
    """
    return find_files(sources, _PICTURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """What is looked for in folders and by patterns.

    Attributes:
        noun: What one file is called.
        suffixes: How its name may end, in lower case.
        list_folder: Returns those in a folder and its folders, by their relative paths, sorted.
        takes: Whether a file is one, by the parts of its path from a pattern's first wildcard on.
        refuse_url: Raises a :class:`MediaError` where a source is a URL.
    """

    noun: str
    suffixes: tuple[str, ...]
    list_folder: Callable[[Path], Iterable[str]]
    takes: Callable[[Sequence[str]], bool]
    refuse_url: Callable[[str], None]


def find_files(sources: Iterable[str | os.PathLike[str]], kind: FileKind) -> Iterator[str]:
    """Yield the files of a kind that paths, folders and patterns stand for, each once.

    Raises:
        MediaError: A source does not exist, is a URL, stands for no such file at all, or is a
            folder that cannot be read.
    """
    seen: set[str] = set()
    for source in sources:
        for path in _expand(os.fspath(source), kind):
            key = str(Path(path).absolute())
            if key not in seen:
                seen.add(key)
                yield path


def _expand(source: str, kind: FileKind) -> list[str]:
    try:
        return _look_up(source, kind)
    except OSError as error:
        name = error.filename or source
        raise MediaError(f"{name}: cannot be read: {error.strerror or error}") from error


def _look_up(source: str, kind: FileKind) -> list[str]:
    kind.refuse_url(source)
    looked_for = "looked for " + ", ".join(kind.suffixes)
    path = Path(source)
    if path.is_dir():
        found = [str(path / name) for name in kind.list_folder(path)]
        if not found:
            raise MediaError(f"{source}: no {kind.noun} in this folder ({looked_for})")
        return found
    # A file whose name holds a bracket is that file; only then may it be a pattern.
    if path.exists() or not glob.has_magic(source):
        if not path.exists():
            raise MediaError(f"{source}: no such file or folder")
        return [source]
    # Path.glob would need the pattern's fixed part split off, drives and all.
    matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207
    # The folders before the first wildcard were named, so they may be hidden.
    named = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
    found = [
        match
        for match in matches
        if kind.takes(Path(match).parts[named:]) and Path(match).is_file()
    ]
    if not found:
        raise MediaError(f"{source}: no {kind.noun} matches this pattern ({looked_for})")
    return found


def _is_wanted(path: str) -> bool:
    return is_picture(path) and not path.lower().endswith(ANNOTATED_SUFFIX)


def refuse_picture_url(source: str) -> None:
    """Raise :class:`MediaError` where a source is a URL."""
    if source.startswith("data:"):
        raise MediaError(f"{source[:30]}…: a data URL, not a path; decode it and give the bytes")
    if URL.match(source):
        raise MediaError(
            f"{without_login(source)}: mien does not fetch pictures; download it first"
        )


def without_login(url: str) -> str:
    """Return a URL without its user and password, which belong in no message and no table.

    >>> without_login("rtsp://admin:p@ss@10.0.0.5/live")
    'rtsp://10.0.0.5/live'
    """
    return _CREDENTIALS.sub("", url)


_PICTURES: Final = FileKind(
    noun="picture",
    suffixes=SUFFIXES,
    list_folder=functools.partial(walk_files, takes=_is_wanted),
    takes=lambda parts: _is_wanted("/".join(parts)),
    refuse_url=refuse_picture_url,
)


def _read_file(source: str) -> Picture:
    refuse_picture_url(source)
    path = Path(source)
    try:
        if path.is_dir():
            raise MediaError(
                f"{source or repr(source)}: a folder, not a picture; use analyze_many or 'mien "
                "analyze'"
            )
        with path.open("rb") as file:
            return Picture(source, _rgb(decode_picture(file, source)))
    except MediaError as error:
        if path.suffix.lower() in _clip_suffixes():
            raise MediaError(f"{error}; for clips there is 'mien video'") from error
        raise
    except FileNotFoundError as error:
        raise MediaError(f"{source}: no such file") from error
    except OSError as error:
        # What is no path at all, such as a picture in base64, may be megabytes long.
        name = source if len(source) <= _LONGEST_PATH else f"{source[:30]}…"
        raise MediaError(f"{name}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise MediaError(f"{source!r}: no such file") from error


def _clip_suffixes() -> tuple[str, ...]:
    from mien.analysis.video.clips import CLIP_SUFFIXES  # noqa: PLC0415 - looks for files by this

    return CLIP_SUFFIXES


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


def _rounded(levels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(levels), dtype=np.uint8)


def _repeat_gray(image_gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(image_gray[:, :, None], 3, axis=2)


def _from_array(array: npt.NDArray[Any], colour: Colour | None, name: str) -> npt.NDArray[np.uint8]:
    if colour not in (None, "rgb", "bgr", "gray"):
        raise ValueError(f"colour must be 'rgb', 'bgr' or 'gray', got {colour!r}")
    channels = array.shape[2] if array.ndim == 3 else 1 if array.ndim == 2 else 0
    if channels not in (1, 3, 4):
        raise ValueError(f"expected an array (H, W), (H, W, 1), (H, W, 3) or 4, got {array.shape}")
    check_size(array.shape[1], array.shape[0], name)
    if channels > 1 and colour not in ("rgb", "bgr"):
        raise ValueError("tell the array's channel order: colour='rgb', or 'bgr' as OpenCV has it")
    pixels = _to_uint8(array)
    if channels == 1:
        return _repeat_gray(pixels.reshape(array.shape[:2]))
    if colour == "bgr":
        pixels = pixels[:, :, [2, 1, 0, 3][:channels]]
    pixels = np.ascontiguousarray(pixels)
    return pixels if channels == 3 else _rgb(normalise_picture(Image.fromarray(pixels), name))


def _to_uint8(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16 and array.max() > 255:
        return _rounded(array * (255 / 65535))
    if array.dtype.kind not in "iuf":
        raise ValueError(f"expected an array of grey levels or colours, got {array.dtype}")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(
            f"expected levels from 0 to 1 or to 255, got {low:.5g} to {high:.5g} as {array.dtype}"
        )
    # As in picture files: floats of which none is above 1 go from 0 to 1.
    return _rounded(array * 255) if array.dtype.kind == "f" and high <= 1 else _rounded(array)
