import json
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner, Result

from mien.cli.app import app
from mien.errors import MediaError


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    Image.fromarray(skimage.data.astronaut()[:200, 120:360]).save(path)
    return path


def explain(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_a_picture_and_a_verdict_for_each_map(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    called = explain(photo, "--method", "both", "--expression", "sad")

    assert called.exit_code == 0, called.output
    lines = called.stdout.splitlines()
    assert len(lines) == 2
    for line, method in zip(lines, ("grad-cam", "occlusion"), strict=True):
        assert line.startswith("1  sad ")
        assert f", {method}: The highlighted pixels " in line
    assert Image.open("explained.png").width > 3 * 240
    assert "written: explained.png" in called.stderr


def test_json_has_the_figures(photo: Path, tmp_path: Path, trained: Path) -> None:
    called = explain(photo, "--model", trained, "--json", "--output", tmp_path / "out.jpg")

    assert called.exit_code == 0, repr(called.exception)
    values = json.loads(called.stdout)
    assert values["source"] == str(photo)
    (face,) = values["faces"]
    assert face["explained"] == face["expression"]
    assert face["deletion"]["grad-cam"]["highlighted"][0] == pytest.approx(
        face["confidence"], abs=1e-4
    )
    assert Image.open(tmp_path / "out.jpg").format == "JPEG"


def test_no_face_leaves_no_picture(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "nobody.png")

    called = explain(tmp_path / "nobody.png", "--output", tmp_path / "out.png")

    assert isinstance(called.exception, MediaError)
    assert "nobody.png: no face found" in str(called.exception)
    assert not (tmp_path / "out.png").exists()


def test_outputs_are_checked_before_the_work(photo: Path, tmp_path: Path) -> None:
    before = photo.read_bytes()
    for output in (photo, tmp_path / "out.html"):
        assert explain(photo, "--output", output).exit_code == 2
    assert photo.read_bytes() == before
