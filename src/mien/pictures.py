"""Picture files decoded: whatever Pillow reads → upright, 8 bits a channel, grey or RGB.

Used for photos to analyse and for faces to train on, so that both are seen alike: EXIF rotation is
applied, transparent pixels show white, as on a page, of an animation the first frame is taken, and
grey levels of 16 and 32 bits and floats are scaled, not clipped.
"""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from mien.errors import MediaError
from mien.folders import is_hidden

logger = logging.getLogger(__name__)

#: Pictures in a folder: the formats that people keep photos in. A file named by itself may be of
#: any format that Pillow reads.
SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".avif", ".jp2", ".ppm", ".pgm", ".pnm", ".tga"),
)
#: Largest picture read, where Pillow too takes a file for a decompression bomb.
MAX_PIXELS: Final = 178_956_970

#: Most scans in a stranger's JPEG, and most segments: each scan goes over all pixels again, for
#: some 30 bytes of file. Progressive pictures have about ten; libtiff too allows 100 in its JPEGs.
_MAX_SCANS: Final = 100
_MAX_SEGMENTS: Final = 2000
#: A JPEG's marker that a length follows: no restart, no stuffed or fill byte.
_SEGMENT: Final = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")
_END, _SCAN = 0xD9, 0xDA

#: Grey levels of more than 8 bits that are scaled at a time.
_STRIP: Final = 1 << 20


def is_picture(path: str) -> bool:
    """Whether a file in a folder is a picture, by its relative path with ``/``.

    What is hidden or in a hidden folder is not, nor what macOS packs as ``__MACOSX``.
    """
    suffix = os.path.splitext(path)[1]  # noqa: PTH122 - 10 times faster
    return suffix.lower() in SUFFIXES and not is_hidden(path)


def decode_picture(
    file: IO[bytes],
    name: str,
    *,
    max_pixels: int = MAX_PIXELS,
    formats: Sequence[str] | None = None,
) -> Image.Image:
    """Decode a picture file to an upright image of mode ``L`` or ``RGB``.

    Args:
        file: The file, open for reading.
        name: What to call it in messages.
        max_pixels: Largest picture that is decoded.
        formats: Pillow's names of the formats to try, for files of people one does not know: some
            others hand the file to a program of their own. All that Pillow reads by default;
            those that it was built without are left out. Given, files are refused too of which
            few bytes take minutes or gigabytes.

    Raises:
        MediaError: Not a picture, damaged, empty or too large.
    """
    if formats is not None:
        Image.init()
        formats = [known for known in formats if known in Image.OPEN]
    with _told_as_media_error(name, max_pixels), warnings.catch_warnings():
        # Pillow warns from 89 megapixels on; the limit is checked below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # Of a damaged part that it does without it warns too, with its own source code.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        if formats is not None:
            _check_scans(file, name)
        with Image.open(file, formats=formats) as image:
            if formats is not None:
                _check_decoder(image, name)
            return _normalise(image, name, max_pixels)


def normalise_picture(image: Image.Image, name: str) -> Image.Image:
    """Bring a Pillow image to an upright one of mode ``L`` or ``RGB``; see this module.

    Raises:
        MediaError: Damaged, empty or too large.
    """
    with _told_as_media_error(name, MAX_PIXELS):
        return _normalise(image, name, MAX_PIXELS)


def check_size(width: int, height: int, name: str, *, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse pictures without pixels or with too many.

    Raises:
        MediaError: It is such a picture.
    """
    if width * height > max_pixels:
        raise _too_large(name, max_pixels)
    if not (width and height):
        raise MediaError(f"{name}: an empty picture, {width} × {height} pixels")


def _check_scans(file: IO[bytes], name: str) -> None:
    """Refuse a JPEG that is gone over too often, before anything else reads its segments."""
    file.seek(0)
    data = file.read()
    if not data.startswith(b"\xff\xd8"):
        return
    scans = segments = 0
    at = 2
    while (found := _SEGMENT.search(data, at)) and found[1][0] != _END:
        segments += 1
        scans += found[1][0] == _SCAN
        if scans > _MAX_SCANS or segments > _MAX_SEGMENTS:
            raise MediaError(
                f"{name}: a JPEG of more than {_MAX_SCANS} scans or {_MAX_SEGMENTS} segments; "
                "save it anew"
            )
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2])


def _check_decoder(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse what Pillow decodes in Python, such as BMP with RLE and PPM as text.

    That goes byte by byte while other threads wait, and a BMP of 1 KB can take 25 GB.
    """
    if any(tile[0] in Image.DECODERS for tile in image.tile):
        raise MediaError(f"{name}: {image.format} of a kind that is not taken; save it as PNG")


@contextmanager
def _told_as_media_error(name: str, max_pixels: int) -> Iterator[None]:
    try:
        yield
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, max_pixels) from error
    except MemoryError as error:
        raise MediaError(f"{name}: too large for the memory there is; make it smaller") from error
    except UnidentifiedImageError as error:
        raise MediaError(f"{name}: not a picture in a format that can be read") from error
    except Exception as error:
        # Damage shows in many ways: OSError, SyntaxError, struct.error, ValueError, IndexError …
        raise MediaError(f"{name}: damaged picture: {_one_line(error)}") from error


def _normalise(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    check_size(image.width, image.height, name, max_pixels=max_pixels)
    image.load()
    image = _upright(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_scale_deep(image))
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "L" else image.convert("L" if image.mode == "1" else "RGB")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:
        # Cameras and editors write broken EXIF in many ways; the pixels are still good.
        logger.info("EXIF data ignored: %s", error)
        return image


def _scale_deep(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Bring grey levels of more than 8 bits to 8: Pillow's own conversion cuts them off at 255.

    Sixteen bits are scaled by their whole range, unless they hold no more than eight. Mode "I"
    (32 bits) mostly holds 16, so it is scaled so too, if nothing lies outside; that and floats
    outside 0 to 1 by what they hold.
    """
    levels = np.asarray(image)
    # A strip at a time: in float64 the largest picture would take gigabytes.
    strips = [slice(start, start + _STRIP) for start in range(0, levels.size, _STRIP)]
    low = min(_finite(levels.ravel()[strip]).min() for strip in strips)
    high = max(_finite(levels.ravel()[strip]).max() for strip in strips)
    bottom, top = 0.0, 1.0 if image.mode == "F" else 65535.0
    if low >= 0 and 1 < high <= 255:
        top = 255.0
    elif low < 0 or high > top:
        bottom, top = low, max(high - low, 1e-12)
    scaled = np.empty(levels.size, np.uint8)
    for strip in strips:
        scaled[strip] = np.rint((_finite(levels.ravel()[strip]) - bottom) * (255 / top))
    return scaled.reshape(levels.shape)


def _finite(levels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.nan_to_num(levels.astype(np.float64), copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _too_large(name: str, max_pixels: int) -> MediaError:
    return MediaError(f"{name}: more than {max_pixels // 10**6} megapixels; make it smaller first")
