"""Environments are made, kept and made anew; what fails says why in one line."""

import sys
import zipfile
from pathlib import Path

import pytest

from environments import InstallError, make_environment

pytest.importorskip("uv", reason="environments are made by uv")


def write_wheel(folder: Path, version: str) -> Path:
    """Write the smallest package that can be installed without a registry."""
    path = folder / f"rival-{version}-py3-none-any.whl"
    info = f"rival-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rival.py", "x = 1\n" * 1000)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: rival\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_an_environment_is_made_once_for_the_same_requirements(tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    first, second = (write_wheel(tmp_path, version) for version in ("1.0", "2.0"))

    made = make_environment(folder, (str(first),), python=sys.executable)
    mark = made.site_packages / "mark.txt"
    mark.write_text("kept")
    kept = make_environment(folder, (str(first),), python=sys.executable)

    assert kept.versions() == {"rival": "1.0"}
    assert mark.exists()
    assert 0.006 < kept.installed_mb() < 0.05

    renewed = make_environment(folder, (str(second),), python=sys.executable)
    assert renewed.versions() == {"rival": "2.0"}
    assert not mark.exists()


def test_what_cannot_be_installed_says_why_and_is_not_kept(tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    broken = tmp_path / "rival-3.0-py3-none-any.whl"
    broken.write_bytes(b"no archive")

    for _ in range(2):  # a half-made environment is no environment the second time either
        with pytest.raises(InstallError) as caught:
            make_environment(folder, (str(broken),), python=sys.executable)
        assert len(str(caught.value).splitlines()) == 1


def test_a_python_that_is_not_here_is_told(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"3\.5"):
        make_environment(tmp_path / "environment", (), python="3.5")
