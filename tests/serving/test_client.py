"""The client against servers that answer as they like; the real service is in test_server.py."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mien.errors import MediaError, ServiceError
from mien.serving.client import Client


class Scripted(BaseHTTPRequestHandler):
    """Gives the answers that its server holds, one a request."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        server: Any = self.server
        server.asked += 1
        status, headers, body = server.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.asked, server.answers = 0, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


RESULT = {"source": "bytes 0", "size_wh": [4, 3], "faces": []}
GOOD = json.dumps({"pictures": [{"result": RESULT, "problem": None}]}).encode()
BUSY = (429, {"Retry-After": "0"}, b'{"type": "urn:mien:problem:busy", "detail": "busy"}')


def test_it_comes_back_when_it_is_told_to(server: Any) -> None:
    server.answers = [BUSY, (503, {"Retry-After": "0"}, b"proxy"), (200, {}, GOOD)]

    assert Client(server.url).analyze(b"x").size_wh == (4, 3)
    assert server.asked == 3


def test_it_follows_nowhere_else(server: Any) -> None:
    elsewhere = f"http://localhost:{server.server_port}/v1/analyze"
    for status in (301, 302, 307, 308):
        server.answers = [(status, {"Location": elsewhere}, b"")]

        with pytest.raises(ServiceError, match=f"redirects to {elsewhere}"):
            Client(server.url, api_key="secret").analyze(b"x")
    assert server.asked == 4, "the key went no further"


def test_it_gives_up_in_the_end(server: Any) -> None:
    server.answers = [BUSY] * 3

    with pytest.raises(ServiceError, match="busy") as caught:
        Client(server.url, retries=2).analyze(b"x")

    assert (caught.value.status, server.asked) == (429, 3)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>", "not an answer of mien's service"),
        (200, b"[]", "not an answer of mien's service"),
        (200, b'{"pictures": [{}]}', "not an answer of mien's service"),
        (200, b'{"pictures": []}', "not an answer of mien's service"),
        (502, b"<html>", "502"),
        (413, b'{"type": "about:blank", "detail": "too large"}', "too large"),
    ],
)
def test_an_answer_that_is_none(server: Any, status: int, body: bytes, reason: str) -> None:
    server.answers = [(status, {}, body)]

    with pytest.raises(ServiceError, match=reason):
        Client(server.url).analyze(b"x")


def test_nobody_there() -> None:
    with pytest.raises(ServiceError, match="cannot be reached"):
        Client("http://127.0.0.1:1").analyze(b"x")
    with pytest.raises(MediaError, match=r"none\.jpg: cannot be read: No such file"):
        Client("http://127.0.0.1:1").analyze("none.jpg")


def test_arguments() -> None:
    with pytest.raises(ValueError, match="http"):
        Client("localhost:8000")
    with pytest.raises(ValueError, match="retries"):
        Client("http://localhost", retries=-1)
    assert "sesame" not in repr(Client("http://localhost/", api_key="sesame"))
