import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mien.errors import RecipeError
from mien.training.figures import (
    Figures,
    Measurement,
    find_packaged,
    format_accuracy,
    format_mean,
    load_figures,
    packaged_recipes,
    recipe_names,
)

RUNS = Path(__file__).parents[2] / "benchmarks" / "runs"


def measurement(**values: Any) -> dict[str, Any]:
    facts = {
        "seeds": [0, 1],
        "accuracy": [0.66, 0.68],
        "macro_f1": [0.6, 0.7],
        "minutes": [9, 11.5],
        "machine": "two cores",
        "command": "mien train x",
    }
    return {**facts, **values}


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(entry: Any) -> Path:
        path = tmp_path / "figures.json"
        path.write_text(json.dumps({"x": entry}), "utf-8")
        return path

    return write


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_its_figures(name: str) -> None:
    assert name in load_figures()


@pytest.mark.parametrize(
    "name", [path.name for path in sorted(RUNS.iterdir()) if path.name in recipe_names()]
)
def test_figures_are_those_of_the_run_that_is_kept(name: str) -> None:
    measured = load_figures()[name].measured
    assert measured is not None
    first, *others = measured.seeds
    folders = [RUNS / name, *(RUNS / f"{name}-seed-{seed}" for seed in others)]
    told = [json.loads((run / "evaluation-PublicTest.json").read_text()) for run in folders]
    runs = [json.loads((run / "run.json").read_text()) for run in folders]

    assert [each["seed"] for each in told] == [first, *others]
    assert measured.accuracy == tuple(each["accuracy"] for each in told)
    assert measured.macro_f1 == tuple(each["macro_f1"] for each in told)
    assert measured.without_copies == tuple(each["unseen"]["accuracy"] for each in told)
    if "left out" not in measured.note:  # of a pause on the way
        assert measured.minutes == tuple(run["minutes"] for run in runs)
    assert {measured.parameters} == {run["parameters"] for run in runs}


def test_figures_are_read_as_written(written: Any) -> None:
    path = written({"reported": "44 % test", "measured": measurement(split="PrivateTest")})
    figures = load_figures(path)["x"]

    assert figures.reported == "44 % test"
    assert isinstance(figures.measured, Measurement)
    assert figures.measured.minutes == (9, 11.5)
    assert format_accuracy(figures.measured) == "67.00 ± 1.41 % of PrivateTest, 2 seeds"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ([], "expected a table"),
        ({}, "reason: expected a text if, and only if, nothing is measured"),
        ({"reason": "why", "measured": measurement()}, "if, and only if"),
        ({"reason": "why", "reproted": "1 %"}, "reproted"),
        ({"reason": 3}, "reason: expected a text, got 3"),
        ({"measured": 67.2}, "measured: expected a table"),
        ({"measured": measurement(mean=0.67)}, "mean"),
        ({"measured": {"seeds": [0]}}, "missing"),
        ({"measured": measurement(seeds=[])}, "seeds"),
        ({"measured": measurement(seeds=[1, 1])}, "different seeds"),
        ({"measured": measurement(seeds=[0.5, 1])}, "whole numbers"),
        ({"measured": measurement(accuracy=0.67)}, "accuracy: expected numbers, 2 of them"),
        ({"measured": measurement(accuracy=[0.67])}, "2 of them, one a seed"),
        ({"measured": measurement(without_copies=[0.67])}, "2 of them, one a seed"),
        ({"measured": measurement(accuracy=[67.2, 66.8])}, "accuracy: expected 0 to 1"),
        ({"measured": measurement(minutes=[3, "4"])}, "minutes: expected numbers"),
        ({"measured": measurement(split="Test")}, "split"),
        ({"measured": measurement(machine="")}, "machine: expected a text"),
        ({"measured": measurement(parameters="2.8 M")}, "parameters: expected a whole number"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(written: Any, entry: Any, reason: str) -> None:
    path = written(entry)
    with pytest.raises(RecipeError, match=reason) as caught:
        load_figures(path)

    assert str(caught.value).startswith(f"{path}: x: ")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text("{")
    with pytest.raises(RecipeError, match="not a readable JSON file"):
        load_figures(tmp_path / "figures.json")


def test_a_spread_needs_two_values() -> None:
    assert format_mean([0.66], 2) == "0.66"
    assert format_mean([1, 2, 3], 1) == "2.0 ± 1.0"


def test_recipes_are_listed_with_title_source_and_figures() -> None:
    recipes = {recipe.name: recipe for recipe in packaged_recipes()}

    assert list(recipes) == recipe_names()
    assert recipes["vgg"].source == "Nguyen, Thai and Pham, 2025"
    assert "macro-F1 0.692" in recipes["vgg"].figures.reported
    assert recipes["mien-s"].source == ""
    assert all(recipe.title for recipe in recipes.values())


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="unknown recipe 'mein-s': did you mean 'mien-s'"):
        find_packaged("mein-s")
    with pytest.raises(RecipeError):
        find_packaged("../recipes/vgg")


def test_nothing_measured_needs_a_reason() -> None:
    assert Figures(reason="not measured yet").measured is None
    with pytest.raises(RecipeError):
        Figures()


def test_figures_are_read_without_torch() -> None:
    code = (
        "import sys; from mien.training.figures import packaged_recipes; packaged_recipes(); "
        "assert not {'torch', 'lightning', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
