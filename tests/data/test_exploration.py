import json
from dataclasses import replace

import numpy as np
import pytest

from mien.data.dataset import ExpressionDataset
from mien.data.exploration import LISTED_PROBLEMS, explore
from mien.data.row_problems import RowProblem
from mien.data.synthetic import synthetic_faces
from mien.errors import DataError
from mien.expressions import FERPLUS_COLUMNS


def with_images(faces: ExpressionDataset, images: dict[int, int]) -> ExpressionDataset:
    """Return the faces with the picture at each key replaced by the one at its value."""
    changed = faces.images.copy()
    for index, other in images.items():
        changed[index] = faces.images[other]
    return replace(faces, images=changed)


def test_pixel_statistics_are_those_of_all_pixels(faces: ExpressionDataset) -> None:
    facts = explore(faces)
    assert facts.pixel_mean_std == pytest.approx((faces.images.mean(), faces.images.std()))
    held_out = faces.split("PublicTest").images
    assert facts.split_mean_std()["PublicTest"] == pytest.approx((held_out.mean(), held_out.std()))
    assert facts.grey_levels.sum() == faces.images.size
    for label in range(7):
        mean = faces.images[faces.labels == label].mean(axis=0)
        np.testing.assert_allclose(facts.mean_faces[label], mean, atol=1e-4)


def test_counts_and_imbalance(faces: ExpressionDataset) -> None:
    few = faces.take(
        [*np.flatnonzero(faces.labels == 3)[:8], *np.flatnonzero(faces.labels == 0)[:2]]
    )
    facts = explore(few)
    assert facts.splits == ("Training",)
    assert facts.counts.tolist() == [[2, 0, 0, 8, 0, 0, 0]]
    assert facts.imbalance == 4
    found = "\n".join(facts.findings())
    assert "no images of disgust, fear, sad, surprise, neutral" in found
    assert "4.0 times as many images of happy as of angry" in found
    assert "all images are Training" in found


def test_nothing_is_found_in_an_even_set(faces: ExpressionDataset) -> None:
    assert explore(faces).findings() == []


def test_flat_images_are_named(faces: ExpressionDataset) -> None:
    images = faces.images.copy()
    images[4] = 0
    images[9] = 77
    images[9, 47, 47] = 78  # one pixel differs, so this one does show something
    facts = explore(replace(faces, images=images))
    assert facts.flat.tolist() == [4]
    assert facts.to_dict()["flat"] == ["row 5"]
    assert "1 image is of one colour: empty" in facts.findings()
    darkest = facts.measures[0]
    assert darkest.values[4] == 0
    assert darkest.is_low[4]
    assert facts.outliers_of(darkest)[faces.classes[faces.labels[4]]][0] >= 1


def test_copies_across_splits_come_first(faces: ExpressionDataset) -> None:
    held_out = int(np.flatnonzero(faces.split_codes == 1)[0])
    first, *_ = explore(with_images(faces, {held_out: 0, 1: 0})).findings()
    assert first.startswith("1 PublicTest image is an exact copy of what Training has too")


def test_samples_are_seeded_and_of_their_class(faces: ExpressionDataset) -> None:
    one, again, other = (explore(faces, samples=5, seed=seed) for seed in (1, 1, 2))
    assert set(one.samples) == set(faces.classes)
    for label, name in enumerate(faces.classes):
        assert len(set(one.samples[name].tolist())) == 5
        assert (faces.labels[one.samples[name]] == label).all()
        assert (one.samples[name] == again.samples[name]).all()
    assert any((one.samples[name] != other.samples[name]).any() for name in faces.classes)


def test_votes() -> None:
    faces = synthetic_faces(20, votes=True)
    columns = list(FERPLUS_COLUMNS)
    votes = np.zeros((20, 10), np.uint8)
    votes[:, columns.index("happiness")] = 6
    votes[:, columns.index("sadness")] = 4
    votes[0] = 0
    votes[1] = 0
    votes[1, columns.index("NF")] = 10
    votes[2, columns.index("anger")] = 2  # 6 of 12 are no majority
    facts = explore(replace(faces, votes=votes)).votes
    assert facts is not None
    assert (facts.without, facts.not_a_face, facts.decided) == (1, 1, 17)
    assert facts.agreeing == (faces.labels[3:] == faces.classes.index("happy")).sum()
    assert explore(replace(faces, votes=None)).votes is None


def test_json_holds_native_values_only(faces: ExpressionDataset) -> None:
    facts = json.loads(json.dumps(explore(faces).to_dict()))
    assert facts["images"] == 280
    assert facts["label_encoding"]["3"] == "happy"
    assert facts["counts"]["Training"]["happy"] == faces.split_counts()["Training"]["happy"]
    assert facts["pixels"]["mean"] == pytest.approx(faces.images.mean())
    assert facts["votes"] is None


def test_one_image_is_enough_and_none_is_refused(faces: ExpressionDataset) -> None:
    facts = explore(faces.take([0]))
    assert facts.imbalance == 1
    assert not facts.is_outlier.any()
    with pytest.raises(DataError, match="no images"):
        explore(faces.take([]))


def test_rows_left_out_are_counted_and_come_first(faces: ExpressionDataset) -> None:
    problems = [
        RowProblem(name=f"row {row}", column="pixels", missing=row < 2, reason="0 pixels")
        for row in range(30)
    ]
    problems.append(RowProblem(name="row 29", column="Usage", missing=True, reason="empty"))
    facts = explore(faces.take(range(3)), problems=problems)
    assert facts.left_out == 30
    assert facts.findings()[0] == (
        "30 images are left out here, with values missing or unreadable (pixels 2 missing, "
        "pixels 28 unreadable, Usage 1 missing); training refuses the data set"
    )
    values = json.loads(json.dumps(facts.to_dict()))
    assert values["left_out"] == 30
    assert values["missing_values"]["pixels"] == {"missing": 2, "unreadable": 28}
    assert values["missing_values"]["emotion"] == {"missing": 0, "unreadable": 0}
    assert len(values["problems"]) == LISTED_PROBLEMS
    assert values["problems"][0] == {
        "name": "row 0",
        "column": "pixels",
        "missing": True,
        "reason": "0 pixels",
    }
