"""The tables, and their place in a page."""

import pytest

from measurement import Measurement, Score
from roster import PACKAGES, Package
from table import BEGIN, END, Conditions, replace_section, to_markdown

CONDITIONS = Conditions(
    machine="a processor, 2 cores, Python 3.11.7",
    date="2026-11-21",
    command="compare.py --work DIR",
    threads=1,
    rounds=2,
    load=0.1,
    photo="640 × 480",
)


def measured(package: Package, *, factor: float, weights: str = "own") -> Measurement:
    return Measurement(
        package=package,
        versions={package.name: "1.2", "onnxruntime": "1.31.1"},
        installed_mb=100 * factor,
        weights=weights,
        times={
            "import_s": [0.1 * factor, 0.2 * factor],
            "cold_s": [0.5 * factor, 1.0 * factor],
            "face_ms": [1.0 * factor, 2.0 * factor],
            "batch_ms": [64.0 * factor, 64.0 * factor],
        },
        memory_mb=50 * factor,
    )


def test_each_figure_stands_beside_its_ratio_to_the_first() -> None:
    text = to_markdown(
        [measured(PACKAGES[0], factor=1), measured(PACKAGES[1], factor=4)], CONDITIONS
    )

    first, second = (line for line in text.splitlines() if "faces/s" in line)
    assert first == "| mien 1.2 | 1.50 ms | 1,000 faces/s | – | – |"
    assert second == (
        "| fer 1.2 | 6.00 ms, 4.00 × (4.00 to 4.00) | 250 faces/s, 0.250 × (0.250 to 0.250) "
        "| – | – |"
    )
    assert "| 400 MB, 4.00 × |" in text
    assert "mien: onnxruntime 1.31.1" in text


def test_random_weights_are_marked_in_every_table() -> None:
    rival = measured(PACKAGES[2], factor=2, weights="random")

    text = to_markdown([measured(PACKAGES[0], factor=1), rival], CONDITIONS)

    rows = [line for line in text.splitlines() if line.startswith("| deepface")]
    assert len(rows) == 2
    assert all("random weights" in row for row in rows)


def test_a_failure_is_a_row_with_its_reason() -> None:
    broken = Measurement(package=PACKAGES[1], failure="cannot be imported: no | module")

    text = to_markdown([measured(PACKAGES[0], factor=1), broken], CONDITIONS)

    (row,) = (line for line in text.splitlines() if line.startswith("| fer"))
    assert row == "| fer | – | – | – | – | failed: cannot be imported: no / module |"


def test_each_split_has_a_table() -> None:
    ours = measured(PACKAGES[0], factor=1)
    score = Score(accuracy=0.6821, interval=(0.667, 0.697), macro_f1=0.66, faces=3589, unknown=0)
    rejecting = Score(accuracy=0.6, interval=(0.58, 0.62), macro_f1=0.55, faces=3589, unknown=70)
    ours.scores = {
        "PublicTest": {"ready": score, "default": rejecting},
        "PrivateTest": {"ready": score},
    }

    text = to_markdown([ours], CONDITIONS)

    assert (
        "| mien 1.2 | 68.21 % (66.7 to 69.7 %) | 0.660 "
        "| 60.00 % (58.0 to 62.0 %; 70 as none of the seven) | 0.550 |"
    ) in text
    assert "| mien 1.2 | 68.21 % (66.7 to 69.7 %) | 0.660 | – | – |" in text
    assert "PublicTest, 3,589 faces" in text
    assert "PrivateTest, 3,589 faces" in text


def test_a_section_takes_the_place_of_the_last_one() -> None:
    page = replace_section("# Results\n", "old")
    page = replace_section(page + "\n## After\n", "new")

    assert page == (
        f"# Results\n\n## Against other packages\n\n{BEGIN}\n\nnew\n\n{END}\n\n## After\n"
    )


@pytest.mark.parametrize("page", [BEGIN, END, f"{END} {BEGIN}"])
def test_a_page_with_half_a_place_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="one is missing"):
        replace_section(page, "new")
