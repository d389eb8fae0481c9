"""What would change the answer: what the fit itself can tell, and the fits that would tell more.

What studies of many fits say of it is in `studies`.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import xarray as xr
from arviz_stats.psense import psense_summary

from bayesdense import derive
from bayesdense.checks.stages import is_cut
from bayesdense.report.commands import other_fit
from bayesdense.results import Fit
from bayesdense.statements import format_number

_psense: Callable[..., Any] = psense_summary
#: Above this ArviZ calls a quantity sensitive (Kallioinen et al. 2024).
_SENSITIVE: Final = 0.05
#: Parts of a fit's likelihood that multiply; those of LLMs within families do not.
_LIKELIHOODS: Final = ("family", "loss", "loss_score")


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


def prior_sensitivity(fit: Fit) -> str:
    """Say how growth moves as the priors are made stronger or weaker (power scaling by ArviZ)."""
    prior = fit.group("log_prior")
    growth = derive.growth_rate(fit).draws
    if is_cut(fit) or not prior.data_vars or float(growth.std()) == 0.0:
        return "Not computed: power scaling takes one posterior of all data in which growth varies."
    likelihood = fit.group("log_likelihood")
    parts = [name for name in _LIKELIHOODS if name in likelihood]
    if not parts:
        return "Not computed: the fit kept no log likelihoods."
    tree = xr.DataTree.from_dict(
        {
            "/posterior": xr.Dataset({"growth": growth}),
            "/log_prior": prior,
            "/log_likelihood": likelihood[parts],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importance weights of a few draws: said as a number
        row = _psense(tree).iloc[0]
    strength = float(row["prior"])
    verdict = "sensitive" if strength > _SENSITIVE else "not sensitive"
    return (
        f"Growth is {verdict} to the priors as a whole: power scaling moves it by "
        f"{format_number(strength, digits=2)} (above {_SENSITIVE:g} counts as sensitive; the same "
        f"for the likelihood is {format_number(float(row['likelihood']), digits=2)})."
    )


def _is_set(fit: Fit, key: str, value: str) -> bool:
    """Whether the fit has this choice already."""
    spec = fit.spec
    if key in spec.components:
        return spec.component(key).kind == value
    now = getattr(spec.options, key)
    return bool(now == (float(value) if isinstance(now, float) else value))
