import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mien.data.dataset import ExpressionDataset
from mien.errors import CheckpointError
from mien.metadata import BEST, CLASSICAL_FILE
from mien.training import Recipe
from mien.training.checkpoint import load_checkpoint


def test_a_checkpoint_carries_all_that_is_needed(
    trained: Path, faces: ExpressionDataset, make_recipe: Callable[..., Recipe]
) -> None:
    checkpoint = load_checkpoint(trained)

    assert checkpoint.recipe == make_recipe(ema_decay=0.9)
    assert checkpoint.classes == faces.classes
    assert checkpoint.mean == pytest.approx(faces.split("Training").images.mean() / 255)
    assert checkpoint.data["counts"]["Training"] == faces.split("Training").counts()
    assert 1 <= checkpoint.epoch <= 2
    assert checkpoint.build_network()(torch.zeros(3, 1, 48, 48)).shape == (3, 7)


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.flag}",)


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_a_pickle_with_code_in_it_is_refused_and_not_run(
    tmp_path: Path, save: Callable[[object, Path], None]
) -> None:
    flag, path = tmp_path / "ran", tmp_path / "evil.ckpt"
    save({"state_dict": {}, "mien": Payload(flag)}, path)

    with pytest.raises(CheckpointError, match=r"refused|not a checkpoint"):
        load_checkpoint(path)
    assert not flag.exists()


def test_damage_is_told(trained: Path, tmp_path: Path) -> None:
    whole = (trained / BEST).read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.ckpt"):
        load_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"cut\.ckpt"):
        load_checkpoint(path)
    for content in (
        b"emotion,pixels\n3,1 2 3\n",
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"\x80\x04K\x01.",
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"cut\.ckpt: (damaged|not a checkpoint)"):
            load_checkpoint(path)
    torch.save({"mien": "{}", "state_dict": [1], "epoch": 1}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of mien"):
        load_checkpoint(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of mien"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path)


def test_a_classical_baseline_is_called_so(tmp_path: Path) -> None:
    (tmp_path / CLASSICAL_FILE).write_bytes(b"PK")

    for named in (tmp_path, tmp_path / CLASSICAL_FILE):
        with pytest.raises(CheckpointError, match="no network: name the run of a network"):
            load_checkpoint(named)


def test_weights_of_another_network_are_refused(trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained / BEST, weights_only=True)
    del content["state_dict"]["network.head.bias"]
    path = tmp_path / "other.ckpt"
    torch.save(content, path)

    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(path).build_network()
