"""The embedded model, from random weights to its file, in one command.

Three networks learn from FER2013's labels. Together they are the ensemble ``mien-l``, which teaches
one of them further; that one, in int8, is the model in the package::

    python benchmarks/embedded_model.py --data fer2013.csv --work runs

FER+'s votes, ``fer2013new.csv``, lie beside the data: the last training takes them in. What is in
the folder already is not made again, and a training that was stopped goes on: call it again until
it is done, which takes about eleven hours on two cores.
"""

import argparse
from collections.abc import Sequence
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

#: What the ensemble is made of, in its order: names of runs, and their recipes.
MEMBERS: Final = {
    "mien-s-54": str(Path(__file__).parent / "runs" / "mien-s-54" / "recipe.toml"),
    "mien-s-labels": "mien-s",
    "vgg": "vgg",
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
    ensemble = maker.ensemble()
    for path in (ensemble, maker.student(ensemble)):
        accuracy = evaluate(path, dataset, "PublicTest").metrics.accuracy
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {100 * accuracy:.2f} % on PublicTest")


@dataclass(frozen=True)
class Maker:
    """Makes what is not there yet.

    Attributes:
        dataset: FER2013.
        work: Where runs and files go.
        device: What trains.
        overrides: ``key=value`` each, for every training.
        most_lost: Points of accuracy that int8 may cost.
    """

    dataset: ExpressionDataset
    work: Path
    device: str = "auto"
    overrides: Sequence[str] = ()
    most_lost: float = 0.5

    def ensemble(self) -> Path:
        """Return the ensemble's int8 file."""
        runs = [self._run(load_recipe(name, self.overrides), run) for run, name in MEMBERS.items()]
        return self._quantized(runs, "mien-l")

    def student(self, ensemble: Path) -> Path:
        """Return the embedded model's int8 file, taught by the ensemble's."""
        recipe = load_recipe("mien-s-taught", self.overrides)
        taught = replace(recipe.distillation, teachers=(str(ensemble),))
        initial = str(self.work / "mien-s-labels")
        run = self._run(replace(recipe, initial=initial, distillation=taught), recipe.name)
        fit = calibrate(run, self.dataset, "PublicTest", uncertain_below=UNCERTAIN_BELOW)
        write_calibration(fit, run, None)
        return self._quantized([run], "mien-s")

    def _run(self, recipe: Recipe, name: str) -> Path:
        folder = self.work / name
        began = (folder / LAST).exists()
        try:
            done = train(recipe, self.dataset, folder, resume=began, device=self.device)
        except KeyboardInterrupt:
            raise SystemExit(f"stopped in {folder}: the same call goes on") from None
        print(f"{folder}: {100 * done.best_accuracy:.2f} % in epoch {done.best_epoch}")
        return folder

    def _quantized(self, runs: list[Path], name: str) -> Path:
        path = self.work / f"{name}.onnx"
        if not path.exists():
            full = export(runs, self.work / f"{name}-f32.onnx", name=name).path
            quantize(full, self.dataset, path, most_lost=self.most_lost)
        return path


if __name__ == "__main__":
    main()
