import re
from pathlib import Path

import pytest

from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.analysis.video.timeline import Timeline
from mien.report.timeline import write_timeline_page
from mien.results import Face, Probabilities


def frame(index: int, *seen: tuple[int, float]) -> TrackedFrame:
    """A tenth of a second of people, each ``<b>`` as probable as given, or ``sad``."""
    faces = []
    for track, probability in seen:
        probabilities = Probabilities(("<b>", "sad"), (probability, 1 - probability))
        face = Face((0.0, 0.0, 9.0, 9.0), 1.0, None, probabilities)
        faces.append(TrackedFace(track, face, probabilities, probabilities.top))
    return TrackedFrame("<i>.mp4", index, index / 10, (64, 48), tuple(faces))


def cells(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading."""
    section = page.split(f"<h2>{heading}</h2>")[1].partition("</section>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", section.split("<tbody>")[1])
    return [
        [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row)]
        for row in rows
    ]


@pytest.fixture
def page(tmp_path: Path) -> str:
    frames = [frame(i, (1, 0.8 if i < 30 else 0.4), *([(2, 0.1)] * (i < 3))) for i in range(40)]
    write_timeline_page(tmp_path / "page.html", Timeline(frames))
    return (tmp_path / "page.html").read_text("utf-8")


def test_the_page_tells_shares_and_episodes(page: str) -> None:
    assert cells(page, "People") == [
        ["1", "0:00.0", "0:04.0", "0:04.0", "75.0 %", "25.0 %"],
        ["2", "0:00.0", "0:00.3", "0:00.3", "–", "100.0 %"],
    ]
    # That of person 2 is too short.
    assert cells(page, "Episodes") == [
        ["0:00.0", "1", "&lt;b&gt;", "3.0 s", "80 %"],
        ["0:03.0", "1", "sad", "1.0 s", "60 %"],
    ]


def test_the_page_needs_no_other_file_and_escapes_names(page: str) -> None:
    links = re.findall(r'(?:src|href|srcset)="([^"]*)"', page)

    assert len(links) == 2
    assert all(link.startswith("data:image/svg+xml") for link in links)
    assert "<script" not in page
    assert "Timeline of &lt;i&gt;.mp4" in page
    assert "<i>" not in page


def test_a_video_without_a_face_is_a_page(tmp_path: Path) -> None:
    write_timeline_page(tmp_path / "page.html", Timeline([frame(0), frame(1)]))

    page = (tmp_path / "page.html").read_text("utf-8")
    assert "nobody" in page
    assert "<h2>People</h2>" not in page


def test_the_longest_of_many_episodes_are_listed(tmp_path: Path) -> None:
    # 250 episodes, of 0.6 s each but the last two.
    shown = [0.9 if (i // 6) % 2 else 0.2 for i in range(248 * 6)] + [0.2] * 9 + [0.9] * 9
    write_timeline_page(
        tmp_path / "page.html", Timeline(frame(i, (1, value)) for i, value in enumerate(shown))
    )

    page = (tmp_path / "page.html").read_text("utf-8")
    listed = cells(page, "Episodes")
    assert len(listed) == 200
    assert [row[3] for row in listed[-2:]] == ["0.9 s", "0.9 s"]
    assert "the longest 200, 50 shorter ones left out" in page
