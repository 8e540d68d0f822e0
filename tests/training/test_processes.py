import csv
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mien.data.dataset import ExpressionDataset
from mien.data.npz import save_dataset
from mien.training import Recipe, load_recipe
from mien.training.checkpoint import load_checkpoint
from mien.training.processes import Processes, Share

#: Nothing in it draws or normalises, so that one process and several must do the same.
EXACT = """
epochs = 2
batch_size = 32
precision = "fp32"
[model]
name = "plain"
widths = [8, 16]
convolutions = [1, 1]
norm = false
dense = [16]
dense_norm = false
dropout = 0.0
[optimizer]
name = "sgd"
lr = 0.1
"""

CPU = torch.device("cpu")


@pytest.fixture
def command(faces: ExpressionDataset, tmp_path: Path) -> list[str]:
    (tmp_path / "exact.toml").write_text(EXACT)
    save_dataset(faces, tmp_path / "faces.npz")
    recipe, data = str(tmp_path / "exact.toml"), str(tmp_path / "faces.npz")
    return [sys.executable, "-m", "mien", "train", recipe, "--data", data, "--device", "cpu"]


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) for name in row if "loss" in name]


def test_two_processes_and_two_machines_learn_what_one_does(
    command: list[str], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # Both machines are this one; each has its number, and all know the first one's address.
    cluster = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    calls = [
        ([*command, "--output", str(tmp_path / "one")], dict(os.environ)),
        ([*command, "--output", str(tmp_path / "two"), "--devices", "2"], dict(os.environ)),
        *(
            (
                [*command, "--output", str(tmp_path / "nodes"), "--nodes", "2"],
                {**cluster, "NODE_RANK": str(rank)},
            )
            for rank in range(2)
        ),
    ]
    running = [
        subprocess.Popen(call, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for call, env in calls
    ]
    ended = [process.communicate(timeout=300) for process in running]

    assert [process.returncode for process in running] == [0, 0, 0, 0], ended
    assert [out.strip() for out, _ in ended] == [
        *(str(tmp_path / name) for name in ("one", "two", "nodes")),
        "",  # the second machine's process is silent
    ]
    alone = losses(tmp_path / "one")
    assert alone[-1] < alone[1]  # it has learned something
    for name in ("two", "nodes"):
        assert losses(tmp_path / name) == pytest.approx(alone, rel=1e-4)
        shared = load_checkpoint(tmp_path / name).weights
        for key, value in load_checkpoint(tmp_path / "one").weights.items():
            torch.testing.assert_close(shared[key], value, rtol=1e-2, atol=1e-3)


def test_shares_are_even_whole_and_drawn_apart() -> None:
    where = torch.arange(12)

    shares = [Share(rank, 3) for rank in range(3)]

    assert sorted(int(place) for share in shares for place in share.take(where)) == list(range(12))
    assert {len(share.take(where)) for share in shares} == {4}
    assert len({share.seed(7) for share in shares}) == 3
    assert shares[0].seed(7) == 7


def test_what_cannot_be_shared_is_refused(make_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(ValueError, match="devices must be 1 or more"):
        Processes(devices=0)
    with pytest.raises(ValueError, match="32 faces cannot be shared by 3 processes"):
        Processes(devices=3).check(make_recipe(), CPU)
    with pytest.raises(ValueError, match="hog_svm is fitted by one process"):
        Processes(nodes=2).check(load_recipe("hog-svm"), CPU)
    Processes(devices=2, nodes=2).check(make_recipe(), CPU)


def test_several_processes_are_refused_in_a_notebook(
    make_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    with pytest.raises(ValueError, match="cannot be started from a notebook"):
        Processes(devices=2).check(make_recipe(), CPU)


def test_processes_on_windows_do_without_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Processes().strategy() == "auto"
    monkeypatch.setattr(sys, "platform", "win32")

    strategy = Processes(devices=2).strategy()

    assert getattr(strategy, "process_group_backend", None) == "gloo"


def test_several_processes_need_a_folder_to_agree_on(command: list[str]) -> None:
    done = subprocess.run([*command, "--devices", "2"], check=False, capture_output=True, text=True)

    assert done.returncode == 2
    assert "name --output" in done.stderr
