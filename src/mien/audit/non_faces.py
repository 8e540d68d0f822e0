"""Pictures that show no face, by two judges that know nothing of each other.

The first is the distance from face space: what is left of a picture when the principal components
of all faces are taken out. It is large for drawings, text and crowds, and for hands over a face.
The second is the score of MTCNN's output network, trained to tell faces from all else; it is low
for those, and for faces in profile, asleep or cut off. Flagged is what both put far out; so the
network, the slower of the two, looks only at what lies far from face space.

Source: Turk and Pentland 1991, "Eigenfaces for recognition",
https://doi.org/10.1162/jocn.1991.3.1.71; Zhang et al. 2016, https://arxiv.org/abs/1604.02878
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.analysis.mtcnn_graphs import open_network
from mien.data import ExpressionDataset
from mien.data.ferplus import most_saw
from mien.data.measures import TUKEY, Measure, blocks, is_flat

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

#: Components of face space, at most, and the faces that they are fitted to, at most.
_COMPONENTS: Final = 100
_FITTED: Final = 4000
#: Faces for each component, at least: with fewer, a picture would be a component of its own.
_FACES_A_COMPONENT: Final = 20
#: Scores below this are far out. On FER2013's Training, 35 of the 42 that are then flagged are no
#: face to most of their FER+ voters; at 0.05 it is 39 of 54, at 0.5 44 of 104.
_SCORE: Final = 0.02
#: Faces at a time through the network: its values then stay in a processor's cache.
_BATCH: Final = 32


@dataclass(frozen=True, eq=False, kw_only=True)
class NonFaces:
    """How much like a face each image is.

    Attributes:
        face_space: Distance of each image from face space; 0 where it is of one colour.
        ranked: ``(R,)`` int64 images that lie far from face space, the lowest score first.
        scores: ``(R,)`` float32 their probability of a face, by MTCNN's output network.
        limit: Scores below it are far out.
        voted_non_faces: Flagged images that most of their FER+ voters took for no face; None
            where there are no votes.
    """

    face_space: Measure
    ranked: Indices
    scores: Array
    limit: float
    voted_non_faces: int | None

    @property
    def flagged(self) -> Indices:
        """``(F,)`` the first of :attr:`ranked`: their score is far out too."""
        return self.ranked[self.scores < self.limit]


def find_non_faces(dataset: ExpressionDataset, *, threads: int = 0) -> NonFaces:
    """Find images that show no face; those of one colour are left out.

    Args:
        dataset: The images.
        threads: Processor threads of the network; 0 for as many as there are cores.

    Raises:
        ModelError: The detector's weights are missing or not those expected.
    """
    shown = np.flatnonzero(~is_flat(dataset.images))
    distances = np.zeros(len(dataset), np.float32)
    distances[shown] = _distances(dataset.images[shown])
    measure = _measure(distances, shown)
    far = np.flatnonzero(measure.is_high)
    scores = _scores(dataset.images[far], threads)
    order = np.argsort(scores, kind="stable")
    ranked, scores = far[order], scores[order]
    return NonFaces(
        face_space=measure,
        ranked=ranked,
        scores=scores,
        limit=_SCORE,
        voted_non_faces=_voted_non_faces(dataset, ranked[scores < _SCORE]),
    )


def _distances(images: npt.NDArray[np.uint8]) -> Array:
    """Return ``(N,)`` the share of each picture's variance that lies outside face space."""
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import

    fitted = np.random.default_rng(0).permutation(len(images))[:_FITTED]
    components = min(_COMPONENTS, len(fitted) // _FACES_A_COMPONENT)
    if not components:
        return np.zeros(len(images), np.float32)
    space = PCA(components, random_state=0).fit(_standardise(images[fitted]))
    distances = np.empty(len(images), np.float32)
    for where in blocks(len(images)):
        apart = _standardise(images[where]) - space.mean_.astype(np.float32)
        inside = apart @ space.components_.T.astype(np.float32)
        distances[where] = (apart**2).sum(axis=1) - (inside**2).sum(axis=1)
    return distances.clip(0)


def _standardise(images: npt.NDArray[np.uint8]) -> Array:
    """Return pictures as rows of mean 0 and length 1, so that neither light nor contrast counts."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths: Array = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def _measure(distances: Array, shown: Indices) -> Measure:
    """Put Tukey's upper limit to the distances of the images that show something."""
    quartiles = (0.0, 0.0, 0.0)
    if len(shown):
        low, middle, high = np.quantile(distances[shown], (0.25, 0.5, 0.75)).tolist()
        quartiles = (low, middle, high)
    return Measure(
        name="distance from face space",
        definition="share of a picture that the components of all leave over",
        values=distances,
        quartiles=quartiles,
        low=0.0,
        high=quartiles[2] + TUKEY * (quartiles[2] - quartiles[0]),
    )


def _scores(images: npt.NDArray[np.uint8], threads: int) -> Array:
    """Return ``(N,)`` the network's scores of the pictures as they are."""
    network = open_network("onet", threads=threads)
    scores = np.empty(len(images), np.float32)
    for start in range(0, len(images), _BATCH):
        batch = np.repeat(images[start : start + _BATCH, :, :, None], 3, axis=3)
        (found,) = network.run(["scores"], {"images_rgb": batch})
        scores[start : start + _BATCH] = found[:, 0]
    return scores


def _voted_non_faces(dataset: ExpressionDataset, flagged: Indices) -> int | None:
    if dataset.votes is None:
        return None
    return int(most_saw(dataset.votes[flagged], "NF").sum())
