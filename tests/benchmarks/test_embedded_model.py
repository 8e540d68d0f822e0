"""The chain of trainings behind the embedded model, an epoch each, on cartoons."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from embedded_model import Maker
from mien.data.dataset import ExpressionDataset
from mien.metadata import ModelMetadata
from mien.models.plain import PlainNetConfig
from mien.models.residual import ResidualNetConfig
from mien.training import Recipe
from mien.training.checkpoint import load_checkpoint

#: Of each training, what it starts from and who teaches it.
CHAIN = {
    "residual-taught": ("residual", ["first-ensemble"]),
    "plain-taught": ("", ["vgg", "residual-taught"]),
    "plain-taught-further": ("plain-taught", ["vgg", "residual-taught"]),
    "plain-taught-again": (
        "plain-taught-further",
        ["vgg", "residual-taught", "plain-taught-further"],
    ),
    "vgg-taught": ("", ["vgg", "residual-taught", "plain-taught-further"]),
    "vgg-taught-mild": ("vgg-taught", ["vgg", "residual-taught", "plain-taught-again"]),
    "plain-taught-mild": ("plain-taught-again", ["vgg", "residual-taught", "plain-taught-further"]),
    "mien-s": ("", ["residual-taught", "plain-taught-mild", "vgg-taught-mild", "balanced-large"]),
}
LABELLED = {"residual-54", "residual", "vgg", "balanced-large"}


def shrink(recipe: Recipe) -> Recipe:
    """An epoch of a narrow network of the same kind, without votes: cartoons have none."""
    model = recipe.model
    assert isinstance(model, PlainNetConfig | ResidualNetConfig)
    widths = (4,) + (8,) * (len(model.widths) - 1)
    return replace(
        recipe,
        epochs=1,
        data=replace(recipe.data, votes=0.0, balance=0),
        progressive=replace(recipe.progressive, epochs=0),
        model=replace(model, widths=widths),
    )


def test_the_chain_ends_in_a_taught_model_and_makes_nothing_twice(
    faces: ExpressionDataset, tmp_path: Path
) -> None:
    maker = Maker(faces, tmp_path, device="cpu", change=shrink, most_lost=100)

    path, large = maker.file("mien-s"), maker.file("mien-l")

    facts, ensemble = map(metadata_of, (path, large))
    assert (facts.name, facts.recipe["name"]) == ("mien-s", "mien-s")
    assert facts.uncertain_below == 0.4
    assert np.isfinite(facts.temperature)
    assert ensemble.name == "mien-l"
    runs = {file.parent.name for file in tmp_path.glob("*/best.ckpt")}
    assert runs == LABELLED | set(CHAIN)
    for run, (initial, teachers) in CHAIN.items():
        recipe = load_checkpoint(tmp_path / run).recipe
        assert recipe.name == run
        assert Path(recipe.initial).name == initial
        assert [Path(name).stem for name in recipe.distillation.teachers] == teachers
    seen = load_checkpoint(tmp_path / "mien-s").seen
    assert seen is not None
    assert seen.contains(faces.split("Training").images).all()
    assert not seen.contains(faces.split("PublicTest").images).any()
    made = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}

    assert (maker.file("mien-s"), maker.file("mien-l")) == (path, large)
    assert maker.run("mien-s") == tmp_path / "mien-s"

    after = {file: file.stat().st_mtime_ns for file in made if file.suffix in {".ckpt", ".onnx"}}
    assert after == {file: made[file] for file in after}
    assert len(after) == 2 * len(runs) + 2 * 10, "best and last; ten files in both forms"


def metadata_of(path: Path) -> ModelMetadata:
    strings = {item.key: item.value for item in onnx.load(path).metadata_props}
    return ModelMetadata.from_strings(strings)
