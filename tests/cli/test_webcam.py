import csv
import errno
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from rich.console import Console
from typer.testing import CliRunner, Result

from mien.analysis.classifier import ExpressionClassifier
from mien.analysis.video.frames import VideoFile, VideoFrame
from mien.analysis.video.results import TrackedFace, TrackedFrame
from mien.cli.app import app, main
from mien.cli.live_terminal import BlockPicture, TerminalView
from mien.cli.webcam import Pace, Seen
from mien.results import Face, Probabilities

WriteModel = Callable[..., Path]


@pytest.fixture(scope="module")
def sad_model(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    """A model that finds everybody sad."""
    return write_model(tmp_path_factory.mktemp("model") / "sad.onnx", finds="sad")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a face."""
    photo: npt.NDArray[np.uint8] = skimage.data.astronaut()[20:260, 100:340]
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 240, 240, "yuv420p"
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(photo)
            frame.pts, frame.time_base = index, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def watch(source: Path, model: Path, *options: object) -> Result:
    """Call the command."""
    settings = ["--terminal", "--threads", "1", "--model", str(model), *map(str, options)]
    return CliRunner().invoke(app, ["webcam", str(source), *settings])


@pytest.fixture
def seen() -> Seen:
    image = np.full((120, 160, 3), 64, np.uint8)
    happy = Probabilities(("happy", "sad"), (0.83, 0.17))
    face = TrackedFace(4, Face((40, 30, 80, 90), 0.9, None, happy), happy, "happy")
    frame = VideoFrame(0, 0.0, image)
    return Seen(frame=frame, result=TrackedFrame("camera 0", 0, 0.0, (160, 120), (face,)))


def test_what_is_seen_is_written(clip: Path, sad_model: Path, tmp_path: Path) -> None:
    table, record = tmp_path / "faces.csv", tmp_path / "seen.mp4"
    called = watch(clip, sad_model, "--output", table, "--record", record)

    assert called.exit_code == 0, called.output
    rows = list(csv.DictReader(table.open()))
    assert {row["expression"] for row in rows if row["track"]} == {"sad"}
    frames = list(VideoFile(record))
    assert len(frames) == len({row["frame"] for row in rows}) > 1
    times_s = sorted({float(row["time_s"]) for row in rows})
    assert [frame.time_s for frame in frames] == pytest.approx(
        [time_s - times_s[0] for time_s in times_s], abs=0.001
    )
    assert f"written: {table}" in called.stderr
    assert f"{len(frames)} frames read: {clip}" in called.stderr


def test_flip_is_passed_on(
    clip: Path, sad_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    logits = ExpressionClassifier.logits

    def seen(self: ExpressionClassifier, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        used.append(self.tta)
        return logits(self, faces)

    monkeypatch.setattr(ExpressionClassifier, "logits", seen)
    for options in ((), ("--tta", "flip")):
        used.clear()
        called = watch(clip, sad_model, "--output", tmp_path / "faces.csv", *options)
        assert called.exit_code == 0, called.output
        assert set(used) == {options[1] if options else None}


def test_it_stops_after_some_seconds(clip: Path, sad_model: Path, tmp_path: Path) -> None:
    table = tmp_path / "faces.csv"
    called = watch(clip, sad_model, "--output", table, "--seconds", 0.4)

    assert called.exit_code == 0, called.output
    assert max(int(row["frame"]) for row in csv.DictReader(table.open())) < 9


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_sigterm_ends_it_with_all_written(clip: Path, sad_model: Path, tmp_path: Path) -> None:
    table, record = tmp_path / "faces.csv", tmp_path / "seen.mp4"
    slow = tmp_path / "slow.mkv"
    with av.open(str(clip)) as source, av.open(str(slow), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts = packet.pts * 100, packet.dts * 100
                packet.stream = stream
                output.mux(packet)
    command = [sys.executable, "-m", "mien", "webcam", str(slow), "--terminal", "--threads", "1"]
    command += ["--model", str(sad_model), "--output", str(table), "--record", str(record)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until_s = time.monotonic() + 60
    # The partial table shows that reading has begun.
    while not list(tmp_path.glob("*faces*")) and time.monotonic() < until_s:
        time.sleep(0.2)
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)

    assert process.returncode == 0, error
    assert list(VideoFile(record))
    assert sorted(tmp_path.iterdir()) == sorted([table, record, slow])


@pytest.mark.parametrize("option", ["--output", "--record"])
def test_a_source_of_which_no_frame_can_be_decoded_is_told(
    clip: Path, sad_model: Path, tmp_path: Path, option: str
) -> None:
    cut = tmp_path / "cut.mp4"
    with av.open(str(clip)) as whole, av.open(str(cut), "w") as output:
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.size:
                damaged = av.Packet(bytes(packet.size))
                damaged.pts, damaged.dts = packet.pts, packet.dts
                damaged.time_base, damaged.stream = packet.time_base, stream
                output.mux(damaged)
    made = tmp_path / ("seen.mp4" if option == "--record" else "faces.csv")

    told = watch(cut, sad_model, option, made)

    assert told.exit_code != 0
    assert "cut.mp4: none of its frames can be decoded" in str(told.exception)
    assert list(tmp_path.iterdir()) == [cut]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="how Linux names cameras")
def test_no_camera_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mien", "webcam", "63", "--terminal"])
    with pytest.raises(SystemExit) as left:
        main()

    error = capsys.readouterr().err
    assert left.value.code == 2
    assert error.startswith("mien: camera 63: /dev/video63: no such camera")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["--output", "a.txt"], "name a ."),
        (["--record", "a.avi"], "name a ."),
        (["--seconds", "nan"], "seconds"),
    ],
)
def test_a_wrong_call_is_told_before_the_camera_is_opened(wrong: list[str], reason: str) -> None:
    called = CliRunner().invoke(app, ["webcam", "63", *wrong])

    assert called.exit_code == 2
    assert reason in called.stderr


def test_a_source_is_not_recorded_over(clip: Path) -> None:
    called = CliRunner().invoke(app, ["webcam", str(clip), "--record", str(clip)])

    assert called.exit_code == 2
    assert "is what is read" in called.stderr


def test_the_terminal_shows_picture_people_and_pace(seen: Seen) -> None:
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=True, color_system="truecolor", width=80, height=30
    )
    with TerminalView(console) as view:
        view.show(seen, Pace(name="camera 0", period_s=0.04, latency_ms=41.2, dropped=7))

    shown = screen.getvalue()
    assert "▀" in shown
    assert "happy" in shown
    assert "sad 17%" in shown
    assert "camera 0 · 25.0 frames/s · latency 41 ms · 7 dropped" in shown


def test_a_terminal_that_is_gone_ends_it(seen: Seen) -> None:
    class Terminal(io.StringIO):
        is_gone = False

        def write(self, text: str) -> int:
            if self.is_gone:
                raise OSError(errno.EIO, "Input/output error")
            return super().write(text)

    terminal = Terminal()
    with TerminalView(Console(file=terminal, force_terminal=True, width=80, height=30)) as view:
        view.show(seen, Pace(name="camera 0"))
        was_closed = view.closed
        terminal.is_gone = True
        view.show(seen, Pace(name="camera 0"))

    assert not was_closed
    assert view.closed


def test_what_was_damaged_is_told() -> None:
    line = Pace(name="rtsp://door", dropped=1, damaged=1200, reconnected=1).to_line()

    assert line.endswith("1 dropped · 1,200 damaged · reconnected 1 time")


def test_what_goes_elsewhere_than_a_terminal_is_not_drawn(seen: Seen) -> None:
    elsewhere = io.StringIO()
    with TerminalView(Console(file=elsewhere)) as view:
        view.show(seen, Pace(name="camera 0"))
    assert elsewhere.getvalue() == ""


def test_a_block_picture_keeps_its_shape_and_shows_the_box(seen: Seen) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
    segments = list(console.render(BlockPicture(seen, columns=40, lines=40)))
    lines = "".join(segment.text for segment in segments).splitlines()
    styles = {segment.style for segment in segments if segment.style}
    colours = {style.color.triplet for style in styles if style.color}

    assert [len(line) for line in lines] == [40] * 15, "40 × 30 pixels, two in a character"
    assert len(colours) == 2, "the grey of the frame and the colour of the box"


def test_pace_is_an_average_of_late() -> None:
    pace = Pace(name="camera 0")
    for since_s in (None, *(0.1,) * 20, *(0.05,) * 60):
        pace.add(since_s=since_s, latency_s=0.03)

    assert pace.frames == 81
    assert pace.fps == pytest.approx(20, rel=0.02)
    assert pace.latency_ms == pytest.approx(30)
