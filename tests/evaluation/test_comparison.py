import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, DataError
from mien.evaluation import Evaluation, compare, evaluate
from mien.evaluation.calibration.calibrate import calibrate, write_calibration
from mien.evaluation.measures import ACCURACY, LATENCY, MEASURES, PARAMETERS
from mien.metadata import BEST


@pytest.fixture
def happy(tmp_path: Path, faces: ExpressionDataset, write_model: Callable[..., Path]) -> Path:
    """An evaluation of a model that always finds happy."""
    model = write_model(tmp_path / "happy.onnx", finds="happy")
    path = tmp_path / "happy.json"
    evaluate(model, faces, "PublicTest").write(path)
    return path


@pytest.fixture
def angry(tmp_path: Path, faces: ExpressionDataset, write_model: Callable[..., Path]) -> Path:
    model = write_model(tmp_path / "angry.onnx", finds="angry")
    path = tmp_path / "angry.json"
    evaluate(model, faces, "PublicTest").write(path)
    return path


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_differences_are_those_of_the_rates(happy: Path, angry: Path) -> None:
    comparison = compare([happy, angry])

    difference = comparison.confusion_difference(1)
    assert comparison.names == ("happy.onnx", "angry.onnx")
    assert (difference[:, comparison.classes.index("angry")] == 100).all()
    assert (difference[:, comparison.classes.index("happy")] == -100).all()
    assert (comparison.confusion_difference(0) == 0).all()


def test_the_best_is_the_higher_or_the_lower_and_ties_share(happy: Path, angry: Path) -> None:
    change(angry, accuracy=0.99, parameters=10**9)
    again = Path(shutil.copy(happy, happy.with_name("again.json")))
    comparison = compare([happy, angry, again])
    change(happy, accuracy=0.990001)
    alike = compare([happy, angry])

    assert comparison.best(ACCURACY) == {1}
    assert comparison.best(PARAMETERS) == {0, 2}
    assert alike.best(ACCURACY) == frozenset(), "both read 99.00 %"
    (epochs,) = [measure for measure in MEASURES if measure.name == "epochs"]
    assert comparison.best(epochs) == frozenset()
    assert epochs.text(comparison.evaluations[0]) == "–"


def test_models_of_one_name_are_told_apart(happy: Path) -> None:
    again = Path(shutil.copy(happy, happy.with_name("again.json")))

    first, second = compare([happy, again]).names

    assert first != second
    assert first.startswith("happy.onnx")


def test_the_same_source_twice_is_refused(happy: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="named more than once"):
        compare([happy, happy.parent / ".." / happy.parent.name / happy.name])
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.copy(happy, run / "evaluation-PublicTest.json")
    with pytest.raises(DataError, match="named more than once"):
        compare([run, run / "evaluation-PublicTest.json"])


def test_times_with_unlike_threads_have_no_best(happy: Path, angry: Path) -> None:
    latency = {"batch_1_ms": 1.0, "batch_64_ms": 1.0, "threads": 1}
    change(happy, latency=latency)
    change(angry, latency={**latency, "batch_1_ms": 2.0})
    assert compare([happy, angry]).best(LATENCY) == {0}

    change(angry, latency={**latency, "batch_1_ms": 2.0, "threads": 2})
    assert compare([happy, angry]).best(LATENCY) == frozenset()


def test_run_folders_are_read_by_split(
    trained: Path, faces: ExpressionDataset, happy: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"run 'mien evaluate .*run --split .* first"):
        compare([run, happy])

    evaluation = evaluate(run, faces, "PublicTest")
    evaluation.write(run / evaluation.file_name)

    read = compare([run, happy]).evaluations[0]
    assert read.to_dict() == {**evaluation.to_dict(), "training": read.to_dict()["training"]}
    assert read.training is not None
    with (run / BEST).open("ab") as file:
        file.write(b"trained on")
    with pytest.raises(CheckpointError, match=r"of an earlier best\.ckpt"):
        compare([run, happy])


def test_figures_of_another_temperature_are_not_compared(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    evaluation = evaluate(run, faces, "PublicTest")
    evaluation.write(run / evaluation.file_name)
    assert compare([run]).names == ("run",)

    write_calibration(calibrate(run, faces), run)
    with pytest.raises(CheckpointError, match=r"was measured before .* calibrated: run 'mien eval"):
        compare([run])
    evaluation = evaluate(run, faces, "PublicTest")
    evaluation.write(run / evaluation.file_name)
    assert compare([run]).evaluations[0].temperature != 1


@pytest.mark.parametrize(
    ("values", "told"), [({"split": "PrivateTest"}, "split"), ({"data": "0" * 64}, "data")]
)
def test_figures_of_other_faces_are_not_compared(
    happy: Path, angry: Path, values: dict[str, str], told: str
) -> None:
    change(angry, **values)

    with pytest.raises(DataError, match=f"their {told} differ"):
        compare([happy, angry])


def test_other_classes_are_not_compared(happy: Path, angry: Path) -> None:
    figures = json.loads(angry.read_text())["per_class"]
    change(angry, per_class={name.upper(): values for name, values in figures.items()})

    with pytest.raises(DataError, match="their classes differ"):
        compare([happy, angry])


def test_an_older_versions_file_is_read(happy: Path) -> None:
    values = json.loads(happy.read_text())
    for name in ("parameters", "multiply_adds", "file_bytes", "latency", "members", "training"):
        del values[name]

    evaluation = Evaluation.from_dict(values)

    assert evaluation.model == "happy.onnx"
    assert evaluation.model_sha256 == values["model_sha256"]
    assert PARAMETERS.text(evaluation) == "–"


def test_damage_is_told(happy: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such evaluation: write it with 'mien evaluate'"):
        compare([tmp_path / "none.json"])
    sound = happy.read_text()
    damages: tuple[dict[str, Any], ...] = (
        {"confusion": [[1]]},
        {"accuracy": None},
        {"accuracy": 2},
        {"accuracy": float("nan")},
        {"count": -1},
        {"count": 7.5},
        {"loss": 10**400},
        {"members": []},
        {"members": ["a"]},
        {"split": None},
        {"per_class": []},
        {"training": {"history": {}}},
        {"latency": {"threads": 1}},
    )
    for damage in damages:
        happy.write_text(sound)
        change(happy, **damage)
        with pytest.raises(CheckpointError, match=r"happy\.json: not an evaluation"):
            compare([happy])
    for text in ("[]", "{", '{"model": 1}'):
        happy.write_text(text)
        with pytest.raises(CheckpointError, match=r"happy\.json: not an evaluation"):
            compare([happy])
    happy.write_bytes(b"PK\x03\x04\xff\xfe" * 1000)
    with pytest.raises(CheckpointError, match=r"not JSON$"):
        compare([happy])
    happy.write_text("[" * 200_000)
    with pytest.raises(CheckpointError, match=r"nested too deeply$"):
        compare([happy])
    with pytest.raises(ValueError, match="nothing"):
        compare([])


def test_members_of_an_ensemble_are_named(
    happy: Path, angry: Path, faces: ExpressionDataset
) -> None:
    models = [happy.with_suffix(".onnx"), angry.with_suffix(".onnx")]
    one, other = (evaluate(model, faces, "PublicTest") for model in models)

    both = evaluate(models, faces, "PublicTest")

    assert both.model == "happy.onnx + angry.onnx"
    assert both.members == (*one.members, *other.members)
    assert both.model_sha256 not in {one.model_sha256, other.model_sha256}
    swapped = replace(both, members=both.members[::-1])
    assert swapped.model_sha256 != both.model_sha256


def test_what_was_against_the_protocol_is_told_of_each(happy: Path, angry: Path) -> None:
    assert compare([happy, angry]).cautions() == ()

    change(angry, breaches=["it remembers"], chosen_on=True)
    assert compare([happy, angry]).cautions() == (
        "angry.onnx: against the protocol: it remembers",
        "chosen on these faces, unlike the others: angry.onnx",
    )
    change(happy, chosen_on=True)
    assert compare([happy, angry]).cautions()[1:] == (
        "all were chosen on these faces, which flatters each",
    )


def test_noise_is_told_from_a_difference(happy: Path, angry: Path) -> None:
    again = Path(shutil.copy(happy, happy.with_name("again.json")))
    differences = compare([happy, angry, again]).differences()

    assert differences is not None
    other, same = differences
    labels = compare([happy]).evaluations[0].labels
    assert labels is not None
    assert other.only_first == (labels == 3).sum()
    assert other.only_second == (labels == 0).sum()
    assert same.p_value == 1
    assert same.is_noise


def test_an_older_evaluation_has_no_readings_to_test(happy: Path, angry: Path) -> None:
    values = json.loads(angry.read_text())
    angry.write_text(json.dumps({k: v for k, v in values.items() if k != "predictions"}))

    assert compare([happy, angry]).differences() is None


def test_readings_that_are_not_those_of_the_figures_are_refused(happy: Path) -> None:
    values = json.loads(happy.read_text())
    values["predictions"][0] = 0
    happy.write_text(json.dumps(values))

    with pytest.raises(CheckpointError, match="not those of the confusion matrix"):
        compare([happy])


def test_seeds_of_one_recipe_have_a_mean_and_a_spread(happy: Path, angry: Path) -> None:
    change(happy, recipe="tiny", recipe_sha256="r", seed=0, accuracy=0.5, macro_f1=0.4)
    change(angry, recipe="tiny", recipe_sha256="r", seed=1, accuracy=0.6, macro_f1=0.5)
    (spread,) = compare([happy, angry]).seed_spreads()

    assert spread.seeds == (0, 1)
    assert spread.text().startswith("tiny trained with seeds 0, 1: accuracy 55.00 ± 7.07 %")
    change(angry, recipe_sha256="another")
    assert compare([happy, angry]).seed_spreads() == ()


def test_seeds_are_held_together_by_the_data_that_they_were_trained_on(happy: Path) -> None:
    paths = []
    for data, seed, accuracy in (("a", 0, 0.5), ("a", 1, 0.6), ("b", 0, 0.7), ("b", 1, 0.9)):
        path = Path(shutil.copy(happy, happy.with_name(f"{data}{seed}.json")))
        recipe = {"recipe": "tiny", "recipe_sha256": "r", "seed": seed, "trained_on": data * 64}
        change(path, accuracy=accuracy, **recipe)
        paths.append(path)

    spreads = compare(paths).seed_spreads()

    assert [spread.accuracies for spread in spreads] == [(0.5, 0.6), (0.7, 0.9)]
    assert spreads[0].text().startswith("tiny trained on data aaaaaaaaaaaa with seeds 0, 1: ")
    assert compare([paths[0], paths[3]]).seed_spreads() == ()


def test_what_a_run_was_trained_on_is_told(trained: Path, faces: ExpressionDataset) -> None:
    assert evaluate(trained, faces, "PrivateTest").trained_on == faces.fingerprint
