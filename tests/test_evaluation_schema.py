"""docs/evaluation.schema.json holds for what is written, and says all of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mien.data.dataset import ExpressionDataset
from mien.evaluation import evaluate
from mien.evaluation.evaluation import PARTS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((ROOT / "docs/evaluation.schema.json").read_text("utf-8"))
    return loaded


def test_a_full_evaluation_is_as_the_schema_says(
    trained: Path, faces: ExpressionDataset, schema: dict[str, Any], tmp_path: Path
) -> None:
    evaluation = evaluate(trained, faces, "PublicTest", parts=PARTS)
    evaluation.write(tmp_path / "full.json")
    written = json.loads((tmp_path / "full.json").read_text("utf-8"))

    assert None not in [written[part] for part in (*PARTS, "calibration", "training", "unseen")]
    jsonschema.Draft202012Validator(schema).validate(written)


def test_a_plain_evaluation_is_as_the_schema_says(
    trained: Path, faces: ExpressionDataset, schema: dict[str, Any]
) -> None:
    plain = json.loads(evaluate([trained], faces, "PublicTest", tta="flip").to_json())

    jsonschema.Draft202012Validator(schema).validate(plain)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({**plain, "accuracy": 68.2})


def test_figures_kept_with_the_code_are_as_the_schema_says(schema: dict[str, Any]) -> None:
    older = {**schema, "required": ["model", "split", "accuracy", "confusion"]}
    kept = sorted((ROOT / "benchmarks/runs").glob("*/evaluation-*.json"))

    assert kept
    for path in kept:
        jsonschema.Draft202012Validator(older).validate(json.loads(path.read_text("utf-8")))


def test_every_property_is_described(schema: dict[str, Any]) -> None:
    def top(properties: dict[str, Any]) -> Iterator[str]:
        for name, each in properties.items():
            told = [each, *each.get("anyOf", ())]
            if not any(one.get("description") for one in told):
                yield name

    assert list(top(schema["properties"])) == []
