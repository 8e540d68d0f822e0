"""Reading a data set from whatever holds it, by way of the cache."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from mien.data import store
from mien.data.archives import PlainFile, open_tar, open_zip, plain_errors
from mien.data.dataset import ExpressionDataset
from mien.data.fer2013 import FER2013_URL, is_fer2013_csv, verify_fer2013
from mien.data.fer2013_csv import read_fer2013_csv
from mien.data.ferplus import VOTES_FILE, align_votes, read_votes
from mien.data.image_tree import MAX_IMAGE_BYTES, read_image_tree
from mien.data.locate import (
    FER2013_CSV_NAMES,
    Source,
    SourceFormat,
    locate_source,
    pick_csv,
)
from mien.data.manifest import Manifest, apply_manifest, read_manifest
from mien.data.npz import read_dataset
from mien.data.row_problems import RowProblem
from mien.errors import DataError
from mien.folders import expand_home
from mien.pictures import is_picture

logger = logging.getLogger(__name__)

#: The CSV that is chosen whatever else there is.
_SUREST: Final = FER2013_CSV_NAMES[0]

#: By then a file that has not changed, or a small one, has its fingerprint. A large one is taken
#: for new and read meanwhile: hashing FER2013's CSV first would add a sixth to the time.
_KNOWN_S: Final = 0.1

PathLike: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class PreparedDataset:
    """A data set and how it came.

    Attributes:
        dataset: The data set.
        source: The file or folder that it was read from.
        cache_file: Where it is kept for the next time; None where it is not.
        from_cache: Whether it was kept already.
    """

    dataset: ExpressionDataset
    source: Path
    cache_file: Path | None
    from_cache: bool


def load_fer2013(
    path: PathLike | None = None,
    *,
    votes: PathLike | None = None,
    cache: bool = True,
    problems: list[RowProblem] | None = None,
) -> ExpressionDataset:
    """Load FER2013; a difference from the published counts is logged as a warning.

    FER2013 (Facial Expression Recognition 2013) has 35,887 grey faces of 48×48 pixels, found by
    an image search engine for words of emotion and labelled by people; human accuracy on it is
    65 ± 5 %.

    Classes: 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral.

    Splits: Training 28,709, PublicTest 3,589 (to choose on), PrivateTest 3,589 (to report on).

    Format: ``fer2013.csv`` with a row ``emotion,pixels,Usage`` for each face, or Kaggle's folders
    ``train/<class>/Training_*.jpg`` and ``test/<class>/PublicTest_*.jpg``, whose JPEG pixels are
    1.7 grey levels (RMS) away from the CSV's. FER+ (``fer2013new.csv``) adds the votes of ten
    people on each row.

    Source: https://www.kaggle.com/datasets/msambare/fer2013; Goodfellow et al. 2013, "Challenges
    in Representation Learning", https://arxiv.org/abs/1307.0414. FER+: Barsoum et al. 2016,
    https://arxiv.org/abs/1608.01041

    Args:
        path: As for :func:`load_dataset`; ``$MIEN_FER2013`` when left out.
        votes: As for :func:`load_dataset`.
        cache: As for :func:`load_dataset`.
        problems: As for :func:`load_dataset`.

    Raises:
        DataError: No path is known, or it cannot be read.
    """
    path = path if path is not None else os.environ.get("MIEN_FER2013") or None
    if path is None:
        raise DataError(
            "no path given and $MIEN_FER2013 is not set: name fer2013.csv, its .gz, or the folder "
            f"or zip from {FER2013_URL}"
        )
    dataset = load_dataset(path, votes=votes, cache=cache, problems=problems)
    for difference in verify_fer2013(dataset):
        logger.warning("%s: %s", path, difference)
    return dataset


def load_dataset(
    path: PathLike,
    *,
    votes: PathLike | None = None,
    own_classes: bool = False,
    cache: bool = True,
    problems: list[RowProblem] | None = None,
) -> ExpressionDataset:
    """Load a data set of expressions from a file or folder.

    Args:
        path: A CSV with ``emotion``, ``pixels`` and ``Usage`` (plain, ``.gz``, or inside a zip or
            tar); pictures in folders named by expression, or a zip of them; a ``.npz`` written
            by :func:`mien.data.save_dataset`; a folder with one of these; or a manifest of
            changes to one of these, see :mod:`mien.data.manifest`.
        votes: ``fer2013new.csv`` to add FER+ votes to FER2013's CSV; ``"auto"`` takes the one
            that lies beside it, if any, and none for other sources.
        own_classes: Take folders' names for classes as they are, even where some are expressions;
            where none is, that goes without saying. A manifest tells it itself.
        cache: Whether to keep the result in the cache folder and to look for it there.
        problems: An empty list to fill: rows and pictures that cannot be read are then left out
            and told of here. A data set that lacks any is never kept, and has no fingerprint.

    Raises:
        DataError: The source cannot be read; the message names the row or file at fault.
        MissingExtraError: A CSV was named and pyarrow is not installed.
    """
    return prepare_dataset(
        path, votes=votes, own_classes=own_classes, cache=cache, problems=problems
    ).dataset


def prepare_dataset(
    path: PathLike,
    *,
    votes: PathLike | None = None,
    own_classes: bool = False,
    cache: bool = True,
    problems: list[RowProblem] | None = None,
) -> PreparedDataset:
    """Load a data set as :func:`load_dataset` does, and tell how it came."""
    source = replace(locate_source(expand_home(path)), own_classes=own_classes)
    named, manifests = source.path, []
    while source.format is SourceFormat.MANIFEST:
        manifests.append((read_manifest(source.path), source.path))
        source = _source_of(*manifests[-1], cache=cache)
    if source.format is SourceFormat.NPZ:
        dataset, cache_file, from_cache = read_dataset(source.path), None, False
    else:
        dataset, from_cache = _fetch_or_read(source, cache=cache, problems=problems)
        cache_file = store.entry_path(dataset.fingerprint) if from_cache else None
        if cache and not from_cache and not problems:
            cache_file = store.keep(dataset)
    votes_path = _votes_path(votes, source, dataset, left_out=bool(problems))
    if votes_path:
        dataset = _add_votes(dataset, votes_path, source.path, left_out=bool(problems))
    for manifest, manifest_path in reversed(manifests):
        dataset = apply_manifest(dataset, manifest, path=manifest_path)
    return PreparedDataset(
        dataset=dataset, source=named, cache_file=cache_file, from_cache=from_cache
    )


def identify_source(path: PathLike, *, own_classes: bool = False) -> Manifest:
    """Return a manifest that changes nothing yet: which source a path holds, and its fingerprint.

    Args:
        path: As for :func:`load_dataset`.
        own_classes: As for :func:`load_dataset`.

    Raises:
        DataError: As for :func:`load_dataset`.
    """
    source = replace(locate_source(expand_home(path)), own_classes=own_classes)
    return Manifest(
        source=source.path,
        fingerprint=store.fingerprint_source(source, remember=True),
        own_classes=own_classes,
        images=len(load_dataset(source.path, own_classes=own_classes)),
        changes=(),
    )


def _source_of(manifest: Manifest, path: Path, *, cache: bool) -> Source:
    """Return the source that a manifest at a path was made for.

    Following manifests of manifests ends: none can hold a fingerprint of what holds its own.

    Raises:
        DataError: It is missing, or is not what it was.
    """
    try:
        is_there = manifest.source.exists()
    except OSError as error:
        raise DataError(
            f"{path}: its source {manifest.source} cannot be read: {error.strerror or error}"
        ) from error
    if not is_there:
        raise DataError(
            f"{path}: its source {manifest.source} is missing: put it back there, or make the "
            "manifest again with 'mien data audit --fix'"
        )
    source = replace(locate_source(manifest.source), own_classes=manifest.own_classes)
    if store.fingerprint_source(source, remember=cache) != manifest.fingerprint:
        raise DataError(
            f"{path}: its source {manifest.source} has changed since: make the manifest again "
            "with 'mien data audit --fix'"
        )
    return source


def _fetch_or_read(
    source: Source, *, cache: bool, problems: list[RowProblem] | None
) -> tuple[ExpressionDataset, bool]:
    """Return the data set and whether it came from the cache; a new file is hashed while read."""
    with ThreadPoolExecutor(1) as thread:
        hashing = thread.submit(store.fingerprint_source, source, remember=cache)
        wait([hashing], timeout=_KNOWN_S)
        # Where problems are collected, a picture that cannot be hashed is one of them.
        known = hashing.done() and (problems is None or hashing.exception() is None)
        kept = store.fetch(hashing.result()) if cache and known else None
        if kept is not None:
            return kept, True
        dataset = _READERS[source.format](source, problems)
        if problems:
            return dataset, False
        return replace(dataset, fingerprint=hashing.result()), False


def _read_csv(source: Source, problems: list[RowProblem] | None) -> ExpressionDataset:
    name = source.path.name
    with closing(PlainFile(lambda: source.path.open("rb"), name)) as file:
        gzipped = source.format is SourceFormat.CSV_GZ
        return read_fer2013_csv(file, source=name, gzipped=gzipped, problems=problems)


def _read_zip(source: Source, problems: list[RowProblem] | None) -> ExpressionDataset:
    with open_zip(source.path) as (archive, members):
        pictures = sorted(name for name in members if is_picture(name))
        csv_name = pick_csv(members, known_only=bool(pictures))
        if csv_name:
            named = f"{source.path.name}: {csv_name}"
            with closing(PlainFile(lambda: archive.open(csv_name), named)) as file:
                gzipped = csv_name.lower().endswith(".gz")
                return read_fer2013_csv(file, source=named, gzipped=gzipped, problems=problems)
        if not pictures:
            shown = ", ".join(list(members)[:5]) or "nothing"
            raise DataError(
                f"{source.path.name}: no fer2013.csv and no pictures, but {shown}; if that is an "
                "archive, unpack it and name the one inside; a .npz must be one that "
                "mien.data.save_dataset wrote"
            )

        def read(name: str) -> bytes:
            if members[name].file_size > MAX_IMAGE_BYTES:
                raise DataError(f"{source.path.name}: {name}: too large for a face")
            with plain_errors(f"{source.path.name}: {name}"):
                return archive.read(name)

        return read_image_tree(
            pictures,
            read,
            source=source.path.name,
            own_classes=source.own_classes,
            problems=problems,
        )


def _read_tar(source: Source, problems: list[RowProblem] | None) -> ExpressionDataset:
    """Read the CSV in a tar; going on to its end checks the members after it as well."""
    names, dataset = _scan_tar(
        source, lambda name: name.rpartition("/")[2].lower() == _SUREST, problems
    )
    if dataset is None:
        chosen = pick_csv(names, known_only=False)
        if chosen is None:
            shown = ", ".join(names[:5]) or "nothing"
            raise DataError(
                f"{source.path.name}: no fer2013.csv but {shown}; "
                "pictures in a tar must be unpacked first"
            )
        # Which CSV it is, all names together tell; so any but the surest takes a second pass.
        _, dataset = _scan_tar(source, lambda name: name == chosen, problems)
        assert dataset is not None
    return dataset


def _scan_tar(
    source: Source, wanted: Callable[[str], bool], problems: list[RowProblem] | None
) -> tuple[list[str], ExpressionDataset | None]:
    """Go through a tar; return its files' names and the contents of the first that is wanted."""
    names = []
    dataset = None
    with open_tar(source.path, gzipped=source.format is SourceFormat.TAR_GZ) as files:
        for name, file in files:
            names.append(name)
            if dataset is None and wanted(name):
                dataset = read_fer2013_csv(
                    file,
                    source=f"{source.path.name}: {name}",
                    gzipped=name.lower().endswith(".gz"),
                    problems=problems,
                )
    return names, dataset


def _read_folder(source: Source, problems: list[RowProblem] | None) -> ExpressionDataset:
    def read(name: str) -> bytes:
        if source.images[name].st_size > MAX_IMAGE_BYTES:
            raise DataError(f"{source.path / name}: too large for a face")
        with plain_errors(str(source.path / name)):
            return (source.path / name).read_bytes()

    return read_image_tree(
        list(source.images),
        read,
        source=str(source.path),
        own_classes=source.own_classes,
        problems=problems,
    )


_Reader: TypeAlias = Callable[[Source, list[RowProblem] | None], ExpressionDataset]

_READERS: Final[Mapping[SourceFormat, _Reader]] = MappingProxyType(
    {
        SourceFormat.CSV: _read_csv,
        SourceFormat.CSV_GZ: _read_csv,
        SourceFormat.ZIP: _read_zip,
        SourceFormat.TAR: _read_tar,
        SourceFormat.TAR_GZ: _read_tar,
        SourceFormat.FOLDER: _read_folder,
    }
)


def _votes_path(
    votes: PathLike | None, source: Source, dataset: ExpressionDataset, *, left_out: bool
) -> Path | None:
    if votes != "auto":
        return None if votes is None else expand_home(votes)
    beside = source.path.parent / VOTES_FILE
    if not beside.is_file():
        logger.info("%s: no %s beside it, so no FER+ votes", source.path, VOTES_FILE)
        return None
    if left_out:
        logger.warning("%s: rows are left out, so no FER+ votes", source.path)
        return None
    if not is_fer2013_csv(dataset):
        logger.info("%s: not FER2013's CSV, so no FER+ votes", source.path)
        return None
    return beside


def _add_votes(
    dataset: ExpressionDataset, path: Path, source: Path, *, left_out: bool
) -> ExpressionDataset:
    if left_out:
        raise DataError(
            f"{path.name}: FER+ votes are matched by row, and rows of {source.name} are left out "
            "that cannot be read; explore it without votes"
        )
    if not is_fer2013_csv(dataset):
        raise DataError(
            f"{path.name}: FER+ votes are matched by row, so they need fer2013.csv, "
            f"and {source.name} holds pictures"
        )
    votes = read_votes(path)
    both = f"{dataset.fingerprint} {votes.fingerprint}".encode()
    return replace(
        dataset,
        votes=align_votes(dataset, votes, source=source.name),
        fingerprint=hashlib.sha256(both).hexdigest(),
    )
