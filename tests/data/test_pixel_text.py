import numpy as np
import numpy.typing as npt
import pytest

from mien.data.pixel_text import PixelTextError, parse_pixel_text


def parse(rows: list[bytes]) -> npt.NDArray[np.uint8]:
    offsets = np.cumsum([0, *map(len, rows)])
    return parse_pixel_text(np.frombuffer(b"".join(rows), np.uint8), offsets)


def rows_of(values: npt.NDArray[np.int64]) -> list[bytes]:
    return [b" ".join(b"%d" % value for value in row) for row in values]


@pytest.mark.parametrize("highest", [9, 99, 255])
def test_numbers_of_every_width_survive(highest: int) -> None:
    values = np.random.default_rng(highest).integers(0, highest + 1, (5, 2304))
    found = parse(rows_of(values))
    assert found.dtype == np.uint8
    assert np.array_equal(found, values)


def test_rows_that_touch_do_not_run_into_each_other() -> None:
    values = np.full((3, 2304), 255)
    values[1] = 7
    assert np.array_equal(parse(rows_of(values)), values)


def test_extra_spaces_are_allowed() -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 2304))
    rows = [b"  " + row.replace(b" ", b"   ", 5) + b" " for row in rows_of(values)]
    assert np.array_equal(parse(rows), values)


def test_no_rows() -> None:
    assert parse([]).shape == (0, 2304)


def test_every_value_above_255_is_found() -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 2304))
    for value in (*range(256, 1000, 3), 1000, 1255, 2304, 65536, 99999):
        wrong = rows_of(values)
        numbers = wrong[1].split(b" ")
        numbers[value % 2304] = b"%d" % value
        wrong[1] = b" ".join(numbers)
        with pytest.raises(PixelTextError, match=f"pixel {value % 2304 + 1} is {value}, ") as found:
            parse(wrong)
        assert found.value.row == 1


@pytest.mark.parametrize("bad", [b"-5", b"1.5", b"x", b"1e2", b"nan", b"\xff", b"1\t2", b"+7"])
def test_what_is_no_whole_number_is_found(bad: bytes) -> None:
    row = b" ".join([b"128"] * 100 + [bad] + [b"128"] * 2203)
    with pytest.raises(PixelTextError, match=r"pixel 101 is .*, expected a whole number") as caught:
        parse([b" ".join([b"7"] * 2304), row])
    assert caught.value.row == 1


@pytest.mark.parametrize("count", [0, 1, 2303, 2305, 4608])
@pytest.mark.parametrize("level", [b"7", b"200"])
def test_a_wrong_count_is_found(count: int, level: bytes) -> None:
    good = b" ".join([b"200"] * 2304)
    with pytest.raises(PixelTextError, match=f"{count:,} pixels, expected 2,304") as caught:
        parse([good, good, b" ".join([level] * count)])
    assert caught.value.row == 2


def test_one_row_too_many_and_the_next_one_short_do_not_cancel_out() -> None:
    rows = [b" ".join([b"200"] * 2305), b" ".join([b"200"] * 2303)]
    with pytest.raises(PixelTextError, match="2,305 pixels"):
        parse(rows)
