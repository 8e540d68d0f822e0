import pytest

from mien.evaluation.measures import short_count


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (1000, "1.00 k"), (2838087, "2.84 M"), (78065408, "78.1 M"),
     (234e6, "234 M"), (1.2e9, "1.20 G")],
)  # fmt: skip
def test_large_numbers_are_short(number: float, text: str) -> None:
    assert short_count(number) == text
