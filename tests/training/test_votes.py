from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mien.data.synthetic import synthetic_faces
from mien.errors import RecipeError
from mien.training.recipe import DataConfig
from mien.training.votes import label_probabilities, soft_targets, vote_targets

#: Ten voters, ten columns.
VOTERS = 10


def misnamed(labels: npt.NDArray[np.int64], *, unsure: int = 3) -> npt.NDArray[np.uint8]:
    """Votes that always name the column after a label's, but for a few cast anywhere."""
    random = np.random.default_rng(0)
    votes = random.multinomial(unsure, np.full(10, 0.1), len(labels)).astype(np.uint8)
    votes[np.arange(len(labels)), labels + 1] += VOTERS - unsure
    return votes


def test_votes_and_label_are_mixed() -> None:
    votes = torch.tensor([[3, 0, 1], [0, 0, 0]], dtype=torch.uint8)

    targets = soft_targets(torch.tensor([0, 2]), votes, 0.5)

    torch.testing.assert_close(targets, torch.tensor([[0.875, 0, 0.125], [0, 0, 1]]))


def test_votes_are_read_as_labels() -> None:
    labels = np.arange(700) % 7

    likely = label_probabilities(misnamed(labels), labels, 7)

    assert likely.dtype == np.float32
    np.testing.assert_allclose(likely.sum(axis=1), 1, rtol=1e-5)
    assert (likely.argmax(axis=1) == labels).all()


def test_votes_that_tell_nothing_give_the_shares_of_the_labels() -> None:
    labels = np.repeat([0, 1, 1, 1], 100)

    likely = label_probabilities(np.ones((400, 10), np.uint8), labels, 3)

    np.testing.assert_allclose(likely, np.tile([0.25, 0.75, 0], (400, 1)), atol=0.01)


def test_a_face_without_votes_keeps_its_label() -> None:
    labels = np.arange(70) % 7
    votes = misnamed(labels)
    votes[:7] = 0
    faces = replace(synthetic_faces(70, votes=True), labels=labels, votes=votes)

    targets = vote_targets(faces, DataConfig(votes=0.8, votes_as="labels"))

    torch.testing.assert_close(targets[:7], torch.eye(7))
    assert (targets[7:].amax(dim=1) < 1).all()


@pytest.mark.parametrize("label", [0, 4])
def test_one_label_alone_is_sure(label: int) -> None:
    votes = np.ones((5, 10), np.uint8)

    likely = label_probabilities(votes, np.full(5, label), 7)

    np.testing.assert_array_equal(likely, np.eye(7, dtype=np.float32)[np.full(5, label)])


def test_votes_count_as_they_were_cast_unless_asked() -> None:
    faces = synthetic_faces(700, votes=True)
    labels = faces.labels
    faces = replace(faces, votes=misnamed(labels, unsure=0))

    cast = vote_targets(faces, DataConfig(votes=1.0))
    read = vote_targets(faces, DataConfig(votes=1.0, votes_as="labels"))

    assert (cast.argmax(dim=1).numpy() != labels).mean() > 0.5
    assert (read.argmax(dim=1).numpy() == labels).all()


def test_only_votes_read_as_labels_go_with_own_classes() -> None:
    merged = ("happy", "negative=angry+fear+sad")
    with pytest.raises(RecipeError, match=r"data\.votes: expected 0 with data\.classes"):
        DataConfig(classes=merged, votes=0.5)

    assert DataConfig(classes=merged, votes=0.5, votes_as="labels").votes == 0.5
