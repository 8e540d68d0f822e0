import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from mien.errors import ModelError
from mien.evaluation.explanation import DifferentiableModel, grad_cam, occlusion_sensitivity
from mien.evaluation.explanation.saliency import _last_maps
from mien.models.backbone import BackboneConfig
from mien.models.plain import PlainNetConfig
from mien.models.residual import ResidualNetConfig

Images = npt.NDArray[np.uint8]


def share_in_quarter(maps: npt.NDArray[np.float32]) -> float:
    return float(maps[:, :24, :24].sum() / maps.sum())


def as_model(network: nn.Module) -> DifferentiableModel:
    names = tuple("abcdefg")
    return DifferentiableModel(network=network.eval(), classes=names, mean=0.5, std=0.25)


def test_grad_cam_is_where_the_network_looks(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    maps = grad_cam(quarter_model, lit_faces, np.zeros(12, int))

    assert maps.shape == lit_faces.shape
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    np.testing.assert_allclose(maps.max(axis=(1, 2)), 1)
    assert share_in_quarter(maps) > 0.6, "the maps are bright there, and weigh the same all over"


def test_what_speaks_against_a_class_is_no_evidence_for_it(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    assert not grad_cam(quarter_model, lit_faces, np.ones(12, int)).any()


def test_occlusion_is_where_hiding_hurts(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    falls = occlusion_sensitivity(quarter_model, lit_faces, np.zeros(12, int))

    assert falls.shape == lit_faces.shape
    assert falls.dtype == np.float32
    assert 0 < falls.max() < 1
    # A patch that only reaches into the quarter from outside counts for its pixels as well.
    assert share_in_quarter(falls) > 0.75
    np.testing.assert_allclose(falls[:, 36:, 36:], 0, atol=1e-6)
    other = occlusion_sensitivity(quarter_model, lit_faces, np.ones(12, int))
    np.testing.assert_allclose(other, -falls, atol=1e-5)


def test_many_faces_are_each_explained_by_themselves(quarter_model: DifferentiableModel) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 48, 48)).astype(np.uint8)
    classes = np.arange(70) % 2

    for explain in (grad_cam, occlusion_sensitivity):
        together = explain(quarter_model, images, classes)
        last = explain(quarter_model, images[-1:], classes[-1:])
        np.testing.assert_allclose(together[-1:], last, atol=1e-5)
    assert grad_cam(quarter_model, images[:0], classes[:0]).shape == (0, 48, 48)


@pytest.mark.parametrize(
    ("config", "channels"),
    [
        (ResidualNetConfig(widths=(4, 8, 12), blocks=1), 12),
        (PlainNetConfig(widths=(4, 8), convolutions=(1, 1), dense=(6,), block_dropout=0.2), 8),
        (PlainNetConfig(widths=(4, 8), convolutions=(1, 1), pooling="average"), 8),
        (BackboneConfig(backbone="resnet10t", size=64), 512),
    ],
    ids=["residual", "flatten", "average", "timm"],
)
def test_maps_come_from_the_last_layer_before_pooling(
    config: ResidualNetConfig | PlainNetConfig | BackboneConfig, channels: int
) -> None:
    torch.manual_seed(0)
    model = as_model(config.build(7))
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    for parameter in model.network.parameters():
        parameter.requires_grad_(False)  # as in a recipe that freezes its features
    seen: list[tuple[int, ...]] = []
    layer = _last_maps(model, images[:1])
    hook = layer.register_forward_hook(lambda *io: seen.append(tuple(io[-1].shape[1:])))
    model.logits(images)
    hook.remove()

    sides = {4: 12, 8: 24, 12: 6, 512: 2}
    assert seen == [(channels, sides[channels], sides[channels])]
    maps = grad_cam(model, images, np.array([0, 3, 6]))
    assert maps.shape == images.shape
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("layout", ["N, tokens, channels", "N, rows, columns, channels"])
def test_networks_without_maps_are_told_of_occlusion(layout: str) -> None:
    class Tokens(nn.Module):
        """What transformers do with a face: patches, then tokens in one of two layouts."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(1, 6, 16, stride=16)
            self.norm = nn.LayerNorm(6)
            self.head = nn.Linear(6, 7)

        def forward(self, faces: torch.Tensor) -> torch.Tensor:
            maps = self.patches(faces)
            tokens = maps.permute(0, 2, 3, 1)
            if layout == "N, tokens, channels":
                tokens = tokens.flatten(1, 2)
            normed: torch.Tensor = self.norm(tokens)
            logits: torch.Tensor = self.head(normed.flatten(1, -2).mean(dim=1))
            return logits

    images = np.zeros((1, 48, 48), np.uint8)
    with pytest.raises(ModelError, match="--method occlusion"):
        grad_cam(as_model(Tokens()), images, np.zeros(1, int))


def test_wrong_arguments_are_refused(quarter_model: DifferentiableModel, lit_faces: Images) -> None:
    with pytest.raises(ValueError, match="12 classes"):
        grad_cam(quarter_model, lit_faces, np.zeros(3, int))
    with pytest.raises(ValueError, match="uint8"):
        grad_cam(quarter_model, lit_faces / 255, np.zeros(12, int))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stride"):
        occlusion_sensitivity(quarter_model, lit_faces, np.zeros(12, int), patch=4, stride=5)
