"""Work on every draw of a posterior, on all cores."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bayesdense.arrays import Ints
from bayesdense.cores import usable_cores

#: Draws taken by a thread at a time: enough to be worth handing over, few enough to share evenly.
_BLOCK = 50


def over_draws(size: int, work: Callable[[int], None]) -> None:
    """Call `work(draw)` for each of `size` draws, several at a time.

    Threads do: nearly all of the work is in compiled functions, which let go of the interpreter's
    lock. What `work` writes has to be the draw's own, so that the order of draws cannot matter.
    """

    def block(draws: Ints) -> None:
        for draw in draws.tolist():
            work(draw)

    over_blocks(np.arange(size), block)


def over_blocks(draws: Ints, work: Callable[[Ints], None], at_once: int = _BLOCK) -> None:
    """Call `work` with some of the draws at a time, as `over_draws` does."""
    pool = ThreadPoolExecutor(usable_cores())
    try:
        blocks = [draws[first : first + at_once] for first in range(0, len(draws), at_once)]
        for done in [pool.submit(work, block) for block in blocks]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C or an error nobody reads the rest
