import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from mien.analysis.classifier import ExpressionClassifier
from mien.data.dataset import ExpressionDataset
from mien.data.selection import regroup_classes
from mien.dequantization import float_weights
from mien.errors import CheckpointError, ModelError, RecipeError
from mien.evaluation import open_predictor
from mien.export import export
from mien.metadata import DEFAULT_MODEL, EMBEDDED
from mien.models.backbone import BackboneConfig
from mien.preprocess import standardise
from mien.training import Progress, Recipe, train
from mien.training.checkpoint import load_checkpoint
from mien.training.history import History
from mien.training.initial import (
    Initial,
    Start,
    build_network,
    continue_recipe,
    frozen_modules,
    load_initial,
    load_start,
)


def begin(initial: Initial) -> Start:
    return Start(mean=initial.mean, std=initial.std, initial=initial)


def logits(network: Any, faces: ExpressionDataset, *, mean: float, std: float) -> torch.Tensor:
    network.eval()
    with torch.no_grad():
        answers: torch.Tensor = network(
            torch.from_numpy(standardise(faces.images, mean=mean, std=std))
        )
    return answers


@pytest.mark.parametrize("kind", ["run", "checkpoint", "onnx"])
def test_a_trained_model_starts_as_it_ended(
    kind: str,
    trained: Path,
    exported: Path,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
) -> None:
    source = {"run": trained, "checkpoint": trained / "best.ckpt", "onnx": exported}[kind]
    before = load_checkpoint(trained)
    initial = load_initial(str(source))

    network = build_network(make_recipe(initial=str(source)), faces, begin(initial))

    assert (initial.mean, initial.std, initial.classes) == (before.mean, before.std, before.classes)
    scale = {"mean": initial.mean, "std": initial.std}
    torch.testing.assert_close(
        logits(network, faces, **scale),
        logits(before.build_network(), faces, **scale),
        rtol=1e-3,
        atol=1e-4,
    )


def test_a_quantized_model_starts_from_its_weights_in_float32(
    exported: Path,
    quantized: Path,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
) -> None:
    initial, before = (load_initial(str(file)) for file in (quantized, exported))

    network = build_network(make_recipe(), faces, begin(initial))

    expected = float_weights(onnx.load(quantized))
    for name, weights in initial.weights.items():
        np.testing.assert_array_equal(network.state_dict()[name], expected[name])
        assert 0 < (weights - before.weights[name]).abs().max() < 0.01 * weights.abs().max(), name
    assert initial.weights.keys() == before.weights.keys()
    assert initial.folded.keys() == before.folded.keys()
    scale = {"mean": initial.mean, "std": initial.std}
    started = logits(network, faces, **scale)
    float32 = logits(build_network(make_recipe(), faces, begin(before)), faces, **scale)
    assert (started - float32).abs().mean() < 0.05 * float32.std()


@pytest.mark.parametrize("form", ["exported", "quantized"])
def test_an_exported_model_can_be_trained_on_at_once(
    form: str,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    request: pytest.FixtureRequest,
) -> None:
    """Its normalisations must find in a batch what they are set to."""
    initial = load_initial(str(request.getfixturevalue(form)))
    network = build_network(make_recipe(), faces, begin(initial))
    inputs = torch.from_numpy(standardise(faces.images, mean=initial.mean, std=initial.std))

    with torch.no_grad():
        steady = network.eval()(inputs)
        by_batch = network.train()(inputs)

    torch.testing.assert_close(by_batch, steady, rtol=0.05, atol=0.05)


def test_other_classes_get_a_fresh_last_layer(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    two = regroup_classes(faces, ("happy", "sad"))
    initial = load_initial(str(trained))

    network: Any = build_network(make_recipe(initial=str(trained)), two, begin(initial))

    assert network.head.out_features == 2
    torch.testing.assert_close(network.stem[0].weight, initial.weights["stem.0.weight"])


def test_the_embedded_model_can_be_started_from(faces: ExpressionDataset) -> None:
    initial = load_initial(EMBEDDED)

    network = build_network(initial.recipe, faces, begin(initial))

    assert initial.recipe.name == "mien-s"
    some = faces.take(range(20))
    started = logits(network, some, mean=initial.mean, std=initial.std)
    answers = torch.from_numpy(open_predictor(DEFAULT_MODEL).logits(some.images))
    # The file rounds what layers hand to each other, and divides by its temperature.
    answers *= ExpressionClassifier().metadata.temperature
    assert (started - answers).abs().mean() < 0.1 * answers.std()


def test_a_frozen_run_trains_the_last_layers_alone(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    before = load_checkpoint(trained).weights
    train(make_recipe(initial=str(trained), frozen=True), faces, tmp_path / "frozen", device="cpu")
    after = load_checkpoint(tmp_path / "frozen").weights

    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}


def test_features_computed_once_give_what_computing_them_each_epoch_gives(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    once = make_recipe(initial=str(trained), frozen=True)
    # Noise of nothing counts as random, and changes nothing.
    always = make_recipe(
        initial=str(trained), frozen=True, augment={"noise": 1e-9, "noise_probability": 0}
    )
    assert once.has_fixed_features
    assert not always.has_fixed_features
    assert not replace(once, refine_epochs=1).has_fixed_features, "its faces are mirrored then"

    for name, recipe in (("once", once), ("always", always)):
        train(recipe, faces, tmp_path / name, device="cpu")

    ours, theirs = (load_checkpoint(tmp_path / name).weights for name in ("once", "always"))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4)


def test_fixed_features_are_computed_once(
    trained: Path,
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mien.models.residual import ResidualNet

    seen = []
    features = ResidualNet.features

    def counted(self: ResidualNet, batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        time.sleep(0.1)
        return features(self, batch)

    monkeypatch.setattr(ResidualNet, "features", counted)
    recipe = make_recipe(initial=str(trained), frozen=True, epochs=3)
    told = list[Progress]()
    train(recipe, faces, tmp_path / "run", device="cpu", watch=told.append)

    measured = 1  # count_multiply_adds passes one face through
    assert sum(seen) == len(faces.split("Training")) + len(faces.split("PublicTest")) + measured
    shares = [progress.prepared for progress in told if progress.prepared is not None]
    assert len(shares) == len(seen) - measured
    assert shares[0] == 0
    assert all(progress.prepared is None for progress in told[-3:])
    # Their time counts, as the first epoch's.
    first = History(tmp_path / "run", keep=True).rows[0]
    assert first["seconds"] >= 0.1 * len(shares)


def test_random_features_are_not_frozen(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    with pytest.raises(RecipeError, match="random features"):
        build_network(make_recipe(frozen=True), faces, Start(mean=0.5, std=0.25))


def test_dense_layers_are_not_normalised_over_one_face(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    start = Start(mean=0.5, std=0.25)
    with pytest.raises(RecipeError, match="needs two faces a step or more, got one"):
        build_network(make_recipe(model={"name": "plain"}, batch_size=1), faces, start)
    with pytest.raises(RecipeError, match="needs two faces a step or more, got one"):
        build_network(make_recipe(model={"name": "plain"}), faces.take([0]), start)

    build_network(
        make_recipe(model={"name": "plain", "dense_norm": False}, batch_size=1), faces, start
    )
    build_network(make_recipe(batch_size=1), faces, start)


def test_what_cannot_be_started_from_is_told(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="neither 'mien-s' nor a run"):
        load_initial("mien-xxl")
    with pytest.raises(CheckpointError, match="neither 'mien-s' nor a run"):
        load_initial("~nobody-here/run")
    with pytest.raises(ModelError, match="no model at"):
        load_initial(str(tmp_path / "none.onnx"))
    (tmp_path / "broken.onnx").write_bytes(b"\x00no")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        load_initial(str(tmp_path / "broken.onnx"))
    wider = make_recipe(model={"name": "residual", "widths": [16, 16], "blocks": 1})
    with pytest.raises(CheckpointError, match="do not fit, give \\[model\\] as in its recipe"):
        build_network(wider, faces, begin(load_initial(str(trained))))


def test_features_are_all_but_the_head() -> None:
    network = build_network_of_plain()

    assert [type(m).__name__ for m in frozen_modules(network)] == ["Sequential", "Identity"]
    assert np.prod(network.classify(network.features(torch.zeros(1, 1, 48, 48))).shape) == 7


def build_network_of_plain() -> Any:
    from mien.models import build_model

    return build_model("plain").eval()


@pytest.mark.parametrize(
    "model",
    [
        {"name": "plain", "widths": [8, 8], "convolutions": [1, 2]},
        {"name": "timm", "backbone": "resnet10t", "size": 64},
    ],
    ids=["plain", "timm"],
)
def test_other_networks_start_from_their_export_too(
    model: dict[str, Any],
    faces: ExpressionDataset,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(model=model, epochs=1, data={"scaling": "unit"})
    train(recipe, faces, tmp_path / "run", device="cpu")
    path = export(tmp_path / "run").path
    dropping = make_recipe(
        model={**model, "dropout": 0.1}, initial=str(path), data={"scaling": "unit"}
    )

    network = build_network(dropping, faces, begin(load_initial(str(path))))

    torch.testing.assert_close(
        logits(network, faces, mean=0.0, std=1.0),
        logits(load_checkpoint(tmp_path / "run").build_network(), faces, mean=0.0, std=1.0),
        rtol=1e-3,
        atol=1e-3,
    )


def test_normalisations_elsewhere_are_not_unfolded(
    faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(
        model={"name": "timm", "backbone": "densenet121", "size": 32}, data={"scaling": "unit"}
    )
    network: Any = BackboneConfig(backbone="densenet121", size=32).build(7)
    weights = {
        n: w for n, w in network.state_dict().items() if "denseblock1.denselayer1.norm1" not in n
    }
    initial = Initial(
        recipe=recipe,
        classes=faces.classes,
        mean=0.0,
        std=1.0,
        weights=weights,
        folded={"backbone.features.conv0": torch.zeros(64)},
    )

    with pytest.raises(CheckpointError, match="normalisations are not where"):
        build_network(recipe, faces, begin(initial))


def test_a_run_goes_on_without_what_it_started_from(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "first")
    recipe = make_recipe(initial=str(tmp_path / "first"), epochs=3)
    train(recipe, faces, tmp_path / "whole", device="cpu")

    def stop(progress: Progress) -> None:
        if progress.epoch == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe, faces, tmp_path / "broken", device="cpu", watch=stop)
    shutil.rmtree(tmp_path / "first")
    train(recipe, faces, tmp_path / "broken", device="cpu", resume=True)

    whole, broken = (load_checkpoint(tmp_path / name) for name in ("whole", "broken"))
    assert (whole.mean, whole.std) == (broken.mean, broken.std)
    for name, weights in whole.weights.items():
        assert torch.equal(weights, broken.weights[name]), name


def test_the_scale_is_that_of_the_model_before(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    wrong = make_recipe(initial=str(trained), data={"scaling": "unit"})
    with pytest.raises(RecipeError, match=r"data\.scaling"):
        load_start(wrong, faces)

    continued = continue_recipe(wrong, str(trained), ["model.dropout=0.4"])
    assert load_start(continued, faces).initial is not None
    assert continued.to_dict()["model"]["dropout"] == 0.4
    with pytest.raises(RecipeError, match="leave it out"):
        continue_recipe(wrong, str(trained), ["initial=mien-s"])
