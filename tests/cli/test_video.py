import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

from mien.analysis.video.clips import ClipOutcome, ReadingOptions
from mien.analysis.video.parts import ClipTables
from mien.analysis.video.table import partial_file
from mien.analysis.video.table_formats import read_table
from mien.cli.app import app, main
from mien.cli.video import _annotated_paths


@pytest.fixture(scope="session")
def sad_model(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    """A model that finds everybody sad."""
    return write_model(tmp_path_factory.mktemp("model") / "sad.onnx", finds="sad")


def write_clip(path: Path, frames: int, fps: int = 10) -> Path:
    """Write a clip of a face that moves to the right."""
    photo = skimage.data.astronaut()[:200, 120:360]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 240, 200, "yuv420p"
        for i in range(frames):
            picture = av.VideoFrame.from_ndarray(np.roll(photo, i % 20, axis=1), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "walk.mp4", 12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips, in two folders, and one that is none."""
    clips = tmp_path / "clips"
    (clips / "more").mkdir(parents=True)
    write_clip(clips / "walk.mp4", 4)
    write_clip(clips / "more" / "walk.mp4", 3)
    (clips / "broken.mp4").write_text("no video")
    return clips


class Called:
    """What a call of the command gave."""

    def __init__(self, *arguments: Any) -> None:
        result = CliRunner().invoke(app, ["video", *map(str, arguments), "--threads", "1"])
        self.code = result.exit_code
        self.out = result.stdout
        self.error = result.stderr
        self.exception = result.exception


def test_piped_output_is_json(clip: Path, sad_model: Path) -> None:
    called = Called(clip, "--model", sad_model)

    results = json.loads(called.out)
    assert called.code == 0
    assert [result["frame"] for result in results] == list(range(12))
    assert {face["expression"] for result in results for face in result["faces"]} == {"sad"}
    assert {face["track"] for result in results for face in result["faces"]} == {1}


def test_a_table_and_pictures_are_written_at_once(
    clip: Path, sad_model: Path, tmp_path: Path
) -> None:
    table, drawn, page = (tmp_path / f"faces.{suffix}" for suffix in ("csv", "mp4", "html"))

    called = Called(
        clip, "--model", sad_model, "-o", table, "--annotate", drawn, "--timeline", page
    )

    assert (called.code, called.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["frame"] for row in rows] == [str(i) for i in range(12)]
    with av.open(str(drawn)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    assert "100.0 %" in page.read_text()
    assert sorted(tmp_path.iterdir()) == sorted([table, drawn, page])


def test_frames_can_be_chosen(clip: Path, sad_model: Path, tmp_path: Path) -> None:
    def indices(*options: Any) -> list[int]:
        path = tmp_path / "faces.jsonl"
        assert Called(clip, "--model", sad_model, "-o", path, *options).code == 0
        return [frame.index for frame in read_table(path)]

    assert indices("--every", 5) == [0, 5, 10]
    assert indices("--start", 0.5, "--end", 0.8) == [5, 6, 7]
    assert indices("--fps", 2) == [0, 5, 10]


def test_several_clips_are_one_table_whatever_the_workers(
    folder: Path, sad_model: Path, tmp_path: Path
) -> None:
    call = (folder, "--model", sad_model, "--timeline", tmp_path / "drawn")

    one = Called(*call, "-o", tmp_path / "one.parquet")
    two = Called(*call, "-o", tmp_path / "two.parquet", "--workers", 2)

    assert (one.code, two.code) == (1, 1)
    assert "broken.mp4" in one.error
    assert "broken.mp4" in two.error
    frames = list(read_table(tmp_path / "one.parquet"))
    assert frames == list(read_table(tmp_path / "two.parquet"))
    assert [(Path(frame.source).parent.name, frame.index) for frame in frames] == [
        *[("more", i) for i in range(3)],
        *[("clips", i) for i in range(4)],
    ]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "walk-2.html",
        "walk.html",
    ]
    assert not list(tmp_path.glob("*.parts"))


def test_names_that_some_disks_take_for_one_are_told_apart(tmp_path: Path) -> None:
    names = ("Clip", "clip", "caf\u00e9", "cafe\u0301")
    clips = [str(tmp_path / str(number) / f"{name}.mp4") for number, name in enumerate(names)]

    made = [path.name for path in _annotated_paths(clips, tmp_path, several=True) if path]

    assert made == [f"{name}-mien.mp4" for name in ("Clip", "clip-2", "caf\u00e9", "cafe\u0301-2")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, sad_model: Path, interrupt: Callable[..., str]
) -> None:
    clip = write_clip(tmp_path / "long.mp4", 120)
    table = tmp_path / "faces.csv"
    call = ["video", str(clip), "--model", str(sad_model), "--threads", "1", "-o"]
    running = subprocess.Popen(
        [sys.executable, "-m", "mien", *call, str(table)],
        stderr=subprocess.PIPE,
        text=True,
    )

    def has_rows() -> bool:
        partial = partial_file(table)
        return partial.exists() and partial.read_text().count("\n") > 20

    error = interrupt(running, has_rows, limit=120)

    assert running.returncode == 130
    assert f"the rows so far: {table}; go on with: mien video" in error
    assert error.count("\n") == 1
    rows = list(read_table(table))
    assert [frame.index for frame in rows] == list(range(len(rows)))
    assert 20 <= len(rows) < 120

    runner = CliRunner()
    other = runner.invoke(app, [*call, str(table), "--resume", "--tta", "flip"])
    assert "tta was None, now flip" in str(other.exception)
    assert runner.invoke(app, [*call, str(table), "--resume"]).exit_code == 0
    assert runner.invoke(app, [*call, str(tmp_path / "whole.csv")]).exit_code == 0
    assert table.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["none.mp4"], "none.mp4: no such file or folder"),
        (["text.mp4"], "text.mp4: "),
        (["empty.mp4"], "empty.mp4: "),
        (["clip.mp4", "-o", "faces.xlsx"], "name a .csv or .parquet or .json or .jsonl file"),
        (["clip.mp4", "--annotate", "clip.mp4"], "is what is read"),
        (["clip.mp4", "--every", "2", "--fps", "3"], "--every and --fps: choose one"),
        (["clip.mp4", "--start", "2", "--end", "2"], "nothing lies from 2 s to 2 s"),
        (["clip.mp4", "--start", "inf"], "nothing lies from inf s to inf s"),
        (["clip.mp4", "--start", "nan"], "mien: "),
        (["clip.mp4", "--end", "nan"], "mien: "),
        (["clip.mp4", "--fps", "inf"], "--fps: inf is no rate"),
        (["clip.mp4", "--fps", "nan"], "mien: "),
        (["clip.mp4", "--resume"], "name --output"),
        (["clip.mp4", "clip2.mp4", "--timeline", "t.png"], "of several clips, name a folder"),
        (["clip.mp4", "--model", "none.onnx", "-o", "faces.csv"], "none.onnx"),
    ],
)
def test_a_wrong_call_is_one_line(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    reason: str,
) -> None:
    for name in ("clip.mp4", "clip2.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)

    monkeypatch.setattr(sys, "argv", ["mien", "video", *options])

    with pytest.raises(SystemExit) as caught:
        main()

    out, error = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert reason in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_clip_that_breaks_off_is_read_as_far_as_it_goes(sad_model: Path, tmp_path: Path) -> None:
    # Slow, since of a few seconds Matroska makes one piece.
    whole = write_clip(tmp_path / "whole.mkv", 60, fps=2).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) // 2])

    called = Called(cut, "--model", sad_model, "-o", tmp_path / "faces.csv")

    assert called.code == 1
    assert f"{cut}: " in called.error
    assert 0 < len(list(read_table(tmp_path / "faces.csv"))) < 60


def test_a_clip_that_broke_off_before_a_stop_is_told_after_it(
    folder: Path, sad_model: Path, tmp_path: Path
) -> None:
    table = tmp_path / "faces.csv"
    first, second = folder / "more" / "walk.mp4", folder / "walk.mp4"
    options = ReadingOptions(model=sad_model, threads=1)
    tables = ClipTables(table, [str(first), str(second)], options, several=True, resume=False)
    for clip, path in zip((first, second), tables.paths, strict=True):
        assert Called(clip, "--model", sad_model, "-o", path).code == 0
    cut = ClipOutcome(source=str(first), frames=3, truncated="it breaks off")
    tables.note(cut, tables.paths[0])

    called = Called(first, second, "--model", sad_model, "-o", table, "--resume")

    assert called.code == 1
    assert f"{first}: it breaks off; the frames before were read" in called.error
    assert len(list(read_table(table))) == 7
    assert not list(tmp_path.glob("*.parts"))


def test_what_is_annotated_replaces_no_clip(clip: Path, sad_model: Path, tmp_path: Path) -> None:
    for name in ("walk.mp4", "walk-mien.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    call = (tmp_path / "walk.mp4", tmp_path / "walk-mien.mp4", "--model", sad_model)

    called = Called(*call, "-o", tmp_path / "faces.csv", "--annotate", tmp_path)

    assert called.code == 2
    assert "is what is read" in called.error
    assert (tmp_path / "walk-mien.mp4").read_bytes() == clip.read_bytes()


def test_only_what_was_written_is_told(sad_model: Path, tmp_path: Path) -> None:
    clips = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for each in clips:
        each.write_text("no video")
    older = tmp_path / "faces.csv"
    older.write_text("of another day")

    called = Called(*clips, "--model", sad_model, "-o", older, "--annotate", tmp_path / "seen")

    assert called.code == 1
    assert "written:" not in called.error
    assert older.read_text() == "of another day"


def test_a_picture_is_drawn_as_its_suffix_says(clip: Path, sad_model: Path, tmp_path: Path) -> None:
    called = Called(clip, "--model", sad_model, "--end", 0.3, "--timeline", tmp_path / "t.png")

    assert called.code == 0
    assert Image.open(tmp_path / "t.png").format == "PNG"
