import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import mien
from mien import export as exporting
from mien.analysis.classifier import softmax
from mien.data.dataset import ExpressionDataset
from mien.data.seen_faces import read_seen
from mien.errors import CheckpointError, ModelError
from mien.evaluation import evaluate, open_predictor
from mien.evaluation.calibration.calibrate import calibrate, write_calibration
from mien.export import Export, _measured_on, describe, export
from mien.metadata import ModelMetadata
from mien.preprocess import FER2013_CROP
from mien.training import Recipe, train
from mien.training.checkpoint import load_checkpoint
from mien.training.recipe_file import recipe_from_dict


def test_onnx_runtime_answers_as_torch_does_at_any_batch(trained: Path, tmp_path: Path) -> None:
    done = export(trained, tmp_path / "tiny.onnx")

    assert set(done.parity) == {1, 64}
    assert max(done.parity.values()) < 1e-4
    session = ort.InferenceSession(done.path)
    network = load_checkpoint(trained).build_network()
    for batch in (1, 2, 7):
        faces = np.random.default_rng(batch).standard_normal((batch, 1, 48, 48), dtype=np.float32)
        (ours,) = session.run(None, {"faces": faces})
        with torch.inference_mode():
            theirs = network(torch.from_numpy(faces)).numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "plain", "widths": [8, 8], "convolutions": [1, 1], "attention": "cbam"},
        {"name": "plain", "widths": [8], "convolutions": [1], "norm": False, "pooling": "average"},
        {"name": "residual", "widths": [8], "blocks": 1, "attention": "cbam", "squeeze_from": 0},
        {"name": "timm", "backbone": "resnet10t", "size": 64},
        {"name": "timm", "backbone": "vit_tiny_patch16_224", "size": 32, "dense": []},
    ],
    ids=["plain cbam", "plain", "residual cbam", "timm resnet", "timm vit"],
)
def test_every_kind_of_network_is_exported(
    model: dict[str, Any],
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(model=model, epochs=1, data={"scaling": "unit"})
    train(recipe, faces, tmp_path / "run", device="cpu")

    done = export(tmp_path / "run")

    assert max(done.parity.values()) < 1e-4
    ours = evaluate(done.path, faces, "PublicTest").metrics
    theirs = evaluate(tmp_path / "run", faces, "PublicTest").metrics
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)


def test_an_onnx_file_is_not_exported_again(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tiny\.onnx: is an ONNX file already; name the run"):
        export(tmp_path / "tiny.onnx")


def test_where_weights_lay_stays_at_home(trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained / "best.ckpt", weights_only=True)
    card = json.loads(content["mien"])
    card["recipe"]["initial"] = "/home/somebody/runs/first"
    card["recipe"]["distillation"]["teachers"] = ["/home/somebody/runs/a", "/mnt/b.onnx"]
    torch.save({**content, "mien": json.dumps(card)}, tmp_path / "best.ckpt")

    facts = describe(load_checkpoint(tmp_path / "best.ckpt"))

    assert facts.recipe["initial"] == "first"
    assert facts.recipe["distillation"]["teachers"] == ["a", "b.onnx"]


def test_a_model_is_called_as_asked(trained: Path, tmp_path: Path) -> None:
    checkpoint = shutil.copy(trained / "best.ckpt", tmp_path)

    done = export(checkpoint, name="mine")

    assert done.path == tmp_path / "mine.onnx"
    assert done.metadata.name == "mine"
    assert done.metadata.recipe["name"] == "tiny"


def test_the_file_carries_its_facts(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    evaluate(run, faces, "PublicTest").write(run / "evaluation-PublicTest.json")

    path = export(run, tmp_path / "tiny.onnx").path

    strings = {item.key: item.value for item in onnx.load(path).metadata_props}
    facts = ModelMetadata.from_strings(strings)
    assert facts.name == "tiny"
    assert facts.classes == faces.classes
    assert (facts.input_size, facts.colour, facts.crop) == (48, "gray", FER2013_CROP)
    assert facts.version == mien.__version__
    assert facts.mean == pytest.approx(faces.split("Training").images.mean() / 255)
    assert facts.recipe["optimizer"]["name"] == "sgd"
    assert facts.data["train"] == "Training"
    assert 0 <= facts.metrics["PublicTest"]["accuracy"] <= 1


def test_nothing_of_the_machine_is_in_the_file(exported: Path) -> None:
    content = exported.read_bytes()

    for trace in (b".py", b"site-packages", str(Path.home()).encode() + b"/", b"stack_trace"):
        assert trace not in content, trace


def test_a_file_that_differs_is_not_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PARITY_LIMIT", -1.0)
    path = tmp_path / "tiny.onnx"
    path.write_text("an older file")

    with pytest.raises(CheckpointError, match="differs from torch"):
        export(trained, path)
    assert path.read_text() == "an older file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_whose_answers_are_not_numbers_is_not_written(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    wild = make_recipe(epochs=1, optimizer={"name": "sgd", "lr": 1e30})
    train(wild, faces, tmp_path / "run", device="cpu")

    with pytest.raises(CheckpointError, match="not numbers, as after a training that diverged"):
        export(tmp_path / "run", tmp_path / "wild.onnx")
    assert not (tmp_path / "wild.onnx").exists()


def test_figures_of_another_checkpoint_do_not_travel(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    evaluate(run, faces, "PublicTest").write(run / "evaluation-PublicTest.json")

    assert describe(load_checkpoint(run)).metrics.keys() == {"PublicTest"}
    torch.save({**torch.load(run / "last.ckpt", weights_only=True), "extra": 1}, run / "other.ckpt")
    assert describe(load_checkpoint(run / "other.ckpt")).metrics == {}


def test_damaged_evaluations_are_told(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "evaluation-PublicTest.json").write_text(json.dumps({"accuracy": 1}))

    with pytest.raises(CheckpointError, match=r"evaluation-PublicTest\.json"):
        export(run, tmp_path / "tiny.onnx")


def test_a_calibration_travels_with_its_own_checkpoint_only(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    plain = describe(load_checkpoint(run))
    assert (plain.temperature, plain.uncertain_below) == (1, 0)
    calibration = calibrate(run, faces, uncertain_below=0.4)
    write_calibration(calibration, run)

    done = export(run)

    facts = done.metadata
    assert (facts.temperature, facts.uncertain_below) == (calibration.temperature, 0.4)
    assert facts.data["calibration"]["split"] == "PublicTest"
    images = faces.images[:20]
    ours, theirs = (softmax(open_predictor(each).logits(images)) for each in (done.path, run))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    torch.save({**torch.load(run / "last.ckpt", weights_only=True), "extra": 1}, run / "other.ckpt")
    assert describe(load_checkpoint(run / "other.ckpt")).temperature == 1


def test_figures_of_another_temperature_do_not_travel(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    path = run / "evaluation-PublicTest.json"
    evaluate(run, faces, "PublicTest").write(path)
    before = describe(load_checkpoint(run)).metrics["PublicTest"]
    write_calibration(calibrate(run, faces), run)

    done = export(run)

    figures = done.metadata.metrics["PublicTest"]
    assert before.keys() - figures.keys() == {"temperature", "loss", "calibration", "explanation"}
    assert figures["confusion"] == before["confusion"]
    assert "measured on PublicTest with another temperature" in done.remarks[0]
    evaluate(run, faces, "PublicTest").write(path)
    again = describe(load_checkpoint(run))
    assert again.metrics["PublicTest"]["temperature"] == again.temperature
    assert again.metrics["PublicTest"]["loss"] != before["loss"]


def test_a_calibration_of_an_earlier_best_is_told(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    write_calibration(calibrate(run, faces), run)
    best = run / "best.ckpt"
    torch.save({**torch.load(best, weights_only=True), "extra": 1}, best)

    done = export(run)

    assert done.metadata.temperature == 1
    (remark,) = done.remarks
    assert "is of another best.ckpt and is left out: 'mien calibrate' again" in remark
    assert export(run / "last.ckpt").remarks == ()


@pytest.fixture(scope="module")
def other_run(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Another network than ``trained``'s, whose faces are standardised in another way."""
    folder = tmp_path_factory.mktemp("runs") / "other"
    model = {"name": "plain", "widths": [8, 8], "convolutions": [1, 1]}
    train(make_recipe(model=model, data={"scaling": "unit"}, seed=3), faces, folder, device="cpu")
    return folder


@pytest.fixture(scope="module")
def ensemble(trained: Path, other_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Both runs as one file."""
    return export([trained, other_run], tmp_path_factory.mktemp("ensemble") / "both.onnx")


def test_an_ensemble_answers_as_its_runs_do_together(
    trained: Path, other_run: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    shutil.copytree(trained, first)
    write_calibration(calibrate(first, faces), first)
    calibrated = open_predictor(first).temperature

    done = export([first, other_run], tmp_path / "both.onnx")

    assert calibrated != 1.0
    assert done.metadata.name == "both"
    assert max(done.parity.values()) < 1e-4
    one = evaluate(done.path, faces, "PublicTest")
    two = evaluate([first, other_run], faces, "PublicTest")
    assert one.probabilities is not None
    assert two.probabilities is not None
    np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-5)
    alone = evaluate(first, faces, "PublicTest")
    assert one.metrics.loss == pytest.approx(two.metrics.loss, abs=1e-4)
    assert one.metrics.loss != pytest.approx(alone.metrics.loss, abs=1e-3)


def test_an_ensemble_tells_what_its_runs_learned_from(
    ensemble: Export, faces: ExpressionDataset
) -> None:
    metadata = ensemble.metadata

    members = metadata.data["members"]
    assert [member["recipe"]["model"]["name"] for member in members] == ["residual", "plain"]
    assert [member["recipe"]["seed"] for member in members] == [0, 3]
    seen = read_seen(metadata)
    assert seen is not None
    assert seen.contains(faces.split("Training").images).all()
    assert metadata.metrics == {}


def test_an_ensemble_is_calibrated_as_one(
    ensemble: Export, faces: ExpressionDataset, tmp_path: Path
) -> None:
    path = Path(shutil.copy(ensemble.path, tmp_path))

    write_calibration(calibrate(path, faces), path, path)

    assert open_predictor(path).temperature not in (None, 1.0)


def test_training_does_not_go_on_from_an_ensemble(
    ensemble: Export,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match=r"both\.onnx: is an ensemble: name one of the runs"):
        train(make_recipe(initial=str(ensemble.path)), faces, tmp_path / "run", device="cpu")


def test_what_a_run_is_measured_on_goes_by_its_validation_faces(trained: Path) -> None:
    found = load_checkpoint(trained)
    uneven, even = {"angry": 3, "happy": 5}, {"angry": 3, "happy": 3}

    def measured_on(fingerprint: str, counts: dict[str, int], **values: Any) -> tuple[object, ...]:
        recipe = recipe_from_dict({**found.recipe.to_dict(), "data": values})
        data = {"fingerprint": fingerprint, "counts": {"PublicTest": counts}}
        return _measured_on(replace(found, recipe=recipe, data=data))

    assert measured_on("with votes", uneven) == measured_on("without", uneven, clean=True)
    assert measured_on("a", even) != measured_on("b", even)
    assert measured_on("a", uneven) != measured_on("a", even)
    assert measured_on("a", uneven) != measured_on(
        "a", uneven, validation="Training", train="PublicTest"
    )
    held = measured_on("a", uneven, hold_out=0.2)
    assert held == measured_on("a", uneven, hold_out=0.2)
    assert held != measured_on("b", uneven, hold_out=0.2)
    assert held != measured_on("a", uneven, hold_out=0.2, clean=True)


def test_runs_that_make_no_ensemble_are_refused(
    trained: Path,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    path = tmp_path / "both.onnx"
    fewer = tmp_path / "fewer"
    classes = {"classes": ["happy", "other=sad+angry+fear+disgust+surprise+neutral"]}
    train(make_recipe(epochs=1, data=classes), faces, fewer, device="cpu")
    held = tmp_path / "held"
    train(make_recipe(epochs=1, data={"hold_out": 0.25}), faces, held, device="cpu")

    with pytest.raises(CheckpointError, match=r"best\.ckpt: is named twice"):
        export([trained, trained / "best.ckpt"], path)
    with pytest.raises(CheckpointError, match="must know the same classes"):
        export([trained, fewer], path)
    with pytest.raises(CheckpointError, match="was chosen on other faces"):
        export([trained, held], path)
    with pytest.raises(ValueError, match="say where its file goes"):
        export([trained, fewer])
    assert not path.exists()
