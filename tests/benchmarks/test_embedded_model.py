"""The chain of trainings behind the embedded model, an epoch each, on cartoons."""

from pathlib import Path

import numpy as np
import onnx

from embedded_model import Maker
from mien.data.dataset import ExpressionDataset
from mien.metadata import ModelMetadata
from mien.training.checkpoint import load_checkpoint


def test_the_chain_ends_in_a_taught_model_and_makes_nothing_twice(
    faces: ExpressionDataset, tmp_path: Path
) -> None:
    widths = "model.widths=[4, 8, 8, 8]"  # as many as each of the recipes has
    overrides = ("epochs=1", "progressive.epochs=0", "data.votes=0", widths)
    maker = Maker(faces, tmp_path, device="cpu", overrides=overrides, most_lost=100)

    residual = maker.residual(maker.ensemble())
    path = maker.embedded(residual, maker.plain(residual))

    strings = {item.key: item.value for item in onnx.load(path).metadata_props}
    facts = ModelMetadata.from_strings(strings)
    assert (facts.name, facts.recipe["name"]) == ("mien-s", "mien-s-plain")
    assert facts.uncertain_below == 0.4
    two = ["vgg.onnx", "mien-s.onnx"]
    for run, initial, teachers in (
        ("mien-s-taught", "mien-s-labels", ["mien-l.onnx"]),
        ("plain-taught", "", two),
        ("plain-taught-further", "plain-taught", two),
        ("plain-taught-again", "plain-taught-further", [*two, "plain-taught-further.onnx"]),
        ("mien-s-plain", "plain-taught-again", [*two, "plain-taught-further.onnx"]),
    ):
        recipe = load_checkpoint(tmp_path / run).recipe
        assert Path(recipe.initial).name == initial
        assert [Path(name).name for name in recipe.distillation.teachers] == teachers
    seen = load_checkpoint(tmp_path / "mien-s-plain").seen
    assert seen is not None
    assert seen.contains(faces.split("Training").images).all()
    assert not seen.contains(faces.split("PublicTest").images).any()
    files = [*tmp_path.glob("*/*.ckpt"), *tmp_path.glob("*.onnx")]
    made = {file: file.stat().st_mtime_ns for file in files}
    assert len(made) == 8 * 2 + 5 * 2, "the best and last of eight runs, five files in both forms"

    residual = maker.residual(maker.ensemble())
    assert maker.embedded(residual, maker.plain(residual)) == path

    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert np.isfinite(facts.temperature)
