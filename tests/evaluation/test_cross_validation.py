import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.analysis.classifier import ExpressionClassifier, softmax
from mien.data.balance import balance
from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, DataError, RecipeError
from mien.evaluation.cross_validation import assign_folds, cross_validate
from mien.evaluation.out_of_sample import ARRAYS, NO_FOLD, read_cross_validation
from mien.evaluation.predictor import open_predictor
from mien.metadata import DEFAULT_MODEL
from mien.training import Progress, Recipe
from mien.training.recipe_file import recipe_from_dict

Make = Callable[..., Recipe]


def test_every_face_is_read_by_a_run_that_did_not_learn_from_it(
    validated: Path, faces: ExpressionDataset
) -> None:
    found = read_cross_validation(validated)
    is_training = faces.split_codes == 0

    assert set(found.fold_of[is_training]) == {0, 1, 2}
    assert set(found.fold_of[~is_training]) == {NO_FOLD}
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    everyone = []
    for fold in range(3):
        run = validated / f"fold-{fold + 1}"
        read = softmax(open_predictor(run).logits(faces.images))
        mine = found.fold_of == fold
        np.testing.assert_allclose(found.probabilities[mine], read[mine], atol=1e-5)
        everyone.append(read[~is_training])
        learned = faces.take(np.flatnonzero(is_training & ~mine))
        counts = json.loads((run / "run.json").read_text())["data"]["counts"]
        assert counts["Training"] == learned.counts()
        assert counts["PublicTest"] == faces.split("PublicTest").counts()
        right = read[mine].argmax(axis=1) == faces.labels[mine]
        assert found.accuracies[fold] == pytest.approx(right.mean())
    np.testing.assert_allclose(
        found.probabilities[~is_training], np.mean(everyone, axis=0), atol=1e-5
    )
    assert found.mean == pytest.approx(np.mean(found.accuracies))
    assert found.mean > 0.5, "chance is 0.14"
    assert found.deviation == pytest.approx(np.std(found.accuracies, ddof=1))
    assert sum(found.counts) == is_training.sum()


def test_folds_are_alike_in_size_and_classes(faces: ExpressionDataset) -> None:
    fold_of = assign_folds(faces, 4, split="Training", seed=0)
    training = faces.split_codes == 0

    cells = np.zeros((4, 7), int)
    np.add.at(cells, (fold_of[training], faces.labels[training]), 1)
    assert np.ptp(cells, axis=0).max() <= 1
    assert np.ptp(cells.sum(axis=1)) <= 1
    again = assign_folds(faces, 4, split="Training", seed=0)
    np.testing.assert_array_equal(fold_of, again)
    assert (fold_of != assign_folds(faces, 4, split="Training", seed=1)).any()


def test_copies_share_a_fold_across_labels_and_splits(faces: ExpressionDataset) -> None:
    images = faces.images.copy()
    public = int(np.flatnonzero(faces.split_codes == 1)[0])
    copies = [1, 2, 9, public]
    images[copies] = images[1]

    fold_of = assign_folds(replace(faces, images=images), 5, split="Training", seed=0)

    assert len(set(fold_of[copies])) == 1
    assert fold_of[public] != NO_FOLD
    assert fold_of[public + 1] == NO_FOLD


def test_varied_faces_share_the_fold_of_their_original(faces: ExpressionDataset) -> None:
    varied = balance(faces.split("Training"), 40, seed=0)

    fold_of = assign_folds(varied, 3, split="Training", seed=0)

    originals = np.array([name.partition(" varied ")[0] for name in varied.names])
    assert len(varied) > len(set(originals))
    for original in set(originals):
        assert len(set(fold_of[originals == original])) == 1


def test_copies_tell_a_model_nothing(tmp_path: Path) -> None:
    """The nearest neighbour of a copy is its twin, whose label it would give away."""
    rng = np.random.default_rng(0)
    labels = np.tile(rng.integers(0, 7, 60), 2)
    twins = ExpressionDataset(
        images=np.tile(rng.integers(0, 256, (60, 48, 48)).astype(np.uint8), (2, 1, 1)),
        labels=labels,
        split_codes=np.zeros(120, np.uint8),
        names=np.array([f"row {row}" for row in range(120)]),
    )
    model = {"name": "pca_knn", "neighbours": 1, "components": 10}
    nearest = recipe_from_dict({"name": "nearest", "model": model})

    assert cross_validate(nearest, twins, tmp_path, folds=4).mean < 0.4


def test_only_what_is_missing_is_trained(
    faces: ExpressionDataset, make_recipe: Make, tmp_path: Path
) -> None:
    recipe, trained = make_recipe(), list[str]()

    def stop(name: str, progress: Progress) -> None:
        if (name, progress.epoch, progress.step) == ("fold-2", 2, 1):
            raise KeyboardInterrupt

    def watch(name: str, progress: Progress) -> None:
        if progress.metrics is not None:
            trained.append(f"{name} {progress.epoch}")

    with pytest.raises(KeyboardInterrupt):
        cross_validate(recipe, faces, tmp_path, folds=2, device="cpu", watch=stop)
    with pytest.raises(CheckpointError, match="not finished: go on with the same command"):
        read_cross_validation(tmp_path)
    found = cross_validate(recipe, faces, tmp_path, folds=2, device="cpu", watch=watch)
    assert trained == ["fold-2 2"], "one was done, the other half way"
    again = cross_validate(recipe, faces, tmp_path, folds=2, device="cpu", watch=watch)

    assert trained == ["fold-2 2"]
    assert again.to_dict() == found.to_dict()
    np.testing.assert_array_equal(again.probabilities, found.probabilities)


def test_a_fold_that_diverged_is_told_and_nothing_is_finished(
    faces: ExpressionDataset, make_recipe: Make, tmp_path: Path
) -> None:
    recipe = make_recipe(epochs=1, optimizer={"name": "sgd", "lr": 1e30})

    with pytest.raises(CheckpointError, match=r"fold-1: its answers are not numbers"):
        cross_validate(recipe, faces, tmp_path, folds=2, device="cpu")
    with pytest.raises(CheckpointError, match="is not finished"):
        read_cross_validation(tmp_path)


def test_another_cross_validation_is_not_mixed_in(
    validated: Path, faces: ExpressionDataset, quick: Make, tmp_path: Path
) -> None:
    shutil.copytree(validated, tmp_path / "copy")
    where = tmp_path / "copy"
    relabelled = replace(faces, labels=np.roll(faces.labels, 7))

    with pytest.raises(CheckpointError, match="another recipe"):
        cross_validate(quick(seed=1), faces, where, folds=3)
    with pytest.raises(CheckpointError, match="another data"):
        cross_validate(quick(), faces.take(range(250)), where, folds=3)
    with pytest.raises(CheckpointError, match="another number of folds"):
        cross_validate(quick(), faces, where, folds=4)
    with pytest.raises(CheckpointError, match="already holds a cross-validation"):
        cross_validate(quick(), faces, where, folds=3, resume=False)
    if (relabelled.labels != faces.labels).any():
        with pytest.raises(CheckpointError, match="another data"):
            cross_validate(quick(), relabelled, where, folds=3)
    assert cross_validate(quick(), faces, where, folds=3).folds == 3


def test_without_a_validation_split_some_of_the_learning_folds_are_held_out(
    faces: ExpressionDataset, quick: Make, tmp_path: Path
) -> None:
    training = faces.split("Training")
    found = cross_validate(quick(), training, tmp_path, folds=2)

    data = json.loads((tmp_path / "fold-1/run.json").read_text())["data"]["counts"]
    learned, chosen_on = (sum(data[split].values()) for split in ("Training", "PublicTest"))
    assert chosen_on == pytest.approx(0.1 * len(training) / 2, abs=7)
    assert learned + chosen_on == len(training) - found.counts[0]


def test_merged_classes_are_those_of_the_result(
    faces: ExpressionDataset, quick: Make, tmp_path: Path
) -> None:
    recipe = quick(data={"classes": ["happy", "low=sad+angry"]})

    found = cross_validate(recipe, faces, tmp_path, folds=2)

    assert found.classes == ("happy", "low")
    assert len(found.probabilities) == np.isin(faces.labels, [0, 3, 4]).sum()
    assert cross_validate(recipe, faces, tmp_path, folds=2).to_dict() == found.to_dict()


def test_what_cannot_be_folded_is_told(
    faces: ExpressionDataset, quick: Make, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="folds: expected 2 or more, got 1"):
        cross_validate(quick(), faces, tmp_path, folds=1)
    with pytest.raises(DataError, match="Training has 4 different faces, too few for 5 folds"):
        cross_validate(quick(), faces.take(range(4)), tmp_path)
    alike = faces.take(np.flatnonzero(faces.labels == 2))
    with pytest.raises(DataError, match="of one class"):
        cross_validate(quick(), alike, tmp_path)
    cross_validate(quick(), faces, tmp_path, folds=2)  # what trained nothing is in nobody's way


def test_no_epoch_is_chosen_on_copies_of_the_fold_that_is_read(
    faces: ExpressionDataset, quick: Make, tmp_path: Path
) -> None:
    images = faces.images.copy()
    public = np.flatnonzero(faces.split_codes == 1)
    images[public[:3]] = images[:3]
    copied = replace(faces, images=images)

    found = cross_validate(quick(), copied, tmp_path, folds=3)

    assert set(found.fold_of[public[:3]]) <= {0, 1, 2}
    for fold in range(3):
        data = json.loads((tmp_path / f"fold-{fold + 1}/run.json").read_text())["data"]
        elsewhere = copied.take(public[found.fold_of[public] != fold])
        assert data["counts"]["PublicTest"] == elsewhere.counts()


def test_what_is_finished_is_not_written_over_without_its_runs(
    validated: Path, faces: ExpressionDataset, quick: Make, tmp_path: Path
) -> None:
    where = shutil.copytree(validated, tmp_path / "copy")
    shutil.rmtree(where / "fold-1")
    trained = list[str]()

    def watch(name: str, _: Progress) -> None:
        trained.append(name)

    with pytest.raises(CheckpointError, match="another recipe"):
        cross_validate(quick(seed=1), faces, where, folds=3, watch=watch)
    with pytest.raises(CheckpointError, match="already holds a cross-validation"):
        cross_validate(quick(), faces, where, folds=3, resume=False)
    found = cross_validate(quick(), faces, where, folds=3, watch=watch)

    assert not trained
    assert found.to_dict() == read_cross_validation(validated).to_dict()
    assert (where / ARRAYS).read_bytes() == (validated / ARRAYS).read_bytes()


def test_the_test_split_is_left_alone(
    faces: ExpressionDataset, quick: Make, tmp_path: Path
) -> None:
    for data in ({"train": "PrivateTest"}, {"validation": "PrivateTest"}):
        with pytest.raises(RecipeError, match=r"PrivateTest is the test split[^-]*$"):
            cross_validate(quick(data=data), faces, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["initial", "distillation"])
def test_a_model_passes_nothing_on_to_read_the_faces_it_learned_from(
    part: str, trained: Path, faces: ExpressionDataset, make_recipe: Make, tmp_path: Path
) -> None:
    """Nor when they are fewer than those, as after an audit."""
    some = faces.take(np.flatnonzero(np.arange(len(faces)) % 3 > 0))
    named = {"initial": str(trained), "distillation": {"teachers": [str(trained)]}}

    with pytest.raises(RecipeError, match=rf"^{part}.* learned from these faces, so what it"):
        cross_validate(make_recipe(**{part: named[part]}), some, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_embedded_model_may_start_on_faces_that_it_never_saw(
    faces: ExpressionDataset, make_recipe: Make, tmp_path: Path
) -> None:
    """It is of another kind than the recipe, which is told only where training begins."""
    with pytest.raises(RecipeError, match=r"^(?!.*learned from)"):
        cross_validate(make_recipe(initial="mien-s", data={"scaling": "unit"}), faces, tmp_path)


def test_the_embedded_model_does_not_read_the_faces_it_learned_from(
    make_recipe: Make, tmp_path: Path
) -> None:
    counts = ExpressionClassifier(DEFAULT_MODEL).metadata.data["counts"]["Training"]
    labels = np.repeat(np.arange(7), list(counts.values()))
    like_fer2013 = ExpressionDataset(
        images=np.zeros((len(labels), 48, 48), np.uint8),
        labels=labels,
        split_codes=np.zeros(len(labels), np.uint8),
        names=np.array([f"row {row}" for row in range(len(labels))]),
    )

    for start in ({"initial": "mien-s"}, {"distillation": {"teachers": ["mien-s"]}}):
        with pytest.raises(RecipeError, match="mien-s learned from these faces"):
            cross_validate(make_recipe(**start), like_fer2013, tmp_path)
    absent = make_recipe(distillation={"teachers": ["a.onnx"]})
    with pytest.raises(RecipeError, match=r"a\.onnx not found: make them first"):
        cross_validate(absent, like_fer2013, tmp_path)
