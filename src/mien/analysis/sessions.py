"""Opening ONNX models, with the settings that suit small networks on a processor."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mien.machine import usable_cores

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(model: Path | bytes, *, threads: int = 0) -> "InferenceSession":
    """Open a model to run on the processor.

    Args:
        model: The file, or its contents.
        threads: Processor threads; 0 for as many as there are cores to use.

    Raises:
        ValueError: ``threads`` is negative.
    """
    check_threads(threads)
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or _default_threads()
    options.log_severity_level = 3
    # Threads that wait without letting the core go made an answer three times as slow (200 against
    # 62 ms, two threads) wherever another process had work for that core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _default_threads() -> int:
    """Return 0, for ONNX Runtime's choice, or the cores of a process that may not use them all.

    By itself it starts a thread for each core of the machine and binds it there, or tries to.
    """
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else 0


def check_threads(threads: int) -> None:
    """Raise :class:`ValueError` where a number of threads is negative, or not whole."""
    if threads < 0 or threads != int(threads):
        raise ValueError(f"threads must be 0, for all cores, or more, got {threads}")
