from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.analysis.video.clips import ClipOutcome, ReadingOptions
from mien.analysis.video.parts import ClipTables
from mien.analysis.video.results import TrackedFrame
from mien.analysis.video.table import open_table, partial_file
from mien.analysis.video.table_formats import TABLE_SUFFIXES, read_table
from mien.errors import MediaError

MakeFrame = Callable[..., TrackedFrame]


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{name}.mp4" for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    return [str(path) for path in paths]


def write(path: Path, *frames: TrackedFrame, resume: bool = False, stop: bool = False) -> None:
    """Write a clip's table; a stop comes after its last frame."""
    with open_table(path, ("happy", "sad"), resume=resume, state=dict) as table:
        done = table.resumed.last_index if table.resumed else -1
        for frame in frames:
            if frame.index > done:
                table.write(frame)
        if stop:
            table.checkpoint()
            raise KeyboardInterrupt


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_stopped_run_of_several_goes_on_with_those_left(
    tmp_path: Path, clips: list[str], make_frame: MakeFrame, suffix: str
) -> None:
    table = tmp_path / "out" / f"faces{suffix}"
    rows = [[make_frame(i, (1, 0.9), source=clip) for i in range(3)] for clip in clips]
    outcome = ClipOutcome(source=clips[0], frames=3, truncated="it breaks off", remarks=("one",))

    def stop(tables: ClipTables) -> None:
        with tables:
            write(tables.paths[0], *rows[0])
            tables.note(outcome, tables.paths[0])
            write(tables.paths[1], *rows[1][:2], stop=True)

    stopped = ClipTables(table, clips, ReadingOptions(), several=True, resume=False)
    with pytest.raises(KeyboardInterrupt):
        stop(stopped)
    assert stopped.rows_at == table
    assert list(read_table(table)) == [*rows[0], *rows[1][:2]]
    with ClipTables(table, clips, ReadingOptions(), several=True, resume=True) as tables:
        assert [tables.outcome(path) for path in tables.paths] == [outcome, None, None]
        write(tables.paths[1], *rows[1], resume=True)
        write(tables.paths[2], *rows[2])

    assert list(read_table(table)) == [*rows[0], *rows[1], *rows[2]]
    assert list(table.parent.iterdir()) == [table]


def test_names_that_are_no_text_are_joined_in_every_format(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    # With letters of several bytes, so that some are cut where the file is read in blocks.
    clips = [str(tmp_path / f"{'ü€' * n}\udcff.mp4") for n in (1, 30)]
    rows = [[make_frame(i, (1, 0.9), source=clip) for i in range(100)] for clip in clips]
    for suffix in TABLE_SUFFIXES:
        table = tmp_path / "out" / f"faces{suffix}"
        with ClipTables(table, clips, ReadingOptions(), several=True, resume=False) as tables:
            for path, frames in zip(tables.paths, rows, strict=True):
                write(path, *frames)

        read = list(read_table(table))

        shown = [c.replace("\udcff", "?") if suffix == ".parquet" else c for c in clips]
        assert [frame.source for frame in read] == [name for name in shown for _ in range(100)]
        assert [frame.index for frame in read] == 2 * list(range(100))


def test_a_clip_of_which_it_is_not_known_what_became_is_read_again(
    tmp_path: Path, clips: list[str], make_frame: MakeFrame
) -> None:
    table, kept = tmp_path / "faces.csv", [make_frame(0)]

    def stop(tables: ClipTables) -> None:
        with tables:
            write(tables.paths[0], *kept)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop(ClipTables(table, clips, ReadingOptions(), several=True, resume=False))
    assert list(read_table(table)) == kept

    again = ClipTables(table, clips, ReadingOptions(), several=True, resume=True)

    assert again.outcome(again.paths[0]) is None
    write(again.paths[0], *kept, resume=True)
    assert list(read_table(again.paths[0])) == kept


def test_a_finished_table_stays_until_the_new_one_is_whole(
    tmp_path: Path, clips: list[str], make_frame: MakeFrame
) -> None:
    table = tmp_path / "faces.csv"
    write(table, make_frame(7))

    tables = ClipTables(table, clips, ReadingOptions(), several=True, resume=False)
    with pytest.raises(KeyboardInterrupt), tables:
        write(tables.paths[0], make_frame(0), stop=True)

    assert list(read_table(table)) == [make_frame(7)]
    assert tables.rows_at == tmp_path / "faces.csv.parts"


def test_only_the_same_run_goes_on(tmp_path: Path, clips: list[str], make_frame: MakeFrame) -> None:
    table = tmp_path / "faces.csv"

    def resume(**options: Any) -> ClipTables:
        return ClipTables(table, clips, ReadingOptions(**options), several=True, resume=True)

    with pytest.raises(KeyboardInterrupt), resume(threads=1) as tables:
        write(tables.paths[0], make_frame(0), stop=True)

    with pytest.raises(MediaError, match=r"parts: holds the rows of a run .* resume it, or delete"):
        ClipTables(table, clips, ReadingOptions(), several=True, resume=False)
    assert not any(map(resume(threads=3).outcome, tables.paths))
    with pytest.raises(MediaError, match="every was 1, now 2"):
        resume(every=2)
    Path(clips[2]).write_text("another clip")
    with pytest.raises(MediaError, match=r"the state of .*c\.mp4 was 5 bytes"):
        resume()


def test_a_run_that_read_nothing_leaves_nothing(tmp_path: Path, clips: list[str]) -> None:
    table = tmp_path / "out" / "faces.csv"

    with (
        pytest.raises(RuntimeError),
        ClipTables(table, clips, ReadingOptions(), several=True, resume=False),
    ):
        raise RuntimeError
    with ClipTables(table, clips, ReadingOptions(), several=True, resume=False):
        pass  # no clip could be read

    assert list(table.parent.iterdir()) == []


def test_a_folder_of_somebody_is_not_taken_for_a_run(tmp_path: Path, clips: list[str]) -> None:
    kept = tmp_path / "faces.csv.parts" / "notes.txt"
    kept.parent.mkdir()
    kept.write_text("mine")

    with pytest.raises(MediaError, match=r"parts: holds no run that can be resumed: move it"):
        ClipTables(tmp_path / "faces.csv", clips, ReadingOptions(), several=True, resume=True)

    assert [path.name for path in kept.parent.iterdir()] == ["notes.txt"]


def test_it_tells_where_the_rows_are(
    tmp_path: Path, clips: list[str], make_frame: MakeFrame
) -> None:
    table = tmp_path / "faces.csv"
    options = ReadingOptions()

    # Ctrl-C pressed twice raises what knows of no rows.
    stopped = ClipTables(table, clips[:1], options, several=False, resume=False)
    with pytest.raises(KeyboardInterrupt), stopped:
        write(table, make_frame(0), stop=True)
    assert stopped.rows_at == partial_file(table)

    partial_file(table).unlink()
    with ClipTables(table, clips, options, several=True, resume=False) as nothing_read:
        pass
    assert (table.exists(), nothing_read.rows_at) == (True, None), "the table is an older one"


def test_one_clip_has_its_table_at_once(
    tmp_path: Path, clips: list[str], make_frame: MakeFrame
) -> None:
    table = tmp_path / "faces.csv"

    with ClipTables(table, clips[:1], ReadingOptions(), several=False, resume=False) as tables:
        write(tables.paths[0], make_frame(0))

    assert tables.paths == [table]
    assert list(read_table(table)) == [make_frame(0)]
