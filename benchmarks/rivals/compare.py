"""How big, how fast and how right are other packages, beside this one?

One command installs each into an environment of its own, has all read the same crops and photos
in turns, and writes the tables::

    python benchmarks/rivals/compare.py --work DIR --data fer2013.csv --photo group.jpg

Environments, networks and pictures stay in ``--work`` for the next time. A package that cannot be
installed, or crashes, is a row that says so. Nothing is fetched but packages: one that fetches its
weights at run time reads with random ones, for timing alone, unless its own lie below
``DIR/home``, which it takes for the user's home folder.
"""

import argparse
import datetime
import json
import logging
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from environments import Environment, make_environment
from measurement import BATCH, Measurement
from mien.cache import atomic_write
from mien.data import ExpressionDataset, load_fer2013
from mien.errors import MienError
from mien.machine import processor_name, usable_cores
from random_networks import write_random_networks
from roster import Package, choose_packages
from rounds import Bench, Labels, measure_speed, measure_starts
from table import Conditions, replace_section, to_markdown

logger = logging.getLogger("rivals")

#: Side that photos are scaled down to.
PHOTO_SIDE = 640


def main() -> None:
    arguments = parse_arguments()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for name in ("rivals", "rounds"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        compare(arguments)
    except (MienError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--data", type=Path, help="FER2013 [default: $MIEN_FER2013]")
    parser.add_argument("--split", nargs="+", default=["PublicTest"], help="faces to be scored on")
    parser.add_argument("--portrait", type=Path, help="[default: one that scikit-image ships]")
    parser.add_argument("--photo", type=Path, help="[default: the portrait]")
    parser.add_argument("--only", nargs="+", default=[], metavar="PACKAGE", help="beside mien")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of each package")
    parser.add_argument("--python", default=platform.python_version(), help="for uv venv")
    parser.add_argument("--quick", action="store_true", help="1 round, 64 faces a split")
    parser.add_argument("--output", type=Path, help="JSON file [default: DIR/rivals.json]")
    parser.add_argument("--results", type=Path, help="Markdown page to write the tables into")
    return parser.parse_args()


def compare(arguments: argparse.Namespace) -> None:
    """Install, measure, and write the tables."""
    if min(arguments.rounds, arguments.threads) < 1:
        raise MienError("--rounds and --threads must be 1 or more")
    packages = choose_packages(arguments.only)
    page = None
    if arguments.results is not None:
        page = arguments.results.read_text()
        replace_section(page, "")  # a page without a place is told before the work
    work = arguments.work.resolve()
    if arguments.quick:
        arguments.rounds = 1
    data = load_fer2013(arguments.data)
    bench = prepare_bench(arguments, work)
    labels = prepare_faces(bench, data, arguments.split, 64 if arguments.quick else None)
    conditions = describe_conditions(arguments, bench)
    write_random_networks(work / "random")
    measurements, installed = install(packages, work, arguments.python)
    measure_starts(installed, bench)
    measure_speed(installed, bench, labels)
    section = to_markdown(measurements, conditions)
    write_json(measurements, conditions, arguments.output or work / "rivals.json")
    if page is not None:
        with atomic_write(arguments.results) as temporary:
            temporary.write_text(replace_section(page, section))
    print(section)


def install(
    packages: Sequence[Package], work: Path, python: str
) -> tuple[list[Measurement], list[tuple[Measurement, Environment]]]:
    """Return a measurement for each package, and those that could be installed."""
    measurements = [Measurement(package=package) for package in packages]
    installed = []
    for measurement in measurements:
        package = measurement.package
        logger.info("installing %s", package.name)
        with measurement.isolated():
            folder = work / "environments" / package.name
            environment = make_environment(folder, package.requirements, python=python)
            measurement.versions = environment.versions()
            measurement.installed_mb = environment.installed_mb()
            installed.append((measurement, environment))
    return measurements, installed


def prepare_bench(arguments: argparse.Namespace, work: Path) -> Bench:
    """Write the pictures that all read into the working folder."""
    inputs = work / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    (work / "home").mkdir(exist_ok=True)
    portrait = arguments.portrait or find_portrait()
    for source, name in ((portrait, "portrait.jpg"), (arguments.photo or portrait, "photo.jpg")):
        with Image.open(source) as image:
            image.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
            image.convert("RGB").save(inputs / name, quality=95)
    return Bench(
        folder=work,
        threads=arguments.threads,
        rounds=arguments.rounds,
        portrait=inputs / "portrait.jpg",
        photo=inputs / "photo.jpg",
        crops=inputs / "crops.npy",
    )


def prepare_faces(
    bench: Bench, data: ExpressionDataset, splits: Sequence[str], limit: int | None
) -> dict[str, Labels]:
    """Write each split's faces, and a batch of them for timing; return the splits' labels."""
    labels: dict[str, Labels] = {}
    for name in splits:
        split = data.split(name)
        if len(split) < BATCH:
            raise MienError(f"{name} has {len(split)} faces, expected {BATCH} or more: see --split")
        np.save(bench.split_file(name), split.images[:limit])
        labels[name] = split.labels[:limit]
        np.save(bench.crops, split.images[:BATCH])
    return labels


def find_portrait() -> Path:
    """Return the file of a portrait in the public domain that scikit-image ships."""
    import skimage  # noqa: PLC0415

    return Path(skimage.__file__).parent / "data" / "astronaut.png"


def describe_conditions(arguments: argparse.Namespace, bench: Bench) -> Conditions:
    with Image.open(bench.photo) as image:
        width, height = image.size
    python = f"Python {platform.python_version()}"
    return Conditions(
        machine=f"{processor_name()}, {usable_cores()} cores, {python}",
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        command=shlex.join(["benchmarks/rivals/compare.py", *sys.argv[1:]]),
        threads=bench.threads,
        rounds=bench.rounds,
        load=os.getloadavg()[0],
        photo=f"{width} × {height}",
        notes=("A quick trial, on 64 faces: not to be quoted.",) if arguments.quick else (),
    )


def write_json(measurements: Sequence[Measurement], conditions: Conditions, path: Path) -> None:
    values = {
        "conditions": asdict(conditions),
        "packages": [measurement.to_dict() for measurement in measurements],
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
