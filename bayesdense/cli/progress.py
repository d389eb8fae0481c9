"""Progress on stderr: a live line on a terminal, plain lines elsewhere, nothing with --quiet."""

import time
from types import TracebackType
from typing import Final, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from bayesdense.cli.options import STARTED
from bayesdense.cli.output import stderr
from bayesdense.wording import printable_lines

#: A log file gets a line at each of so many equal parts of a sampling run, and not much later
#: than so many seconds after the one before, so that a slow run does not look like a dead one.
_PARTS: Final = 4
_PATIENCE: Final = 60.0


class Reporter:
    """Tell the user what is being done, stage by stage, and how far sampling is.

    A context manager: the live line is taken away when it ends, also on an error, so that
    messages stand on lines of their own.

    Parameters
    ----------
    quiet : bool
        Say nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._console = stderr()
        self._quiet = quiet
        self._began = STARTED
        self._part, self._said = -1, 0.0
        self._total = 0
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("         {task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        """Start the live line, where there is a terminal."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the live line away."""
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return time.perf_counter() - self._began

    def stage(self, name: str) -> None:
        """Say what begins now, with the seconds since the start."""
        self._end_sampling()
        self._line(name)

    def sampling(self, done: int, total: int, divergences: int = 0) -> None:
        """Say how many of all draws (tuning included, all chains) are done."""
        note = f"sampling, divergences: {divergences}" if divergences else "sampling"
        self._advance(note, done, total, f"{note}; {done} of {total} draws")

    def jobs(self, done: int, failed: int, total: int, seconds_left: float | None) -> None:
        """Say how many jobs of a study are done and failed, and how long the others may take."""
        note = f"jobs, failed: {failed}" if failed else "jobs"
        left = f", {_duration(seconds_left)} left" if seconds_left else ""
        line = f"{note}; {done + failed} of {total} finished{left}"
        self._advance(f"{note}{left}", done + failed, total, line)

    def _advance(self, note: str, done: int, total: int, line: str) -> None:
        """Move the bar, or write a line where there is no terminal and enough has happened."""
        if self._task is None:
            self._task = self._bar.add_task(note, total=total)
        self._bar.update(self._task, completed=done, total=total, description=note)
        if total != self._total:  # another wave of jobs
            self._total, self._part = total, -1
        part = _PARTS * done // max(total, 1)
        late = self.seconds - self._said > _PATIENCE
        if (part > self._part or late) and not self._console.is_terminal:
            self._part, self._said = part, self.seconds
            self._line(line)

    def _end_sampling(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task, self._part = None, -1

    def _line(self, text: str) -> None:
        """Write one line with the time."""
        if not self._quiet:
            line = f"{self.seconds:6.1f} s {printable_lines(text)}"
            self._console.print(line, markup=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    """About how long something takes: 40 s, 5 min, 3.2 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
