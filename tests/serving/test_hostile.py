"""Made-up requests and pictures: whatever comes, the service itself never fails."""

import base64
from typing import Any, cast

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mien.analysis.analyzer import Analyzer
from mien.serving.app import create_app
from mien.serving.settings import ServiceSettings

bounded = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
POSITIVE = schemathesis.GenerationMode.POSITIVE
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def test_what_its_own_schema_allows_and_forbids(analyzer: Analyzer) -> None:
    app = create_app(ServiceSettings(threads=1, max_pixels=100_000), analyzer=analyzer)
    service = app.state.service
    service.open()
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    operations: list[Any] = [found.ok() for found in cast(Any, schema.get_all_operations())]
    assert len(operations) == 11
    for operation in operations:
        # What takes nothing cannot be asked wrongly.
        modes = list(schemathesis.GenerationMode) if operation.method == "post" else [POSITIVE]
        for mode in modes:

            @bounded
            @given(operation.as_strategy(generation_mode=mode))
            def attack(case: Any) -> None:
                case.call_and_validate(checks=CHECKS)

            attack()
    service.close()


@bounded
@given(st.data())
def attack_with_pictures(client: TestClient, photo: bytes, data: st.DataObject) -> None:
    """Send a damaged picture under a name of any kind."""
    picture = bytearray(photo[: data.draw(st.integers(0, len(photo)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if picture:
            picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    name = data.draw(st.text(max_size=300))
    sent = {"pictures": [{"name": name, "data": base64.b64encode(picture).decode()}]}
    response = client.post("/v1/analyze", json=sent)
    assert response.status_code in (200, 422), response.text


def test_damaged_pictures(client: TestClient, photo: bytes) -> None:
    attack_with_pictures(client, photo)


@bounded
@given(st.binary(max_size=400), st.sampled_from(["B", "\x7f", "b" * 71]))
def attack_with_forms(client: TestClient, body: bytes, boundary: str) -> None:
    """Send anything for a form."""
    content = f"--{boundary}\r\nContent-Disposition: form-data; ".encode() + body
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    response = client.post("/v1/analyze", content=content, headers=headers)
    assert response.status_code in (400, 413, 422), response.text


def test_damaged_forms(client: TestClient) -> None:
    attack_with_forms(client)


@pytest.mark.parametrize("header", ["multipart/form-data; boundary=", "a/b;" * 500, ";;;", "é"])
def test_odd_content_types(client: TestClient, header: str) -> None:
    headers = {b"Content-Type": header.encode("latin-1")}
    assert client.post("/v1/analyze", content=b"x", headers=headers).status_code in (400, 415)
