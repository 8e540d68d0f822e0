"""Does the service keep up with the batch pipeline when many clients ask at once?

One command: the pictures through ``Analyzer.analyze_many`` in a process of its own, then through
``mien serve`` in another, asked by several clients at once; the same pictures, the same number of
threads, one after the other::

    python benchmarks/serve.py PHOTO... [--clients 32] [--seconds 60] [--threads 2]

Prints pictures a second and processor time a picture of both, the share that the service reaches,
p50, p95 and p99 of its latency, how many requests failed, how many were put off (429) and tried
again, and the service's memory before and after. The clients take processor time as well, from the
same machine; where it has other work too, only the processor times can be compared.
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
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from machine import describe_machine
from mien.analysis.analyzer import Analyzer


@dataclass
class Tally:
    """What the clients saw.

    Attributes:
        latencies_ms: Of each answered request, from its first attempt on.
        statuses: How many answers had which status; 0 for none at all.
    """

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pipeline", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pipeline:
        print(json.dumps(measure_pipeline(arguments)))
        return
    print(describe_machine("mien", "numpy", "pillow", "onnxruntime", "fastapi", "uvicorn"))
    print(
        f"clients: {arguments.clients}, threads: {arguments.threads}, {arguments.seconds:g} s each"
    )
    command = [sys.executable, __file__, *sys.argv[1:], "--pipeline"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    pipeline = json.loads(done.stdout)
    print(f"analyze_many: {pipeline['rate']:.1f} pictures/s, {pipeline['cpu_ms']:.0f} ms each")
    print_service(arguments, pipeline["rate"])


def measure_pipeline(arguments: argparse.Namespace) -> dict[str, float]:
    """Return pictures a second of the batch pipeline, and processor milliseconds a picture.

    It is given all threads for each picture, where the service has one for each of several.
    """
    analyzer = Analyzer(threads=arguments.threads)
    pictures = [path.read_bytes() for path in arguments.photos]
    list(analyzer.analyze_many(pictures))
    start, cpu_start = time.perf_counter(), time.process_time()
    # Results come in groups, so the pictures end with the time, and all results are counted.
    endless = itertools.takewhile(
        lambda _: time.perf_counter() - start < arguments.seconds, itertools.cycle(pictures)
    )
    count = sum(1 for _ in analyzer.analyze_many(endless))
    cpu_ms = (time.process_time() - cpu_start) * 1e3 / count
    return {"rate": count / (time.perf_counter() - start), "cpu_ms": cpu_ms}


def print_service(arguments: argparse.Namespace, pipeline: float) -> None:
    """Start the service, ask it, and print what was seen."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0"]
    command += ["--threads", str(arguments.threads)]
    log = subprocess.PIPE
    with subprocess.Popen(command, stderr=log, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+:\d+", line)
        if found is None:
            sys.exit(line)
        # Its log is not read, and would stop it when the pipe is full.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            pictures = [path.read_bytes() for path in arguments.photos]
            asyncio.run(ask(found[0], pictures, clients=2, seconds=1))
            before, cpu_start = memory_mb(process.pid), cpu_ms(process.pid)
            start = time.perf_counter()
            tally = asyncio.run(
                ask(found[0], pictures, clients=arguments.clients, seconds=arguments.seconds)
            )
            rate = len(tally.latencies_ms) / (time.perf_counter() - start)
            after, spent_ms = memory_mb(process.pid), cpu_ms(process.pid) - cpu_start
        finally:
            process.terminate()
            process.wait()
            drain.wait()
    cuts = statistics.quantiles(tally.latencies_ms, n=100)
    failed = sum(count for status, count in tally.statuses.items() if status not in (200, 429))
    each_ms = spent_ms / len(tally.latencies_ms)
    share = rate / pipeline
    print(f"mien serve: {rate:.1f} pictures/s, {each_ms:.0f} ms each; {share:.2f} of analyze_many")
    print(f"latency: p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, p99 {cuts[98]:.0f} ms")
    print(f"failed: {failed}, put off: {tally.statuses[429]}, answered: {tally.statuses[200]}")
    print(f"memory: {before:.0f} MB before, {after:.0f} MB after")


async def ask(url: str, pictures: list[bytes], *, clients: int, seconds: float) -> Tally:
    """Let some clients ask for pictures in turn, each again as soon as it is answered."""
    tally = Tally()
    until = time.perf_counter() + seconds
    async with httpx.AsyncClient(
        base_url=url, timeout=60, limits=httpx.Limits(max_connections=clients)
    ) as client:
        await asyncio.gather(
            *(
                ask_again(client, pictures[i % len(pictures) :] + pictures, until, tally)
                for i in range(clients)
            )
        )
    return tally


async def ask_again(
    client: httpx.AsyncClient, pictures: list[bytes], until: float, tally: Tally
) -> None:
    for picture in itertools.cycle(pictures):
        start = time.perf_counter()
        if start > until:
            return
        while True:
            try:
                response = await client.post("/v1/analyze", files={"picture": ("p.jpg", picture)})
            except httpx.HTTPError:
                tally.statuses[0] += 1
                break
            tally.statuses[response.status_code] += 1
            if response.status_code != 429:
                tally.latencies_ms.append((time.perf_counter() - start) * 1e3)
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
