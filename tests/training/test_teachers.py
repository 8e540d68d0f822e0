import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.errors import CheckpointError, ModelError, RecipeError
from mien.evaluation.calibration.calibrate import calibrate, write_calibration
from mien.export import export
from mien.preprocess import standardise
from mien.training import Recipe, train
from mien.training.checkpoint import load_checkpoint
from mien.training.teachers import Teachers, load_teacher, load_teachers


def test_teachers_say_what_they_say_alone_whatever_the_scale(
    trained: Path,
    exported: Path,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
) -> None:
    found = load_checkpoint(trained)
    network = found.build_network()
    own = torch.from_numpy(standardise(faces.images[:20], mean=found.mean, std=found.std))
    scaled = torch.from_numpy(standardise(faces.images[:20], mean=0.3, std=0.5))
    with torch.no_grad():
        expected = torch.softmax(network(own) / 2, dim=1)
    # A run, and the same one exported.
    recipe = make_recipe(distillation={"teachers": [str(trained), str(exported)]})
    teachers = load_teachers(recipe, found.classes)

    for taught_by in (teachers, teachers[:1], teachers[1:]):
        taught = Teachers(taught_by, mean=0.3, std=0.5).teach(scaled, temperature=2)

        torch.testing.assert_close(taught, expected, rtol=1e-3, atol=1e-4)


def test_a_calibrated_file_teaches_as_the_run_that_it_is_of(
    trained: Path, faces: ExpressionDataset, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    calibration = calibrate(run, faces)
    write_calibration(calibration, run)
    exported = export(run, tmp_path / "tiny.onnx").path
    inputs = torch.rand(5, 1, 48, 48)

    with torch.no_grad():
        own, from_file = (load_teacher(str(each)).read(inputs) for each in (run, exported))

    assert abs(calibration.temperature - 1) > 0.01
    torch.testing.assert_close(own, from_file, rtol=1e-3, atol=1e-4)


def test_a_network_taught_alone_comes_to_agree_with_its_teacher(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    # Every label that is learned from is wrong: what it knows of faces, the teacher told it.
    is_learned = faces.split_codes == 0
    mislabelled = replace(faces, labels=np.where(is_learned, (faces.labels + 1) % 7, faces.labels))
    taught = {"teachers": [str(trained)], "share": 1.0}
    recipe = make_recipe(epochs=6, seed=1, distillation=taught)

    train(recipe, mislabelled, tmp_path / "taught", device="cpu")

    images = faces.split("PublicTest").images
    readings = []
    for run in (trained, tmp_path / "taught"):
        found = load_checkpoint(run)
        inputs = torch.from_numpy(standardise(images, mean=found.mean, std=found.std))
        readings.append(found.build_network()(inputs).argmax(dim=1).numpy())
    assert np.mean(readings[0] == readings[1]) > 0.6
    content = torch.load(tmp_path / "taught" / "best.ckpt", weights_only=True)
    assert not any("teacher" in name for name in content["state_dict"])


@pytest.mark.parametrize("teacher", ["trained", "exported"])
def test_a_run_remembers_the_faces_that_its_teachers_learned_from(
    teacher: str,
    make_recipe: Callable[..., Recipe],
    faces: ExpressionDataset,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    others = synthetic_faces(140, seed=99)
    taught = {"teachers": [str(request.getfixturevalue(teacher))]}
    recipe = make_recipe(epochs=1, ema_decay=0.9, distillation=taught)

    train(recipe, others, tmp_path, device="cpu")

    seen = load_checkpoint(tmp_path).seen
    assert seen is not None
    assert seen.contains(others.split("Training").images).all()
    assert seen.contains(faces.split("Training").images).all()


def test_a_teacher_that_cannot_teach_is_refused(
    trained: Path, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"reads angry.*expected happy, sad"):
        load_teachers(make_recipe(distillation={"teachers": [str(trained)]}), ("happy", "sad"))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_teachers(make_recipe(distillation={"teachers": [str(tmp_path)]}), ("happy",))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        load_teachers(
            make_recipe(distillation={"teachers": [str(tmp_path / "broken.onnx")]}), ("happy",)
        )
    absent = make_recipe(distillation={"teachers": [str(trained), "a.onnx", "b.onnx"]})
    with pytest.raises(RecipeError, match=r"^distillation.teachers: a.onnx, b.onnx not found: "):
        load_teachers(absent, ("happy",))
    with pytest.raises(RecipeError, match=r"progressive.epochs: expected 0 with"):
        make_recipe(distillation={"teachers": ["x"]}, progressive={"epochs": 1})
    with pytest.raises(RecipeError, match=r"distillation.share: expected 0 to 1, got 2\.0"):
        make_recipe(distillation={"share": 2.0})
