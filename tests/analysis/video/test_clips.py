from pathlib import Path

import pytest

from mien.analysis.video.clips import find_clips
from mien.errors import MediaError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.MP4", "a.mov", "a-mien.mp4", "notes.txt", ".hidden.mp4", "more/c.mkv"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "clips"


def test_folders_and_patterns_stand_for_their_videos(folder: Path) -> None:
    def names(*sources: str) -> list[str]:
        return [Path(clip).relative_to(folder).as_posix() for clip in find_clips(sources)]

    assert names(str(folder)) == ["a.mov", "b.MP4", "more/c.mkv"]
    assert names(f"{folder}/*.M*", f"{folder}/*") == ["b.MP4", "a.mov"]
    assert names(f"{folder}/**/*.mkv") == ["more/c.mkv"]
    assert names(str(folder / "notes.txt"), str(folder / "a-mien.mp4")) == [
        "notes.txt",
        "a-mien.mp4",
    ]
    assert names(str(folder / "b.MP4"), str(folder)) == ["b.MP4", "a.mov", "more/c.mkv"]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path) -> None:
    clip = tmp_path / "take [1].mp4"
    clip.touch()

    assert find_clips([str(clip)]) == [str(clip)]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("none.mp4", "no such file or folder"),
        ("rtsp://camera/1", "a URL, not a file; 'mien webcam' reads streams"),
        ("empty", "no video in this folder"),
        ("empty/*", "no video matches this pattern"),
    ],
)
def test_what_stands_for_no_video_is_told(
    tmp_path: Path, source: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(MediaError, match=rf"^{source.replace('*', r'[*]')}: {reason}"):
        find_clips([source])
