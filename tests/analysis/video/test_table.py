import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.analysis.video.table import join_tables, open_table, partial_file
from mien.analysis.video.table_formats import TABLE_SUFFIXES, read_table
from mien.errors import MediaError
from mien.results import Face, Probabilities

MakeFrame = Callable[..., TrackedFrame]

CLASSES = ("happy", "sad")


class Counter:
    """A reader that has to know how many frames it has seen."""

    def __init__(self) -> None:
        self.seen = 0

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}


def frames(make_frame: MakeFrame, count: int) -> list[TrackedFrame]:
    return [make_frame(i, *([(2, 0.75), (1, 0.2 + i / 1e4)][: i % 3])) for i in range(count)]


def write(path: Path, every_frame: list[TrackedFrame], stop_after: int | None = None, **how: Any):  # type: ignore[no-untyped-def]
    """Write a table as a run does that may be stopped, cleanly, after some frame."""
    counter = Counter()
    table = open_table(path, CLASSES, state=counter.state, **how)
    with table:
        if table.resumed:
            counter.seen = table.resumed.reader["seen"]
            assert counter.seen == table.resumed.frames
        done = table.resumed.last_index if table.resumed else -1
        for frame in every_frame:
            if frame.index <= done:
                continue
            if frame.index == stop_after:
                table.checkpoint()
                raise KeyboardInterrupt
            counter.seen += 1
            table.write(frame)
    return table


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_reads_back_as_it_was_written(
    tmp_path: Path, make_frame: MakeFrame, suffix: str
) -> None:
    path = tmp_path / "deep" / f"faces{suffix}"
    wanted = frames(make_frame, 20)

    write(path, wanted)

    assert list(read_table(path)) == wanted
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_classes_may_be_called_as_columns_are(tmp_path: Path, suffix: str) -> None:
    classes = ("track", "left")
    raw, smoothed = Probabilities(classes, (0.2, 0.8)), Probabilities(classes, (0.4, 0.6))
    tracked = TrackedFace(3, Face((1.0, 2.0, 3.0, 4.0), 0.5, None, raw), smoothed, "left")
    frame = TrackedFrame("clip.mp4", 0, 0.0, (8, 8), (tracked,))
    path = tmp_path / f"faces{suffix}"

    with open_table(path, classes) as table:
        table.write(frame)

    assert [each.to_records() for each in read_table(path)] == [frame.to_records()]


def test_json_is_one_array_and_jsonl_a_line_a_frame(tmp_path: Path, make_frame: MakeFrame) -> None:
    for suffix in (".json", ".jsonl"):
        write(tmp_path / f"faces{suffix}", frames(make_frame, 4))
    write(tmp_path / "none.json", [])

    array = json.loads((tmp_path / "faces.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]

    assert array == lines
    assert [each["frame"] for each in array] == [0, 1, 2, 3]
    assert json.loads((tmp_path / "none.json").read_text()) == []


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_video_without_a_frame_is_an_empty_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"faces{suffix}"

    write(path, [])

    assert list(read_table(path)) == []


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_stopped_run_leaves_a_table_and_goes_on_exactly(
    tmp_path: Path, make_frame: MakeFrame, suffix: str
) -> None:
    path, whole = tmp_path / f"faces{suffix}", tmp_path / f"whole{suffix}"
    wanted = frames(make_frame, 500)
    write(whole, wanted)

    with pytest.raises(KeyboardInterrupt):
        write(path, wanted, stop_after=450)
    assert list(read_table(path)) == wanted[:450]
    with pytest.raises(KeyboardInterrupt):
        write(path, wanted, stop_after=470, resume=True)
    assert list(read_table(path)) == wanted[:470]
    write(path, wanted, resume=True)

    assert path.read_bytes() == whole.read_bytes()
    assert sorted(tmp_path.iterdir()) == [path, whole]


def test_an_error_between_checkpoints_costs_no_exactness(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "faces.csv"
    wanted = frames(make_frame, 250)

    def broken() -> None:
        counter = Counter()
        with open_table(path, CLASSES, state=counter.state) as table:
            for frame in wanted[:230]:
                counter.seen += 1
                table.write(frame)
            raise RuntimeError("the reader may be in any state now")

    with pytest.raises(RuntimeError):
        broken()
    assert len(list(read_table(path))) == 230
    write(path, wanted, resume=True)

    assert list(read_table(path)) == wanted


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_process_leaves_every_row_and_goes_on(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "faces.parquet"
    script = """
import os, signal, sys
from pathlib import Path
from mien.analysis.video.results import TrackedFrame
from mien.analysis.video.table import open_table
with open_table(Path(sys.argv[1]), ("happy", "sad"), state=lambda: {"seen": 200}) as table:
    for i in range(210):
        table.write(TrackedFrame("clip.mp4", i, i / 10, (640, 360)))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, path], check=False)
    assert done.returncode == -signal.SIGKILL
    wanted = [make_frame(i) for i in range(230)]
    assert list(read_table(partial_file(path))) == wanted[:210]
    # A line that the kill cut in two.
    with partial_file(path).open("a") as stream:
        stream.write("clip.mp4,210,21")
    assert list(read_table(partial_file(path))) == wanted[:210]
    with pytest.raises(MediaError, match=r"partial\.csv: holds the rows .* resume it, or delete"):
        open_table(path, CLASSES, state=dict)

    write(path, wanted, resume=True)

    assert list(read_table(path)) == wanted


def test_a_finished_table_stays_until_the_new_one_is_whole(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "faces.csv"
    write(path, frames(make_frame, 5))
    older = path.read_bytes()

    with pytest.raises(KeyboardInterrupt):
        write(path, [make_frame(0), make_frame(1)], stop_after=1)

    assert path.read_bytes() == older
    assert list(read_table(partial_file(path))) == [make_frame(0)]
    write(path, [make_frame(0), make_frame(1)], resume=True)
    assert [frame.index for frame in read_table(path)] == [0, 1]


def test_nothing_is_left_where_nothing_was_read(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"

    table = open_table(path, CLASSES, state=dict)
    with pytest.raises(RuntimeError), table:
        raise RuntimeError

    assert table.rows_at is None
    assert list(tmp_path.iterdir()) == []


def test_only_the_same_run_goes_on(tmp_path: Path, make_frame: MakeFrame) -> None:
    path = tmp_path / "faces.csv"
    wanted = frames(make_frame, 9)
    with pytest.raises(KeyboardInterrupt):
        write(path, wanted, stop_after=5, made_by={"every": 1, "size_wh": (4, 3)})

    with pytest.raises(MediaError, match=r"every was 1, now 2: call as before, or delete"):
        write(path, wanted, resume=True, made_by={"every": 2, "size_wh": (4, 3)})
    write(path, wanted, resume=True, made_by={"every": 1, "size_wh": (4, 3)})

    with pytest.raises(MediaError, match="is finished"):
        write(path, wanted, resume=True)


def test_rows_that_cannot_be_gone_on_with_are_not_lost(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    path = tmp_path / "faces.csv"
    open_table(path, CLASSES, state=dict)  # makes the partial file
    partial = partial_file(path)
    with partial.open("a") as stream:
        stream.write("rows of a camera\n")
    (tmp_path / "faces.csv.resume.json").unlink()
    before = partial.read_bytes()

    with pytest.raises(MediaError, match="it cannot be resumed: move it, or delete it"):
        write(path, [make_frame(0)], resume=True)

    assert partial.read_bytes() == before


def test_damage_is_told(tmp_path: Path, make_frame: MakeFrame) -> None:
    path = tmp_path / "faces.csv"
    with pytest.raises(KeyboardInterrupt):
        write(path, frames(make_frame, 9), stop_after=5)
    os.truncate(partial_file(path), partial_file(path).stat().st_size - 9)
    with pytest.raises(MediaError, match="rows are missing"):
        write(path, [], resume=True)
    (tmp_path / "faces.csv.resume.json").write_text("{}")
    with pytest.raises(MediaError, match=r"resume\.json: damaged"):
        write(path, [], resume=True)
    broken = {"a.csv": "x,y\n1,2\n", "b.json": "{}", "c.parquet": "no", "d.csv": ""}
    for name, text in broken.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(MediaError, match=f"{name}: not a table"):
            list(read_table(tmp_path / name))
    with pytest.raises(MediaError, match=r"no\.csv: cannot be read: No such file"):
        list(read_table(tmp_path / "no.csv"))
    with pytest.raises(MediaError, match=r"\.csv, \.parquet, \.json or \.jsonl"):
        open_table(tmp_path / "faces.xlsx", CLASSES)


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_tables_join_in_order(tmp_path: Path, make_frame: MakeFrame, suffix: str) -> None:
    kind = ".csv" if suffix in (".csv", ".parquet") else ".jsonl"
    parts = [tmp_path / f"{name}{kind}" for name in ("one", "none", "two")]
    wanted = [[make_frame(0, (1, 0.6))], [], [make_frame(0, (1, 0.3), source='a,"\n.mp4')]]
    for part, some in zip(parts, wanted, strict=True):
        write(part, some)

    join_tables(parts, tmp_path / f"all{suffix}")

    assert list(read_table(tmp_path / f"all{suffix}")) == [*wanted[0], *wanted[2]]


def test_names_that_are_no_text_come_back(tmp_path: Path, make_frame: MakeFrame) -> None:
    wanted = [make_frame(0, (1, 0.6), source=os.fsdecode(b"caf\xe9.mp4"))]
    for suffix in (".csv", ".json", ".jsonl"):
        write(tmp_path / f"faces{suffix}", wanted)
        assert list(read_table(tmp_path / f"faces{suffix}")) == wanted
    write(tmp_path / "faces.parquet", wanted)
    (frame,) = read_table(tmp_path / "faces.parquet")
    assert frame.source == "caf?.mp4"
