"""How well do ten people's votes, a model, and both together tell the labels of FER2013?

Prints accuracy and mean loss on PublicTest of FER+'s votes as they were cast, of the same read as
labels (by regression on Training), of a model, and of a regression on the model's probabilities and
the votes. The last is cross-validated on PublicTest in ten folds, drawn several times: it says what
is to be known about these labels, not what a model reads from pixels::

    python benchmarks/label_agreement.py --data fer2013.csv --votes fer2013new.csv [--model X.onnx]
"""

import argparse
import os
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from mien.analysis.classifier import softmax
from mien.data.ferplus import votes_by_class
from mien.data.sources import load_fer2013
from mien.evaluation.predictor import EnsemblePredictor, open_predictor
from mien.metadata import DEFAULT_MODEL
from mien.training.votes import fit_labels, vote_features

Floats = npt.NDArray[np.floating]

FOLDS: Final = 10
#: Inverse strength of regularisation, of some thirty weights a class and 3,230 faces.
STRENGTH: Final = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MIEN_FER2013"))
    parser.add_argument("--votes", default="auto", help="fer2013new.csv")
    parser.add_argument(
        "--model", type=Path, nargs="+", default=[DEFAULT_MODEL], help="several: their mean answers"
    )
    parser.add_argument("--draws", type=int, default=5, help="of the folds")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name FER2013 by --data or $MIEN_FER2013")
    dataset = load_fer2013(arguments.data, votes=arguments.votes)
    training, public = dataset.split("Training"), dataset.split("PublicTest")
    if training.votes is None or public.votes is None:
        parser.error("name FER+'s fer2013new.csv by --votes")
    labels, features = public.labels, vote_features(public.votes)
    print(f"PublicTest, {len(public):,} faces: accuracy, mean loss in nats")
    _print("votes as they were cast", labels, _shares(votes_by_class(public.votes)))
    regression = fit_labels(vote_features(training.votes), training.labels)
    _print("votes read as labels, by Training", labels, regression.predict_proba(features))
    scores = EnsemblePredictor(list(map(open_predictor, arguments.model))).logits(public.images)
    name = " and ".join(path.stem for path in arguments.model)
    _print(name, labels, softmax(scores))
    _print_refitted(f"{name}, refitted", labels, scores, arguments.draws)
    both = np.hstack([scores, features])
    _print_refitted(f"{name} and votes, refitted", labels, both, arguments.draws)


def _shares(votes: npt.NDArray[np.uint8]) -> Floats:
    """Return the votes' shares, one more vote spread evenly so that none is impossible."""
    more: Floats = votes + 1 / votes.shape[1]
    shares: Floats = more / more.sum(axis=1, keepdims=True)
    return shares


def _print(title: str, labels: npt.NDArray[np.int64], probabilities: Floats) -> None:
    right = accuracy_score(labels, probabilities.argmax(axis=1))
    print(f"  {title}: {right:.2%}, {log_loss(labels, probabilities):.3f}")


def _print_refitted(
    title: str, labels: npt.NDArray[np.int64], features: Floats, draws: int
) -> None:
    """Print what a regression tells of faces that it was not fitted to, and its spread."""
    right, losses = [], []
    for seed in range(draws):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        regression = LogisticRegression(C=STRENGTH, max_iter=1000)
        told = cross_val_predict(regression, features, labels, cv=folds, method="predict_proba")
        right.append(accuracy_score(labels, told.argmax(axis=1)))
        losses.append(log_loss(labels, told))
    lowest, highest = min(right), max(right)
    print(f"  {title}: {np.mean(right):.2%} ({lowest:.2%} to {highest:.2%}), {np.mean(losses):.3f}")


if __name__ == "__main__":
    main()
