import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.analysis import analyzer as analyzer_module
from mien.analysis.analyzer import Analyzer, analyze
from mien.analysis.classifier import ExpressionClassifier
from mien.analysis.detector import Detections, WholeImageDetector
from mien.analysis.media import Source
from mien.errors import MediaError, ModelError
from mien.expressions import EXPRESSIONS, UNCERTAIN
from mien.metadata import ModelMetadata
from mien.preprocess import crop_box
from mien.results import FrameResult

ImageRgb = npt.NDArray[np.uint8]


class FixedDetector:
    """Finds faces at given boxes, whatever the picture."""

    def __init__(self, *boxes: tuple[float, float, float, float]) -> None:
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)

    def detect(self, image_rgb: ImageRgb) -> Detections:
        assert image_rgb.shape[2] == 3
        points = np.zeros((len(self.boxes), 5, 2), np.float32)
        return Detections(self.boxes, np.full(len(self.boxes), 0.9, np.float32), points)


def values(result: FrameResult) -> npt.NDArray[np.float64]:
    assert result.probabilities is not None
    return np.array(list(result.probabilities.values()))


def test_reads_a_real_face(analyzer: Analyzer, astronaut_rgb: ImageRgb) -> None:
    result = analyzer.analyze(astronaut_rgb, colour="rgb")
    assert (result.source, result.size_wh) == ("array", (512, 512))
    face = result.faces[0]
    assert face.expression in EXPRESSIONS
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert face.score > 0.99
    assert face.landmarks is not None
    np.testing.assert_allclose(face.landmarks[0], (204, 101), atol=4)
    assert [face.area for face in result.faces] == sorted(
        (face.area for face in result.faces), reverse=True
    )


def test_the_way_a_picture_comes_makes_no_difference(
    analyzer: Analyzer, astronaut_rgb: ImageRgb, tmp_path: Path
) -> None:
    image = Image.fromarray(astronaut_rgb)
    image.save(tmp_path / "face.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    faces = analyzer.analyze(astronaut_rgb, colour="rgb").faces
    for source in (tmp_path / "face.png", tmp_path / "turned.png", image):
        assert analyzer.analyze(source).faces == faces
    bgr = np.ascontiguousarray(astronaut_rgb[:, :, ::-1])
    assert analyzer.analyze(bgr, colour="bgr").faces == faces


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "16 bits", "animated"])
def test_every_format_gives_the_same_face(
    analyzer: Analyzer, astronaut_rgb: ImageRgb, tmp_path: Path, mode: str
) -> None:
    image = Image.fromarray(astronaut_rgb)
    path = tmp_path / "face.tif"
    if mode == "16 bits":
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
    elif mode == "animated":
        path = tmp_path / "face.gif"
        image.save(path, save_all=True, append_images=[Image.new("RGB", image.size)])
    else:
        image.convert(mode).save(path)
    result = analyzer.analyze(path)
    near = analyzer.analyze(image)
    np.testing.assert_allclose(result.faces[0].box_xyxy, near.faces[0].box_xyxy, atol=8)
    np.testing.assert_allclose(values(result), values(near), atol=0.15)


def test_a_head_turned_further_reads_the_same(analyzer: Analyzer, astronaut_rgb: ImageRgb) -> None:
    """Beyond the roll that is left in a face, each is turned back to that roll."""
    image = Image.fromarray(astronaut_rgb)
    turned, further = (
        values(analyzer.analyze(image.rotate(angle, Image.Resampling.BICUBIC)))
        for angle in (26, 36)
    )
    np.testing.assert_allclose(further, turned, atol=0.08)


def test_no_face_is_an_empty_result(analyzer: Analyzer) -> None:
    result = analyzer.analyze(np.zeros((90, 120), np.uint8))
    assert result == FrameResult(source="array", size_wh=(120, 90))


def test_faces_come_largest_first_and_bad_points_fall_back_to_the_box(tiny_model: Path) -> None:
    detector = FixedDetector(
        *((0, 0, 10, 10), (20, 20, 50, 60), (-10, 5, 10, 20)),
        *((-30, 5, -10, 20), (5, 5, 5.001, 5.001)),  # not in the picture, and hardly there
    )
    picture = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    analyzer = Analyzer(tiny_model, detector=detector, threads=1)
    result = analyzer.analyze(picture)
    assert [face.area for face in result.faces] == [1200, 300, 100]
    crops = np.stack([crop_box(picture, np.array(face.box_xyxy)) for face in result.faces])
    for face, expected in zip(result.faces, analyzer.classify(crops), strict=True):
        np.testing.assert_allclose(list(face.probabilities.values()), expected, atol=1e-6)


def test_whole_image_reads_a_ready_crop(analyzer: Analyzer) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (3, 48, 48)).astype(np.uint8)
    expected = analyzer.classify(crops)
    for crop, row in zip(crops, expected, strict=True):
        result = analyzer.analyze(crop, whole_image=True)
        assert result.faces[0].box_xyxy == (0, 0, 48, 48)
        assert (result.faces[0].score, result.faces[0].landmarks) == (1, None)
        np.testing.assert_allclose(values(result), row, atol=1e-6)


def test_many_are_as_one_by_one(
    tiny_model: Path, analyzer: Analyzer, astronaut_rgb: ImageRgb
) -> None:
    pictures = [astronaut_rgb[top:, 100:] for top in (0, 20, 40)]
    pictures.insert(1, np.zeros((64, 64, 3), np.uint8))
    for batch_size in (1, 3, 64):
        many = Analyzer(tiny_model, batch_size=batch_size, threads=1)
        results = list(many.analyze_many(pictures, colour="rgb"))
        assert [result.source for result in results] == [f"array {n}" for n in range(4)]
        for picture, result in zip(pictures, results, strict=True):
            single = analyzer.analyze(np.ascontiguousarray(picture), colour="rgb")
            assert len(single.faces) == len(result.faces)
            if single.faces:
                assert single.faces[0].box_xyxy == result.faces[0].box_xyxy
                np.testing.assert_allclose(values(result), values(single), atol=1e-6)


def test_one_picture_may_stand_for_many(analyzer: Analyzer, astronaut_rgb: ImageRgb) -> None:
    file = io.BytesIO()
    image = Image.fromarray(astronaut_rgb)
    image.save(file, "PNG")
    grey = np.asarray(image.convert("L"))
    data = file.getvalue()
    for source in (data, memoryview(data), image, grey, astronaut_rgb):
        (result,) = analyzer.analyze_many(source, colour="rgb" if source is astronaut_rgb else None)
        assert result.size_wh == image.size
    (result,) = analyzer.analyze_many(io.BytesIO(data))
    assert result.size_wh == image.size

    crops = np.zeros((5, 48, 48), np.uint8)
    assert len(list(analyzer.analyze_many(crops, whole_image=True))) == 5
    colours = np.zeros((4, 48, 48, 3), np.uint8)
    assert len(list(analyzer.analyze_many(colours, colour="bgr", whole_image=True))) == 4


def test_what_finds_no_faces_is_no_detector(tiny_model: Path) -> None:
    with pytest.raises(TypeError, match=r"method detect.* got 'opencv'; leave it out for MTCNN"):
        Analyzer(tiny_model, detector="opencv")  # type: ignore[arg-type]


def test_many_are_read_as_results_are_taken(tiny_model: Path) -> None:
    taken: list[int] = []

    def pictures() -> object:
        for number in range(100):
            taken.append(number)
            yield np.zeros((48, 48), np.uint8)

    many = Analyzer(tiny_model, batch_size=4)
    next(iter(many.analyze_many(pictures(), whole_image=True)))  # type: ignore[arg-type]
    assert len(taken) == 4


def test_a_folder_with_a_damaged_picture(analyzer: Analyzer, tmp_path: Path) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(b"damaged")
    with pytest.raises(MediaError, match=r"a\.png"):
        list(analyzer.analyze_many(tmp_path))
    failed: list[str] = []
    results = list(
        analyzer.analyze_many(
            [tmp_path, tmp_path / "none.png"], on_error=lambda source, _: failed.append(source)
        )
    )
    assert [Path(result.source).name for result in results] == ["b.png"]
    assert [Path(source).name for source in failed] == ["a.png", "none.png"]


@pytest.mark.parametrize(
    ("broken", "kind", "told"),
    [
        (b"damaged", MediaError, "bytes 2: not a picture"),
        (None, TypeError, "picture 2: expected a path, bytes, .* got NoneType"),
        (np.full((9, 9), -1.0), ValueError, "array 2: expected levels from 0 to 1"),
    ],
)
def test_what_was_read_before_a_damaged_picture_is_given(
    analyzer: Analyzer, broken: Any, kind: type[Exception], told: str
) -> None:
    image = Image.new("RGB", (30, 30))
    results = analyzer.analyze_many([image, image, broken, image])

    assert [next(results).source for _ in range(2)] == ["image 0", "image 1"]
    with pytest.raises(kind, match=f"^{told}"):
        next(results)
    errors: list[str] = []
    results = analyzer.analyze_many(
        [image, broken, image], on_error=lambda _, error: errors.append(str(error))
    )
    assert [result.source for result in results] == ["image 0", "image 2"]
    assert len(errors) == 1


def test_grey_and_colour_arrays_may_come_together(analyzer: Analyzer) -> None:
    grey, colour = np.zeros((48, 48), np.uint8), np.zeros((60, 60, 3), np.uint8)

    results = analyzer.analyze_many([grey, colour, grey[:, :, None]], colour="bgr")

    assert [result.size_wh for result in results] == [(48, 48), (60, 60), (48, 48)]


def test_another_process_may_be_given_an_analyzer(
    tiny_model: Path, astronaut_rgb: ImageRgb
) -> None:
    analyzer = Analyzer(tiny_model, min_face=40, uncertain_below=0.2, tta="flip", threads=1)
    before = analyzer.analyze(astronaut_rgb, colour="rgb")

    copy = pickle.loads(pickle.dumps(analyzer))

    assert copy.analyze(astronaut_rgb, colour="rgb") == before
    assert len(before.faces) == 1
    assert (copy.classifier.tta, copy.uncertain_below) == ("flip", 0.2)
    assert copy.detector.min_face == 40


@pytest.mark.parametrize(
    ("found", "kind", "told"),
    [
        (None, TypeError, "the detector must return Detections, got NoneType"),
        ([(0, 0, 9, 9)], TypeError, "the detector must return Detections, got list"),
        ((-1e9, -1e9, 1e9, 1e9), ValueError, "sides of at most 512 pixels"),
    ],
)
def test_what_a_detector_may_not_return(
    tiny_model: Path, found: Any, kind: type[Exception], told: str
) -> None:
    class Broken:
        def detect(self, image_rgb: ImageRgb) -> Any:
            return FixedDetector(found).detect(image_rgb) if isinstance(found, tuple) else found

    with pytest.raises(kind, match=told):
        Analyzer(tiny_model, detector=Broken()).analyze(np.zeros((64, 64), np.uint8))


def test_a_damaged_picture_in_memory_is_told_by_its_number(
    analyzer: Analyzer, astronaut_rgb: ImageRgb
) -> None:
    small = astronaut_rgb[:60, :60]
    file = io.BytesIO()
    Image.fromarray(small).save(file, "JPEG")
    cut = Image.open(io.BytesIO(file.getvalue()[:-400]))
    sources: list[Source] = [b"damaged", small, np.zeros((0, 4), np.uint8), cut]
    told: list[tuple[str, str]] = []
    results = list(
        analyzer.analyze_many(
            sources, colour="rgb", on_error=lambda name, error: told.append((name, str(error)))
        )
    )
    assert [result.source for result in results] == ["array 1"]
    assert [name for name, _ in told] == ["bytes 0", "array 2", "image 3"]
    assert all(message.startswith(f"{name}: ") for name, message in told)
    with pytest.raises(MediaError, match=r"^bytes 0: not a picture"):
        list(analyzer.analyze_many(sources))


def test_settings_that_contradict_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="min_face"):
        Analyzer(tiny_model, detector=WholeImageDetector(), min_face=40)
    with pytest.raises(ValueError, match="threads must be 0"):
        Analyzer(tiny_model, threads=-3)
    ready = ExpressionClassifier(tiny_model, batch_size=5, threads=1)
    with pytest.raises(ValueError, match="batch_size"):
        Analyzer(ready, batch_size=4)
    with pytest.raises(ValueError, match="tta is a setting of the classifier"):
        Analyzer(ready, tta="flip")
    with pytest.raises(ValueError, match="threads"):
        Analyzer(ready, detector=WholeImageDetector(), threads=1)
    assert Analyzer(ready, threads=1).classifier.batch_size == 5
    with pytest.raises(ModelError, match="no model"):
        Analyzer(tmp_path / "none.onnx")


def test_one_line_keeps_its_analyzer(tiny_model: Path, astronaut_rgb: ImageRgb) -> None:
    first = analyze(astronaut_rgb, colour="rgb", model=tiny_model)
    assert first == analyze(astronaut_rgb, colour="rgb", model=tiny_model)
    assert analyzer_module._shared_analyzer.cache_info().hits >= 1


def test_one_line_sees_another_model_in_the_same_place(
    tmp_path: Path,
    write_model: Callable[..., Path],
    model_facts: ModelMetadata,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    crop = np.random.default_rng(0).integers(0, 255, (48, 48)).astype(np.uint8)
    write_model(tmp_path / "model.onnx")
    before = analyze(crop, whole_image=True, model="model.onnx")
    facts = replace(model_facts, mean=0.1).to_strings()
    write_model(tmp_path / "model.onnx", strings=facts)
    after = analyze(crop, whole_image=True, model="model.onnx")
    assert after.probabilities != before.probabilities
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    with pytest.raises(ModelError, match="no model"):
        analyze(crop, whole_image=True, model="model.onnx")


def test_analysis_loads_neither_torch_nor_what_builds_graphs(
    tiny_model: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (60, 60)).save(tmp_path / "a.png")
    code = (
        "import sys; from mien.analysis.analyzer import Analyzer; "
        "a = Analyzer(sys.argv[1]); a.analyze(sys.argv[2]); "
        "print(sorted({'torch', 'cv2', 'onnx', 'joblib', 'mtcnn', 'rich'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tiny_model), str(tmp_path / "a.png")]
    environment = {**os.environ, "MIEN_CACHE": str(tmp_path)}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    again = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert again.stdout == "[]\n"


def test_uncertain_below_is_the_models_unless_given(
    tmp_path: Path,
    write_model: Callable[..., Path],
    model_facts: ModelMetadata,
    astronaut_rgb: ImageRgb,
) -> None:
    strings = replace(model_facts, uncertain_below=0.95).to_strings()
    model = write_model(tmp_path / "sad.onnx", finds="sad", strings=strings)
    crop = astronaut_rgb[50:150, 175:275]
    read = {
        below: analyze(crop, colour="rgb", whole_image=True, model=model, uncertain_below=below)
        for below in (None, 0.0, 0.7, 0.99)
    }

    assert [result.expression for result in read.values()] == [UNCERTAIN, "sad", "sad", UNCERTAIN]
    for below, result in read.items():
        assert result.faces[0].uncertain_below == (0.95 if below is None else below)
        assert result.probabilities == read[None].probabilities
    assert Analyzer(model).uncertain_below == 0.95
    assert Analyzer(model, uncertain_below=0).uncertain_below == 0


def test_one_picture_more_with_another_limit_opens_no_model_again(
    analyzer: Analyzer, astronaut_rgb: ImageRgb
) -> None:
    model = analyzer.classifier.path
    analyze(astronaut_rgb, colour="rgb", model=model)
    before = analyzer_module._shared_analyzer.cache_info().misses

    result = analyze(astronaut_rgb, colour="rgb", model=model, uncertain_below=1)

    assert result.expression == UNCERTAIN
    assert analyzer_module._shared_analyzer.cache_info().misses == before
    assert analyze(astronaut_rgb, colour="rgb", model=model).expression != UNCERTAIN


def test_a_limit_out_of_range_or_not_for_the_model_is_refused(
    tiny_model: Path,
    tmp_path: Path,
    write_model: Callable[..., Path],
    model_facts: ModelMetadata,
) -> None:
    for below in (-0.1, 1.1):
        with pytest.raises(ValueError, match="0 to 1"):
            Analyzer(tiny_model, uncertain_below=below)
    strings = replace(model_facts, classes=(*EXPRESSIONS[:6], UNCERTAIN)).to_strings()
    own = write_model(tmp_path / "own.onnx", strings=strings)
    with pytest.raises(ModelError, match="a class 'uncertain' of its own"):
        Analyzer(own, uncertain_below=0.5)
    assert Analyzer(own).uncertain_below == 0
