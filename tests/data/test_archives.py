import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import mien.data.archives
from mien.data.archives import PlainFile, open_tar, open_zip
from mien.errors import DataError

UNSAFE = ["../evil.csv", "/etc/evil.csv", "a/../../evil.csv", "..\\evil.csv", "C:\\evil.csv"]


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: list[tarfile.TarInfo], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def tar_member(name: str, size: int = 10, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size if kind == tarfile.REGTYPE else 0
    member.type = kind
    member.linkname = "/etc/passwd"
    return member


def names_in_zip(path: Path) -> list[str]:
    with open_zip(path) as (_, members):
        return list(members)


def names_in_tar(path: Path, *, gzipped: bool = True) -> list[str]:
    with open_tar(path, gzipped=gzipped) as files:
        return [name for name, _ in files]


def test_files_are_listed_without_folders(tmp_path: Path) -> None:
    assert names_in_zip(make_zip(tmp_path / "a.zip", {"d/": b"", "d/x": b"1"})) == ["d/x"]
    members = [tar_member("d", kind=tarfile.DIRTYPE), tar_member("d/x")]
    assert names_in_tar(make_tar(tmp_path / "a.tar.gz", members)) == ["d/x"]
    assert names_in_tar(make_tar(tmp_path / "a.tar", members, "w"), gzipped=False) == ["d/x"]


@pytest.mark.parametrize("name", UNSAFE)
def test_a_member_outside_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"a.zip: refused, member .* points outside"):
        names_in_zip(make_zip(tmp_path / "a.zip", {"good.csv": b"", name: b"1"}))
    with pytest.raises(DataError, match=r"a.tar.gz: refused, member .* points outside"):
        names_in_tar(make_tar(tmp_path / "a.tar.gz", [tar_member("good"), tar_member(name)]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_a_tar_is_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(DataError, match="is a link or device"):
        names_in_tar(make_tar(tmp_path / "a.tar.gz", [tar_member("fer2013.csv", kind=kind)]))


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("happy/a.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="is a link or device"):
        names_in_zip(tmp_path / "a.zip")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_archive_is_told(tmp_path: Path, kept: float) -> None:
    paths = [
        make_zip(tmp_path / "a.zip", {"x.csv": bytes(5000)}),
        make_tar(tmp_path / "a.tar.gz", [tar_member("x.csv", 50_000)]),
    ]
    for path, names in zip(paths, (names_in_zip, names_in_tar), strict=True):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * kept)])
        with pytest.raises(DataError, match="cut short or damaged"):
            names(path)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.data.archives, "MAX_MEMBERS", 2)
    with pytest.raises(DataError, match="refused, it has more than 2 members"):
        names_in_zip(make_zip(tmp_path / "a.zip", {"a": b"", "b": b"", "c": b""}))
    with pytest.raises(DataError, match="refused, it has more than 2 members"):
        names_in_tar(make_tar(tmp_path / "a.tgz", [tar_member(name) for name in "abc"]))


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.data.archives, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="refused, it would unpack to more than"):
        names_in_zip(make_zip(tmp_path / "a.zip", {"a": bytes(600), "b": bytes(600)}))
    with pytest.raises(DataError, match="refused, it would unpack to more than"):
        names_in_tar(make_tar(tmp_path / "a.tgz", [tar_member("a", 2000)]))


def fail_at(files: Iterator[Any]) -> None:
    next(files)
    raise RuntimeError("thread")


def test_what_fails_beside_an_archive_is_not_blamed_on_it(tmp_path: Path) -> None:
    packed = make_zip(tmp_path / "a.zip", {"x": b"1"})
    with pytest.raises(OSError, match="disk") as caught, open_zip(packed):
        raise OSError("disk")
    assert not isinstance(caught.value, DataError)
    packed = make_tar(tmp_path / "a.tgz", [tar_member("x")])
    with pytest.raises(RuntimeError, match="thread"), open_tar(packed, gzipped=True) as files:
        fail_at(files)


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^x\.csv: cannot be read: No such file"):
        PlainFile(lambda: (tmp_path / "x.csv").open("rb"), "x.csv")
    path = make_zip(tmp_path / "a.zip", {"x.csv": bytes(5000)})
    path.write_bytes(path.read_bytes().replace(bytes(100), b"1" * 100, 1))
    with (
        open_zip(path) as (archive, _),
        closing(PlainFile(lambda: archive.open("x.csv"), "a.zip: x.csv")) as file,
    ):
        with pytest.raises(
            DataError, match=r"^a\.zip: x\.csv: the archive is cut short or damaged"
        ):
            file.read()
        assert not file.closed
