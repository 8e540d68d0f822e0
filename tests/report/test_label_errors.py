import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mien.audit.label_errors import find_label_errors
from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.report import page
from mien.report.label_errors import describe_label_errors

Draw = Callable[..., str]


def doubted() -> tuple[ExpressionDataset, npt.NDArray[Any]]:
    """Faces whose every tenth label is the next class, and a model that knows better."""
    faces = synthetic_faces(420, seed=2, votes=True)
    labels = faces.labels.copy()
    labels[::10] = (labels[::10] + 1) % 7
    logits = np.random.default_rng(0).normal(0, 1, (420, 7))
    logits[np.arange(420), faces.labels] += 4
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return replace(faces, labels=labels), probabilities


@pytest.fixture(scope="module")
def draw() -> Draw:
    """Draws the fragment as a page that includes it does."""
    template = page._environment().from_string(
        '{% extends "base.html" %}{% block main %}{% include "_label_errors.html" %}{% endblock %}'
    )

    def render(dataset: ExpressionDataset, probabilities: Any, source: str = "folds") -> str:
        errors = find_label_errors(dataset, probabilities, source=source)
        described = describe_label_errors(errors, dataset)
        return template.render(version="0", title="t", lead="l", label_errors=described)

    return render


_CAPTION = (
    r"disgust → <b>(\w+)</b> \d+&nbsp;%"
    r'(<br><span class="(good|bad|)">FER\+ (\w+)</span>)?'
)


def captions(html: str, label: str) -> list[str]:
    """Return what is below the faces of a class."""
    section = html.split(f"<h3>{label}</h3>", 1)[1].split("</div>", 1)[0]
    return re.findall(r"<figcaption>(.*?)</figcaption>", section)


def test_what_was_measured_by_what_is_told(draw: Draw) -> None:
    faces, probabilities = doubted()
    errors = find_label_errors(faces, probabilities, source="folds")

    html = draw(faces, probabilities, source="5 folds of <vgg>")

    assert f"<b>{errors.doubtful} of 420 labels" in html
    assert "on 5 folds of &lt;vgg&gt;." in html
    for each in errors.per_class():
        assert f"<td>{each.name}</td><td>{each.count}</td><td>{each.doubtful}</td>" in html
    first = errors.pairs()[0]
    assert f"<td>{first.label}</td><td>{first.likely}</td>" in html


def test_doubtful_faces_are_shown_with_what_they_are_read_as(draw: Draw) -> None:
    faces, probabilities = doubted()

    below = captions(draw(faces, probabilities), "disgust")

    assert 1 <= len(below) <= 12
    for caption in below:
        shown = re.fullmatch(_CAPTION, caption)
        assert shown is not None
        if shown[4]:
            assert (shown[3] == "good") == (shown[4] == shown[1])
    assert sum("<b>angry</b>" in caption for caption in below) > len(below) / 2


def test_the_same_picture_is_shown_once(draw: Draw) -> None:
    faces, probabilities = doubted()
    errors = find_label_errors(faces, probabilities, source="folds")
    worst = [int(i) for i in errors.ranking if errors.labels[i] == 1][:3]
    images = faces.images.copy()
    images[worst] = images[worst[0]]

    once = captions(draw(replace(faces, images=images), probabilities), "disgust")

    assert len(once) == len(captions(draw(faces, probabilities), "disgust")) - 2


def test_voters_are_asked_where_there_are_any(draw: Draw) -> None:
    faces, probabilities = doubted()
    assert faces.votes is not None
    votes = faces.votes.copy()
    votes[[0, 1, 419]] = 0

    html = draw(replace(faces, votes=votes), probabilities)

    row = re.search(r"<tr><td>top 100</td><td>([\d.]+) %</td>", html)
    base = re.search(r"<td>at random</td><td>([\d.]+) %</td>", html)
    assert row is not None
    assert base is not None
    assert float(row[1]) > 2 * float(base[1])
    assert "No votes: 2 of Training, 1 of PrivateTest; passed over." in html
    assert "Every face has votes" in draw(faces, probabilities)
    silent = draw(replace(faces, votes=None), probabilities)
    assert "FER+" not in silent
    assert "at random" not in silent


def test_labels_beyond_doubt(draw: Draw) -> None:
    faces = synthetic_faces(70)

    html = draw(faces, np.eye(7)[faces.labels])

    assert "0 of 70 labels" in html
    assert "No label is doubtful." in html
    assert "No pair of classes is confused." in html


def test_classes_of_ones_own(draw: Draw) -> None:
    faces, probabilities = doubted()
    classes = ("<i>", "costs $5", "c", "d", "e", "f", "g")

    html = draw(replace(faces, classes=classes, votes=None), probabilities)

    assert "<h3>&lt;i&gt;</h3>" in html
    assert "<i>" not in html
