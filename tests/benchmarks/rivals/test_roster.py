"""Who takes part."""

from pathlib import Path

import pytest

import adapters
from mien.errors import MienError
from roster import PACKAGES, choose_packages


def test_the_one_compared_with_always_takes_part() -> None:
    assert [package.name for package in choose_packages(["deepface"])] == ["mien", "deepface"]
    assert choose_packages([]) == PACKAGES


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(MienError, match="did you mean 'deepface'"):
        choose_packages(["depface"])


def test_every_adapter_is_there() -> None:
    folder = Path(str(adapters.__file__)).parent

    for package in PACKAGES:
        if package.adapter is not None:
            source = (folder / f"{package.adapter}.py").read_text()
            assert "def open_reader(threads: int, folder: Path)" in source
