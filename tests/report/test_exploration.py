import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from mien.data import ExpressionDataset
from mien.data.exploration import explore
from mien.data.projection import project_faces
from mien.data.row_problems import RowProblem
from mien.data.synthetic import synthetic_faces
from mien.report.exploration import write_exploration

Draw = Callable[..., str]


@pytest.fixture(scope="module")
def draw(tmp_path_factory: pytest.TempPathFactory) -> Draw:
    path = tmp_path_factory.mktemp("report") / "page.html"

    def page(
        dataset: ExpressionDataset, source: str = "faces", problems: Sequence[RowProblem] = ()
    ) -> str:
        projection = project_faces(dataset)
        facts = explore(dataset, problems=problems)
        write_exploration(path, dataset, facts, projection, source=source)
        return path.read_text("utf-8")

    return page


def gallery(page: str, title: str) -> list[str]:
    """Return the captions below the pictures under a heading."""
    section = page.split(f"<h3>{title}</h3>", 1)[1].split("</div>", 1)[0]
    assert section.count("<img") == section.count("<figure>")
    return re.findall(r"<figcaption>(.*?)</figcaption>", section)


def test_the_page_needs_no_other_file(faces: ExpressionDataset, draw: Draw) -> None:
    page = draw(faces)
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) > 100
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page
    assert len(page) < 4e6
    assert len(gallery(page, "Eigenfaces and their share")) == 18
    assert "Too few different images" not in page
    assert "FER+" not in page
    assert "<tr><td>pixels</td><td>0</td><td>0</td></tr>" in page


def test_samples_and_extremes_are_shown_by_name(faces: ExpressionDataset, draw: Draw) -> None:
    images = faces.images.copy()
    images[[7, 8]] //= 8
    images[8] = images[7]
    images[9] = 3
    page = draw(replace(faces, images=images))
    assert len(gallery(page, "happy")) == 12
    darkest = gallery(page, "Darkest")
    assert darkest[0].startswith(f"row 8<br>{faces.classes[faces.labels[7]]}<br>")
    assert not any(caption.startswith(("row 9<", "row 10<")) for caption in darkest)
    assert gallery(page, "Of one colour") == [f"row 10<br>{faces.classes[faces.labels[9]]}"]
    for title in ("Brightest", "Least contrast", "Most contrast", "Blurriest"):
        assert len(gallery(page, title)) == 12


def test_classes_of_ones_own(faces: ExpressionDataset, draw: Draw) -> None:
    two = faces.take(np.flatnonzero(faces.labels < 2)[:30])
    names = np.array([f"me/<b>/\udcff{n}.png" for n in range(30)])
    page = draw(replace(two, classes=("costs $5 & $6", "<i>_"), names=names), source="<me>")
    assert "<h3>costs $5 &amp; $6</h3>" in page
    assert "<h3>&lt;i&gt;_</h3>" in page
    assert "Exploration of &lt;me&gt;" in page
    assert 'title="me/&lt;b&gt;/?0.png"' in page


@pytest.mark.parametrize("count", [1, 7])
def test_one_image_a_class(faces: ExpressionDataset, draw: Draw, count: int) -> None:
    page = draw(faces.take(range(count)))
    assert "all images are Training" in page
    assert len(gallery(page, "angry")) == 1
    assert ("Too few different images" in page) == (count == 1)


def test_many_classes_do_not_swell_the_page(draw: Draw) -> None:
    faces = synthetic_faces(240)
    classes = tuple(f"class {n}" for n in range(60))
    page = draw(replace(faces, classes=classes, labels=np.arange(240) % 60))
    assert len(gallery(page, "class 59")) == 4
    assert len(page) < 4e6


def test_votes_are_told_where_there_are_any(draw: Draw) -> None:
    faces = synthetic_faces(20, votes=True)
    page = draw(faces)
    assert "images without FER+ votes" in page
    assert page == draw(faces)  # nothing in it depends on the time


def test_values_that_cannot_be_used_are_counted_and_listed(draw: Draw) -> None:
    problems = [
        RowProblem(name=f"a/<{n}>.png", column="pixels", missing=n == 0, reason="not a picture")
        for n in range(1200)
    ]
    page = draw(synthetic_faces(10), problems=problems)
    assert "<tr><td>pixels</td><td>1</td><td>1,199</td></tr>" in page
    assert "<h3>The first 20 of 1,200</h3>" in page
    assert "<td>a/&lt;0&gt;.png</td><td>pixels</td><td>missing</td><td>not a picture</td>" in page
    assert "a/&lt;19&gt;.png</td><td>pixels</td><td>unreadable" in page
    assert "a/&lt;20&gt;.png" not in page
