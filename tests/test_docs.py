"""The documentation's links, commands and code; `make docs` builds the site itself."""

import importlib.util
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import mien
from mien.cli.app import app
from mien.models import CLASSICAL, MODELS
from mien.training.recipe import Recipe

ROOT: Any = get_command(app)
DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
#: Every command by its full name.
COMMANDS = [
    (f"mien {outer}" if command is child else f"mien {outer} {inner}", child)
    for outer, command in ROOT.commands.items()
    for inner, child in getattr(command, "commands", {outer: command}).items()
]
#: Those that docs/hooks/repository.py brings from elsewhere in the repository.
BROUGHT = {"model-card.md", "benchmarks.md", "changelog.md"}
#: What their pages show runs in a second or two, one page after another in a folder of its own.
CHEAP = (
    "index.md",
    "tutorials/photos.md",
    "tutorials/video.md",
    "how-to/tables.md",
    "how-to/uncertain.md",
    "how-to/switch.md",
)
#: What their pages show is asked of a service.
ASKING = ("tutorials/service.md", "how-to/call.md")


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text("utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`]*`", "", text)


def shown_commands(page: str) -> Iterator[list[str]]:
    """Yield the words of every command of mien that a page shows in a block."""
    for block in blocks(page, "sh") + blocks(page, "text"):
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.match(r"(?:[A-Z_0-9]+=\S+ )*(mien .*)", line):
                yield shlex.split(match[1], comments=True)


def options_of(command: Any) -> set[str]:
    names = (name for option in command.params for name in (*option.opts, *option.secondary_opts))
    return {name for name in names if name.startswith("-")}


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words name, and its arguments."""
    command = ROOT
    _, *rest = words
    while rest and (inner := getattr(command, "commands", None)) is not None:
        assert rest[0] in inner, f"no command {' '.join(words)}"
        command, rest = inner[rest[0]], rest[1:]
    return command, rest


def shown_defaults() -> dict[str, dict[str, str]]:
    """Return the defaults by key, as JSON, of each table of keys on the recipes' page."""
    _, _, page = (DOCS / "recipes.md").read_text("utf-8").partition("## Every key\n")
    shown = {}
    for section in re.split(r"^##+ ", page, flags=re.MULTILINE):
        lines = re.findall(r"^\| (.*) \|$", section, flags=re.MULTILINE)
        rows = [[cell.strip("`") for cell in line.split(" | ")] for line in lines]
        # Between the keys and what they are; baselines with the same keys share a table.
        names = rows[0][1:-1] if rows else []
        for column, name in enumerate(names, start=1):
            table = section.partition("\n")[0].strip("`") if name == "default" else name
            cells = {row[0]: row[column] for row in rows[1:] if row[column] != "–"}
            shown[table] = {key: as_json(cell) for key, cell in cells.items()}
    return shown


def as_json(toml: str) -> str:
    return json.dumps(tomllib.loads(f"value = {toml}")["value"])


def defaults_of(kind: Any) -> dict[str, str]:
    return {item.name: json.dumps(item.default) for item in fields(kind)}


def recipe_defaults() -> dict[str, dict[str, str]]:
    """Return the defaults by key, as JSON, of each table that a recipe can have."""
    items = {item.name: item for item in fields(Recipe)}
    # A recipe's name is its file's, and each model's options have a table of their own.
    del items["name"], items["model"]
    top: dict[str, str] = {}
    found = {"At the top": top, "[model]": {"name": json.dumps(items.pop("model_name").default)}}
    for name, item in items.items():
        if item.default_factory is MISSING:
            top[name] = json.dumps(item.default)
        else:
            found[f"[{name}]"] = defaults_of(item.default_factory)
    return found | {name: defaults_of(kind) for name, kind in {**MODELS, **CLASSICAL}.items()}


@pytest.fixture(scope="module")
def cli_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "cli_reference", DOCS / "hooks" / "cli_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder that holds every file which the pages name."""
    photo = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    (tmp_path / "photos").mkdir()
    shutil.copy(photo, tmp_path / "photo.jpg")
    shutil.copy(photo, tmp_path / "photos" / "one.jpg")
    with Image.open(photo) as image:
        image.convert("L").resize((48, 48)).save(tmp_path / "crop.png")
        still = np.asarray(image.convert("RGB").resize((128, 150)))
    (tmp_path / "clips").mkdir()
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 150, "yuv420p"
        for step in range(10):
            frame = av.VideoFrame.from_ndarray(np.roll(still, step, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "clips" / "one.mp4")
    return tmp_path


def run_block(
    command: list[str], desk: Path, port: int, *, timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    """Run what a page shows, the last word of a command, on the desk and with that service."""
    *program, code = command
    return subprocess.run(
        [*program, code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")],
        cwd=desk,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env={**os.environ, "no_proxy": "127.0.0.1"},
    )


def run_page(page: str, desk: Path, port: int = 8000) -> str:
    """Run a page's shell blocks in one shell, then its Python; return what they print."""
    script = re.sub(r"^pip install .*$", "", "\n".join(blocks(page, "sh")), flags=re.MULTILINE)
    called = f'mien() {{ {shlex.quote(sys.executable)} -m mien "$@"; }}'
    script = f"set -euo pipefail\n{called}\n{script}"
    commands = [["bash", "-c", script]]
    commands += [[sys.executable, "-c", code] for code in blocks(page, "python")]
    printed = ""
    for command in commands:
        done = run_block(command, desk, port, timeout_s=120)
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
        printed += done.stdout
    return printed


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(\s*([^)\s]+)\)", prose(page)):
        path = target.partition("#")[0]
        if path and "://" not in target:
            meant = (DOCS / page).parent / path
            brought = os.path.relpath(meant, DOCS) in BROUGHT
            assert brought or meant.exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_called_as_they_can_be(page: str) -> None:
    for line in shown_commands(page):
        # From a pipe on the words are the shell's.
        words = list(itertools.takewhile(lambda word: word not in "|><&;", line))
        command, arguments = find_command(words)
        try:
            command.make_context(" ".join(words), arguments)
        except Exception as error:
            pytest.fail(f"{page} shows {' '.join(words)}: {error}")


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_a_sentence_are_there(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text("utf-8"), flags=re.M | re.S)
    for code in re.findall(r"`([^`\n]+)`", text):
        words = code.split()
        if words[0] == "mien" and len(words) > 1 and not words[1].isupper():
            command, arguments = find_command(words)
            options = {word.partition("=")[0] for word in arguments if word.startswith("--")}
            assert options <= options_of(command) | {"--help"}, f"{page}: {code}"
        elif words[0].startswith("--"):
            option = words[0].partition("=")[0]
            assert any(option in options_of(command) for _, command in COMMANDS), f"{page}: {code}"


def test_the_reference_has_every_command_and_option(cli_reference: ModuleType) -> None:
    told = cli_reference.reference()

    assert cli_reference.PLACE in (DOCS / "reference" / "commands.md").read_text("utf-8")
    sections = dict(part.split("\n", 1) for part in told.removeprefix("## ").split("\n\n## "))
    assert set(sections) == {name for name, _ in COMMANDS}
    for name, command in COMMANDS:
        for option in options_of(command):
            assert option in sections[name], f"{name}: {option}"
    lines = [line for line in told.splitlines() if line.startswith("|")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in lines), "a table is torn"


def test_the_reference_has_every_public_name() -> None:
    page = (DOCS / "reference" / "python.md").read_text("utf-8")

    shown = re.findall(r"^::: (\S+)$", page, flags=re.MULTILINE)
    for name in set(mien.__all__) - {"__version__", "EXPRESSIONS"}:
        # Not imported: what trains takes seconds.
        assert f"{mien._HOMES[name]}.{name}" in shown
    assert "\n### EXPRESSIONS\n" in page
    assert ", ".join(mien.EXPRESSIONS) in " ".join(page.split())


def test_the_recipes_page_has_every_key_with_its_default() -> None:
    shown, there = shown_defaults(), recipe_defaults()

    assert set(shown) == set(there)
    for table, keys in there.items():
        assert shown[table] == keys, table


@pytest.mark.parametrize("page", CHEAP)
def test_what_a_page_shows_runs(page: str, desk: Path) -> None:
    assert run_page(page, desk)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where a service answers."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--no-page", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr is not None
            address = re.search(r"127\.0\.0\.1:(\d+)", service.stderr.readline())
            assert address is not None
            yield int(address[1])
        finally:
            service.terminate()


def test_what_is_asked_of_a_service_is_answered(desk: Path, port: int) -> None:
    for answer in (run_page(page, desk, port) for page in ASKING):
        assert '"result":' in answer
        assert "urn:mien:problem" not in answer
    assert (desk / "rows.csv").read_text("utf-8").startswith("source,frame,")


def test_a_clip_that_is_refused_is_not_waited_for(desk: Path, port: int) -> None:
    (desk / "clip.mp4").write_text("no clip")
    (script,) = (block for block in blocks("how-to/call.md", "sh") if "/v1/video" in block)

    done = run_block(["bash", "-c", script], desk, port, timeout_s=60)

    assert "error: 422" in done.stderr
    assert not (desk / "rows.csv").exists()
