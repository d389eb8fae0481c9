"""How good a frozen forecast was, by the scores of LLMs that came after it."""

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from scipy import special

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.dataset import Dataset
from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.frozen.file import FrozenForecast, load_forecast
from bayesdense.names import CHAIN, DRAW, FAMILY, LLM, SCHEMA_VERSION
from bayesdense.newcomers import (
    Cell,
    Newcomers,
    NewLLM,
    benchmarks_of,
    observe_newcomers,
    require_trend,
    with_families,
)
from bayesdense.observations import JointObservations, observe
from bayesdense.proper_scores import clustered_mean, crps
from bayesdense.results import Fit
from bayesdense.simulate.story import draw_log_density, score_moments
from bayesdense.summary import strict

#: New families and residuals for each draw that was frozen.
_REPLICATES: Final = 10
_STREAM: Final = 0xF0CB
_COVERAGES: Final = (0.5, 0.8, 0.95)


def score_forecast(
    forecast: FrozenForecast | str | Path, dataset: Dataset, *, seed: int | None = None
) -> dict[str, Any]:
    """Score a frozen forecast by the LLMs that came after it.

    Outcomes are the observed scores of LLMs of the dataset that were released after the last
    release that the forecast had seen, given their parameters, dates and families. A family that
    the forecast knows has its draws, any other a new effect. Per score: log predictive density of
    its logit (nats, the mixture over draws), CRPS of the fraction, and whether the 50, 80 and 95 %
    intervals hold it. The scores of an LLM share its size; `log_score_joint` is of all of them.

    Parameters
    ----------
    forecast
        A frozen forecast, or its file.
    dataset
        With later LLMs; it may hold the earlier ones as well.
    seed
        Of new families and residuals; by default the fit's.

    Returns
    -------
    dict
        As `forecast_score.schema.json`: strict JSON; `scores` and `llms`, means by benchmark and in
        all, each with a standard error clustered by family (null for one family).

    Raises
    ------
    BayesdenseError
        Nothing in the dataset is later, or nothing of it is on the forecast's benchmarks.

    References
    ----------
    Gneiting and Raftery 2007 (scoring rules).
    """
    frozen = forecast if isinstance(forecast, FrozenForecast) else load_forecast(forecast)
    fit, root = frozen.fit, frozen.fit.seed if seed is None else seed
    newcomers = _later(fit, dataset)
    data, warnings = observe_newcomers(fit, newcomers)
    require_trend(fit, data.llms)
    means, variances = _moments(fit, data, root)
    log_density = _normal_log_density(data.scores.logit_score, means, variances)
    rng = np.random.default_rng([root, _STREAM, 1])
    drawn = expit(means + np.sqrt(variances) * rng.normal(size=means.shape))
    known = {str(name) for name in fit.posterior.get(FAMILY, xr.DataArray([])).values.tolist()}
    rows = list(_score_rows(data, known, drawn, log_density))
    found: dict[str, Any] = strict(
        {
            "schema": SCHEMA_VERSION,
            "digest": frozen.digest,
            "frozen_at": frozen.frozen_at,
            "forecast_of": {
                "dataset": fit.dataset_info["name"],
                "dataset_digest": fit.dataset_info["digest"],
                "last_release": derive.last_release(fit),
            },
            "dataset": {"name": dataset.name, "digest": dataset.digest},
            "n_llms": len(data.llms.names),
            "n_families": len(data.llms.families),
            "n_scores": len(rows),
            "n_released_before_freezing": sum(
                date < frozen.frozen_at[:10] for date in data.llms.release_dates
            ),
            "overall": _means(rows),
            "benchmarks": [
                {"benchmark": name, **_means(part)}
                for name in data.benchmarks.names
                if (part := [row for row in rows if row["benchmark"] == name])
            ],
            "llms": list(_llm_rows(data, log_density)),
            "scores": rows,
            "warnings": [*newcomers.warnings, *warnings],
        }
    )
    return found


def _score_rows(
    data: JointObservations, known: set[str], drawn: Floats, log_density: Floats
) -> Iterator[dict[str, Any]]:
    """One row a score: what was foretold, and how good that was."""
    llms, scores = data.llms, data.scores
    distances = crps(drawn, scores.score)
    for c, (i, j) in enumerate(zip(scores.llm_idx, scores.benchmark_idx, strict=True)):
        family = llms.families[llms.family_idx[i]]
        yield {
            "llm": llms.names[i],
            "release_date": llms.release_dates[i],
            "family": family,
            "family_is_known": family in known,
            "benchmark": data.benchmarks.names[j],
            "score": scores.score[c],
            "median": float(np.median(drawn[:, c])),
            **{f"eti{100 * p:.0f}": np.quantile(drawn[:, c], tails(p)) for p in _COVERAGES},
            "log_score": _log_mean_exp(log_density[:, c]),
            "crps": distances[c],
        }


def _llm_rows(data: JointObservations, log_density: Floats) -> Iterator[dict[str, object]]:
    """Log density of all scores of each LLM together, which share its size."""
    llms, first = data.llms, data.scores.first
    for i, (name, k) in enumerate(zip(llms.names, llms.family_idx, strict=True)):
        together = log_density[:, first[i] : first[i + 1]].sum(axis=1)
        yield {
            "llm": name,
            "family": llms.families[k],
            "log_score_joint": _log_mean_exp(together),
        }


def _later(fit: Fit, dataset: Dataset) -> Newcomers:
    """LLMs of a dataset that the forecast has not seen, with their scores on its benchmarks."""
    observed = observe(fit.spec, dataset)
    last, data = derive.last_release(fit), observed.joint
    names = benchmarks_of(fit)
    cells = tuple(_cells(data, names))
    scored = {cell.llm for cell in cells}
    llms = tuple(
        _llm(data, i)
        for i, name in enumerate(data.llms.names)
        if data.llms.release_dates[i] > last and name in scored
    )
    if not llms:
        raise BayesdenseError(
            f"{dataset.name}: no LLM released after {last}, the last release that the forecast "
            f"had seen, with a score on its benchmarks ({', '.join(names)})"
        )
    kept = {llm.name for llm in llms}
    used = tuple(cell for cell in cells if cell.llm in kept)
    return Newcomers(llms, used, tuple(_convention_warning(fit, data)))


def _llm(data: JointObservations, i: int) -> NewLLM:
    """LLM of a dataset as a newcomer."""
    llms, count = data.llms, float(np.exp(data.llms.log_params[i]))
    return NewLLM(
        llms.names[i],
        dt.date.fromisoformat(llms.release_dates[i]),
        {llms.params_used: count, "total": count},
        llms.families[llms.family_idx[i]],
        is_base=True,
    )


def _cells(data: JointObservations, benchmarks: Sequence[str]) -> Iterator[Cell]:
    """Scores of a dataset on these benchmarks."""
    scores = data.scores
    for c, (i, j) in enumerate(zip(scores.llm_idx, scores.benchmark_idx, strict=True)):
        if data.benchmarks.names[j] in benchmarks:
            yield Cell(
                data.llms.names[i],
                data.benchmarks.names[j],
                float(scores.score[c]),
                float(scores.n_items[c]),
                float(scores.n_reports[c]),
                float(scores.other_protocol[c]),
            )


def _convention_warning(fit: Fit, data: JointObservations) -> Iterator[str]:
    """Say where the two count parameters differently."""
    ours, theirs = derive.params_convention(fit), data.llms.params_used
    if ours != theirs:
        yield f"The forecast counts {ours} parameters, the dataset {theirs}."


def _moments(fit: Fit, data: JointObservations, seed: int) -> tuple[Floats, Floats]:
    """Mean and variance of the logit of every score, (draws x replicates, scores)."""
    posterior = fit.posterior
    again = np.repeat(np.arange(posterior.sizes[DRAW]), _REPLICATES)
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(
        posterior.isel({DRAW: again}).assign_coords({DRAW: np.arange(len(again))})
    )
    theta, _ = with_families(Fit(tree, fit.spec), data, given_scores=False, seed=seed)
    theta = theta.transpose(CHAIN, DRAW, ...).drop_vars([str(name) for name in theta.coords])
    rng = np.random.default_rng([seed, _STREAM])
    drawn = draw_log_density(theta, fit.spec, data.llms, rng, new_families=False)
    sizes = drawn + xr.DataArray(data.llms.log_params, dims=LLM)
    mean, var, _ = score_moments(theta, fit.spec, data, sizes)
    last = mean.dims[-1]
    return tuple(  # type: ignore[return-value]
        values.transpose(CHAIN, DRAW, last).to_numpy().reshape(-1, values.sizes[last])
        for values in (mean, var)
    )


def _normal_log_density(y: Floats, mean: Floats, var: Floats) -> Floats:
    """Log density of Normal(mean, var) at y."""
    return np.asarray(-0.5 * ((y - mean) ** 2 / var + np.log(2 * math.pi * var)))


def _log_mean_exp(log_values: Floats) -> float:
    """Log of the mean of exponentials."""
    return float(special.logsumexp(log_values)) - math.log(len(log_values))


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Mean scores with errors clustered by family, and coverage."""
    families = [str(row["family"]) for row in rows]
    covered = {
        f"coverage{100 * p:.0f}": float(
            np.mean([_within(row[f"eti{100 * p:.0f}"], row["score"]) for row in rows])
        )
        for p in _COVERAGES
    }
    return {
        "n_scores": len(rows),
        "n_families": len(set(families)),
        **{
            name: {"mean": found.mean, "se": found.se}
            for name in ("log_score", "crps")
            for found in [clustered_mean(np.array([row[name] for row in rows]), families)]
        },
        **covered,
    }


def _within(interval: Sequence[float], value: float) -> bool:
    """Whether an interval holds a value."""
    return bool(interval[0] <= value <= interval[1])
