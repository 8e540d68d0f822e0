from typing import Any

import pytest
import torch
from torch import nn

from mien.errors import RecipeError
from mien.models import count_parameters
from mien.models.attention import ConvolutionalAttention, SqueezeExcitation
from mien.models.plain import PlainNetConfig


def test_the_class_balanced_cnn_has_the_size_reported() -> None:
    large = PlainNetConfig(widths=(64, 128, 256), convolutions=(2, 2, 1), dense=(512,))

    assert count_parameters(large.build(7)) == pytest.approx(5.28e6, rel=0.01)


def test_spatial_dropout_drops_whole_channels() -> None:
    config = PlainNetConfig(
        widths=(64,), convolutions=(1,), block_dropout=0.5, spatial_dropout=True
    )
    network: Any = config.build(7).train()
    block = network.blocks[0]

    maps = block(torch.rand(1, 1, 48, 48)) > 0

    alive = maps.flatten(start_dim=2).any(dim=2)[0]
    assert 10 < alive.sum() < 54
    singly: Any = PlainNetConfig(widths=(64,), convolutions=(1,), block_dropout=0.5).build(7)
    assert singly.train().blocks[0](torch.rand(1, 1, 48, 48)).amax(dim=(2, 3)).all()


def test_dropout_follows_each_block_and_each_dense_layer() -> None:
    network = PlainNetConfig(dense=(64, 32), dropout=0.4, block_dropout=0.25).build(7)

    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]

    assert rates == [0.25] * 3 + [0.4] * 2


def test_dense_layers_are_normalised_before_their_relu_where_asked_for() -> None:
    network: Any = PlainNetConfig(dense=(64, 32)).build(7)
    bare: Any = PlainNetConfig(dense=(64, 32), dense_norm=False).build(7)

    layer = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert [type(module) for module in network.dense] == 2 * layer
    assert [type(module) for module in bare.dense] == 2 * [nn.Linear, nn.ReLU, nn.Dropout]
    assert network.dense[0].bias is None
    assert bare.dense[0].bias is not None


@pytest.mark.parametrize(
    ("attention", "kind"), [("squeeze", SqueezeExcitation), ("cbam", ConvolutionalAttention)]
)
def test_each_block_has_the_attention_asked_for_before_its_pooling(
    attention: Any, kind: type[nn.Module]
) -> None:
    network: Any = PlainNetConfig(
        widths=(8, 16), convolutions=(1, 2), attention=attention, dense=()
    ).build(7)

    for block in network.blocks:
        assert [type(layer) for layer in block][-2:] == [kind, nn.MaxPool2d]
    assert network(torch.rand(2, 1, 48, 48)).shape == (2, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "model.widths"),
        ({"widths": (8,) * 6}, "1 to 5"),
        ({"convolutions": (1, 1)}, "3 numbers"),
        ({"convolutions": (1, 0, 1)}, "1 or more"),
        ({"dense": (0,)}, "model.dense"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"block_dropout": -0.1}, "model.block_dropout"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        PlainNetConfig(**options)  # type: ignore[arg-type]
