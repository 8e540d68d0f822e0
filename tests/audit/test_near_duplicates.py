import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.audit import find_near_duplicates
from mien.data import ExpressionDataset
from mien.data.synthetic import synthetic_faces

Images = npt.NDArray[np.uint8]


def saved_again(images: Images) -> Images:
    def jpeg(image: Images) -> Images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=75)
        return np.asarray(Image.open(stream))

    return np.stack([jpeg(image) for image in images])


def scaled(images: Images) -> Images:
    def resize(image: Images) -> Images:
        small = Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)
        return np.asarray(small.resize((48, 48), Image.Resampling.BICUBIC))

    return np.stack([resize(image) for image in images])


def moved(images: Images, down: int, right: int) -> Images:
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)), "edge")
    return padded[:, 2 + down : 50 + down, 2 + right : 50 + right]


VARIATIONS: dict[str, Callable[[Images], Images]] = {
    "saved again": saved_again,
    "scaled": scaled,
    "brighter": lambda images: images.clip(0, 247) + 8,
    "darker": lambda images: images.clip(8) - 8,
    "moved by one": lambda images: moved(images, 1, 0),
    "moved by two": lambda images: moved(images, -2, 1),
    "mirrored": lambda images: images[:, :, ::-1],
    "mirrored and moved": lambda images: moved(images[:, :, ::-1], 0, -2),
}


def with_copies(faces: ExpressionDataset, copies: Images) -> ExpressionDataset:
    """The faces, and after them their copies."""
    both = faces.take(np.tile(np.arange(len(faces)), 2))
    return replace(both, images=np.concatenate([faces.images, copies]))


@pytest.fixture(scope="module")
def smooth() -> ExpressionDataset:
    """Noise in each pixel would be what a cartoon's correlations are made of."""
    return synthetic_faces(40, seed=5, noise=2.0)


@pytest.mark.parametrize("name", VARIATIONS)
def test_variations_are_found(smooth: ExpressionDataset, name: str) -> None:
    found = find_near_duplicates(with_copies(smooth, VARIATIONS[name](smooth.images)))
    best = {(int(a), int(b)) for a, b in found.pairs}
    assert sum((face, face + 40) in best for face in range(40)) >= 39
    same = found.pairs[:, 1] == found.pairs[:, 0] + 40
    assert found.mirrored[same].mean() == pytest.approx(float("mirrored" in name), abs=0.05)
    assert (np.diff(found.correlations) <= 0).all()
    assert found.correlations.min() >= 0.93


def test_pictures_that_differ_are_not_near() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 48)).astype(np.uint8)
    found = find_near_duplicates(replace(synthetic_faces(40), images=noise))
    assert len(found.pairs) == 0
    assert found.duplicates.surplus == 0


def test_exact_copies_and_flat_pictures_make_no_pairs(smooth: ExpressionDataset) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 48, 48)).astype(np.uint8)
    images[1] = images[0]
    images[2], images[3], images[4] = 0, 0, 90
    images[5] = images[0] // 2 + 3
    found = find_near_duplicates(replace(smooth, images=images))
    assert found.pairs.tolist() == [[0, 5]]
    assert found.duplicates.surplus == 3
    assert [group.tolist() for group in found.duplicates.members()] == [[0, 1, 5], [2, 3]]


def test_a_chain_does_not_join_its_ends(smooth: ExpressionDataset) -> None:
    """Each picture is near the next, the first and the last are not near."""
    rng = np.random.default_rng(1)
    start, end = rng.integers(0, 256, (2, 48, 48)).astype(np.float64)
    steps = np.linspace(0, 1, 8)[:, None, None]
    images = (start * (1 - steps) + end * steps).astype(np.uint8)
    found = find_near_duplicates(replace(smooth.take(range(8)), images=images))
    paired = {tuple(pair) for pair in found.pairs.tolist()}
    assert (0, 1) in paired
    assert (0, 7) not in paired
    centres = set(found.group_of.tolist())
    assert len(centres) > 1
    for member, centre in enumerate(found.group_of.tolist()):
        assert member == centre or (min(member, centre), max(member, centre)) in paired


def test_one_face_alone(smooth: ExpressionDataset) -> None:
    assert find_near_duplicates(smooth.take([0])).pairs.shape == (0, 2)
    flat = replace(smooth.take([0, 1]), images=np.zeros((2, 48, 48), np.uint8))
    assert find_near_duplicates(flat).duplicates.surplus == 1
