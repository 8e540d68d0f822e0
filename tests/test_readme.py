"""The README's commands and code run as they stand, on a real photo and small data."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from mien.cli import main
from mien.data.dataset import ExpressionDataset
from mien.expressions import EXPRESSIONS, UNCERTAIN

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")

#: So that the training of an hour takes a second.
ONE_EPOCH = "--set epochs=1 --set batch_size=32"
SMALL_PLAIN = f"{ONE_EPOCH} --set model.widths=[4,4,4] --set model.dense=[8]"
TINY = {
    "mien train residual": f"{ONE_EPOCH} --set progressive.epochs=0 --set model.widths=[8,16]"
    " --set model.blocks=1",
    "mien train deep-cnn": SMALL_PLAIN,
    "mien fine-tune": ONE_EPOCH,
    "mien tune deep-cnn": SMALL_PLAIN,
    "mien sweep cnn-70": f"{ONE_EPOCH} --set model.widths=[4,4,4,4] --set model.dense=[8]",
    "mien lr-range deep-cnn": f"{SMALL_PLAIN} --steps 10",
    "mien data balance": "--to 10",
    "mien cross-validate hog-logistic": "--set model.kernel=linear",
}


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
    for index, image in enumerate(faces.images[:70]):
        path = folder / "faces" / faces.classes[faces.labels[index]] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    shutil.make_archive(str(folder / "archive"), "zip", folder / "faces")
    (folder / "clips").mkdir()
    write_clip(folder / "clip.mp4", photo)
    shutil.copy(folder / "clip.mp4", folder / "clips" / "one.mp4")
    return folder


def write_clip(path: Path, photo: Path) -> None:
    """Write a second and a half of a photo that moves to the right."""
    with Image.open(photo) as image:
        still = np.asarray(image.convert("RGB").resize((256, 300)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 256, 300, "yuv420p"
        for step in range(15):
            frame = av.VideoFrame.from_ndarray(np.roll(still, 2 * step, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def run_in_a_shell(command: str) -> None:
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m {command}",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def run_in_this_process(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, command


def test_the_commands_run_in_their_order(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("MIEN_CACHE", str(desk / "cache"))
    ran, kinds = 0, set[tuple[str, ...]]()
    for command in mien_commands():
        if command.startswith(("mien data download", "mien serve")):
            continue  # one needs the network, the other runs on until it is stopped
        extra = next((more for start, more in TINY.items() if command.startswith(start)), "")
        words = command.split()
        kind = tuple(words[1:3] if words[1] == "data" else words[1:2])
        # The first of each kind as a user runs it; a process for all of them takes a minute more.
        if kind not in kinds or ">" in words:
            run_in_a_shell(f"{command} {extra}")
        else:
            run_in_this_process(f"{command} {extra}", monkeypatch)
        kinds.add(kind)
        ran += 1
    assert ran >= 24
    for made in (
        "faces.csv",
        "faces.json",
        "seen/one-mien.jpg",
        "faces.html",
        "seen.mp4",
        "all.parquet",
        "drawn/one.html",
        "later.csv",
        "me.mp4",
        "residual.onnx",
        "residual-int8.onnx",
        "runs/residual/best.ckpt",
        "residual.html",
        "exploration.html",
        "balanced/train/disgust",
        "runs/mine/best.ckpt",
        "deep.svg",
        "both.json",
        "comparison.html",
        "lr.png",
        "runs/tuned/best.toml",
        "runs/curve/sweep.png",
        "audit.html",
        "cleaned.json",
        "labels.html",
        "runs/residual/calibration.json",
        "trust.html",
        "trust.json",
        "explained.png",
        "significance.html",
    ):
        assert (desk / made).exists(), made


def test_the_python_code_runs(desk: Path) -> None:
    first, *others = blocks("python")
    assert others
    for code in (first, *others):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
        if code == first:
            assert done.stdout.splitlines()[0] in (*EXPRESSIONS, UNCERTAIN), done.stdout


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


def test_the_table_of_recipes_is_what_the_command_prints() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "mien", "recipes", "--markdown"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    assert printed in README
    assert printed in (ROOT / "benchmarks" / "RESULTS.md").read_text("utf-8")


@pytest.mark.parametrize(
    "document", ["README.md", "MODEL_CARD.md", "CHANGELOG.md", "docs/recipes.md"]
)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    assert "@@" not in text, "a placeholder was left"
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), target
