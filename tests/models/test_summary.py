import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from mien.models import MODELS, build_model, count_multiply_adds, count_parameters, summarise
from mien.models.summary import LayerSummary, group_repeats


class Attending(nn.Module):
    """Reads a 16×16 face as 16 tokens of 16, by torch's own attention or by its function."""

    def __init__(self, *, own: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True) if own else None
        self.head = nn.Linear(16, 7)

    def forward(self, faces: Tensor) -> Tensor:
        tokens = faces.reshape(len(faces), 16, 16)
        if self.attention is not None:
            tokens = self.attention(tokens, tokens, tokens)[0]
        else:
            tokens = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(tokens.mean(dim=1))  # type: ignore[no-any-return]


class Colourful(nn.Module):
    """Makes of the grey face what a backbone for large colour pictures takes."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, faces: Tensor) -> Tensor:
        larger = F.interpolate(faces, 64).expand(-1, 3, -1, -1)
        return self.backbone(larger)  # type: ignore[no-any-return]


def walk(layer: LayerSummary) -> list[LayerSummary]:
    return [layer, *(inner for part in layer.layers for inner in walk(part))]


@pytest.mark.parametrize("name", MODELS)
def test_what_is_outside_and_inside_adds_up(name: str) -> None:
    network = build_model(name, num_classes=5)
    summary = summarise(network)
    layers = walk(summary)

    assert sum(layer.own_parameters for layer in layers) == count_parameters(network)
    assert sum(layer.own_multiply_adds for layer in layers) == summary.multiply_adds
    assert (summary.input_shape, summary.output_shape) == ((1, 48, 48), (5,))
    assert min(min(layer.own_parameters, layer.own_multiply_adds) for layer in layers) >= 0


def test_each_layer_by_hand() -> None:
    conv = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=False)
    summary = summarise(nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(256, 7)), 16)
    first, _, flat, last = summary.layers

    assert (first.name, first.kind, first.detail) == ("0", "Conv2d", "3×3, stride 2")
    assert (first.input_shape, first.output_shape) == ((1, 16, 16), (4, 8, 8))
    assert (first.parameters, first.multiply_adds) == (4 * 9, 4 * 9 * 64)
    assert (flat.output_shape, flat.multiply_adds) == ((256,), 0)
    assert (last.parameters, last.multiply_adds) == (256 * 7 + 7, 256 * 7)


def test_groups_compute_less() -> None:
    grouped = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    network = nn.Sequential(nn.Conv2d(1, 8, 1), grouped)

    assert summarise(network, 10).layers[1].multiply_adds == 8 * 9 * 100
    assert summarise(network, 10).layers[1].detail == "3×3, 8 groups"


@pytest.mark.parametrize("own", [True, False])
def test_the_products_of_attention_count(own: bool) -> None:
    products = 2 * 16 * 16 * 16
    projections = 4 * 16 * 16 * 16 if own else 0

    assert count_multiply_adds(Attending(own=own), 16) == products + projections + 16 * 7


def test_a_dense_layer_counts_for_each_token() -> None:
    assert count_multiply_adds(nn.Linear(16, 5), 16) == 16 * 16 * 5


def test_frozen_parameters_are_told() -> None:
    network = build_model("residual")
    network.stem.requires_grad_(False)
    summary = summarise(network)
    frozen = summary.layers[0].parameters

    assert summary.layers[0].trainable_parameters == 0
    assert summary.parameters - summary.trainable_parameters == frozen > 0
    assert count_parameters(network, trainable=True) == summary.trainable_parameters


def test_a_layer_used_twice_computes_twice_and_weighs_once() -> None:
    shared = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    summary = summarise(nn.Sequential(shared, nn.Sequential(shared)), 10)

    assert (summary.parameters, summary.multiply_adds) == (9, 2 * 900)


def test_residual_blocks_are_seen_and_nothing_else() -> None:
    layers = walk(summarise(build_model("residual")))

    assert {layer.kind for layer in layers if layer.shortcut} == {"ResidualBlock"}
    assert sum(layer.shortcut for layer in layers) == 8
    assert not any(layer.shortcut for layer in walk(summarise(build_model("plain"))))


def test_the_network_stays_as_it_was() -> None:
    network = build_model("plain")
    network.dense.eval()  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    summarise(network)

    assert network.training
    assert not network.dense.training  # type: ignore[union-attr]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_memory_is_summarised_too() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.AvgPool2d(2), nn.Flatten())

    assert summarise(network) == summarise(network.to_empty(device="cpu"))


def test_repeats_are_alike_in_all_but_name() -> None:
    parts = [nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)]
    summary = summarise(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *parts, nn.ReLU()))

    assert [len(group) for group in group_repeats(summary.layers)] == [1, 3, 1]
    assert list(group_repeats(())) == []


def test_a_backbone_of_timm_behind_an_adapter() -> None:
    timm = pytest.importorskip("timm")
    network = Colourful(timm.create_model("resnet18", pretrained=False, num_classes=7))
    summary = summarise(network)
    (backbone,) = summary.layers

    assert backbone.input_shape == (3, 64, 64)
    assert summary.parameters == sum(p.numel() for p in network.parameters())
    # 1.82 G at 224 px, as published (He et al. 2016: 1.8 G); all but the head goes by the area.
    assert summary.multiply_adds == pytest.approx(1.814e9 * (64 / 224) ** 2, rel=0.01)
    assert sum(layer.shortcut for layer in walk(summary)) == 8
