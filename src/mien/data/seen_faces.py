"""Which faces a model has learned from, told by a few kilobytes that travel with it."""

import base64
import hashlib
import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.errors import ModelError
from mien.metadata import ModelMetadata

#: Share of faces never learned from that are taken for learned ones all the same.
FALSE_POSITIVES: Final = 1e-5

_HASHES: Final = round(-math.log2(FALSE_POSITIVES))
_BITS_A_FACE: Final = -math.log(FALSE_POSITIVES) / math.log(2) ** 2
_HEADER: Final = struct.Struct("<II")

#: Most bits that a file may ask for: those of 70 million faces.
_MOST_BITS: Final = 1 << 30


@dataclass(frozen=True, eq=False, kw_only=True)
class SeenFaces:
    """A Bloom filter over the exact pixels of faces: no face can be got back out of it.

    A face that was put in is always found, and so is its mirror image; of others two in a hundred
    thousand are. A resized or re-encoded copy has other pixels and is not found.

    Source: Bloom 1970, https://doi.org/10.1145/362686.362692

    Attributes:
        count: Different faces put in.
        bits: ``(M / 8,)`` uint8, M bits.
        before: Those that the model had learned from which training went on; None for a model that
            began from nothing, or with nothing that is not in here.
    """

    count: int
    bits: npt.NDArray[np.uint8]
    before: "SeenFaces | None" = None

    @classmethod
    def of(cls, images: npt.NDArray[np.uint8], *, before: "SeenFaces | None" = None) -> "SeenFaces":
        """Return the filter of ``(N, H, W)`` faces, and of those learned from before.

        Where all of them were learned from before, that is the filter.
        """
        if before is not None and before.contains(images).all():
            return before
        digests = np.unique(_digests(images), axis=0)
        size = 8 * max(1, math.ceil(len(digests) * _BITS_A_FACE / 8))
        bits = np.zeros(size, np.bool_)
        bits[_positions(digests, size)] = True
        return cls(count=len(digests), bits=np.packbits(bits), before=before)

    @classmethod
    def union(cls, filters: "Iterable[SeenFaces | None]") -> "SeenFaces | None":
        """Return the filter of all faces that are in any of some, None where there are none."""
        parts = [part for each in filters if each is not None for part in each.to_text().split(" ")]
        return cls.from_text(" ".join(dict.fromkeys(parts))) if parts else None

    def contains(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Return ``(N,)``: which of ``(N, H, W)`` faces, or their mirror images, were put in."""
        found = np.zeros(len(images), np.bool_)
        for view in (images, images[:, :, ::-1]):  # whoever trains mirrors faces as they come
            digests = _digests(view)
            for each in self._filters():
                found |= each._holds(digests)
        return found

    def to_text(self) -> str:
        """Return the filter as text; four kilobytes a thousand faces."""
        return " ".join(each._own_text() for each in self._filters())

    @classmethod
    def from_text(cls, text: str) -> "SeenFaces":
        """Read what :meth:`to_text` wrote.

        Raises:
            ValueError: It is damaged.
        """
        found: SeenFaces | None = None
        for part in reversed(text.split(" ")):
            count, bits = _read_filter(part)
            found = cls(count=count, bits=bits, before=found)
        assert found is not None  # a text has one part at least
        return found

    def _filters(self) -> "Iterator[SeenFaces]":
        """Yield this filter and those before it."""
        each: SeenFaces | None = self
        while each is not None:
            yield each
            each = each.before

    def _holds(self, digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        if not self.count:
            return np.zeros(len(digests), np.bool_)
        bits = np.unpackbits(self.bits).astype(np.bool_)
        held: npt.NDArray[np.bool_] = np.all(bits[_positions(digests, len(bits))], axis=1)
        return held

    def _own_text(self) -> str:
        header = _HEADER.pack(self.count, 8 * len(self.bits))
        return base64.b64encode(header + self.bits.tobytes()).decode("ascii")


def read_seen(metadata: ModelMetadata) -> SeenFaces | None:
    """Return the faces that an exported model learned from; None in an older version's file.

    Raises:
        ModelError: They are damaged.
    """
    try:
        return SeenFaces.from_text(metadata.seen) if metadata.seen else None
    except ValueError as error:
        raise ModelError(f"the model's metadata is damaged: seen: {error}") from error


def _read_filter(text: str) -> tuple[int, npt.NDArray[np.uint8]]:
    """Return the number of faces in a filter, and its bits.

    Raises:
        ValueError: It is damaged.
    """
    try:
        content = base64.b64decode(text, validate=True)
        count, size = _HEADER.unpack_from(content)
    except (ValueError, struct.error) as error:
        raise ValueError(f"not a filter of faces: {error}") from error
    bits = np.frombuffer(content, np.uint8, offset=_HEADER.size)
    if size != 8 * len(bits) or not 8 <= size <= _MOST_BITS:
        raise ValueError(f"not a filter of faces: {len(bits)} bytes for {size} bits")
    return count, bits


def _digests(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return ``(N, 2)`` two independent 64-bit hashes of each picture's pixels."""
    digests = b"".join(hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in images)
    return np.frombuffer(digests, "<u8").reshape(-1, 2).astype(np.uint64)


def _positions(digests: npt.NDArray[np.uint64], size: int) -> npt.NDArray[np.int64]:
    """Return ``(N, K)`` the bits of each face, made of its two hashes.

    Source: Kirsch and Mitzenmacher 2006, https://doi.org/10.1007/11841036_42
    """
    turns = np.arange(_HASHES, dtype=np.uint64)
    places = digests[:, :1] + turns * (digests[:, 1:] | np.uint64(1))  # wraps, as hashes may
    return (places % np.uint64(size)).astype(np.int64)
