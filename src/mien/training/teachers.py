"""Trained networks that another one learns from: knowledge distillation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor

from mien.analysis.classifier import ExpressionClassifier
from mien.data.seen_faces import SeenFaces, read_seen
from mien.errors import RecipeError
from mien.training.checkpoint import load_checkpoint
from mien.training.initial import find_model
from mien.training.losses import ExpressionLoss, distillation_loss
from mien.training.recipe import DistillationConfig, Recipe


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A trained network to learn from.

    Attributes:
        name: As the recipe names it.
        classes: Its classes.
        mean: Mean that its input is standardised with.
        std: Standard deviation likewise.
        read: ``(N, 1, H, W)`` float32 faces, standardised so → ``(N, C)`` logits, on their device,
            as its network gives them: a calibration is not part of what is taught.
        data: What it was trained and chosen on.
        seen: The faces that it learned from; None in an older version's.
        breaches: What was done against the protocol in its training.
    """

    name: str
    classes: tuple[str, ...]
    mean: float
    std: float
    read: Callable[[Tensor], Tensor]
    data: Mapping[str, Any]
    seen: SeenFaces | None = None
    breaches: tuple[str, ...] = ()


class Teachers:
    """Networks whose mean probabilities another one is taught, for the very batch it is shown.

    They are no part of the network that learns from them: they stay as they are, and out of its
    checkpoints and averages.

    Args:
        teachers: They; none teach nothing.
        mean: Mean that the batches are standardised with.
        std: Standard deviation likewise.
    """

    def __init__(self, teachers: Sequence[Teacher], *, mean: float, std: float) -> None:
        self._teachers: Final = tuple(teachers)
        # Each has its own scale: z_teacher = z · std / std_teacher + (mean - mean_teacher) / ...
        self._rescale = [(std / each.std, (mean - each.mean) / each.std) for each in teachers]

    def __len__(self) -> int:
        return len(self._teachers)

    def __deepcopy__(self, _copied: dict[int, Any]) -> Self:
        return self  # whoever averages weights copies what learns, and teachers do not

    @torch.no_grad()
    def teach(self, faces: Tensor, *, temperature: float) -> Tensor:
        """Return ``(N, C)`` float32 mean probabilities of ``(N, 1, H, W)`` standardised faces."""
        taught = []
        for teacher, (scale, shift) in zip(self._teachers, self._rescale, strict=True):
            logits = teacher.read(faces * scale + shift)
            taught.append(torch.softmax(logits.float() / temperature, dim=1))
        return torch.stack(taught).mean(dim=0)

    def measure(
        self,
        loss_of: ExpressionLoss,
        logits: Tensor,
        targets: Tensor,
        faces: Tensor,
        config: DistillationConfig,
    ) -> Tensor:
        """Return a batch's mean loss in nats, by the targets and by what is taught if any do.

        Args:
            loss_of: The recipe's loss, whose margins both are measured with.
            logits: ``(N, C)`` of who learns.
            targets: As for the loss.
            faces: ``(N, 1, H, W)`` standardised, that these are of.
            config: The share of what is taught, and its temperature.
        """
        lowered = loss_of.lower(logits)
        loss = loss_of(lowered, targets)
        if not self:
            return loss
        taught = self.teach(faces, temperature=config.temperature)
        distilled = distillation_loss(lowered, taught, temperature=config.temperature)
        return torch.lerp(loss, distilled, config.share)


def load_teachers(recipe: Recipe, classes: Sequence[str]) -> list[Teacher]:
    """Load what a recipe is taught by.

    Raises:
        CheckpointError: A run has no checkpoint, or one is damaged or unsafe.
        ModelError: An ONNX file is not one of mien.
        RecipeError: One is missing, or has other classes.
    """
    check_teachers(recipe)
    teachers = [load_teacher(name) for name in recipe.distillation.teachers]
    for each in teachers:
        if each.classes != tuple(classes):
            raise RecipeError(
                f"distillation.teachers: {each.name} reads {', '.join(each.classes)}, "
                f"expected {', '.join(classes)}"
            )
    return teachers


def check_teachers(recipe: Recipe) -> None:
    """See that whoever teaches a recipe is there.

    Raises:
        RecipeError: Some are not.
    """
    names = recipe.distillation.teachers
    if missing := [name for name in names if not find_model(name).exists()]:
        raise RecipeError(
            f"distillation.teachers: {', '.join(missing)} not found: make them first (those of "
            "mien's own recipes by benchmarks/embedded_model.py), name others, or learn without "
            "by --set 'distillation.teachers=[]'"
        )


def load_teacher(name: str) -> Teacher:
    """Load a trained network, whatever its classes.

    Args:
        name: The embedded model's name, a run's folder, a checkpoint, or an ONNX file of mien.

    Raises:
        CheckpointError: A run or checkpoint is missing, damaged or unsafe.
        ModelError: An ONNX file is missing, or not one of mien.
    """
    path = find_model(name)
    return _from_onnx(name, path) if path.suffix == ".onnx" else _from_checkpoint(name, path)


def _from_checkpoint(name: str, path: Path) -> Teacher:
    found = load_checkpoint(path)
    network = found.build_network().requires_grad_(False)

    def read(faces: Tensor) -> Tensor:
        logits: Tensor = network.to(faces.device)(faces)
        return logits

    return Teacher(
        name=name,
        classes=found.classes,
        mean=found.mean,
        std=found.std,
        read=read,
        data=found.data,
        seen=found.seen,
        breaches=found.breaches,
    )


def _from_onnx(name: str, path: Path) -> Teacher:
    classifier = ExpressionClassifier(path, threads=torch.get_num_threads())
    facts = classifier.metadata

    def read(faces: Tensor) -> Tensor:
        logits = classifier.standardised_logits(faces.contiguous().cpu().numpy())
        return torch.from_numpy(logits).to(faces.device) * facts.temperature

    return Teacher(
        name=name,
        classes=facts.classes,
        mean=facts.mean,
        std=facts.std,
        read=read,
        data=facts.data,
        seen=read_seen(facts),
        breaches=tuple(facts.data.get("breaches", ())),
    )
