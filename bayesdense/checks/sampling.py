"""Whether the chains agree, and how precisely they answer."""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from arviz_stats.sampling_diagnostics import bfmi, ess, rhat

from bayesdense import derive
from bayesdense.checks.thresholds import AIMED_ESS
from bayesdense.checks.verdict import CheckResult, judged
from bayesdense.estimates import DoublingTime, Estimate
from bayesdense.names import CHAIN, DAYS_PER_MONTH, DRAW, FAMILY, LLM, RUN
from bayesdense.results import Fit
from bayesdense.trends import trend_named
from bayesdense.wording import listing

_SAMPLE_DIMS: Final = [CHAIN, DRAW]
_rhat: Callable[..., Any] = rhat  # ArviZ has no annotations
_ess: Callable[..., Any] = ess
_bfmi: Callable[..., Any] = bfmi

#: Depth of trees at which the samplers stop unless told otherwise.
_MAX_DEPTH: Final = 10
_AT_MAX_DEPTH: Final = ("maxdepth_reached", "reached_max_treedepth")
_DEPTH: Final = ("depth", "tree_depth")
#: An error below this share of the posterior sd needs no second digit (a median near zero).
_SMALL_ERROR: Final = 0.05
_NAMED: Final = 3

_LONGER: Final = "sample longer (--tune and --draws), and look at its trace"
_MORE: Final = "draw more (--draws)"


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst value of a diagnostic, and whose it is."""

    value: float
    of: str


@dataclass(frozen=True, slots=True)
class Convergence:
    """Diagnostics of one group of variables; None where the group is empty."""

    r_hat: Worst | None
    ess_bulk: Worst | None
    ess_tail: Worst | None


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Draws by how strictly they are judged."""

    globals_: xr.Dataset  # with the derived growth rate and doubling time
    effects: xr.Dataset  # of families and runs
    sizes: xr.Dataset  # one number per LLM


@dataclass(frozen=True, slots=True)
class Sampling:
    """Checks of the sampling with the numbers that head the summary."""

    items: tuple[CheckResult, ...]
    max_rhat: float | None
    min_ess_bulk: float | None
    min_ess_tail: float | None
    divergences: int | None


def sampling(fit: Fit) -> Sampling:
    """Check convergence and precision of a fit whose chains share one posterior."""
    groups = group_draws(fit)
    main, effects, sizes = (
        convergence(group) for group in (groups.globals_, groups.effects, groups.sizes)
    )
    bulk = _least(main.ess_bulk, effects.ess_bulk)
    tail = _least(main.ess_tail, effects.ess_tail)
    rhats = [found.r_hat.value for found in (main, effects) if found.r_hat]
    stats = fit.group("sample_stats")
    items = (
        *_r_hat_items(main, effects, sizes),
        *_ess_items(bulk, tail, sizes),
        *_statistics_items(stats, groups),
        *precision_items(fit),
    )
    return Sampling(
        items,
        max(rhats, default=None),
        bulk.value if bulk else None,
        tail.value if tail else None,
        int(stats["diverging"].sum()) if "diverging" in stats else None,
    )


def finite(posterior: xr.Dataset) -> CheckResult:
    """Check that every draw is a number."""
    broken = {
        str(name): int((~np.isfinite(draws.values)).sum())
        for name, draws in posterior.data_vars.items()
    }
    names = [name for name, count in broken.items() if count]
    return judged(
        "finite_draws",
        sum(broken.values()),
        f"not finite: {listing(names)}" if names else "",
        "the sampler gave no posterior: check the priors' scales, then fit again",
    )


def group_draws(fit: Fit) -> Groups:
    """Sort the posterior's variables, and add what is derived of growth."""
    posterior = fit.posterior
    names = [name for name in posterior.data_vars if not _is_settled(fit, str(name))]
    sizes = [name for name in names if LLM in posterior[name].dims]
    effects = [name for name in names if {FAMILY, RUN} & set(posterior[name].dims)]
    rest = [name for name in names if name not in sizes and name not in effects]
    return Groups(
        posterior[rest].assign(_derived(fit)),
        posterior[effects],
        posterior[_sampled_sizes(sizes)],
    )


def _is_settled(fit: Fit, name: str) -> bool:
    """Whether a parameter of few values that was summed over is the same in all draws.

    It is drawn afresh for each draw: that it is certain is no sign of a chain that does not move.
    """
    mixture = trend_named(fit.spec.trend).mixture
    if mixture is None or mixture.name != name:
        return False
    return bool(np.ptp(fit.posterior[name].values) == 0.0)


def convergence(draws: xr.Dataset) -> Convergence:
    """Return the worst R-hat and effective sample sizes of a group of draws."""
    if not draws.data_vars:
        return Convergence(None, None, None)
    with np.errstate(all="ignore"):  # a chain that never moves: nan or infinite, judged as such
        r_hat = _rhat(draws, sample_dims=_SAMPLE_DIMS, method="rank")
        bulk = _ess(draws, sample_dims=_SAMPLE_DIMS, method="bulk")
        tail = _ess(draws, sample_dims=_SAMPLE_DIMS, method="tail")
    return Convergence(worst(r_hat, high=True), worst(bulk, high=False), worst(tail, high=False))


def worst(values: xr.Dataset, *, high: bool) -> Worst:
    """Return the largest (or smallest) value of a Dataset; one that is no number is the worst."""
    found = [
        Worst(float(value), label)
        for name in values.data_vars
        for label, value in labelled(values[name])
    ]
    sign = 1.0 if high else -1.0
    return max(found, key=lambda w: math.inf if math.isnan(w.value) else sign * w.value)


def labelled(values: xr.DataArray) -> Iterator[tuple[str, float]]:
    """Name every entry of an array by its coordinates: `score_slope[MMLU]`."""
    for index in np.ndindex(values.shape):
        entry = values[index]
        keys = [_coordinate(entry, dim, k) for dim, k in zip(values.dims, index, strict=True)]
        yield f"{values.name}[{', '.join(keys)}]" if keys else str(values.name), entry.item()


def _coordinate(entry: xr.DataArray, dim: Hashable, index: int) -> str:
    """Label of an entry along one dim, or its position where the dim has no labels."""
    return str(entry[dim].item()) if dim in entry.coords else str(index)


def _sampled_sizes(names: list[Hashable]) -> list[Hashable]:
    """Variables per LLM that are sampled: density is size over parameters, or was observed."""
    return [name for name in names if name != "log_density"]


def _derived(fit: Fit) -> Mapping[str, xr.DataArray]:
    """Growth rate and doubling time; none under a trend that cannot grow."""
    if not trend_named(fit.spec.trend).grows or not _all_finite(fit):
        return {}
    doubling = derive.doubling_time(fit)
    growth = doubling.growth.draws.drop_attrs()
    return {"growth rate at the last release": growth, "doubling time": doubling.draws}


def _all_finite(fit: Fit) -> bool:
    """Whether the trend's draws are all numbers (else there is nothing to derive)."""
    return all(np.isfinite(fit.posterior[name]).all() for name in trend_named(fit.spec.trend).drawn)


def _least(*found: Worst | None) -> Worst | None:
    """Return the smallest of several; one that is no number is the worst."""
    known = [w for w in found if w is not None]
    return min(known, key=lambda w: -math.inf if math.isnan(w.value) else w.value, default=None)


def _r_hat_items(
    main: Convergence, effects: Convergence, sizes: Convergence
) -> Iterator[CheckResult]:
    """R-hat of parameters, effects and sizes."""
    for name, found in (("r_hat", main), ("r_hat_effects", effects), ("r_hat_sizes", sizes)):
        if found.r_hat:
            yield judged(name, found.r_hat.value, f"largest: {found.r_hat.of}", _cure(found.r_hat))


def _cure(r_hat: Worst) -> str:
    """Say what to do about an R-hat."""
    if math.isnan(r_hat.value):
        return "it never moved, or there is one chain only: run at least 4 (--chains)"
    return f"the chains differ: {_LONGER}"


def _ess_items(bulk: Worst | None, tail: Worst | None, sizes: Convergence) -> Iterator[CheckResult]:
    """Effective sample sizes of parameters and effects, and of sizes."""
    several = (
        ("ess_bulk", bulk),
        ("ess_tail", tail),
        ("ess_sizes", _least(sizes.ess_bulk, sizes.ess_tail)),
    )
    for name, found in several:
        if found:
            short = found.value < AIMED_ESS
            fact = f"smallest: {found.of}" + (f" (aim at {AIMED_ESS:,})" if short else "")
            yield judged(name, found.value, fact, _MORE)


def _statistics_items(stats: xr.Dataset, groups: Groups) -> Iterator[CheckResult]:
    """Divergences, depth of trees and energy, as far as the sampler reports them."""
    if "diverging" in stats:
        yield _divergences(stats["diverging"], groups.globals_)
    share = _share_at_max_depth(stats)
    if share is not None:
        yield judged(
            "tree_depth",
            share,
            "share of draws at the largest depth",
            "the posterior is long and thin; R-hat and ESS say whether it was crossed",
        )
    if "energy" in stats:
        value = float(_bfmi(stats[["energy"]], sample_dims=_SAMPLE_DIMS)["energy"].min())
        yield judged(
            "e_bfmi", value, "smallest of all chains", "tails are hardly visited: tune longer"
        )


def _divergences(diverging: xr.DataArray, draws: xr.Dataset) -> CheckResult:
    """Share of divergent draws; the advice says where they lie."""
    count = int(diverging.sum())
    found = f"{count} of {diverging.size:,} draws"
    if not count:
        return judged("divergences", 0.0, found)
    places = listing(_where_divergent(diverging.values.astype(bool), draws), _NAMED)
    remedy = (
        f"they lie where {places}: look there (plot pairs of these parameters), tune longer, or "
        "choose tighter priors"
    )
    return judged("divergences", count / diverging.size, found, remedy)


def _where_divergent(diverging: np.ndarray, draws: xr.Dataset) -> list[str]:
    """Parameters that are most unlike themselves in divergent draws, in standard scores."""
    scores: dict[str, float] = {}
    for array in draws.data_vars.values():
        values = array.transpose(*_SAMPLE_DIMS, ...).values.reshape(*diverging.shape, -1)
        sd = values.std(axis=(0, 1))
        shift = values[diverging].mean(axis=0) - values.mean(axis=(0, 1))
        names = [label for label, _ in labelled(array.isel({CHAIN: 0, DRAW: 0}, drop=True))]
        scores |= {
            name: float(s / d) for name, s, d in zip(names, shift, sd, strict=True) if d > 0.0
        }
    ranked = sorted(scores, key=lambda name: -abs(scores[name]))
    return [f"{name} is {'high' if scores[name] > 0 else 'low'}" for name in ranked[:_NAMED]]


def _share_at_max_depth(stats: xr.Dataset) -> float | None:
    """Share of draws whose tree was cut at the largest depth; None if the sampler keeps none."""
    flag = next((name for name in _AT_MAX_DEPTH if name in stats), None)
    if flag is not None:
        return float(stats[flag].mean())
    depth = next((name for name in _DEPTH if name in stats), None)
    return None if depth is None else float((stats[depth] >= _MAX_DEPTH).mean())


def precision_items(fit: Fit) -> Iterator[CheckResult]:
    """Monte Carlo error of what the headline prints."""
    if not _all_finite(fit):
        return
    doubling = derive.doubling_time(fit)
    growth = doubling.growth
    if growth.sd > 0.0:
        yield _precision("mcse_growth_rate", growth.median, growth.mcse(), growth.sd, growth.units)
    if math.isfinite(doubling.median):
        yield _doubling_precision(doubling, growth)


def _doubling_precision(doubling: DoublingTime, growth: Estimate) -> CheckResult:
    """Monte Carlo error of the doubling time in months, its sd by the delta method."""
    months = doubling.median / DAYS_PER_MONTH
    error = doubling.mcse() / DAYS_PER_MONTH
    return _precision(
        "mcse_doubling_time", months, error, months / growth.median * growth.sd, "months"
    )


def _precision(name: str, median: float, error: float, sd: float, unit: str) -> CheckResult:
    """Compare an error with the second digit, or with the sd where that is the coarser one."""
    second = 10.0 ** (math.floor(math.log10(abs(median))) - 1) if median else 0.0
    return judged(
        name,
        error / max(second, _SMALL_ERROR * sd),
        f"median {median:.3g} {unit}, Monte Carlo error {error:.1g}",
        f"its second digit is not certain, and is not printed: {_MORE}",
    )
