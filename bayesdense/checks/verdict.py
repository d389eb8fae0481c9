"""What a check found, and all checks of a fit together."""

import math
from dataclasses import dataclass
from typing import Final

from bayesdense.checks.thresholds import THRESHOLDS, Bound, Limit, Status
from bayesdense.errors import CheckFailure
from bayesdense.statements import format_number

type Value = float | int | str | None

_SEVERITY: Final[tuple[Status, ...]] = ("pass", "review", "fail")
_NONE: Final = "-"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check.

    Attributes
    ----------
    name
        A field of `Thresholds`, with what it was applied to in brackets: `loo_pit[MMLU]`.
    status
        "pass", "review" or "fail".
    value
        What was measured; None where there was nothing to measure.
    threshold
        What the value must keep to pass: a number, or two that it must lie between.
    advice
        What was found and, unless passed, what to do.
    """

    name: str
    status: Status
    value: Value
    threshold: Bound | None
    advice: str

    def to_dict(self) -> dict[str, object]:
        """Return the check as `summary.json` holds it."""
        threshold = self.threshold
        return {
            "name": self.name,
            "status": self.status,
            "value": json_number(self.value),
            "threshold": list(threshold) if isinstance(threshold, tuple) else threshold,
            "advice": self.advice,
        }

    def __str__(self) -> str:
        """One line: status, name, value against threshold, advice."""
        advice = f"  {self.advice}" if self.advice else ""
        return (
            f"{self.status.upper():6} {self.name}: {_text(self.value)} "
            f"(threshold {_text(self.threshold)}){advice}"
        )


@dataclass(frozen=True, slots=True)
class Checks:
    """All checks of a fit.

    Attributes
    ----------
    items
        Every check that was made, also those that passed.
    max_rhat, min_ess_bulk, min_ess_tail
        Worst over global parameters, family and run effects and the derived growth rate and
        doubling time; sizes have items of their own. None where nothing was sampled.
    divergences
        Number of divergent draws after tuning.
    """

    items: tuple[CheckResult, ...]
    max_rhat: float | None = None
    min_ess_bulk: float | None = None
    min_ess_tail: float | None = None
    divergences: int | None = None

    @property
    def status(self) -> Status:
        """The worst status of any item."""
        return max((item.status for item in self.items), key=_SEVERITY.index, default="pass")

    def of_status(self, status: Status) -> tuple[CheckResult, ...]:
        """Return the checks with this status."""
        return tuple(item for item in self.items if item.status == status)

    def to_dict(self) -> dict[str, object]:
        """Return the section `checks` of `summary.json`, as plain JSON values."""
        return {
            "status": self.status,
            "max_rhat": json_number(self.max_rhat),
            "min_ess_bulk": json_number(self.min_ess_bulk),
            "min_ess_tail": json_number(self.min_ess_tail),
            "divergences": self.divergences,
            "items": [item.to_dict() for item in self.items],
        }

    def raise_for_failure(self) -> None:
        """Raise if a check failed.

        Raises
        ------
        CheckFailure
            Names every check that failed, with its advice. A review raises nothing.
        """
        failed = self.of_status("fail")
        if failed:
            noun = "check" if len(failed) == 1 else "checks"
            raise CheckFailure("\n".join([f"{len(failed)} {noun} failed", *map(str, failed)]))

    def __str__(self) -> str:
        """Table of every check, and the verdict."""
        counts = ", ".join(f"{len(self.of_status(s))} {s}" for s in _SEVERITY)
        rows = [("check", "status", "value", "threshold")]
        rows += [
            (item.name, item.status.upper(), _text(item.value), _text(item.threshold))
            for item in self.items
        ]
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        advice = [str(item) for status in ("fail", "review") for item in self.of_status(status)]
        return "\n".join([*lines, f"checks: {self.status.upper()} ({counts})", *advice])


def judged(
    name: str, value: float, found: str = "", remedy: str = "", *, of: str | None = None
) -> CheckResult:
    """Judge a value by the threshold of its check.

    Parameters
    ----------
    name
        A field of `Thresholds`.
    value
        What was measured.
    found
        A fact worth knowing, also when passed.
    remedy
        What to do unless passed.
    of
        What the check was applied to.
    """
    limit: Limit = getattr(THRESHOLDS, name)
    status = limit.judge(value)
    advice = found if status == "pass" else "; ".join(filter(None, (found, remedy)))
    return CheckResult(_label(name, of), status, value, limit.bound, advice)


def informed(name: str, value: Value, found: str, *, of: str | None = None) -> CheckResult:
    """Report something that always passes but shall be read."""
    limit: Limit = getattr(THRESHOLDS, name)
    return CheckResult(_label(name, of), "pass", value, limit.bound, found)


def unmeasured(name: str, advice: str) -> CheckResult:
    """Report a check that should have been made, and could not: a review."""
    limit: Limit = getattr(THRESHOLDS, name)
    return CheckResult(name, "review", None, limit.bound, advice)


def _label(name: str, of: str | None) -> str:
    """Name of a check with what it was applied to."""
    return name if of is None else f"{name}[{of}]"


def _text(value: Value | Bound) -> str:
    """Write a value or a threshold for people."""
    if isinstance(value, tuple):
        return f"{value[0]:g} to {value[1]:g}"
    if value is None or isinstance(value, str):
        return value or _NONE
    return format_number(value, digits=4) if math.isfinite(value) else str(value)


def json_number(value: Value) -> Value:
    """Return a value that JSON knows: a number that is not finite becomes None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
