"""Manifests: changes to a data set in a small JSON file, which is a data source itself.

A manifest names its source and what to leave out or relabel, so that nothing is copied and no
source is ever touched::

    {"mien_manifest": 1,
     "source": {"path": "fer2013.csv", "fingerprint": "…", "own_classes": false},
     "images": 35887,
     "changes": [{"index": 7, "name": "row 8", "action": "merge", "label": "sad",
                  "reason": "exact copy", "of": 3}]}

``index`` and ``of`` count the source's images from 0. ``drop`` leaves an image out, ``merge``
leaves it out for another that shows the same, ``relabel`` gives it the class ``label``; of the
other two ``label`` is the class that the image had.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

from mien.cache import atomic_write
from mien.data.dataset import ExpressionDataset
from mien.errors import DataError

Action: TypeAlias = Literal["drop", "merge", "relabel"]

#: Goes up whenever what is written changes so that older readers would misread it.
SCHEMA: Final = 1
#: The key that tells a manifest from other JSON, with the schema as its value.
_SCHEMA_KEY: Final = "mien_manifest"
#: FER2013 with every row changed takes 6 MB.
_MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of one image.

    Attributes:
        index: Which image of the source, from 0.
        name: What the source calls it.
        action: ``drop``, ``merge`` or ``relabel``.
        label: The new class of ``relabel``, else the class that the image had.
        reason: Why, for people.
        of: The image that it is a copy of, where it is one; ``merge`` always has it.
    """

    index: int
    name: str
    action: Action
    label: str
    reason: str
    of: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as native values for JSON."""
        values = dict(vars(self))
        if self.of is None:
            del values["of"]
        return values


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Changes to a data set.

    Attributes:
        source: The file or folder that is changed.
        fingerprint: Of the source, by :func:`mien.data.sources.identify_source`.
        own_classes: Whether the source is read with its folders' names as classes.
        images: How many images the source has.
        changes: At most one for each image.
    """

    source: Path
    fingerprint: str
    own_classes: bool
    images: int
    changes: tuple[Change, ...]


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest; its source is named relative to it where they share a drive.

    Raises:
        OSError: The file cannot be written.
    """
    source = manifest.source.resolve()
    try:
        named = Path(os.path.relpath(source, path.parent.resolve()))
    except ValueError:  # on another drive
        named = source
    head = {
        _SCHEMA_KEY: SCHEMA,
        "source": {
            "path": named.as_posix(),
            "fingerprint": manifest.fingerprint,
            "own_classes": manifest.own_classes,
        },
        "images": manifest.images,
    }
    lines = ",\n".join(f"  {json.dumps(change.to_dict())}" for change in manifest.changes)
    opening = json.dumps(head, indent=1).removesuffix("\n}")
    with atomic_write(path) as temporary:
        temporary.write_text(f'{opening},\n "changes": [\n{lines}\n ]\n}}\n', "utf-8")


def read_manifest(path: Path) -> Manifest:
    """Read a manifest; its source need not be there.

    Raises:
        DataError: It is missing, damaged, or no manifest.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: too large for a manifest of changes")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: not readable as JSON ({reason})") from error
    if not isinstance(found, dict) or _SCHEMA_KEY not in found:
        raise DataError(f"{path}: JSON, but no manifest that 'mien data audit --fix' wrote")
    if found[_SCHEMA_KEY] != SCHEMA:
        raise DataError(
            f"{path}: a manifest of schema {found[_SCHEMA_KEY]!r:.20}, this version reads "
            f"{SCHEMA}; write it again with 'mien data audit --fix'"
        )
    try:
        return _parse(found, path.parent)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}: damaged manifest: {reason}") from error


def apply_manifest(
    dataset: ExpressionDataset, manifest: Manifest, *, path: Path
) -> ExpressionDataset:
    """Return the source's images as a manifest changes them.

    The fingerprint is that of the data set and the changes together, so it is the same wherever
    the files lie.

    Args:
        dataset: What the manifest's source holds.
        manifest: What :func:`read_manifest` read.
        path: Its file, for messages.

    Raises:
        DataError: The changes do not fit the data set, or leave no image.
    """
    if len(dataset) != manifest.images:
        raise DataError(
            f"{path}: made for {manifest.images:,} images, {manifest.source} has {len(dataset):,}"
        )
    kept = np.ones(len(dataset), np.bool_)
    labels = dataset.labels.copy()
    for change in manifest.changes:
        found = str(dataset.names[change.index])
        if found != change.name:
            raise DataError(
                f"{path}: image {change.index} is {found!r} in {manifest.source}, "
                f"not {change.name!r}"
            )
        if change.action == "relabel":
            if change.label not in dataset.classes:
                raise DataError(
                    f"{path}: image {change.index}: no class {change.label!r}, expected one of "
                    f"{', '.join(dataset.classes)}"
                )
            labels[change.index] = dataset.classes.index(change.label)
        else:
            kept[change.index] = False
    if not kept.any():
        raise DataError(f"{path}: leaves no image of {manifest.source}")
    changes = json.dumps([change.to_dict() for change in manifest.changes])
    both = hashlib.sha256(f"{dataset.fingerprint} {changes}".encode()).hexdigest()
    changed = replace(dataset, labels=labels, fingerprint=both)
    return changed.take(np.flatnonzero(kept))


def _parse(found: Mapping[str, Any], folder: Path) -> Manifest:
    source = _value(found, "source", dict)
    images = _number(found, "images", 1 << 31)
    rows = _value(found, "changes", list)
    changes = tuple(_parse_change(row, images) for row in rows)
    removed = {change.index for change in changes if change.action != "relabel"}
    if len({change.index for change in changes}) < len(changes):
        raise ValueError("an image is changed twice")
    lost = [each for each in changes if each.action == "merge" and each.of in removed]
    if lost:
        raise ValueError(f"image {lost[0].index} is merged into one that is left out")
    named = _value(source, "path", str)
    if not named or "\0" in named:
        raise ValueError("the source's path is none")
    return Manifest(
        source=folder / named,
        fingerprint=_value(source, "fingerprint", str),
        own_classes=_value(source, "own_classes", bool),
        images=images,
        changes=changes,
    )


def _parse_change(row: Any, images: int) -> Change:
    if not isinstance(row, dict):
        raise TypeError(f"a change is a {type(row).__name__}, not an object")
    action: Action = _value(row, "action", str)
    if action not in get_args(Action):
        raise ValueError(f"unknown action {action!r:.40}: expected {', '.join(get_args(Action))}")
    index = _number(row, "index", images)
    of = _number(row, "of", images) if action == "merge" or "of" in row else None
    if of == index:
        raise ValueError(f"image {index} is a copy of itself")
    return Change(
        index=index,
        name=_value(row, "name", str),
        action=action,
        label=_value(row, "label", str),
        reason=_value(row, "reason", str),
        of=of,
    )


def _value(found: Mapping[str, Any], key: str, kind: type) -> Any:
    value = found[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _number(found: Mapping[str, Any], key: str, limit: int) -> int:
    value = found[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < limit:
        raise ValueError(f"{key} is {value!r:.40}, expected a whole number from 0 to {limit - 1}")
    return value
