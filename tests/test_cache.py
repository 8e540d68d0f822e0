import os
from pathlib import Path

import pytest

from mien.cache import atomic_write


def test_an_error_names_the_file_that_was_wanted(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()

    with pytest.raises(OSError) as raised, atomic_write(tmp_path / "page.html") as temporary:  # noqa: PT011
        temporary.write_text("whole")

    assert raised.value.filename == str(tmp_path / "page.html")
    assert str(raised.value).endswith(f"'{tmp_path / 'page.html'}'")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_so_does_one_of_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(PermissionError) as raised, atomic_write(tmp_path / "page.html"):
        pass

    assert raised.value.filename == str(tmp_path / "page.html")
