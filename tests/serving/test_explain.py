import base64
import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from mien.analysis.analyzer import Analyzer
from mien.analysis.media import read_picture
from mien.serving.schema import ExplainAnswer


def test_a_face_is_explained(client: TestClient, analyzer: Analyzer, photo: bytes) -> None:
    response = client.post("/v1/explain", files={"picture": ("a.jpg", photo)})

    assert response.status_code == 200, response.text
    answer = ExplainAnswer.model_validate(response.json())
    assert answer.expression == "sad"
    # This model says the same whatever it sees.
    assert np.asarray(answer.falls).shape == (48, 48)
    assert not np.asarray(answer.falls).any()
    crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.crop_png))))
    (expected,) = analyzer.frame(read_picture(photo)).crops_gray
    assert (crop == expected).all()


@pytest.mark.parametrize(
    ("sent", "query", "kind"),
    [
        (["photo"], "?face=1", "no-such-face"),
        (["nobody"], "", "no-such-face"),
        (["bad"], "", "picture-unreadable"),
        (["photo", "photo"], "", "too-many-pictures"),
        (["photo"], "?face=-1", "invalid"),
    ],
)
def test_what_cannot_be_explained(
    client: TestClient, photo: bytes, nobody: bytes, sent: list[str], query: str, kind: str
) -> None:
    data = {"photo": photo, "nobody": nobody, "bad": b"no"}
    files = [("picture", (name, data[name])) for name in sent]
    response = client.post(f"/v1/explain{query}", files=files)

    assert response.status_code == 422
    assert response.json()["type"] == f"urn:mien:problem:{kind}"
