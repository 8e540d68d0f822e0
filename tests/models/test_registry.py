from typing import Any

import pytest
import torch
from torch import nn

from mien.errors import RecipeError
from mien.models import MODELS, ModelConfig, build_model, count_multiply_adds, count_parameters
from mien.models.backbone import BackboneConfig
from mien.models.plain import PlainNetConfig
from mien.models.residual import ResidualNetConfig

#: Every network, and each kind of its options, as small as it goes.
CONFIGS: dict[str, ModelConfig] = {
    "plain": PlainNetConfig(),
    "plain, cbam and spatial dropout": PlainNetConfig(
        widths=(8, 8),
        convolutions=(1, 2),
        attention="cbam",
        block_dropout=0.2,
        spatial_dropout=True,
        pooling="average",
        dense=(),
    ),
    "plain without normalisation": PlainNetConfig(norm=False, attention="squeeze"),
    "residual": ResidualNetConfig(),
    "residual, cbam": ResidualNetConfig(attention="cbam", squeeze_from=0),
    "timm ResNet": BackboneConfig(backbone="resnet18", size=64),
    "timm ViT": BackboneConfig(backbone="vit_tiny_patch16_224", size=64, dense=()),
    "timm ConvNeXt": BackboneConfig(backbone="convnext_atto", size=64),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_every_model_reads_faces_and_learns_with_every_weight(config: ModelConfig) -> None:
    model: Any = config.build(5)
    faces = torch.rand(4, 1, 48, 48)

    logits = model(faces)
    assert logits.shape == (4, 5)
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()  # type: ignore[no-untyped-call]

    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    torch.testing.assert_close(model.classify(model.features(faces)), model(faces))


@pytest.mark.parametrize(
    "config", [ResidualNetConfig(), PlainNetConfig(pooling="average")], ids=["residual", "plain"]
)
def test_pooled_models_read_smaller_faces(config: ModelConfig) -> None:
    assert config.build(5).eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 5)


def test_residual_stages_have_blocks_of_their_own() -> None:
    def stages(blocks: int | tuple[int, ...]) -> list[int]:
        model: Any = ResidualNetConfig(widths=(4, 8, 16), blocks=blocks).build(5)
        return [block.conv1.out_channels for block in model.stages]

    assert stages((1, 3, 2)) == [4, 8, 8, 8, 16, 16]
    assert stages(2) == stages((2, 2, 2)) == [4, 4, 8, 8, 16, 16]


@pytest.mark.parametrize("blocks", [0, (1, 2), (1, 0, 1), ()])
def test_residual_blocks_that_fit_no_stages_are_refused(blocks: int | tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match=r"model\.blocks: expected 1 or more, or 3 such numbers"):
        ResidualNetConfig(widths=(4, 8, 16), blocks=blocks)


def test_defaults_build_by_name() -> None:
    for name in MODELS:
        model: Any = build_model(name, num_classes=5)
        assert model.head.out_features == 5


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'residaul'.*did you mean 'residual'"):
        build_model("residaul")


def test_counting_agrees_with_counting_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False), nn.Flatten(), nn.Linear(4 * 64, 7)
    )

    assert count_parameters(model) == 4 * 9 + 4 * 64 * 7 + 7
    assert count_multiply_adds(model, 16) == 4 * 9 * 64 + 4 * 64 * 7
    assert model.training, "counting leaves the mode as it was"


def test_the_residual_network_is_as_large_as_said() -> None:
    model = build_model("residual")

    assert count_parameters(model) == pytest.approx(2.8e6, rel=0.03)
    assert count_multiply_adds(model, 48) == pytest.approx(78e6, rel=0.03)
