import json

import pytest

from mien.errors import ModelError
from mien.metadata import SCHEMA, CropGeometry, ModelMetadata

FACTS = ModelMetadata(
    name="tiny",
    classes=("happy", "sad"),
    input_size=48,
    mean=0.5,
    std=0.25,
    colour="gray",
    crop=CropGeometry(left_eye_xy=(0.3, 0.4), right_eye_xy=(0.7, 0.4), mouth_xy=(0.5, 0.8)),
    version="0.1.0",
    recipe={"optimizer": {"lr": 0.1}},
    metrics={"PublicTest": {"accuracy": 0.7}},
)


def test_facts_survive_the_journey() -> None:
    assert ModelMetadata.from_strings(FACTS.to_strings()) == FACTS


def test_every_value_is_json() -> None:
    strings = FACTS.to_strings()

    assert all(key.startswith("mien.") for key in strings)
    assert json.loads(strings["mien.recipe"])["optimizer"]["lr"] == 0.1


def test_a_stranger_is_told_how_to_get_a_model() -> None:
    with pytest.raises(ModelError, match="mien export"):
        ModelMetadata.from_strings({"author": "somebody"})


def test_a_newer_schema_asks_for_an_update() -> None:
    strings = {**FACTS.to_strings(), "mien.schema": str(SCHEMA + 1)}

    with pytest.raises(ModelError, match="update mien"):
        ModelMetadata.from_strings(strings)


@pytest.mark.parametrize("key", ["mien.mean", "mien.crop", "mien.classes", "mien.schema"])
@pytest.mark.parametrize("text", ["", "{", '{"left": 1}', "null"])
def test_damage_is_told(key: str, text: str) -> None:
    with pytest.raises(ModelError):
        ModelMetadata.from_strings({**FACTS.to_strings(), key: text})


def test_a_missing_fact_is_told() -> None:
    strings = FACTS.to_strings()
    del strings["mien.std"]

    with pytest.raises(ModelError, match="damaged"):
        ModelMetadata.from_strings(strings)
