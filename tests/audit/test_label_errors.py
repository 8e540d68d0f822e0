import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mien.audit.label_errors import LabelErrors, find_label_errors, rate_labels
from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.errors import CheckpointError, DataError
from mien.evaluation.cross_validation import cross_validate
from mien.training.recipe_file import recipe_from_dict


@dataclass(frozen=True, kw_only=True)
class Noisy:
    """Faces with a tenth of their labels replaced by others.

    Attributes:
        dataset: The faces; their FER+ votes are for what was drawn.
        flipped: ``(N,)`` which labels are not what was drawn.
        drawn: ``(N,)`` the classes that were drawn.
        probabilities: ``(N, C)`` of a model that reads three of four faces as they were drawn.
    """

    dataset: ExpressionDataset
    flipped: npt.NDArray[np.bool_]
    drawn: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def noisy() -> Noisy:
    faces = synthetic_faces(1400, seed=5, votes=True)
    rng = np.random.default_rng(1)
    flipped = rng.random(len(faces)) < 0.1
    labels = np.where(flipped, (faces.labels + rng.integers(1, 7, len(faces))) % 7, faces.labels)
    logits = rng.normal(0, 1, (len(faces), 7))
    logits[np.arange(len(faces)), faces.labels] += 2.2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert 0.7 < (probabilities.argmax(axis=1) == faces.labels).mean() < 0.85
    return Noisy(
        dataset=replace(faces, labels=labels),
        flipped=flipped,
        drawn=faces.labels,
        probabilities=probabilities.astype(np.float32),
    )


@pytest.fixture(scope="module")
def errors(noisy: Noisy) -> LabelErrors:
    return find_label_errors(noisy.dataset, noisy.probabilities, source="a simulation")


def test_wrong_labels_come_first(errors: LabelErrors, noisy: Noisy) -> None:
    top = errors.ranking[:100]

    assert noisy.flipped.mean() < 0.13, "the base rate"
    assert noisy.flipped[top].mean() > 0.6
    assert (errors.suggested[top] == noisy.drawn[top]).mean() > 0.6
    assert sorted(errors.ranking) == list(range(len(noisy.dataset)))
    assert (np.diff(errors.quality[errors.ranking]) >= 0).all()
    assert errors.quality.dtype == np.float32
    assert 0 <= errors.quality.min() < errors.quality.max() <= 1


def test_doubtful_labels_are_about_as_many_as_are_wrong(errors: LabelErrors, noisy: Noisy) -> None:
    assert noisy.flipped[errors.is_issue].mean() > 3 * noisy.flipped.mean()
    assert errors.is_issue[noisy.flipped].mean() > 0.6
    assert errors.doubtful == errors.is_issue.sum() < 0.3 * len(errors)
    assert (errors.suggested[errors.is_issue] != errors.labels[errors.is_issue]).all()


def test_classes_and_pairs_add_up(errors: LabelErrors, noisy: Noisy) -> None:
    per_class = errors.per_class()

    assert [each.name for each in per_class] == list(noisy.dataset.classes)
    assert sum(each.doubtful for each in per_class) == errors.doubtful
    assert {each.name: each.count for each in per_class} == noisy.dataset.counts()
    assert all(0 < each.share < 1 and each.suggested != each.name for each in per_class)
    assert errors.joint.sum() == pytest.approx(1)
    shares = [pair.share for pair in errors.pairs()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1 - np.trace(errors.joint))
    assert all(pair.label != pair.likely for pair in errors.pairs())


def test_the_pair_that_labels_confuse_is_named(noisy: Noisy) -> None:
    """Every fifth fear is labelled surprise, and nothing else is wrong."""
    fear, surprise = (noisy.dataset.classes.index(name) for name in ("fear", "surprise"))
    labels = noisy.drawn.copy()
    labels[np.flatnonzero(labels == fear)[::5]] = surprise
    logits = np.log(noisy.probabilities)
    logits[np.arange(len(labels)), noisy.drawn] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    errors = find_label_errors(
        replace(noisy.dataset, labels=labels), probabilities, source="a simulation"
    )

    first = errors.pairs()[0]
    assert (first.label, first.likely) == ("surprise", "fear")
    assert first.share == pytest.approx(1 / 35, rel=0.3)
    assert max(errors.per_class(), key=lambda each: each.share).name == "surprise"


def test_votes_confirm_the_ranking(errors: LabelErrors) -> None:
    agreement = errors.agreement
    assert agreement is not None
    assert agreement.random is not None

    assert [each.count for each in agreement.top] == [100, 500, 1000]
    assert agreement.top[0].wrong > 4 * agreement.random.wrong
    assert agreement.top[0].wrong > agreement.top[1].wrong > agreement.top[2].wrong
    assert agreement.top[0].suggestion_right > 0.6


def test_without_votes_nothing_is_said_of_them(noisy: Noisy) -> None:
    silent = replace(noisy.dataset, votes=None)

    errors = find_label_errors(silent, noisy.probabilities, source="a simulation")

    assert errors.agreement is None
    assert errors.to_dict()["agreement"] is None


def test_the_findings_are_plain_values(errors: LabelErrors, noisy: Noisy) -> None:
    facts = json.loads(json.dumps(errors.to_dict(), allow_nan=False))

    assert facts["source"] == "a simulation"
    assert facts["doubtful"] == len(facts["labels"]) == errors.doubtful
    worst = facts["labels"][0]
    index = int(errors.ranking[0])
    assert (worst["index"], worst["name"]) == (index, noisy.dataset.names[index])
    assert worst["label"] == noisy.dataset.classes[noisy.dataset.labels[index]]
    assert worst["suggested"] != worst["label"]
    assert worst["quality"] < worst["probability"]


def test_classes_without_faces_are_no_obstacle(noisy: Noisy) -> None:
    some = np.flatnonzero(noisy.dataset.labels != 1)

    errors = find_label_errors(
        noisy.dataset.take(some), noisy.probabilities[some], source="a simulation"
    )

    assert errors.per_class()[1].count == 0
    assert errors.per_class()[1].share == 0
    assert all("disgust" not in (pair.label, pair.likely) for pair in errors.pairs())


def test_what_cannot_be_rated_is_told(noisy: Noisy) -> None:
    faces, probabilities = noisy.dataset, noisy.probabilities
    for wrong in (
        probabilities[:-1],
        probabilities[:, :-1],
        2 * probabilities,
        np.full_like(probabilities, np.nan),
        np.log(probabilities),
    ):
        with pytest.raises(ValueError, match="expected probabilities"):
            find_label_errors(faces, wrong, source="a simulation")
    alike = np.flatnonzero(faces.labels == 3)
    with pytest.raises(DataError, match="all faces are of one"):
        find_label_errors(faces.take(alike), probabilities[alike], source="a simulation")


def test_a_cross_validation_finds_wrong_labels(noisy: Noisy, tmp_path: Path) -> None:
    model = {"name": "hog_logistic", "kernel": "linear", "mirrored": False}
    recipe = recipe_from_dict({"name": "quick", "model": model})
    silent = replace(noisy.dataset, votes=None)
    cross_validate(recipe, silent, tmp_path, folds=3)

    errors = rate_labels(noisy.dataset, tmp_path)

    assert noisy.flipped[errors.ranking[:100]].mean() > 0.8
    assert errors.agreement is not None, "votes may be added afterwards"
    assert errors.source.startswith("3-fold cross-validation of quick (")
    relabelled = replace(silent, labels=noisy.drawn)
    others: list[tuple[ExpressionDataset, str]] = [
        (relabelled, "of other faces, labels or splits"),
        (silent.take(range(1000)), "is of 1,400 faces, the data of 1,000"),
        (replace(silent, classes=tuple("abcdefg")), "the data of a, b, c"),
    ]
    for other, difference in others:
        with pytest.raises(CheckpointError, match=difference):
            rate_labels(other, tmp_path)
    with pytest.raises(CheckpointError, match="no cross-validation"):
        rate_labels(silent, tmp_path / "fold-1")


def test_rating_says_nothing_and_needs_no_torch(noisy: Noisy, tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", labels=noisy.dataset.labels, probabilities=noisy.probabilities)
    code = (
        "import sys, numpy as np\n"
        "from mien.audit.label_errors import find_label_errors\n"
        "from mien.data.synthetic import synthetic_faces\n"
        "from dataclasses import replace\n"
        f"a = np.load({str(tmp_path / 'p.npz')!r})\n"
        "faces = replace(synthetic_faces(1400), labels=a['labels'])\n"
        "find_label_errors(faces, a['probabilities'], source='a simulation')\n"
        "assert 'torch' not in sys.modules\n"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout == done.stderr == ""
