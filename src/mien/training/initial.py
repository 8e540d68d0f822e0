"""The network that a run starts from: random, pretrained by others, or trained before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from mien.data.dataset import ExpressionDataset
from mien.data.seen_faces import SeenFaces, read_seen
from mien.dequantization import float_weights
from mien.errors import CheckpointError, MienError, ModelError, RecipeError
from mien.folders import expand_home
from mien.metadata import CHOSEN, DEFAULT_MODEL, EMBEDDED, MEMBERS, ModelMetadata
from mien.models import build_model
from mien.models.backbone import BackboneConfig
from mien.preprocess import standardise
from mien.training.checkpoint import load_checkpoint
from mien.training.recipe import Recipe
from mien.training.recipe_file import override_recipe, recipe_from_dict
from mien.training.splits import pixel_scale

#: What torch's exporter adds to a convolution's name for the bias of the normalisation it took in.
_FOLDED: Final = ".weight_bias"

#: What the exporter takes into the convolution or dense layer before it.
_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d)

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
        data: What it was trained and chosen on; empty where not known.
        seen: The faces that it learned from; None in an older version's.
        breaches: What was done against the protocol in its training.
        folded: Of an exported model, by a convolution's name, the bias that holds what the
            normalisation after it added; the convolution's weight holds what that multiplied.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    mean: float
    std: float
    weights: dict[str, Tensor]
    data: Mapping[str, Any] = field(default_factory=dict)
    seen: SeenFaces | None = None
    breaches: tuple[str, ...] = ()
    folded: dict[str, Tensor] = field(default_factory=dict)


def find_model(name: str) -> Path:
    """Return the path of what a recipe names: ``mien-s`` is the file in the package."""
    return DEFAULT_MODEL if name == EMBEDDED else expand_home(name)


def load_initial(name: str) -> Initial:
    """Load the model that :attr:`~mien.training.recipe.Recipe.initial` names.

    Args:
        name: The embedded model's name, a run's folder, a checkpoint, or an ONNX file of mien.

    Raises:
        CheckpointError: There is no such thing, or it cannot be used.
        ModelError: The ONNX file is not one of mien.
    """
    path = find_model(name)
    if path.suffix == ".onnx":
        return _from_onnx(path)
    if not path.exists():
        raise CheckpointError(
            f"initial: {name!r} is neither {EMBEDDED!r} nor a run, checkpoint or ONNX file (what "
            "mien's own recipes start from is made by benchmarks/embedded_model.py)"
        )
    found = load_checkpoint(path)
    return Initial(
        recipe=found.recipe,
        classes=found.classes,
        mean=found.mean,
        std=found.std,
        weights=found.weights,
        data=found.data,
        seen=found.seen,
        breaches=found.breaches,
    )


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a run begins.

    Attributes:
        mean: Mean that its input is standardised with.
        std: Standard deviation likewise.
        initial: The model to start from; None starts from random weights, or from those that the
            network's own options name.
        resumed: Whether a checkpoint's weights will take the place of whatever there is.
        seen: The faces that were learned from before; None where there are none, or where the model
            to start from does not tell.
        breaches: What was done against the protocol before.
        chosen: What the models before were chosen on, of a run that goes on.
    """

    mean: float
    std: float
    initial: Initial | None = None
    resumed: bool = False
    seen: SeenFaces | None = None
    breaches: tuple[str, ...] = ()
    chosen: tuple[Mapping[str, Any], ...] = ()


def load_start(recipe: Recipe, training: ExpressionDataset) -> Start:
    """Return what a new run starts from; a model that is trained further keeps its scale.

    Raises:
        CheckpointError: There is no such model, or it cannot be used.
        ModelError: The ONNX file is not one of mien.
        RecipeError: The recipe scales pixels in another way than that model.
    """
    if not recipe.initial:
        mean, std = pixel_scale(recipe, training)
        return Start(mean=mean, std=std)
    initial = load_initial(recipe.initial)
    if initial.recipe.data.scaling != recipe.data.scaling:
        raise RecipeError(
            f"data.scaling: {recipe.initial} was trained with {initial.recipe.data.scaling!r}, "
            f"got {recipe.data.scaling!r}"
        )
    return Start(
        mean=initial.mean,
        std=initial.std,
        initial=initial,
        seen=initial.seen,
        breaches=initial.breaches,
    )


def resumed_start(before: Mapping[str, Any]) -> Start:
    """Return where a run goes on by its checkpoint's metadata; nothing else is needed again."""
    return Start(
        mean=float(before["mean"]),
        std=float(before["std"]),
        resumed=True,
        seen=SeenFaces.from_text(before["seen"]) if "seen" in before else None,
        breaches=tuple(before.get("breaches", ())),
        chosen=tuple(before.get(CHOSEN, ())),
    )


def continue_recipe(recipe: Recipe, name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Return a recipe that trains another model further: its network, its weights, its scale.

    Args:
        recipe: How to train.
        name: As for :func:`load_initial`.
        overrides: ``key=value`` each, which come last.

    Raises:
        CheckpointError: There is no such model, or it cannot be used.
        ModelError: The ONNX file is not one of mien.
        RecipeError: An override is wrong, or names other weights.
    """
    if any(override.partition("=")[0].strip() == "initial" for override in overrides):
        raise RecipeError("initial is what --from names: leave it out")
    found = load_initial(name).recipe
    data = replace(recipe.data, scaling=found.data.scaling)
    continued = replace(
        recipe,
        title=f"{Path(name).stem} trained further, as {recipe.name} says",
        source="",
        initial=name,
        model_name=found.model_name,
        model=found.model,
        data=data,
    )
    return override_recipe(continued, overrides)


def build_network(recipe: Recipe, training: ExpressionDataset, start: Start) -> nn.Module:
    """Return the network that a run starts with, channels last, on the CPU.

    Args:
        recipe: Names the network.
        training: The faces it will learn from, and their classes.
        start: Weights to start from; the last layer's are taken only where the classes are the
            same.

    Raises:
        RecipeError: The recipe is frozen and the weights would be random, or a step has one face
            and the network normalises over a step's faces.
        CheckpointError: The initial weights are of another network.
    """
    torch.manual_seed(recipe.seed)
    classes = len(training.classes)
    network = build_model(recipe.model_name, num_classes=classes, config=recipe.network)
    alone = min(recipe.batch_size, len(training)) == 1
    if alone and any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
        raise RecipeError(
            "model.dense_norm: batch normalisation of dense layers needs two faces a step or more, "
            "got one: raise batch_size, or turn it off"
        )
    known = start.resumed or start.initial is not None
    if start.initial is not None:
        _copy(start.initial, training, network, recipe)
    elif isinstance(recipe.model, BackboneConfig) and not start.resumed:
        recipe.model.load_pretrained(network)
        known = recipe.model.is_pretrained
    if recipe.frozen:
        if not known:
            raise RecipeError("frozen: random features stay random: set initial or pretrained")
        freeze(network)
    return network.to(memory_format=torch.channels_last)


def freeze(network: nn.Module) -> None:
    """Leave the features of a network out of learning: only what comes after them is learned."""
    for module in frozen_modules(network):
        module.requires_grad_(False)


def hold_frozen(network: nn.Module, recipe: Recipe) -> None:
    """Keep the features of a frozen network as they are: the averages of normalisation, too."""
    if recipe.frozen:
        for module in frozen_modules(network):
            module.eval()


def frozen_modules(network: nn.Module) -> list[nn.Module]:
    """Return the children of a network that make its features."""
    head: Any = network.HEAD
    return [child for name, child in network.named_children() if name not in head]


def _copy(
    initial: Initial, training: ExpressionDataset, network: nn.Module, recipe: Recipe
) -> None:
    """Give a network the initial weights, its last layer's too where the classes are the same."""
    weights = dict(initial.weights)
    if training.classes != initial.classes:
        weights = {name: w for name, w in weights.items() if not name.startswith("head.")}
    try:
        found = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise _misfit(recipe, str(error).splitlines()[-1].strip()) from error
    folded = _folded_norms(network, found.missing_keys) if initial.folded else {}
    anew = ("head.", *(f"{name}." for name in folded))
    wrong = [name for name in found.missing_keys if not name.startswith(anew)]
    wrong += found.unexpected_keys
    if wrong:
        raise _misfit(recipe, ", ".join(wrong[:3]))
    if folded:
        sample = standardise(training.images[:_SAMPLE], mean=initial.mean, std=initial.std)
        if not _unfold(initial.folded, set(folded.values()), network, torch.from_numpy(sample)):
            raise _misfit(recipe, "its normalisations are not where this network has them")


def _misfit(recipe: Recipe, what: str) -> CheckpointError:
    return CheckpointError(
        f"initial: the weights of {recipe.initial} do not fit, give [model] as in its recipe: "
        f"{what}"
    )


def _folded_norms(network: nn.Module, missing: Sequence[str]) -> dict[str, nn.Module]:
    """Return the normalisations whose weights are missing, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _NORMS) and f"{name}.weight" in missing
    }


def _unfold(
    folded: dict[str, Tensor], norms: set[nn.Module], network: nn.Module, faces: Tensor
) -> bool:
    """Set the normalisations that the convolutions before them have taken in.

    Each is given the mean and variance that it finds, so that it changes nothing, and its own
    bias on top: the network computes what it did, and has something to train again.

    Args:
        folded: Biases by the name of the convolution.
        norms: The normalisations.
        network: Has the folded convolutions' weights.
        faces: ``(N, 1, 48, 48)`` standardised, to find mean and variance on.

    Returns:
        Whether each normalisation came after a convolution with such a bias.
    """
    made: list[tuple[Tensor, Tensor]] = []  # a convolution's output and the bias to come
    missed: list[nn.Module] = []

    def unfold(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _NORMS)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if not made or inputs[0] is not made[-1][0]:
            missed.append(norm)
            return
        _, bias = made.pop()
        variance, mean = torch.var_mean(inputs[0], dim=(0, *range(2, inputs[0].ndim)))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.bias.copy_(mean + bias)

    def keep(output: Tensor, bias: Tensor) -> None:
        made.append((output, bias))

    hooks = [norm.register_forward_pre_hook(unfold) for norm in norms]
    for name, module in network.named_modules():
        if name in folded:
            bias = folded[name]
            hooks.append(module.register_forward_hook(lambda *io, b=bias: keep(io[-1], b)))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        network(faces)
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return not missed and not made


def _from_onnx(path: Path) -> Initial:
    import onnx  # noqa: PLC0415 - checkpoints do without it

    if not path.is_file():
        raise ModelError(f"initial: no model at {path}")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own kinds, with no common root
        raise ModelError(f"{path}: not an ONNX model") from error
    try:
        facts = ModelMetadata.from_strings({p.key: p.value for p in model.metadata_props})
        if MEMBERS in facts.data:
            raise ModelError("is an ensemble: name one of the runs that it was made of")
        seen = read_seen(facts)
        recipe = recipe_from_dict(facts.recipe)
        network = build_model(
            recipe.model_name, num_classes=len(facts.classes), config=recipe.network
        )
        stored = float_weights(model)
    except MienError as error:
        raise ModelError(f"{path}: {error}") from error
    weights = {name: torch.from_numpy(values) for name, values in stored.items()}
    known = set(network.state_dict())
    return Initial(
        recipe=recipe,
        classes=facts.classes,
        mean=facts.mean,
        std=facts.std,
        data=facts.data,
        seen=seen,
        breaches=tuple(facts.data.get("breaches", ())),
        weights={name: tensor for name, tensor in weights.items() if name in known},
        folded={
            name.removesuffix(_FOLDED): tensor
            for name, tensor in weights.items()
            if name.endswith(_FOLDED)
        },
    )
