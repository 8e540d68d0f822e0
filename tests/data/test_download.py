import builtins
import time
from pathlib import Path
from typing import Any

import pytest

import mien.data.download
from mien.data.download import download_fer2013
from mien.errors import DownloadError, MissingExtraError

BY_HAND = (
    r"get it by hand from https://www\.kaggle\.com/datasets/msambare/fer2013, "
    r"unpack it and run: mien data prepare FOLDER$"
)


def fill(output: str | None) -> str:
    assert output is not None
    Path(output, "train").mkdir(parents=True)
    return output


def refuse(output: str | None) -> str:
    if output is not None:
        fill(output)
    raise PermissionError("403 Client Error.\n\nYou don't have permission")


def test_the_folder_appears_whole(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new" / "fer2013"):
        assert download_fer2013(folder, fetch=fill) == folder
        assert [path.name for path in folder.iterdir()] == ["train"]
        assert list(folder.parent.glob(".*")) == []


def test_the_default_place_is_the_fetchers_own(tmp_path: Path) -> None:
    assert download_fer2013(fetch=lambda output: str(tmp_path / str(output))) == tmp_path / "None"


@pytest.mark.parametrize("output", [None, "fer2013"])
def test_a_refusal_is_one_line_and_leaves_nothing(tmp_path: Path, output: str | None) -> None:
    folder = None if output is None else tmp_path / output
    with pytest.raises(DownloadError, match=BY_HAND) as caught:
        download_fer2013(folder, fetch=refuse)
    assert "(403 Client Error.)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(DownloadError, match="not an empty folder"):
        download_fer2013(tmp_path, fetch=fill)
    with pytest.raises(DownloadError, match="not an empty folder"):
        download_fer2013(tmp_path / "mine.txt", fetch=fill)


def test_no_network_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kagglehub")
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    # A port of this machine that nobody listens on answers as a missing network does.
    monkeypatch.setattr(mien.data.download, "_KAGGLE_API", "https://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"Kaggle cannot be reached \(.*\); " + BY_HAND):
        download_fer2013()
    assert time.monotonic() - started < 15


def test_kagglehub_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_kagglehub(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "kagglehub":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_kagglehub)
    with pytest.raises(MissingExtraError, match="kagglehub"):
        download_fer2013()
