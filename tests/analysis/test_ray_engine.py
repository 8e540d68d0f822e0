"""On a cluster of two machines, which are processes of this one."""

import json
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from ray.cluster_utils import Cluster as Machines
from typer.testing import CliRunner

from mien.analysis.arrow_tables import arrow_schema
from mien.analysis.picture_jobs import (
    PictureFiles,
    PictureJob,
    PictureOptions,
    plan_pictures,
    read_pictures,
)
from mien.analysis.ray_engine import Cluster, _Parts, _PictureReader, read_pictures_on_ray
from mien.analysis.writers import open_writer, picture_columns
from mien.cli.app import app
from mien.expressions import EXPRESSIONS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's clusters, and signals")


@contextmanager
def _shut_down(machines: Machines) -> Iterator[Machines]:
    try:
        yield machines
    finally:
        machines.shutdown()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two machines with a core each, so that two workers are on both."""
    memory = 80 * 2**20
    head = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    with pytest.MonkeyPatch.context() as patch, _shut_down(Machines()) as machines:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # what the workers' machines have
        try:
            for settings in (head, {}):
                machines.add_node(num_cpus=1, object_store_memory=memory, **settings)
        except Exception as error:
            # Ray allows its own processes 15 and 30 seconds, and tells it by a bare Exception.
            if "timed out during startup" not in str(error):
                raise
            pytest.skip(f"this machine is too busy to start Ray: {error}")
        yield str(machines.address)


@pytest.fixture
def pictures(tmp_path: Path, astronaut_rgb: npt.NDArray[np.uint8]) -> Path:
    """Five pictures of a face, one of nobody and one that is damaged."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(astronaut_rgb[: 200 + i, 120:320]).save(folder / f"{i}.png")
    Image.new("RGB", (40, 40)).save(folder / "nobody.png")
    (folder / "damaged.png").write_bytes(b"damaged")
    return folder


def read_here(
    jobs: list[PictureJob], options: PictureOptions, path: Path
) -> tuple[pa.Table, list[str]]:
    """Return the table and the failures that one process of this machine gives."""
    failures: list[str] = []
    with open_writer(path, options.open_analyzer().classes) as writer:
        for read in read_pictures(jobs, options):
            failures.extend(read.failures)
            for result in read.results:
                writer.write(result)
        writer.finish()
    return pq.read_table(path), failures


def kill_who_reads(pipe: Path, picture: Path, ended: Event) -> bool:
    """Wait for a process to read a pipe, put a picture in its place and kill that process.

    Returns whether it did; not where the reading ended before.
    """
    while not ended.wait(0.05):
        with suppress(OSError):  # nobody reads
            writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
    else:
        return False
    try:
        # A pipe is open for both before its reader's process tells of it.
        while not (readers := set(_readers(pipe)) - {os.getpid()}):
            if ended.wait(0.05):
                return False
        picture.replace(pipe)
        for reader in readers:
            os.kill(reader, signal.SIGKILL)
    finally:
        os.close(writing)  # else whoever reads waits for ever
    return True


def _readers(pipe: Path) -> Iterator[int]:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # closed meanwhile
            if str(link.readlink()) == str(pipe):
                yield int(link.parent.parent.name)


@pytest.mark.skipif(not Path("/proc").exists(), reason="who reads a pipe is told by /proc")
def test_a_killed_worker_loses_nothing(
    address: str, pictures: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options = PictureOptions(model=tiny_model, threads=1)
    table = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"image": [(pictures / "3.png").read_bytes(), b"damaged"]}), table)
    files = [PictureFiles(paths=(str(path),)) for path in sorted(pictures.iterdir())]
    jobs: list[PictureJob] = [*files, *plan_pictures([str(table)])]
    rows, failures = read_here(jobs, options, tmp_path / "here.parquet")
    pipe, folder = pictures / "2.png", tmp_path / "there"
    pipe.rename(tmp_path / "2.png")
    os.mkfifo(pipe)

    ended = Event()

    with ThreadPoolExecutor(1) as other:
        killed = other.submit(kill_who_reads, pipe, tmp_path / "2.png", ended)
        try:
            told = read_pictures_on_ray(
                jobs,
                options,
                folder,
                classes=options.open_analyzer().classes,
                cluster=Cluster(address=address, workers=2),
            )
        finally:
            ended.set()

    assert killed.result()
    assert pq.read_table(folder).equals(rows)
    assert pq.read_schema(next(folder.iterdir())).equals(rows.schema)
    assert told == failures
    assert (len(rows), len(told)) == (7, 2)


def test_pictures_that_worker_after_worker_died_over_are_given_up_and_told(
    pictures: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options = PictureOptions(model=tiny_model, threads=1)
    paths = [str(pictures / name) for name in ("0.png", "1.png", "2.png", "3.png")]
    jobs = [PictureFiles(paths=tuple(paths[:3])), PictureFiles(paths=tuple(paths[3:]))]
    batch = pa.table({"job": [pickle.dumps(job) for job in jobs], "number": [0, 1]})
    parts = _Parts(tmp_path / "there", arrow_schema(picture_columns(EXPRESSIONS)))

    with parts.deaths.counted():
        # A worker that is killed never leaves the job that it began.
        left = [parts.deaths.told_by(job) for job in (0, 0, 0, 1, 1)]
        assert [worker.__enter__() for worker in left] == [0, 1, 2, 0, 1]
        read = pa.concat_tables(_PictureReader(options, Path.cwd(), parts)(batch))
        assert next(iter(parts.deaths.folder.iterdir()), None) is None, "both are over"

    assert read["source"].drop_null().to_pylist() == paths[3:]
    (told,) = read["note"].drop_null().to_pylist()
    assert json.loads(told) == f"{paths[0]} … {paths[2]}: given up: 3 workers died over it"
    assert not parts.deaths.folder.exists()


def write_clip(path: Path, photo: npt.NDArray[np.uint8], frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 200, 200, "yuv420p"
        for i in range(frames):
            picture = np.roll(photo, i, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_clips_are_read_as_on_this_machine(
    address: str, astronaut_rgb: npt.NDArray[np.uint8], tiny_model: Path, tmp_path: Path
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in (1, 2):
        write_clip(clips / f"{number}.mp4", astronaut_rgb[:200, 120:320], 2 + number)
    (clips / "broken.mp4").write_text("no clip")
    call = ["video", str(clips), "--model", str(tiny_model), "--threads", "1"]
    here, there = tmp_path / "here.parquet", tmp_path / "there"

    local = CliRunner().invoke(app, [*call, "-o", str(here)])
    ray = CliRunner().invoke(
        app, [*call, "-o", str(there), "--engine", "ray", "--ray-address", address]
    )

    assert (local.exit_code, ray.exit_code) == (1, 1), ray.output
    assert len(pq.read_table(there)) == 7
    assert pq.read_table(there).equals(pq.read_table(here))
    assert "broken.mp4" in ray.stderr
