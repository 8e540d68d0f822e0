import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from mien.evaluation.explanation import DeletionCheck, DifferentiableModel, deletion_check, grad_cam

Images = npt.NDArray[np.uint8]


def quarter_maps(count: int) -> npt.NDArray[np.float32]:
    """Maps that know where the evidence is."""
    maps = np.zeros((count, 48, 48), np.float32)
    maps[:, :24, :24] = 1
    return maps


def test_deleting_what_counts_falls_faster_than_chance(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    for maps in (quarter_maps(12), grad_cam(quarter_model, lit_faces, np.zeros(12, int))):
        check = deletion_check(quarter_model, lit_faces, maps)

        assert check.matters is True
        assert check.verdict().startswith("The highlighted pixels matter:")
        areas = check.areas
        assert areas["highlighted"] < areas["random"] < areas["least"]
        assert check.gap == pytest.approx(areas["random"] - areas["highlighted"])
        assert check.highlighted[0] == check.random[0] == check.least[0]
        assert check.least[3] == pytest.approx(check.least[0], abs=1e-3), "20 % are elsewhere"


def test_a_map_of_the_wrong_place_is_found_out(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    check = deletion_check(quarter_model, lit_faces, 1 - quarter_maps(12))

    assert check.matters is False
    assert check.gap < 0
    assert "matter less than others" in check.verdict()


def test_a_map_that_says_nothing_is_as_good_as_chance(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    check = deletion_check(quarter_model, lit_faces, np.zeros((12, 48, 48), np.float32))

    assert check.matters is None
    assert check.highlighted == check.random
    assert "not seen to matter" in check.verdict()


def test_one_face_is_judged_against_several_random_orders(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    def check(maps: npt.NDArray[np.float32], draws: int) -> DeletionCheck:
        return deletion_check(quarter_model, lit_faces[:1], maps, draws=draws)

    good = check(quarter_maps(1), 20)
    assert (good.count, good.draws, good.wins, good.matters) == (1, 20, 1.0, True)
    assert "faster than for 20 of 20 such areas" in good.verdict()
    bad = check(1 - quarter_maps(1), 20)
    assert (bad.wins, bad.matters) == (0.0, False)
    assert check(quarter_maps(1), 5).matters is None, "so few orders prove nothing"


def test_the_read_class_is_watched_unless_another_is_named(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    maps = quarter_maps(12)
    read = deletion_check(quarter_model, lit_faces, maps)
    named = deletion_check(quarter_model, lit_faces, maps, classes=np.zeros(12, int))
    other = deletion_check(quarter_model, lit_faces, maps, classes=np.ones(12, int))

    assert read == named
    assert other.highlighted == pytest.approx([1 - value for value in read.highlighted], abs=1e-5)
    assert other.matters is False


def test_the_seed_decides_and_figures_are_plain_json(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    # No two pixels alike, since the seed decides between those.
    maps = quarter_maps(12) + np.linspace(0, 0.1, 48 * 48, dtype=np.float32).reshape(48, 48)

    def check(seed: int) -> DeletionCheck:
        return deletion_check(quarter_model, lit_faces, maps, seed=seed)

    assert check(1) == check(1)
    assert check(1).random != check(2).random
    assert check(1).highlighted == check(2).highlighted
    values = json.loads(json.dumps(check(1).to_dict(), allow_nan=False))
    assert values["areas"] == check(1).areas
    assert values["seed"] == 1


@pytest.mark.parametrize("fractions", [(0.0,), (0.2, 0.1), (0.0, 1.5), (-0.1, 0.5)])
def test_fractions_must_rise_within_a_face(
    fractions: tuple[float, ...], quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    with pytest.raises(ValueError, match="must rise"):
        deletion_check(quarter_model, lit_faces, quarter_maps(12), fractions=fractions)


def test_wrong_shapes_are_refused(quarter_model: DifferentiableModel, lit_faces: Images) -> None:
    with pytest.raises(ValueError, match="as many maps"):
        deletion_check(quarter_model, lit_faces, quarter_maps(11))
    with pytest.raises(ValueError, match="1 draw"):
        deletion_check(quarter_model, lit_faces, quarter_maps(12), draws=0)
    with pytest.raises(ValueError, match="12 classes"):
        deletion_check(quarter_model, lit_faces, quarter_maps(12), classes=np.zeros(3, int))


class Places:
    """Reads nothing, but remembers how often each pixel was replaced."""

    classes = ("one", "other")

    def __init__(self) -> None:
        self.gone: list[npt.NDArray[np.float64]] = []

    def logits(self, images: Images) -> npt.NDArray[np.float32]:
        # Stripes of single pixels: blurred, each is grey.
        self.gone.append(((images > 30) & (images < 225)).mean(axis=0))
        return np.zeros((len(images), 2), np.float32)


def test_random_areas_lie_anywhere_alike() -> None:
    stripes = np.zeros((2000, 48, 48), np.uint8)
    stripes[:, :, ::2] = 255
    places = Places()

    check = deletion_check(
        places, stripes, np.zeros(stripes.shape, np.float32), fractions=(0.0, 0.1), seed=2
    )

    gone = places.gone[-1]
    assert gone.mean() == pytest.approx(0.1, abs=0.001)
    corners = np.mean(
        [gone[y, x] for y in (np.s_[:6], np.s_[-6:]) for x in (np.s_[:6], np.s_[-6:])]
    )
    assert corners < 1.4 * gone[12:36, 12:36].mean()
    assert (check.gap, check.wins, check.matters) == (0, 0.5, None)


def test_a_gap_that_a_single_draw_makes_does_not_outvote_the_others(
    quarter_model: DifferentiableModel, lit_faces: Images
) -> None:
    good = deletion_check(quarter_model, lit_faces[:1], quarter_maps(1), draws=20)

    assert good.matters is True
    assert replace(good, wins=0.05).matters is None
    assert replace(good, gap=-good.gap).matters is None
    assert replace(good, gap=-good.gap, wins=0.05).matters is False
