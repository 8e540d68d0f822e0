import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mien.data.download
from mien.cli import main
from mien.cli.data import open_dataset
from mien.data import read_dataset, save_dataset
from mien.data.synthetic import synthetic_faces

Run = Callable[..., int]


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def csv_file(tmp_path: Path, fer2013_csv: Callable[..., bytes]) -> Path:
    path = tmp_path / "fer2013.csv"
    path.write_bytes(fer2013_csv(synthetic_faces(12)))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call ``mien data`` as a shell does and return the exit code."""

    def call(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["mien", "data", *arguments])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return call


def test_prepare_shows_counts_notes_and_the_cache(
    run: Run, csv_file: Path, cache_dir: Path, capsys: Any
) -> None:
    assert run("prepare", str(csv_file)) == 0
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert rows["split"][:3] == ["angry", "disgust", "fear"]
    assert rows["Training"] == ["2", "2", "2", "1", "1", "1", "1", "10"]
    assert rows["all"][-1] == "12"
    assert "note: not as published: Training has 10 images, 28,709 were published" in shown
    assert f"cached: {cache_dir}" in shown
    assert run("prepare", str(csv_file)) == 0
    assert "from the cache in" in capsys.readouterr().out


def test_names_are_no_markup(run: Run, tmp_path: Path, capsys: Any) -> None:
    faces = replace(synthetic_faces(14), classes=("[/b]", "[b]x", "a", "b", "c", "d", "e"))
    path = tmp_path / "[/i]z.npz"
    save_dataset(faces, path)
    assert run("prepare", str(path)) == 0
    shown = capsys.readouterr().out
    assert "[/b] [b]x" in " ".join(shown.split())
    assert "[/i]z.npz" in shown


def test_opening_notes_differences_once(
    csv_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: Any
) -> None:
    assert len(open_dataset(csv_file)) == 12
    noted = capsys.readouterr().err.splitlines()
    assert len(noted) == 3
    assert noted[0].startswith("note: not as published: Training has 10 images, 28,709 were")
    assert caplog.records == []
    monkeypatch.setenv("MIEN_FER2013", str(csv_file))
    open_dataset(None)
    assert capsys.readouterr().err == ""
    assert len(caplog.records) == 3


def test_prepare_writes_a_file(run: Run, csv_file: Path, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "out" / "faces.npz"
    assert run("prepare", str(csv_file), "--output", str(output)) == 0
    assert len(read_dataset(output)) == 12
    assert capsys.readouterr().err == f"written: {output}\n"


def test_pictures_of_ones_own_are_not_held_against_fer2013(
    run: Run, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(tmp_path / "faces" / "happy" / "me.png")
    assert run("prepare", str(tmp_path / "faces")) == 0
    assert "published" not in capsys.readouterr().out
    open_dataset(tmp_path / "faces")
    assert capsys.readouterr().err == ""


def test_a_mistake_is_one_line_and_exit_code_2(run: Run, tmp_path: Path, capsys: Any) -> None:
    assert run("prepare", str(tmp_path / "none.csv")) == 2
    assert run("prepare", str(tmp_path)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 2
    assert "none.csv: no such file or folder" in captured.err


@pytest.mark.skipif(os.name == "nt", reason="Windows makes up homes of users that it has not")
@pytest.mark.parametrize("command", ["prepare", "balance"])
def test_a_home_that_is_not_known_is_one_line(
    run: Run, tmp_path: Path, capsys: Any, command: str
) -> None:
    output = () if command == "prepare" else ("-o", str(tmp_path / "even"))
    assert run(command, "~nobody-here/x", *output) == 2
    assert capsys.readouterr().err == "mien: ~nobody-here/x: no such file or folder\n"


def test_download_without_a_network(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def offline(output: str | None) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(mien.data.download, "_fetch_from_kaggle", offline)
    assert run("download") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no route to host" in line
    assert "mien data prepare FOLDER" in line


def test_download_prints_the_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(mien.data.download, "_fetch_from_kaggle", lambda _: str(tmp_path))
    assert run("download") == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path)
    assert f"next: mien data prepare {tmp_path}" in captured.err


def test_balance_writes_a_folder_or_a_file(
    run: Run, csv_file: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run("balance", str(csv_file), "--to", "3", "--output", str(tmp_path / "even")) == 0
    assert "Training 3 3 3 3 3 3 3 21" in " ".join(capsys.readouterr().out.split())
    assert len(list((tmp_path / "even" / "train" / "disgust").glob("*.png"))) == 3
    assert len(list((tmp_path / "even" / "val").rglob("*.png"))) == 1

    npz = tmp_path / "even.npz"
    assert run("balance", str(csv_file), "--to", "3", "--output", str(npz)) == 0
    assert read_dataset(npz).split("Training").counts()["disgust"] == 3
    assert run("balance", str(csv_file), "--to", "3", "--output", str(tmp_path / "even")) == 2
    assert "is not empty" in capsys.readouterr().err


def test_a_balanced_file_is_other_data_than_its_source(
    run: Run, csv_file: Path, tmp_path: Path
) -> None:
    def balanced(name: str, *options: str) -> str:
        assert run("balance", str(csv_file), "-o", str(tmp_path / name), *options) == 0
        return open_dataset(tmp_path / name).fingerprint

    first = balanced("a.npz", "--to", "3")
    assert balanced("b.npz", "--to", "3") == first
    others = [balanced("c.npz", "--to", "3", "--seed", "1"), balanced("d.npz", "--to", "4")]
    assert len({first, *others, open_dataset(csv_file).fingerprint}) == 4


def test_balance_replaces_nothing(
    run: Run, csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("balance", str(csv_file), "--to", "3", "-o", "a.npz") == 0
    assert "written: a.npz" in capsys.readouterr().err
    before = (tmp_path / "a.npz").read_bytes()
    for output in ("a.npz", "a.npz/inner"):
        assert run("balance", "a.npz", "--to", "20", "--output", output) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"mien: --output: {output}: ")
    assert run("balance", str(csv_file), "-o", "b", "--seed", "-1") == 2
    assert "--seed" in capsys.readouterr().err
    assert (tmp_path / "a.npz").read_bytes() == before


def test_balance_stays_out_of_what_it_reads(run: Run, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "faces" / "happy").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(tmp_path / "faces" / "happy" / "me.png")
    assert run("balance", str(tmp_path / "faces"), "-o", str(tmp_path / "faces" / "even")) == 2
    assert "is read: name a path elsewhere" in capsys.readouterr().err


def test_explore_writes_a_page_and_a_summary(
    run: Run, csv_file: Path, tmp_path: Path, capsys: Any
) -> None:
    output = tmp_path / "new" / "page.html"
    assert run("explore", "--data", str(csv_file), "--output", str(output)) == 0
    assert "Exploration of fer2013.csv" in output.read_text("utf-8")
    captured = capsys.readouterr()
    assert "pixels" in captured.out
    assert "no value is missing or unreadable" in captured.out
    assert "<td>Usage</td><td>0</td><td>0</td>" in output.read_text("utf-8")
    assert captured.err.splitlines()[-1] == f"written: {output}"


def test_explore_takes_its_data_as_the_other_commands_do(
    run: Run, csv_file: Path, tmp_path: Path, capsys: Any
) -> None:
    output = tmp_path / "page.html"
    assert run("explore", str(csv_file), "-o", str(output)) == 0
    assert "Exploration of fer2013.csv" in output.read_text("utf-8")
    capsys.readouterr()
    assert run("explore", str(csv_file), "--data", str(csv_file)) == 2
    assert "given twice" in capsys.readouterr().err


def test_explore_prints_json(
    run: Run, csv_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_FER2013", str(csv_file))
    assert run("explore", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == 12
    assert "written: exploration.html" in captured.err
    assert (tmp_path / "exploration.html").is_file()


def test_explore_shows_what_the_others_refuse(
    run: Run, csv_file: Path, cache_dir: Path, tmp_path: Path, capsys: Any
) -> None:
    lines = csv_file.read_text().splitlines()
    lines[2] = lines[2][1:]
    lines[3] = "9" + lines[3][1:]
    lines[5] = lines[5].replace(" ", " 256 ", 1)
    lines[6] = lines[6].rpartition(",")[0] + ","
    csv_file.write_text("\n".join(lines) + "\n\n")
    output = tmp_path / "page.html"
    assert run("prepare", str(csv_file)) == 2
    (refusal,) = capsys.readouterr().err.splitlines()
    assert "row 2: emotion '' is none of" in refusal
    assert "('mien data explore' lists all that cannot be read)" in refusal

    assert run("explore", str(csv_file), "--output", str(output)) == 0
    assert list(cache_dir.rglob("*.npz")) == []
    shown = capsys.readouterr().out
    assert (
        "note: 4 images are left out here, with values missing or unreadable (emotion 1 missing, "
        "emotion 1 unreadable, pixels 1 unreadable, Usage 1 missing)"
    ) in shown
    page = output.read_text("utf-8")
    assert "8 faces in" in page
    for row in ("<td>emotion</td><td>1</td><td>1</td>", "<td>pixels</td><td>0</td><td>1</td>"):
        assert row in page
    assert "<td>Usage</td><td>1</td><td>0</td>" in page
    assert "<td>row 5</td><td>pixels</td><td>unreadable</td>" in page
    assert "pixel 2 is 256, expected 0 to 255" in page


def test_explore_shows_damaged_pictures(run: Run, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "faces" / "happy"
    folder.mkdir(parents=True)
    Image.new("L", (48, 48), 200).save(folder / "a.png")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:50])
    (folder / "c.png").touch()
    output = tmp_path / "page.html"
    assert run("explore", str(tmp_path / "faces"), "--output", str(output), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["images"], facts["left_out"]) == (1, 2)
    assert [each["name"] for each in facts["problems"]] == ["happy/b.png", "happy/c.png"]
    page = output.read_text("utf-8")
    assert "<td>pixels</td><td>1</td><td>1</td>" in page
    assert "<td>happy/c.png</td><td>pixels</td><td>missing</td>" in page


def test_explore_without_data_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.delenv("MIEN_FER2013", raising=False)
    assert run("explore") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "MIEN_FER2013" in line


def test_classes_of_ones_own_may_be_named_by_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("happy", "bored"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        Image.new("L", (48, 48), 200).save(tmp_path / "faces" / name / "a.png")
    monkeypatch.setenv("MIEN_FER2013", str(tmp_path / "faces"))

    assert open_dataset(None, own_classes=True).classes == ("bored", "happy")
