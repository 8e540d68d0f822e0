import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from mien.analysis.analyzer import Analyzer
from mien.errors import ModelError
from mien.expressions import EXPRESSIONS
from mien.serving.app import create_app
from mien.serving.schema import AnalyzeAnswer, FrameResult
from mien.serving.settings import ServiceSettings


def test_the_models_facts(client: TestClient, small_limits: ServiceSettings) -> None:
    facts = client.get("/v1/model").json()

    assert facts["classes"] == list(EXPRESSIONS)
    assert (facts["name"], facts["version"], facts["input_size"]) == ("tiny", "0", 48)
    assert facts["limits"] == small_limits.limits()


def test_probes_and_what_is_not_there(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    for path in ("/", "/docs", "/v1/nothing"):
        assert client.get(path).json()["type"] == "urn:mien:problem:not-found"
    wrong = client.delete("/v1/model")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    assert wrong.headers["content-type"] == "application/problem+json"


def test_it_is_not_ready_before_its_model_is_open(analyzer: Analyzer, nobody: bytes) -> None:
    client = TestClient(create_app(analyzer=analyzer))  # not started

    assert client.get("/healthz").status_code == 200
    for response in (
        client.get("/readyz"),
        client.get("/v1/model"),
        client.post("/v1/analyze", files={"picture": ("a.jpg", nobody)}),
    ):
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"


def test_it_opens_the_model_that_its_settings_name(sad_model: Path, tmp_path: Path) -> None:
    settings = ServiceSettings(model=sad_model, uncertain_below=0.25, tta="flip", threads=1)
    with TestClient(create_app(settings)) as client:
        facts = client.get("/v1/model").json()
        assert (facts["uncertain_below"], facts["tta"]) == (0.25, "flip")
    app = create_app(ServiceSettings(model=tmp_path / "none.onnx"))
    with pytest.raises(ModelError, match="no model at"), TestClient(app):
        pass


def test_every_answer_has_the_headers_that_keep_it_safe(client: TestClient) -> None:
    for path in ("/healthz", "/nothing", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_a_failure_outside_of_reading_is_a_problem_too(analyzer: Analyzer) -> None:
    app = create_app(analyzer=analyzer)

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("secret")

    client = TestClient(app)
    answer = client.get("/broken")

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:mien:problem:failed"
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    figures = client.get("/metrics").text
    assert 'mien_requests_total{route="/broken",status="500"} 1.0' in figures


def test_other_origins_pages_are_let_in_by_name_only(
    client: TestClient, analyzer: Analyzer
) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.get("/healthz", headers=asked).headers
    settings = ServiceSettings(allow_origins=("https://a.example",))
    opened = TestClient(create_app(settings, analyzer=analyzer))

    allowed = opened.options("/v1/analyze", headers=asked)
    other = opened.get("/healthz", headers={"Origin": "https://b.example"})

    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    assert "access-control-allow-origin" not in other.headers


def test_a_key(analyzer: Analyzer, nobody: bytes) -> None:
    settings = ServiceSettings(api_key="open-sesame", threads=1)
    with TestClient(create_app(settings, analyzer=analyzer)) as client:
        for headers in (
            {},
            {"X-API-Key": ""},
            {"X-API-Key": "open"},
            {"Authorization": "Basic open"},
            {"Authorization": "Bearer open"},
        ):
            for path in ("/v1/model", "/metrics"):
                refused = client.get(path, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
                assert refused.json()["type"] == "urn:mien:problem:no-key"
            assert client.post("/v1/analyze", headers=headers).status_code == 401
        for name, value in (("X-API-Key", "open-sesame"), ("Authorization", "Bearer open-sesame")):
            assert client.get("/v1/model", headers={name: value}).status_code == 200
        assert client.get("/readyz").status_code == 200, "a probe has no key"
        schemes = client.get("/openapi.json").json()["components"]["securitySchemes"]
        assert {scheme["type"] for scheme in schemes.values()} == {"apiKey", "http"}


def test_figures(analyzer: Analyzer, photo: bytes) -> None:
    with TestClient(create_app(ServiceSettings(threads=1), analyzer=analyzer)) as client:
        client.post("/v1/analyze", files=[("p", ("a", photo)), ("p", ("b", b"no"))])
        client.get("/not/a/route/7")
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/not/a/route/8"):
            pass
        text = client.get("/metrics").text

    for line in (
        'mien_requests_total{route="/v1/analyze",status="200"} 1.0',
        'mien_requests_total{route="other",status="404"} 1.0',
        'mien_requests_total{route="other",status="403"} 1.0',
        'mien_request_seconds_count{route="/v1/analyze"} 1.0',
        'mien_pictures_total{outcome="read"} 1.0',
        'mien_pictures_total{outcome="unreadable"} 1.0',
        "mien_batch_faces_sum 1.0",
        "mien_faces_total 1.0",
        "mien_waiting_pictures 0.0",
        "mien_waiting_bytes 0.0",
    ):
        assert line in text.splitlines(), text


def test_a_line_of_the_log_tells_numbers_and_no_name(
    client: TestClient, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mien"):
        client.post("/v1/analyze?secret=1", files={"picture": ("Jane Doe.jpg", photo)})

    (line,) = [record.getMessage() for record in caplog.records if "route=" in record.getMessage()]
    assert line.startswith("route=/v1/analyze status=200 ms=")
    assert line.endswith("pictures=1 faces=1")
    assert "Jane" not in caplog.text
    assert "secret" not in caplog.text


def test_openapi_is_whole_and_its_examples_are_right(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()

    schemas = schema["components"]["schemas"]
    for name in _references(schema):
        assert name in schemas
    assert {"AnalyzeBody", "LiveAnswer", "FrameResult", "ProblemDetails"} <= set(schemas)
    FrameResult.model_validate(schemas["FrameResult"]["examples"][0])
    AnalyzeAnswer.model_validate(schemas["AnalyzeAnswer"]["examples"][0])
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert "HTTPValidationError" not in str(operation["responses"]), path


def _references(value: object) -> set[str]:
    """Return the names of the schemas that are referred to anywhere in a JSON value."""
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"].removeprefix("#/components/schemas/")} if "$ref" in value else set()
    return own.union(*map(_references, value.values()))
