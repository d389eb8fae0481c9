"""What the model leaves over: patterns of residuals that it takes for independent noise.

Scatter alone cannot show them, since noise is fitted to the scatter. P-values and thresholds are
those of `predictive`; nothing here fails.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from bayesdense.checks.arrays import Floats, Ints, index, label, matrix
from bayesdense.checks.predictive import LeftOver, misfit, p_value, score_residuals
from bayesdense.checks.verdict import CheckResult
from bayesdense.items import item_variance
from bayesdense.laws import logistic_logit_score
from bayesdense.names import BENCHMARK, CHAIN, DRAW
from bayesdense.results import Fit

_MAP = ("score_floor", "score_ceiling", "score_slope", "loss_midpoint")
#: Fewer entries make no pattern.
_LEAST = 5


def patterns(fit: Fit) -> Iterator[CheckResult]:
    """Check residuals of calibration points along the loss, and of scores across LLMs."""
    observed, replicated = fit.group("observed_data"), fit.group("posterior_predictive")
    if "loss_score" in observed and "loss_score" in replicated:
        yield from _point_checks(fit)
    if "score" in observed and "score_new" in replicated:
        yield from _score_checks(fit)


def _point_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check the largest residual of each benchmark's points, and how neighbours go together.

    Residuals are those of each draw's own map (a realised discrepancy: Gelman, Meng and Stern
    1996), data and replicates alike. About the mean over draws, replicates would have the map's
    own uncertainty in common, a pattern in which misfit hides.
    """
    observed, replicated, loss, benchmark = _standard_points(fit)
    for position in np.unique(benchmark):
        chosen = np.flatnonzero(benchmark == position)
        if len(chosen) < _LEAST:
            continue
        chosen = chosen[np.argsort(loss[chosen], kind="stable")]
        name, e, new = label(fit, BENCHMARK, position), observed[:, chosen], replicated[:, chosen]
        worst = chosen[np.abs(e).mean(axis=0).argmax()]
        size = np.abs(observed[:, worst]).mean()
        yield misfit(
            "ppc_point_largest",
            p_value(np.abs(e).max(axis=1), np.abs(new).max(axis=1)),
            f"largest residual, the point at loss {loss[worst]:.3g} ({size:.1f} sd),",
            "look at that point and at its source",
            name,
        )
        yield misfit(
            "ppc_point_pattern",
            p_value(_neighbours(e), _neighbours(new)),
            "correlation of neighbouring points' residuals along the loss",
            "the map's form does not follow the points: compare forms, and feedback = cut",
            name,
        )


def _standard_points(fit: Fit) -> tuple[Floats, Floats, Floats, Ints]:
    """Standardised residuals of points and of their replicates by draw, losses, benchmarks."""
    replicated = fit.group("posterior_predictive")["loss_score"]
    theta = fit.posterior.sel({CHAIN: replicated[CHAIN], DRAW: replicated[DRAW]})
    benchmark = index(fit, "point_benchmark_idx")
    constant = fit.group("constant_data")
    loss = constant["point_loss"].values.astype(float)
    n_items = constant["n_items"].values.astype(float)[benchmark]
    curve = (matrix(theta[name])[:, benchmark] for name in _MAP)
    mean = logistic_logit_score(loss, *curve)
    sd = np.sqrt(matrix(theta["map_noise_sd"])[:, benchmark] ** 2 + item_variance(mean, n_items))
    values = fit.group("observed_data")["loss_score"].values.astype(float)
    return (values - mean) / sd, (matrix(replicated) - mean) / sd, loss, benchmark


def _neighbours(residuals: Floats) -> Floats:
    """Lag-1 autocorrelation of each row about zero."""
    products = (residuals[:, 1:] * residuals[:, :-1]).sum(axis=1)
    return np.asarray(products / (residuals**2).sum(axis=1))


def _score_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check what is left of each score beside the other scores of its LLM."""
    left, constant = score_residuals(fit), fit.group("constant_data")
    yield from profile_checks(
        _by_llm(left),
        [label(fit, BENCHMARK, k) for k in range(1 + left.benchmark.max())],
        years=constant["release_year"].values.astype(float),
        log_params=np.log(constant["n_params"].values.astype(float)),
        family=np.unique(index(fit, "family_idx"), return_inverse=True)[1],
    )


def profile_checks(
    table: Floats, names: list[str], *, years: Floats, log_params: Floats, family: Ints
) -> Iterator[CheckResult]:
    """Check how residuals of an LLM's scores beside its others go with each other and with LLMs.

    Parameters
    ----------
    table
        (1 + samples, llm, benchmark): data first, then replicates; NaN where there is no score.
    names
        Of the benchmarks.
    years, log_params, family
        Of the LLMs; families from 0 on.
    """
    skills = "an LLM's skills are more than its one size"
    columns = [table[..., j] for j in range(len(names))]
    pairs = list(combinations(range(len(names)), 2))
    if len(names) > 2:  # of two, one is the other's negative
        yield _most_unusual(
            "ppc_score_correlation",
            [_correlation(columns[a], columns[b]) for a, b in pairs],
            [f"{names[a]} and {names[b]}" for a, b in pairs],
            "correlation between benchmarks of what scores leave over",
            f"{skills}: intervals of single sizes are too narrow",
        )
    for check, values, what in (
        ("ppc_score_time", years, "the release date"),
        ("ppc_score_size", log_params, "log parameters"),
    ):
        yield _most_unusual(
            check,
            [_correlation(column, values) for column in columns],
            names,
            f"correlation of what scores leave over with {what}",
            f"benchmarks differ in how scores go with {what}: fit them one by one",
        )
    if len(family) > family.max() + 1:
        yield _most_unusual(
            "ppc_score_family",
            [_between_families(column, family) for column in columns],
            names,
            "share of families in what scores leave over",
            f"{skills}: families have profiles of their own",
        )


def _by_llm(left: LeftOver) -> Floats:
    """Residuals beside the LLM's others as (1 + samples, llm, benchmark), data first, or NaN."""
    rows = np.concatenate([left.beside.observed[None, :], left.beside.replicated])
    out = np.full((len(rows), 1 + left.llm.max(), 1 + left.benchmark.max()), np.nan)
    out[:, left.llm, left.benchmark] = rows
    return out


def _correlation(left: Floats, right: Floats) -> Floats:
    """Correlation over LLMs where both are known, for each row."""
    known = np.isfinite(left[0]) & np.isfinite(np.broadcast_to(right, left.shape)[0])
    if known.sum() < _LEAST:
        return np.zeros(len(left))
    a, b = left[:, known], np.broadcast_to(right, left.shape)[:, known]
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(left)), where=scale > 0)


def _between_families(values: Floats, family: Ints) -> Floats:
    """Share of the sum of squares that lies between families of several, for each row."""
    known = np.isfinite(values[0])
    values, family = values[:, known], family[known]
    several = np.bincount(family, minlength=1)[family] > 1
    if several.sum() < _LEAST:
        return np.zeros(len(values))
    values, family = values[:, several], np.unique(family[several], return_inverse=True)[1]
    member = (family[:, None] == np.arange(family.max() + 1)).astype(float)
    between = ((values @ member) ** 2 / member.sum(axis=0)).sum(axis=1)
    return np.asarray(between / (values**2).sum(axis=1))


def _most_unusual(
    check: str, found: list[Floats], names: list[str], what: str, remedy: str
) -> CheckResult:
    """Judge the statistic that is furthest out of several, each with the data's value first.

    The p-value is that of the largest distance from the replicates' mean in their sds, so that it
    allows for the number of statistics.
    """
    values = np.stack(found, axis=1)
    mean, sd = values[1:].mean(axis=0), values[1:].std(axis=0)
    distance = np.abs(values - mean) / np.where(sd > 0, sd, 1.0)
    k = int(distance[0].argmax())
    text = f"{what}: {names[k]} {values[0, k]:+.2f} (replicates {mean[k]:+.2f}), a distance that"
    return misfit(check, p_value(distance[0].max(), distance[1:].max(axis=1)), text, remedy, None)
