"""Whether data like these could come from the model: p-values, LOO-PIT, held-out points.

A posterior predictive p-value is P(T(replicate) > T(data)), ties counted half (Gelman, Meng and
Stern 1996). Statistics are realised discrepancies, taken of residuals about what each draw expects,
so that they speak of scatter, not of the law's span. Nothing here fails: misfit is news.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from arviz_stats.ecdf_utils import ecdf_pit
from scipy.special import bdtr

from bayesdense.arrays import Floats, Ints
from bayesdense.checks.arrays import index, label, labels, matrix, row_labels
from bayesdense.checks.verdict import CheckResult, judged
from bayesdense.estimates import tails
from bayesdense.names import BENCHMARK, CI_PROB, LLM
from bayesdense.results import Fit

_ecdf_pit: Callable[..., Any] = ecdf_pit  # ArviZ has no annotations

_ENVELOPE_SIMULATIONS: Final = 1000
#: Fewer values leave any band.
_LEAST_FOR_PIT: Final = 5
_UNIFORM_VARIANCE: Final = 1.0 / 12.0


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Data and replicates about what each draw expects, in units of the predictive sd.

    Attributes
    ----------
    observed, replicated
        (samples, entries).
    labels
        Names of the entries.
    """

    observed: Floats
    replicated: Floats
    labels: list[str]

    def of(self, entries: Ints) -> "Residuals":
        """Return those of some entries."""
        labels = [self.labels[k] for k in entries]
        return Residuals(self.observed[:, entries], self.replicated[:, entries], labels)


@dataclass(frozen=True, slots=True, eq=False)
class LeftOver:
    """Scores of LLMs about their prediction, and beside the other scores of their LLM."""

    found: Residuals
    of_llm: tuple[Floats, Floats]  # mean residual of each LLM: data, replicates
    beside: Residuals
    llm: Ints
    benchmark: Ints


def predictive(fit: Fit) -> Iterator[CheckResult]:
    """Check how well the model describes its data, as far as the fit holds replicates."""
    replicated = fit.group("posterior_predictive")
    if "score_new" in replicated:
        yield from _score_checks(fit)
    if "loss" in replicated:
        yield from _loss_checks(fit)
    if "loss_score" in replicated:
        for name, found in _by_benchmark(fit, _residuals(fit, "loss_score"), "point_benchmark_idx"):
            yield _spread("ppc_point_sd", found, "calibration points", name)
    if "log_density_new" in replicated:
        yield from _density_checks(fit)
    yield from _loo_pit_checks(fit)
    yield from _heldout_checks(fit)


def _residuals(
    fit: Fit, name: str, names: list[str] | None = None, *, of: str | None = None
) -> Residuals:
    """Take data and replicates (`of`, where they have a name of their own) about each draw's mean.

    About the mean over draws the two would not be alike: data have been fitted, replicates have
    not, so that p-values would crowd towards one.
    """
    values = np.asarray(fit.variable("observed_data", name).values, dtype=float)
    centre = matrix(fit.variable("predictive_mean", name))
    replicated = matrix(fit.group("posterior_predictive")[of or name]) - centre
    sd = replicated.std(axis=0)
    scale = np.where(sd > 0.0, sd, 1.0)
    known = names or [f"entry {k}" for k in range(len(values))]
    return Residuals((values - centre) / scale, replicated / scale, known)


def p_value(observed: Floats, replicated: Floats) -> float:
    """P(T(replicate) > T(data)) over draws, of each of which T may depend; ties counted half."""
    return float((replicated > observed).mean() + 0.5 * (replicated == observed).mean())


def score_residuals(fit: Fit) -> LeftOver:
    """Take scores and replicates whose sizes and family effects are drawn anew.

    Replicates given the sizes and effects that were fitted to these very scores would scatter more
    than the scores do, and so hide misfit. A score beside the other scores of its LLM has the size
    taken out, of data and replicates alike.
    """
    names = row_labels(fit, llm="score_llm_idx", benchmark="score_benchmark_idx")
    found = _residuals(fit, "score", names, of="score_new")
    llm = index(fit, "score_llm_idx")
    share = _averaging(llm)
    of_llm = found.observed @ share, found.replicated @ share
    beside = Residuals(
        found.observed - of_llm[0][:, llm], found.replicated - of_llm[1][:, llm], found.labels
    )
    return LeftOver(found, of_llm, beside, llm, index(fit, "score_benchmark_idx"))


def _score_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check scores: mean, sd, largest residual beside the LLM's other scores, families."""
    left = score_residuals(fit)
    for name, part in _by_benchmark(fit, left.found, "score_benchmark_idx"):
        yield _centre("ppc_score_mean", part, "scores", name)
        yield _spread("ppc_score_sd", part, "scores", name)
    for name, part in _by_benchmark(fit, left.beside, "score_benchmark_idx"):
        yield _extreme("ppc_score_largest", part, name)
    yield from _family_check(fit, *left.of_llm)


def _loss_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check reference losses: mean, sd, largest residual, and how residuals cluster by size."""
    losses = _residuals(
        fit, "loss", row_labels(fit, run="loss_run_idx", benchmark="loss_benchmark_idx")
    )
    cluster = index(fit, "loss_cluster_idx")
    benchmark = index(fit, "loss_benchmark_idx")
    for name, found in _by_benchmark(fit, losses, "loss_benchmark_idx"):
        yield _centre("ppc_loss_mean", found, "log losses", name)
        yield _spread("ppc_loss_sd", found, "log losses", name)
        yield _extreme("ppc_loss_largest", found, name)
    for position in np.unique(benchmark):
        entries = np.flatnonzero(benchmark == position)
        sizes = np.unique(cluster[entries], return_inverse=True)[1]
        if 1 < sizes.max() + 1 < len(entries):
            yield _between(losses.of(entries), sizes, label(fit, BENCHMARK, position))


def _between(found: Residuals, sizes: Ints, benchmark: str) -> CheckResult:
    """Check the variance between sizes of the mean residual of a size's runs."""
    share = _averaging(sizes)
    variances = [
        (values @ share).var(axis=1, ddof=1) for values in (found.observed, found.replicated)
    ]
    return misfit(
        "ppc_loss_between_sizes",
        p_value(*variances),
        "variance between sizes of the log losses' residuals",
        "the law misses some sizes by more than the noise allows: compare forms of the law, or "
        'use loss_noise.kind = "clustered"',
        benchmark,
    )


def _density_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check published densities: sd, largest residual, and spread within families."""
    found = _residuals(fit, "log_density", labels(fit, LLM), of="log_density_new")
    if len(found.labels) > 1:
        yield _spread("ppc_density_sd", found, "log densities", None)
    yield _extreme("ppc_density_largest", found, None)
    yield from _family_check(fit, found.observed, found.replicated)


def _family_check(fit: Fit, observed: Floats, replicated: Floats) -> Iterator[CheckResult]:
    """Check the pooled sd within families of several LLMs; without such families, nothing."""
    family = np.unique(index(fit, "family_idx"), return_inverse=True)[1]
    size = np.bincount(family)
    if len(family) == len(size):
        return
    yield misfit(
        "ppc_within_family",
        p_value(_within_sd(observed, family), _within_sd(replicated, family)),
        "scatter of LLMs within their families",
        "LLMs of one family are more (or less) alike than the residual allows",
        None,
    )


def _within_sd(values: Floats, family: Ints) -> Floats:
    """Pooled sd about the families' means, for each row of (samples, llm)."""
    deviation = values - (values @ _averaging(family))[:, family]
    degrees = len(family) - int(family.max()) - 1
    return np.asarray(np.sqrt((deviation**2).sum(axis=1) / degrees))


def _averaging(group: Ints) -> Floats:
    """Matrix (entries, groups) that averages the entries of each group."""
    member = group[:, None] == np.arange(group.max() + 1)
    return np.asarray(member / np.maximum(member.sum(axis=0), 1))


def _by_benchmark(fit: Fit, found: Residuals, name: str) -> Iterator[tuple[str, Residuals]]:
    """Split entries by benchmark; those with fewer than two entries have no scatter."""
    benchmark = index(fit, name)
    for position in np.unique(benchmark):
        entries = np.flatnonzero(benchmark == position)
        if len(entries) > 1:
            yield label(fit, BENCHMARK, position), found.of(entries)


def _centre(check: str, found: Residuals, what: str, benchmark: str | None) -> CheckResult:
    """Check the mean."""
    p = p_value(found.observed.mean(axis=1), found.replicated.mean(axis=1))
    return misfit(check, p, f"mean of the {what}", "the model is off as a whole here", benchmark)


def _spread(check: str, found: Residuals, what: str, benchmark: str | None) -> CheckResult:
    """Check the sd."""
    p = p_value(found.observed.std(axis=1, ddof=1), found.replicated.std(axis=1, ddof=1))
    return misfit(
        check, p, f"scatter of the {what}", "the noise is not of the size assumed", benchmark
    )


def _extreme(check: str, found: Residuals, benchmark: str | None) -> CheckResult:
    """Check the largest absolute residual in units of its predictive sd, and name its entry."""
    p = p_value(np.abs(found.observed).max(axis=1), np.abs(found.replicated).max(axis=1))
    mean = found.observed.mean(axis=0)
    k = int(np.abs(mean).argmax())
    what = f"largest residual, {found.labels[k]} ({mean[k]:+.1f} sd),"
    return misfit(check, p, what, "look at that entry and at its source", benchmark)


def misfit(check: str, p: float, what: str, remedy: str, of: str | None) -> CheckResult:
    """Judge a p-value; the advice says on which side the data lie."""
    side = f"smaller than in {p:.1%}" if p > 0.5 else f"larger than in {1 - p:.1%}"
    return judged(check, p, f"{what} is {side} of the replicates", remedy, of=of)


def _loo_pit_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check that every benchmark's scores fall evenly into their leave-one-out predictions."""
    group = fit.group("loo_pit")
    if "loo_pit" not in group:
        return
    values = np.asarray(group["loo_pit"].values, dtype=float)
    benchmark = index(fit, "score_benchmark_idx")
    present = np.unique(benchmark)
    prob = 1.0 - (1.0 - CI_PROB) / len(present)
    for position in present:
        chosen = values[benchmark == position]
        if len(chosen) >= _LEAST_FOR_PIT:
            yield _uniform("loo_pit", chosen, prob, label(fit, BENCHMARK, position))


def _uniform(check: str, values: Floats, prob: float, of: str | None) -> CheckResult:
    """Check that probability integral transforms are uniform, by ArviZ's simultaneous band."""
    _, ecdf, lower, upper = _ecdf_pit(np.sort(values), prob, _ENVELOPE_SIMULATIONS)
    outside = max(float((ecdf - upper).max()), float((lower - ecdf).max()), 0.0)
    found = f"{len(values)} values, mean {values.mean():.2f}, band of {prob:.1%}"
    return judged(check, outside, found, _shape(values), of=of)


def _shape(values: Floats) -> str:
    """Say what a departure from uniformity means."""
    shift = (values.mean() - 0.5) / math.sqrt(_UNIFORM_VARIANCE / len(values))
    spread = values.var() / _UNIFORM_VARIANCE
    if abs(shift) > 2.0:
        return f"scores are {'higher' if shift > 0 else 'lower'} than predicted"
    if spread > 1.0:
        return "scores are more extreme than predicted: the predictions are too narrow"
    return "scores are less extreme than predicted: the predictions are too wide"


def _heldout_checks(fit: Fit) -> Iterator[CheckResult]:
    """Check predictions of the calibration points that were held out."""
    group = fit.group("heldout")
    if "logit_score" not in group:
        return
    observed = np.asarray(group["logit_score"].values, dtype=float)
    draws = matrix(group["logit_score_rep"])
    low, high = np.quantile(draws, tails(CI_PROB), axis=0)
    inside = int(((low <= observed) & (observed <= high)).sum())
    n = len(observed)
    yield judged(
        "heldout_coverage",
        float(bdtr(inside, n, CI_PROB)),
        f"{inside} of {n} held-out points inside their {CI_PROB:.0%} intervals",
        "the score map does not carry over to points that it has not seen: widen its noise",
    )
    if n >= _LEAST_FOR_PIT:
        pit = (draws < observed).mean(axis=0) + 0.5 * (draws == observed).mean(axis=0)
        yield _uniform("heldout_pit", pit, CI_PROB, None)
