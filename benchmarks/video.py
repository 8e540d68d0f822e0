"""How much faster is a video read by following its faces, and does it say the same?

Reads a clip, scaled to 720 rows, twice: searching every frame for faces, and as ``mien video``
does, now and then and near where they were in between::

    python benchmarks/video.py CLIP... [--people 3] [--frames 300] [--model FILE]

``--people`` puts so many copies of the clip, at half its size, side by side into each frame.
Each way runs in a process of its own, frames decoded and scaled beforehand; decoding is timed by
itself. Processor time counts all threads, which other work on the machine changes least.

Agreement is over the faces found by both ways at the same place. A detector that looks for faces
of at least 10 % more pixels, every frame, agrees with the first one so often too: where the model
wavers between two expressions, a point moved by a pixel decides.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from machine import describe_machine
from mien.analysis.analyzer import Analyzer
from mien.analysis.video.frames import VideoFrame
from mien.analysis.video.stream import FrameReader, StreamSettings
from mien.machine import peak_memory_mb

ROWS = 720
#: The smallest face that the two first ways look for, which is what the default comes to at 720p.
MIN_FACE = 30
#: A probability from which the model is taken not to waver.
SURE = 0.5
#: Name → (seconds between searches, smallest face).
WAYS = {
    "every frame": (0.0, MIN_FACE),
    "following": (StreamSettings().detect_every_s, MIN_FACE),
    "every frame, face from 33": (0.0, 33),
}

#: A face of one frame: middle, raw expression, shown expression, raw confidence, person.
Row = tuple[float, float, str, str, float, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, help="ONNX file [default: the packaged one]")
    parser.add_argument("--people", type=int, default=1, help="copies of the clip in a frame")
    parser.add_argument("--frames", type=int, default=300, help="frames read at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", choices=sorted(WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return
    print(describe_machine("mien", "numpy", "pillow", "onnxruntime", "av"))
    for clip in arguments.clips:
        print(f"{clip.name}, {ROWS} rows, people: {arguments.people}, threads: {arguments.threads}")
        told = {way: _child(arguments, clip, way) for way in WAYS}
        _print_speed(told)
        _print_agreement(told)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read one clip in one way."""
    detect_every_s, min_face = WAYS[arguments.measure]
    analyzer = Analyzer(arguments.model, min_face=min_face, threads=arguments.threads)
    settings = StreamSettings(detect_every_s=detect_every_s)
    reader = FrameReader(analyzer, settings=settings)
    _ = analyzer.detector
    decode_s = wall_s = processor_s = 0.0
    frames = load(arguments.clips[0], arguments.people)
    results = []
    for _number in range(arguments.frames):
        started = time.process_time()
        frame = next(frames, None)
        decode_s += time.process_time() - started
        if frame is None:
            break
        started, started_wall = time.process_time(), time.perf_counter()
        results.append(reader.read(frame))
        processor_s += time.process_time() - started
        wall_s += time.perf_counter() - started_wall
    rows = [[_row(face) for face in result.faces] for result in results]
    return {
        "rows": rows,
        "searched": reader.searched,
        "decode_ms": decode_s / len(rows) * 1e3,
        "processor_ms": processor_s / len(rows) * 1e3,
        "wall_ms": wall_s / len(rows) * 1e3,
        "memory_mb": peak_memory_mb(),
    }


def load(path: Path, people: int) -> Iterator[VideoFrame]:
    """Yield frames scaled to 720 rows, with copies of the clip side by side for more people."""
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            image = Image.fromarray(frame.to_ndarray(format="rgb24"))
            image = image.resize((round(image.width * ROWS / image.height), ROWS))
            pixels = np.asarray(image if people == 1 else _repeated(image, people))
            yield VideoFrame(index, float(frame.time or 0.0), pixels)


def _repeated(image: Image.Image, people: int) -> Image.Image:
    """Return a picture of that size with the middles of smaller copies next to one another."""
    width = image.width // people
    small = image.resize((image.width // 2, image.height // 2))
    left = (small.width - width) // 2
    whole = Image.new("RGB", image.size, (90, 90, 90))
    for number in range(people):
        middle = small.crop((left, 0, left + width, small.height))
        whole.paste(middle, (number * width, image.height // 4))
    return whole


def _row(face: Any) -> Row:
    left, top, right, bottom = face.face.box_xyxy
    middle = (left + right) / 2, (top + bottom) / 2
    raw = face.face
    return (*middle, raw.expression, face.expression, raw.confidence, face.track)


def _print_speed(told: dict[str, dict[str, Any]]) -> None:
    first = told["every frame"]["processor_ms"]
    print("  way                        searched  processor ms  times  wall frames/s  peak MB")
    for way, run in told.items():
        count = len(run["rows"])
        print(
            f"  {way:<26} {run['searched']:>4}/{count:<4} {run['processor_ms']:>11.1f} "
            f"{first / run['processor_ms']:>7.1f} {1e3 / run['wall_ms']:>14.0f} "
            f"{run['memory_mb']:>8.0f}"
        )
    print(f"  decoding and scaling: {told['following']['decode_ms']:.1f} ms a frame")


def _print_agreement(told: dict[str, dict[str, Any]]) -> None:
    for way in list(told)[1:]:
        pairs = list(_pairs(told["every frame"]["rows"], told[way]["rows"]))
        faces = sum(map(len, told["every frame"]["rows"]))
        sure = [(one, other) for one, other in pairs if one[4] >= SURE]
        people = {row[5] for rows in told[way]["rows"] for row in rows}
        print(
            f"  {way}: found {len(pairs) / max(faces, 1):.1%} of {faces} faces, "
            f"people: {len(people)}; raw expression the same {_same(pairs, 2):.1%}, "
            f"where at least {SURE} probable {_same(sure, 2):.1%} of {len(sure)}; "
            f"shown {_same(pairs, 3):.1%}"
        )


def _pairs(one: list[list[Row]], other: list[list[Row]]) -> Iterator[tuple[Row, Row]]:
    """Yield the faces of two readings that are at the same place in the same frame."""
    for rows, other_rows in zip(one, other, strict=True):
        for row in rows:
            middles: npt.NDArray[np.float64] = np.array([near[:2] for near in other_rows])
            if len(middles):
                away = np.linalg.norm(middles - np.array(row[:2]), axis=1)
                if away.min() < MIN_FACE:
                    yield row, other_rows[int(away.argmin())]


def _same(pairs: list[tuple[Row, Row]], column: int) -> float:
    agreed = [one[column] == other[column] for one, other in pairs]
    return sum(agreed) / len(agreed) if agreed else float("nan")


def _child(arguments: argparse.Namespace, clip: Path, way: str) -> dict[str, Any]:
    command = [sys.executable, __file__, str(clip), "--measure", way]
    command += ["--people", str(arguments.people), "--frames", str(arguments.frames)]
    command += ["--threads", str(arguments.threads)]
    if arguments.model is not None:
        command += ["--model", str(arguments.model)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    main()
