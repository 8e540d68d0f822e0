import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.cache import atomic_write
from mien.cli.signals import exit_on_signals, stop_on_signals

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


@pytest.mark.parametrize("name", NAMES[1:])
def test_what_is_half_written_goes_when_the_process_is_ended(
    name: str, handlers: list[object], tmp_path: Path
) -> None:
    number = getattr(signal, name)

    def write_half() -> None:
        with exit_on_signals(), atomic_write(tmp_path / "faces.csv") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), number)

    with pytest.raises(SystemExit) as ended:
        write_half()

    assert ended.value.code == 128 + number
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(getattr(signal, each)) for each in NAMES] == handlers
