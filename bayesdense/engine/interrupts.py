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
    """Remember that Ctrl-C was pressed, beside raising KeyboardInterrupt as ever.

    The exception is lost where it is raised inside a destructor, or in a callback of a compiler or
    of another library; whoever polls the function given here still learns of it. In threads
    other than the main one, which receive no signals, nothing is changed.
    """
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed.is_set
        return

    def notice(number: int, frame: FrameType | None) -> None:
        pressed.set()
        before(number, frame)

    signal.signal(signal.SIGINT, notice)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
