"""A package that takes part: its worker's process, asked from here."""

import json
import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from mien.errors import MienError

_WORKER: Final = Path(__file__).with_name("worker.py")
#: A rival that is silent for so long is taken for dead; reading a whole split takes minutes.
_PATIENCE_S: Final = 1800.0

#: What each library reads to learn how many threads it may use.
_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class RivalError(MienError):
    """A package failed or its process died; the message is the reason in one line."""


class Participant:
    """The worker of one package; close it, or use it as a context manager.

    Args:
        python: The interpreter of the package's environment.
        adapter: The module of :mod:`adapters` that says how the package is used.
        folder: Where files made for the packages lie, and the packages' home folder.
        log: Where what they print goes.
        threads: Processor threads each may use.
        patience_s: Seconds of silence after which the process is ended.

    Attributes:
        started: ``time.perf_counter()`` just before the process was started.

    Raises:
        RivalError: From :meth:`ask`: the package raised, or its process died.
    """

    def __init__(
        self,
        python: Path,
        adapter: str,
        *,
        folder: Path,
        log: Path,
        threads: int,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.started = time.perf_counter()
        with log.open("w") as said:
            self._process = subprocess.Popen(
                [str(python), "-I", str(_WORKER), adapter, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=worker_variables(folder, threads),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, do: str, **details: Any) -> Any:
        """Return the worker's answer to a request.

        Raises:
            RivalError: The package raised, or its process died or fell silent.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(self._patience_s, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            in_time = timer.is_alive()
            timer.cancel()
        # A line without its end is one that the process died in.
        if not line.endswith("\n"):
            raise RivalError(self._epitaph(in_time=in_time))
        answer = json.loads(line)
        if "error" in answer:
            raise RivalError(last_words(answer["error"]))
        return answer["answer"]

    def close(self) -> None:
        """End the process; its environment stays."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _epitaph(self, *, in_time: bool) -> str:
        if not in_time:
            return f"silent for {self._patience_s:g} s"
        code = self._process.wait()
        said = last_words(self._log.read_text(errors="replace"))
        return (
            f"its process ended with {code}: {said}" if said else f"its process ended with {code}"
        )


def worker_variables(folder: Path, threads: int) -> dict[str, str]:
    """Return the environment variables of a worker: few threads, no GPU, a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {
        **kept,
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        # Some packages keep their weights there; the user's own are neither read nor touched.
        "HOME": str(folder / "home"),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # The cache that a user has from the second use on, whoever's it is.
        "MIEN_CACHE": str(folder / "home" / "mien"),
    }


def last_words(text: str, *, limit: int = 200) -> str:
    """Return the last line that says something, cut short: a traceback's error."""
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next((line[:limit] for line in lines if line), "")
