from pathlib import Path

from mien.folders import is_hidden, walk_files


def test_hidden_folders_are_not_looked_into(tmp_path: Path) -> None:
    for path in ("b/a.png", ".Trashes/a.png", "b/__MACOSX/a.png", "b/.a.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    asked: list[str] = []

    def takes(path: str) -> bool:
        asked.append(path)
        return not is_hidden(path)

    assert walk_files(tmp_path, takes) == ["b/a.png"]
    assert sorted(asked) == ["b/.a.png", "b/a.png"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "clip.mp4").touch()
    (inside / "link").symlink_to(outside, target_is_directory=True)
    (inside / "loop").symlink_to(inside, target_is_directory=True)

    assert walk_files(inside, lambda _: True) == ["link/clip.mp4"]
