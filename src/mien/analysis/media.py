"""Pictures in: files, folders, patterns, bytes, Pillow images and arrays → upright RGB pictures.

What is read is brought to one form, :class:`Picture`: upright (EXIF rotation applied), 8 bits a
channel, RGB. Transparent pixels show white, as on a page; of an animation the first frame is
taken; grey levels of 16 and 32 bits and floats are scaled, not clipped.
"""

import glob
import io
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mien.errors import MediaError

logger = logging.getLogger(__name__)

Colour = Literal["rgb", "bgr", "gray"]
#: Anything that :func:`read_picture` takes.
Source = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]

#: Pictures in a folder: the formats that people keep photos in. A file named by itself may be of
#: any format that Pillow reads.
SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".avif", ".jp2", ".ppm", ".pgm", ".pnm", ".tga"),
)
#: Largest picture read, where Pillow too takes a file for a decompression bomb.
MAX_PIXELS: Final = 178_956_970

_URL: Final = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


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


def read_picture(source: Source, *, colour: Colour | None = None) -> Picture:
    """Read one picture.

    Args:
        source: A path, the bytes of a picture file, a Pillow image, or an array: ``(H, W)``
            or ``(H, W, 1)`` grey, ``(H, W, 3)`` or ``(H, W, 4)`` colour; uint8, or uint16 over
            its whole range, or float from 0 to 1.
        colour: Channel order of a colour array, which has to be told, since one cannot see it:
            ``"bgr"`` for OpenCV's, ``"rgb"`` for most others.

    Raises:
        MediaError: The picture cannot be read; the message names it and the reason.
        ValueError: An array's shape, type or missing ``colour``.
        TypeError: ``source`` is none of these.
    """
    if isinstance(source, np.ndarray):
        return Picture("array", _from_array(source, colour))
    if isinstance(source, Image.Image):
        with _told_as_media_error("image"):
            return Picture("image", _to_rgb(source, "image"))
    if isinstance(source, bytes):
        return Picture("bytes", _decode(io.BytesIO(source), "bytes"))
    if isinstance(source, str | os.PathLike):
        return _read_file(os.fspath(source))
    raise TypeError(f"expected a path, bytes, Pillow image or array, got {type(source).__name__}")


def find_pictures(sources: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Yield the picture files that paths, folders and patterns stand for.

    A folder gives the pictures in it and in its folders, a pattern (``*``, ``?``, ``[``, ``**``)
    the pictures that match; both sorted by name. A file given by name is yielded whatever its
    suffix. A file that comes up twice is yielded once.

    Raises:
        MediaError: A source does not exist, is a URL, or stands for no picture at all.
    """
    seen: set[str] = set()
    for source in sources:
        for path in _expand(os.fspath(source)):
            key = str(Path(path).absolute())
            if key not in seen:
                seen.add(key)
                yield path


def _expand(source: str) -> list[str]:
    _refuse_url(source)
    path = Path(source)
    if path.is_dir():
        found = [str(file) for file in sorted(path.rglob("*")) if _is_picture(file)]
        if not found:
            raise MediaError(f"{source}: no picture in this folder ({_suffix_words()})")
        return found
    # A file whose name holds a bracket is that file; only then may it be a pattern.
    if path.exists() or not glob.has_magic(source):
        if not path.exists():
            raise MediaError(f"{source}: no such file or folder")
        return [source]
    # Path.glob would need the pattern's fixed part split off, drives and all.
    matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207
    found = [match for match in matches if _is_picture(Path(match))]
    if not found:
        raise MediaError(f"{source}: no picture matches this pattern ({_suffix_words()})")
    return found


def _is_picture(path: Path) -> bool:
    hidden = path.name.startswith(".")  # macOS leaves "._photo.jpg" beside "photo.jpg"
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def _suffix_words() -> str:
    return "looked for " + ", ".join(SUFFIXES)


def _refuse_url(source: str) -> None:
    if _URL.match(source):
        raise MediaError(f"{source}: mien does not fetch pictures; download it first")


def _read_file(source: str) -> Picture:
    _refuse_url(source)
    path = Path(source)
    if path.is_dir():
        raise MediaError(f"{source}: a folder, not a picture; use analyze_many or 'mien analyze'")
    try:
        with path.open("rb") as file:
            return Picture(source, _decode(file, source))
    except FileNotFoundError as error:
        raise MediaError(f"{source}: no such file") from error
    except OSError as error:
        raise MediaError(f"{source}: cannot be read: {error.strerror or error}") from error


def _decode(file: Any, name: str) -> npt.NDArray[np.uint8]:
    with _told_as_media_error(name), warnings.catch_warnings():
        # Pillow warns from 89 megapixels on; the limit here is checked in _to_rgb.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", message="Corrupt EXIF data")
        with Image.open(file) as image:
            return _to_rgb(image, name)


@contextmanager
def _told_as_media_error(name: str) -> Iterator[None]:
    try:
        yield
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except UnidentifiedImageError as error:
        raise MediaError(f"{name}: not a picture in a format that can be read") from error
    except Exception as error:
        # Damage shows in many ways: OSError, SyntaxError, struct.error, ValueError, IndexError …
        raise MediaError(f"{name}: damaged picture: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _too_large(name: str) -> MediaError:
    return MediaError(f"{name}: more than {MAX_PIXELS // 10**6} megapixels; make it smaller first")


def _to_rgb(image: Image.Image, name: str) -> npt.NDArray[np.uint8]:
    """Return a Pillow image as upright ``(H, W, 3)`` uint8."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    if not (image.width and image.height):
        raise MediaError(f"{name}: an empty picture, {image.width} × {image.height} pixels")
    image.load()
    image = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _repeat_gray(_scale_deep(image))
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:
        # Cameras and editors write broken EXIF in many ways; the pixels are still good.
        logger.info("EXIF data ignored: %s", error)
        return image


def _scale_deep(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Bring grey levels of more than 8 bits to 8: Pillow's own conversion cuts them off at 255.

    Sixteen bits are scaled by their whole range. Mode "I" (32 bits) mostly holds 16, so it is
    scaled so too, if nothing lies outside; that and floats outside 0 to 1 by what they hold.
    """
    levels = np.asarray(image).astype(np.float64)
    levels = np.nan_to_num(levels, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(levels.min()), float(levels.max())
    top = 1.0 if image.mode == "F" else 65535.0
    if image.mode == "F" and low >= 0 and 1 < high <= 255:
        top = 255.0
    elif low < 0 or high > top:
        levels, top = levels - low, max(high - low, 1e-12)
    return _rounded(levels * (255 / top))


def _rounded(levels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    rounded: npt.NDArray[np.uint8] = np.rint(levels).astype(np.uint8)
    return rounded


def _repeat_gray(image_gray: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(image_gray[:, :, None], 3, axis=2)


def _from_array(array: npt.NDArray[Any], colour: Colour | None) -> npt.NDArray[np.uint8]:
    if colour not in (None, "rgb", "bgr", "gray"):
        raise ValueError(f"colour must be 'rgb', 'bgr' or 'gray', got {colour!r}")
    channels = array.shape[2] if array.ndim == 3 else 1 if array.ndim == 2 else 0
    if channels not in (1, 3, 4):
        raise ValueError(f"expected an array (H, W), (H, W, 1), (H, W, 3) or 4, got {array.shape}")
    if array.size == 0:
        raise MediaError(f"array: an empty picture, shape {array.shape}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise _too_large("array")
    if channels > 1 and colour not in ("rgb", "bgr"):
        raise ValueError("tell the array's channel order: colour='rgb', or 'bgr' as OpenCV has it")
    if channels == 1 and colour not in (None, "gray"):
        raise ValueError(f"colour={colour!r} for an array of one channel: use 'gray'")
    pixels = _to_uint8(array)
    if channels == 1:
        return _repeat_gray(pixels.reshape(array.shape[:2]))
    if colour == "bgr":
        pixels = pixels[:, :, [2, 1, 0, 3][:channels]]
    pixels = np.ascontiguousarray(pixels)
    return pixels if channels == 3 else _to_rgb(Image.fromarray(pixels), "array")


def _to_uint8(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return _rounded(array * (255 / 65535))
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"expected floats from 0 to 1, got {low:.3g} to {high:.3g}")
        return _rounded(array * 255)
    raise ValueError(f"expected an array of uint8, uint16 or float, got {array.dtype}")
