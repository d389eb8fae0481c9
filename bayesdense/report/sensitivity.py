"""What would change the answer: what the fit itself can tell, and the fits that would tell more.

What studies of many fits say of it is in `studies`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bayesdense.checks.influence import UNITS, influence, no_influence
from bayesdense.checks.sensitivity import Sensitivity, sensitivity, width_command
from bayesdense.checks.thresholds import THRESHOLDS
from bayesdense.commands import other_fit
from bayesdense.errors import BayesdenseError
from bayesdense.results import Fit
from bayesdense.statements import format_number, signed
from bayesdense.wording import printable

#: LLMs and families that are shown.
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Question:
    """Something that could change the answer, and the command that tells by how much."""

    key: str
    title: str
    why: str
    command: str


def questions(fit: Fit) -> list[Question]:
    """Other fits that the answer should be compared with."""
    return [
        Question(key, title, why, other_fit(fit, key, value))
        for key, value, title, why in (*(_JOINT if fit.spec.is_joint else ()), *_ANY)
        if not _is_set(fit, key, value)
    ]


_JOINT: Final = (
    (
        "feedback", "cut", "Law and map from the reference data alone",
        "In a joint fit the LLMs' scores move law and map too.",
    ),
    (
        "reference_tokens", "1e12", "Another D0",
        "Density is defined by the tokens of the reference LLM: 1T in the paper's preprint, 5T in "
        "its article.",
    ),
    (
        "params", "total", "Another count of parameters",
        "Density is defined by what is counted as size, too.",
    ),
    (
        "loss_law", "additive", "A loss law without a floor",
        "The law is extrapolated far beyond its runs, and its form decides how.",
    ),
)  # fmt: skip
_ANY: Final = (
    (
        "trend", "flat", "No growth at all",
        "The null hypothesis, to be compared by its checks.",
    ),
    (
        "residual", "student_t", "Outliers among LLMs",
        "A residual with heavy tails leans less on single LLMs.",
    ),
    (
        "residual", "composed", "The frontier of families",
        "The trend of the best of a family in place of that of a typical LLM.",
    ),
    (
        "family", "none", "LLMs without families",
        "Taken for independent, relatives count as more witnesses than they are.",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Leaning:
    """What growth leans on, as rows of text.

    Attributes
    ----------
    absent
        Why there is nothing; else empty.
    verdict
        Whether growth leans on a prior, and on which.
    command
        Command line of the fits that tell by how much; empty where none is needed.
    parts
        (part, sensitivity, shift, largest entry) of groups of priors, then of the data.
    left_out
        Kind of unit -> (name, growth without it, shift, Pareto k) of those that move growth most.
    """

    absent: str = ""
    verdict: str = ""
    command: str = ""
    parts: tuple[tuple[str, str, str, str], ...] = ()
    left_out: Mapping[str, tuple[tuple[str, str, str, str], ...]] = field(default_factory=dict)


def leaning(fit: Fit) -> Leaning:
    """Say what growth leans on: priors and data by power scaling, LLMs and families left out."""
    try:
        found = sensitivity(fit)
    except BayesdenseError as error:
        return Leaning(absent=f"What growth leans on was not computed: {error}.")
    named = [part.name for part in found.named]
    known = ((unit, many) for unit, many in UNITS.items() if not no_influence(fit, unit))
    return Leaning(
        verdict=_verdict(found),
        command=width_command(fit, named) if named else "",
        parts=tuple(_part_rows(found)),
        left_out={many: tuple(_left_out_rows(fit, unit)) for unit, many in known},
    )


def _verdict(found: Sensitivity) -> str:
    """Whether growth leans on a prior."""
    if not found.named:
        return (
            f"Growth leans on no prior: the largest is {found.largest}, and from "
            f"{THRESHOLDS.psense.good:g} on it would count."
        )
    return f"Growth leans on {found.leans_on}: {found.diagnosis}."


def _part_rows(found: Sensitivity) -> Iterator[tuple[str, str, str, str]]:
    """Groups of priors with their largest entries, then parts of the data."""
    for part in (found.prior, *found.groups, found.likelihood, *found.likelihoods):
        entries = [entry for entry in found.entries if entry.group == part.name]
        largest = max(entries, key=lambda entry: entry.sensitivity) if entries else None
        trust = "" if part.is_reliable else f" (Pareto k {part.pareto_k:.2f}: not to be trusted)"
        yield (
            f"{part.about}",
            f"{part.sensitivity:.3f}{trust}",
            signed(part.shift_in_sd),
            "" if largest is None else f"{largest.name} ({largest.sensitivity:.3f})",
        )


def _left_out_rows(fit: Fit, unit: str) -> Iterator[tuple[str, str, str, str]]:
    """Units without which growth moves most."""
    for row in influence(fit, unit).head(_SHOWN).to_dict("records"):
        growth = f"{format_number(row['growth_median'])} (sd {format_number(row['growth_sd'])})"
        trust = "" if row["reliable"] else ": only a refit can tell"
        k = f"{row['pareto_k']:.2f}{trust}"
        yield printable(row["name"]), growth, signed(row["shift_in_sd"]), k


def _is_set(fit: Fit, key: str, value: str) -> bool:
    """Whether the fit has this choice already."""
    spec = fit.spec
    if key in spec.components:
        return spec.component(key).kind == value
    now = getattr(spec.options, key)
    return bool(now == (float(value) if isinstance(now, float) else value))
