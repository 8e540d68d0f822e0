"""Any backbone of timm under a small dense head, for grey 48×48 faces.

Source: Wightman, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from mien.errors import CheckpointError, DownloadError, RecipeError
from mien.expressions import nearest_name
from mien.models.layers import dense_layers


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """Options of :class:`BackboneNet`. Faces must come as grey levels of 0 to 1.

    Attributes:
        backbone: A model's name in timm, such as ``resnet50``, ``convnext_tiny`` or
            ``vit_small_patch16_224``.
        pretrained: Start from the weights that timm knows, which are fetched from the Hugging
            Face hub, or from timm's cache.
        weights: A local file of weights to start from instead (``.safetensors`` or ``.pth``).
        size: Side in pixels that faces are enlarged to.
        dense: Units of each dense layer before the last.
        dense_norm: Batch normalisation after each of these, see
            :class:`~mien.models.plain.PlainNetConfig`.
        dropout: Dropout after each of these.
    """

    backbone: str = "resnet18"
    pretrained: bool = False
    weights: str = ""
    size: int = 224
    dense: tuple[int, ...] = (256,)
    dense_norm: bool = True
    dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 16:
            raise RecipeError(f"model.size: expected 16 or more pixels, got {self.size}")
        if any(units < 1 for units in self.dense):
            raise RecipeError(f"model.dense: expected units of 1 or more, got {self.dense}")
        if not 0 <= self.dropout < 1:
            raise RecipeError(f"model.dropout: expected 0 up to 1, got {self.dropout}")

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from weights that others have trained."""
        return self.pretrained or bool(self.weights)

    def build(self, num_classes: int) -> nn.Module:
        """Return a fresh :class:`BackboneNet` of random weights.

        Raises:
            RecipeError: timm knows no such backbone, or it does not take this size.
        """
        return BackboneNet(self, num_classes)

    def load_pretrained(self, network: nn.Module) -> None:
        """Give a network's backbone the weights that :attr:`pretrained` or :attr:`weights` name.

        Raises:
            DownloadError: They could not be fetched.
            CheckpointError: The file is missing or not of this backbone.
        """
        if not self.is_pretrained:
            return
        if self.weights and not Path(self.weights).is_file():
            raise CheckpointError(f"model.weights: no such file: {self.weights}")
        overlay = {"file": self.weights} if self.weights else None
        try:
            # With its own classifier timm takes whole files only; else layers may be missing.
            found = _create(self, num_classes=None, pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as error:  # timm, the hub and torch raise all kinds, with no common root
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            if self.weights:
                raise CheckpointError(
                    f"{self.weights}: not weights of {self.backbone}: {reason}"
                ) from error
            raise DownloadError(
                f"the weights of {self.backbone} could not be fetched ({reason}); on a machine "
                f"with a network download {_hub_page(self.backbone)}, then name the file: "
                f"--set model.weights=FILE"
            ) from error
        assert isinstance(network, BackboneNet)
        names = network.backbone.state_dict().keys()
        theirs = {name: value for name, value in found.state_dict().items() if name in names}
        network.backbone.load_state_dict(theirs, strict=True)


class BackboneNet(nn.Module):
    """Enlarges and replicates grey faces, runs a backbone, pools, and classifies.

    Input ``(N, 1, H, W)`` float of 0 to 1; output ``(N, num_classes)`` float32 logits.
    """

    #: Children after the features.
    HEAD: ClassVar = ("dense", "head")

    mean: Tensor
    std: Tensor

    def __init__(self, config: BackboneConfig, num_classes: int) -> None:
        super().__init__()
        self._size = config.size
        self.backbone = _create(config, num_classes=0, pretrained=False)
        facts = self.backbone.pretrained_cfg
        for name in ("mean", "std"):
            values = torch.tensor(facts[name]).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        try:
            units = self._feature_count()
        except (RuntimeError, AssertionError) as error:
            raise RecipeError(_wrong_size(config, error)) from error
        self.dense, units = dense_layers(
            units, config.dense, config.dropout, norm=config.dense_norm
        )
        self.head = nn.Linear(units, num_classes)

    def forward(self, faces: Tensor) -> Tensor:
        """Return ``(N, num_classes)`` logits for ``(N, 1, H, W)`` faces."""
        return self.classify(self.features(faces))

    def features(self, faces: Tensor) -> Tensor:
        """Return ``(N, F)`` pooled features."""
        size = (self._size, self._size)
        large = F.interpolate(faces, size=size, mode="bilinear", align_corners=False)
        return self.backbone((large - self.mean) / self.std)  # type: ignore[no-any-return]

    def classify(self, features: Tensor) -> Tensor:
        """Return ``(N, num_classes)`` logits for ``(N, F)`` features, in float32 always."""
        with torch.autocast(features.device.type, enabled=False):
            return self.head(self.dense(features.float()))  # type: ignore[no-any-return]

    def _feature_count(self) -> int:
        # What timm calls num_features is not always what its pooling gives (MobileNetV3).
        was_training = self.backbone.training
        self.backbone.eval()
        with torch.no_grad():
            count = self.features(torch.zeros(1, 1, self._size, self._size)).shape[1]
        self.backbone.train(was_training)
        return int(count)


def _create(config: BackboneConfig, *, num_classes: int | None, **options: Any) -> Any:
    """Return timm's model, with its own classifier where ``num_classes`` is None."""
    import timm  # noqa: PLC0415 - slow to import, and only this network needs it

    name = config.backbone
    if not timm.is_model(name):
        near = nearest_name(name, timm.list_models())
        hint = f"did you mean {near!r}?" if near else "see timm.list_models()"
        raise RecipeError(f"model.backbone: timm has no {name!r}: {hint}")
    try:
        facts = timm.get_pretrained_cfg(name)
        if facts is not None and facts.fixed_input_size:
            options["img_size"] = config.size
        if num_classes is not None:
            options["num_classes"] = num_classes
        return timm.create_model(name, **options)
    except (RuntimeError, AssertionError, ValueError) as error:
        if options.get("pretrained"):
            raise  # the weights are at fault, which the caller tells
        raise RecipeError(_wrong_size(config, error)) from error


def _wrong_size(config: BackboneConfig, error: Exception) -> str:
    reason = (str(error).strip() or repr(error)).splitlines()[0]
    return f"model.backbone: {config.backbone} cannot be built for {config.size} pixels: {reason}"


def _hub_page(name: str) -> str:
    import timm  # noqa: PLC0415

    facts = timm.get_pretrained_cfg(name)
    return f"https://huggingface.co/{facts.hf_hub_id}" if facts and facts.hf_hub_id else "them"
