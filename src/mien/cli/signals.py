"""Stopping on Ctrl-C, SIGTERM and a closed terminal, with nothing lost or half-written."""

import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

#: Ctrl-C; what ``docker stop``, systemd and ``timeout`` send; what a closed terminal sends, which
#: Windows does not know.
_STOPPING: Final = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether to stop: by Ctrl-C, SIGTERM, or SIGHUP of a closed terminal.

    Ctrl-C pressed again interrupts at once; the other two may come twice of themselves. What is
    ignored, as SIGHUP is under nohup, stays so.
    """
    is_asked = False

    def ask(number: int, _: Any) -> None:
        nonlocal is_asked
        if number == getattr(signal, "SIGHUP", None):
            _leave_lost_terminal()
        if is_asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        is_asked = True

    with _handled(_STOPPING, ask):
        yield lambda: is_asked


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, end what is under way as Ctrl-C does.

    Left alone they end the process as it stands, and half a file stays behind.
    """

    def leave(number: int, _: Any) -> None:
        if number == getattr(signal, "SIGHUP", None):
            _leave_lost_terminal()
        sys.exit(128 + number)

    with _handled(_STOPPING[1:], leave):
        yield


@contextmanager
def _handled(names: tuple[str, ...], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle signals in the main thread, which alone gets them, and put back what did before."""
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for name in names:
                number = getattr(signal, name, None)
                # None: its handler is not Python's, and could not be put back.
                if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
                    continue
                stack.callback(signal.signal, number, signal.signal(number, handler))
        yield


def _leave_lost_terminal() -> None:
    """Write nowhere what would go to a terminal that is gone, where writing fails."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        for number in (1, 2):
            if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
                os.dup2(nowhere.fileno(), number)
