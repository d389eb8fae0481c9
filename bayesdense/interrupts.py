"""Ctrl-C that cannot get lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Says whether Ctrl-C was pressed.
type Interrupted = Callable[[], bool]


def never_interrupted() -> bool:
    """Stand for a run that watches no signals."""
    return False


@contextmanager
def noticing_interrupts() -> Iterator[Interrupted]:
    """Note a first Ctrl-C for whoever polls the function given here; a second one acts at once.

    Raised at any moment, KeyboardInterrupt gets lost in a destructor or in a callback of a
    compiler, which print a traceback and go on; polled, it ends a run at the next safe point. In
    threads other than the main one, which receive no signals, nothing is changed.
    """
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed.is_set
        return

    def notice(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            before(number, frame)
        pressed.set()

    signal.signal(signal.SIGINT, notice)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
