import json

import numpy as np
import numpy.typing as npt
import pytest

from mien.analysis.video.smoothing import ExpressionSmoother
from mien.errors import ModelError

CLASSES = ("happy", "sad", "neutral")
HAPPY, SAD, NEUTRAL = np.eye(3) * 0.7 + 0.1
EVEN = np.full(3, 1 / 3)


def run(
    smoother: ExpressionSmoother, rows: list[npt.NDArray[np.float64]], *, fps: float = 30
) -> list[str]:
    return [smoother.update(1, index / fps, row)[1] for index, row in enumerate(rows)]


def test_the_average_does_not_depend_on_the_frame_rate() -> None:
    slow, fast = ExpressionSmoother(CLASSES), ExpressionSmoother(CLASSES)
    for index in range(11):
        slow_row, _ = slow.update(1, index / 10, HAPPY if index < 5 else SAD)
    for index in range(101):
        fast_row, _ = fast.update(1, index / 100, HAPPY if index < 50 else SAD)

    np.testing.assert_allclose(slow_row, fast_row, atol=0.05)
    assert slow_row.sum() == pytest.approx(1)


def test_the_first_readings_weigh_the_same() -> None:
    smoother = ExpressionSmoother(CLASSES, time_constant_s=10)
    for index, row in enumerate((HAPPY, SAD, SAD, SAD)):
        smoothed, _ = smoother.update(1, index / 30, row)

    np.testing.assert_allclose(smoothed, (HAPPY + 3 * SAD) / 4)


def test_a_flicker_is_not_shown_and_a_change_is() -> None:
    flicker = run(ExpressionSmoother(CLASSES), [HAPPY] * 30 + [SAD] * 3 + [HAPPY] * 30)
    change = run(ExpressionSmoother(CLASSES), [HAPPY] * 30 + [SAD] * 30)

    assert set(flicker) == {"happy"}
    assert change[:30] == ["happy"] * 30
    assert change[-1] == "sad"
    assert 7 <= change.index("sad") - 30 <= 20  # held for 0.25 s after the average has turned


def test_each_lead_is_held_anew() -> None:
    smoother = ExpressionSmoother(CLASSES, time_constant_s=0, hold_s=0.25)

    shown = run(smoother, [HAPPY, *[SAD] * 7, HAPPY, *[SAD] * 9, *[NEUTRAL] * 9])

    # A quarter of a second is 8 frames after the lead's first, at frames 9 and 18.
    assert shown == ["happy"] * 17 + ["sad"] * 9 + ["neutral"]


def test_a_narrow_lead_changes_nothing() -> None:
    narrow = np.array([0.45, 0.5, 0.05])

    assert set(run(ExpressionSmoother(CLASSES), [HAPPY, *[narrow] * 60])) == {"happy"}
    assert run(ExpressionSmoother(CLASSES, margin=0.02), [HAPPY, *[narrow] * 60])[-1] == "sad"


def test_what_is_too_improbable_is_uncertain() -> None:
    smoother = ExpressionSmoother(CLASSES, uncertain_below=0.4)
    shown = run(smoother, [EVEN] * 20 + [HAPPY] * 40 + [EVEN] * 60)

    assert (shown[0], shown[59], shown[-1]) == ("uncertain", "happy", "uncertain")
    with pytest.raises(ModelError, match="uncertain"):
        ExpressionSmoother(("uncertain", "sad"), uncertain_below=0.4)


def test_without_times_everything_is_raw() -> None:
    smoother = ExpressionSmoother(CLASSES, time_constant_s=0, margin=0, hold_s=0)

    assert run(smoother, [HAPPY, SAD, NEUTRAL]) == ["happy", "sad", "neutral"]


@pytest.mark.parametrize("time_s", [1.5, -0.1])
def test_a_gap_starts_anew(time_s: float) -> None:
    smoother = ExpressionSmoother(CLASSES)
    smoother.update(1, 0.0, HAPPY)
    smoothed, shown = smoother.update(1, time_s, SAD)

    assert shown == "sad"
    np.testing.assert_array_equal(smoothed, SAD)


def test_people_are_apart_and_forgotten() -> None:
    smoother = ExpressionSmoother(CLASSES)
    smoother.update(1, 0.0, HAPPY)
    assert smoother.update(2, 0.0, SAD)[1] == "sad"
    smoother.update(2, 1.5, SAD)
    smoother.forget(1.5)
    assert list(smoother.state()) == ["2"]


def test_a_restored_state_goes_on_the_same() -> None:
    rows = list(np.random.default_rng(0).dirichlet((1, 1, 1), 40))
    whole, first, second = (ExpressionSmoother(CLASSES) for _ in range(3))
    expected = [whole.update(1, i / 30, row) for i, row in enumerate(rows)]
    for index, row in enumerate(rows[:17]):
        first.update(1, index / 30, row)
    second.restore(json.loads(json.dumps(first.state())))
    got = [second.update(1, i / 30, row) for i, row in enumerate(rows) if i >= 17]

    assert [shown for _, shown in got] == [shown for _, shown in expected[17:]]
    np.testing.assert_array_equal([row for row, _ in got], [row for row, _ in expected[17:]])


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="hold_s"):
        ExpressionSmoother(CLASSES, hold_s=-1)
    with pytest.raises(ValueError, match="margin"):
        ExpressionSmoother(CLASSES, margin=2)
