"""The protocol between the command and a package's own process."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.expressions import EXPRESSIONS
from participant import Participant, RivalError, last_words, worker_variables


def start(
    folder: Path, *, python: Path = Path(sys.executable), adapter: str = "mien", **settings: float
) -> Participant:
    return Participant(
        python, adapter, folder=folder, log=folder / "logs" / "x.txt", threads=1, **settings
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rivals")


@pytest.fixture(scope="module")
def photo(folder: Path) -> Path:
    path = folder / "photo.png"
    Image.new("RGB", (64, 64), "grey").save(path)
    return path


@pytest.fixture(scope="module")
def crops(folder: Path) -> Path:
    path = folder / "crops.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (70, 48, 48)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def mien(folder: Path, photo: Path) -> Iterator[Participant]:
    with start(folder) as participant:
        answer = participant.ask("open", photo=str(photo), threads=1)
        assert answer == {"weights": "own", "faces": 0, "ways": ["ready", "default"]}
        yield participant


def test_faces_are_read_beyond_one_batch(mien: Participant, crops: Path) -> None:
    names = mien.ask("read", faces=str(crops), way="ready")

    assert len(names) == 70
    assert set(names) <= set(EXPRESSIONS)


def test_times_are_told_for_each_call(mien: Participant, crops: Path, photo: Path) -> None:
    faces_ms = mien.ask("time_faces", faces=str(crops), batch=64, repeats=3)
    photos_ms = mien.ask("time_photo", photo=str(photo), repeats=2)

    assert (len(faces_ms), len(photos_ms)) == (3, 2)
    assert min(*faces_ms, *photos_ms) > 0


def test_an_error_is_one_line_and_the_process_goes_on(mien: Participant, folder: Path) -> None:
    with pytest.raises(RivalError, match=r"MediaError: .*nothing\.png"):
        mien.ask("time_photo", photo=str(folder / "nothing.png"), repeats=1)

    assert mien.ask("memory") > 10


def test_an_adapter_that_cannot_be_imported_is_an_answer(folder: Path, photo: Path) -> None:
    # The package is not there: as in an environment that was not made for it.
    with (
        start(folder, adapter="hsemotion_onnx_that_is_not_there") as participant,
        pytest.raises(RivalError, match="ModuleNotFoundError"),
    ):
        participant.ask("open", photo=str(photo), threads=1)


def test_nothing_is_read_before_it_is_opened(folder: Path, photo: Path) -> None:
    with (
        start(folder) as participant,
        pytest.raises(RivalError, match="before it was opened"),
    ):
        participant.ask("time_photo", photo=str(photo), repeats=1)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_process_that_dies_says_its_last_words(tmp_path: Path) -> None:
    python = script(tmp_path / "python", "echo 'no such instruction' >&2; exit 3")

    with (
        start(tmp_path, python=python) as participant,
        pytest.raises(RivalError, match="its process ended with 3: no such instruction"),
    ):
        participant.ask("memory")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_silent_process_is_ended(tmp_path: Path) -> None:
    python = script(tmp_path / "python", "exec sleep 60")

    with (
        start(tmp_path, python=python, patience_s=0.2) as participant,
        pytest.raises(RivalError, match=r"silent for 0\.2 s"),
    ):
        participant.ask("memory")


def test_workers_see_their_threads_and_no_python_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "src")

    variables = worker_variables(tmp_path, 3)

    assert "PYTHONPATH" not in variables
    assert variables["OMP_NUM_THREADS"] == variables["TF_NUM_INTRAOP_THREADS"] == "3"
    assert variables["HOME"] == str(tmp_path / "home")


def test_last_words_are_the_last_line_that_says_something() -> None:
    assert last_words("Traceback\n  File x\nValueError: bad\n\n \n") == "ValueError: bad"
    assert last_words("x" * 500) == "x" * 200
    assert last_words("\n \n") == ""
