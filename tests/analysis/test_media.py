import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.analysis.media import find_pictures, read_picture
from mien.errors import MediaError

ImageRgb = npt.NDArray[np.uint8]
EXIF_ORIENTATION = 0x0112


@pytest.fixture
def photo(astronaut_rgb: ImageRgb) -> Image.Image:
    return Image.fromarray(astronaut_rgb).resize((64, 48))


def as_rgba(photo: Image.Image) -> Image.Image:
    photo = photo.convert("RGBA")
    photo.putalpha(255)
    return photo


def as_sixteen_bits(photo: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("convert", "suffix", "near"),
    [
        (lambda photo: photo, "png", 0),
        (lambda photo: photo, "bmp", 0),
        (lambda photo: photo, "webp", 12),
        (lambda photo: photo, "jpg", 12),
        (lambda photo: photo.convert("CMYK"), "tif", 1),
        (lambda photo: photo.convert("CMYK"), "jpg", 12),
        (lambda photo: photo.quantize(256), "png", 12),
        (lambda photo: photo.quantize(256), "gif", 12),
        (as_rgba, "png", 0),
    ],
)
def test_colour_formats_give_the_same_picture(
    tmp_path: Path, photo: Image.Image, convert: Callable[..., Any], suffix: str, near: float
) -> None:
    path = tmp_path / f"photo.{suffix}"
    convert(photo).save(path)
    read = read_picture(path)
    assert (read.source, read.size_wh) == (str(path), (64, 48))
    assert np.abs(read.image_rgb.astype(int) - np.asarray(photo)).mean() <= near


@pytest.mark.parametrize(
    "convert",
    [
        lambda photo: photo.convert("L"),
        lambda photo: photo.convert("I"),
        lambda photo: photo.convert("LA"),
        as_sixteen_bits,
        lambda photo: as_sixteen_bits(photo).convert("I"),
        lambda photo: Image.fromarray(np.asarray(photo.convert("L")) / np.float32(255)),
        lambda photo: Image.fromarray(np.asarray(photo.convert("L")).astype(np.float32)),
    ],
)
def test_gray_formats_give_the_same_picture(
    photo: Image.Image, convert: Callable[..., Any]
) -> None:
    gray = np.asarray(photo.convert("L")).astype(int)
    read = read_picture(convert(photo)).image_rgb
    assert np.abs(read - gray[:, :, None]).max() <= 1


def test_sixteen_bit_files_are_scaled_not_clipped(tmp_path: Path, photo: Image.Image) -> None:
    for name in ("deep.png", "deep.tif"):
        as_sixteen_bits(photo).save(tmp_path / name)
        read = read_picture(tmp_path / name).image_rgb
        np.testing.assert_array_equal(read[:, :, 0], np.asarray(photo.convert("L")))


def test_transparent_pixels_show_white() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (read_picture(clear).image_rgb == 255).all()


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path, photo: Image.Image) -> None:
    black = Image.new("RGB", photo.size)
    path = tmp_path / "moving.gif"
    photo.quantize(256).save(path, save_all=True, append_images=[black], loop=0)
    assert read_picture(path).image_rgb.mean() == pytest.approx(np.asarray(photo).mean(), abs=5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_honoured(tmp_path: Path, photo: Image.Image, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = photo.transpose(undo[orientation]) if orientation in undo else photo
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(
        read_picture(tmp_path / "turned.png").image_rgb, np.asarray(photo)
    )


def test_bytes_and_images_are_read(photo: Image.Image) -> None:
    file = io.BytesIO()
    photo.save(file, "PNG")
    file.seek(0)
    data = file.getvalue()
    sources: list[tuple[Any, str]] = [(data, "bytes"), (photo, "image"), (file, "file")]
    for source, name in (*sources, (bytearray(data), "bytes"), (memoryview(data), "bytes")):
        read = read_picture(source)
        assert read.source == name
        np.testing.assert_array_equal(read.image_rgb, np.asarray(photo))


def test_arrays_tell_their_channel_order(photo: Image.Image) -> None:
    rgb = np.asarray(photo)
    for array in (
        *(rgb, rgb.astype(np.uint16) * 257, rgb.astype(np.uint16), rgb / 255),
        *(rgb.astype(np.int64), rgb.astype(np.float32), rgb.astype(np.float64)),
    ):
        np.testing.assert_array_equal(read_picture(array, colour="rgb").image_rgb, rgb)
    np.testing.assert_array_equal(read_picture(rgb[:, :, ::-1], colour="bgr").image_rgb, rgb)
    gray = rgb[:, :, 0]
    for array in (gray, gray[:, :, None]):
        for colour in (None, "gray", "rgb", "bgr"):
            assert (read_picture(array, colour=colour).image_rgb == gray[:, :, None]).all()
    clear = np.dstack((rgb[:, :, ::-1], np.zeros((48, 64), np.uint8)))
    assert (read_picture(clear, colour="bgr").image_rgb == 255).all()


@pytest.mark.parametrize(
    ("array", "colour", "named"),
    [
        (np.zeros((4, 4, 3), np.uint8), None, "colour='rgb'"),
        (np.zeros((4, 4, 3), np.uint8), "gray", "colour='rgb'"),
        (np.zeros((4, 4, 3), np.uint8), "hsv", "'hsv'"),
        (np.zeros((2, 4, 4, 3), np.uint8), "rgb", "expected an array"),
        (np.zeros((4, 4), complex), None, "complex128"),
        (np.full((4, 4), -1), None, "levels from 0 to 1 or to 255, got -1 to -1 as int64"),
        (np.full((4, 4), 256.0), None, "levels from 0 to 1 or to 255"),
        (np.full((4, 4), np.nan), None, "levels from 0 to 1 or to 255"),
    ],
)
def test_unclear_arrays_are_refused(array: Any, colour: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_picture(array, colour=colour)


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match=r"got int$"):
        read_picture(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got list; for several pictures there is analyze_many"):
        read_picture(["a.jpg"])  # type: ignore[arg-type]
    with pytest.raises(MediaError, match="empty picture"):
        read_picture(np.zeros((0, 4), np.uint8))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "not a picture"),
        ("text.png", b"hello", "not a picture"),
        ("none.jpg", None, "no such file"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=f"{name}: {reason}"):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "webp", "bmp"])
def test_a_truncated_file_is_one_line(tmp_path: Path, photo: Image.Image, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    photo.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"photo\.") as caught:
        read_picture(path)
    assert "\n" not in str(caught.value)


def test_broken_exif_does_not_lose_the_picture(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "photo.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert read_picture(tmp_path / "photo.jpg").size_wh == (64, 48)


def test_what_pillow_takes_for_a_bomb_is_refused(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo.save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError, match=r"large\.png: more than"):
        read_picture(tmp_path / "large.png")


def test_a_name_that_no_file_can_have_is_told() -> None:
    name = "a" * 300
    with pytest.raises(MediaError, match="cannot be read: File name too long"):
        read_picture(name)
    with pytest.raises(MediaError, match="cannot be read: File name too long"):
        list(find_pictures([name]))
    with pytest.raises(MediaError, match=r"a\\x00b\.jpg.*no such file"):
        read_picture("a\0b.jpg")
    with pytest.raises(MediaError, match=r"^A{30}…: cannot be read"):
        read_picture("A" * 100_000)
    with pytest.raises(MediaError, match=r"^'': a folder"):
        read_picture("")


def test_a_clip_is_told_where_clips_are_read(tmp_path: Path) -> None:
    clip = tmp_path / "clip.MP4"
    clip.write_bytes(b"\0\0\0\x18ftypmp42")
    with pytest.raises(MediaError, match="can be read; for clips there is 'mien video'"):
        read_picture(clip)


def test_a_data_url_is_told_without_its_data() -> None:
    with pytest.raises(
        MediaError, match=r"^data:image/jpeg;base64,\w{0,10}…: a data URL"
    ) as raised:
        read_picture("data:image/jpeg;base64," + "A" * 10_000)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("url", ["https://me:secret@example.org/a.jpg", "rtsp://camera/1"])
def test_urls_are_refused_and_no_password_told(url: str) -> None:
    with pytest.raises(MediaError, match="download it first") as refused:
        read_picture(url)
    assert "secret" not in str(refused.value)
    with pytest.raises(MediaError, match="download it first"):
        list(find_pictures([url]))


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    for name in ("b.jpg", "a.PNG", "deep/c.webp", "._a.png", "strange[1].jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(found: Any, folder: Path) -> list[str]:
    return [Path(path).relative_to(folder).as_posix() for path in found]


def test_a_folder_gives_its_pictures_sorted(folder: Path) -> None:
    found = names(find_pictures([folder]), folder)
    assert found == ["a.PNG", "b.jpg", "deep/c.webp", "strange[1].jpg"]


def test_patterns_and_names_are_found_once(folder: Path) -> None:
    sources: list[str | Path] = [folder / "b.jpg", f"{folder}/*.jpg", folder / "notes.txt"]
    assert names(find_pictures(sources), folder) == ["b.jpg", "strange[1].jpg", "notes.txt"]
    assert names(find_pictures([f"{folder}/**/*.webp"]), folder) == ["deep/c.webp"]
    assert names(find_pictures([folder / "strange[1].jpg"]), folder) == ["strange[1].jpg"]


def test_hidden_folders_and_annotations_are_left_out(folder: Path, photo: Image.Image) -> None:
    before = names(find_pictures([folder]), folder)
    more = (".thumbnails/a.jpg", "__MACOSX/deep/b.jpg", "b-mien.jpg", "deep/a-2-mien.jpg")
    for name in more:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        photo.save(folder / name)
    assert names(find_pictures([folder]), folder) == before
    found = names(find_pictures([f"{folder}/**/*.*"]), folder)
    assert found == before
    # Whoever names them wants them.
    asked: list[str | Path] = [folder / "b-mien.jpg", f"{folder}/.thumbnails/*.jpg"]
    assert names(find_pictures(asked), folder) == ["b-mien.jpg", ".thumbnails/a.jpg"]


def test_a_folder_that_cannot_be_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_list(folder / "deep", monkeypatch)
    with pytest.raises(MediaError, match=r"deep: cannot be read: Permission denied"):
        list(find_pictures([folder]))


def refuse_to_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the right to list a folder, from an administrator too."""
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize(
    ("source", "reason"),
    [("empty", "no picture in this folder"), ("*.bmp", "no picture matches"), ("x", "no such")],
)
def test_sources_without_pictures_are_errors(folder: Path, source: str, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        list(find_pictures([folder / source]))
    if source == "empty":
        with pytest.raises(MediaError, match="a folder"):
            read_picture(folder / source)
