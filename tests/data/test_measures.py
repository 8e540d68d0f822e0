import numpy as np
import pytest
from PIL import Image, ImageFilter

from mien.data.dataset import ExpressionDataset
from mien.data.measures import BLOCK, measure_images


def test_figures_are_those_of_each_image(faces: ExpressionDataset) -> None:
    assert len(faces) > BLOCK  # more than one block
    brightness, contrast, sharpness = measure_images(faces.images)
    images = faces.images.astype(np.float64)
    np.testing.assert_allclose(brightness.values, images.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(contrast.values, images.std(axis=(1, 2)), rtol=1e-4)
    second_x = images[:, 1:-1, 2:] - 2 * images[:, 1:-1, 1:-1] + images[:, 1:-1, :-2]
    second_y = images[:, 2:, 1:-1] - 2 * images[:, 1:-1, 1:-1] + images[:, :-2, 1:-1]
    laplacian = second_x + second_y
    np.testing.assert_allclose(sharpness.values, laplacian.var(axis=(1, 2)), rtol=1e-4)


def test_the_steepest_edges_do_not_overflow() -> None:
    checks = (np.indices((48, 48)).sum(axis=0) % 2 * 255).astype(np.uint8)
    *_, sharpness = measure_images(checks[None])
    assert sharpness.values[0] == pytest.approx(1020**2, rel=1e-4)


def test_outliers_are_found_at_both_ends(faces: ExpressionDataset) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(128, 20, (200, 48, 48)) + np.linspace(-8, 8, 200)[:, None, None]
    images[10] -= 90
    images[20] += 90
    for index, factor in ((30, 0.1), (40, 4)):
        images[index] += (factor - 1) * (images[index] - images[index].mean())
    blurred = Image.fromarray(images[50].clip(0, 255).astype(np.uint8))
    images[50] = np.asarray(blurred.filter(ImageFilter.GaussianBlur(2)))
    brightness, contrast, sharpness = measure_images(images.clip(0, 255).astype(np.uint8))
    assert np.flatnonzero(brightness.is_low).tolist() == [10]
    assert np.flatnonzero(brightness.is_high).tolist() == [20]
    assert contrast.is_low[30]
    assert contrast.is_high[40]
    assert sharpness.is_low[50]
    assert sharpness.is_high[40]
    assert brightness.low < brightness.quartiles[0] < brightness.quartiles[1] < brightness.high


def test_equal_images_are_no_outliers(faces: ExpressionDataset) -> None:
    for measure in measure_images(np.repeat(faces.images[:1], 9, axis=0)):
        assert not measure.is_low.any()
        assert not measure.is_high.any()
