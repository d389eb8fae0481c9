"""What the answer leans on: single LLMs, the size scale, the residual's shape, extrapolation."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats  # type: ignore[attr-defined]
from arviz_stats.loo import loo
from scipy.optimize import brentq
from scipy.special import ndtr

from bayesdense import derive
from bayesdense.checks.arrays import Floats, Ints, index, labels, matrix
from bayesdense.checks.stages import is_cut
from bayesdense.checks.thresholds import THRESHOLDS
from bayesdense.checks.verdict import CheckResult, informed, judged, unmeasured
from bayesdense.estimates import tails
from bayesdense.names import CI_PROB, LLM
from bayesdense.results import Fit
from bayesdense.statements import FAR, format_count, format_number
from bayesdense.wording import listing

_loo: Callable[..., Any] = loo  # ArviZ has no annotations
_kde: Callable[..., Any] = array_stats.kde

_NAMED: Final = 5
_GOOD_K: Final = THRESHOLDS.pareto_k.good


def structure(fit: Fit) -> Iterator[CheckResult]:
    """Check what the answer leans on, as far as the fit holds what it takes."""
    yield from _pareto_k(fit)
    yield from _size_coefficient(fit)
    yield from _one_sided_term(fit)
    yield from _extrapolation(fit)


def _pareto_k(fit: Fit) -> Iterator[CheckResult]:
    """Check that leaving out any one LLM needs no refit; a cut fit has no such posterior."""
    likelihood = fit.group("log_likelihood")
    if LLM not in likelihood or is_cut(fit):
        return
    values = pareto_k(fit)
    names = labels(fit, LLM) or [str(k) for k in range(values.size)]
    high = [name for name, k in zip(names, values.values, strict=True) if not k <= _GOOD_K]
    found = f"LLMs that move the posterior: {listing(high, _NAMED)}" if high else ""
    remedy = "their leave-one-out scores need a refit without them; look at their data"
    yield judged("pareto_k", float(values.max(skipna=False)), found, remedy)


def pareto_k(fit: Fit) -> xr.DataArray:
    """Pareto k-hat of leaving out each LLM, by ArviZ."""
    # ArviZ takes the relative efficiency over the whole posterior: the growth rate and its like
    # are enough, and a hundred sizes would cost more than the smoothing itself.
    posterior = fit.posterior
    scalars = [name for name in posterior.data_vars if posterior[name].ndim == 2]
    tree = xr.DataTree.from_dict(
        {
            "/posterior": posterior[scalars],
            "/log_likelihood": fit.group("log_likelihood")[[LLM]],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "k is too high": that is what we report
        result = _loo(tree, var_name=LLM, pointwise=True)
    values: xr.DataArray = result.pareto_k
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Slope:
    """Slope of log density on log parameters: normal given a draw, mixed over draws."""

    mean: Floats
    sd: Floats

    @property
    def p_positive(self) -> float:
        """Posterior probability of a positive slope."""
        return 1.0 - self.cdf(0.0)

    def cdf(self, at: float) -> float:
        """Posterior probability of a slope below `at`."""
        return float(ndtr((at - self.mean) / self.sd).mean())

    def quantile(self, prob: float) -> float:
        """Posterior quantile."""
        reach = 10.0 * float(self.sd.max())
        ends = float(self.mean.min()) - reach, float(self.mean.max()) + reach
        return float(brentq(lambda at: self.cdf(at) - prob, *ends))


def size_slope(fit: Fit) -> Slope | None:
    """Slope that log density has on log parameters beside trend and family.

    Per posterior draw, log_density - eta(t) is regressed on (1, t, log N) by generalised least
    squares with the variance family_sd^2 within families plus the variance of the draw's
    residuals; the slope is Normal(estimate, its variance) given the draw. This is one Gibbs step
    from the fitted model towards one with the slope: its interval holds both the uncertainty of
    the densities and that of the regression. Where scores say little of a size, its density was
    drawn with slope 0, so that the check errs towards 0.

    Returns
    -------
    Slope or None
        None where sizes are unknown or do not vary beside time.
    """
    constant = fit.group("constant_data")
    if "n_params" not in constant or not np.isfinite(constant["n_params"]).all():
        return None
    log_params = np.log(constant["n_params"].values.astype(float))
    years = derive.years_since_origin(fit, [str(d) for d in derive.release_dates(fit).values])
    design = np.stack([np.ones_like(years), years, log_params - log_params.mean()], axis=1)
    if len(years) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    return _slope(fit, design)


def _slope(fit: Fit, design: Floats) -> Slope:
    """Generalised least squares of every draw; families are exchangeable blocks."""
    dates = [str(date) for date in derive.release_dates(fit).values]
    y = matrix(derive.log_density(fit)) - matrix(derive.trend(fit, dates))
    family = np.unique(index(fit, "family_idx"), return_inverse=True)[1]
    effect, family_var = _family(fit, y, family)
    residual_var = (y - effect).var(axis=1)
    return _last_coefficient(y, design, family, family_var, residual_var)


def _family(fit: Fit, y: Floats, family: Ints) -> tuple[Floats, Floats]:
    """Family effect of each LLM and variance of the effects, by draw; zeros without families."""
    posterior = fit.posterior
    if "family_effect" not in posterior:
        return np.zeros_like(y), np.zeros(len(y))
    effects = matrix(posterior["family_effect"])[:, index(fit, "family_idx")]
    return effects, matrix(posterior["family_sd"])[:, 0] ** 2


def _last_coefficient(
    y: Floats, design: Floats, family: Ints, family_var: Floats, residual_var: Floats
) -> Slope:
    """Estimate and sd of the last coefficient under the variance f Z Z' + r I, by draw.

    The inverse of a family's block of n LLMs is (I - f / (r + n f) 1 1') / r (Sherman and
    Morrison), so that only sums over families are needed.
    """
    member = (family[:, None] == np.arange(family.max() + 1)).astype(float)
    size, x_sums, y_sums = member.sum(axis=0), member.T @ design, y @ member
    variance = np.maximum(residual_var, np.finfo(float).tiny)[:, None]
    weight = family_var[:, None] / (variance + size * family_var[:, None])
    gram = design.T @ design - np.einsum("sk,ka,kb->sab", weight, x_sums, x_sums)
    moment = y @ design - np.einsum("sk,ka,sk->sa", weight, x_sums, y_sums)
    inverse = np.linalg.inv(gram)
    mean = np.einsum("sa,sa->s", inverse[:, -1], moment)
    return Slope(mean, np.sqrt(inverse[:, -1, -1] * variance[:, 0]))


def _size_coefficient(fit: Fit) -> Iterator[CheckResult]:
    """Check that density does not go with size."""
    slope = size_slope(fit)
    if slope is None:
        return
    middle, low, high = (slope.quantile(p) for p in (0.5, *tails(CI_PROB)))
    yield judged(
        "size_coefficient",
        slope.p_positive,
        f"slope of log density on log parameters {middle:.2f} "
        f"({CI_PROB:.0%} ETI {low:.2f} to {high:.2f})",
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
