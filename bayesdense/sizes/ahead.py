"""Compiling on two cores: a second process fills numba's cache with what a fit will ask for.

numba compiles one function at a time in a process, and keeps the machine code on disk. Where that
cache is empty a fit would compile for half a minute on one core, the density that is sampled before
sampling and the functions of `normal` after it. So a second process begins with what the first
reaches last. It can only help: where it cannot start, fails or is late, the first compiles what it
does not find.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, get_type_hints

import numba
import numpy as np

from bayesdense import joint_kernel
from bayesdense.arrays import Floats, Ints
from bayesdense.sizes import normal

#: Seconds for which unfinished work is waited for: on an idle machine it takes no longer, and on a
#: busy one this process had better do it itself.
_PATIENCE: Final = 10.0
#: Added to the process's nice value, so that it takes no time from sampling.
_NICE: Final = 5

#: numba's dispatchers and types of their own have no annotations.
type Function = Any


def calls() -> list[tuple[Function, tuple[object, ...]]]:
    """Functions to compile, in the order in which a fit reaches them, and arguments.

    The first three are parts of the density; others of its parts the first process has compiled by
    the time that a second one runs. The arguments are empty, but of the types that numba tells
    apart: numbers, dims and layout.
    """
    one, two, three = (np.empty((1,) * n_dims) for n_dims in (1, 2, 3))
    count, number = np.empty(1, dtype=np.int64), 0.0
    made: dict[object, Any] = {Floats: one, Ints: count, int: 0}
    maps, slots = (
        table._make(made[kind] for kind in get_type_hints(table).values())
        for table in (joint_kernel.Maps, joint_kernel.Slots)
    )
    whitened = joint_kernel.Whitened(two, count, two)
    block = normal.Block(three, three, three, two, two, one)
    cells = normal.Cells(one, count, count, count, two, number, number, number)
    laws, rule = normal.Laws(three, three, three, two), normal.Rule(one, one, one)
    families = normal.Families(count, count)
    return [
        (
            joint_kernel.score_sum,
            (two, two, one, one, one, one, one, one, count, count, count, count, count),
        ),
        (joint_kernel.pull_back, (one, one, maps, slots, one)),
        (joint_kernel.discolour, (whitened, one, one, one, number)),
        (joint_kernel.unpack_all, (two, count, one, maps, slots)),
        (normal.laws_on, (one, block, cells)),
        (normal.log_totals, (laws, block, cells, rule)),
        (normal.draw_sizes, (laws, block, cells, rule, two)),
        (normal.likelihood_bounds, (laws, cells, one, number)),
        (normal.family_terms, (laws, block, cells, families, rule, one)),
        (normal.left_out_cdf, (laws, block, cells, families, rule, number)),
    ]


def types_of(arguments: tuple[object, ...]) -> tuple[object, ...]:
    """Types by which numba tells calls apart."""
    return tuple(numba.typeof(argument) for argument in arguments)  # type: ignore[no-untyped-call]


def compile_all() -> None:
    """Compile every function that numba's cache does not hold, and put it there.

    numba looks at what a source says, `is_kept` at when it was written: where the same source has
    been written again, its machine code is made to look newer.
    """
    for function, arguments in calls():
        function.compile(types_of(arguments))
        with contextlib.suppress(OSError):
            for index in _indices(function):
                index.touch()


def is_kept(function: Function) -> bool:
    """Whether numba's cache holds machine code of a function that is newer than its source.

    That of another numba or processor counts as well, for which the only cost is time.
    """
    try:
        written = _source(function).stat().st_mtime
        return any(index.stat().st_mtime >= written for index in _indices(function))
    except OSError:
        return True  # nothing can be told, and nothing is risked by not helping


def _source(function: Function) -> Path:
    return Path(function.py_func.__code__.co_filename)


def _indices(function: Function) -> Iterator[Path]:
    """Where numba says what it keeps of a function."""
    pattern = f"{_source(function).stem}.{function.__name__}-*.nbi"
    return Path(function.stats.cache_path).glob(pattern)


@contextlib.contextmanager
def compiling(*, wanted: bool) -> Iterator[Callable[[], None]]:
    """Let another process compile, if that is wanted and would help; it ends with the context.

    Yields
    ------
    Callable
        Waits until all is compiled, or for some seconds.
    """
    helper = _start() if wanted and _would_help() else None
    if helper is None:
        yield lambda: None
        return

    def wait() -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            helper.wait(_PATIENCE)

    try:
        yield wait
    finally:
        helper.kill()
        helper.wait()
        if helper.stdin is not None:
            helper.stdin.close()


def _would_help() -> bool:
    """Whether numba compiles at all, and has something to compile."""
    compiles = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    return compiles and not all(is_kept(function) for function, _ in calls())


def _start() -> "subprocess.Popen[bytes] | None":
    """Start the process; None where there is no Python to start it with."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return None
    # -P: of what lies in the user's folder nothing is imported
    command = [sys.executable, "-P", "-m", __name__]
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None


def _end_with_parent() -> None:
    """Wait for the end of a pipe that the parent holds open for as long as it lives."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def _main() -> None:
    """Compile at low priority, for as long as the parent lives."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    compile_all()


if __name__ == "__main__":
    _main()
