"""Errors that a user can act on: each says what is wrong, where, and what to do."""

from collections.abc import Sequence

from bayesdense.wording import printable_lines


class BayesdenseError(Exception):
    """Base of every error that the command line turns into one readable message (exit status 2).

    The message may quote names and contents of any file: what a terminal could act on is escaped.
    """

    def __str__(self) -> str:
        """Return the message as a terminal may show it."""
        return printable_lines(super().__str__())


class DatasetError(BayesdenseError):
    """A dataset that cannot be used; `problems` holds one line per problem, all of them at once.

    Parameters
    ----------
    source
        Name or folder of the dataset.
    problems
        One line each.
    """

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        super().__init__("\n".join([f"{source}: {count} {noun}", *self.problems]))


class SpecError(BayesdenseError):
    """A model specification that cannot be used, or that does not fit the dataset."""


class FitFolderError(BayesdenseError):
    """A fit folder that is missing, incomplete, altered, or in the way."""


class CheckFailure(BayesdenseError):
    """At least one check of a fit failed; raised by `Checks.raise_for_failure`."""


class JobError(BayesdenseError):
    """Jobs that cannot be run: what they are, their folder, or where they shall run."""


class ReportError(BayesdenseError):
    """A report that could not be made; the fit that it is of is whole."""
