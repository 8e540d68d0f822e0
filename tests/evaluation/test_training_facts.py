import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError
from mien.evaluation.predictor import open_predictor
from mien.evaluation.training_facts import (
    PlainReading,
    TrainingFacts,
    read_plainly,
    read_training_facts,
)
from mien.models import dropout_options
from mien.training import load_recipe


def test_a_run_tells_its_training(trained: Path) -> None:
    facts = read_training_facts(trained)

    assert facts is not None
    summary = json.loads((trained / "run.json").read_text())
    assert facts.minutes == pytest.approx(summary["minutes"])
    assert (facts.dynamics.epochs, facts.dynamics.best_epoch) == (2, summary["best_epoch"])
    assert (facts.varied, facts.label_smoothing, facts.refine_from) == (False, 0, None)
    assert (facts.dropout, facts.plain, facts.caveat()) == (False, None, "")


def test_varied_faces_and_smoothed_labels_are_said(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    recipe = (run / "recipe.toml").read_text()
    recipe = recipe.replace("rotation_deg = 0.0", "rotation_deg = 10.0", 1)
    recipe = recipe.replace("label_smoothing = 0.0", "label_smoothing = 0.1")
    (run / "recipe.toml").write_text(recipe.replace("refine_epochs = 0", "refine_epochs = 1"))

    facts = read_training_facts(run)

    assert facts is not None
    assert "on augmented faces" in facts.caveat()
    assert "the gap is larger" in facts.caveat()
    assert facts.verdict() == f"{facts.dynamics.verdict()} {facts.caveat()}"
    assert facts.to_dict()["verdict"] == facts.verdict()
    assert "from epoch 2 on" in facts.caveat()
    refined = (run / "recipe.toml").read_text()
    head, table, tail = refined.partition("[refine]\n")
    (run / "recipe.toml").write_text(head + table + tail.replace("scale = 0.0", "scale = 0.1", 1))
    varied = read_training_facts(run)
    assert varied is not None
    assert varied.refine_from is None
    assert "smoothed labels" in facts.caveat()


def test_dropout_is_said(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace("\ndropout = 0.0\n", "\ndropout = 0.3\n"))

    facts = read_training_facts(run)

    assert facts is not None
    assert facts.dropout
    assert "measured while it learns, with dropout, which lowers them" in facts.caveat()


def test_dropout_after_no_layers_is_none() -> None:
    assert dropout_options(load_recipe("vgg").model) == ("dropout", "block_dropout")
    assert dropout_options(load_recipe("residual").model) == ("dropout",)
    for name in ("mien-s", "vgg", "cnn-70", "residual"):
        model = load_recipe(name).network
        layers = model.build(7).modules()
        drops = any(isinstance(layer, nn.Dropout | nn.Dropout2d) and layer.p for layer in layers)
        assert drops == any(getattr(model, option) for option in dropout_options(model)), name


def test_the_gap_is_of_plain_faces_where_they_are_known(trained: Path) -> None:
    facts = read_training_facts(trained)
    assert facts is not None
    best = facts.dynamics.val_accuracy
    assert best is not None

    plain = replace(facts, plain=PlainReading(accuracy=1.0, faces=12), varied=True)

    assert plain.dynamics.gap_points == pytest.approx(100 * (1 - best))
    assert plain.dynamics.overfits == (best <= 0.9)
    assert "it reads 100.0 % of the training faces" in plain.verdict()
    assert "on 12 training faces drawn at random" in plain.verdict()


def test_a_model_reads_its_own_training_faces_plainly(
    trained: Path, faces: ExpressionDataset
) -> None:
    predictor = open_predictor(trained)
    training = faces.split("Training")

    plain = read_plainly(predictor, faces)

    assert plain is not None
    right = predictor.logits(training.images).argmax(axis=1) == training.labels
    assert plain.accuracy == pytest.approx(right.mean())
    assert plain.faces == len(training)
    others = replace(training, images=np.rot90(training.images, axes=(1, 2)).copy())
    assert read_plainly(predictor, others) is None
    assert read_plainly(predictor, faces.split("PublicTest")) is None


def test_facts_survive_json(trained: Path) -> None:
    read = read_training_facts(trained)
    assert read is not None
    facts = replace(read, dropout=True, plain=PlainReading(accuracy=0.75, faces=40))

    back = TrainingFacts.from_dict(json.loads(json.dumps(facts.to_dict())))

    assert (back.minutes, back.dropout, back.plain) == (facts.minutes, True, facts.plain)
    assert back.dynamics.gap_points == pytest.approx(facts.dynamics.gap_points, abs=1e-3)
    assert len(back.history) == len(facts.history) == 2


def test_a_folder_without_epochs_tells_nothing(tmp_path: Path) -> None:
    assert read_training_facts(tmp_path) is None


def test_an_unfinished_run_has_no_minutes_and_a_damaged_one_is_told(
    trained: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    (run / "run.json").unlink()
    facts = read_training_facts(run)
    assert facts is not None
    assert facts.minutes is None

    (run / "run.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"run\.json"):
        read_training_facts(run)


def test_a_run_that_diverged_is_told_in_valid_json(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    cells = rows[-1].split(",")
    bad = ",".join([cells[0], "nan", "nan", "inf", "nan", *cells[5:]])
    (run / "metrics.csv").write_text("\n".join([header, *rows[:-1], bad]) + "\n")

    facts = read_training_facts(run)

    assert facts is not None
    text = json.dumps(facts.to_dict(), allow_nan=False)
    assert json.loads(text)["history"]["val_loss"][-1] is None
    back = TrainingFacts.from_dict(json.loads(text))
    assert back.verdict() == facts.verdict()
    assert back.dynamics.diverged_epoch == 2
