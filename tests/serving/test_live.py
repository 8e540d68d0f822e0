import asyncio
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from mien.analysis.analyzer import Analyzer
from mien.serving.app import create_app
from mien.serving.schema import LiveAnswer
from mien.serving.settings import ServiceSettings


def test_a_frame_is_read_as_a_picture_is(
    client: TestClient, analyzer: Analyzer, photo: bytes
) -> None:
    expected = analyzer.analyze(photo).to_dict()["faces"]
    with client.websocket_connect("/v1/live") as live:
        for number in range(2):
            live.send_bytes(photo)
            answer = live.receive_json()
            LiveAnswer.model_validate(answer)
            assert (answer["frame"], answer["dropped"], answer["problem"]) == (number, 0, None)
            assert answer["result"]["faces"] == expected


def test_only_the_newest_frame_is_read(gated: Analyzer, gate: Any, nobody: bytes) -> None:
    app = create_app(ServiceSettings(threads=1), analyzer=gated)
    with TestClient(app) as client, client.websocket_connect("/v1/live") as live:
        live.send_bytes(nobody)
        assert gate.entered.acquire(timeout=20)
        for _ in range(5):
            live.send_bytes(nobody)
        live.send_text("this one marks the end")
        _let_arrive(client)
        gate.opened.set()

        first, last = live.receive_json(), live.receive_json()

    assert (first["frame"], first["dropped"]) == (0, 0)
    assert (last["frame"], last["dropped"]) == (6, 5)
    assert last["problem"]["type"] == "urn:mien:problem:not-binary"
    assert gate.calls == 1


def _let_arrive(client: TestClient) -> None:
    """Return when the service's loop has had time for what was sent to it."""
    for _ in range(3):
        client.get("/healthz")


def test_a_bad_frame_does_not_end_the_connection(client: TestClient, nobody: bytes) -> None:
    with client.websocket_connect("/v1/live") as live:
        for bad, kind in (
            (b"", "picture-unreadable"),
            (b"no", "picture-unreadable"),
            (b"x" * 100_001, "picture-too-large"),
        ):
            live.send_bytes(bad)
            assert live.receive_json()["problem"]["type"] == f"urn:mien:problem:{kind}"
        live.send_bytes(nobody)
        assert live.receive_json()["result"]["faces"] == []


def refusal(client: TestClient, **headers: str) -> int:
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect("/v1/live", headers=headers),
    ):
        pass
    assert caught.value.headers["content-type"] == "application/problem+json"
    waits = "retry-after" in caught.value.headers
    assert waits == (caught.value.status_code in (429, 503)), "docs/how-to/call.md"
    return caught.value.status_code


def test_who_may_not_come_in(analyzer: Analyzer, nobody: bytes) -> None:
    settings = ServiceSettings(
        api_key="key", allow_origins=("https://a.example",), max_live=1, threads=1
    )
    app = create_app(settings, analyzer=analyzer)
    key = {"X-API-Key": "key"}
    with TestClient(app) as client:
        assert refusal(client) == 401
        for origin in ("https://b.example", "null", "http://[", "", "testserver"):
            assert refusal(client, Origin=origin, **key) == 403, origin
        for origin in ("https://a.example", "http://testserver"):
            headers = {**key, "Origin": origin}
            with client.websocket_connect("/v1/live", headers=headers) as live:
                assert refusal(client, **key) == 429, "one at a time"
                live.send_bytes(nobody)
                assert live.receive_json()["problem"] is None
        app.state.service.close_door()
        assert refusal(client, **key) == 503


def test_who_sends_no_frame_gives_its_place_back(analyzer: Analyzer, nobody: bytes) -> None:
    settings = ServiceSettings(max_live=1, live_idle_s=0.3, threads=1)
    app = create_app(settings, analyzer=analyzer)
    with TestClient(app) as client:
        for sent in ([], [nobody]):
            with client.websocket_connect("/v1/live") as live:
                for frame in sent:
                    live.send_bytes(frame)
                    assert live.receive_json()["problem"] is None
                # Words keep no place, though they are answered.
                live.send_text("still here")
                assert live.receive_json()["problem"]["type"].endswith("not-binary")
                closed = live.receive()
            assert closed["code"] == 3008
            assert closed["reason"] == "no frame for 0.3 s: connect again"
        assert app.state.service.live == 0


def test_who_waits_for_an_answer_is_not_idle(gated: Analyzer, gate: Any, nobody: bytes) -> None:
    app = create_app(ServiceSettings(live_idle_s=0.05, threads=1), analyzer=gated)
    with TestClient(app) as client, client.websocket_connect("/v1/live") as live:
        live.send_bytes(nobody)
        assert gate.entered.acquire(timeout=20)
        threading.Timer(0.2, gate.opened.set).start()
        assert live.receive_json()["problem"] is None


def test_who_leaves_before_the_answer_breaks_nothing(analyzer: Analyzer, nobody: bytes) -> None:
    app = create_app(ServiceSettings(threads=1), analyzer=analyzer)
    frame = {"type": "websocket.receive", "bytes": nobody}
    messages: list[Any] = [{"type": "websocket.connect"}, frame]
    scope = {"type": "websocket", "path": "/v1/live", "headers": [], "query_string": b""}

    async def receive() -> Any:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise OSError("gone")

    async def main() -> None:
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    asyncio.run(asyncio.wait_for(main(), 20))

    service = app.state.service
    assert (service.live, service.admission.bytes, service.admission.pictures) == (0, 0, 0)


def test_the_end_of_the_service_ends_it(gated: Analyzer, gate: Any, nobody: bytes) -> None:
    app = create_app(ServiceSettings(threads=1), analyzer=gated)
    with TestClient(app) as client, client.websocket_connect("/v1/live") as live:
        live.send_bytes(nobody)
        assert gate.entered.acquire(timeout=20)
        app.state.service.close_door()
        threading.Timer(0.05, gate.opened.set).start()
        assert live.receive_json()["problem"] is None, "what was taken on is finished"
        assert live.receive()["code"] == 1012
