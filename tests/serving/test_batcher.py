import io
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.analysis.analyzer import Analyzer
from mien.errors import MediaError
from mien.serving.batcher import Batcher, ReadOptions, Upload
from mien.serving.metrics import ServiceMetrics
from mien.serving.settings import ServiceSettings

SETTINGS = ServiceSettings(threads=4, batch_wait_ms=1000, max_pixels=200_000, max_faces=2)
DEFAULT = ReadOptions()
WAIT_S = 20


class Running(Batcher):
    """A batcher with its figures."""

    def __init__(self, analyzer: Analyzer, settings: ServiceSettings = SETTINGS) -> None:
        self.metrics = ServiceMetrics(lambda: 0, lambda: 0)
        super().__init__(analyzer, settings, self.metrics)

    def figure(self, name: str) -> float:
        lines = self.metrics.render().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@pytest.fixture
def batcher(analyzer: Analyzer) -> Iterator[Running]:
    running = Running(analyzer)
    yield running
    running.close()


def test_a_picture_is_read_as_by_the_analyzer(
    batcher: Running, analyzer: Analyzer, photo: bytes, nobody: bytes
) -> None:
    for data in (photo, nobody):
        upload = Upload(name="bytes", data=data)
        for whole_image in (False, True):
            options = ReadOptions(whole_image=whole_image)
            reading = batcher.submit(upload, options).result(WAIT_S)
            assert reading.result == analyzer.analyze(data, whole_image=whole_image)
            assert reading.faces_omitted == 0
            assert reading.annotated_jpeg is None


def test_faces_of_several_pictures_are_read_together(
    gate: Any, sad_model: Path, photo: bytes
) -> None:
    batcher = Running(Analyzer(sad_model, detector=gate, threads=1))
    futures = [batcher.submit(Upload(name=str(i), data=photo), DEFAULT) for i in range(4)]
    for _ in futures:
        assert gate.entered.acquire(timeout=WAIT_S), "each of four threads has one"
    gate.opened.set()

    names = [future.result(WAIT_S).result.source for future in futures]

    batcher.close()
    assert names == ["0", "1", "2", "3"]
    assert batcher.figure("mien_batch_faces_sum") == 4
    assert batcher.figure("mien_batch_faces_count") == 1


def test_a_batch_is_no_larger_than_is_allowed(gate: Any, sad_model: Path, photo: bytes) -> None:
    settings = replace(SETTINGS, batch_faces=1)
    batcher = Running(Analyzer(sad_model, detector=gate, threads=1), settings)
    futures = [batcher.submit(Upload(name=str(i), data=photo), DEFAULT) for i in range(3)]
    gate.opened.set()
    for future in futures:
        future.result(WAIT_S)

    batcher.close()
    assert batcher.figure("mien_batch_faces_count") == 3


def test_what_nobody_waits_for_is_dropped(gate: Any, sad_model: Path, photo: bytes) -> None:
    batcher = Running(Analyzer(sad_model, detector=gate, threads=1), replace(SETTINGS, threads=1))
    first, second, third = (batcher.submit(Upload(name="", data=photo), DEFAULT) for _ in range(3))
    assert gate.entered.acquire(timeout=WAIT_S)
    assert first.cancel(), "even while it is read"
    assert second.cancel()
    gate.opened.set()

    assert third.result(WAIT_S).result.faces
    batcher.close()
    with pytest.raises(CancelledError):
        second.result()
    assert gate.calls == 2, "the second was not even looked at"
    assert batcher.figure("mien_faces_total") == 1


@pytest.mark.parametrize(
    "hand_in",
    [
        lambda batcher, upload: batcher.submit(upload, DEFAULT),
        lambda batcher, upload: batcher.explain(upload, 0),
    ],
    ids=["read", "explain"],
)
def test_the_file_of_what_nobody_waits_for_is_let_go(
    gated: Analyzer, photo: bytes, hand_in: Callable[[Batcher, Upload], Any]
) -> None:
    batcher = Running(gated, replace(SETTINGS, threads=1, timeout_s=0.1))
    batcher.submit(Upload(name="keeps the only reader", data=photo), DEFAULT)
    upload = Upload(name="", data=bytes(1000))
    waiting = weakref.ref(upload)
    future = hand_in(batcher, upload)
    del upload
    assert waiting() is not None

    future.cancel()

    assert waiting() is None, "before the reader has come to it"
    batcher.close()


def test_closing_does_not_wait_for_a_reader_that_is_stuck(
    gated: Analyzer, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    batcher = Running(gated, replace(SETTINGS, threads=1, timeout_s=0.1))
    batcher.submit(Upload(name="", data=photo), DEFAULT)

    batcher.close()

    assert "1 pictures were not finished" in caplog.text
    stuck = [thread for thread in threading.enumerate() if thread.name.startswith("mien-reader")]
    assert stuck
    assert all(thread.daemon for thread in stuck), "nor does the process wait"


def test_closing_finishes_what_was_handed_in(gated: Analyzer, gate: Any, photo: bytes) -> None:
    batcher = Running(gated, replace(SETTINGS, threads=1))
    options = ReadOptions(annotate=True)
    futures = [batcher.submit(Upload(name="", data=photo), options) for _ in range(3)]
    gate.opened.set()

    batcher.close()

    assert all(future.done() and future.result().annotated_jpeg for future in futures)


def test_the_largest_faces_are_taken_and_the_others_counted(
    make_gate: Callable[..., Any], sad_model: Path, photo: bytes
) -> None:
    gate = make_gate(faces=5)
    gate.opened.set()
    batcher = Running(Analyzer(sad_model, detector=gate, threads=1))

    reading = batcher.submit(Upload(name="", data=photo), DEFAULT).result(WAIT_S)

    batcher.close()
    assert [face.box_xyxy[2] for face in reading.result.faces] == [14, 13]
    assert reading.faces_omitted == 3


def test_a_picture_is_drawn_where_it_is_asked_for(batcher: Running, photo: bytes) -> None:
    upload = Upload(name="a", data=photo)
    jpeg = batcher.submit(upload, ReadOptions(annotate=True)).result(WAIT_S).annotated_jpeg

    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg)) as drawn, Image.open(io.BytesIO(photo)) as before:
        assert (drawn.format, drawn.size) == ("JPEG", before.size)
        assert drawn.tobytes() != before.tobytes()


def test_a_picture_too_large_for_a_jpeg_is_read_and_not_drawn(sad_model: Path) -> None:
    large = io.BytesIO()
    Image.new("L", (66_000, 3)).save(large, "PNG")
    running = Running(Analyzer(sad_model, threads=1))

    upload = Upload(name="a", data=large.getvalue())
    reading = running.submit(upload, ReadOptions(annotate=True, whole_image=True)).result(WAIT_S)
    running.close()

    assert len(reading.result.faces) == 1
    assert reading.annotated_jpeg is None


def test_what_cannot_be_read_harms_nothing_else(batcher: Running, photo: bytes) -> None:
    postscript = io.BytesIO()
    Image.new("RGB", (20, 20)).save(postscript, "EPS")
    bomb = io.BytesIO()
    Image.new("L", (2000, 2000)).save(bomb, "PNG")
    hostile = {
        "not a picture": b"hello",
        "damaged": photo[: len(photo) // 2],
        "0 megapixels": bomb.getvalue(),
        "format that can be read": postscript.getvalue(),
    }
    futures = {
        reason: batcher.submit(Upload(name="x", data=data), DEFAULT)
        for reason, data in hostile.items()
    }
    good = batcher.submit(Upload(name="x", data=photo), DEFAULT)

    for reason, future in futures.items():
        with pytest.raises(MediaError, match=reason):
            future.result(WAIT_S)
    assert len(good.result(WAIT_S).result.faces) == 1


def test_a_failing_detector_fails_its_picture_alone(sad_model: Path, photo: bytes) -> None:
    class Broken:
        def detect(self, image_rgb: Any) -> Any:  # noqa: ARG002
            raise ZeroDivisionError

    batcher = Running(Analyzer(sad_model, detector=Broken(), threads=1))
    failed = batcher.submit(Upload(name="", data=photo), DEFAULT)
    good = batcher.submit(Upload(name="", data=photo), ReadOptions(whole_image=True))

    assert isinstance(failed.exception(WAIT_S), ZeroDivisionError)
    assert good.result(WAIT_S).result.expression == "sad"
    batcher.close()
