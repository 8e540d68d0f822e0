import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien.data.npz
from mien.data.dataset import ExpressionDataset
from mien.data.npz import read_dataset, save_dataset
from mien.errors import DataError


def test_what_is_written_is_read_back(dataset: ExpressionDataset, tmp_path: Path) -> None:
    save_dataset(dataset, tmp_path / "new" / "faces.npz")
    found = read_dataset(tmp_path / "new" / "faces.npz")
    for name in ("images", "labels", "split_codes", "names", "votes"):
        first, second = getattr(found, name), getattr(dataset, name)
        assert first.dtype == second.dtype
        assert np.array_equal(first, second)
    assert found.classes == dataset.classes
    assert found.fingerprint == dataset.fingerprint


def test_any_name_and_no_votes(dataset: ExpressionDataset, tmp_path: Path) -> None:
    part = ExpressionDataset(
        images=dataset.images,
        labels=dataset.labels,
        split_codes=dataset.split_codes,
        names=dataset.names,
    )
    save_dataset(part, tmp_path / "faces")
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
    assert read_dataset(tmp_path / "faces").votes is None


def test_a_failed_write_leaves_the_old_file_alone(
    dataset: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "faces.npz"
    path.write_bytes(b"old")

    def full_disk(file: Any, **arrays: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(DataError, match=r"faces.npz: cannot be written: No space left on device"):
        save_dataset(dataset, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.npz"
    np.savez(path, images=np.array([{"a": 1}], object), meta=np.array([print], object))
    with pytest.raises(DataError, match="damaged, or not a data set"):
        read_dataset(path)


def test_a_flipped_bit_is_noticed(dataset: ExpressionDataset, tmp_path: Path) -> None:
    path = tmp_path / "faces.npz"
    save_dataset(dataset, path)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        read_dataset(path)


def test_flipped_bits_in_headers_are_noticed_or_harmless(
    dataset: ExpressionDataset, tmp_path: Path
) -> None:
    """Zip's own structures hold bits that nobody reads; elsewhere damage has one kind of error."""
    path = tmp_path / "faces.npz"
    save_dataset(dataset.take([0, 35, 39]), path)
    whole = path.read_bytes()
    directory = whole.index(b"PK\1\2")
    starts = [found.start() for found in re.finditer(b"PK\3\4", whole[:directory])]
    places = {place for start in starts for place in range(start, start + 200, 7)}
    places |= set(range(directory, len(whole), 3))
    messages = []
    for place in sorted(places):
        data = bytearray(whole)
        data[place] ^= 0x81
        path.write_bytes(data)
        try:
            read_dataset(path)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > len(places) / 2
    assert not any("\n" in message for message in messages)


def test_another_format_and_a_missing_file(
    dataset: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dataset(dataset, tmp_path / "faces.npz")
    monkeypatch.setattr(mien.data.npz, "FORMAT", 99)
    with pytest.raises(DataError, match="this version reads 99; prepare it again"):
        read_dataset(tmp_path / "faces.npz")
    with pytest.raises(DataError, match="no such file"):
        read_dataset(tmp_path / "none.npz")
