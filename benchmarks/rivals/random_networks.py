"""Networks of the rivals' shapes with random weights: how fast they are does not depend on them.

Their own weights are fetched from places that a benchmark cannot count on. The files have the
names that the packages look for, so that each opens and runs them by its own code.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.cache import atomic_write

if TYPE_CHECKING:
    from torch import Tensor, nn

#: deepface 0.0.103's "Emotion". Source: deepface/models/demography/pytorch/Emotion.py in its wheel
DEEPFACE_FILE: Final = ".deepface/weights/facial_expression_model_weights.onnx"
#: "enet_b0_8_best_vgaf": EfficientNet-B0 with eight classes, 224 pixels in colour.
#: Source: Savchenko 2021, https://arxiv.org/abs/2103.17107
EFFICIENTNET_FILES: Final = (
    ".emotiefflib/enet_b0_8_best_vgaf.onnx",
    ".hsemotion/enet_b0_8_best_vgaf.onnx",
)


def write_random_networks(folder: Path) -> None:
    """Write every network below ``folder`` that is not there yet."""
    deepface = folder / DEEPFACE_FILE
    if not deepface.is_file():
        _write_deepface(deepface)
    first, *others = (folder / file for file in EFFICIENTNET_FILES)
    if not first.is_file():
        _write_efficientnet(first)
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(first, path)


def _write_deepface(path: Path) -> None:
    import torch  # noqa: PLC0415
    from torch import nn  # noqa: PLC0415

    def convolution(inputs: int, outputs: int, size: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, size), nn.ReLU()]

    layers = [
        *convolution(1, 64, 5),
        nn.MaxPool2d(5, 2),
        *convolution(64, 64, 3),
        *convolution(64, 64, 3),
        nn.AvgPool2d(3, 2),
        *convolution(64, 128, 3),
        *convolution(128, 128, 3),
        nn.AvgPool2d(3, 2),
        nn.Flatten(),
        *(nn.Linear(128, 1024), nn.ReLU()),
        *(nn.Linear(1024, 1024), nn.ReLU()),
        *(nn.Linear(1024, 7), nn.Softmax(dim=1)),
    ]

    class ChannelsLast(nn.Module):
        """Takes ``(N, 48, 48, 1)``, as the package gives them."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, faces: "Tensor") -> "Tensor":
            logits: Tensor = self.layers(faces.permute(0, 3, 1, 2))
            return logits

    _export(ChannelsLast(), torch.zeros(2, 48, 48, 1), path)


def _write_efficientnet(path: Path) -> None:
    import timm  # noqa: PLC0415
    import torch  # noqa: PLC0415

    network = timm.create_model("tf_efficientnet_b0", pretrained=False, num_classes=8)
    # The exporter leaves out a bias of zeros, which EmotiEffLib looks for in the last layer.
    torch.nn.init.uniform_(network.classifier.bias)
    _export(network, torch.zeros(2, 3, 224, 224), path)


def _export(network: "nn.Module", example: "Tensor", path: Path) -> None:
    import onnx  # noqa: PLC0415
    import torch  # noqa: PLC0415

    program = torch.onnx.export(
        network.eval(),
        (example,),
        input_names=["input"],
        opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    with atomic_write(path) as temporary:
        onnx.save(program.model_proto, temporary)
