"""Recipes: everything that decides a training's result, typed and checked.

A recipe file says only what differs from the defaults below; it is read by
:mod:`mien.training.recipe_file`.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from mien.data.dataset import SPLITS
from mien.errors import RecipeError
from mien.models import MODELS, ClassicalConfig, ModelConfig
from mien.preprocess import FACE_SIZE


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is learned from and chosen on, and how it reaches the network.

    Attributes:
        train: Split the weights are fitted to.
        validation: Split that the best epoch is chosen on; never a test split.
        classes: Fewer or merged classes, as for :func:`mien.data.selection.regroup_classes`:
            ``["happy", "negative=angry+fear+sad"]``; empty keeps them all.
        clean: Leave out training faces of one flat colour, exact copies, and copies that are
            labelled differently.
        hold_out: Stratified share of the training faces that is held out to validate on where the
            data has no validation faces, drawn by the recipe's seed; 0 asks for them.
        fraction: Stratified share of the training faces, drawn by the recipe's seed.
        balance: Faces of every class to train on, by leaving out and by varied copies; 0 leaves
            them as they are.
        sampling: ``shuffle`` shows each training face once an epoch; ``balanced`` draws faces
            with replacement, every class equally often.
        votes: Share of the target that is the FER+ votes' distribution, the rest being the label.
        votes_as: ``cast``: votes for an expression count for its class; ``labels``: they count for
            the labels that they make likely, learned from the training faces.
        scaling: ``standardise`` by the mean and standard deviation of the training pixels, or
            ``unit``: grey levels as 0 to 1.
    """

    train: str = "Training"
    validation: str = "PublicTest"
    classes: tuple[str, ...] = ()
    clean: bool = False
    hold_out: float = 0.0
    fraction: float = 1.0
    balance: int = 0
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    votes: float = 0.0
    votes_as: Literal["cast", "labels"] = "cast"
    scaling: Literal["standardise", "unit"] = "standardise"

    def __post_init__(self) -> None:
        for split in (self.train, self.validation):
            if split not in SPLITS:
                raise RecipeError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
        if self.train == self.validation:
            raise RecipeError(f"train and validation are both {self.train!r}: choose two splits")
        _check(0 <= self.hold_out < 1, "data.hold_out", "0 up to 1", self.hold_out)
        _check(0 < self.fraction <= 1, "data.fraction", "above 0, up to 1", self.fraction)
        _check(self.balance >= 0, "data.balance", "0 or more faces a class", self.balance)
        _check(0 <= self.votes <= 1, "data.votes", "0 to 1", self.votes)
        if self.classes and self.votes_as == "cast":
            _check(not self.votes, "data.votes", "0 with data.classes", self.votes)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimised.

    Attributes:
        name: ``cross_entropy``, or ``focal``, which looks away from what is easy (Lin et al. 2017,
            https://arxiv.org/abs/1708.02002).
        gamma: How far ``focal`` looks away; 0 is cross-entropy.
        class_weights: ``balanced`` weighs each class by the inverse of its share of the training
            faces, 1 on average over the faces.
        class_margins: How much lower a class's logit is made while it is learned, ``"fear=0.2"``
            each: the network learns to give it that much more, and answers it more often (logit
            adjustment, Menon et al. 2021, https://arxiv.org/abs/2007.07314).
    """

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float = 2.0
    class_weights: Literal["none", "balanced"] = "none"
    class_margins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.gamma >= 0, "loss.gamma", "0 or more", self.gamma)
        once = len(self.margins) == len(self.class_margins)
        _check(once, "loss.class_margins", "each class once", list(self.class_margins))

    @property
    def margins(self) -> dict[str, float]:
        """The margin of each class that has one, in nats."""
        return dict(_margin(text) for text in self.class_margins)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How a training face is varied; each value is the largest change, drawn anew per face.

    Attributes:
        flip: Probability of mirroring left and right.
        rotation_deg: Rotation in degrees, either way.
        scale: Zoom in or out, as a fraction of the size.
        shift: Shift along each axis, as a fraction of the side.
        interpolation: How pixels between pixels are made when a face is turned, zoomed or shifted:
            ``bilinear``, which blurs, or ``bicubic``, which blurs less and costs twice as much.
        brightness: Brightness added or removed, as a fraction of full scale.
        contrast: Contrast gained or lost around the face's mean, as a fraction.
        noise: Standard deviation of Gaussian noise, as a fraction of full scale.
        noise_probability: Probability that a face gets noise.
        erase_probability: Probability that a rectangle is erased.
        erase_area: Smallest and largest erased share of the face.
        mixup: Parameter of the Beta distribution that a blended-in face's share is drawn from; 0
            blends none (Zhang et al. 2018, https://arxiv.org/abs/1710.09412).
        cutmix: The same for a rectangle of another face that is pasted in (Yun et al. 2019,
            https://arxiv.org/abs/1905.04899).
        mix_probability: Probability that a face is mixed with another, in one of these ways.
    """

    flip: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    noise_probability: float = 1.0
    erase_probability: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0
    _table: ClassVar[str] = "augment"

    def __post_init__(self) -> None:
        def check(item: str, fits: Callable[[Any], bool], expected: str) -> None:
            value = getattr(self, item)
            _check(fits(value), f"{self._table}.{item}", expected, value)

        for item in ("flip", "noise_probability", "erase_probability", "mix_probability"):
            check(item, lambda value: 0 <= value <= 1, "0 to 1")
        check("scale", lambda value: 0 <= value < 1, "0 up to 1")
        for item in ("rotation_deg", "shift", "brightness", "contrast", "noise", "mixup", "cutmix"):
            check(item, lambda value: value >= 0, "0 or more")
        check("erase_area", lambda value: 0 < value[0] <= value[1] < 1, "0 to 1, rising")


@dataclass(frozen=True, kw_only=True)
class RefineConfig(AugmentConfig):
    """How a training face is varied in the last epochs: by default mirrored, or as it is.

    Attributes:
        flip: Probability of mirroring left and right.
    """

    flip: float = 0.5
    _table: ClassVar[str] = "refine"


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimiser. Weight decay is not applied to biases and normalisation layers.

    Attributes:
        name: ``sgd`` (with Nesterov momentum), ``adam`` or ``adamw``.
        lr: Highest learning rate.
        momentum: Momentum of ``sgd``.
        weight_decay: L2 penalty of ``sgd`` and ``adam``, decoupled decay of ``adamw``.
        switch_epoch: After how many epochs ``sgd`` takes over, which often ends at a better
            place than Adam (Keskar and Socher 2017, https://arxiv.org/abs/1712.07628); 0 is never.
        switch_lr: Highest learning rate from then on; the schedule begins anew, without warm-up.
    """

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    switch_epoch: int = 0
    switch_lr: float = 0.01

    def __post_init__(self) -> None:
        _check(self.lr > 0, "optimizer.lr", "a number above 0", self.lr)
        _check(self.switch_lr > 0, "optimizer.switch_lr", "a number above 0", self.switch_lr)
        _check(self.switch_epoch >= 0, "optimizer.switch_epoch", "0 or more", self.switch_epoch)
        _check(0 <= self.momentum < 1, "optimizer.momentum", "0 up to 1", self.momentum)
        decay = self.weight_decay
        _check(decay >= 0, "optimizer.weight_decay", "0 or more", decay)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the run: a linear warm-up, then a decay, and again from restarts.

    A warm restart (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983) leaves a usable
    model at its first end and improves it from there.

    Attributes:
        name: ``cosine`` or ``linear`` decay to zero, ``constant``, or ``plateau``: lowered when
            the validation loss has stopped falling.
        factor: What ``plateau`` multiplies the rate by.
        plateau_epochs: Epochs in a row without a lower validation loss that ``plateau`` bears; the
            next one lowers the rate, as torch's ``ReduceLROnPlateau`` counts.
        warmup: Share of the first decay's steps spent rising from a twenty-fifth to the full rate.
        restart_epochs: After how many epochs the rate has decayed and starts anew, each time;
            those that training does not reach do not count.
        restart_factors: Share of the full rate that it starts anew at, each time.
    """

    name: Literal["cosine", "linear", "constant", "plateau"] = "cosine"
    factor: float = 0.5
    plateau_epochs: int = 3
    warmup: float = 0.0
    restart_epochs: tuple[int, ...] = ()
    restart_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        epochs = self.restart_epochs
        rising = list(epochs) == sorted({epoch for epoch in epochs if epoch > 0})
        _check(rising, "schedule.restart_epochs", "rising numbers above 0", epochs)
        same = len(epochs) == len(self.restart_factors)
        _check(same, "schedule.restart_factors", f"{len(epochs)} factors", self.restart_factors)
        _check(0 <= self.warmup < 1, "schedule.warmup", "0 up to 1", self.warmup)
        _check(0 < self.factor < 1, "schedule.factor", "above 0 and below 1", self.factor)
        waits = self.plateau_epochs
        _check(waits >= 0, "schedule.plateau_epochs", "0 or more", waits)
        if self.name == "plateau":
            _check(not self.warmup, "schedule.warmup", "0 with plateau", self.warmup)
            _check(not epochs, "schedule.restart_epochs", "none with plateau", epochs)


@dataclass(frozen=True, kw_only=True)
class ProgressiveConfig:
    """Smaller faces first: the early epochs are shown shrunk faces, which train twice as fast.

    Attributes:
        size: Side in pixels of the early epochs' faces.
        epochs: How many epochs are early; 0 turns it off.
    """

    size: int = 32
    epochs: int = 0

    def __post_init__(self) -> None:
        _check(16 <= self.size <= FACE_SIZE, "progressive.size", "16 to 48", self.size)
        _check(self.epochs >= 0, "progressive.epochs", "0 or more", self.epochs)


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Other networks to learn from, which see the very faces that are learned from, as varied.

    Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531 ; with consistent views, Beyer et
    al. 2022, https://arxiv.org/abs/2106.05237

    Attributes:
        teachers: Runs, checkpoints, ONNX files of mien, or ``mien-s`` (the embedded model); several
            are an ensemble. None learns from the targets alone.
        share: Of the loss that goes by the teachers' probabilities, the rest by the targets.
        temperature: What logits are divided by on both sides; above 1 the improbable counts more.
    """

    teachers: tuple[str, ...] = ()
    share: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check(0 <= self.share <= 1, "distillation.share", "0 to 1", self.share)
        temperature = self.temperature
        _check(temperature > 0, "distillation.temperature", "a number above 0", temperature)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training, whole.

    A classical baseline is fitted in one go: its ``epochs`` are 1, and of the rest it takes only
    the title, the source, the seed, the splits and its own options.

    Attributes:
        name: The file's name without its suffix.
        title: One line for people.
        source: The paper or report it reproduces; empty for our own.
        epochs: Most epochs to train.
        batch_size: Faces a step.
        seed: Seeds weights, order and augmentation.
        label_smoothing: Probability mass spread evenly over all classes.
        ema_decay: Decay a step of the averaged weights, which are the ones validated and kept;
            0 keeps the raw weights.
        refine_epochs: Last epochs, which see faces varied as ``refine`` says; a model ends closer
            to what it will be shown (He et al. 2019, https://arxiv.org/abs/1909.09148).
        patience: Epochs without a better validation before stopping; 0 never stops.
        patience_on: What patience goes by: the validation's ``accuracy``, or its ``loss``, which
            stops once a network grows too sure of itself. The weights kept are those of the best
            accuracy either way.
        initial: Weights to start from: ``mien-s`` (the embedded model), a run, a checkpoint or an
            ONNX file of mien; layers that do not fit, as the last of other classes, start anew.
            Empty starts from random ones.
        frozen: Train the layers after the features alone. The features are then computed once,
            not every epoch, where nothing before them is random.
        precision: ``bf16``, ``fp32``, or ``auto``: bf16 where the hardware multiplies it.
        data: What is learned from.
        loss: What is minimised.
        model_name: The network's or baseline's name in its registry; ``name`` under ``[model]``
            in the file.
        model: Its options.
        augment: How training faces are varied.
        refine: How they are varied in the last epochs.
        progressive: Smaller faces first.
        optimizer: The optimiser.
        schedule: The learning rate over time.
        distillation: Other networks to learn from.
    """

    name: str = "unnamed"
    title: str = ""
    source: str = ""
    epochs: int = 50
    batch_size: int = 128
    seed: int = 0
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    refine_epochs: int = 0
    patience: int = 0
    patience_on: Literal["accuracy", "loss"] = "accuracy"
    initial: str = ""
    frozen: bool = False
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    model_name: str = "residual"
    model: ModelConfig | ClassicalConfig = field(default_factory=MODELS["residual"])
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    progressive: ProgressiveConfig = field(default_factory=ProgressiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)

    def __post_init__(self) -> None:
        for item in ("epochs", "batch_size"):
            _check(getattr(self, item) >= 1, item, "1 or more", getattr(self, item))
        for item in ("seed", "refine_epochs", "patience"):
            _check(0 <= getattr(self, item) < 2**32, item, "0 to 2^32", getattr(self, item))
        _check(0 <= self.label_smoothing < 1, "label_smoothing", "0 up to 1", self.label_smoothing)
        _check(0 <= self.ema_decay < 1, "ema_decay", "0 up to 1", self.ema_decay)
        if isinstance(self.model, ClassicalConfig):
            _check_classical(self)
        if self.distillation.teachers:
            early = self.progressive.epochs
            _check(not early, "progressive.epochs", "0 with distillation.teachers", early)
            _check(not self.frozen, "frozen", "false with distillation.teachers", self.frozen)
        if not self.refine_epochs and self.refine != RefineConfig():
            raise RecipeError("[refine] is of the last epochs: say how many by refine_epochs")
        if self.model_name == "timm":
            scaling = self.data.scaling
            _check(scaling == "unit", "data.scaling", "'unit' with timm", scaling)
        if self.progressive.epochs:
            smallest = getattr(self.model, "smallest_size", FACE_SIZE)
            size = self.progressive.size
            _check(size >= smallest, "progressive.size", f"{smallest} with this network", size)
        switch, restarts = self.optimizer.switch_epoch, self.schedule.restart_epochs
        if switch:
            _check(switch < self.epochs, "optimizer.switch_epoch", f"below {self.epochs}", switch)
            before = f"epochs before {switch}, where the optimiser is switched"
            _check(max(restarts, default=0) < switch, "schedule.restart_epochs", before, restarts)

    @property
    def network(self) -> ModelConfig:
        """The options of the network, for what can be done with networks only.

        Raises:
            RecipeError: The model is a classical baseline.
        """
        if isinstance(self.model, ClassicalConfig):
            raise RecipeError(f"{self.model_name} is a classical baseline, not a network")
        return self.model

    @property
    def is_classical(self) -> bool:
        """Whether the model is a classical baseline, not a network."""
        return isinstance(self.model, ClassicalConfig)

    @property
    def refined_epochs(self) -> range:
        """The epochs, from 0, whose faces are varied as ``refine`` says."""
        return range(max(0, self.epochs - self.refine_epochs), self.epochs)

    @property
    def has_fixed_features(self) -> bool:
        """Whether each face's features are the same in every epoch, and so computed once."""
        varied = self.augment != AugmentConfig() or self.refine_epochs or self.progressive.epochs
        return self.frozen and not varied

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested plain types, as a file would hold it."""
        values = asdict(self)
        values["model"] = {"name": values.pop("model_name"), **values["model"]}
        return values

    def to_toml(self) -> str:
        """Return the recipe as the text of a file that :func:`load_recipe` reads."""
        tables = {k: v for k, v in self.to_dict().items() if isinstance(v, dict)}
        plain = {k: v for k, v in self.to_dict().items() if k != "name" and k not in tables}
        blocks = [_toml_lines(plain)]
        blocks += [f"[{name}]\n{_toml_lines(values)}" for name, values in tables.items()]
        return "\n".join(blocks)


def check_recipe(recipe: Recipe) -> None:
    """Refuse what is not a recipe, such as the name of one.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be a Recipe, got {recipe!r}: read it with mien.load_recipe")


def _check_classical(recipe: Recipe) -> None:
    """Refuse what only a network is trained with, by the name it has in a file."""
    unmeant = ("data.sampling", "data.votes", "data.votes_as", "data.scaling")
    meant = ("name", "title", "source", "epochs", "seed", "model.", "data.")
    name = recipe.model_name
    _check(recipe.epochs == 1, "epochs", f"1 with {name}, or none", recipe.epochs)
    defaults = _flat(Recipe().to_dict())
    for key, value in _flat(recipe.to_dict()).items():
        if (key in unmeant or not key.startswith(meant)) and value != defaults.get(key):
            raise RecipeError(f"{key}: means nothing to {name}, leave it out")


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested tables as one, with dots in its keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = _flat(value) if isinstance(value, dict) else None
        flat |= {key: value} if inner is None else {f"{key}.{k}": v for k, v in inner.items()}
    return flat


def _check(condition: bool, name: str, expected: str, got: Any) -> None:
    if not condition:
        raise RecipeError(f"{name}: expected {expected}, got {got!r}")


def _margin(text: str) -> tuple[str, float]:
    name, _, amount = (part.strip() for part in text.rpartition("="))
    try:
        margin = float(amount)
    except ValueError:
        margin = math.nan
    expected = 'a class and a number, as "fear=0.2"'
    _check(bool(name) and math.isfinite(margin), "loss.class_margins", expected, text)
    return name, margin


def _toml_lines(values: Mapping[str, Any]) -> str:
    # JSON's texts, numbers, booleans and flat arrays are TOML's too, but for one character.
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
    return "".join(lines).replace("\x7f", "\\u007f")
