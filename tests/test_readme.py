"""The README's commands and code run as they stand, on a real photo and small data."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from mien.data.dataset import ExpressionDataset
from mien.expressions import EXPRESSIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")

#: So that the training of an hour takes a second.
TINY = "--set epochs=1 --set progressive.epochs=0 --set model.widths=[8,16] --set model.blocks=1"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def mien_commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks("sh") for line in block.split("\n")]
    return [line for line in lines if line.startswith("mien ")]


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory,
    faces: ExpressionDataset,
    fer2013_csv: Callable[..., bytes],
) -> Path:
    """A folder that holds every file the README names."""
    folder = tmp_path_factory.mktemp("desk")
    photo = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    (folder / "photos").mkdir()
    shutil.copy(photo, folder / "photo.jpg")
    shutil.copy(photo, folder / "photos" / "one.jpg")
    (folder / "fer2013.csv").write_bytes(fer2013_csv(faces))
    for index, name in enumerate(faces.classes):
        (folder / "faces" / name).mkdir(parents=True)
        Image.fromarray(faces.images[index]).save(folder / "faces" / name / "0.png")
    shutil.make_archive(str(folder / "archive"), "zip", folder / "faces")
    return folder


def test_the_commands_run_in_their_order(desk: Path) -> None:
    ran = 0
    for command in mien_commands():
        if command.startswith("mien data download"):
            continue  # needs the network
        extra = TINY if command.startswith("mien train") else ""
        done = subprocess.run(
            f"{shlex.quote(sys.executable)} -m {command} {extra}",
            shell=True,
            cwd=desk,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "MIEN_CACHE": str(desk / "cache")},
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        ran += 1
    assert ran >= 9
    for made in (
        "faces.csv",
        "faces.json",
        "seen/one-mien.jpg",
        "mien-s.onnx",
        "runs/mien-s/best.ckpt",
    ):
        assert (desk / made).is_file(), made


def test_the_python_code_runs(desk: Path) -> None:
    for code in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] in EXPRESSIONS, done.stdout


def test_the_file_tree_names_what_is_there() -> None:
    (tree,) = [block for block in blocks("text") if "src/mien/" in block]
    parents: dict[int, Path] = {0: ROOT}
    named = set()
    for line in tree.splitlines():
        name = line.split("  ")[0] if not line.startswith(" ") else line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        path = parents[depth] / name.split()[0]
        assert path.exists(), f"the README names {path.relative_to(ROOT)}"
        parents[depth + 1] = path
        named.add(path)

    rooms = {path for path in (ROOT / "src/mien").iterdir() if not path.name.startswith(("_", "."))}
    rooms.discard(ROOT / "src/mien/py.typed")
    assert rooms <= named, f"the README leaves out {[path.name for path in rooms - named]}"


@pytest.mark.parametrize("document", ["README.md", "MODEL_CARD.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    assert "@@" not in text, "a placeholder was left"
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), target
