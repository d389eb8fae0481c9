"""What the model leaves over: patterns of residuals that it takes for independent noise.

Scatter alone cannot show them, since noise is fitted to the scatter. P-values and thresholds are
those of `predictive`, one-sided: less of a pattern than noise has is no misfit. Nothing here fails.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from scipy.special import expit, ndtri

from bayesdense.arrays import Floats, Ints
from bayesdense.checks.arrays import index, label, matrix
from bayesdense.checks.predictive import LeftOver, misfit, p_value, score_residuals
from bayesdense.checks.verdict import CheckResult
from bayesdense.items import count_mid_p, is_few, item_variance
from bayesdense.names import BENCHMARK, CHAIN, DRAW
from bayesdense.results import Fit

#: Fewer entries make no pattern.
_LEAST = 5
#: Probabilities this near to 0 and 1 are as far as a quantile residual goes.
_LEAST_P = 1e-12

#: A statistic by draw, of data and of replicates.
type Pair = tuple[Floats, ...]


def patterns(fit: Fit) -> Iterator[CheckResult]:
    """Check residuals of calibration points along the loss, and of scores across LLMs."""
    replicated = fit.group("posterior_predictive")
    if "loss_score" in replicated:
        yield from _point_checks(fit)
    if "score_new" in replicated:
        yield from _score_checks(fit)


def _point_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check the largest residual of each benchmark's points, and how neighbours go together."""
    observed, replicated = _standard_points(fit)
    loss = fit.variable("constant_data", "point_loss").values.astype(float)
    benchmark = index(fit, "point_benchmark_idx")
    for position in np.unique(benchmark):
        chosen = np.flatnonzero(benchmark == position)
        if len(chosen) < _LEAST:
            continue
        chosen = chosen[np.argsort(loss[chosen], kind="stable")]
        name, e, new = label(fit, BENCHMARK, position), observed[:, chosen], replicated[:, chosen]
        mean = e.mean(axis=0)
        k = int(np.abs(mean).argmax())
        yield misfit(
            "ppc_point_largest",
            p_value(np.abs(e).max(axis=1), np.abs(new).max(axis=1)),
            f"largest residual, the point at loss {loss[chosen[k]]:.3g} ({mean[k]:+.1f} sd),",
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


def _standard_points(fit: Fit) -> Pair:
    """Standard normal residuals of points and of their replicates about each draw's own map.

    Logits in units of their sd; of a score that the model would read as a count the normal
    quantile of its mid-p-value, as a logit of no hits says nothing of how far off it is.
    """
    replicated = fit.group("posterior_predictive")["loss_score"]
    theta = fit.posterior.sel({CHAIN: replicated[CHAIN], DRAW: replicated[DRAW]})
    noise = matrix(theta["map_noise_sd"])[:, index(fit, "point_benchmark_idx")]
    mean = matrix(fit.variable("predictive_mean", "loss_score"))
    n_items = fit.variable("constant_data", "point_n_items").values.astype(float)
    sd = np.sqrt(noise**2 + item_variance(mean, n_items))
    observed = np.broadcast_to(fit.variable("observed_data", "loss_score").values, mean.shape)
    pair = []
    for logit_score in (observed.astype(float), matrix(replicated)):
        residual = (logit_score - mean) / sd
        few = is_few(expit(logit_score), n_items)
        entries = np.broadcast_to(n_items, few.shape)[few]
        residual[few] = _count_residual(logit_score[few], entries, mean[few], noise[few])
        pair.append(residual)
    return pair[0], pair[1]


def _count_residual(logit_score: Floats, n_items: Floats, mean: Floats, noise: Floats) -> Floats:
    """Quantile residual of few hits, or of few misses turned into hits."""
    sign = np.where(logit_score < 0, 1.0, -1.0)
    hits = n_items * expit(sign * logit_score)
    hits = np.where(hits < 0.75, 0.0, hits)  # half an item stands for none
    p = count_mid_p(hits, n_items, sign * mean, noise)
    return np.asarray(sign * ndtri(np.clip(p, _LEAST_P, 1 - _LEAST_P)))


def _neighbours(residuals: Floats) -> Floats:
    """Lag-1 autocorrelation of each row about zero."""
    products = (residuals[:, 1:] * residuals[:, :-1]).sum(axis=1)
    return np.asarray(products / (residuals**2).sum(axis=1))


def _score_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check what is left of each score beside the other scores of its LLM."""
    left, constant = score_residuals(fit), fit.group("constant_data")
    yield from profile_checks(
        _by_llm(left, left.beside.observed),
        _by_llm(left, left.beside.replicated),
        [label(fit, BENCHMARK, k) for k in range(1 + left.benchmark.max())],
        years=constant["release_year"].values.astype(float),
        log_params=np.log(constant["n_params"].values.astype(float)),
        family=np.unique(index(fit, "family_idx"), return_inverse=True)[1],
    )


def profile_checks(
    observed: Floats,
    replicated: Floats,
    names: Sequence[str],
    *,
    years: Floats,
    log_params: Floats,
    family: Ints,
) -> Iterator[CheckResult]:
    """Check how residuals of an LLM's scores beside its others go with each other and with LLMs.

    Parameters
    ----------
    observed, replicated
        (samples, llm, benchmark): residuals about each draw's mean; NaN where there is no score.
    names
        Of the benchmarks.
    years, log_params, family
        Of the LLMs; families from 0 on.
    """
    skills = "an LLM's skills are more than its one size"
    known = np.isfinite(observed[0])
    both = (observed, replicated)
    pairs = [
        (a, b)
        for a, b in combinations(range(len(names)), 2)
        if (known[:, a] & known[:, b]).sum() >= _LEAST
    ]
    if len(names) > 2:  # of two, one is the other's negative
        yield from _most_unusual(
            "ppc_score_correlation",
            [tuple(_correlation(x[..., a], x[..., b]) for x in both) for a, b in pairs],
            [f"{names[a]} and {names[b]}" for a, b in pairs],
            "correlation between benchmarks of what scores leave over",
            f"{skills}: intervals of single sizes are too narrow",
        )
    columns = [j for j in range(len(names)) if known[:, j].sum() >= _LEAST]
    named = [names[j] for j in columns]
    for check, values, what in (
        ("ppc_score_time", years, "the release date"),
        ("ppc_score_size", log_params, "log parameters"),
    ):
        yield from _most_unusual(
            check,
            [tuple(_correlation(x[..., j], values) for x in both) for j in columns],
            named,
            f"correlation of what scores leave over with {what}",
            f"benchmarks differ in how scores go with {what}: fit them one by one",
        )
    columns = [j for j in columns if _shared(family[known[:, j]]).sum() >= _LEAST]
    yield from _most_unusual(
        "ppc_score_family",
        [tuple(_between_families(x[..., j], family) for x in both) for j in columns],
        [names[j] for j in columns],
        "share of families in what scores leave over",
        f"{skills}: families have profiles of their own",
    )


def _by_llm(left: LeftOver, values: Floats) -> Floats:
    """Entries as (samples, llm, benchmark); NaN where there is none."""
    out = np.full((len(values), 1 + left.llm.max(), 1 + left.benchmark.max()), np.nan)
    out[:, left.llm, left.benchmark] = values
    return out


def _correlation(left: Floats, right: Floats) -> Floats:
    """Correlation over LLMs where both are known, for each row."""
    right = np.broadcast_to(right, left.shape)
    known = np.isfinite(left[0]) & np.isfinite(right[0])
    a, b = (x[:, known] - x[:, known].mean(axis=1, keepdims=True) for x in (left, right))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    correlation = np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(left)), where=scale > 0)
    return np.asarray(correlation)


def _shared(family: Ints) -> Ints:
    """Whether each entry's family has another entry."""
    return np.asarray(np.bincount(family)[family] > 1)


def _between_families(values: Floats, family: Ints) -> Floats:
    """Share of the sum of squares that lies between families of several, for each row."""
    known = np.isfinite(values[0])
    values, family = values[:, known], family[known]
    several = _shared(family)
    values, family = values[:, several], np.unique(family[several], return_inverse=True)[1]
    member = (family[:, None] == np.arange(family.max() + 1)).astype(float)
    between = ((values @ member) ** 2 / member.sum(axis=0)).sum(axis=1)
    whole = (values**2).sum(axis=1)
    return np.asarray(np.divide(between, whole, out=np.zeros(len(values)), where=whole > 0))


def _most_unusual(
    check: str, found: Sequence[Pair], names: Sequence[str], what: str, remedy: str
) -> Iterator[CheckResult]:
    """Judge the statistic that is furthest out of several; nothing where there is none.

    The p-value is that of the largest distance from the replicates' mean in their sds, so that it
    allows for the number of statistics.
    """
    if not found:
        return
    observed, replicated = (np.stack([pair[k] for pair in found], axis=1) for k in (0, 1))
    mean, sd = replicated.mean(axis=0), replicated.std(axis=0)
    scale = np.where(sd > 0, sd, 1.0)
    distances = [np.abs(values - mean) / scale for values in (observed, replicated)]
    k = int(distances[0].mean(axis=0).argmax())
    text = (
        f"{what}: {names[k]} {observed[:, k].mean():+.2f} (replicates {mean[k]:+.2f}), a distance "
        "that"
    )
    yield misfit(check, p_value(*(d.max(axis=1) for d in distances)), text, remedy, None)
