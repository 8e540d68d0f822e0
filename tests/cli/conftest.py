import pytest


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrap no message, however long the paths of the temporary folder in it are."""
    monkeypatch.setenv("COLUMNS", "300")
