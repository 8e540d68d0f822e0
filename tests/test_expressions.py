import doctest

import pytest

from mien import expressions, results
from mien.errors import ModelError
from mien.expressions import (
    ALIASES,
    DATASET_CODES,
    EXPRESSIONS,
    FERPLUS_COLUMNS,
    UNCERTAIN,
    check_uncertain_below,
    nearest_name,
    parse_expression,
)


def test_the_order_is_fer2013s() -> None:
    assert EXPRESSIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert list(DATASET_CODES["fer2013"].values()) == list(EXPRESSIONS)


@pytest.mark.parametrize("codes", [ALIASES, FERPLUS_COLUMNS, *DATASET_CODES.values()])
def test_every_map_leads_to_the_seven_or_to_none(codes: dict[object, str | None]) -> None:
    assert set(codes.values()) <= {*EXPRESSIONS, None}


@pytest.mark.parametrize("name", ["affectnet", "raf-db", "ck+"])
def test_other_data_sets_know_all_seven(name: str) -> None:
    assert set(DATASET_CODES[name].values()) >= set(EXPRESSIONS)


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [("Happiness", "happy"), (" ANGER ", "angry"), ("fearful", "fear"), ("neutral", "neutral")],
)
def test_usual_spellings_are_understood(spelling: str, expected: str) -> None:
    assert parse_expression(spelling) == expected


def test_an_unknown_spelling_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown expression 'hapy'.*did you mean 'happy'"):
        parse_expression("hapy")
    with pytest.raises(ValueError, match="expected one of angry"):
        parse_expression("cat")


def test_nothing_is_near_to_nonsense() -> None:
    assert nearest_name("zzzz", EXPRESSIONS) is None


@pytest.mark.parametrize("module", [expressions, results])
def test_examples_in_the_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_uncertain_is_none_of_the_seven() -> None:
    assert UNCERTAIN not in {*EXPRESSIONS, *ALIASES}
    with pytest.raises(ValueError, match="unknown expression"):
        parse_expression(UNCERTAIN)


def test_a_limit_is_a_probability_and_a_class_of_that_name_leaves_none() -> None:
    for fine in (0, 0.4, 1):
        check_uncertain_below(fine, EXPRESSIONS)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="must be 0 to 1"):
            check_uncertain_below(wrong, EXPRESSIONS)
    check_uncertain_below(0, ("happy", UNCERTAIN))
    with pytest.raises(ModelError, match="of its own"):
        check_uncertain_below(0.4, ("happy", UNCERTAIN))
