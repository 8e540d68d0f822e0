"""The embedded model, from random weights to its file, in one command.

Three networks learn from FER2013's labels. Together they are the ensemble ``mien-l``, which teaches
one of them further. That one and the VGG-style network teach a plain network from random weights,
and the plain network goes on, taught by itself too: which, in int8, is the model in the package::

    python benchmarks/embedded_model.py --data fer2013.csv --work runs

FER+'s votes, ``fer2013new.csv``, lie beside the data: one of the trainings takes them in. What is
in the folder already is not made again, and a training that was stopped goes on: call it again
until it is done, which takes half a day on two cores. The model is then ``runs/mien-s-plain.onnx``.
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
from mien.training.figures import recipe_names


def _recorded(run: str) -> str:
    return str(Path(__file__).parent / "runs" / run / "recipe.toml")


#: What the ensemble is made of, in its order: names of runs, and their recipes.
MEMBERS: Final = {
    "mien-s-54": _recorded("mien-s-54"),
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
    residual = maker.residual(ensemble)
    plain = maker.plain(residual)
    for path in (ensemble, residual, plain, maker.embedded(residual, plain)):
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

    def residual(self, ensemble: Path) -> Path:
        """Return the int8 file of the residual network that the ensemble taught."""
        run = self._taught("mien-s-taught", [ensemble], initial=self.work / "mien-s-labels")
        return self._quantized([run], "mien-s", model=run.name)

    def plain(self, residual: Path) -> Path:
        """Return the int8 file of the plain network that the residual one and ``vgg`` taught."""
        teachers = [self._vgg(), residual]
        first = self._taught("plain-taught", teachers)
        run = self._taught("plain-taught-further", teachers, initial=first)
        return self._quantized([run], run.name)

    def embedded(self, residual: Path, plain: Path) -> Path:
        """Return the embedded model's int8 file: the plain network, taught by itself as well."""
        teachers = [self._vgg(), residual, plain]
        # The run that the file was made of has its name.
        again = self._taught("plain-taught-again", teachers, initial=plain.with_suffix(""))
        run = self._taught("mien-s-plain", teachers, initial=again)
        fit = calibrate(run, self.dataset, "PublicTest", uncertain_below=UNCERTAIN_BELOW)
        write_calibration(fit, run, None)
        return self._quantized([run], run.name, model="mien-s")

    def _vgg(self) -> Path:
        return self._quantized([self.work / "vgg"], "vgg")

    def _taught(self, name: str, teachers: Sequence[Path], *, initial: Path | None = None) -> Path:
        """Return the run of that name, of the packaged recipe or of the one that was recorded."""
        source = name if name in recipe_names() else _recorded(name)
        recipe = load_recipe(source, self.overrides)
        taught = replace(recipe.distillation, teachers=tuple(str(path) for path in teachers))
        begun = "" if initial is None else str(initial)
        return self._run(replace(recipe, initial=begun, distillation=taught), name)

    def _run(self, recipe: Recipe, name: str) -> Path:
        folder = self.work / name
        began = (folder / LAST).exists()
        try:
            done = train(recipe, self.dataset, folder, resume=began, device=self.device)
        except KeyboardInterrupt:
            raise SystemExit(f"stopped in {folder}: the same call goes on") from None
        print(f"{folder}: {100 * done.best_accuracy:.2f} % in epoch {done.best_epoch}")
        return folder

    def _quantized(self, runs: list[Path], name: str, *, model: str = "") -> Path:
        path = self.work / f"{name}.onnx"
        if not path.exists():
            full = export(runs, self.work / f"{name}-f32.onnx", name=model or name).path
            quantize(full, self.dataset, path, most_lost=self.most_lost)
        return path


if __name__ == "__main__":
    main()
