import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.data import ExpressionDataset, load_dataset, prepare_dataset, save_dataset
from mien.data.locate import SourceFormat, locate_source
from mien.data.manifest import Change, read_manifest, write_manifest
from mien.data.sources import identify_source
from mien.errors import DataError

CHANGES = (
    Change(index=0, name="row 1", action="drop", label="angry", reason="one flat colour"),
    Change(index=3, name="row 4", action="merge", label="happy", reason="exact copy", of=4),
    Change(index=5, name="row 6", action="relabel", label="neutral", reason="labelled surprise"),
)

Write = Callable[..., Path]


@pytest.fixture
def csv_file(tmp_path: Path, csv_text: Callable[..., bytes]) -> Path:
    path = tmp_path / "data" / "fer2013.csv"
    path.parent.mkdir()
    path.write_bytes(csv_text())
    return path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def manifest(
        source: Path,
        changes: tuple[Change, ...] = CHANGES,
        *,
        name: str = "cleaned.json",
        own_classes: bool = False,
    ) -> Path:
        path = tmp_path / name
        unchanged = identify_source(source, own_classes=own_classes)
        write_manifest(path, replace(unchanged, changes=changes))
        return path

    return manifest


def test_changes_are_applied_and_the_source_is_not_touched(
    csv_file: Path, dataset: ExpressionDataset, write: Write
) -> None:
    before = csv_file.read_bytes()
    path = write(csv_file)
    assert locate_source(path).format is SourceFormat.MANIFEST
    for _ in range(2):  # read, then from the cache
        found = load_dataset(path)
        kept = np.delete(np.arange(len(dataset)), [0, 3])
        assert np.array_equal(found.images, dataset.images[kept])
        assert found.names.tolist() == dataset.names[kept].tolist()
        expected = dataset.labels.copy()
        expected[5] = dataset.classes.index("neutral")
        assert np.array_equal(found.labels, expected[kept])
    assert found.fingerprint not in ("", load_dataset(csv_file).fingerprint)
    assert csv_file.read_bytes() == before
    assert prepare_dataset(path).source == path


def test_the_fingerprint_changes_with_source_and_changes(csv_file: Path, write: Write) -> None:
    first = load_dataset(write(csv_file)).fingerprint
    assert load_dataset(write(csv_file, name="again.json")).fingerprint == first
    assert load_dataset(write(csv_file, CHANGES[:2])).fingerprint != first
    csv_file.write_bytes(csv_file.read_bytes() + b"\n")
    assert load_dataset(write(csv_file)).fingerprint != first


def test_votes_are_matched_before_rows_go(
    csv_file: Path, dataset: ExpressionDataset, write: Write, votes_text: Any, tmp_path: Path
) -> None:
    votes = csv_file.with_name("fer2013new.csv")
    votes.write_text(votes_text(dataset))
    path = write(csv_file)
    assert dataset.votes is not None
    for option in ("auto", votes):
        found = load_dataset(path, votes=option)
        assert found.votes is not None
        assert np.array_equal(found.votes, np.delete(dataset.votes, [0, 3], axis=0))
    assert found.fingerprint != load_dataset(path).fingerprint


def test_it_moves_with_its_source(csv_file: Path, write: Write, tmp_path: Path) -> None:
    path = write(csv_file)
    assert json.loads(path.read_text())["source"]["path"] == "data/fer2013.csv"
    expected = load_dataset(path).fingerprint
    (tmp_path / "elsewhere").mkdir()
    csv_file.parent.rename(tmp_path / "elsewhere" / "data")
    moved = path.rename(tmp_path / "elsewhere" / path.name)
    assert load_dataset(moved).fingerprint == expected


def test_folders_archives_and_arrays(
    dataset: ExpressionDataset,
    kaggle_images: dict[str, bytes],
    write_tree: Any,
    write: Write,
    tmp_path: Path,
) -> None:
    folder = write_tree(tmp_path / "faces", kaggle_images)
    npz = tmp_path / "faces.npz"
    save_dataset(dataset, npz)
    for source in (folder, npz):
        whole = load_dataset(source)
        name = str(whole.names[2])
        change = Change(index=2, name=name, action="drop", label="happy", reason="no face")
        found = load_dataset(write(source, (change,)))
        assert found.names.tolist() == np.delete(whole.names, 2).tolist()


def test_an_array_file_of_other_contents_is_refused(
    dataset: ExpressionDataset, write: Write, tmp_path: Path
) -> None:
    """What it says of where it came from is the same, as after balancing by another seed."""
    npz = tmp_path / "faces.npz"
    save_dataset(dataset, npz)
    path = write(npz)
    save_dataset(dataset.take(np.arange(len(dataset))[::-1]), npz)
    with pytest.raises(DataError, match="has changed since"):
        load_dataset(path)


def test_classes_of_ones_own_are_remembered(
    write_tree: Any, kaggle_images: dict[str, bytes], write: Write, tmp_path: Path
) -> None:
    first = next(iter(kaggle_images.values()))
    folder = write_tree(tmp_path / "own", {"happy/a.png": first, "bored/a.png": first})
    change = Change(index=0, name="bored/a.png", action="drop", label="bored", reason="x")
    found = load_dataset(write(folder, (change,), own_classes=True))
    assert found.classes == ("bored", "happy")
    assert found.names.tolist() == ["happy/a.png"]


def test_a_manifest_of_a_manifest(csv_file: Path, dataset: ExpressionDataset, write: Write) -> None:
    first = write(csv_file)
    more = Change(index=0, name="row 2", action="drop", label="disgust", reason="no face")
    found = load_dataset(write(first, (more,), name="second.json"))
    assert found.names.tolist() == np.delete(dataset.names, [0, 1, 3]).tolist()
    first.write_text(first.read_text().replace("one flat colour", "flat"))
    with pytest.raises(DataError, match=r"cleaned.json has changed since"):
        load_dataset(first.with_name("second.json"))


def test_a_missing_or_changed_source_is_one_line(csv_file: Path, write: Write) -> None:
    path = write(csv_file)
    text = csv_file.read_bytes()
    csv_file.write_bytes(text + b"\n")
    with pytest.raises(DataError, match=r"fer2013.csv has changed since: make the manifest again"):
        load_dataset(path)
    csv_file.unlink()
    with pytest.raises(DataError, match=r"fer2013.csv is missing: put it back there") as raised:
        load_dataset(path)
    assert "\n" not in str(raised.value)


def test_a_source_that_no_file_system_takes_is_one_line(csv_file: Path, write: Write) -> None:
    path = write(csv_file)
    path.write_text(path.read_text().replace("data/fer2013.csv", "a" * 300))
    with pytest.raises(DataError, match=r"cleaned\.json: its source .* cannot be read: "):
        load_dataset(path)


def test_names_that_are_no_text_survive(tmp_path: Path) -> None:
    change = Change(index=0, name="a/\udcff.png", action="drop", label="a", reason="\u2028")
    npz = tmp_path / "\udcff.npz"
    path = tmp_path / "cleaned.json"
    save = {"fingerprint": "f", "own_classes": True, "images": 1}
    from mien.data.manifest import Manifest

    write_manifest(path, Manifest(source=npz, changes=(change,), **save))  # type: ignore[arg-type]
    found = read_manifest(path)
    assert found.changes == (change,)
    assert found.source.name == "\udcff.npz"


def damaged(**values: Any) -> dict[str, Any]:
    row = {"index": 1, "name": "row 2", "action": "drop", "label": "a", "reason": "b"}
    return {key: value for key, value in {**row, **values}.items() if value is not ...}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([damaged(index=40)], "index is 40, expected a whole number from 0 to 39"),
        ([damaged(index=-1)], "index is -1"),
        ([damaged(index=True)], "index is True"),
        ([damaged(index=1e400)], "index is inf"),
        ([damaged(action="delete")], "unknown action 'delete': expected drop, merge, relabel"),
        ([damaged(action=["drop"])], "action is a list"),
        ([damaged(name=...)], "no 'name'"),
        ([damaged(reason=None)], "reason is a NoneType"),
        ([damaged(action="merge")], "no 'of'"),
        ([damaged(action="merge", of=1)], "image 1 is a copy of itself"),
        ([damaged(), damaged()], "an image is changed twice"),
        ([damaged(of=2), damaged(index=3, action="merge", of=1)], "merged into one that is left"),
        ([7], "a change is a int"),
        ({}, "changes is a dict"),
    ],
)
def test_damage_is_told(csv_file: Path, write: Write, rows: Any, message: str) -> None:
    path = write(csv_file)
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "changes": rows}))
    with pytest.raises(DataError, match=r"cleaned\.json: damaged manifest: ") as raised:
        load_dataset(path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as JSON"),
        ('{"a": ' + "[" * 100_000, "not readable as JSON"),
        ('{"mien_manifest": ' + "9" * 5000 + "}", "not readable as JSON"),
        ("{}", "JSON, but no manifest that 'mien data audit --fix' wrote"),
        ('{"mien_manifest": 2}', "a manifest of schema 2, this version reads 1"),
        ('{"mien_manifest": 1}', "damaged manifest: no 'source'"),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cleaned.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"cleaned\.json: ") as raised:
        load_dataset(path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "cleaned.json"
    with path.open("wb") as file:
        file.write(b"{")
        file.truncate(65 << 20)
    with pytest.raises(DataError, match=r"neither a CSV|too large"):
        load_dataset(path)
    with pytest.raises(DataError, match="too large for a manifest"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace(CHANGES[0], name="row 9"), "image 0 is 'row 1' in "),
        (replace(CHANGES[2], label="bored"), "no class 'bored', expected one of angry, disgust"),
    ],
)
def test_changes_that_do_not_fit(
    csv_file: Path, write: Write, change: Change, message: str
) -> None:
    with pytest.raises(DataError) as raised:
        load_dataset(write(csv_file, (change,)))
    assert message in str(raised.value)


def test_something_must_be_left(csv_file: Path, write: Write) -> None:
    rows = tuple(
        Change(index=n, name=f"row {n + 1}", action="drop", label="a", reason="b")
        for n in range(40)
    )
    with pytest.raises(DataError, match="leaves no image"):
        load_dataset(write(csv_file, rows))
