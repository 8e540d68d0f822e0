import json
import shutil
from pathlib import Path

import pytest

from mien.errors import CheckpointError
from mien.evaluation.training_facts import TrainingFacts, read_training_facts


def test_a_run_tells_its_training(trained: Path) -> None:
    facts = read_training_facts(trained)

    assert facts is not None
    summary = json.loads((trained / "run.json").read_text())
    assert facts.minutes == pytest.approx(summary["minutes"])
    assert (facts.dynamics.epochs, facts.dynamics.best_epoch) == (2, summary["best_epoch"])
    assert (facts.varied, facts.label_smoothing, facts.refine_from) == (False, 0, None)
    assert facts.caveat() == ""


def test_varied_faces_and_smoothed_labels_are_said(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    recipe = (run / "recipe.toml").read_text()
    recipe = recipe.replace("rotation_deg = 0.0", "rotation_deg = 10.0")
    recipe = recipe.replace("label_smoothing = 0.0", "label_smoothing = 0.1")
    (run / "recipe.toml").write_text(recipe.replace("refine_epochs = 0", "refine_epochs = 1"))

    facts = read_training_facts(run)

    assert facts is not None
    assert "augmented training faces" in facts.caveat()
    assert facts.verdict() == f"{facts.dynamics.verdict()} {facts.caveat()}"
    assert facts.to_dict()["verdict"] == facts.verdict()
    assert "from epoch 2 on" in facts.caveat()
    assert "smoothed labels" in facts.caveat()


def test_facts_survive_json(trained: Path) -> None:
    facts = read_training_facts(trained)
    assert facts is not None

    back = TrainingFacts.from_dict(json.loads(json.dumps(facts.to_dict())))

    assert back.minutes == facts.minutes
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
