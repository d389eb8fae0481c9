"""Logging for the command line: the library logs under `bayesdense` and never prints."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bayesdense.wording import printable_lines

LOGGER: Final = "bayesdense"
#: Levels for no flag, -v, -vv.
LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Lines(logging.Formatter):
    """One line a record: `warning: text`, with the logger's name when debugging."""

    def format(self, record: logging.LogRecord) -> str:
        """Put the level before the message, as a compiler does."""
        origin = f" [{record.name}]" if record.levelno <= logging.DEBUG else ""
        line = printable_lines(f"{record.levelname.lower()}: {record.getMessage()}{origin}")
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def configure(verbosity: int) -> None:
    """Send the library's log to stderr.

    Parameters
    ----------
    verbosity : int
        0 shows warnings, 1 also what is being done and the warnings of other libraries,
        2 or more also what helps to find a fault.
    """
    level = LEVELS[min(max(verbosity, 0), len(LEVELS) - 1)]
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    logging.captureWarnings(True)
    for name, threshold in ((LOGGER, level), ("py.warnings", _foreign(level))):
        logger = logging.getLogger(name)
        for old in [h for h in logger.handlers if isinstance(h.formatter, _Lines)]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(threshold)
        logger.propagate = False


@contextmanager
def quietened(name: str, level: int) -> Iterator[None]:
    """Keep what another library's logger says below a level off stderr, for a while."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def _foreign(level: int) -> int:
    """Warnings of other libraries concern their developers: they are shown from -v on."""
    return logging.WARNING if level <= logging.INFO else logging.ERROR
