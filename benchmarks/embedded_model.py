"""The embedded model and the ensemble ``mien-l``, from random weights to files, in one command.

Three networks learn from FER2013's labels; their ensemble teaches one of them further. That one and
the VGG-style network teach a plain network from random weights, which goes on, taught by itself
too, and another of the VGG-style's shape. These two, the first that was taught and one that learned
from balanced classes teach a wider plain network: in int8, it is the model in the package. With
three of its teachers it is the ensemble ``mien-l``::

    python benchmarks/embedded_model.py --data fer2013.csv --work runs

Each recipe says what its training starts from and who teaches it; that is made first. FER+'s votes,
``fer2013new.csv``, lie beside the data: some of the trainings take them in. What is in the folder
already is not made again, and a training that was stopped goes on: call it again until it is done,
which takes a day on two cores. The models are then ``runs/mien-s.onnx`` and
``runs/mien-l.onnx``.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from machine import describe_machine
from mien.data import ExpressionDataset, load_fer2013
from mien.evaluation import evaluate
from mien.evaluation.calibration.calibrate import calibrate, write_calibration
from mien.export import export
from mien.quantization import quantize
from mien.training import Recipe, load_recipe, train
from mien.training.checkpoint import LAST
from mien.training.figures import recipe_names

EMBEDDED: Final = "mien-s"
ENSEMBLE: Final = "mien-l"
#: The runs that a file is made of, where it is not the one of its name.
MADE_OF: Final = {
    "first-ensemble": ("residual-54", "residual", "vgg"),
    ENSEMBLE: (EMBEDDED, "plain-taught-mild", "vgg-taught-mild", "balanced-large"),
}
#: Below this probability the embedded model does not name an expression.
UNCERTAIN_BELOW: Final = 0.4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", type=Path, help="FER2013, with fer2013new.csv beside [default: $MIEN_FER2013]"
    )
    parser.add_argument("--work", type=Path, default=Path("runs"), help="where runs and files go")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    arguments = parser.parse_args()
    print(describe_machine("mien", "torch", "onnxruntime"))
    dataset = load_fer2013(arguments.data, votes="auto")
    if dataset.votes is None:
        raise SystemExit("FER+'s votes are needed too: put fer2013new.csv beside the data")
    maker = Maker(dataset, arguments.work, device=arguments.device)
    for path in map(maker.file, (EMBEDDED, ENSEMBLE)):
        accuracy = evaluate(path, dataset, "PublicTest").metrics.accuracy
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {100 * accuracy:.2f} % on PublicTest")


@dataclass(frozen=True)
class Maker:
    """Makes what is not there yet.

    Attributes:
        dataset: FER2013.
        work: Where runs and files go.
        device: What trains.
        change: What is made of each recipe before it is trained.
        most_lost: Points of accuracy that int8 may cost.
    """

    dataset: ExpressionDataset
    work: Path
    device: str = "auto"
    change: Callable[[Recipe], Recipe] = lambda recipe: recipe
    most_lost: float = 0.5

    def file(self, name: str) -> Path:
        """Return the int8 file of that name, made of what it is made of."""
        path = self.work / f"{name}.onnx"
        if not path.exists():
            runs = [self.run(run) for run in MADE_OF.get(name, (name,))]
            if name == EMBEDDED:
                fit = calibrate(
                    runs[0], self.dataset, "PublicTest", uncertain_below=UNCERTAIN_BELOW
                )
                write_calibration(fit, runs[0], None)
            full = export(runs, self.work / f"{name}-f32.onnx", name=name).path
            quantize(full, self.dataset, path, most_lost=self.most_lost)
        return path

    def run(self, name: str) -> Path:
        """Return the run of that name, made after its teachers and what it starts from."""
        folder = self.work / name
        recipe = replace(self.change(load_recipe(_recipe_of(name))), name=name)
        initial = str(self.run(recipe.initial)) if recipe.initial else ""
        teachers = tuple(str(self.file(Path(one).stem)) for one in recipe.distillation.teachers)
        taught = replace(recipe.distillation, teachers=teachers)
        recipe = replace(recipe, initial=initial, distillation=taught)
        began = (folder / LAST).exists()
        try:
            done = train(recipe, self.dataset, folder, resume=began, device=self.device)
        except KeyboardInterrupt:
            raise SystemExit(f"stopped in {folder}: the same call goes on") from None
        print(f"{folder}: {100 * done.best_accuracy:.2f} % in epoch {done.best_epoch}")
        return folder


def _recipe_of(run: str) -> str:
    """Return the packaged recipe of a run, or the one that it was recorded with."""
    recorded = Path(__file__).parent / "runs" / run / "recipe.toml"
    return run if run in recipe_names() else str(recorded)


if __name__ == "__main__":
    main()
