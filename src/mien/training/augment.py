"""Augmentation of whole batches: pure tensor functions, every face with draws of its own.

One affine warp does flip, rotation, zoom, shift and the change of size together, so a face is
resampled once. Everything runs where the batch is and draws only from the generator given.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Generator, Tensor

from mien.training.recipe import AugmentConfig


def augment(faces: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Vary each face of a batch.

    Args:
        faces: ``(N, 1, H, W)`` float, grey levels on the scale 0 to 1.
        config: How much.
        generator: Where every random number comes from; on the faces' device.

    Returns:
        ``(N, 1, H, W)`` float on the same scale, clipped to it.
    """
    faces = warp(faces, config, generator)
    faces = jitter(faces, config, generator)
    return erase(faces, config, generator)


def warp(faces: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Flip, rotate, zoom and shift each face; borders are reflected.

    Args:
        faces: ``(N, 1, H, W)`` float, 0 to 1.
        config: How much.
        generator: Random numbers.

    Returns:
        ``(N, 1, H, W)`` float, 0 to 1.
    """
    if not (config.flip or config.rotation_deg or config.scale or config.shift):
        return faces
    draw = torch.rand(len(faces), 5, generator=generator, device=faces.device)
    angle = (2 * draw[:, 0] - 1) * math.radians(config.rotation_deg)
    # Zooming in and out by the same factor must be equally likely, so the draw is on a log scale.
    zoom = torch.exp((2 * draw[:, 1] - 1) * math.log1p(config.scale))
    shift = (2 * draw[:, 2:4] - 1) * 2 * config.shift  # the grid runs from -1 to 1
    mirror = torch.where(draw[:, 4] < config.flip, -1.0, 1.0)
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = torch.stack(
        [cosine * mirror, -sine, shift[:, 0], sine * mirror, cosine, shift[:, 1]], dim=1
    )
    grid = F.affine_grid(rows.view(-1, 2, 3), list(faces.shape), align_corners=False)
    mode = config.interpolation
    warped = F.grid_sample(faces, grid, mode, padding_mode="reflection", align_corners=False)
    return warped.clamp(0, 1) if mode == "bicubic" else warped  # which goes past its neighbours


def jitter(faces: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Change brightness and contrast and add noise, clipped to 0..1.

    Args:
        faces: ``(N, 1, H, W)`` float, 0 to 1.
        config: How much.
        generator: Random numbers.

    Returns:
        ``(N, 1, H, W)`` float, 0 to 1.
    """
    if not (config.brightness or config.contrast or config.noise):
        return faces
    draw = torch.rand(len(faces), 3, 1, 1, 1, generator=generator, device=faces.device)
    mean = faces.mean(dim=(1, 2, 3), keepdim=True)
    gain = 1 + (2 * draw[:, 0] - 1) * config.contrast
    faces = (faces - mean) * gain + mean + (2 * draw[:, 1] - 1) * config.brightness
    if config.noise:
        noise = torch.randn(faces.shape, generator=generator, device=faces.device)
        faces = faces + noise * config.noise * (draw[:, 2] < config.noise_probability)
    return faces.clamp(0, 1)


def erase(faces: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Replace a rectangle of some faces by uniform noise.

    Source: random erasing, Zhong et al. 2020, https://arxiv.org/abs/1708.04896

    Args:
        faces: ``(N, 1, H, W)`` float, 0 to 1.
        config: How often and how much; the rectangle's sides are within a factor of two.
        generator: Random numbers.

    Returns:
        ``(N, 1, H, W)`` float, 0 to 1.
    """
    if not config.erase_probability:
        return faces
    draw = torch.rand(len(faces), 5, generator=generator, device=faces.device)
    smallest, largest = config.erase_area
    side = torch.sqrt(smallest + draw[:, 0] * (largest - smallest))
    stretch = torch.exp((draw[:, 1] - 0.5) * math.log(2))
    extents = torch.stack((side * stretch, side / stretch), dim=1)
    erased = (draw[:, 4] < config.erase_probability)[:, None, None, None]
    inside = _rectangles(faces, extents, draw[:, 2:4]) & erased
    filling = torch.rand(faces.shape, generator=generator, device=faces.device)
    return torch.where(inside, filling, faces)


def mix(
    faces: Tensor, targets: Tensor, config: AugmentConfig, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mix some faces with another of the batch each, and their targets alike.

    Source: mixup, Zhang et al. 2018, https://arxiv.org/abs/1710.09412 ; CutMix, Yun et al. 2019,
    https://arxiv.org/abs/1905.04899

    Args:
        faces: ``(N, 1, H, W)`` float.
        targets: ``(N, C)`` float, probabilities.
        config: How often, and how much of the other.
        generator: Random numbers.

    Returns:
        Faces and targets of the same shapes.
    """
    if not (config.mixup or config.cutmix):
        return faces, targets
    count, device = len(faces), faces.device
    draw = torch.rand(count, 4, generator=generator, device=device)
    others = torch.randperm(count, generator=generator, device=device)
    mixed = (draw[:, 0] < config.mix_probability).float()
    blended = _beta(config.mixup, count, generator, device) * mixed
    side = torch.sqrt(_beta(config.cutmix, count, generator, device) * mixed)
    pasted = _rectangles(faces, torch.stack((side, side), dim=1), draw[:, 1:3]).float()
    # With both, each face is mixed in one way.
    cut = draw[:, 3] < 0.5 if config.mixup and config.cutmix else draw[:, 3] < bool(config.cutmix)
    share = torch.where(cut[:, None, None, None], pasted, blended[:, None, None, None])
    weight = share.expand_as(faces).mean(dim=(1, 2, 3))[:, None]
    return torch.lerp(faces, faces[others], share), torch.lerp(targets, targets[others], weight)


def _beta(alpha: float, count: int, generator: Generator, device: torch.device) -> Tensor:
    """Return ``(count,)`` draws of a symmetric Beta distribution; zeros where alpha is 0."""
    if not alpha:
        return torch.zeros(count, device=device)
    # torch's own Beta draws from no generator but the global one.
    seed = int(torch.randint(2**31, (1,), generator=generator, device=device))
    draws = np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32)
    return torch.from_numpy(draws).to(device)


def _rectangles(faces: Tensor, extents: Tensor, places: Tensor) -> Tensor:
    """Return ``(N, 1, H, W)``: which pixels are in each face's rectangle.

    Args:
        faces: ``(N, 1, H, W)``.
        extents: ``(N, 2)`` the rectangle's height and width as shares of the face's.
        places: ``(N, 2)`` where it stands, down and across: 0 at one edge, 1 at the other.
    """
    along = []
    for axis, length in enumerate(faces.shape[2:]):
        extent = extents[:, axis, None]
        start = places[:, axis, None] * (1 - extent)
        position = (torch.arange(length, device=faces.device) + 0.5) / length
        along.append((position >= start) & (position < start + extent))
    return (along[0][:, :, None] & along[1][:, None, :])[:, None]
