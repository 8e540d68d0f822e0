"""How fast does the recipe ``residual`` train here, and what does augmentation cost?

One run prints images a second of the training step in float32 and in bf16, at 48 and at 32
pixels, and what share that is of the rate of a large matrix product of the same precision; then
images a second of making batches: this package's augmentation against the same variations made by
kornia's batched ones, where kornia is installed::

    python benchmarks/train_speed.py [--threads 2] [--steps 12]

The variants take turns, and each figure is the median of its steps. The faces are cartoons: the
arithmetic does not depend on what they show. A step is counted as three forward passes, a
multiply-add as two operations.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from machine import describe_machine
from mien.data.synthetic import synthetic_faces
from mien.models import build_model, count_multiply_adds
from mien.preprocess import FACE_SIZE
from mien.training.augment import augment
from mien.training.batches import Faces, TrainingBatches
from mien.training.module import build_optimizer
from mien.training.recipe import ProgressiveConfig, Recipe
from mien.training.recipe_file import load_recipe
from mien.training.run import has_bf16_hardware

PRECISIONS: Final = {"float32": torch.float32, "bf16": torch.bfloat16}
#: Side of the matrices whose product is what a machine computes fastest.
MATRIX_SIDE: Final = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    native = has_bf16_hardware(torch.device("cpu"))
    print(f"{describe_machine('mien', 'torch')}, {arguments.threads} threads", end=", ")
    print(f"bf16 in hardware: {'yes' if native else 'no'}")
    recipe = load_recipe("residual")
    faces = Faces(synthetic_faces(2000).split("Training"), torch.device("cpu"))
    variants, shares = {}, {}
    for size in (FACE_SIZE, 32):
        for name, dtype in PRECISIONS.items():
            step, operations = training_step(recipe, faces, size, dtype)
            variants[f"{name} at {size} px"] = step
            shares[f"{name} at {size} px"] = operations / matrix_rate(dtype)
    compare("training step", variants, recipe.batch_size, arguments.steps, shares)
    compare("augmentation", augment_variants(recipe), recipe.batch_size, arguments.steps, {})


def compare(
    title: str,
    variants: dict[str, Callable[[], object]],
    batch: int,
    repeats: int,
    shares: Mapping[str, float],
) -> None:
    """Time the variants in turns and print rates and ratios to the first.

    Args:
        title: What is timed.
        variants: What does it for one batch, by name.
        batch: Images a batch.
        repeats: How often each is timed.
        shares: Seconds that an image would take at the rate of a matrix product, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for name in [*variants, *list(variants) * repeats]:
        start = time.perf_counter()
        variants[name]()
        seconds[name].append(time.perf_counter() - start)
    rates = {name: batch / statistics.median(times[1:]) for name, times in seconds.items()}
    first = next(iter(rates.values()))
    for name, rate in rates.items():
        share = f", {shares[name] * rate:.0%} of a matrix product's rate" if name in shares else ""
        print(f"{title}, {name}: {rate:,.0f} images/s, {rate / first:.2f} ×{share}")


def endless(faces: Faces, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from TrainingBatches(faces, recipe, epoch=0, mean=0.5, std=0.25)


def training_step(
    recipe: Recipe, faces: Faces, size: int, dtype: torch.dtype
) -> tuple[Callable[[], object], float]:
    """Return what trains on one real batch, and its operations for each image."""
    early = ProgressiveConfig(size=size, epochs=int(size < FACE_SIZE))
    batches = endless(faces, replace(recipe, progressive=early))
    network = build_model(recipe.model_name, config=recipe.network)
    operations = 3 * 2 * count_multiply_adds(network, size)
    network = network.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, recipe.optimizer)

    def step() -> None:
        images, targets = next(batches)
        with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
            logits = network(images.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step, operations


def matrix_rate(dtype: torch.dtype) -> float:
    """Return operations a second of the best of some large matrix products."""
    left, right = torch.rand(2, MATRIX_SIDE, MATRIX_SIDE).to(dtype)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - start)
    return 2 * MATRIX_SIDE**3 / min(seconds)


def augment_variants(recipe: Recipe) -> dict[str, Callable[[], object]]:
    config = recipe.augment
    generator = torch.Generator().manual_seed(0)
    faces = torch.rand(recipe.batch_size, 1, 48, 48, generator=generator)
    variants: dict[str, Callable[[], object]] = {
        "mien": lambda: augment(faces, config, generator),
    }
    if find_spec("kornia") is None:
        print("augmentation: kornia is not installed, nothing to compare with")
        return variants
    import kornia.augmentation as ka  # noqa: PLC0415

    degrees, shift, scale = config.rotation_deg, config.shift, config.scale
    theirs = ka.AugmentationSequential(
        ka.RandomHorizontalFlip(p=config.flip),
        ka.RandomAffine(degrees, (shift, shift), (1 - scale, 1 + scale), p=1.0),
        ka.RandomBrightness((1 - config.brightness, 1 + config.brightness), p=1.0),
        ka.RandomContrast((1 - config.contrast, 1 + config.contrast), p=1.0),
        ka.RandomErasing(config.erase_area, p=config.erase_probability),
        same_on_batch=False,
    )
    variants[f"kornia {version('kornia')}"] = lambda: theirs(faces)
    return variants


if __name__ == "__main__":
    main()
