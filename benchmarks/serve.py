"""Does the service keep up with the batch pipeline when many clients ask at once?

One command: the pictures through ``Analyzer.analyze_many`` in a process of its own, for half of the
time before and half after ``mien serve`` is asked by several clients at once; the same pictures and
number of threads, one after the other::

    python benchmarks/serve.py PHOTO... [--clients 32] [--seconds 60] [--threads 2]

Prints a block of Markdown: pictures a second and processor time a picture of both, the share that
the service reaches, p50, p95 and p99 of its latency, how many requests failed, how many were put
off (429) and tried again, and the service's memory at the start, in the middle and at the end. The
clients take processor time as well, from the same machine; where it has other work too, only the
processor times can be compared.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from machine import describe_machine
from mien.analysis.analyzer import Analyzer

_BOUNDARY = "mien-benchmark"


@dataclass
class Tally:
    """What the clients saw.

    Attributes:
        latencies_ms: Of each request that was answered with a reading, from its first attempt on.
        statuses: How many answers had which status; 0 for none at all.
    """

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Rate:
    """Pictures a second, and processor milliseconds a picture."""

    a_second: float
    cpu_ms: float


@dataclass(frozen=True)
class Load:
    """What the service did while it was asked.

    Attributes:
        rate: How fast it answered.
        tally: What its clients saw.
        memory_mb: What it held, from the start to the end.
    """

    rate: Rate
    tally: Tally
    memory_mb: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pipeline", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pipeline:
        print(json.dumps(asdict(measure_pipeline(arguments))))
        return
    before = run_pipeline()
    load = run_service(arguments)
    after = run_pipeline()
    pipeline = Rate(
        (before.a_second + after.a_second) / 2,
        (before.cpu_ms * before.a_second + after.cpu_ms * after.a_second)
        / (before.a_second + after.a_second),
    )
    print_markdown(arguments, pipeline, load)


def run_pipeline() -> Rate:
    """Measure the batch pipeline in a process that has done nothing else."""
    command = [sys.executable, __file__, *sys.argv[1:], "--pipeline"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Rate(**json.loads(done.stdout))


def measure_pipeline(arguments: argparse.Namespace) -> Rate:
    """Return how fast the batch pipeline is, for half of the time.

    It is given all threads for each picture, where the service has one for each of several.
    """
    analyzer = Analyzer(threads=arguments.threads)
    pictures = [path.read_bytes() for path in arguments.photos]
    list(analyzer.analyze_many(pictures))
    start, cpu_start = time.perf_counter(), time.process_time()
    # Results come in groups, so the pictures end with the time, and all results are counted.
    endless = itertools.takewhile(
        lambda _: time.perf_counter() - start < arguments.seconds / 2, itertools.cycle(pictures)
    )
    count = sum(1 for _ in analyzer.analyze_many(endless))
    spent_ms = (time.process_time() - cpu_start) * 1e3
    return Rate(count / (time.perf_counter() - start), spent_ms / count)


def run_service(arguments: argparse.Namespace) -> Load:
    """Start the service, ask it, and return what was seen."""
    bodies = [multipart(path.read_bytes()) for path in arguments.photos]
    with started(arguments.threads) as (process, url):
        asyncio.run(ask(url, bodies, clients=2, seconds=min(2.0, arguments.seconds)))
        memory, cpu_start = [memory_mb(process)], cpu_ms(process)
        start = time.perf_counter()
        tally = asyncio.run(ask_watched(url, bodies, arguments, process, memory))
        answered = max(len(tally.latencies_ms), 1)
        rate = Rate(
            len(tally.latencies_ms) / (time.perf_counter() - start),
            (cpu_ms(process) - cpu_start) / answered,
        )
    return Load(rate, tally, memory)


@contextmanager
def started(threads: int) -> Iterator[tuple[int, str]]:
    """Yield the process and address of a service of its own."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--no-page"]
    command += ["--threads", str(threads)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+:\d+", line)
        if found is None:
            sys.exit(line)
        # Its log is not read, and would stop it when the pipe is full.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            yield process.pid, found[0]
        finally:
            process.terminate()
            process.wait()
            drain.wait()


async def ask_watched(
    url: str,
    bodies: list[bytes],
    arguments: argparse.Namespace,
    process: int,
    memory: list[float],
) -> Tally:
    """Ask, and note the service's memory twenty times meanwhile."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(arguments.seconds / 20)
            memory.append(memory_mb(process))

    watching = asyncio.create_task(watch())
    tally = await ask(url, bodies, clients=arguments.clients, seconds=arguments.seconds)
    watching.cancel()
    memory.append(memory_mb(process))
    return tally


def print_markdown(arguments: argparse.Namespace, pipeline: Rate, load: Load) -> None:
    """Print what was measured, and on what."""
    tally, memory = load.tally, load.memory_mb
    failed = sum(count for status, count in tally.statuses.items() if status not in (200, 429))
    share = load.rate.a_second / pipeline.a_second
    print(describe_machine("mien", "numpy", "pillow", "onnxruntime", "fastapi", "uvicorn"))
    print(
        f"{len(arguments.photos)} pictures in turn, {arguments.threads} threads, "
        f"{arguments.clients} clients, {arguments.seconds:g} s\n"
    )
    print("| | pictures/s | CPU ms a picture |\n|---|---:|---:|")
    for name, rate in (("`analyze_many`", pipeline), ("`mien serve`", load.rate)):
        print(f"| {name} | {rate.a_second:.1f} | {rate.cpu_ms:.1f} |")
    print(f"| share | {share:.2f} | {load.rate.cpu_ms / pipeline.cpu_ms:.2f} |\n")
    print("| latency of `mien serve` | ms |\n|---|---:|")
    if len(tally.latencies_ms) > 1:
        cuts = statistics.quantiles(tally.latencies_ms, n=100)
        for percent in (50, 95, 99):
            print(f"| p{percent} | {cuts[percent - 1]:.0f} |")
    print("\n| requests | |\n|---|---:|")
    print(f"| answered | {tally.statuses[200]} |")
    print(f"| put off (429), then answered | {tally.statuses[429]} |")
    print(f"| failed | {failed} |\n")
    print("| memory | MB |\n|---|---:|")
    middle = memory[len(memory) // 2]
    for name, held in (("start", memory[0]), ("middle", middle), ("end", memory[-1])):
        print(f"| {name} | {held:.0f} |")
    print(f"| most | {max(memory):.0f} |")


def multipart(picture: bytes) -> bytes:
    """Return a form with a picture, made once so that the clients take little of the processor."""
    head = 'Content-Disposition: form-data; name="picture"; filename="p.jpg"'
    return (
        f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()
    )


async def ask(url: str, bodies: list[bytes], *, clients: int, seconds: float) -> Tally:
    """Let some clients ask for pictures in turn, each again as soon as it is answered."""
    tally = Tally()
    until = time.perf_counter() + seconds
    async with httpx.AsyncClient(
        base_url=url,
        timeout=60,
        limits=httpx.Limits(max_connections=clients),
        headers={"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
    ) as client:
        await asyncio.gather(
            *(
                ask_again(client, bodies[i % len(bodies) :] + bodies, until, tally)
                for i in range(clients)
            )
        )
    return tally


async def ask_again(
    client: httpx.AsyncClient, bodies: list[bytes], until: float, tally: Tally
) -> None:
    for body in itertools.cycle(bodies):
        start = time.perf_counter()
        if start > until:
            return
        while True:
            try:
                response = await client.post("/v1/analyze", content=body)
            except httpx.HTTPError:
                tally.statuses[0] += 1
                break
            tally.statuses[response.status_code] += 1
            if response.status_code == 200:
                tally.latencies_ms.append((time.perf_counter() - start) * 1e3)
            if response.status_code != 429:
                break
            await asyncio.sleep(float(response.headers["retry-after"]))


def cpu_ms(process: int) -> float:
    """Return the processor time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int) -> float:
    """Return what a process holds in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
