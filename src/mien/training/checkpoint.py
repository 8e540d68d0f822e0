"""Checkpoints: weights and JSON metadata, loaded without running anything that is in them."""

import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.data.seen_faces import SeenFaces
from mien.errors import CheckpointError, RecipeError
from mien.metadata import BEST, CHOSEN, CLASSICAL_FILE, model_file
from mien.models import ClassicalConfig, build_model
from mien.training.recipe import Recipe
from mien.training.recipe_file import recipe_from_dict

LAST = "last.ckpt"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        path: The file.
        recipe: The recipe it was trained with.
        classes: Class names in the order of the logits.
        mean: Mean of the training pixels, 0 to 1.
        std: Standard deviation of the training pixels, 0 to 1.
        data: What it was trained and chosen on.
        seen: The faces that it learned from; None in an older version's.
        breaches: What was done against the protocol, on demand.
        epoch: Epochs finished.
        weights: The network's weights (the averaged ones where the recipe averages).
    """

    path: Path
    recipe: Recipe
    classes: tuple[str, ...]
    mean: float
    std: float
    data: dict[str, Any]
    epoch: int
    weights: dict[str, Tensor]
    seen: SeenFaces | None = None
    breaches: tuple[str, ...] = ()

    def build_network(self) -> nn.Module:
        """Return the trained network in evaluation mode, on the CPU.

        Raises:
            CheckpointError: The weights do not fit the recipe's network.
        """
        recipe = self.recipe
        if isinstance(recipe.model, ClassicalConfig):
            raise CheckpointError(f"{self.path}: {recipe.model_name} is not a network")
        network = build_model(recipe.model_name, num_classes=len(self.classes), config=recipe.model)
        try:
            network.load_state_dict(self.weights, strict=True)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{self.path}: the weights do not fit: {reason}") from error
        return network.eval()


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Load a checkpoint file, or a run folder's best checkpoint.

    Only tensors and plain values are read; a file that asks for code to be run is refused.

    Raises:
        CheckpointError: Missing, damaged, not mien's, of a classical baseline, or unsafe.
    """
    path = model_file(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; a run folder holds {BEST}")
    if path.suffix == Path(CLASSICAL_FILE).suffix:
        raise CheckpointError(
            f"{path}: is of a classical baseline, which is no network: name the run of a network"
        )
    content = read_checkpoint(path)
    try:
        facts = json.loads(content["mien"])
        weights = {
            key.removeprefix("network."): value for key, value in content["state_dict"].items()
        }
        return Checkpoint(
            path=path,
            recipe=recipe_from_dict(facts["recipe"]),
            classes=tuple(facts["classes"]),
            mean=float(facts["mean"]),
            std=float(facts["std"]),
            data={**facts["data"], CHOSEN: facts.get(CHOSEN, [])},
            epoch=int(content["epoch"]) + 1,
            weights=weights,
            seen=SeenFaces.from_text(facts["seen"]) if "seen" in facts else None,
            breaches=tuple(str(breach) for breach in facts.get("breaches", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecipeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of mien: {error!r}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's content, refusing anything but tensors and plain values.

    Raises:
        CheckpointError: Damaged or unsafe.
    """
    try:
        # torch.load takes bare pickles too; a checkpoint of mien is an archive.
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path}: damaged, or not a checkpoint")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused: it holds more than weights and plain values, and loading it could "
            f"run code; use checkpoints written by mien"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged, or not a checkpoint") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint of mien")
    return content
