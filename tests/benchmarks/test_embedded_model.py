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
    assert facts.recipe["distillation"]["teachers"] == [
        "vgg.onnx",
        "mien-s.onnx",
        "plain-taught-further.onnx",
    ]
    assert facts.recipe["initial"] == "plain-taught-further"
    assert facts.uncertain_below == 0.4
    seen = load_checkpoint(tmp_path / "mien-s-plain").seen
    assert seen is not None
    assert seen.contains(faces.split("Training").images).all()
    assert not seen.contains(faces.split("PublicTest").images).any()
    made = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*.ckpt")}
    assert len(made) == 14, "the best and the last of seven runs"

    residual = maker.residual(maker.ensemble())
    assert maker.embedded(residual, maker.plain(residual)) == path

    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert np.isfinite(facts.temperature)
