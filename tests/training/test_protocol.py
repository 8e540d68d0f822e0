import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import ExpressionDataset
from mien.data.seen_faces import SeenFaces
from mien.data.synthetic import synthetic_faces
from mien.errors import ProtocolError
from mien.evaluation import evaluate
from mien.export import export
from mien.training import Recipe, load_recipe, train
from mien.training.checkpoint import load_checkpoint


def test_choosing_on_the_test_split_is_refused_before_anything_is_written(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    network = make_recipe(data={"validation": "PrivateTest"})
    baseline = load_recipe("pca-knn", ["data.train=PrivateTest"])
    for recipe in (network, baseline):
        with pytest.raises(ProtocolError, match="PrivateTest is the test split"):
            train(recipe, faces, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_choosing_on_faces_that_are_learned_from_is_refused(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    training, validation = faces.split("Training"), faces.split("PublicTest")
    copied = validation.images.copy()
    half = len(copied) // 2
    copied[:half] = training.images[:half]
    leaking = replace(
        faces,
        images=np.concatenate([training.images, copied]),
        labels=np.concatenate([training.labels, validation.labels]),
        split_codes=np.concatenate([training.split_codes, validation.split_codes]),
        names=np.concatenate([training.names, validation.names]),
    )
    with pytest.raises(ProtocolError, match=f"{half} of the {len(copied)} PublicTest faces were"):
        train(make_recipe(), leaking, tmp_path / "run", device="cpu")


def test_what_was_overridden_is_kept_with_the_run(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(epochs=1, data={"validation": "PrivateTest"})
    train(recipe, faces, tmp_path, device="cpu", override_protocol=True)

    (breach,) = load_checkpoint(tmp_path).breaches
    assert breach.startswith("PrivateTest is the test split")
    assert json.loads((tmp_path / "run.json").read_text())["breaches"] == [breach]


def test_a_run_knows_the_faces_it_learned_from(trained: Path, faces: ExpressionDataset) -> None:
    seen = load_checkpoint(trained).seen

    assert isinstance(seen, SeenFaces)
    assert seen.contains(faces.split("Training").images).all()
    assert not seen.contains(faces.split("PublicTest").images).any()


@pytest.mark.parametrize("kind", ["run", "onnx"])
def test_trained_further_it_knows_what_was_learned_from_before(
    kind: str,
    trained: Path,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    initial = trained if kind == "run" else export(trained, tmp_path / "tiny.onnx").path
    recipe = make_recipe(epochs=1, initial=str(initial))
    other = synthetic_faces(70, seed=8)
    train(recipe, other, tmp_path / "run", device="cpu")

    for epochs in (1, 2):  # resumed, it still knows
        seen = load_checkpoint(tmp_path / "run").seen
        assert isinstance(seen, SeenFaces)
        assert seen.contains(other.split("Training").images).all()
        assert seen.contains(faces.split("Training").images).all()
        if epochs == 1:
            train(recipe, other, tmp_path / "run", resume=True, device="cpu")
    with pytest.raises(ProtocolError, match="Training faces were learned from"):
        evaluate(tmp_path / "run", faces, "Training")


def test_choosing_on_faces_that_were_learned_from_before_is_refused(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    training = faces.split("Training")
    recipe = make_recipe(epochs=1, data={"hold_out": 0.3}, initial=str(trained))
    with pytest.raises(ProtocolError, match="PublicTest faces were learned from"):
        train(recipe, training, tmp_path / "run", device="cpu")


def test_what_was_overridden_before_is_told_of_what_was_trained_further(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    on_test = make_recipe(epochs=1, data={"validation": "PrivateTest"})
    train(on_test, faces, tmp_path / "first", device="cpu", override_protocol=True)
    further = make_recipe(epochs=1, initial=str(tmp_path / "first"))
    train(further, faces, tmp_path / "second", device="cpu")

    (breach,) = load_checkpoint(tmp_path / "second").breaches
    assert breach.startswith("PrivateTest is the test split")
