import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

from mien.cli import analyze as command
from mien.cli.app import app, main
from mien.errors import MediaError, MissingExtraError
from mien.expressions import EXPRESSIONS


@pytest.fixture(scope="session")
def sad_model(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Path:
    """A model that finds everybody sad."""
    return write_model(tmp_path_factory.mktemp("model") / "sad.onnx", finds="sad")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of a face and one without, in two folders."""
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    astronaut = Image.fromarray(skimage.data.astronaut()[:200, 120:360])
    astronaut.save(photos / "face.png")
    astronaut.save(photos / "more" / "face.png")
    Image.new("RGB", (80, 60)).save(photos / "nobody.png")
    return photos


class Called:
    """What a call of the command gave."""

    def __init__(self, *arguments: Any) -> None:
        result = CliRunner().invoke(app, ["analyze", *map(str, arguments)])
        self.code = result.exit_code
        self.out = result.stdout
        self.error = result.stderr
        self.exception = result.exception


def test_piped_output_is_json(folder: Path, sad_model: Path) -> None:
    called = Called(folder, "--model", sad_model)
    results = json.loads(called.out)
    assert (called.code, called.error) == (0, "")
    assert [Path(result["source"]).name for result in results] == [
        "face.png",
        "face.png",
        "nobody.png",
    ]
    assert [len(result["faces"]) for result in results] == [1, 1, 0]
    assert results[0]["faces"][0]["expression"] == "sad"
    assert Called(folder, "--model", sad_model, "--json").out == called.out


def test_csv_has_a_header_and_a_row_for_each_face(folder: Path, sad_model: Path) -> None:
    called = Called(folder, "--model", sad_model, "--csv")
    rows = list(csv.DictReader(io.StringIO(called.out)))
    assert [row["expression"] for row in rows] == ["sad", "sad", ""]
    assert set(EXPRESSIONS) < set(rows[0])


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_output_goes_to_a_file(folder: Path, sad_model: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    called = Called(folder, "--model", sad_model, "--output", path)
    assert (called.code, called.out) == (0, "")
    assert path.read_text() == Called(folder, "--model", sad_model, f"--{suffix}").out


def test_annotated_pictures_have_names_of_their_own(
    folder: Path, sad_model: Path, tmp_path: Path
) -> None:
    Called(folder, "--model", sad_model, "--annotate", tmp_path / "seen")
    names = sorted(path.name for path in (tmp_path / "seen").iterdir())
    assert names == ["face-2-mien.jpg", "face-mien.jpg", "nobody-mien.jpg"]
    with Image.open(tmp_path / "seen" / "face-mien.jpg") as image:
        assert image.size == (480, 400)  # enlarged, since its shorter side is under 240


def test_pictures_whose_names_some_disks_take_for_one_are_annotated_each(
    folder: Path, sad_model: Path, tmp_path: Path
) -> None:
    (folder / "more" / "face.png").rename(folder / "more" / "FACE.png")
    called = Called(folder, "--model", sad_model, "--annotate", tmp_path / "seen")
    assert called.code == 0
    names = [path.name.casefold() for path in (tmp_path / "seen").iterdir()]
    assert len(set(names)) == 3


def test_annotating_touches_no_file_of_the_users(folder: Path, sad_model: Path) -> None:
    mine = ["face.jpg", "nobody.jpg", "face-2.jpg"]
    for name in mine:
        (folder / name).write_bytes(b"mine")
    Called(folder / "face.png", folder / "nobody.png", "--model", sad_model, "--annotate", folder)
    assert [(folder / name).read_bytes() for name in mine] == [b"mine"] * 3
    assert (folder / "face-mien.jpg").exists()


def test_a_source_is_never_annotated_over(folder: Path, sad_model: Path) -> None:
    source = folder / "face-mien.jpg"
    Image.open(folder / "face.png").save(source)
    before = source.read_bytes()
    Called(folder / "face.png", source, "--model", sad_model, "--annotate", folder)
    assert source.read_bytes() == before
    assert {path.name for path in folder.glob("*-mien.jpg")} == {
        *("face-mien.jpg", "face-2-mien.jpg", "face-mien-mien.jpg")
    }


def test_a_second_run_finds_the_same_pictures(folder: Path, sad_model: Path) -> None:
    arguments = (folder, "--model", sad_model, "--annotate", folder)
    first = Called(*arguments)
    before = sorted(folder.rglob("*"))
    (folder / "nobody-mien.jpg").write_bytes(b"an older annotation")
    second = Called(*arguments)
    assert (second.code, second.out) == (0, first.out)
    assert sorted(folder.rglob("*")) == before
    assert (folder / "nobody-mien.jpg").stat().st_size > 100
    assert isinstance(Called(f"{folder}/*.jpg", "--model", sad_model).exception, MediaError)


def test_one_annotation_that_fails_does_not_end_the_others(
    folder: Path, sad_model: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    (seen / "face-mien.jpg").mkdir(parents=True)  # a folder, so that nothing can be moved there
    called = Called(folder, "--model", sad_model, "--annotate", seen)
    assert called.code == command.SOME_FAILED
    assert len(json.loads(called.out)) == 3
    assert called.error.count("\n") == 1
    assert "face-mien.jpg: cannot be written" in called.error
    assert (seen / "nobody-mien.jpg").exists()


def test_a_damaged_picture_is_told_and_the_rest_is_read(folder: Path, sad_model: Path) -> None:
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8\xff damaged")
    called = Called(folder, "--model", sad_model)
    assert called.code == command.SOME_FAILED
    assert len(json.loads(called.out)) == 3
    assert called.error.count("\n") == 1
    assert "damaged.jpg" in called.error


def test_any_number_of_workers_gives_the_same_and_lists_what_failed(
    folder: Path, sad_model: Path
) -> None:
    for i in range(40):
        Image.new("RGB", (40, 40), (i, i, i)).save(folder / f"plain-{i}.png")
    for name in ("a.jpg", "z.jpg"):
        (folder / name).write_bytes(b"damaged")

    one = Called(folder, "--model", sad_model, "--threads", 1, "--workers", 1)
    two = Called(folder, "--model", sad_model, "--threads", 1, "--workers", 2)

    assert len(json.loads(one.out)) == 43
    assert (two.code, two.out, two.error) == (one.code, one.out, one.error)
    assert one.code == command.SOME_FAILED
    hint, *lines = one.error.splitlines()
    assert "40 small square pictures" in hint
    assert lines[0] == "mien: 2 of 45 pictures failed:"
    assert ["a.jpg" in lines[1], "z.jpg" in lines[2]] == [True, True]


def test_pictures_in_parquet_are_read_and_named_by_their_rows(
    folder: Path, sad_model: Path, tmp_path: Path
) -> None:
    table, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pictures = [(folder / name).read_bytes() for name in ("face.png", "nobody.png")]
    pq.write_table(pa.table({"image": [{"bytes": each, "path": None} for each in pictures]}), table)

    called = Called(table, "--model", sad_model, "--output", output)

    assert (called.code, called.out, called.error) == (0, "", "")
    rows = pq.read_table(output).to_pylist()
    assert [row["source"] for row in rows] == [f"{table}#0", f"{table}#1"]
    assert [row["expression"] for row in rows] == ["sad", None]
    assert Called(table, "--annotate", tmp_path / "seen").code == 2
    before = table.read_bytes()
    called = Called(table, "--model", sad_model, "--output", table)
    assert (called.code, table.read_bytes()) == (2, before)
    assert "is what is read" in called.error


def test_whole_image_reads_ready_crops(folder: Path, sad_model: Path) -> None:
    results = json.loads(Called(folder, "--model", sad_model, "--whole-image").out)
    assert [result["faces"][0]["score"] for result in results] == [1, 1, 1]


def test_flip_averages_a_face_with_its_mirror_image(folder: Path) -> None:
    face = Image.open(folder / "face.png")
    mirrored = folder / "mirrored.png"
    face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored)

    def read(picture: Path, *options: str) -> list[float]:
        (result,) = json.loads(Called(picture, "--whole-image", *options).out)
        return list(result["faces"][0]["probabilities"].values())

    both, other = (read(path, "--tta", "flip") for path in (folder / "face.png", mirrored))

    single = np.mean([read(folder / "face.png"), read(mirrored)], axis=0)
    assert both == pytest.approx(single, abs=2e-3), "nearly: each is rounded as it is scaled"
    assert both == pytest.approx(other, abs=2e-3)
    assert both != read(folder / "face.png")


def test_crops_in_which_no_face_is_found_are_told_of(folder: Path, sad_model: Path) -> None:
    Image.new("RGB", (48, 48)).save(folder / "crop.png")
    assert Called(folder, "--model", sad_model, "--json").error == (
        "mien: no face found in 1 small square picture; of face crops: --whole-image\n"
    )
    assert Called(folder, "--model", sad_model, "--whole-image").error == ""


def test_a_table_may_be_asked_for_in_a_pipe(folder: Path, sad_model: Path) -> None:
    called = Called(folder, "--model", sad_model, "--table")
    assert called.code == 0
    assert "no face found" in called.out


def test_a_table_for_people(
    folder: Path, sad_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    command.analyze([str(folder)], model=sad_model)
    shown = capsys.readouterr().out
    assert "sad" in shown
    assert "77%" in shown
    assert "no face found" in shown
    assert "3 pictures, 2 faces" in shown


def test_what_is_below_the_limit_is_called_so_everywhere(folder: Path, sad_model: Path) -> None:
    picture = folder / "face.png"
    options = ("--model", sad_model, "--uncertain-below", "0.9")

    (face,) = json.loads(Called(picture, *options).out)[0]["faces"]
    (row,) = csv.DictReader(io.StringIO(Called(picture, *options, "--csv").out))
    shown = Called(picture, *options, "--table").out

    assert (face["expression"], face["uncertain_below"]) == ("uncertain", 0.9)
    assert face["probabilities"]["sad"] == face["confidence"] == pytest.approx(0.77, abs=0.01)
    assert row["expression"] == "uncertain"
    assert "uncertain" in shown
    assert "sad or angry" in shown, "what it would have been, and the next"
    again = Called(picture, "--model", sad_model, "--uncertain-below", "0", "--table").out
    assert "uncertain" not in again
    assert "sad or angry" not in again


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["none.jpg"], "no such file"),
        (["https://example.org/a.jpg"], "download it first"),
        (["*.jpg"], "no picture matches"),
        (["face.png", "--output", "out.xml"], ".json, .csv or .parquet"),
        (["face.png", "--model", "none.onnx"], "no model"),
        (["face.png", "--annotate", "nobody.png"], "nobody.png: cannot be written"),
        (["face.png", "--ray-address", "auto"], "name that too"),
        (["face.png", "--engine", "ray"], "name it with --output"),
        (["face.png", "--engine", "ray", "-o", "face.png"], "is a file: name a folder"),
        (["face.png", "--engine", "ray", "-o", "more"], "is not empty: name a new folder"),
        (["face.png", "--engine", "ray", "-o", "out", "--csv"], "--csv is for --engine local"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["mien", "analyze", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert reason in error
    assert error.count("\n") == 1


def test_without_ray_the_line_that_installs_it_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    called = Called(folder, "--engine", "ray", "--output", folder / "out")
    assert isinstance(called.exception, MissingExtraError)
    assert "pip install 'mien[ray]'" in str(called.exception)


@pytest.mark.parametrize(
    "wrong", [["--json", "--csv"], ["--min-face", "3"], ["--nonsense"], ["--uncertain-below", "2"]]
)
def test_a_wrong_call_is_exit_code_2(folder: Path, wrong: list[str]) -> None:
    assert Called(folder, *wrong).code == 2


def test_as_a_program(folder: Path, sad_model: Path) -> None:
    code = "from mien.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "analyze", str(folder), "--model", str(sad_model), "--csv"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("\n") == 4
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as a Unix shell does")
@pytest.mark.parametrize("closing", [">&-", "<&- >&- 2>&-"])
def test_nowhere_to_print_is_no_error(
    folder: Path, sad_model: Path, tmp_path: Path, closing: str
) -> None:
    table = tmp_path / "faces.csv"
    options = ["--model", str(sad_model), "--output", str(table)]
    call = [sys.executable, "-m", "mien", "analyze", str(folder), *options]

    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closing}', "sh", *call], check=False, capture_output=True
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert table.read_text().count("\n") == 4
