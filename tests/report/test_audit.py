import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mien.audit import audit
from mien.data import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.report.audit import write_audit_page

Draw = Callable[..., str]


@pytest.fixture(scope="module")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Draw:
    path = tmp_path_factory.mktemp("report") / "page.html"

    def page(dataset: ExpressionDataset, *, source: str = "faces", **options: Any) -> str:
        write_audit_page(path, dataset, audit(dataset, **options), source=source)
        return path.read_text("utf-8")

    return page


@pytest.fixture(scope="module")
def flawed() -> ExpressionDataset:
    faces = synthetic_faces(70, seed=4, votes=True)
    images, labels = faces.images.copy(), faces.labels.copy()
    images[1], labels[1] = images[0], (labels[0] + 1) % 7
    images[2] = images[60].clip(0, 247) + 8
    images[3] = images[4][:, ::-1]
    images[5] = 30
    images[6] = np.random.default_rng(0).integers(0, 256, (48, 48))
    return replace(faces, images=images, labels=labels)


def captions(page: str, title: str) -> list[str]:
    """Return the captions below the pictures under a heading."""
    section = re.split(rf"<h3>{re.escape(title)}: [^<]*</h3>", page)[1]
    section = re.split("<h3>|</section>", section)[0]
    assert section.count("<img") == section.count("<figure>")
    return re.findall(r"<figcaption>(.*?)</figcaption>", section)


def test_what_was_found_is_shown(flawed: ExpressionDataset, draw: Draw) -> None:
    page = draw(flawed)
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page
    conflict = captions(page, "Exact copies of different labels")
    assert [caption.split("<br>")[0] for caption in conflict] == ["row 1", "row 2"]
    assert conflict[0].split("<br>")[1] == flawed.classes[flawed.labels[0]]
    across = captions(page, "In two splits")
    assert "row 3" in [caption.split("<br>")[0] for caption in across]
    assert captions(page, "Of one colour")[0].startswith("row 6<br>")
    assert "row 7" in [caption.split("<br>")[0] for caption in captions(page, "Flagged")]
    assert "Most FER+ voters took 0 of the " in page
    assert "of PublicTest that Training has too" in page


def test_what_was_not_looked_for_is_not_shown(flawed: ExpressionDataset, draw: Draw) -> None:
    page = draw(flawed, near=False, non_faces=False)
    assert "Near copies" not in page
    assert "Flagged" not in page
    assert "Of one colour" in page


def test_nothing_wrong_and_names_are_no_markup(draw: Draw) -> None:
    faces = synthetic_faces(14).take(range(7))
    names = np.array([f"<b>/\udcff{n}.png" for n in range(7)])
    noise = np.random.default_rng(0).integers(0, 256, (7, 48, 48)).astype(np.uint8)
    classes = ("<i>", "b", "c", "d", "e", "f", "g")
    page = draw(replace(faces, names=names, classes=classes, images=noise), source="<me>")
    assert "Audit of &lt;me&gt;" in page
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert "None come with different labels." in page
    assert "All images are Training." in page
