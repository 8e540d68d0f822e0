"""The network that a run starts from: random, pretrained by others, or trained before."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mien.analysis.classifier import DEFAULT_MODEL
from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError, ModelError, RecipeError
from mien.metadata import ModelMetadata
from mien.models import build_model
from mien.models.backbone import BackboneConfig
from mien.preprocess import standardise
from mien.training.checkpoint import load_checkpoint
from mien.training.recipe import Recipe
from mien.training.recipe_file import recipe_from_dict
from mien.training.splits import pixel_scale

#: What a recipe calls the model in the package.
EMBEDDED: Final = DEFAULT_MODEL.stem

#: What torch's exporter adds to a convolution's name for the bias of the normalisation it took in.
_FOLDED: Final = ".weight_bias"

#: Faces that the mean and variance inside a network are found on.
_SAMPLE: Final = 512


@dataclass(frozen=True, kw_only=True)
class Initial:
    """A trained model to start from.

    Attributes:
        recipe: What it was trained by.
        classes: Its classes.
        mean: Mean that its input was standardised with.
        std: Standard deviation likewise.
        weights: Its network's weights by name.
        folded: Of an exported model, by a convolution's name, the bias that holds what the
            normalisation after it added; the convolution's weight holds what that multiplied.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    mean: float
    std: float
    weights: dict[str, Tensor]
    folded: dict[str, Tensor] = field(default_factory=dict)


def load_initial(name: str) -> Initial:
    """Load the model that :attr:`~mien.training.recipe.Recipe.initial` names.

    Args:
        name: The embedded model's name, a run's folder, a checkpoint, or an ONNX file of mien.

    Raises:
        CheckpointError: There is no such thing, or it cannot be used.
        ModelError: The ONNX file is not one of mien.
    """
    path = DEFAULT_MODEL if name == EMBEDDED else Path(name).expanduser()
    if path.suffix == ".onnx":
        return _from_onnx(path)
    if not path.exists():
        raise CheckpointError(
            f"initial: {name!r} is neither {EMBEDDED!r} nor a run, checkpoint or ONNX file"
        )
    found = load_checkpoint(path)
    return Initial(
        recipe=found.recipe,
        classes=found.classes,
        mean=found.mean,
        std=found.std,
        weights=found.weights,
    )


def load_start(recipe: Recipe, training: ExpressionDataset) -> tuple[Initial | None, float, float]:
    """Return what a run starts from, if anything, and the mean and deviation of its input.

    A model that is trained further keeps the scale that it knows.

    Raises:
        CheckpointError: There is no such model, or it cannot be used.
        ModelError: The ONNX file is not one of mien.
    """
    if recipe.initial:
        initial = load_initial(recipe.initial)
        return initial, initial.mean, initial.std
    return None, *pixel_scale(recipe, training)


def continue_recipe(recipe: Recipe, name: str) -> Recipe:
    """Return a recipe that trains another model further: its network, its weights, its scale.

    Args:
        recipe: How to train.
        name: As for :func:`load_initial`.

    Raises:
        CheckpointError: There is no such model, or it cannot be used.
        ModelError: The ONNX file is not one of mien.
    """
    found = load_initial(name).recipe
    data = replace(recipe.data, scaling=found.data.scaling)
    return replace(recipe, initial=name, model_name=found.model_name, model=found.model, data=data)


def build_network(
    recipe: Recipe, training: ExpressionDataset, initial: Initial | None
) -> nn.Module:
    """Return the network that a run starts with, channels last, on the CPU.

    Args:
        recipe: Names the network.
        training: The faces it will learn from, and their classes.
        initial: Weights to start from; the last layer's are taken only where the classes are
            the same.

    Raises:
        RecipeError: The recipe is frozen and the weights would be random, or the initial weights
            are of another network.
    """
    torch.manual_seed(recipe.seed)
    network = build_model(
        recipe.model_name, num_classes=len(training.classes), config=recipe.network
    )
    pretrained = isinstance(recipe.model, BackboneConfig) and recipe.model.is_pretrained
    if initial is not None:
        _copy(initial, training.classes, network, recipe)
        sample = standardise(training.images[:_SAMPLE], mean=initial.mean, std=initial.std)
        _unfold(initial.folded, network, torch.from_numpy(sample))
    elif isinstance(recipe.model, BackboneConfig):
        recipe.model.load_pretrained(network)
    if recipe.frozen:
        if initial is None and not pretrained:
            raise RecipeError("frozen: random features stay random: set initial or pretrained")
        for module in frozen_modules(network):
            module.requires_grad_(False)
    return network.to(memory_format=torch.channels_last)


def frozen_modules(network: nn.Module) -> list[nn.Module]:
    """Return the children of a network that make its features."""
    head: Any = network.HEAD
    return [child for name, child in network.named_children() if name not in head]


def _copy(initial: Initial, classes: tuple[str, ...], network: nn.Module, recipe: Recipe) -> None:
    if (recipe.model_name, recipe.model) != (initial.recipe.model_name, initial.recipe.model):
        raise RecipeError(
            f"initial: {recipe.initial} is another network: give [model] as in its recipe"
        )
    weights = dict(initial.weights)
    if classes != initial.classes:
        weights = {name: w for name, w in weights.items() if not name.startswith("head.")}
    found = network.load_state_dict(weights, strict=False)
    norms = [n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    anew = ("head.", *(f"{name}." for name in norms if initial.folded))
    missing = [name for name in found.missing_keys if not name.startswith(anew)]
    if missing or found.unexpected_keys:
        raise CheckpointError(
            f"initial: the weights of {recipe.initial} do not fit: "
            f"{', '.join([*missing, *found.unexpected_keys][:3])}"
        )


def _unfold(folded: dict[str, Tensor], network: nn.Module, faces: Tensor) -> None:
    """Set the normalisations of a network whose convolutions have taken them in.

    Each is given the mean and variance that it finds, so that it changes nothing, and its own
    bias on top: the network computes what it did, and has something to train again.

    Args:
        folded: Biases by the name of the convolution.
        network: Has the folded convolutions' weights.
        faces: ``(N, 1, 48, 48)`` standardised, to find mean and variance on.
    """
    pending: list[Tensor] = []

    def unfold(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.bias.copy_(mean + pending.pop())

    hooks = []
    for name, module in network.named_modules():
        if name in folded:
            bias = folded[name]
            hooks.append(module.register_forward_hook(lambda *_, b=bias: pending.append(b)))
        elif folded and isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(unfold))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        if folded:
            network(faces)
    network.train(was_training)
    for hook in hooks:
        hook.remove()


def _from_onnx(path: Path) -> Initial:
    import onnx  # noqa: PLC0415 - checkpoints do without it
    from onnx import numpy_helper  # noqa: PLC0415

    if not path.is_file():
        raise ModelError(f"initial: no model at {path}")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own kinds, with no common root
        raise ModelError(f"{path}: not an ONNX model") from error
    facts = ModelMetadata.from_strings({p.key: p.value for p in model.metadata_props})
    weights = {
        tensor.name: torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
        for tensor in model.graph.initializer
    }
    recipe = recipe_from_dict(facts.recipe)
    network = build_model(recipe.model_name, num_classes=len(facts.classes), config=recipe.network)
    known = set(network.state_dict())
    return Initial(
        recipe=recipe,
        classes=facts.classes,
        mean=facts.mean,
        std=facts.std,
        weights={name: tensor.float() for name, tensor in weights.items() if name in known},
        folded={
            name.removesuffix(_FOLDED): tensor.float()
            for name, tensor in weights.items()
            if name.endswith(_FOLDED)
        },
    )
