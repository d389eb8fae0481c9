"""The library is silent until asked, and says where it comes from when debugging."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from bayesdense import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging and warnings as they were."""
    names = (logs.LOGGER, "py.warnings")
    kept = {n: (logging.getLogger(n).handlers[:], logging.getLogger(n).level) for n in names}
    yield
    logging.captureWarnings(False)
    for name, (handlers, level) in kept.items():
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = handlers, True
        logger.setLevel(level)


def log_one_of_each() -> None:
    logger = logging.getLogger("bayesdense.somewhere")
    logger.warning("dates are %s", "odd")
    logger.info("reading")
    logger.debug("row 3")
    logging.getLogger("py.warnings").warning("foreign")


@pytest.mark.parametrize(
    ("verbosity", "lines"),
    [
        (0, ["warning: dates are odd"]),
        (1, ["warning: dates are odd", "info: reading", "warning: foreign"]),
        (
            2,
            [
                "warning: dates are odd",
                "info: reading",
                "debug: row 3 [bayesdense.somewhere]",
                "warning: foreign",
            ],
        ),
    ],
)
def test_verbosity(verbosity: int, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(0)
    logs.configure(verbosity)  # the second call replaces the first: no line comes twice
    log_one_of_each()
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", lines)


def test_warnings_of_other_libraries_are_for_their_developers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(0)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_the_library_is_silent_by_itself() -> None:
    code = "import bayesdense, logging; logging.getLogger('bayesdense.x').warning('psst')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")
