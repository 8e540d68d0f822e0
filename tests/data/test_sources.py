import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mien.data.sources
from mien.data import load_dataset, load_fer2013, prepare_dataset, save_dataset, store
from mien.data.dataset import ExpressionDataset
from mien.data.fer2013 import FER2013_COUNTS
from mien.data.row_problems import RowProblem
from mien.data.sources import identify_source
from mien.errors import DataError
from mien.expressions import EXPRESSIONS

CsvText = Callable[..., bytes]
VotesText = Callable[[ExpressionDataset], str]
WriteTree = Callable[[Path, dict[str, bytes]], Path]

ICML = ("emotion", " Usage", " pixels")


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: dict[str, bytes], mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("fer2013.csv", lambda text: text()),
        ("icml_face_data.csv", lambda text: text(ICML)),
        ("fer2013.csv.gz", lambda text: gzip.compress(text())),
        ("archive.zip", lambda text: zipped({"fer2013.csv": text(), "test.csv": b"pixels\n"})),
        ("archive.zip", lambda text: zipped({"a/icml_face_data.csv": text(ICML), "b.csv": b""})),
        ("archive.zip", lambda text: zipped({"faces.csv.gz": gzip.compress(text())})),
        ("f.tar.gz", lambda text: tarred({"f/README": b"", "f/fer2013.csv": text()}, "w:gz")),
        ("f.tgz", lambda text: tarred({"fer2013/fer2013.csv": text(), "f/x.bib": b""}, "w:gz")),
        ("f.tar", lambda text: tarred({"fer2013.csv.gz": gzip.compress(text())}, "w")),
    ],
)
def test_every_packing_of_the_csv(
    put: Any, dataset: ExpressionDataset, csv_text: CsvText, name: str, pack: Any, assert_same: Any
) -> None:
    path = put(name, pack(csv_text))
    for _ in range(2):  # read, then from the cache
        found = load_dataset(path)
        assert_same(found, dataset)
        assert found.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.skipif(os.name == "nt", reason="Windows makes up homes of users that it has not")
def test_a_name_that_looks_like_a_home_is_a_name(
    put: Any,
    dataset: ExpressionDataset,
    csv_text: CsvText,
    assert_same: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(put("~$faces.csv", csv_text()).parent)
    assert_same(load_dataset("~$faces.csv"), dataset)
    assert identify_source("~$faces.csv").images == len(dataset)
    with pytest.raises(DataError, match="~nobody-here/x: no such file or folder"):
        load_dataset("~nobody-here/x")


def test_kaggle_images_in_a_folder_and_in_a_zip(
    tmp_path: Path,
    put: Any,
    dataset: ExpressionDataset,
    kaggle_images: dict[str, bytes],
    write_tree: WriteTree,
    assert_same: Any,
) -> None:
    assert_same(load_dataset(write_tree(tmp_path / "images", kaggle_images)), dataset)
    inside = {f"archive/{name}": data for name, data in kaggle_images.items()}
    inside |= {"__MACOSX/train/happy/._a.png": b"", "archive/train/happy/.DS_Store": b""}
    assert_same(load_dataset(put("images.zip", zipped(inside))), dataset)


def test_an_npz_of_our_own(tmp_path: Path, dataset: ExpressionDataset, assert_same: Any) -> None:
    save_dataset(dataset, tmp_path / "faces")
    found = load_dataset(tmp_path / "faces")
    assert_same(found, dataset)
    assert found.votes is not None


@pytest.mark.parametrize("pack", [zipped, lambda files: tarred(files, "w:gz")])
@pytest.mark.parametrize("other", ["train.csv", "icml_face_data.csv", "fer2013new.csv"])
def test_the_csv_is_chosen_over_all_names(
    put: Any, dataset: ExpressionDataset, csv_text: CsvText, pack: Any, other: str, assert_same: Any
) -> None:
    assert_same(load_dataset(put("a", pack({other: b"a,b\n", "fer2013.csv": csv_text()}))), dataset)
    second = {other: b"a,b\n", "icml_face_data.csv.gz": gzip.compress(csv_text())}
    if other != "icml_face_data.csv":
        assert_same(load_dataset(put("b", pack(second))), dataset)


@pytest.mark.parametrize("pack", [zipped, lambda files: tarred(files, "w:gz")])
def test_two_csv_files_of_no_known_name_are_not_chosen_between(
    put: Any, csv_text: CsvText, pack: Any
) -> None:
    with pytest.raises(DataError, match=r"no fer2013\.csv"):
        load_dataset(put("a", pack({"a.csv": csv_text(), "b.csv": csv_text()})))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", zipped({}), "a.zip: no fer2013.csv and no pictures, but nothing"),
        ("a.zip", zipped({"f.tar.gz": b""}), r"but f.tar.gz; if that is an archive, unpack it"),
        ("a.zip", zipped({"happy/a.png": b"x"}), r"a.zip: happy/a.png: not a picture"),
        ("a.zip", zipped({"x/fer2013.csv": b"a,b\n1,2\n"}), r"a.zip: x/fer2013.csv: no column"),
        ("a.zip", zipped({"../fer2013.csv": b"x"}), "refused, member '../fer2013.csv' points"),
        ("a.tar.gz", tarred({"happy/a.png": b""}, "w:gz"), "no fer2013.csv but happy/a.png"),
        ("a.tgz", tarred({"../fer2013.csv": b"x"}, "w:gz"), "refused, member '../fer2013.csv'"),
        ("a.zip", b"PK\3\4 and no more", "a.zip: the archive is cut short or damaged"),
    ],
)
def test_what_cannot_be_read_is_told(put: Any, name: str, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(put(name, data))
    assert "\n" not in str(caught.value)


def test_an_unsafe_member_after_the_csv_is_refused(put: Any, csv_text: CsvText) -> None:
    data = tarred({"fer2013.csv": csv_text(), "../evil": b"x"}, "w:gz")
    with pytest.raises(DataError, match="points outside"):
        load_dataset(put("f.tar.gz", data))


@pytest.mark.parametrize("pack", [zipped, lambda f: tarred(f, "w:gz")])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_archive_leaves_nothing(
    put: Any, csv_text: CsvText, cache_dir: Path, pack: Any, kept: float
) -> None:
    data = pack({"fer2013.csv": csv_text()})
    with pytest.raises(DataError, match="cut short or damaged"):
        load_dataset(put("fer2013.bin", data[: int(len(data) * kept)]))
    assert list(cache_dir.rglob("*.npz")) == []


def test_a_damaged_member_of_a_zip_is_told(put: Any, csv_text: CsvText) -> None:
    data = bytearray(zipped({"fer2013.csv": csv_text()}))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"a.zip: "):
        load_dataset(put("a.zip", bytes(data)))


def test_an_encrypted_zip_is_told(put: Any, csv_text: CsvText) -> None:
    data = bytearray(zipped({"fer2013.csv": csv_text()}))
    for signature, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        data[data.index(signature) + flags] |= 1
    with pytest.raises(DataError, match=r"cannot be unpacked: .*encrypted"):
        load_dataset(put("a.zip", bytes(data)))


def test_votes_by_path_and_beside_the_csv(
    put: Any, dataset: ExpressionDataset, csv_text: CsvText, votes_text: VotesText
) -> None:
    path = put("fer2013.csv", csv_text())
    assert load_dataset(path, votes="auto").votes is None
    votes_path = put("fer2013new.csv", votes_text(dataset).encode())
    plain = load_dataset(path)
    for votes in ("auto", votes_path):
        for source in (path, path.parent):
            found = load_dataset(source, votes=votes)
            assert np.array_equal(found.votes, dataset.votes)  # type: ignore[arg-type]
            assert found.fingerprint != plain.fingerprint
    assert plain.votes is None


def test_votes_need_the_csv(
    tmp_path: Path, put: Any, dataset: ExpressionDataset, kaggle_images: Any, votes_text: VotesText
) -> None:
    votes_path = put("fer2013new.csv", votes_text(dataset).encode())
    images = put("images.zip", zipped(kaggle_images))
    with pytest.raises(DataError, match=r"so they need fer2013.csv, and images.zip holds pictures"):
        load_dataset(images, votes=votes_path)
    assert load_dataset(images, votes="auto").votes is None


def test_fer2013_by_the_environment(
    put: Any, csv_text: CsvText, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.delenv("MIEN_FER2013", raising=False)
    with pytest.raises(DataError, match=r"\$MIEN_FER2013 is not set"):
        load_fer2013()
    monkeypatch.setenv("MIEN_FER2013", str(put("fer2013.csv", csv_text())))
    assert len(load_fer2013()) == 40
    assert "Training has 32 images, 28,709 were published: angry 5 instead of 3,995" in caplog.text


@pytest.fixture(scope="module")
def real_path() -> Path:
    path = os.environ.get("MIEN_FER2013")
    if not path:
        pytest.skip("$MIEN_FER2013 is not set")
    return Path(path)


def beside(path: Path, pattern: str) -> Path:
    found = sorted((path if path.is_dir() else path.parent).glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} beside $MIEN_FER2013")
    return found[0]


@pytest.mark.real_data
def test_the_real_counts_are_the_published_ones(real_path: Path) -> None:
    found = load_fer2013(real_path)
    assert {"Training", "PublicTest"} <= set(found.splits)
    for split in found.splits:
        assert tuple(found.split(split).counts().values()) == FER2013_COUNTS[split]
    assert load_fer2013(real_path).fingerprint == found.fingerprint


@pytest.mark.real_data
def test_the_real_votes_are_of_ten_people(real_path: Path) -> None:
    beside(real_path, "fer2013new.csv")
    votes = load_fer2013(real_path, votes="auto").votes
    assert votes is not None
    assert set(np.unique(votes.sum(axis=1))) <= {8, 9, 10}


@pytest.mark.real_data
def test_the_real_pictures_are_those_of_the_csv(real_path: Path) -> None:
    """No name joins the two, so each picture is paired with its nearest row of the same class."""
    pictures = load_fer2013(beside(real_path, "*.zip")).split("PublicTest")
    rows = load_fer2013(beside(real_path, "fer2013.csv*")).split("PublicTest")
    assert pictures.counts() == rows.counts()
    disgust = rows.classes.index("disgust")
    first = pictures.images[pictures.labels == disgust].reshape(56, -1).astype(np.float64)
    second = rows.images[rows.labels == disgust].reshape(56, -1).astype(np.float64)
    rms = np.sqrt(((first[:, None] - second[None]) ** 2).mean(axis=2)).min(axis=1)
    assert np.median(rms) == pytest.approx(1.7, abs=0.4)
    assert rms.max() < 6


def test_classes_of_ones_own_are_cached_apart(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        Image.new("L", (48, 48), 200).save(tmp_path / "faces" / name / "a.png")

    for _ in range(2):
        assert load_dataset(tmp_path / "faces").classes == EXPRESSIONS
        assert load_dataset(tmp_path / "faces", own_classes=True).classes == ("happy", "sad")


def damaged(text: bytes, *rows: int) -> bytes:
    """Return a CSV with the emotion taken from some of its rows."""
    lines = text.splitlines()
    for row in rows:
        lines[row] = lines[row][1:]
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("fer2013.csv", lambda text: text),
        ("fer2013.csv.gz", gzip.compress),
        ("archive.zip", lambda text: zipped({"fer2013.csv": text})),
        ("f.tar.gz", lambda text: tarred({"fer2013.csv": text}, "w:gz")),
        ("f.tar", lambda text: tarred({"icml_face_data.csv": text}, "w")),
    ],
)
def test_a_data_set_that_lacks_rows_is_never_kept(
    put: Any, csv_text: CsvText, cache_dir: Path, name: str, pack: Any
) -> None:
    path = put(name, pack(damaged(csv_text(), 1, 5)))
    for _ in range(2):
        problems: list[RowProblem] = []
        prepared = prepare_dataset(path, problems=problems)
        assert [each.name for each in problems] == ["row 1", "row 5"]
        assert len(prepared.dataset) == 38
        assert prepared.dataset.fingerprint == ""
        assert (prepared.cache_file, prepared.from_cache) == (None, False)
        assert list(cache_dir.rglob("*.npz")) == []
        with pytest.raises(DataError, match="row 1: emotion '' is none of"):
            load_dataset(path)


def test_a_sound_source_comes_from_the_cache_with_problems_collected_or_not(
    put: Any, csv_text: CsvText, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put("fer2013.csv", csv_text())
    problems: list[RowProblem] = []
    first = prepare_dataset(path, problems=problems)
    assert prepare_dataset(path).from_cache
    assert prepare_dataset(path, problems=problems).from_cache
    assert problems == []
    assert first.dataset.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_that_cannot_be_read_are_collected(
    tmp_path: Path,
    put: Any,
    kaggle_images: dict[str, bytes],
    write_tree: WriteTree,
    monkeypatch: pytest.MonkeyPatch,
    packed: bool,
) -> None:
    empty, cut, large = sorted(kaggle_images)[:3]
    files = {**kaggle_images, empty: b"", cut: kaggle_images[cut][:-30], large: b"x" * 9999}
    path = put("a.zip", zipped(files)) if packed else write_tree(tmp_path / "images", files)
    for module in (store, mien.data.sources):
        monkeypatch.setattr(module, "MAX_IMAGE_BYTES", 9000)
    problems: list[RowProblem] = []
    assert len(load_dataset(path, problems=problems)) == 37
    assert [(each.name, each.missing) for each in problems] == [
        (empty, True),
        (cut, False),
        (large, False),
    ]
    assert problems[2].reason == "too large for a face"


def test_votes_are_not_matched_with_rows_left_out(
    put: Any, dataset: ExpressionDataset, csv_text: CsvText, votes_text: VotesText, caplog: Any
) -> None:
    path = put("fer2013.csv", damaged(csv_text(), 1))
    votes_path = put("fer2013new.csv", votes_text(dataset).encode())
    with pytest.raises(DataError, match=r"rows of fer2013.csv are left out .* without votes"):
        load_dataset(path, votes=votes_path, problems=[])
    assert load_dataset(path, votes="auto", problems=[]).votes is None
    assert "rows are left out, so no FER+ votes" in caplog.text
