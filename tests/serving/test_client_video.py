"""Clips by the client, against the real service in a server of its own."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest
import uvicorn

from mien.analysis.analyzer import Analyzer
from mien.errors import MediaError, ServiceError
from mien.serving.app import create_app
from mien.serving.client import Client
from mien.serving.client_video import VideoState
from mien.serving.server import address_of, bind
from mien.serving.settings import ServiceSettings


@contextmanager
def serving(settings: ServiceSettings, analyzer: Analyzer) -> Iterator[str]:
    """Serve from a thread of this process, and yield the address."""
    config = uvicorn.Config(create_app(settings, analyzer=analyzer), log_config=None)
    server = uvicorn.Server(config)
    with bind("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def client(analyzer: Analyzer) -> Iterator[Client]:
    settings = ServiceSettings(threads=1, max_video_bytes=2_000_000, max_video_s=5)
    with serving(settings, analyzer) as url:
        yield Client(url, retries=0)


@pytest.fixture(scope="module")
def clip(
    tmp_path_factory: pytest.TempPathFactory, write_clip: Callable[..., Path], photo: bytes
) -> Path:
    """Six frames of one face, 0.6 s, under a name that a form must escape."""
    return write_clip(tmp_path_factory.mktemp("clip") / 'a "b".mp4', photo)


def test_a_clip_gives_what_the_analyzer_gives(
    client: Client, analyzer: Analyzer, clip: Path, tmp_path: Path
) -> None:
    told: list[VideoState] = []
    with client.send_video(clip, fps=5) as video:
        state = video.wait(tell=told.append)
        frames = video.frames()
        table = video.save_table(tmp_path / "faces.csv")
        timeline = video.timeline()

    assert (state.state, state.progress, state.frames, state.truncated) == ("done", 1, 3, None)
    assert state.source == 'a "b".mp4'
    assert told[-1] == state
    expected = list(analyzer.stream(clip, fps=5))
    assert [frame.faces for frame in frames] == [frame.faces for frame in expected]
    assert pyarrow.csv.read_csv(table).num_rows == sum(len(frame.faces) for frame in frames)
    assert timeline.summary()[0].shares["sad"] == pytest.approx(1)
    with pytest.raises(ServiceError, match="no video of this id") as caught:
        client.video(video.id).state()
    assert caught.value.status == 404, "the block's end deletes it"


def test_bytes_and_an_id_kept(client: Client, clip: Path) -> None:
    kept = client.send_video(clip.read_bytes()).id

    assert client.video(kept).wait().source == "video"
    with pytest.raises(ValueError, match="ends in"):
        client.video(kept).save_table("faces.xls")
    client.video(kept).cancel()
    client.video(kept).cancel()


def test_what_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.mp4: cannot be read"):
        client.send_video(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="video: cannot be read as a video"):
        client.send_video(b"no video")
    with pytest.raises(ValueError, match="fps"):
        client.send_video(b"", fps=0)
    # Far more than the sockets hold: the answer comes while it is still being sent.
    with pytest.raises(ServiceError, match="more than 2,000,000 bytes") as caught:
        client.send_video(bytes(50_000_000))
    assert caught.value.status == 413


def test_waiting_has_an_end_and_cancel_stops_it(
    gated: Analyzer, gate: Any, clip: Path, tmp_path: Path
) -> None:
    settings = ServiceSettings(threads=1, max_videos=1, video_folder=tmp_path)
    with serving(settings, gated) as url:
        client = Client(url, retries=0)
        with client.send_video(clip) as video:
            assert gate.entered.acquire(timeout=20)
            with pytest.raises(ServiceError, match="not read within 0 s"):
                video.wait(timeout_s=0)
            with pytest.raises(ServiceError, match="not read yet"):
                video.frames()
            with pytest.raises(ServiceError, match="as many videos") as caught:
                client.send_video(clip)
            assert caught.value.status == 429
        gate.opened.set()
        end = time.monotonic() + 20
        while list(tmp_path.iterdir()):
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_clip_that_failed_is_raised(analyzer: Analyzer, clip: Path) -> None:
    settings = ServiceSettings(threads=1, video_timeout_s=1e-6)
    with serving(settings, analyzer) as url, Client(url).send_video(clip) as video:
        with pytest.raises(ServiceError, match="not read in time") as caught:
            video.wait()
        assert caught.value.status == 504


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Answer so many requests, one a connection, and yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for sent in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        yield address_of(listener)
        thread.join()


def test_an_answer_that_is_none() -> None:
    bodies = [b'{"id": "x"}', b'{"id": "x", "state": "asleep"}']
    with answering(*(b"HTTP/1.0 200 OK\r\n\r\n" + body for body in bodies)) as url:
        for _ in bodies:
            with pytest.raises(ServiceError, match="not an answer of mien's service"):
                Client(url).video("x").state()


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 100\r\n\r\nsource,fra",
        b"Content-Length: 100\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n64\r\nsource,fra",
    ],
)
def test_a_table_that_breaks_off_replaces_no_older_one(answer: bytes, tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("older")

    with (
        answering(b"HTTP/1.1 200 OK\r\n" + answer) as url,
        pytest.raises(ServiceError, match="the answer broke off"),
    ):
        Client(url).video("x").save_table(table)

    assert table.read_text() == "older"
    assert list(tmp_path.iterdir()) == [table]
