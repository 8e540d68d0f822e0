"""The service as its users have it: a process of its own, called from outside."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mien.analysis.analyzer import Analyzer
from mien.errors import MediaError, ServiceError
from mien.serving.client import Client
from mien.serving.server import address_of, bind, serve
from mien.serving.settings import ServiceSettings

WAIT_S = 120


@contextmanager
def serving(*options: str, port: int = 0, **more: str) -> Iterator[tuple[Any, str]]:
    """Start ``mien serve``, by default at any free port, and yield its process and address.

    What is named beside the options goes into its environment.
    """
    command = [sys.executable, "-m", "mien", "serve", "--port", str(port), "--threads", "1"]
    command += options
    environment = {**os.environ, "MIEN_API_KEY": "sesame", **more}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.fullmatch(r"serving at (http://127\.0\.0\.1:\d+); Ctrl-C stops\n", line)
        assert found, line + process.stderr.read()
        yield process, found[1]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def url(sad_model: Path) -> Iterator[str]:
    """A running service that others use too."""
    with serving("--model", str(sad_model), "--no-page", "--max-picture-mb", "0.1") as (_, url):
        yield url


def test_the_client_gives_what_the_analyzer_gives(
    url: str, analyzer: Analyzer, photo: bytes, nobody: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "me.jpg"
    path.write_bytes(photo)
    client = Client(url, api_key="sesame")

    assert client.analyze(path).faces == analyzer.analyze(photo).faces
    assert client.analyze(path).source == "me.jpg"
    if sys.platform == "linux":  # elsewhere names are text
        foreign = tmp_path / os.fsdecode(b"caf\xe9.jpg")
        foreign.write_bytes(photo)
        assert client.analyze(foreign).source == "caf?.jpg"
    assert client.analyze(nobody, whole_image=True).expression == "sad"
    assert [len(result.faces) for result in client.analyze_many([nobody, photo])] == [0, 1]
    assert client.model()["name"] == "tiny"


def test_the_client_tells_what_is_wrong(url: str, photo: bytes) -> None:
    client = Client(url, api_key="sesame")
    with pytest.raises(MediaError, match="bytes 1: not a picture"):
        client.analyze_many([photo, b"hello"])
    with pytest.raises(MediaError, match="bytes 0: not a picture"):
        client.analyze(b"hello")
    with pytest.raises(ServiceError, match="X-API-Key") as caught:
        Client(url).analyze(photo)
    assert caught.value.status == 401
    with pytest.raises(ServiceError, match="more than 100,000 bytes"):
        client.analyze(b"x" * 100_001)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(url: str, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    key = ["-H", "X-API-Key: sesame"]
    asked = ["curl", "-sS", *key, "-F", "picture=@photo.jpg", f"{url}/v1/analyze"]
    answer = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)

    (picture,) = json.loads(answer.stdout)["pictures"]
    assert picture["result"]["source"] == "photo.jpg"
    assert picture["result"]["faces"][0]["expression"] == "sad"


def test_headers_without_end_are_not_kept(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=WAIT_S) as flood:
        flood.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")
        with pytest.raises(OSError, match=r"reset|pipe"):
            flood.sendall((b"X: " + b"y" * 1000 + b"\r\n") * 50_000)
    assert '"ok"' in _get(url, "/healthz")


def test_what_is_in_flight_is_finished(sad_model: Path, nobody: bytes) -> None:
    body = b'--B\r\nContent-Disposition: form-data; name="p"; filename="a.jpg"\r\n\r\n' + nobody
    body += b"\r\n--B--\r\n"
    # With the page, as by default.
    with serving("--model", str(sad_model), "--tta", "flip") as (process, url):
        host, port = url.removeprefix("http://").split(":")
        idle = http.client.HTTPConnection(host, int(port), timeout=WAIT_S)
        idle.request("GET", "/readyz")
        assert idle.getresponse().read() == b'{"status":"ready"}'
        assert Client(url, api_key="sesame").model()["tta"] == "flip"
        sending = http.client.HTTPConnection(host, int(port), timeout=WAIT_S)
        sending.putrequest("POST", "/v1/analyze")
        sending.putheader("Content-Type", "multipart/form-data; boundary=B")
        sending.putheader("X-API-Key", "sesame")
        sending.putheader("Content-Length", str(len(body)))
        sending.endheaders(body[:100])
        time.sleep(0.3)

        process.send_signal(signal.SIGTERM)
        _wait_until_closed(host, int(port))
        sending.send(body[100:])

        response = sending.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["pictures"][0]["problem"] is None
        sending.close()
        idle.close()
        assert process.wait(WAIT_S) == 0
        assert process.stderr is not None
        log = process.stderr.read()
        assert "route=/v1/analyze status=200" in log
        assert "Traceback" not in log


def _wait_until_closed(host: str, port: int) -> None:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("it still accepts connections")


def test_several_workers_count_together_and_end_together(sad_model: Path, nobody: bytes) -> None:
    with serving("--model", str(sad_model), "--no-page", "--workers", "2") as (process, url):
        client = Client(url, api_key="sesame", timeout_s=WAIT_S)
        for _ in range(8):
            client.analyze(nobody)
        figures = _get(url, "/metrics")
        assert 'mien_requests_total{route="/v1/analyze",status="200"} 8.0' in figures
        process.kill()
        _wait_until_closed("127.0.0.1", int(url.rpartition(":")[2]))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it looks into processes")
def test_killed_under_load_it_goes_on_or_starts_again(
    sad_model: Path, nobody: bytes, write_clip: Callable[..., Path], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", nobody, frames=3000)
    place = tmp_path / "temporary"
    place.mkdir()
    model = ("--model", str(sad_model), "--no-page")
    with serving(*model, "--workers", "2", TMPDIR=str(place)) as (process, url):
        client = Client(url, api_key="sesame", timeout_s=WAIT_S)
        video = client.send_video(clip)
        os.kill(_reader_of(video.id, process.pid), signal.SIGKILL)

        assert client.analyze(nobody, whole_image=True).expression == "sad", "the other goes on"
        with pytest.raises(ServiceError, match="was killed or ran out of disk"):
            video.wait(timeout_s=WAIT_S)
        assert not list(place.rglob("upload"))

        replaced = r"WARNING worker \d+ died, exit code -9: \d+ takes its place"
        assert any(re.search(replaced, line) for line in process.stderr), "until it is told"
        client.send_video(clip)
        with ThreadPoolExecutor() as pool:
            load = [pool.submit(_ask_until_refused, client, nobody) for _ in range(4)]
            time.sleep(0.3)
            process.kill()
            process.wait()
            assert all("reached" in asked.result() for asked in load)

    port = int(url.rpartition(":")[2])
    _wait_until_closed("127.0.0.1", port)
    with serving(*model, port=port, TMPDIR=str(place)) as (_, url):
        client = Client(url, api_key="sesame", timeout_s=WAIT_S)
        assert client.analyze(nobody, whole_image=True).expression == "sad"
        (folder,) = place.glob("mien-*")
        assert [path.name for path in folder.iterdir()] == ["in-use"], "of the dead nothing is left"


def _reader_of(video_id: str, supervisor: int) -> int:
    """Return the worker that holds a clip, as soon as there is one."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        for child in children:
            files = Path(f"/proc/{child}/fd").iterdir()
            if any(video_id in str(file.readlink()) for file in files if file.is_symlink()):
                return int(child)
        time.sleep(0.05)
    pytest.fail("nobody reads it")


def _ask_until_refused(client: Client, picture: bytes) -> str:
    while True:
        try:
            assert client.analyze(picture, whole_image=True).expression == "sad"
        except ServiceError as error:
            return str(error)


def _get(url: str, path: str) -> str:
    connection: Any = http.client.HTTPConnection(url.removeprefix("http://"), timeout=WAIT_S)
    connection.request("GET", path, headers={"Authorization": "Bearer sesame"})
    text: str = connection.getresponse().read().decode()
    connection.close()
    return text


@pytest.mark.parametrize("workers", [1, 2])
def test_without_a_temporary_folder_nothing_is_started(
    analyzer: Analyzer, workers: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with bind("127.0.0.1", 0) as listener, pytest.raises(FileNotFoundError, match="none"):
        serve(ServiceSettings(threads=1), listener, analyzer, workers=workers)


def test_several_workers_are_refused_on_windows(
    analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with bind("127.0.0.1", 0) as listener, pytest.raises(ServiceError, match="Linux or macOS"):
        serve(ServiceSettings(), listener, analyzer, workers=2)


def test_a_port_in_use_and_an_address_of_another_machine() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert address_of(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(ServiceError, match=f"port {port} of 127.0.0.1 is in use"):
            bind("127.0.0.1", port)
    with pytest.raises(ServiceError, match=r"192\.0\.2\.1"):
        bind("192.0.2.1", 0)
    with pytest.raises(ServiceError, match="no name of a machine"):
        bind("é" * 70, 0)
