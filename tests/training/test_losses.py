from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from mien.errors import RecipeError
from mien.training import Recipe
from mien.training.losses import (
    ExpressionLoss,
    balanced_weights,
    build_loss,
    distillation_loss,
)

LOGITS = torch.tensor([[4.0, 0.0, 0.0], [0.5, 0.0, 0.2], [0.0, 1.0, 3.0]])
LABELS = torch.tensor([0, 1, 2])


def test_cross_entropy_is_torchs(make_recipe: Callable[..., Recipe]) -> None:
    loss = ExpressionLoss(make_recipe(label_smoothing=0.1))

    weights = torch.tensor([1.0, 2.0, 0.5])
    weighted = ExpressionLoss(make_recipe(label_smoothing=0.1), weights)

    torch.testing.assert_close(
        loss(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    )
    torch.testing.assert_close(
        weighted(LOGITS, LABELS),
        F.cross_entropy(LOGITS, LABELS, weight=weights, label_smoothing=0.1),
    )


def test_focal_without_gamma_is_cross_entropy(make_recipe: Callable[..., Recipe]) -> None:
    weights = torch.tensor([1.0, 2.0, 0.5])
    plain = ExpressionLoss(make_recipe(), weights)
    nearly = ExpressionLoss(make_recipe(loss={"name": "focal", "gamma": 1e-9}), weights)

    assert nearly(LOGITS, LABELS) == pytest.approx(plain(LOGITS, LABELS).item(), rel=1e-5)


def test_focal_looks_away_from_what_is_easy(make_recipe: Callable[..., Recipe]) -> None:
    def share_of_easy(gamma: float) -> float:
        loss = ExpressionLoss(make_recipe(loss={"name": "focal", "gamma": gamma}))
        easy = loss(LOGITS[:1], LABELS[:1])
        return float(easy / (easy + loss(LOGITS[1:2], LABELS[1:2])))

    assert share_of_easy(2.0) < share_of_easy(0.5) / 5


def test_labels_and_sure_targets_have_the_same_loss(make_recipe: Callable[..., Recipe]) -> None:
    weights = torch.tensor([1.0, 2.0, 0.5])
    for recipe in (make_recipe(), make_recipe(loss={"name": "focal"}, label_smoothing=0.1)):
        loss = ExpressionLoss(recipe, weights)
        assert loss(LOGITS, F.one_hot(LABELS, 3).float()) == pytest.approx(
            loss(LOGITS, LABELS).item()
        )


def test_balanced_weights_make_classes_count_the_same() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2])

    weights = balanced_weights(labels, 4)

    torch.testing.assert_close(weights, torch.tensor([0.5, 1.5, 3.0, 0.0]))
    assert weights[labels].sum() == len(labels)


def test_the_recipe_decides_whether_classes_are_weighed(make_recipe: Callable[..., Recipe]) -> None:
    learned = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 2])

    even = build_loss(make_recipe(), learned, "abc")
    balanced = build_loss(make_recipe(loss={"class_weights": "balanced"}), learned, "abc")

    torch.testing.assert_close(even(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS))
    weights = balanced_weights(learned, 3)
    expected = F.cross_entropy(LOGITS, LABELS, weight=weights)
    torch.testing.assert_close(balanced(LOGITS, LABELS), expected)


def test_the_recipe_lowers_the_logits_of_the_classes_it_names(
    make_recipe: Callable[..., Recipe],
) -> None:
    margins = {"class_margins": ["c = 0.5", "a=-1"]}

    loss = build_loss(make_recipe(loss=margins), LABELS, "abc")

    torch.testing.assert_close(loss.lower(LOGITS), LOGITS - torch.tensor([-1.0, 0.0, 0.5]))
    with pytest.raises(RecipeError, match=r"^loss.class_margins: unknown class 'c'"):
        build_loss(make_recipe(loss=margins), LABELS, "ab")


def test_focal_has_a_slope_where_the_answer_is_sure(make_recipe: Callable[..., Recipe]) -> None:
    logits = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True)

    loss = ExpressionLoss(make_recipe(loss={"name": "focal", "gamma": 0.5}))
    (slope,) = torch.autograd.grad(loss(logits, LABELS[:1]), logits)

    assert torch.isfinite(slope).all()


def test_votes_for_classes_without_weight_cost_nothing(make_recipe: Callable[..., Recipe]) -> None:
    loss = ExpressionLoss(make_recipe(), torch.tensor([0.0, 1.0, 1.0]))

    assert loss(LOGITS[:1], torch.tensor([[1.0, 0.0, 0.0]])) == 0


def test_distillation_is_least_where_both_agree() -> None:
    for temperature in (1.0, 4.0):
        taught = torch.softmax(LOGITS / temperature, dim=1)
        same = LOGITS.clone().requires_grad_()
        distillation_loss(same, taught, temperature=temperature).backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(same.grad, torch.zeros_like(LOGITS))


def test_distillation_at_temperature_one_is_cross_entropy_to_probabilities() -> None:
    taught = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])

    loss = distillation_loss(LOGITS, taught, temperature=1.0)

    torch.testing.assert_close(loss, F.cross_entropy(LOGITS, taught))
