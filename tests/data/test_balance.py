from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data import load_dataset
from mien.data.balance import VARIED, Variation, balance, write_image_tree
from mien.data.dataset import ExpressionDataset
from mien.data.synthetic import synthetic_faces
from mien.errors import DataError

STILL = Variation(
    flip=0,
    rotation_deg=0,
    zoom=(1, 1),
    contrast=(1, 1),
    brightness_levels=0,
    noise_probability=0,
)


@pytest.fixture
def uneven(faces: ExpressionDataset) -> ExpressionDataset:
    """Four disgusted training faces, 32 of each other class."""
    training = faces.split_codes == 0
    few = np.flatnonzero(training & (faces.labels == 1))[4:]
    return faces.take(np.setdiff1d(np.arange(len(faces)), few))


def test_every_class_has_the_same_number(uneven: ExpressionDataset) -> None:
    even = balance(uneven, 20)

    assert set(even.split("Training").counts().values()) == {20}
    for split in ("PublicTest", "PrivateTest"):
        np.testing.assert_array_equal(even.split(split).images, uneven.split(split).images)


def test_faces_of_a_small_class_are_kept_and_varied_in_turn(uneven: ExpressionDataset) -> None:
    even = balance(uneven, 20).split("Training")

    names = even.names[even.labels == 1]
    originals = [name for name in names if "varied" not in name]
    assert len(originals) == 4
    turns = [sum(name.startswith(f"{origin} varied") for name in names) for origin in originals]
    assert turns == [4, 4, 4, 4]
    assert len(np.unique(even.images[even.labels == 1], axis=0)) == 20


def test_a_face_that_is_not_varied_is_its_original(uneven: ExpressionDataset) -> None:
    even = balance(uneven, 40, variation=STILL).split("Training")

    of = dict(zip(uneven.names, uneven.images, strict=True))
    for name, image in zip(even.names, even.images, strict=True):
        np.testing.assert_array_equal(image, of[name.partition(" varied")[0]])


def test_borders_are_reflected_not_black() -> None:
    faces = synthetic_faces(70, noise=0)
    bright = ExpressionDataset(
        images=np.maximum(faces.images, 100),
        labels=faces.labels,
        split_codes=faces.split_codes,
        names=faces.names,
    )

    turned = balance(bright, 30, variation=Variation(noise_probability=0))

    assert turned.images.min() > 80  # 100, less some contrast and brightness


def test_the_seed_decides_it_all(uneven: ExpressionDataset) -> None:
    np.testing.assert_array_equal(
        balance(uneven, 20, seed=1).images, balance(uneven, 20, seed=1).images
    )
    assert (balance(uneven, 20, seed=1).images != balance(uneven, 20, seed=2).images).any()


def test_a_balanced_folder_reads_back_the_same(uneven: ExpressionDataset, tmp_path: Path) -> None:
    even = balance(uneven, 10)

    write_image_tree(even, tmp_path / "even")
    back = load_dataset(tmp_path / "even", cache=False)

    assert back.split_counts() == even.split_counts()
    for split in even.splits:
        for label in range(7):
            ours, theirs = (
                {
                    face.tobytes()
                    for face in part.split(split).images[part.split(split).labels == label]
                }
                for part in (even, back)
            )
            assert ours == theirs
    with pytest.raises(DataError, match="not empty"):
        write_image_tree(even, tmp_path / "even")


@pytest.mark.parametrize("times", [1, 2])
def test_varied_faces_in_a_folder_are_known_by_their_originals(
    uneven: ExpressionDataset, tmp_path: Path, times: int
) -> None:
    even = balance(uneven, 20)
    if times == 2:  # which leaves originals out whose copies stay
        even = balance(even.take(np.arange(len(even))[::-1]), 10)

    write_image_tree(even, tmp_path / "even")
    back = load_dataset(tmp_path / "even", cache=False)

    def families(dataset: ExpressionDataset) -> set[frozenset[bytes]]:
        found: dict[str, set[bytes]] = {}
        for name, image in zip(dataset.names, dataset.images, strict=True):
            found.setdefault(name.partition(VARIED)[0], set()).add(image.tobytes())
        return {frozenset(family) for family in found.values()}

    assert families(back) == families(even)
    assert len(families(back)) < len(back)


def test_an_empty_folder_makes_room(
    faces: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.replace

    def as_on_windows(self: Path, target: Path) -> Path:
        if target.exists():
            raise PermissionError(13, "Access is denied")
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", as_on_windows)
    (tmp_path / "even").mkdir()
    write_image_tree(faces, tmp_path / "even")

    assert len(load_dataset(tmp_path / "even", cache=False)) == len(faces)


def test_a_class_without_faces_cannot_be_varied(uneven: ExpressionDataset) -> None:
    with pytest.raises(DataError, match="no Training face is 'disgust'"):
        balance(uneven.take(np.flatnonzero(uneven.labels != 1)), 20)
    with pytest.raises(ValueError, match="target"):
        balance(uneven, 0)


@pytest.mark.parametrize("name", ["../../out", "a/b", "..", "a\\b"])
def test_a_class_cannot_lead_out_of_the_folder(
    faces: ExpressionDataset, name: str, tmp_path: Path
) -> None:
    odd = replace(faces, classes=(name, *faces.classes[1:]))

    with pytest.raises(DataError, match="cannot be the name of a folder"):
        write_image_tree(odd, tmp_path / "even")
    assert not list(tmp_path.iterdir())


def test_half_a_folder_is_not_left(
    faces: ExpressionDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Image.Image.save

    def full(self: Image.Image, path: Path) -> None:
        if path.stem.endswith("7"):
            raise OSError(28, "No space left on device")
        whole(self, path)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_image_tree(faces, tmp_path / "even")
    assert not list(tmp_path.iterdir())
