import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mien.data.image_tree
from mien.data.dataset import ExpressionDataset
from mien.data.image_tree import list_images, read_image_tree
from mien.data.row_problems import RowProblem
from mien.errors import DataError
from mien.preprocess import resize_face, to_gray

WriteTree = Callable[[Path, dict[str, bytes]], Path]


def picture(
    mode: str = "L",
    size: tuple[int, int] = (48, 48),
    colour: Any = 200,
    file_format: str = "PNG",
    **options: Any,
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, file_format, **options)
    return out.getvalue()


def read(files: dict[str, bytes]) -> ExpressionDataset:
    return read_image_tree(list(files), files.__getitem__, source="mine")


def complaint(files: dict[str, bytes]) -> str:
    with pytest.raises(DataError) as caught:
        read(files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/happy/Training_1.jpg", "Training"),
        ("test/happy/PublicTest_1.jpg", "PublicTest"),
        ("test/happy/PrivateTest_1.jpg", "PrivateTest"),
        ("test/happy/a.png", "PrivateTest"),
        ("val/happy/a.png", "PublicTest"),
        ("faces/Validation/happy/a.png", "PublicTest"),
        ("PublicTest/more/happy/a.png", "PublicTest"),
        ("happy/a.png", "Training"),
        ("anything/happy/a.png", "Training"),
    ],
)
def test_the_split_is_told_by_file_or_folder(path: str, split: str) -> None:
    assert read({path: picture()}).splits == (split,)


@pytest.mark.parametrize(
    ("folder", "label"), [("Happiness", 3), ("anger", 0), ("SURPRISED", 5), ("neutral", 6)]
)
def test_a_class_may_have_another_spelling(folder: str, label: int) -> None:
    assert list(read({f"{folder}/a.png": picture()}).labels) == [label]


@pytest.mark.parametrize(
    ("mode", "colour", "level"),
    [
        ("L", 200, 200),
        ("RGB", (255, 0, 0), 76),
        ("RGBA", (0, 0, 0, 0), 255),
        ("LA", (200, 255), 200),
        ("P", 0, 0),
        ("1", 1, 255),
        ("CMYK", (0, 0, 0, 0), 255),
        ("I;16", 200 * 257, 200),
    ],
)
@pytest.mark.parametrize("size", [(48, 48), (100, 130), (20, 20)])
def test_any_mode_and_size_becomes_a_grey_face(
    mode: str, colour: Any, level: int, size: tuple[int, int]
) -> None:
    data = picture(mode, size, colour, "TIFF" if mode == "CMYK" else "PNG")
    face = read({"happy/a.png": data}).images[0]
    assert face.shape == (48, 48)
    assert set(np.unique(face)) == {level}


def test_a_face_of_the_right_size_is_untouched(
    dataset: ExpressionDataset, kaggle_images: dict[str, bytes], assert_same: Any
) -> None:
    found = read(kaggle_images)
    assert_same(found, dataset)
    assert list(found.names) == list(kaggle_images)


def test_exif_rotation_is_applied() -> None:
    image = Image.new("L", (48, 48), 0)
    image.paste(255, (0, 0, 48, 24))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    out = io.BytesIO()
    image.save(out, "PNG", exif=exif)
    face = read({"happy/a.png": out.getvalue()}).images[0]
    assert face[0, 0] == 0
    assert face[47, 47] == 255


def test_an_unknown_class_names_folder_and_nearest() -> None:
    message = complaint({"train/happpy/a.png": picture()})
    assert message.startswith("mine: folder train/happpy: unknown expression 'happpy'")
    assert "did you mean 'happy'?" in message
    assert "contempt" in complaint({"happy/a.png": picture(), "contempt/a.png": picture()})


@pytest.mark.parametrize("path", ["a.png", "train/a.png"])
def test_pictures_outside_class_folders(path: str) -> None:
    assert "expected a folder for each class: angry, disgust" in complaint({path: picture()})


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", picture()[:40], picture(file_format="JPEG", size=(90, 90))[:-9]],
    ids=["empty", "text", "cut PNG", "cut JPEG"],
)
def test_a_damaged_picture_is_named(data: bytes) -> None:
    message = complaint({"happy/a.png": picture(), "sad/b.png": data})
    assert re.match(r"mine: sad/b\.png: (not a picture|damaged picture)", message)


def test_a_huge_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.data.image_tree, "_MAX_PIXELS", 1000)
    assert "megapixels" in complaint({"happy/a.png": picture(size=(40, 40))})


def test_colour_turns_grey_as_in_analysis() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 70, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    face = read({"happy/a.png": out.getvalue()}).images[0]
    np.testing.assert_array_equal(face, resize_face(to_gray(pixels)))


def test_list_images_follows_links_once(tmp_path: Path, write_tree: WriteTree) -> None:
    outside = write_tree(tmp_path / "outside", {"a.png": b"1", "b.txt": b"2"})
    root = write_tree(tmp_path / "root", {"sad/c.png": b"3"})
    try:
        (root / "happy").symlink_to(outside, target_is_directory=True)
        (root / "loop").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert list(list_images(root)) == ["happy/a.png", "sad/c.png"]


def test_names_that_are_no_expressions_are_classes_of_ones_own() -> None:
    found = read({f"{name}/a.png": picture() for name in ("Yawning", "awake")})
    assert found.classes == ("Yawning", "awake")
    assert found.labels.tolist() == [0, 1]


def test_names_are_taken_as_they_are_where_asked() -> None:
    files = {f"train/{name}/a.png": picture() for name in ("happy", "bored", "Sad")}
    assert "for classes of your own say --own-classes" in complaint(files)

    found = read_image_tree(list(files), files.__getitem__, source="mine", own_classes=True)

    assert found.classes == ("Sad", "bored", "happy")
    assert found.labels.tolist() == [2, 1, 0]


def test_pictures_that_cannot_be_read_are_left_out_where_problems_are_collected() -> None:
    def read_file(path: str) -> bytes:
        if path == "sad/locked.png":
            raise DataError(f"/home/me/{path}: cannot be read: Permission denied")
        return files[path]

    files = {
        "sad/empty.png": b"",
        "happy/a.png": picture(),
        "sad/cut.jpg": picture(file_format="JPEG", size=(90, 90))[:-9],
        "sad/locked.png": b"",
        "angry/text.png": b"no picture",
        "fear/z.png": picture(colour=9),
    }
    problems: list[RowProblem] = []
    found = read_image_tree(list(files), read_file, source="mine", problems=problems)

    assert found.names.tolist() == ["happy/a.png", "fear/z.png"]
    assert found.labels.tolist() == [3, 2]
    assert found.images[:, 0, 0].tolist() == [200, 9]
    assert [(each.name, each.column, each.missing) for each in problems] == [
        ("sad/empty.png", "pixels", True),
        ("sad/cut.jpg", "pixels", False),
        ("sad/locked.png", "pixels", False),
        ("angry/text.png", "pixels", False),
    ]
    reasons = [each.reason for each in problems]
    assert reasons[0] == "not a picture in a format that can be read"
    assert reasons[1].startswith("damaged picture: ")
    assert reasons[2] == "cannot be read: Permission denied"

    del files["sad/locked.png"]
    assert complaint(files).endswith("('mien data explore' lists all that cannot be read)")
    with pytest.raises(DataError, match=r"mine: no row or picture .* the first, sad/"):
        read_image_tree(["sad/empty.png"], read_file, source="mine", problems=[])
