import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.data import load_dataset, prepare_dataset, store
from mien.data.dataset import ExpressionDataset
from mien.data.locate import locate_source
from mien.errors import DataError

CsvText = Callable[..., bytes]

LONG_AGO = 1_600_000_000


@pytest.fixture
def source(tmp_path: Path, csv_text: CsvText) -> Path:
    """A CSV that was last changed long enough ago to be trusted."""
    path = tmp_path / "fer2013.csv"
    path.write_bytes(csv_text())
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose contents were hashed so far."""
    paths: list[Path] = []
    real_hash = store._hash

    def note(path: Path) -> str:
        paths.append(path)
        return real_hash(path)

    monkeypatch.setattr(store, "_hash", note)
    return paths


def test_the_second_time_is_from_the_cache_without_hashing(
    source: Path, hashed: list[Path], cache_dir: Path, assert_same: Any
) -> None:
    first = prepare_dataset(source)
    assert not first.from_cache
    assert first.cache_file is not None
    assert first.cache_file.parent == cache_dir / "datasets"
    second = prepare_dataset(source)
    assert second.from_cache
    assert hashed == [source]
    assert second.cache_file == first.cache_file
    assert second.dataset.fingerprint == first.dataset.fingerprint
    assert_same(second.dataset, first.dataset)


def test_the_same_content_elsewhere_is_found(source: Path, tmp_path: Path) -> None:
    load_dataset(source)
    (tmp_path / "copy.csv").write_bytes(source.read_bytes())
    assert prepare_dataset(tmp_path / "copy.csv").from_cache


@pytest.mark.parametrize("keep_times", [False, True])
def test_changed_content_is_read_again(source: Path, keep_times: bool) -> None:
    before = load_dataset(source)
    data = bytearray(source.read_bytes())
    label = data.index(b"\n") + 1
    data[label] = ord("6") if data[label] != ord("6") else ord("5")
    source.write_bytes(data)
    if keep_times:
        os.utime(source, (LONG_AGO, LONG_AGO))
    after = prepare_dataset(source)
    assert not after.from_cache
    assert after.dataset.labels[0] != before.labels[0]
    assert after.dataset.fingerprint != before.fingerprint


def test_a_file_changed_a_moment_ago_is_hashed_again(source: Path, hashed: list[Path]) -> None:
    os.utime(source)
    load_dataset(source)
    assert prepare_dataset(source).from_cache
    assert hashed == [source, source]


def test_a_folder_of_pictures_is_kept_too(
    tmp_path: Path,
    kaggle_images: dict[str, bytes],
    write_tree: Callable[[Path, dict[str, bytes]], Path],
) -> None:
    folder = write_tree(tmp_path / "images", kaggle_images)
    load_dataset(folder)
    assert prepare_dataset(folder).from_cache
    next(folder.rglob("*.png")).unlink()
    again = prepare_dataset(folder)
    assert not again.from_cache
    assert len(again.dataset) == len(kaggle_images) - 1


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no zip", None])
def test_a_damaged_entry_is_made_again(
    source: Path, damage: bytes | None, assert_same: Any
) -> None:
    first = prepare_dataset(source)
    assert first.cache_file is not None
    whole = first.cache_file.read_bytes()
    first.cache_file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    second = prepare_dataset(source)
    assert not second.from_cache
    assert_same(second.dataset, first.dataset)
    assert prepare_dataset(source).from_cache


def test_a_damaged_index_is_made_again(source: Path, cache_dir: Path) -> None:
    load_dataset(source)
    (entry,) = (cache_dir / "datasets" / "index").iterdir()
    entry.write_text("[1, 2")
    assert prepare_dataset(source).from_cache


def test_without_the_cache_nothing_is_written(source: Path, cache_dir: Path) -> None:
    prepared = prepare_dataset(source, cache=False)
    assert prepared.cache_file is None
    assert not cache_dir.exists()


def test_a_cache_that_cannot_be_written_is_only_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "file" / "cache"))
    prepared = prepare_dataset(source)
    assert len(prepared.dataset) == 40
    assert prepared.cache_file is None
    assert "the data set is not cached" in caplog.text


def test_a_failed_write_leaves_nothing(
    source: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy.savez", killed)
    with pytest.raises(KeyboardInterrupt):
        load_dataset(source)
    assert [path for path in (cache_dir / "datasets").iterdir() if path.is_file()] == []


def test_several_at_once_all_get_a_whole_one(
    source: Path, dataset: ExpressionDataset, cache_dir: Path, assert_same: Any
) -> None:
    found: list[ExpressionDataset] = []
    threads = [
        threading.Thread(target=lambda: found.append(load_dataset(source))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        assert_same(one, dataset)
    assert len(found) == 4
    assert len(list((cache_dir / "datasets").glob("*"))) == 2  # the entry and the index


def test_a_name_that_is_not_text_is_read(tmp_path: Path, kaggle_images: dict[str, bytes]) -> None:
    picture = tmp_path / "faces" / "happy" / os.fsdecode(b"\xff\xfe.png")
    picture.parent.mkdir(parents=True)
    try:
        picture.write_bytes(next(iter(kaggle_images.values())))
    except OSError:
        pytest.skip("this file system knows no such names")
    first = prepare_dataset(tmp_path / "faces")
    second = prepare_dataset(tmp_path / "faces")
    assert second.from_cache
    assert second.dataset.names[0] == first.dataset.names[0] == "happy/\udcff\udcfe.png"


def test_a_picture_gone_since_is_named(
    tmp_path: Path,
    kaggle_images: dict[str, bytes],
    write_tree: Callable[[Path, dict[str, bytes]], Path],
) -> None:
    source = locate_source(write_tree(tmp_path / "images", kaggle_images))
    gone = next(iter(source.images))
    (source.path / gone).unlink()
    with pytest.raises(DataError, match=re.escape(f"{source.path / gone}: cannot be read")):
        store.fingerprint_source(source, remember=True)
