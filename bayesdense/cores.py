"""How many cores there are to work with."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_ALLOWED: Final[ContextVar[int | None]] = ContextVar("_ALLOWED", default=None)


def usable_cores() -> int:
    """Cores that this process may use, where the system tells; else all; no more than `at_most`."""
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    else:
        there = os.cpu_count() or 1
    allowed = _ALLOWED.get()
    return there if allowed is None else min(there, allowed)


@contextmanager
def at_most(cores: int) -> Iterator[None]:
    """Let what is called inside use no more than some cores."""
    token = _ALLOWED.set(cores)
    try:
        yield
    finally:
        _ALLOWED.reset(token)
