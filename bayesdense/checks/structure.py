"""What the answer leans on: single LLMs, the size scale, the residual's shape, extrapolation."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats  # type: ignore[attr-defined]
from scipy.special import ndtr

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.checks.arrays import matrix
from bayesdense.checks.influence import UNITS, influence_item, left_out, no_influence
from bayesdense.checks.stages import is_cut
from bayesdense.checks.thresholds import THRESHOLDS
from bayesdense.checks.verdict import CheckResult, informed, judged, unmeasured
from bayesdense.names import DRAW, FAMILY, LLM
from bayesdense.results import Fit
from bayesdense.smoothing import LEAST_SMOOTHED, can_smooth
from bayesdense.statements import FAR, format_count, format_number
from bayesdense.wording import listing

_kde: Callable[..., Any] = array_stats.kde  # ArviZ has no annotations

_NAMED: Final = 5
_GOOD_K: Final = THRESHOLDS.pareto_k.good
#: Reference data that are left out one by one.
_REFERENCE: Final[Mapping[str, str]] = MappingProxyType(
    {"loss": "losses of a size", "loss_score": "calibration points"}
)


def structure(fit: Fit) -> Iterator[CheckResult]:
    """Check what the answer leans on, as far as the fit holds what it takes."""
    yield from _pareto_k(fit)
    yield from _size_coefficient(fit)
    yield from _one_sided_term(fit)
    yield from _extrapolation(fit)


def _pareto_k(fit: Fit) -> Iterator[CheckResult]:
    """Check that leaving out any one LLM needs no refit, and say what it would do to growth.

    A cut fit has no such posterior.
    """
    likelihood = fit.group("log_likelihood")
    if is_cut(fit):
        return
    for name in (LLM, FAMILY, *_REFERENCE):
        if name not in likelihood:
            continue
        if not can_smooth(likelihood[name]):
            if name == LLM:
                why = f"Pareto smoothing takes {LEAST_SMOOTHED} draws that differ"
                yield unmeasured("pareto_k", why)
            continue
        found = left_out(fit, name)
        if name != FAMILY:
            yield _k_item(name, found.pareto_k)
        if name in UNITS and not no_influence(fit, name):
            yield influence_item(fit, name, found)


def _k_item(name: str, values: xr.DataArray) -> CheckResult:
    """Judge the Pareto k of LLMs.

    The ends of a ladder hold the law, so that k is high there under any data: that is only said.
    """
    rows = [str(row) for row in values[values.dims[0]].values]
    high = [row for row, k in zip(rows, values.values, strict=True) if not k <= _GOOD_K]
    largest = float(values.max(skipna=False))
    if name != LLM:
        what = _REFERENCE[name]
        found = f"{what} whose omission takes a refit: {listing(high, _NAMED)}" if high else ""
        return informed("pareto_k_reference", largest, found, of=name)
    found = f"LLMs that move the posterior: {listing(high, _NAMED)}" if high else ""
    remedy = "leaving them out needs a refit without them; look at their data"
    return judged("pareto_k", largest, found, remedy)


@dataclass(frozen=True, slots=True)
class Slope:
    """Slope of log density on log parameters as the score test of slope 0 has it.

    Attributes
    ----------
    estimate
        One Newton step from 0 towards the maximum of the likelihood of the slope.
    information
        Observed information at 0, 1/variance of the estimate; not positive where the likelihood
        has no maximum near 0, and nothing else is known.
    growth_shift
        By how much the growth rate would change with the slope, 1/year.
    """

    estimate: float
    information: float
    growth_shift: float

    @property
    def sd(self) -> float:
        """Standard error of the step; no interval, as the likelihood need not be quadratic."""
        return 1.0 / math.sqrt(self.information)

    @property
    def p_positive(self) -> float:
        """Normal probability of the score test: near 0 or 1, the data ask for a slope."""
        return float(ndtr(self.estimate / self.sd))


def size_slope(fit: Fit) -> Slope | None:
    """Slope that log density would have on log parameters beside trend and family.

    With u and i the derivatives that the fit holds (`size_slope.slope_derivatives`), the
    likelihood of the slope with everything else integrated out has at 0 the score E[u] and the
    information E[i] - Var[u] (Louis 1982); the slope's estimate is their ratio. Growth moves with
    it by Cov[growth, u] per unit.

    Returns
    -------
    Slope or None
        None where the fit holds no derivatives: parameters are unknown or do not vary beside
        time, or the fit is cut.
    """
    group = fit.group("size_slope")
    if "score" not in group:
        return None
    u = matrix(group["score"])[:, 0]
    information = float(group["information"].mean()) - float(u.var(ddof=1))
    estimate = float(u.mean()) / information
    growth = matrix(derive.growth_rate(fit).draws.sel({DRAW: group[DRAW]}))[:, 0]
    return Slope(estimate, information, float(np.cov(growth, u)[0, 1]) * estimate)


def _size_coefficient(fit: Fit) -> Iterator[CheckResult]:
    """Check that density does not go with size."""
    slope = size_slope(fit)
    if slope is None:
        return
    if not slope.information > 0:
        yield unmeasured(
            "size_coefficient", "the likelihood of a slope on size has no maximum near 0"
        )
        return
    yield judged(
        "size_coefficient",
        slope.p_positive,
        f"score test of a slope of log density on log parameters; one step from 0 gives "
        f"{slope.estimate:.2f} (standard error {slope.sd:.2f}) and moves growth by "
        f"{slope.growth_shift:+.2f} per year",
        "effective sizes are stretched or shrunk, or larger LLMs are denser: compare forms of "
        "the law, and counts of parameters",
    )


def _one_sided_term(fit: Fit) -> Iterator[CheckResult]:
    """Check that the data say something of the one-sided sd of a composed residual."""
    name = "one_sided_sd"
    if fit.spec.residual != "composed" or name not in fit.posterior:
        return
    if name not in fit.group("prior"):
        yield unmeasured("one_sided_term", "the fit kept no prior draws of one_sided_sd: fit again")
        return
    value = overlap(matrix(fit.posterior[name])[:, 0], matrix(fit.group("prior")[name])[:, 0])
    yield judged(
        "one_sided_term",
        value,
        "overlap of posterior and prior",
        "the data do not ask for a one-sided term: use residual.kind = symmetric",
    )


def overlap(left: Floats, right: Floats) -> float:
    """Overlap of two densities of positive numbers: the integral of the smaller one, 0 to 1."""
    limits = (0.0, float(max(left.max(), right.max())))
    grid, p, _ = _kde(left, custom_lims=limits)
    _, q, _ = _kde(right, custom_lims=limits)
    return float(np.trapezoid(np.minimum(p, q), grid))


def _extrapolation(fit: Fit) -> Iterator[CheckResult]:
    """Say how far the answer lies outside the reference runs."""
    if not fit.spec.is_joint:
        return
    tokens, largest = derive.tokens_beyond(fit), derive.largest_reference(fit)
    if np.isfinite(tokens):
        yield informed("extrapolation_tokens", tokens, _tokens_text(tokens))
    if np.isfinite(largest) and "log_effective_params" in fit.posterior:
        log_sizes = np.median(matrix(derive.log_effective_params(fit)), axis=0)
        yield _sizes_item(log_sizes - np.log(largest), largest)


def _tokens_text(ratio: float) -> str:
    """Say how D0 compares with the longest training."""
    text = f"D0 is {format_number(ratio)} times the longest training of the reference runs"
    return f"{text}: the level of density rests on the form of the law" if ratio > FAR else text


def _sizes_item(log_ratio: Floats, largest: float) -> CheckResult:
    """Say how many sizes lie far beyond the largest reference run."""
    far = int((log_ratio > np.log(FAR)).sum())
    with np.errstate(over="ignore"):
        value = float(np.exp(log_ratio.max()))
    text = (
        f"{far} of {len(log_ratio)} effective sizes are more than {FAR:.0f} times the largest "
        f"reference run ({format_count(largest)} parameters)"
    )
    return informed("extrapolation_sizes", value, text)
