"""Principal components of faces: the pixels of thousands seen in two or three dimensions."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.data.dataset import ExpressionDataset

#: FER2013's first 50 components hold 85 % of the variance of its pixels.
_COMPONENTS: Final = 50
#: A picture in three dimensions needs three components, and these need four images.
_FEWEST: Final = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class Projection:
    """Faces on their principal components (K of them, at least three).

    Attributes:
        indices: ``(n,)`` int64 which images of the data set, ascending.
        coordinates: ``(n, K)`` float32, of pixels from 0 to 1 less their mean.
        explained: ``(K,)`` float64 share of the variance that each component holds.
        eigenfaces: ``(K, H, W)`` float32, of length 1 each; their sign has no meaning.
    """

    indices: npt.NDArray[np.int64]
    coordinates: npt.NDArray[np.float32]
    explained: npt.NDArray[np.float64]
    eigenfaces: npt.NDArray[np.float32]


def project_faces(
    dataset: ExpressionDataset, *, limit: int = 4000, seed: int = 0
) -> Projection | None:
    """Fit principal components to a data set's pixels.

    Args:
        dataset: The faces.
        limit: How many images to take at most, drawn at random over all classes and splits.
        seed: The same seed gives the same images and components.

    Returns:
        None where there are too few different images for three components.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import

    rng = np.random.default_rng(seed)
    indices = np.sort(rng.permutation(len(dataset))[:limit]).astype(np.int64)
    pixels = dataset.images[indices].reshape(len(indices), -1).astype(np.float32) / 255
    different = len({image.tobytes() for image in dataset.images[indices]})
    if different < _FEWEST:
        return None
    components = min(_COMPONENTS, different - 1)
    pca = PCA(components, random_state=seed)
    coordinates = pca.fit_transform(pixels)
    return Projection(
        indices=indices,
        coordinates=coordinates.astype(np.float32),
        explained=pca.explained_variance_ratio_.astype(np.float64),
        eigenfaces=pca.components_.astype(np.float32).reshape(-1, *dataset.images.shape[1:]),
    )
