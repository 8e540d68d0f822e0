import pytest
import torch
from torch import nn

from mien.models import MODELS, build_model, count_multiply_adds, count_parameters


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [32, 48])
def test_every_model_reads_faces_of_either_size(name: str, size: int) -> None:
    model = build_model(name, num_classes=5).eval()

    assert model(torch.zeros(2, 1, size, size)).shape == (2, 5)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_passes_gradients_to_every_weight(name: str) -> None:
    model = build_model(name)
    nn.functional.cross_entropy(model(torch.randn(4, 1, 48, 48)), torch.arange(4)).backward()  # type: ignore[no-untyped-call]

    assert all(p.grad is not None for p in model.parameters())


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


def test_the_embedded_model_is_as_large_as_said() -> None:
    model = build_model("residual")

    assert count_parameters(model) == pytest.approx(2.8e6, rel=0.03)
    assert count_multiply_adds(model, 48) == pytest.approx(78e6, rel=0.03)
