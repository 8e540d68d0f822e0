"""Who is measured when."""

from rounds import take_turns


def test_each_begins_as_often_as_the_others() -> None:
    turns = list(take_turns(["mien", "fer", "deepface"], 3))

    assert [entry for number, entry in turns if number == 1] == ["fer", "deepface", "mien"]
    assert {turns[start][1] for start in (0, 3, 6)} == {"mien", "fer", "deepface"}
    assert len(turns) == 9


def test_nobody_takes_no_turns() -> None:
    assert list(take_turns([], 2)) == []
