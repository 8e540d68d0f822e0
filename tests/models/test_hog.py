import numpy as np
import pytest
from skimage.feature import hog

from mien.data.dataset import ExpressionDataset
from mien.models.hog import hog_features


@pytest.mark.parametrize(
    ("orientations", "pixels_per_cell", "cells_per_block"),
    [(9, 8, 2), (8, 6, 3), (4, 7, 1), (6, 48, 1)],
)
def test_the_figures_are_those_of_scikit_image(
    faces: ExpressionDataset, orientations: int, pixels_per_cell: int, cells_per_block: int
) -> None:
    images = np.concatenate([faces.images[:70], np.full((1, 48, 48), 9, np.uint8)])
    images[5] = np.random.default_rng(0).integers(0, 256, (48, 48))

    ours = hog_features(
        images,
        orientations=orientations,
        pixels_per_cell=pixels_per_cell,
        cells_per_block=cells_per_block,
    )

    theirs = [
        hog(
            image,
            orientations=orientations,
            pixels_per_cell=(pixels_per_cell,) * 2,
            cells_per_block=(cells_per_block,) * 2,
            block_norm="L2-Hys",
        )
        for image in images
    ]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_no_faces_have_no_features() -> None:
    none = hog_features(
        np.empty((0, 48, 48), np.uint8), orientations=9, pixels_per_cell=8, cells_per_block=2
    )

    assert none.shape == (0, 900)
