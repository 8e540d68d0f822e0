from pathlib import Path
from typing import Any

import pytest
import torch

from mien.errors import CheckpointError, DownloadError, RecipeError
from mien.models.backbone import BackboneConfig


def test_faces_reach_the_backbone_large_in_three_channels_and_its_own_scale() -> None:
    network: Any = BackboneConfig(backbone="resnet18", size=96).build(7).eval()
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    network(torch.full((2, 1, 48, 48), 0.5))

    assert seen[0].shape == (2, 3, 96, 96)
    red = (0.5 - 0.485) / 0.229
    torch.testing.assert_close(seen[0][:, 0], torch.full((2, 96, 96), red))


def test_the_head_is_float32_under_mixed_precision() -> None:
    network: Any = BackboneConfig(backbone="resnet18", size=32).build(7).eval()

    with torch.autocast("cpu", torch.bfloat16):
        features = network.features(torch.rand(2, 1, 48, 48))
        logits = network.classify(features)

    assert features.dtype == torch.bfloat16
    assert logits.dtype == torch.float32


def test_a_local_file_of_weights_is_taken(stand_in_weights: Path) -> None:
    from safetensors.torch import load_file

    config = BackboneConfig(backbone="resnet10t", weights=str(stand_in_weights), size=32)
    network: Any = config.build(7)
    config.load_pretrained(network)

    theirs = load_file(stand_in_weights)
    ours = network.backbone.state_dict()
    assert set(ours) == {name for name in theirs if not name.startswith("fc.")}
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name])


def test_weights_that_cannot_be_had_are_told_in_one_line(
    stand_in_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(**options: object) -> None:
        config = BackboneConfig(size=32, **options)  # type: ignore[arg-type]
        config.load_pretrained(config.build(7))

    with pytest.raises(CheckpointError, match="no such file"):
        load(backbone="resnet10t", weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(CheckpointError, match="not weights of resnet18") as wrong:
        load(backbone="resnet18", weights=str(stand_in_weights))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="not weights of resnet10t"):
        load(backbone="resnet10t", weights=str(broken))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(DownloadError, match=r"huggingface.co/timm/resnet10t.*model.weights=FILE"):
        load(backbone="resnet10t", pretrained=True)
    assert "\n" not in str(wrong.value)


def test_an_unknown_backbone_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'resnet50'"):
        BackboneConfig(backbone="resnt50").build(7)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_other_weights_is_refused(suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / f"other{suffix}"
    stray = {"foo": torch.zeros(3)}
    save_file(stray, path) if suffix == ".safetensors" else torch.save(stray, path)
    config = BackboneConfig(backbone="resnet10t", weights=str(path), size=32)

    with pytest.raises(CheckpointError, match="not weights of resnet10t"):
        config.load_pretrained(config.build(7))


@pytest.mark.parametrize(
    ("backbone", "size"), [("resnet18.nope", 64), ("test_vit", 50), ("test_convnext", 16)]
)
def test_what_timm_cannot_build_is_told_in_one_line(backbone: str, size: int) -> None:
    with pytest.raises(RecipeError, match=r"model\.backbone") as refused:
        BackboneConfig(backbone=backbone, size=size).build(7)
    assert "\n" not in str(refused.value)
