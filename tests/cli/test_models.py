import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import RecipeError
from mien.models import CLASSICAL, MODELS


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return result.stdout


def column(shown: str, name: str) -> list[int]:
    """Return the numbers that end where the column's header does."""
    lines = shown.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("layer"))
    end = lines[first].index(name) + len(name)
    cells = [line[end - len(name) - 2 : end].strip() for line in lines[first + 1 : -4]]
    return [int(cell.replace(",", "")) for cell in cells if cell]


def test_every_network_is_listed() -> None:
    shown = call()
    listed = {facts["name"]: facts for facts in json.loads(call("--json"))}

    assert set(listed) == set(MODELS)
    assert "2,838,087" in shown
    assert "78,065,408" in shown
    assert all(name in shown for name in CLASSICAL)
    assert listed["residual"]["parameters"] == listed["residual"]["trainable_parameters"] == 2838087
    assert listed["plain"]["description"].startswith("Blocks of convolutions")


@pytest.mark.parametrize("depth", ["1", "2", "3", "9", None])
def test_the_columns_add_up_and_fit_at_every_depth(depth: str | None) -> None:
    shown = call("residual", "--set", "model.blocks=4", *(["--depth", depth] if depth else []))
    whole = json.loads(call("residual", "--set", "model.blocks=4", "--json"))

    assert max(map(len, shown.splitlines())) <= 100
    assert sum(column(shown, "parameters")) == whole["parameters"]
    assert sum(column(shown, "multiply-adds")) == whole["multiply_adds"]


@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_shown(name: str) -> None:
    assert "multiply-adds a face" in call(name, "--depth", "1")


def test_repeats_are_one_row() -> None:
    shown = call("residual", "--set", "model.blocks=4", "--depth", "3")

    assert "1–3" in shown
    assert "3 × ResidualBlock" in shown


def test_a_recipes_network_with_other_options_and_classes() -> None:
    options = ("--set", "model.widths=[8]", "--set", "model.convolutions=[1]")
    plain = json.loads(call("plain", *options, "--classes", "3", "--json"))
    vgg = json.loads(call("--recipe", "vgg", "--set", "model.dense=[64]", "--json"))
    layers = {layer["name"]: layer for layer in vgg["layers"]}

    assert plain["output_shape"] == [3]
    assert plain["layers"][0]["output_shape"] == [8, 24, 24]
    assert layers["dense"]["output_shape"] == [64]
    assert vgg["parameters"] == sum(layer["parameters"] for layer in vgg["layers"])


@pytest.mark.parametrize("network", [("residual",), ("--recipe", "basic-cnn")])
def test_classes_of_the_recipe_are_counted(network: tuple[str, ...]) -> None:
    fewer = (*network, "--set", 'data.classes=["happy", "sad"]')

    assert json.loads(call(*fewer, "--json"))["output_shape"] == [2]
    assert json.loads(call(*fewer, "--classes", "3", "--json"))["output_shape"] == [3]


def test_a_diagram_is_drawn(tmp_path: Path) -> None:
    call("--recipe", "basic-cnn", "--diagram", str(tmp_path / "net.svg"))

    assert ElementTree.parse(tmp_path / "net.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["residaul"], "unknown model 'residaul': did you mean 'residual'"),
        (["plain", "--set", "model.width=[3]"], "did you mean 'model.widths'"),
        (["plain", "--set", "widths=[8]"], "did you mean 'model.widths'"),
        (["plain", "--set", "epochs=3"], "unknown key 'epochs': expected one of model.widths"),
        (["nope"], "expected one of plain, residual, timm"),
        (["vgg"], "vgg is a recipe, no network: mien models --recipe vgg"),
        (["--recipe", "vggg"], "did you mean 'vgg'"),
    ],
)
def test_mistakes_name_the_nearest(arguments: list[str], reason: str) -> None:
    error = CliRunner().invoke(app, ["models", *arguments]).exception

    assert isinstance(error, RecipeError)
    assert reason in str(error)


@pytest.mark.parametrize(
    "arguments",
    [
        ["plain", "--recipe", "vgg"],
        ["--diagram", "a.svg"],
        ["--depth", "2"],
        ["plain", "--depth", "0"],
        ["hog_svm"],
    ],
)
def test_a_wrong_call_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["models", *arguments]).exit_code == 2


def test_a_frozen_recipe_trains_what_comes_after_its_features() -> None:
    facts = json.loads(call("--recipe", "deep-cnn", "--set", "frozen=true", "--json"))
    whole = json.loads(call("--recipe", "deep-cnn", "--json"))

    after = [layer for layer in whole["layers"] if layer["name"].startswith(("dense", "head"))]
    assert facts["parameters"] == whole["trainable_parameters"]
    assert facts["trainable_parameters"] == sum(layer["parameters"] for layer in after)
    assert 0 < facts["trainable_parameters"] < facts["parameters"]
