import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.analysis.classifier import softmax
from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.errors import CheckpointError, DataError, RecipeError
from mien.evaluation.predictor import open_predictor
from mien.metadata import BEST
from mien.models import MODELS
from mien.training import Progress, Recipe, find_device, load_recipe, train
from mien.training.callbacks import AtomicCheckpointIO
from mien.training.checkpoint import LAST, load_checkpoint, read_checkpoint
from mien.training.figures import recipe_names
from mien.training.module import ExpressionModule
from mien.training.run import describe_hardware, has_bf16_hardware

#: Everything that draws random numbers or keeps state between epochs.
RESTLESS = {
    "epochs": 4,
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "model": {"name": "residual", "widths": [8, 16], "blocks": 1, "dropout": 0.3},
    "augment": {"flip": 0.5, "rotation_deg": 10, "noise": 0.05, "erase_probability": 0.5},
    "progressive": {"size": 32, "epochs": 2},
    "schedule": {"name": "cosine", "warmup": 0.2},
}


#: A rate so high that the loss rises, and the rate falls, before the run is stopped.
PLATEAU = {
    "epochs": 6,
    "ema_decay": 0.0,
    "optimizer": {"name": "sgd", "lr": 0.5},
    "schedule": {"name": "plateau", "plateau_epochs": 0},
}


class PowerCutError(Exception):
    """Stands for whatever ends a process."""


def stop_in(epoch: int, step: int) -> Callable[[Progress], None]:
    def watch(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (epoch, step):
            raise PowerCutError

    return watch


def test_a_run_leaves_all_that_it_promises(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        "recipe.toml",
        "metrics.csv",
        "curves.png",
        "best.ckpt",
        "last.ckpt",
        "run.json",
    }
    summary = json.loads((trained / "run.json").read_text())
    assert summary["epochs"] == 2
    assert summary["parameters"] > 0
    assert summary["data"]["train"] == "Training"
    assert summary["device"] == "cpu"
    assert summary["precision"] in ("32-true", "bf16-mixed")
    assert load_recipe(trained / "recipe.toml").model_name == "residual"


def test_a_model_learns_cartoons(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    many = synthetic_faces(1000, seed=1)
    recipe = make_recipe(epochs=12, ema_decay=0.9, schedule={"name": "cosine", "warmup": 0.1})

    result = train(recipe, many, tmp_path / "run", device="cpu")

    assert result.best_accuracy > 0.5, "chance is 0.14"


def test_a_class_with_a_margin_is_answered_more_often(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    def share_of_fear(margins: list[str], teachers: list[str]) -> float:
        folder = tmp_path / f"margins {len(margins)} teachers {len(teachers)}"
        taught = {"teachers": teachers, "share": 1.0}
        recipe = make_recipe(epochs=3, loss={"class_margins": margins}, distillation=taught)
        train(recipe, faces, folder, device="cpu")
        logits = open_predictor(folder).logits(faces.split("PublicTest").images)
        return float(softmax(logits)[:, faces.classes.index("fear")].mean())

    before = share_of_fear([], [])
    assert share_of_fear(["fear=3"], []) > 1.4 * before
    teacher = str(tmp_path / "margins 0 teachers 0")
    assert share_of_fear(["fear=3"], [teacher]) > 1.4 * before, "what is taught counts, too"
    with pytest.raises(RecipeError, match="unknown class 'afraid'"):
        train(
            make_recipe(loss={"class_margins": ["afraid=1"]}),
            faces,
            tmp_path / "unknown",
            device="cpu",
        )
    assert not (tmp_path / "unknown").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"name": "sgd", "lr": 0.01}},
        {"optimizer": {"name": "adamw", "lr": 0.01}},
        {"optimizer": {"name": "adam", "lr": 0.01, "switch_epoch": 2}},
        {"optimizer": {"name": "adam", "lr": 0.01, "switch_epoch": 1}},
        PLATEAU,
        {"data": {"sampling": "balanced", "fraction": 0.7, "balance": 30}},
    ],
    ids=["sgd", "adamw", "switching", "switched", "plateau", "balanced"],
)
def test_resuming_gives_the_weights_of_an_unbroken_run(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    changes: dict[str, Any],
) -> None:
    recipe = make_recipe(**{**RESTLESS, **changes})
    train(recipe, faces, tmp_path / "whole", device="cpu")

    with pytest.raises(PowerCutError):
        train(recipe, faces, tmp_path / "broken", device="cpu", watch=stop_in(3, 2))
    result = train(recipe, faces, tmp_path / "broken", device="cpu", resume=True)

    assert result.epochs == recipe.epochs
    whole, broken = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "broken"))
    for part in {"state_dict", "current_model_state"} & whole.keys():
        for name, weights in whole[part].items():
            assert torch.equal(weights, broken[part][name]), (part, name)
    best = [load_checkpoint(tmp_path / name) for name in ("whole", "broken")]
    assert best[0].epoch == best[1].epoch

    def figures(name: str) -> list[str]:
        rows = (tmp_path / name / "metrics.csv").read_text().splitlines()
        return [row.rpartition(",")[0] for row in rows]  # all but the seconds

    assert figures("whole") == figures("broken")
    if recipe.schedule.name == "plateau":
        rates = [row.rpartition(",")[2] for row in figures("whole")[1:4]]
        assert len(set(rates)) > 1, "the rate fell before the run was stopped"


def test_the_averaged_weights_are_the_ones_kept(trained: Path) -> None:
    content = read_checkpoint(trained / LAST)

    name = "network.head.weight"
    assert not torch.equal(content["state_dict"][name], content["current_model_state"][name])


def test_a_run_that_was_moved_still_knows_its_best(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(**RESTLESS)
    train(recipe, faces, tmp_path / "whole", device="cpu")
    with pytest.raises(PowerCutError):
        train(recipe, faces, tmp_path / "here", device="cpu", watch=stop_in(3, 2))

    shutil.move(tmp_path / "here", tmp_path / "there")
    train(recipe, faces, tmp_path / "there", device="cpu", resume=True)

    whole, moved = (load_checkpoint(tmp_path / name) for name in ("whole", "there"))
    assert whole.epoch == moved.epoch
    assert not (tmp_path / "here").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"the one before")

    with pytest.raises(Exception, match="pickle"):
        AtomicCheckpointIO().save_checkpoint({"code": lambda: None}, path)

    assert path.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_that_stopped_early_is_over(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(epochs=30, patience=2, optimizer={"name": "sgd", "lr": 1e-9})
    first = train(recipe, faces, tmp_path / "run", device="cpu")
    weights = (tmp_path / "run" / LAST).read_bytes()

    again = train(recipe, faces, tmp_path / "run", device="cpu", resume=True)

    assert again == first
    assert (tmp_path / "run" / LAST).read_bytes() == weights


def test_a_run_that_diverged_is_over_too(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    wild = {"name": "sgd", "lr": 1e30}
    recipe = make_recipe(epochs=6, patience=2, patience_on="loss", optimizer=wild)
    first = train(recipe, faces, tmp_path / "run", device="cpu")

    again = train(recipe, faces, tmp_path / "run", device="cpu", resume=True)

    assert again == first
    assert first.epochs < 6


def test_a_run_goes_on_by_its_own_recipe_whatever_that_is_called(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    train(make_recipe(name="first", title="one"), faces, tmp_path / "run", device="cpu")

    own = load_recipe(tmp_path / "run" / "recipe.toml")

    assert own.name != "first"
    assert train(own, faces, tmp_path / "run", device="cpu", resume=True).epochs == own.epochs


def test_pixels_that_are_all_equal_are_told(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    flat = replace(faces, images=np.full_like(faces.images, 7))

    with pytest.raises(DataError, match="nothing to learn"):
        train(make_recipe(), flat, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_early_stopping_ends_a_run_that_does_not_improve(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(epochs=30, patience=2, optimizer={"name": "sgd", "lr": 1e-9})

    assert train(recipe, faces, tmp_path / "run", device="cpu").epochs < 30


def test_progress_is_told_each_step_and_each_epoch(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    seen: list[Progress] = []

    train(make_recipe(), faces, tmp_path / "run", device="cpu", watch=seen.append)

    steps = 224 // 32
    assert [(p.epoch, p.step) for p in seen if p.metrics is None] == [
        (epoch, step) for epoch in (1, 2) for step in range(1, steps + 1)
    ]
    ends = [p for p in seen if p.metrics is not None]
    assert [p.epoch for p in ends] == [1, 2]


def test_a_training_leaves_the_callers_random_numbers_alone(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    torch.manual_seed(7)
    untouched = torch.rand(3)
    torch.manual_seed(7)
    train(make_recipe(epochs=1), faces, tmp_path / "run", device="cpu")

    assert torch.equal(torch.rand(3), untouched)


def test_a_run_is_never_overwritten_or_mixed(
    trained: Path,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(ema_decay=0.9)
    before = (trained / BEST).read_bytes()

    with pytest.raises(CheckpointError, match="already holds a run"):
        train(recipe, faces, trained, device="cpu")
    with pytest.raises(CheckpointError, match="another recipe"):
        train(make_recipe(seed=5), faces, trained, device="cpu", resume=True)
    with pytest.raises(CheckpointError, match="another data"):
        train(recipe, faces.take(range(250)), trained, device="cpu", resume=True)
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(recipe, faces, tmp_path, device="cpu", resume=True)
    assert (trained / BEST).read_bytes() == before


def test_a_finished_run_is_not_overwritten_without_its_last_checkpoint(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns(LAST))
    before = {path.name: path.read_bytes() for path in run.iterdir()}

    with pytest.raises(CheckpointError, match="a finished run: name another folder"):
        train(make_recipe(), faces, run, device="cpu")
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_split_without_images_is_told(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no PublicTest images, only Training"):
        train(make_recipe(), faces.split("Training"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_an_unknown_or_missing_device_is_told() -> None:
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        find_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no cuda device"):
            find_device("cuda")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="asks Linux")
def test_the_devices_that_multiply_bf16_are_told_apart() -> None:
    assert has_bf16_hardware(torch.device("cpu")) == any(
        word in Path("/proc/cpuinfo").read_text() for word in ("avx512_bf16", "amx_bf16", " bf16 ")
    )


def test_what_trains_is_told_in_words(make_recipe: Callable[..., Recipe]) -> None:
    cpu = torch.device("cpu")

    assert describe_hardware(make_recipe(precision="fp32"), cpu) == "on cpu in float32"
    told = describe_hardware(make_recipe(precision="bf16"), cpu)
    assert told == "on cpu in bf16 mixed precision"
    assert describe_hardware(load_recipe("pca-knn"), cpu) == "on the CPU"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_precisions_train(
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    precision: str,
) -> None:
    recipe = make_recipe(precision=precision, epochs=1)

    assert train(recipe, faces, tmp_path / "run", device="cpu").epochs == 1
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["precision"] == {"fp32": "32-true", "bf16": "bf16-mixed"}[precision]


@pytest.mark.parametrize(
    # Another recipe's run and an ensemble come first: tests/benchmarks/test_embedded_model.py.
    "name",
    [
        name
        for name in recipe_names()
        if load_recipe(name).model_name in MODELS and not load_recipe(name).distillation.teachers
    ],
)
def test_every_recipe_takes_two_steps(
    name: str, faces: ExpressionDataset, stand_in_weights: Path, tmp_path: Path
) -> None:
    overrides = ["batch_size=100", "epochs=1"]
    if load_recipe(name).data.balance:
        overrides.append("data.balance=32")
    if load_recipe(name).model_name == "timm":
        weights = f"model.weights={stand_in_weights}"
        overrides += [weights, "model.backbone=resnet10t", "model.size=64"]
    recipe = load_recipe(name, overrides)

    assert train(recipe, faces, tmp_path / "run", device="cpu").epochs == 1


@pytest.mark.parametrize(("patience_on", "epochs"), [("loss", 3), ("accuracy", 6)])
def test_patience_goes_by_loss_or_accuracy(
    patience_on: str,
    epochs: int,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(epochs=9, patience=2, patience_on=patience_on)
    # Loss is best in epoch 1 and accuracy in epoch 4.
    told = {1: (1.0, 0.1), 2: (1.1, 0.2), 3: (1.2, 0.3), 4: (1.3, 0.4)}

    def tell(module: ExpressionModule, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        loss, accuracy = told.get(module.current_epoch + 1, (1.4, 0.3))
        module.log_dict({"val_loss": loss, "val_accuracy": accuracy}, batch_size=len(batch[0]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExpressionModule, "validation_step", tell)
        assert train(recipe, faces, tmp_path / "run", device="cpu").epochs == epochs


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent another way on Windows")
def test_ctrl_c_leaves_a_usable_run(tmp_path: Path) -> None:
    code = """
import sys
from mien.data.synthetic import synthetic_faces
from mien.training import train
from mien.training.recipe_file import recipe_from_dict

recipe = recipe_from_dict({"name": "long", "epochs": 10_000, "batch_size": 32,
                           "model": {"name": "residual", "widths": [4], "blocks": 1}})
try:
    train(recipe, synthetic_faces(100, seed=0), sys.argv[1], device="cpu")
except KeyboardInterrupt:
    print("a loop of trainings would end here")
"""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (folder / LAST).exists():
        assert process.poll() is None, "the training ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert output == "a loop of trainings would end here\n"
    assert process.returncode == 0
    summary = json.loads((folder / "run.json").read_text())
    assert summary["interrupted"]
    assert summary["epochs"] >= 1
    assert load_checkpoint(folder).build_network()
    assert (folder / "curves.png").exists()
