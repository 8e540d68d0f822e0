import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from mien.analysis.analyzer import Analyzer
from mien.serving.app import create_app
from mien.serving.settings import ServiceSettings


def encoded(*pictures: bytes) -> dict[str, Any]:
    return {"pictures": [{"data": base64.b64encode(data).decode()} for data in pictures]}


def assert_problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["status"]) == (status, status), problem
    assert problem["type"] == f"urn:mien:problem:{kind}"
    assert problem["title"]
    assert problem["detail"]
    return problem


def test_files_and_json_give_what_python_gives(
    client: TestClient, analyzer: Analyzer, photo: bytes, nobody: bytes
) -> None:
    files = [("picture", ("me.jpg", photo)), ("other", ("nobody.jpg", nobody))]
    sent = client.post("/v1/analyze", files=files).json()
    named = [
        {**picture, "name": name}
        for picture, name in zip(
            encoded(photo, nobody)["pictures"], ("me.jpg", "nobody.jpg"), strict=True
        )
    ]
    in_json = client.post("/v1/analyze", json={"pictures": named}).json()

    expected = [analyzer.analyze(data).to_dict() for data in (photo, nobody)]
    expected[0]["source"], expected[1]["source"] = "me.jpg", "nobody.jpg"
    assert [picture["result"] for picture in sent["pictures"]] == expected
    assert in_json == sent
    assert sent["model"] == {"name": "tiny", "version": "0"}


def test_pictures_are_counted_where_they_have_no_name(client: TestClient, nobody: bytes) -> None:
    answer = client.post("/v1/analyze", json=encoded(nobody, nobody)).json()

    assert [picture["result"]["source"] for picture in answer["pictures"]] == [
        "picture 0",
        "picture 1",
    ]


def test_options(client: TestClient, nobody: bytes) -> None:
    answer = client.post(
        "/v1/analyze?whole_image=true&annotate=true", files={"picture": ("a.jpg", nobody)}
    ).json()

    (picture,) = answer["pictures"]
    assert picture["result"]["faces"][0]["expression"] == "sad"
    with Image.open(io.BytesIO(base64.b64decode(picture["annotated_jpeg"]))) as drawn:
        assert min(drawn.size) >= 240, "enlarged for its label"
    assert_problem(client.post("/v1/analyze?annotate=maybe"), 422, "invalid")


def test_one_picture_of_several_that_cannot_be_read(client: TestClient, nobody: bytes) -> None:
    answer = client.post("/v1/analyze", json=encoded(nobody, b"hello")).json()

    first, second = answer["pictures"]
    assert first["problem"] is None
    assert second["result"] is None
    assert second["problem"]["type"] == "urn:mien:problem:picture-unreadable"
    assert "picture 1" in second["problem"]["detail"]


def test_no_picture_that_can_be_read(client: TestClient) -> None:
    alone = client.post("/v1/analyze", files={"picture": ("a.jpg", b"hello")})
    problem = assert_problem(alone, 422, "picture-unreadable")
    assert problem["detail"] == "a.jpg: not a picture in a format that can be read"

    several = client.post("/v1/analyze", json=encoded(b"hello", b""))
    told = assert_problem(several, 422, "picture-unreadable")["pictures"]
    assert len(told) == 2


def part(name: str, data: bytes) -> bytes:
    disposition = f'Content-Disposition: form-data; name="p"; filename="{name}"'
    return b"--B\r\n" + disposition.encode() + b"\r\n\r\n" + data + b"\r\n"


FORM = "multipart/form-data; boundary=B"
JSON = "application/json"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "kind"),
    [
        ("", b"", 415, "unsupported-media-type"),
        ("image/jpeg", b"x", 415, "unsupported-media-type"),
        ("application/x-www-form-urlencoded", b"a=b", 415, "unsupported-media-type"),
        ("multipart/form-data", b"--B--", 400, "malformed"),
        (FORM, b"", 400, "malformed"),
        (FORM, b"nonsense", 400, "malformed"),
        (FORM, b"--B--\r\n", 422, "no-picture"),
        (FORM, part("a", b"12")[:-4], 400, "malformed"),
        (FORM, b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n1', 422, "not-a-file"),
        (FORM, b"--B\r\nX: " + b"y" * 200_000, 400, "malformed"),
        (FORM, part("a", b"") * 1000 + b"--B--\r\n", 422, "too-many-pictures"),
        (FORM, part("a", b"x" * 100_001) + b"--B--\r\n", 413, "picture-too-large"),
        (FORM, part("a", b"x" * 90_000) * 4 + b"--B--\r\n", 413, "request-too-large"),
        (FORM, part('\xff"; filename*=x', b"1") + b"--B--\r\n", 422, "picture-unreadable"),
        (JSON, b"", 400, "malformed"),
        (JSON, b"{", 400, "malformed"),
        (JSON, b"\xff\xfe", 400, "malformed"),
        (JSON, b"[" * 100_000, 400, "malformed"),
        (JSON, b"NaN", 422, "invalid"),
        (JSON, b"{}", 422, "invalid"),
        (JSON, b'{"pictures": []}', 422, "invalid"),
        (JSON, b'{"pictures": [{"data": NaN}]}', 422, "invalid"),
        (JSON, b'{"pictures": [{"data": "a"}]}', 422, "invalid"),
        (JSON, b'{"pictures": [{"data": "%%%%"}]}', 422, "invalid"),
        (JSON, '{"pictures": [{"data": "é"}]}'.encode(), 422, "invalid"),
        (JSON, b'{"pictures": [{"data": "", "name": "\\ud800"}]}', 400, "malformed"),
        (JSON, b'{"pictures": [{"data": "", "extra": 1}]}', 422, "invalid"),
        (JSON, json.dumps(encoded(*[b""] * 5)).encode(), 422, "too-many-pictures"),
        (JSON, b'{"pictures": [' + b"{}," * 90_000 + b"{}]}", 422, "too-many-pictures"),
        (JSON, json.dumps(encoded(b"x" * 100_001)).encode(), 413, "picture-too-large"),
        (JSON, b" " * 300_001, 413, "request-too-large"),
    ],
)
def test_a_hostile_body_is_a_problem(
    client: TestClient, content_type: str, body: bytes, status: int, kind: str
) -> None:
    response = client.post("/v1/analyze", content=body, headers={"Content-Type": content_type})

    problem = assert_problem(response, status, kind)
    assert len(problem["detail"]) < 300, "what was sent is not sent back"


def test_a_declared_length_is_not_believed(client: TestClient, small_limits: Any) -> None:
    def endless() -> Any:
        yield from (b"x" * 50_000 for _ in range(100))

    headers = {"Content-Type": JSON, "Content-Length": "10"}
    response = client.post("/v1/analyze", content=endless(), headers=headers)

    assert_problem(response, 413, "request-too-large")


def test_pictures_hidden_as_something_else(client: TestClient) -> None:
    wide = io.BytesIO()
    Image.new("1", (30_000, 1000)).save(wide, "PNG")
    assert len(wide.getvalue()) < 10_000
    response = client.post("/v1/analyze", files={"picture": ("bomb.png", wide.getvalue())})

    problem = assert_problem(response, 422, "picture-unreadable")
    assert "megapixels" in problem["detail"]


def run(
    analyzer: Analyzer,
    settings: ServiceSettings,
    talk: Callable[[httpx.AsyncClient, FastAPI], Awaitable[None]],
) -> None:
    """Start a service in this process, talk to it, and end it."""

    async def main() -> None:
        app = create_app(settings, analyzer=analyzer)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            await talk(client, app)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_too_much_at_once_is_put_off(gated: Analyzer, gate: Any, nobody: bytes) -> None:
    async def talk(client: httpx.AsyncClient, app: FastAPI) -> None:
        body = encoded(nobody)
        first = asyncio.ensure_future(client.post("/v1/analyze", json=body))
        await asyncio.to_thread(gate.entered.acquire)

        second = await client.post("/v1/analyze", json=body)
        assert_problem(second, 429, "busy")
        assert int(second.headers["retry-after"]) >= 1
        assert "mien_waiting_pictures 1.0" in (await client.get("/metrics")).text

        gate.opened.set()
        assert (await first).status_code == 200
        assert (await client.post("/v1/analyze", json=body)).status_code == 200

    run(gated, ServiceSettings(threads=1, max_pictures=1, max_waiting_pictures=1), talk)


def test_bytes_of_all_requests_together_are_limited(
    gated: Analyzer, gate: Any, nobody: bytes
) -> None:
    async def talk(client: httpx.AsyncClient, app: FastAPI) -> None:
        first = asyncio.ensure_future(client.post("/v1/analyze", json=encoded(nobody)))
        await asyncio.to_thread(gate.entered.acquire)
        assert_problem(await client.post("/v1/analyze", json=encoded(nobody)), 429, "busy")
        gate.opened.set()
        assert (await first).status_code == 200

    run(gated, ServiceSettings(threads=1, max_request_bytes=1500, max_waiting_bytes=1500), talk)


def test_what_takes_too_long_is_given_up(gated: Analyzer, gate: Any, nobody: bytes) -> None:
    async def talk(client: httpx.AsyncClient, app: FastAPI) -> None:
        assert_problem(await client.post("/v1/analyze", json=encoded(nobody)), 504, "too-slow")
        assert app.state.service.admission.pictures == 0
        gate.opened.set()

    run(gated, ServiceSettings(threads=1, timeout_s=0.3), talk)


def test_a_slow_body_is_given_up(analyzer: Analyzer) -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    async def talk(client: httpx.AsyncClient, app: FastAPI) -> None:
        headers = {"Content-Type": JSON}
        response = await client.post("/v1/analyze", content=drip(), headers=headers)
        assert_problem(response, 408, "too-slow")
        assert app.state.service.admission.bytes == 0

    run(analyzer, ServiceSettings(threads=1, timeout_s=0.3), talk)


def test_work_of_a_client_that_left_is_dropped(gated: Analyzer, gate: Any, nobody: bytes) -> None:
    body = json.dumps(encoded(nobody, nobody, nobody)).encode()

    async def talk(client: httpx.AsyncClient, app: FastAPI) -> None:
        said: list[Any] = []
        messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            if len(messages) == 1:
                await asyncio.to_thread(gate.entered.acquire)
            return messages.pop(0)

        async def send(message: Any) -> None:
            said.append(message)

        await app(scope("POST", "/v1/analyze"), receive, send)
        assert said[0]["status"] == 499
        assert app.state.service.admission.pictures == 0
        await asyncio.sleep(0.05)  # the loop's next turn tells the readers of it
        gate.opened.set()

    run(gated, ServiceSettings(threads=1), talk)
    assert gate.calls == 1, "the second and third were not looked at"


def scope(method: str, path: str) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    return {
        **{"type": "http", "method": method, "path": path, "raw_path": path.encode()},
        **{"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"},
    }


def test_nothing_new_is_taken_on_before_the_end(gated: Analyzer, gate: Any, nobody: bytes) -> None:
    async def talk(client: httpx.AsyncClient, app: FastAPI) -> None:
        first = asyncio.ensure_future(client.post("/v1/analyze", json=encoded(nobody)))
        await asyncio.to_thread(gate.entered.acquire)
        app.state.service.close_door()

        assert_problem(await client.post("/v1/analyze", json=encoded(nobody)), 503, "closing")
        assert_problem(await client.get("/readyz"), 503, "not-ready")
        assert (await client.get("/healthz")).status_code == 200
        gate.opened.set()
        assert (await first).status_code == 200, "what was taken on is finished"

    run(gated, replace(ServiceSettings(), threads=1), talk)


def test_a_failure_is_told_without_what_failed(
    sad_model: Any, nobody: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def detect(self, image_rgb: Any) -> Any:  # noqa: ARG002
            raise ZeroDivisionError("secret")

    async def talk(client: httpx.AsyncClient, app: FastAPI) -> None:
        response = await client.post("/v1/analyze", json=encoded(nobody))
        assert_problem(response, 500, "failed")
        assert "secret" not in response.text

    run(Analyzer(sad_model, detector=Broken(), threads=1), ServiceSettings(threads=1), talk)
    assert "reading a picture failed" in caplog.text
