import numpy as np
import pytest

from mien.data.seen_faces import SeenFaces


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6000, 8, 8), np.uint8)


def test_every_face_put_in_is_found_and_few_others(images: np.ndarray) -> None:
    seen = SeenFaces.of(images[:1000])
    assert seen.count == 1000
    assert seen.contains(images[:1000]).all()
    assert seen.contains(images[1000:]).sum() <= 1  # one in a hundred thousand is expected


def test_copies_count_once_and_a_changed_pixel_is_another_face(images: np.ndarray) -> None:
    seen = SeenFaces.of(np.concatenate([images[:50], images[:50]]))
    assert seen.count == 50
    changed = images[:50].copy()
    changed[:, 0, 0] += 1
    assert not seen.contains(changed).any()


def test_it_travels_as_text(images: np.ndarray) -> None:
    seen = SeenFaces.of(images[:1000])
    text = seen.to_text()
    assert len(text) < 4100
    again = SeenFaces.from_text(text)
    assert again.count == seen.count
    np.testing.assert_array_equal(again.bits, seen.bits)


def test_a_mirrored_face_is_the_same_face(images: np.ndarray) -> None:
    seen = SeenFaces.of(images[:50])
    assert seen.contains(images[:50, :, ::-1]).all()
    assert not seen.contains(images[:50, ::-1]).any()


def test_what_was_learned_before_stays_known_and_travels_along(images: np.ndarray) -> None:
    first = SeenFaces.of(images[:50])
    both = SeenFaces.from_text(SeenFaces.of(images[50:90], before=first).to_text())
    assert both.contains(images[:90]).all()
    assert not both.contains(images[90:]).any()
    assert SeenFaces.of(images[10:30], before=first) is first


def test_a_union_holds_the_faces_of_all_and_each_filter_once(images: np.ndarray) -> None:
    first = SeenFaces.of(images[:50])
    second = SeenFaces.of(images[50:90], before=first)

    both = SeenFaces.union([first, None, second])

    assert both is not None
    assert both.contains(images[:90]).all()
    assert not both.contains(images[90:]).any()
    assert len(both.to_text().split()) == 2
    assert SeenFaces.union([None]) is None


def test_nothing_put_in_is_nothing_found(images: np.ndarray) -> None:
    none = SeenFaces.from_text(SeenFaces.of(images[:0]).to_text())
    assert none.count == 0
    assert not none.contains(images[:9]).any()


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "AQAAAAgAAAAAAA==", " ", "é"])
def test_a_damaged_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a filter of faces"):
        SeenFaces.from_text(text)
