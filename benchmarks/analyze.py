"""How fast is an answer, and how much memory does it take?

One command, for one and two threads: import time, a cold process until its first result,
milliseconds a photo and a face, faces a second in batches of 64, and peak memory::

    python benchmarks/analyze.py PHOTO... [--model FILE] [--longest 640]

Every figure comes from a process of its own; the detector's graphs are in the cache, as from the
second use on a machine. Times are medians; photos are decoded and scaled beforehand.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from machine import describe_machine
from mien.analysis.analyzer import Analyzer
from mien.machine import peak_memory_mb

COLD_RUNS = 5
REPEATS = 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, help="ONNX file [default: the packaged one]")
    parser.add_argument("--longest", type=int, default=640, help="scale photos to this side")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--measure", choices=sorted(MEASUREMENTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(MEASUREMENTS[arguments.measure](arguments)))
        return
    print(describe_machine("mien", "numpy", "pillow", "onnxruntime"))
    for module in ("mien", "mien.analysis.analyzer"):
        print(f"import {module}: {_import_ms(module):.0f} ms")
    for threads in arguments.threads:
        print(f"threads: {threads}")
        colds = [_child(arguments, "cold", threads)["wall_s"] for _ in range(COLD_RUNS + 1)]
        print(f"  cold process to first result: {statistics.median(colds[1:]):.2f} s")
        for row in _child(arguments, "warm", threads)["rows"]:
            print("  " + row)


def measure_cold(arguments: argparse.Namespace) -> dict[str, Any]:
    """Answer once; the parent takes the time."""
    analyzer = Analyzer(arguments.model, threads=arguments.threads[0])
    return {"faces": len(analyzer.analyze(arguments.photos[0]).faces)}


def measure_warm(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time each photo, then the classifier alone, then read the peak memory."""
    analyzer = Analyzer(arguments.model, threads=arguments.threads[0])
    rows = []
    for path in arguments.photos:
        with Image.open(path) as image:
            image.thumbnail((arguments.longest, arguments.longest))
            photo = np.asarray(image.convert("RGB"))
        faces = len(analyzer.analyze(photo, colour="rgb").faces)
        whole = _median_ms(partial(analyzer.analyze, photo, colour="rgb"))
        detector = _median_ms(partial(analyzer.detector.detect, photo))
        size = f"{photo.shape[1]} × {photo.shape[0]}"
        each = f", {(whole - detector) / faces:.2f} a face after it" if faces else ""
        rows.append(
            f"{path.name}, {size}, faces: {faces}: {whole:.1f} ms, detector {detector:.1f} ms{each}"
        )
    crops = np.random.default_rng(0).integers(0, 256, (64, 48, 48)).astype(np.uint8)
    per_batch = _median_ms(lambda: analyzer.classify(crops))
    rows.append(f"classifier, 64 faces: {64e3 / per_batch:.0f} faces/s")
    rows.append(f"peak memory: {peak_memory_mb():.0f} MB")
    return {"rows": rows}


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "cold": measure_cold,
    "warm": measure_warm,
}


def _child(arguments: argparse.Namespace, measurement: str, threads: int) -> dict[str, Any]:
    command = [sys.executable, __file__, *map(str, arguments.photos), "--measure", measurement]
    command += ["--threads", str(threads), "--longest", str(arguments.longest)]
    if arguments.model is not None:
        command += ["--model", str(arguments.model)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall_s = time.perf_counter() - start
    return {**json.loads(done.stdout), "wall_s": wall_s}


def _import_ms(module: str) -> float:
    """Return what an import adds to an empty process, the least of a few."""
    times = {}
    for code in ("", f"import {module}"):
        runs = []
        for _ in range(COLD_RUNS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            runs.append(time.perf_counter() - start)
        times[code] = min(runs)
    return (times[f"import {module}"] - times[""]) * 1e3


def _median_ms(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


if __name__ == "__main__":
    main()
