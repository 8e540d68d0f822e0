from collections.abc import Callable

import pytest

from mien.errors import RecipeError
from mien.training import Recipe, load_recipe
from mien.training.figures import recipe_names
from mien.training.search_space import (
    Choices,
    Interval,
    asks_for_votes,
    default_search,
    parse_search,
    parse_vary,
    refuse_test_split,
)


@pytest.mark.parametrize(
    ("spec", "dimension"),
    [
        ("optimizer.lr=1e-4..1e-1:log", Interval(key="optimizer.lr", low=1e-4, high=0.1, log=True)),
        ("augment.rotation_deg=0..20", Interval(key="augment.rotation_deg", low=0.0, high=20.0)),
        ("epochs=2..20", Interval(key="epochs", low=2, high=20)),
        ("batch_size=64|128", Choices(key="batch_size", values=("64", "128"))),
        ("optimizer.name=sgd|adamw", Choices(key="optimizer.name", values=("sgd", "adamw"))),
        ("model.widths=[8, 16]|[32]", Choices(key="model.widths", values=("[8, 16]", "[32]"))),
        ("title='a|b'|c", Choices(key="title", values=("'a|b'", "c"))),
    ],
)
def test_specs_are_read(
    spec: str, dimension: Choices | Interval, make_recipe: Callable[..., Recipe]
) -> None:
    assert parse_search([spec], make_recipe()) == (dimension,)


def test_whole_numbers_are_those_of_the_recipe(make_recipe: Callable[..., Recipe]) -> None:
    epochs, turn = parse_search(["epochs=2..20", "augment.rotation_deg=0..20"], make_recipe())

    assert isinstance(epochs, Interval)
    assert isinstance(turn, Interval)
    assert epochs.whole
    assert not turn.whole


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("optimizer.lrr=0.1..1", "did you mean 'optimizer.lr'"),
        ("optimiser.lr=0.1..1", "did you mean 'optimizer'"),
        ("lr=0.1..1", "did you mean 'optimizer.lr'"),
        ("batch_size=1.5..8", "expected a whole number"),
        ("batch_size=0..8", "expected 1 or more"),
        ("optimizer.lr=1..0.1", "1 is not below 0.1"),
        ("optimizer.weight_decay=0..1:log", "starts above 0"),
        ("optimizer.lr=0.1..1:lin", "':log' or nothing"),
        ("optimizer.name=1..2", "expected 'sgd'"),
        ("model.widths=1..2", "model.widths"),
        ("batch_size=64|64", "given twice"),
        ("batch_size=64|", "expected a whole number"),
        ("batch_size", "is not KEY="),
        ("data.validation=PublicTest|PrivateTest", "test split"),
    ],
)
def test_wrong_specs_are_told(spec: str, told: str, make_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(RecipeError, match=told):
        parse_search([spec], make_recipe())


def test_values_to_vary_are_separated_by_commas(make_recipe: Callable[..., Recipe]) -> None:
    specs = ["batch_size=8,16", "model.widths=[8, 16],[16, 32]"]

    assert parse_vary(specs, make_recipe()) == (
        Choices(key="batch_size", values=("8", "16")),
        Choices(key="model.widths", values=("[8, 16]", "[16, 32]")),
    )
    with pytest.raises(RecipeError, match="batch_size is given twice"):
        parse_vary(["batch_size=8", "batch_size=16"], make_recipe())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_a_default_search_around_its_values(name: str) -> None:
    recipe = load_recipe(name)
    if recipe.is_classical:
        with pytest.raises(RecipeError, match="name with --search"):
            default_search(recipe)
        return

    found = {dimension.key: dimension for dimension in default_search(recipe)}

    rate = found["optimizer.lr"]
    assert isinstance(rate, Interval)
    assert rate.low < recipe.optimizer.lr < rate.high
    assert ("model.block_dropout" in found) == (recipe.model_name == "plain")
    assert ("model.dropout" in found) == (name not in {"mien-s", "fine-tune"}), "no dense layers"
    assert all(
        str(dimension) == str(*parse_search([str(dimension)], recipe))
        for dimension in found.values()
    )


@pytest.mark.parametrize(
    ("spec", "asks"),
    [("data.votes=0|0.2", True), ("data.votes=0.0..0.5", True), ("batch_size=8|16", False)],
)
def test_votes_that_only_a_value_asks_for_are_noticed(
    spec: str, asks: bool, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe()

    assert asks_for_votes(recipe, parse_search([spec], recipe)) == asks
    assert asks_for_votes(make_recipe(data={"votes": 0.1}), ())


def test_the_test_split_is_for_the_end(make_recipe: Callable[..., Recipe]) -> None:
    refuse_test_split(make_recipe())
    with pytest.raises(RecipeError, match="PrivateTest is the test split"):
        refuse_test_split(make_recipe(data={"validation": "PrivateTest"}))
