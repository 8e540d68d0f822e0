"""Saliency maps: how much each pixel of a face speaks for a class."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from mien.analysis.classifier import softmax
from mien.analysis.occlusion import occlude
from mien.errors import ModelError
from mien.evaluation.explanation.network import DifferentiableModel, FaceReader

#: Faces whose gradients are computed at once.
_BATCH: Final = 64

_POOLING: Final = (
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    *(nn.Dropout, nn.Dropout2d, nn.Identity),
)


def grad_cam(
    model: DifferentiableModel, images: npt.NDArray[np.uint8], classes: npt.NDArray[np.integer]
) -> npt.NDArray[np.float32]:
    """Return where in each face the evidence for a class is: Grad-CAM.

    The network's last maps are summed, each weighted by how much the class's logit rises with it;
    what speaks against the class is cut off. A map is as coarse as these last maps are: one of 3×3
    tells mouth from eyes and left from right, and no more.

    Source: Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391

    Args:
        model: The network.
        images: ``(N, 48, 48)`` grey faces.
        classes: ``(N,)`` index of the class that each face's map is for.

    Returns:
        ``(N, 48, 48)``, each map's highest value 1; all 0 where nothing speaks for the class.

    Raises:
        ModelError: The network has no maps, as transformers of image patches.
        ValueError: Faces and classes are not as many, or not of that shape.
    """
    from captum.attr import LayerGradCam  # noqa: PLC0415 - slow to import

    _check(images, classes)
    if not len(images):
        return np.empty(images.shape, np.float32)
    cam = LayerGradCam(model.network, _last_maps(model, images[:1]))
    parts = []
    for start in range(0, len(images), _BATCH):
        # With the faces' own gradient on, frozen networks have one inside as well.
        faces = model.to_input(images[start : start + _BATCH]).requires_grad_()
        target = torch.from_numpy(np.asarray(classes[start : start + _BATCH], np.int64))
        evidence = cam.attribute(faces, target=target, relu_attributions=True).detach()
        size = images.shape[1:]
        parts.append(F.interpolate(evidence, size=size, mode="bilinear")[:, 0].float().numpy())
    return scale_maps(np.concatenate(parts))


def occlusion_sensitivity(
    model: FaceReader,
    images: npt.NDArray[np.uint8],
    classes: npt.NDArray[np.integer],
    *,
    patch: int = 12,
    stride: int = 4,
) -> npt.NDArray[np.float32]:
    """Return how far a class's probability falls where a patch of the face is greyed.

    Needs no gradients, so any model will do; it takes a reading for each place of the patch. It is
    :func:`mien.analysis.occlusion.occlude` for many faces.

    Args:
        model: What reads the faces.
        images: ``(N, 48, 48)`` grey faces.
        classes: ``(N,)`` index of the class whose probability is watched.
        patch: Side in pixels of the patch, which takes the face's mean grey.
        stride: Pixels from one place of the patch to the next.

    Returns:
        ``(N, 48, 48)`` fall of the probability, -1 to 1, the mean over all patches that hide a
        pixel; below 0 where hiding it speaks for the class.

    Raises:
        ValueError: Faces and classes are not as many, or not of that shape; a patch does not fit
            into the face, or a stride leaves pixels out.
    """
    _check(images, classes)

    def read(faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return softmax(model.logits(faces))

    falls = np.empty(images.shape, np.float32)
    for i, (face, watched) in enumerate(zip(images, classes, strict=True)):
        _, falls[i] = occlude(read, face, watched=int(watched), patch=patch, stride=stride)
    return falls


def scale_maps(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return ``(N, H, W)`` maps from 0 to 1: what is below 0 cut off, the highest value 1.

    A map that is nowhere above 0 becomes all 0.
    """
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=(1, 2), keepdims=True)
    scaled = np.zeros_like(positive)
    np.divide(positive, highest, out=scaled, where=highest > 0)
    return scaled


def _check(images: npt.NDArray[np.uint8], classes: npt.NDArray[np.integer]) -> None:
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(f"expected uint8 (N, H, W), got {images.dtype} {images.shape}")
    if classes.shape != (len(images),):
        raise ValueError(f"expected {len(images)} classes, one a face, got {classes.shape}")


def _last_maps(model: DifferentiableModel, images: npt.NDArray[np.uint8]) -> nn.Module:
    """Return the module whose output is the network's last maps before they are pooled.

    It is found by looking at what each module gives for one face. Earlier maps are finer and less
    to the point: blurring up to a whole face by a residual network's maps of 6×6 left 0.34 of
    probability on average, by its last ones of 3×3 0.29, by random areas 0.39 (150 faces).

    Raises:
        ModelError: What the network ends in is not laid out as the face is.
    """
    found: nn.Module | None = None
    pooled: list[Tensor] = []

    def look(module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal found
        if not isinstance(output, Tensor) or output.ndim < 3 or output[0, 0].numel() == 1:
            return
        # What is handed through, by a container for example, is still what was pooled.
        if isinstance(module, _POOLING) or any(output is one for one in pooled):
            pooled.append(output)
            return
        # Faces are square, so maps are; (N, tokens, channels) and (N, H, W, channels) are not.
        found = module if output.ndim == 4 and output.shape[2] == output.shape[3] else None

    hooks = [module.register_forward_hook(look) for module in model.network.modules()]
    try:
        with torch.no_grad():
            model.network(model.to_input(images))
    finally:
        for hook in hooks:
            hook.remove()
    if found is None:
        raise ModelError(
            "this network's last features are no maps of the face, which Grad-CAM needs; occlusion "
            "does without: --method occlusion"
        )
    return found
