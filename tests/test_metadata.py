import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien.errors import ModelError
from mien.metadata import (
    BEST,
    SCHEMA,
    CropGeometry,
    ModelMetadata,
    file_sha256,
    model_file,
    model_path,
)

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
    temperature=1.3,
    uncertain_below=0.25,
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


@pytest.mark.parametrize(
    "data",
    [
        {"breaches": "one"},
        {"calibration": {"breaches": 3}},
        {"quantization": []},
        {"members": {}},
        {"members": [None]},
    ],
)
def test_breaches_that_are_no_lists_are_told(data: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="damaged"):
        ModelMetadata.from_strings(replace(FACTS, data=data).to_strings())


def test_a_file_from_before_calibration_is_as_its_network_answers() -> None:
    strings = FACTS.to_strings()
    del strings["mien.temperature"], strings["mien.uncertain_below"]

    facts = ModelMetadata.from_strings(strings)

    assert facts == replace(FACTS, temperature=1, uncertain_below=0)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("temperature", ["0", "-1", "NaN", "Infinity", "null", '"warm"', "[1]"]),
        ("uncertain_below", ["-0.1", "1.1", "NaN", "null", '"some"']),
    ],
)
def test_a_calibration_out_of_range_is_told(name: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(ModelError, match="damaged"):
            ModelMetadata.from_strings({**FACTS.to_strings(), f"mien.{name}": text})


def test_a_class_called_uncertain_is_told_as_any_other() -> None:
    own = replace(FACTS, classes=("happy", "uncertain"), uncertain_below=0)

    assert ModelMetadata.from_strings(own.to_strings()) == own
    strings = {**own.to_strings(), "mien.uncertain_below": "0.5"}
    with pytest.raises(ModelError, match="a class 'uncertain' of its own"):
        ModelMetadata.from_strings(strings)


def test_the_embedded_model_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mien-s", Path("mien-s")):
        assert model_path(name) == model_path(None) == model_file(name)
    assert model_path(None).is_file()
    assert model_path("mien-m") == Path("mien-m")

    Path("mien-s").mkdir()
    assert model_path("mien-s") == Path("mien-s"), "what is here comes first"
    assert model_file("mien-s") == Path("mien-s", BEST)
    assert model_path(None).is_file()


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"abc")

    assert file_sha256(path).startswith("ba7816bf")
