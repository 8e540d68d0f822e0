import pytest

from mien.evaluation import training_dynamics


def rows(train: list[float], validation: list[float], loss: list[float]) -> list[dict[str, float]]:
    return [
        {"epoch": i, "train_accuracy": t, "val_accuracy": v, "val_loss": x}
        for i, (t, v, x) in enumerate(zip(train, validation, loss, strict=True), 1)
    ]


def test_a_gap_is_overfitting_and_measured_at_the_best_epoch() -> None:
    d = training_dynamics(
        rows([0.5, 0.8, 0.99, 0.999], [0.5, 0.66, 0.65, 0.64], [1.2, 1.0, 1.02, 1.03])
    )

    assert (d.epochs, d.best_epoch, d.lowest_loss_epoch) == (4, 2, 2)
    assert d.gap_points == pytest.approx(14)
    assert d.overfits
    assert not d.still_improving
    assert "The model overfits" in d.verdict()
    assert "gap of 14.0 points" in d.verdict()


def test_a_risen_validation_loss_is_overfitting_without_a_gap() -> None:
    accuracies = [0.5, 0.6, 0.6, 0.6, 0.6, 0.6]
    d = training_dynamics(rows(accuracies, accuracies, [1.2, 1.0, 1.1, 1.3, 1.3, 1.3]))

    assert d.loss_rise == pytest.approx(0.3)
    assert d.overfits
    assert "30 % above its lowest, of epoch 2" in d.verdict()


def test_one_bad_last_epoch_is_no_rise() -> None:
    accuracies = [0.5, 0.6, 0.6, 0.6]
    d = training_dynamics(rows(accuracies, accuracies, [1.2, 1.0, 1.0, 3.0]))

    assert d.loss_rise == pytest.approx(0)
    assert not d.overfits
    assert "ended where it was lowest" in d.verdict()


def test_a_run_that_still_improves_is_told_to_go_on() -> None:
    d = training_dynamics(rows([0.4, 0.5, 0.6], [0.45, 0.55, 0.62], [1.3, 1.2, 1.1]))

    assert d.still_improving
    assert d.gap_points == pytest.approx(-2)
    assert d.verdict().startswith("No overfitting to speak of")
    assert "longer training may gain more" in d.verdict()


def test_an_overfitted_run_is_not_told_to_go_on() -> None:
    d = training_dynamics(rows([0.4, 0.9], [0.45, 0.6], [1.3, 1.2]))

    assert d.still_improving
    assert "longer" not in d.verdict()


def test_no_epochs_are_told() -> None:
    with pytest.raises(ValueError, match="no epochs"):
        training_dynamics([])


def test_a_loss_that_only_ever_fell_has_not_risen() -> None:
    accuracies = [0.3, 0.5, 0.6]
    d = training_dynamics(rows(accuracies, accuracies, [3.0, 2.0, 1.0]))

    assert d.loss_rise == 0
    assert not d.overfits


def test_a_rise_counts_only_what_came_after_the_lowest() -> None:
    accuracies = [0.6] * 5
    d = training_dynamics(rows(accuracies, accuracies, [9.0, 8.0, 1.0, 1.02, 1.04]))

    assert d.loss_rise == pytest.approx(0.02)


def test_a_loss_that_is_no_number_is_called_diverged() -> None:
    nan = float("nan")
    d = training_dynamics(rows([0.3, 0.3], [0.3, nan], [nan, nan]))

    assert (d.diverged_epoch, d.best_epoch, d.lowest_loss_epoch, d.loss_rise) == (1, 1, None, None)
    assert d.verdict().startswith("The loss diverged: in epoch 1")
    assert "nan" not in d.verdict()

    nothing = training_dynamics(rows([nan], [nan], [nan]))
    assert nothing.gap_points is None
    assert not nothing.overfits
    assert "nan" not in nothing.verdict()
