from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mien.analysis.analyzer import Analyzer
from mien.analysis.video.clips import ClipJob, ReadingStoppedError, find_clips, read_clip
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


def test_a_password_is_not_told() -> None:
    with pytest.raises(MediaError, match=r"^rtsp://door/live: a URL"):
        find_clips(["rtsp://me:s@cret@door/live"])


def test_a_run_gone_on_with_tells_and_stops_in_what_was_read_before(
    write_clip: Callable[..., Path], tmp_path: Path, analyzer: Analyzer
) -> None:
    job = ClipJob(source=str(write_clip()), table=tmp_path / "faces.csv")
    shown_s: list[float] = []

    def read(job: ClipJob, frames: int) -> ReadingStoppedError:
        shown_s.clear()
        with pytest.raises(ReadingStoppedError) as stopped:
            read_clip(
                job, analyzer, should_stop=lambda: len(shown_s) == frames, on_frame=shown_s.append
            )
        return stopped.value

    again = replace(job, resume=True)

    assert read(job, 20).frames == 20
    assert read(again, 5).frames == 20
    assert shown_s == pytest.approx([index / 25 for index in range(5)])
    assert read_clip(again, analyzer).frames == 50
