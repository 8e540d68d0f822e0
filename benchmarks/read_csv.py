"""Seconds and memory until FER2013's CSV is an array: mien against the usual pandas idiom.

Usage: python benchmarks/read_csv.py [fer2013.csv[.gz]] [--repeats 3] [--output results.json]

Each reader runs in a fresh process, so that its imports count and its peak memory is its own; the
file has been read before, so that the disk does not count. The first time has an empty cache
folder and includes filling it, as in a user's first call. The median of the repeats is shown. All
readers must give the same pixels.
"""

import argparse
import gzip
import hashlib
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from machine import describe_machine
from mien.machine import peak_memory_mb

PACKAGES = ("mien", "numpy", "pandas", "pyarrow")


class Measurement(NamedTuple):
    """One reading of one file."""

    seconds: float
    peak_mb: float
    digest: str


def read_with_mien(path: str) -> Any:
    from mien.data import load_dataset  # noqa: PLC0415

    return load_dataset(path).images


def read_with_fromstring(path: str) -> Any:
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

    table = pd.read_csv(path)
    rows = [np.fromstring(pixels, dtype=np.uint8, sep=" ") for pixels in table["pixels"]]
    return np.stack(rows).reshape(-1, 48, 48)


def read_with_split(path: str) -> Any:
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

    table = pd.read_csv(path)
    rows = [np.array(pixels.split(" "), dtype=np.uint8) for pixels in table["pixels"]]
    return np.stack(rows).reshape(-1, 48, 48)


FIRST_TIME = "mien, first time"
READERS: dict[str, Callable[[str], Any]] = {
    FIRST_TIME: read_with_mien,
    "mien, from its cache": read_with_mien,
    "pandas + np.fromstring": read_with_fromstring,
    "pandas + str.split": read_with_split,
}
BASELINE = "pandas + np.fromstring"


def measure(reader: str, path: str, cache: str) -> Measurement:
    os.environ["MIEN_CACHE"] = cache
    started = time.perf_counter()
    images = READERS[reader](path)
    seconds = time.perf_counter() - started
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    return Measurement(seconds, peak_memory_mb(), digest)


def measure_apart(reader: str, path: Path) -> Measurement:
    """Measure in a process of its own, a first time with a cache of its own as well."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as empty, ProcessPoolExecutor(1, spawn) as process:
        cache = empty if reader == FIRST_TIME else os.environ["MIEN_CACHE"]
        return process.submit(measure, reader, str(path), cache).result()


def compare(path: Path, repeats: int) -> dict[str, dict[str, float]]:
    found: dict[str, list[Measurement]] = {}
    measure_apart("mien, from its cache", path)  # fills the cache
    for reader in READERS:
        found[reader] = [measure_apart(reader, path) for _ in range(repeats)]
    if len({one.digest for several in found.values() for one in several}) > 1:
        raise SystemExit("the readers disagree on the pixels")
    return {
        reader: {
            "seconds": statistics.median(one.seconds for one in several),
            "peak_mb": max(one.peak_mb for one in several),
        }
        for reader, several in found.items()
    }


def show(name: str, size: int, results: dict[str, dict[str, float]]) -> None:
    print(f"\n{name}, {size / 1e6:.0f} MB")
    print(f"{'reader':<24}{'seconds':>9}{'times as fast':>15}{'peak MB':>9}")
    usual = results[BASELINE]["seconds"]
    for reader, one in results.items():
        ratio = usual / one["seconds"]
        print(f"{reader:<24}{one['seconds']:>9.2f}{ratio:>15.1f}{one['peak_mb']:>9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", nargs="?", default=os.environ.get("MIEN_FER2013"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="also write the figures as JSON")
    options = parser.parse_args()
    if not options.path:
        parser.error("name fer2013.csv or set $MIEN_FER2013")
    source = Path(options.path)
    if source.is_dir():
        source = next(iter(sorted(source.glob("fer2013.csv*"))), source / "fer2013.csv")
    report: dict[str, Any] = {"machine": describe_machine(*PACKAGES), "repeats": options.repeats}
    print(report["machine"])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MIEN_CACHE"] = folder
        paths = [source]
        if source.suffix == ".gz":
            paths.append(Path(folder, source.stem))
            with gzip.open(source) as packed, paths[1].open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
        for path in paths:
            report[path.name] = compare(path, options.repeats)
            show(path.name, path.stat().st_size, report[path.name])
    if options.output:
        options.output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
