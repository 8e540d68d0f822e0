import os
import signal
from collections.abc import Iterator

import pytest

from mien.cli.video_progress import stop_on_signals

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


@pytest.fixture
def handlers() -> Iterator[list[object]]:
    """Python's own handlers, which pytest may have changed, for the time of a test."""
    before = {name: signal.getsignal(getattr(signal, name)) for name in NAMES}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield [signal.getsignal(getattr(signal, name)) for name in NAMES]
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.mark.parametrize("name", NAMES)
def test_signals_ask_to_stop_and_are_put_back(name: str, handlers: list[object]) -> None:
    with stop_on_signals() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), getattr(signal, name))
        assert should_stop()

    assert [signal.getsignal(getattr(signal, each)) for each in NAMES] == handlers


@pytest.mark.usefixtures("handlers")
def test_only_ctrl_c_pressed_again_interrupts_at_once() -> None:
    with stop_on_signals() as should_stop:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("handlers")
def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with stop_on_signals() as should_stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not should_stop()
