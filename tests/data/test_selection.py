from dataclasses import replace

import pytest

from mien.data.dataset import ExpressionDataset
from mien.data.selection import regroup_classes, stratified_share, worthwhile_indices
from mien.errors import DataError


def test_a_share_is_the_same_of_every_class(faces: ExpressionDataset) -> None:
    training = faces.split("Training")

    half = stratified_share(training, 0.5, seed=1)

    assert half.counts() == {name: round(n / 2) for name, n in training.counts().items()}
    assert list(half.names) == [name for name in training.names if name in set(half.names)]


def test_a_larger_share_holds_the_smaller(faces: ExpressionDataset) -> None:
    names = [set(stratified_share(faces, share, seed=3).names) for share in (0.1, 0.3, 0.7, 1.0)]

    assert names[0] < names[1] < names[2] < names[3] == set(faces.names)
    assert set(stratified_share(faces, 0.1, seed=4).names) != names[0]


def test_a_share_leaves_no_class_empty(faces: ExpressionDataset) -> None:
    assert min(stratified_share(faces, 1e-6, seed=0).counts().values()) == 1
    with pytest.raises(ValueError, match="above 0"):
        stratified_share(faces, 0.0, seed=0)


def test_copies_and_flat_faces_are_left_out(faces: ExpressionDataset) -> None:
    messy = faces.take([0, 1, 2, 3, 1, 2, 4])
    images, labels = messy.images.copy(), messy.labels.copy()
    images[3] = 77  # flat
    labels[5] = (labels[2] + 1) % 7  # a copy of face 2, labelled otherwise
    messy = replace(messy, images=images, labels=labels)

    clean = messy.take(worthwhile_indices(messy))

    assert list(clean.names) == [faces.names[i] for i in (0, 1, 4)]
    assert len(worthwhile_indices(faces.take([]))) == 0


def test_classes_are_merged_and_left_out(faces: ExpressionDataset) -> None:
    three = regroup_classes(faces, ("happy", "negative=angry+ fear+sad", "neutral"))

    counts = faces.counts()
    assert three.classes == ("happy", "negative", "neutral")
    assert three.counts() == {
        "happy": counts["happy"],
        "negative": counts["angry"] + counts["fear"] + counts["sad"],
        "neutral": counts["neutral"],
    }


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (("hapy", "sad"), "did you mean 'happy'"),
        (("happy", "happy"), "in two groups"),
        (("a=happy", "a=sad"), "different names"),
        (("happy",), "two or more"),
        (("=happy", "sad"), "has no name"),
    ],
)
def test_wrong_groups_are_told(
    faces: ExpressionDataset, groups: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        regroup_classes(faces, groups)
