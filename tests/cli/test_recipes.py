import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import RecipeError
from mien.training.figures import RECIPES, recipe_names
from mien.training.recipe_file import load_recipe


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["recipes", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_has_reported_and_measured_figures() -> None:
    lines = {line.split()[0]: line for line in call().splitlines() if line.split()}

    assert set(recipe_names()) <= set(lines)
    assert "68.46 %, one seed" in lines["residual"]
    assert "44 % test" in lines["basic-cnn"]


def test_one_recipe_is_printed_with_its_figures_and_is_one_still(tmp_path: Path) -> None:
    text = call("residual")
    (tmp_path / "residual.toml").write_text(text, "utf-8")

    assert text.endswith((RECIPES / "residual.toml").read_text("utf-8"))
    assert "# ours on PublicTest: 68.46 %, one seed, macro-F1 0.657" in text
    assert load_recipe(tmp_path / "residual.toml") == load_recipe("residual")


def test_json_has_every_fact() -> None:
    every = json.loads(call("--json"))
    one = json.loads(call("residual", "--json"))

    assert [recipe["name"] for recipe in every] == recipe_names()
    assert one in every
    assert one["figures"]["measured"]["parameters"] == 2819527


def test_markdown_is_a_table_with_how_it_was_measured() -> None:
    table, notes = call("--markdown").split("\n\n")
    header, rule, *rows = table.splitlines()
    residual = next(row for row in rows if "| residual |" in row)

    assert len(rows) == len(recipe_names())
    assert {line.count("|") for line in (header, rule, *rows)} == {11}
    assert "| 68.46 %, one seed | 66.73 % | 0.657 | 2.82 M | 134 |" in residual
    assert "| `mien train residual` |" in residual
    assert any(
        line.startswith("- cnn-70: ") and "short of the report" in line
        for line in notes.splitlines()
    )


def test_one_recipe_without_a_note_is_a_table_alone() -> None:
    assert "\n\n" not in call("pca-knn", "--markdown")


def test_mistakes() -> None:
    unknown = CliRunner().invoke(app, ["recipes", "vggg"])

    assert isinstance(unknown.exception, RecipeError)
    assert "did you mean 'vgg'" in str(unknown.exception)
    assert CliRunner().invoke(app, ["recipes", "--json", "--markdown"]).exit_code == 2


@pytest.mark.parametrize("word", ["--markdown", "--json", "Example"])
def test_help(word: str) -> None:
    assert word in call("--help")
