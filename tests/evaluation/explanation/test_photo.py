import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from mien.analysis.analyzer import Analyzer
from mien.data.dataset import ExpressionDataset
from mien.errors import ModelError
from mien.evaluation.calibration.calibrate import calibrate, write_calibration
from mien.evaluation.explanation import explain_photo
from mien.metadata import ModelMetadata


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "face.png"
    Image.fromarray(skimage.data.astronaut()[:200, 120:360]).save(path)
    return path


def test_the_embedded_model_is_explained_on_the_face_it_reads(photo: Path) -> None:
    (read,) = Analyzer().analyze(photo).faces
    (one,) = explain_photo(photo)

    assert one.face.box_xyxy == read.box_xyxy
    assert one.expression == one.face.expression == read.expression
    assert one.probability == pytest.approx(read.confidence, abs=0.01)
    (found,) = one.maps
    assert found.method == "grad-cam"
    assert found.values.max() == 1
    assert found.deletion.highlighted[0] == pytest.approx(one.probability, abs=1e-4)
    assert one.to_dict()["deletion"]["grad-cam"]["count"] == 1


def test_a_run_and_its_export_explain_alike_what_is_asked_for(
    photo: Path, trained: Path, exported: Path
) -> None:
    (run,), (onnx_file,) = (
        explain_photo(photo, model, methods=("occlusion", "grad-cam"), expression="fear")
        for model in (trained, exported)
    )

    assert run.expression == onnx_file.expression == "fear"
    assert run.probability == run.face.probabilities["fear"]
    np.testing.assert_array_equal(run.crop_gray, onnx_file.crop_gray)
    for one, other in zip(run.maps, onnx_file.maps, strict=True):
        assert one.method == other.method
        np.testing.assert_allclose(one.values, other.values, atol=1e-2)


def test_any_onnx_model_is_explained_by_occlusion(
    photo: Path, tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    model = write_model(tmp_path / "foreign.onnx")

    (one,) = explain_photo(photo, model, methods=("occlusion",), whole_image=True)

    assert one.face.box_xyxy == (0, 0, 240, 200)
    assert one.maps[0].values.any()
    with pytest.raises(ModelError, match="occlusion"):
        explain_photo(photo, model)
    with pytest.raises(ModelError, match="did you mean 'happy'"):
        explain_photo(photo, model, methods=("occlusion",), expression="hapy")


def test_no_face_is_an_empty_result(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / "nobody.png")

    assert explain_photo(tmp_path / "nobody.png") == ()


def test_an_uncertain_face_is_explained_as_its_most_probable_expression(
    photo: Path, tmp_path: Path, write_model: Callable[..., Path], model_facts: ModelMetadata
) -> None:
    facts = replace(model_facts, uncertain_below=1.0)
    model = write_model(tmp_path / "shy.onnx", strings=facts.to_strings())

    (one,) = explain_photo(photo, model, methods=("occlusion",), whole_image=True)

    assert one.face.expression == "uncertain"
    assert one.expression == one.face.probabilities.top


def test_a_run_has_its_own_bound_and_not_that_of_the_model_that_finds_its_faces(
    photo: Path, trained: Path, tmp_path: Path, faces: ExpressionDataset
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (before,) = explain_photo(photo, run, methods=("occlusion",), whole_image=True)
    write_calibration(calibrate(run, faces, uncertain_below=0.99), run)
    (after,) = explain_photo(photo, run, methods=("occlusion",), whole_image=True)

    assert before.face.uncertain_below == 0
    assert after.face.uncertain_below == 0.99
