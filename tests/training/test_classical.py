import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, DataError, RecipeError
from mien.evaluation import evaluate
from mien.export import export
from mien.metadata import CLASSICAL_FILE
from mien.models import CLASSICAL
from mien.training import Progress, Recipe, RunResult, load_recipe, train
from mien.training import classical as fitting
from mien.training.classical import load_classical, save_classical
from mien.training.figures import recipe_names
from mien.training.recipe_file import recipe_from_dict

#: Options that make each baseline small enough to be fitted in a second.
SMALL: dict[str, dict[str, Any]] = {
    "hog_svm": {"landmarks": 50},
    "hog_logistic": {"landmarks": 50},
    "pca_knn": {"components": 20, "neighbours": 5},
}

RECIPES = [name for name in recipe_names() if load_recipe(name).model_name in CLASSICAL]


def small(name: str, **values: Any) -> Recipe:
    return recipe_from_dict({"name": "small", "model": {"name": name, **SMALL[name]}, **values})


@pytest.fixture(scope="module", params=SMALL)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def fitted(
    name: str, faces: ExpressionDataset, tmp_path_factory: pytest.TempPathFactory
) -> RunResult:
    """A finished run, for tests that only read one."""
    return train(small(name), faces, tmp_path_factory.mktemp("runs") / name, device="cpu")


def test_a_run_leaves_all_that_it_promises(
    fitted: RunResult, name: str, faces: ExpressionDataset
) -> None:
    assert {path.name for path in fitted.folder.iterdir()} == {
        "recipe.toml",
        "metrics.csv",
        "model.skops",
        "run.json",
    }
    summary = json.loads((fitted.folder / "run.json").read_text())
    assert summary["epochs"] == summary["best_epoch"] == 1
    assert summary["best_accuracy"] == fitted.best_accuracy > 0.5, "chance is 0.14"
    assert summary["parameters"] == load_classical(fitted.folder)[0].parameters
    assert summary["data"]["counts"]["Training"] == faces.split("Training").counts()
    assert {"mien", "python", "scikit-learn", "skops"} <= summary["versions"].keys()
    assert load_recipe(fitted.folder / "recipe.toml").model == small(name).model


def test_run_json_says_the_same_things_as_a_network_s(fitted: RunResult, trained: Path) -> None:
    ours, networks = (
        json.loads((folder / "run.json").read_text()) for folder in (fitted.folder, trained)
    )

    assert ours.keys() == networks.keys()


def test_the_figures_are_the_ones_that_the_run_logged(
    fitted: RunResult, faces: ExpressionDataset
) -> None:
    header, row = (fitted.folder / "metrics.csv").read_text().splitlines()
    logged = dict(zip(header.split(","), map(float, row.split(",")), strict=True))

    for stage, split in (("train", "Training"), ("val", "PublicTest")):
        metrics = evaluate(fitted.folder, faces, split, override_protocol=True).metrics
        assert metrics.accuracy == logged[f"{stage}_accuracy"]
        assert metrics.loss == pytest.approx(logged[f"{stage}_loss"], abs=1e-6)


def test_a_loaded_model_answers_as_the_fitted_one(
    name: str, faces: ExpressionDataset, tmp_path: Path
) -> None:
    recipe, training = small(name), faces.split("Training")
    config = CLASSICAL[name](**SMALL[name])
    model = config.fit(training.images, training.labels, 0, classes=("a", *faces.classes[1:]))
    card = {"recipe": recipe.to_dict(), "classes": model.classes, "data": {}}

    save_classical(model, tmp_path / "model.skops", card)
    loaded, _ = load_classical(tmp_path)

    assert (loaded.config, loaded.classes) == (config, model.classes)
    # The arrays' order in memory may have changed, and with it that of sums.
    ours, theirs = loaded.logits(faces.images), model.logits(faces.images)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_resuming_a_finished_run_gives_its_result(
    fitted: RunResult, name: str, faces: ExpressionDataset
) -> None:
    before = (fitted.folder / CLASSICAL_FILE).read_bytes()

    assert train(small(name), faces, fitted.folder, resume=True) == fitted
    assert (fitted.folder / CLASSICAL_FILE).read_bytes() == before


def test_a_run_is_never_overwritten_or_mixed(
    fitted: RunResult,
    name: str,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    trained: Path,
    tmp_path: Path,
) -> None:
    folder = fitted.folder
    for recipe, where in ((small(name), folder), (make_recipe(), folder), (small(name), trained)):
        with pytest.raises(CheckpointError, match="already holds a run"):
            train(recipe, faces, where, device="cpu")
    with pytest.raises(CheckpointError, match="another recipe"):
        train(small(name, seed=5), faces, folder, resume=True)
    with pytest.raises(CheckpointError, match="another data"):
        train(small(name), faces.take(range(250)), folder, resume=True)
    for where in (tmp_path, trained):
        with pytest.raises(CheckpointError, match=r"nothing to resume, there is no model\.skops"):
            train(small(name), faces, where, resume=True)


def test_progress_is_told_at_the_start_and_at_the_end(
    faces: ExpressionDataset, tmp_path: Path
) -> None:
    seen: list[Progress] = []

    train(small("pca_knn"), faces, tmp_path / "run", watch=seen.append)

    assert [(p.step, p.metrics is None) for p in seen] == [(0, True), (1, False)]


def test_ctrl_c_leaves_a_folder_that_the_same_call_can_use(
    faces: ExpressionDataset, tmp_path: Path
) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small("pca_knn"), faces, tmp_path / "run", watch=interrupt)

    assert train(small("pca_knn"), faces, tmp_path / "run").epochs == 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_packaged_baseline_is_fitted(
    recipe: str, faces: ExpressionDataset, tmp_path: Path
) -> None:
    assert train(load_recipe(recipe), faces, tmp_path / "run").best_accuracy > 0.5


def test_the_packaged_baselines_are_all_of_them() -> None:
    assert {load_recipe(recipe).model_name for recipe in RECIPES} == set(CLASSICAL)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=50", "epochs: expected 1 with hog_svm, or none, got 50"),
        ("optimizer.lr=0.1", "optimizer.lr: means nothing to hog_svm, leave it out"),
        ("augment.flip=0.5", "augment.flip: means nothing to hog_svm"),
        ("batch_size=64", "batch_size: means nothing to hog_svm"),
        ("data.scaling=unit", "data.scaling: means nothing to hog_svm"),
        ("model.widths=[8]", "unknown key 'model.widths'"),
        ("model.c=1", "unknown key 'model.c': did you mean 'model.C'"),
        ("model.kernel=poly", "model.kernel: expected 'linear' or 'rbf', got 'poly'"),
        ("model.name=hog_sv", "did you mean 'hog_svm'"),
    ],
)
def test_what_a_baseline_has_no_use_for_is_refused(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=r"^[^\n]+$") as error:
        load_recipe("hog-svm", [override])

    assert message in str(error.value)


def test_a_split_without_images_is_told(faces: ExpressionDataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no PublicTest images"):
        train(small("pca_knn"), faces.split("Training"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_baseline_is_not_exported(fitted: RunResult) -> None:
    for run in (fitted.folder, fitted.folder / CLASSICAL_FILE):
        with pytest.raises(CheckpointError, match="cannot be exported to ONNX"):
            export(run)


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Write an archive anew, each member as ``change`` has it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


@pytest.fixture
def file(fitted: RunResult, tmp_path: Path) -> Path:
    """A model's file, to be tampered with."""
    return Path(shutil.copy(fitted.folder / CLASSICAL_FILE, tmp_path / "tampered.skops"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"__class__": "Pipeline"', b'"__class__": "system"'),
        (b'"__module__": "sklearn.pipeline"', b'"__module__": "os"'),
        (b'"__loader__": "TupleNode"', b'"__loader__": "FunctionNode"'),
        (b'"__class__": "ndarray"', b'"__class__": "memmap"'),
    ],
)
def test_a_type_that_no_baseline_is_made_of_is_refused(file: Path, old: bytes, new: bytes) -> None:
    def change(member: str, content: bytes) -> bytes:
        if member != "schema.json":
            return content
        assert old in content
        return content.replace(old, new)

    rewrite(file, change)

    with pytest.raises(CheckpointError, match=r"tampered\.skops: refused: it holds [^\n]+$"):
        load_classical(file)


def test_an_estimator_that_skops_would_trust_is_refused(file: Path, tmp_path: Path) -> None:
    """Its trees index memory by the file's numbers."""
    with zipfile.ZipFile(file) as archive:
        card = archive.read("mien.json")
    forest = RandomForestClassifier(2).fit(np.zeros((4, 3)), [0, 1, 0, 1])
    skops.io.dump(Pipeline([("forest", forest)]), file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("mien.json", card)

    with pytest.raises(CheckpointError, match="refused: it holds sklearn"):
        load_classical(file)


def test_damage_is_told(file: Path, trained: Path, tmp_path: Path) -> None:
    def refuse(message: str) -> None:
        with pytest.raises(CheckpointError, match=rf"tampered\.skops: {message}[^\n]*$"):
            load_classical(file)

    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\x89PNG\r\n\x1a\n" + bytes(200)):
        file.write_bytes(content)
        refuse("damaged")
    shutil.copy(trained / "best.ckpt", file)
    refuse("damaged, or not a model of mien")
    for card in (b"[]", b"{}", b"not JSON", b'{"recipe": {"model": {"name": "residual"}}}'):
        file.write_bytes(whole)
        rewrite(file, lambda name, old, new=card: new if name == "mien.json" else old)  # type: ignore[misc]
        refuse("(damaged, or )?not a model of mien")
    with pytest.raises(CheckpointError, match=r"no such model; a run of a baseline holds model"):
        load_classical(tmp_path)


def test_metadata_of_another_baseline_is_refused(file: Path, name: str) -> None:
    other = "hog_svm" if name == "pca_knn" else "pca_knn"
    values = {"recipe": small(other).to_dict(), "classes": ["a"] * 7, "temperature": 1.0}
    rewrite(file, lambda m, old: json.dumps(values).encode() if m == "mien.json" else old)

    with pytest.raises(CheckpointError, match="damaged, or not a model of mien"):
        load_classical(file)


def test_neighbours_without_labels_are_refused(faces: ExpressionDataset, tmp_path: Path) -> None:
    recipe = small("pca_knn")
    training = faces.split("Training")
    config = CLASSICAL["pca_knn"](**SMALL["pca_knn"])
    model = config.fit(training.images, training.labels, 0, classes=faces.classes)
    knn = model.pipeline.named_steps["knn"]
    knn._y = knn._y[:3]
    card = {"recipe": recipe.to_dict(), "classes": faces.classes, "data": {}}
    save_classical(replace(model), tmp_path / "model.skops", card)

    with pytest.raises(CheckpointError, match="224 neighbours with 3 labels"):
        load_classical(tmp_path)


def test_what_cannot_be_written_leaves_nothing(
    faces: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_CARD", None)

    with pytest.raises(Exception, match="NoneType"):
        train(small("pca_knn"), faces, tmp_path / "run")

    assert not [path for path in (tmp_path / "run").iterdir() if path.suffix == ".skops"]
