from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from mien.training.augment import augment, erase, jitter, mix, warp
from mien.training.recipe import AugmentConfig


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def batch() -> Tensor:
    return torch.rand(64, 1, 48, 48, generator=generator(9))


FULL = AugmentConfig(
    flip=0.5,
    rotation_deg=10,
    scale=0.1,
    shift=0.1,
    brightness=0.2,
    contrast=0.2,
    noise=0.05,
    erase_probability=0.5,
)


def test_nothing_asked_changes_nothing(batch: Tensor) -> None:
    assert torch.equal(augment(batch, AugmentConfig(), generator()), batch)


def test_the_generator_alone_decides(batch: Tensor) -> None:
    once, again = (augment(batch, FULL, generator(1)) for _ in range(2))

    assert torch.equal(once, again)
    assert not torch.equal(once, augment(batch, FULL, generator(2)))
    assert once.shape == batch.shape
    assert 0 <= float(once.min()) <= float(once.max()) <= 1


def test_every_face_is_varied_on_its_own() -> None:
    same = torch.rand(1, 1, 48, 48, generator=generator()).repeat(16, 1, 1, 1)

    varied = augment(same, FULL, generator())

    assert len({tuple(face.flatten()[:200].tolist()) for face in varied}) == 16


def test_a_sure_flip_is_a_mirror(batch: Tensor) -> None:
    flipped = warp(batch, AugmentConfig(flip=1.0), generator())

    torch.testing.assert_close(flipped, batch.flip(3))


def test_half_of_the_faces_are_flipped(batch: Tensor) -> None:
    flipped = warp(batch, AugmentConfig(flip=0.5), generator())

    mirrored = [
        torch.allclose(a, b.flip(2), atol=1e-4) for a, b in zip(flipped, batch, strict=True)
    ]
    assert 16 < sum(mirrored) < 48


def test_a_shift_moves_by_at_most_what_is_asked() -> None:
    dots = torch.zeros(200, 1, 48, 48)
    dots[:, :, 23:25, 23:25] = 1

    moved = warp(dots, AugmentConfig(shift=0.1), generator())

    where = torch.arange(48) + 0.5
    centres = (moved.sum(dim=2)[:, 0] * where).sum(dim=1) / moved.sum(dim=(1, 2, 3)) - 24
    assert 4 < float(centres.abs().max()) < 0.1 * 48 + 0.1


def test_bicubic_warps_blur_less_and_keep_the_scale(batch: Tensor) -> None:
    moved = AugmentConfig(shift=0.1, rotation_deg=10)
    linear = warp(batch, moved, generator())
    cubic = warp(batch, replace(moved, interpolation="bicubic"), generator())

    # Fine detail is noise's variance, of which a blur takes away.
    assert linear.var() < 0.9 * cubic.var()
    assert 0 <= float(cubic.min()) <= float(cubic.max()) <= 1


def test_zoom_and_rotation_stay_within_what_is_asked() -> None:
    # A disc off centre: its distance tells the zoom, its direction the angle.
    y, x = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(48) - 23.5, indexing="ij")
    disc = (((x - 12) ** 2 + y**2) < 9).float().expand(300, 1, 48, 48)

    moved = warp(disc, AugmentConfig(rotation_deg=10, scale=0.1), generator())

    mass = moved.sum(dim=(1, 2, 3))
    cx, cy = (moved[:, 0] * x).sum(dim=(1, 2)) / mass, (moved[:, 0] * y).sum(dim=(1, 2)) / mass
    zoom, angle = torch.hypot(cx, cy) / 12, torch.rad2deg(torch.atan2(cy, cx))
    assert 1.07 < float(zoom.max()) < 1.12
    assert 0.89 < float(zoom.min()) < 0.94
    assert 9 < float(angle.abs().max()) < 10.5


def test_brightness_and_contrast_keep_the_scale(batch: Tensor) -> None:
    darker = jitter(batch * 0.2 + 0.4, AugmentConfig(brightness=0.2, contrast=0.5), generator())

    change = darker.mean(dim=(1, 2, 3)) - 0.5
    assert 0.15 < float(change.abs().max()) < 0.21
    spread = darker.std(dim=(1, 2, 3)) / (batch * 0.2).std(dim=(1, 2, 3))
    assert 0.49 < float(spread.min()) < 0.6
    assert 1.4 < float(spread.max()) < 1.51


def test_noise_comes_as_often_and_as_strong_as_asked() -> None:
    grey = torch.full((400, 1, 48, 48), 0.5)

    noisy = jitter(grey, AugmentConfig(noise=0.1, noise_probability=0.3), generator())

    touched = noisy.std(dim=(1, 2, 3)) > 0
    assert 0.22 < float(touched.float().mean()) < 0.38
    assert float(noisy[touched].std()) == pytest.approx(0.1, abs=0.005)


def test_erasing_takes_the_share_asked_for() -> None:
    grey = torch.full((500, 1, 48, 48), 0.5)
    config = AugmentConfig(erase_probability=0.5, erase_area=(0.1, 0.2))

    changed = erase(grey, config, generator()) != 0.5

    share = changed.float().mean(dim=(1, 2, 3))
    erased = share > 0
    assert 0.4 < float(erased.float().mean()) < 0.6
    assert 0.08 < float(share[erased].min()) < float(share[erased].max()) < 0.23
    rows, columns = changed[erased].any(dim=3)[:, 0], changed[erased].any(dim=2)[:, 0]
    area = rows.sum(dim=1) * columns.sum(dim=1)
    assert torch.equal(area, changed[erased].sum(dim=(1, 2, 3))), "an erased part is a rectangle"


def one_hot(count: int, classes: int = 64) -> Tensor:
    return torch.eye(classes)[torch.arange(count) % classes]


def test_mixup_blends_faces_and_targets_alike(batch: Tensor) -> None:
    faces, targets = mix(batch, one_hot(64), AugmentConfig(mixup=1.0), generator())

    for face, target in zip(faces, targets, strict=True):
        expected = torch.einsum("n,nchw->chw", target, batch)  # each face has a class of its own
        torch.testing.assert_close(face, expected)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(64))
    assert ((targets > 0).sum(dim=1) == 2).float().mean() > 0.9


def test_cutmix_pastes_as_much_as_the_targets_say(batch: Tensor) -> None:
    faces, targets = mix(batch, one_hot(64), AugmentConfig(cutmix=1.0), generator())

    kept = (faces == batch).float().mean(dim=(1, 2, 3))
    own = targets.diagonal()
    torch.testing.assert_close(kept, own)
    assert float(own.min()) < 0.2
    assert float(own.max()) > 0.8


def test_each_face_is_mixed_in_one_way_or_not_at_all(batch: Tensor) -> None:
    config = AugmentConfig(mixup=1.0, cutmix=1.0, mix_probability=0.5)

    faces, targets = mix(batch, one_hot(64), config, generator())

    same = (faces == batch).flatten(1).float().mean(dim=1)
    kept = targets.diagonal()
    left_alone, pasted = kept == 1, (same > 0) & (same < 1)
    assert 16 < int(left_alone.sum()) < 48
    assert torch.equal(faces[left_alone], batch[left_alone])
    assert 4 < int(pasted.sum()) < 28
    blended = ~left_alone & ~pasted
    assert 4 < int(blended.sum()) < 28


def test_mixing_draws_from_the_generator_alone(batch: Tensor) -> None:
    config = AugmentConfig(mixup=0.4, cutmix=1.0)

    torch.manual_seed(1)
    once = mix(batch, one_hot(64), config, generator(1))
    torch.manual_seed(2)
    again = mix(batch, one_hot(64), config, generator(1))

    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
