"""Classical baselines: features made by hand, a scikit-learn estimator on top of them.

What reports on FER2013 set their networks against. A baseline is fitted in one go, on the CPU.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from mien.errors import DataError, RecipeError
from mien.preprocess import FACE_SIZE

#: Temperatures tried; neighbours are 3 % apart, which moves no loss by a thousandth.
_TEMPERATURES: Final = np.geomspace(0.02, 20, 230)


@runtime_checkable
class ClassicalConfig(Protocol):
    """The options of one baseline; a frozen dataclass whose fields a recipe sets."""

    def describe(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, D)`` features of ``(N, 48, 48)`` faces."""
        ...

    def scores(self, pipeline: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return a fitted pipeline's ``(N, K)`` scores, one for each class it was shown."""
        ...

    def fit(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        seed: int,
        *,
        classes: tuple[str, ...],
    ) -> "ClassicalModel":
        """Return the baseline fitted to ``(N, 48, 48)`` faces and their ``(N,)`` labels."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassicalModel:
    """A fitted baseline.

    Attributes:
        config: The options it was fitted with.
        classes: Class names in the order of the logits.
        pipeline: The fitted scikit-learn pipeline, from features to scores.
        temperature: What scores are divided by to make them logits.
    """

    config: ClassicalConfig
    classes: tuple[str, ...]
    pipeline: Any
    temperature: float = 1.0

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, C)`` logits of ``(N, 48, 48)`` faces.

        A class that training had no face of gets each face's lowest score.
        """
        scores = self.config.scores(self.pipeline, self.config.describe(images))
        every = _spread(scores, self.pipeline.classes_, len(self.classes))
        return (every / self.temperature).astype(np.float32)

    @property
    def parameters(self) -> int:
        """The number of values in the arrays that it stores."""
        steps = self.pipeline.named_steps.values()
        arrays = [value for step in steps for value in vars(step).values()]
        return sum(int(array.size) for array in arrays if isinstance(array, np.ndarray))


@dataclass(frozen=True, kw_only=True)
class HogConfig(ABC):
    """What the baselines on histograms of oriented gradients share.

    An RBF kernel is approximated from some training faces (Nyström): the time of an exact one
    grows with the square of their number.

    Sources: Dalal and Triggs 2005, https://doi.org/10.1109/CVPR.2005.177 (HOG); Williams and
    Seeger 2000, "Using the Nyström method to speed up kernel machines".

    Attributes:
        orientations: Bins of a histogram, over half a turn.
        pixels_per_cell: Side of the square that a histogram is of.
        cells_per_block: Side of the square of cells that are normalised together.
        kernel: ``linear`` or ``rbf``.
        landmarks: Training faces that the RBF kernel is approximated from; fewer where there
            are fewer.
        gamma: Width of the RBF kernel: exp(-gamma × squared distance).
        C: Weight of the training faces against that of small coefficients.
        mirrored: Whether each training face is also shown mirrored.
    """

    orientations: int = 9
    pixels_per_cell: int = 8
    cells_per_block: int = 2
    kernel: Literal["linear", "rbf"] = "rbf"
    landmarks: int = 1000
    gamma: float = 0.1
    C: float = 1.0
    mirrored: bool = True

    def __post_init__(self) -> None:
        for name in ("orientations", "pixels_per_cell", "cells_per_block", "landmarks"):
            _check_positive(name, getattr(self, name), "1 or more", least=1)
        for name in ("gamma", "C"):
            _check_positive(name, getattr(self, name), "a number above 0")
        cells = FACE_SIZE // self.pixels_per_cell
        if cells < self.cells_per_block:
            raise RecipeError(
                f"model.cells_per_block: {self.pixels_per_cell} pixels a cell leave {cells} cells "
                f"a side, got {self.cells_per_block}"
            )

    def describe(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, D)`` histograms of ``(N, 48, 48)`` faces; about 1 ms a face."""
        from skimage.feature import hog  # noqa: PLC0415 - slow to import

        blocks = FACE_SIZE // self.pixels_per_cell - self.cells_per_block + 1
        width = self.orientations * (blocks * self.cells_per_block) ** 2
        features = np.empty((len(images), width), np.float32)
        for row, image in zip(features, images, strict=True):
            row[:] = hog(
                image,
                orientations=self.orientations,
                pixels_per_cell=(self.pixels_per_cell,) * 2,
                cells_per_block=(self.cells_per_block,) * 2,
                block_norm="L2-Hys",
            )
        return features

    def fit(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        seed: int,
        *,
        classes: tuple[str, ...],
    ) -> ClassicalModel:
        """Return the baseline fitted to ``(N, 48, 48)`` faces and their ``(N,)`` labels.

        Raises:
            DataError: The faces are all of one class.
        """
        if len(np.unique(labels)) < 2:
            raise DataError("all training faces are of one class, there is nothing to tell apart")
        features = self.describe(images)
        temperature = self._temperature(features, labels, seed, len(classes))
        if self.mirrored:
            features = np.concatenate([features, self.describe(images[:, :, ::-1])])
            labels = np.concatenate([labels, labels])
        pipeline = self._fit_pipeline(features, labels, min(self.landmarks, len(images)), seed)
        return ClassicalModel(
            config=self, classes=classes, pipeline=pipeline, temperature=temperature
        )

    def _fit_pipeline(
        self,
        features: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        landmarks: int,
        seed: int,
    ) -> Any:
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - slow to import
        from sklearn.kernel_approximation import Nystroem  # noqa: PLC0415
        from sklearn.pipeline import Pipeline  # noqa: PLC0415

        steps = [self._estimator(seed)]
        if self.kernel == "rbf":
            kernel = Nystroem(gamma=self.gamma, n_components=landmarks, random_state=seed)
            steps.insert(0, ("kernel", kernel))
        with warnings.catch_warnings():
            # What stops a little short of the optimum is as good a baseline.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return Pipeline(steps).fit(features, labels)

    @abstractmethod
    def scores(self, pipeline: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return a fitted pipeline's ``(N, K)`` scores, one for each class it was shown."""

    @abstractmethod
    def _estimator(self, seed: int) -> tuple[str, Any]:
        """Return the last step of the pipeline and its name."""

    def _temperature(
        self,
        features: npt.NDArray[np.float32],  # noqa: ARG002
        labels: npt.NDArray[np.int64],  # noqa: ARG002
        seed: int,  # noqa: ARG002
        num_classes: int,  # noqa: ARG002
    ) -> float:
        """Return what scores are divided by to be logits; 1 where they are already."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class HogSvmConfig(HogConfig):
    """Histograms of oriented gradients, told apart by a support vector machine.

    The machine's scores are distances, not probabilities: they are divided by one temperature,
    fitted on a tenth of the training faces, which a first machine on the others was not shown, so
    that the loss means something. It changes no answer.

    Measured on 2,000 Training and 1,000 PublicTest faces: linear 40.7 % (C = 0.01), exact RBF
    42.7 %, approximated from 800 faces 42.9 %, and with mirrored faces 44.3 %; cells of 6 pixels
    cost twice the time and did no better.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599 (temperature).
    """

    C: float = 0.3

    def scores(self, pipeline: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return ``(N, K)`` signed distances from the class boundaries."""
        found: npt.NDArray[Any] = pipeline.decision_function(features)
        # Of two classes scikit-learn gives the second's alone.
        return np.stack([-found, found], axis=1) if found.ndim == 1 else found

    def _estimator(self, seed: int) -> tuple[str, Any]:
        from sklearn.svm import LinearSVC  # noqa: PLC0415 - slow to import

        return "svm", LinearSVC(C=self.C, random_state=seed)

    def _temperature(
        self,
        features: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        seed: int,
        num_classes: int,
    ) -> float:
        """Return the temperature of the least loss on a tenth of the faces, held out."""
        order = np.random.default_rng(seed).permutation(len(labels))
        held_out, kept = np.split(order, [len(order) // 10])
        if not len(held_out) or len(np.unique(labels[kept])) < 2:
            return 1.0  # too few faces to say
        landmarks = min(self.landmarks, len(kept))
        pipeline = self._fit_pipeline(features[kept], labels[kept], landmarks, seed)
        scores = self.scores(pipeline, features[held_out])
        logits = torch.from_numpy(_spread(scores, pipeline.classes_, num_classes))
        answers = torch.from_numpy(labels[held_out])
        losses = [F.cross_entropy(logits / t, answers).item() for t in _TEMPERATURES]
        return float(_TEMPERATURES[np.argmin(losses)])


@dataclass(frozen=True, kw_only=True)
class HogLogisticConfig(HogConfig):
    """Histograms of oriented gradients, told apart by multinomial logistic regression.

    Fitted in a small part of the support vector machine's time, and what it says are
    probabilities at once: the quick source of them for cross-validation.

    Measured in five folds of FER2013's Training: 46.9 ± 0.6 %.
    In the first of them C = 1 and mirrored faces came to 46.7 % of PublicTest, 1.2 points below
    the training faces, so there was more to fit; C = 10 without mirrored faces came to 47.5 %.

    Attributes:
        iterations: Most steps of the optimiser (L-BFGS).
    """

    C: float = 10.0
    mirrored: bool = False
    iterations: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("iterations", self.iterations, "1 or more", least=1)

    def scores(self, pipeline: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return ``(N, K)`` log-probabilities."""
        # Of a class as good as ruled out, so that the loss stays finite.
        least = np.log(np.finfo(np.float32).tiny)
        found: npt.NDArray[Any] = np.maximum(pipeline.predict_log_proba(features), least)
        return found

    def _estimator(self, seed: int) -> tuple[str, Any]:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - slow to import

        return "logistic", LogisticRegression(C=self.C, max_iter=self.iterations, random_state=seed)


@dataclass(frozen=True, kw_only=True)
class PcaKnnConfig:
    """Principal components of the pixels ("eigenfaces"), then a vote of the nearest neighbours.

    The logits are log-probabilities: the neighbours' shares with one more neighbour spread
    evenly over the classes, so that a class nobody votes for costs a finite loss. It changes no
    answer. A training face is its own nearest neighbour, so accuracy on Training says nothing.

    Measured on 2,000 Training and 1,000 PublicTest faces, 15 neighbours: Euclidean 27.1 %,
    cosine 24.9 % on 50 components; whitened, 27.0 % and 31.0 %; the latter weighted by distance,
    33.1 %, and so on 100 components, 31.7 %.

    Source: Turk and Pentland 1991, https://doi.org/10.1162/jocn.1991.3.1.71

    Attributes:
        components: Principal components kept.
        neighbours: Training faces that vote.
        weights: ``uniform`` votes, or the ``distance``'s inverse.
        metric: What near means.
        whiten: Whether components are scaled to unit variance.
    """

    components: int = 50
    neighbours: int = 15
    weights: Literal["uniform", "distance"] = "distance"
    metric: Literal["euclidean", "manhattan", "cosine"] = "cosine"
    whiten: bool = True

    def __post_init__(self) -> None:
        for name in ("components", "neighbours"):
            _check_positive(name, getattr(self, name), "1 or more", least=1)
        if self.components > FACE_SIZE**2:
            raise RecipeError(
                f"model.components: a face has {FACE_SIZE**2} pixels, got {self.components}"
            )

    def describe(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return ``(N, 2304)`` grey levels, 0 to 1, of ``(N, 48, 48)`` faces."""
        return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)

    def scores(self, pipeline: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return ``(N, K)`` log-probabilities."""
        shares = pipeline.predict_proba(features)
        votes = self.neighbours * shares + 1 / shares.shape[1]
        smoothed: npt.NDArray[Any] = np.log(votes / (self.neighbours + 1))
        return smoothed

    def fit(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        seed: int,
        *,
        classes: tuple[str, ...],
    ) -> ClassicalModel:
        """Return the components and the neighbours of ``(N, 48, 48)`` faces and ``(N,)`` labels.

        Raises:
            RecipeError: There are fewer faces than components or neighbours.
        """
        from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import
        from sklearn.neighbors import KNeighborsClassifier  # noqa: PLC0415
        from sklearn.pipeline import Pipeline  # noqa: PLC0415

        for name in ("components", "neighbours"):
            if getattr(self, name) > len(images):
                raise RecipeError(
                    f"model.{name}: there are {len(images)} training faces, "
                    f"got {getattr(self, name)}"
                )
        pca = PCA(self.components, whiten=self.whiten, svd_solver="randomized", random_state=seed)
        # A tree of 50 dimensions is searched whole anyway.
        knn = KNeighborsClassifier(
            self.neighbours, weights=self.weights, metric=self.metric, algorithm="brute"
        )
        pipeline = Pipeline([("pca", pca), ("knn", knn)]).fit(self.describe(images), labels)
        return ClassicalModel(config=self, classes=classes, pipeline=pipeline)


CLASSICAL: Final[Mapping[str, type[ClassicalConfig]]] = MappingProxyType(
    {
        "hog_svm": HogSvmConfig,
        "hog_logistic": HogLogisticConfig,
        "pca_knn": PcaKnnConfig,
    }
)


def _spread(
    scores: npt.NDArray[Any], shown: npt.NDArray[np.int64], num_classes: int
) -> npt.NDArray[np.float64]:
    """Return ``(N, num_classes)`` scores, each face's lowest for the classes not ``shown``."""
    every = np.repeat(scores.min(axis=1, keepdims=True), num_classes, axis=1)
    every[:, shown] = scores
    return every.astype(np.float64)


def _check_positive(name: str, value: float, expected: str, *, least: float = 0) -> None:
    if value <= 0 or value < least:
        raise RecipeError(f"model.{name}: expected {expected}, got {value!r}")
