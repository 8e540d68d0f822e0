"""FER+ votes as targets: as they were cast, or as the labels that they make likely."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from mien.data.dataset import ExpressionDataset
from mien.data.ferplus import votes_by_class
from mien.training.recipe import DataConfig

#: Steps in which the regression has long converged; FER2013 takes some sixty.
_ITERATIONS: Final = 1000


def vote_targets(dataset: ExpressionDataset, config: DataConfig) -> Tensor:
    """Return ``(N, C)`` float32 targets: what the votes say and the label, mixed.

    Args:
        dataset: Faces with votes.
        config: The share of the votes, and what they are taken for.
    """
    assert dataset.votes is not None
    voted: npt.NDArray[np.generic]
    if config.votes_as == "labels":
        voted = label_probabilities(dataset.votes, dataset.labels, len(dataset.classes))
    else:
        voted = votes_by_class(dataset.votes)
    return soft_targets(torch.from_numpy(dataset.labels), torch.from_numpy(voted), config.votes)


def soft_targets(labels: Tensor, votes: Tensor, share: float) -> Tensor:
    """Return ``(N, C)`` targets: the votes' distribution and the label, mixed.

    Source: Barsoum et al. 2016, https://arxiv.org/abs/1608.01041

    Args:
        labels: ``(N,)`` class indices.
        votes: ``(N, C)`` votes for each class; a face without any keeps its label.
        share: Of the votes, 0 to 1.
    """
    own = F.one_hot(labels, votes.shape[1]).float()
    total = votes.sum(dim=1, keepdim=True).float()
    voted = torch.where(total > 0, votes.float() / total.clamp(min=1), own)
    return share * voted + (1 - share) * own


def label_probabilities(
    votes: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.float32]:
    """Return ``(N, C)`` how likely each label is by a face's votes alone.

    FER+'s voters and FER2013's labels do not mean the same: a third of Training's votes for disgust
    are for faces labelled angry, a quarter for faces labelled disgusted. Logistic regression of the
    labels on the votes' shares and their roots, fitted to the very faces, reads one as the other;
    votes for contempt, for no known expression and for no face tell something too.

    Args:
        votes: ``(N, 10)`` in the order of :data:`mien.expressions.FERPLUS_COLUMNS`.
        labels: ``(N,)`` class indices.
        classes: Number of classes C.

    Returns:
        Probabilities; zeros for a face without votes.
    """
    voted = votes.any(axis=1)
    probabilities = np.zeros((len(votes), classes), np.float32)
    known = np.unique(labels[voted])
    if len(known) < 2:
        probabilities[np.ix_(voted, known)] = 1
        return probabilities
    features = vote_features(votes[voted])
    regression = fit_labels(features, labels[voted])
    probabilities[np.ix_(voted, known)] = regression.predict_proba(features)
    return probabilities


def fit_labels(features: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> Any:
    """Return scikit-learn's logistic regression of two labels or more on :func:`vote_features`."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - slow to import

    return LogisticRegression(max_iter=_ITERATIONS).fit(features, labels)


def vote_features(votes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return ``(N, 20)`` shares of the columns and their roots, from ``(N, 10)`` votes."""
    shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    return np.hstack([shares, np.sqrt(shares)])
