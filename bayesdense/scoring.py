"""Effective size, density and place against the trend of new LLMs, under an existing fit."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense import derive, sizes
from bayesdense.estimates import probability, tails
from bayesdense.names import CI_PROB, LLM, SCHEMA_VERSION
from bayesdense.newcomers import (
    benchmarks_of,
    observe_newcomers,
    read_newcomers,
    require_laws,
    require_trend,
    with_families,
)
from bayesdense.observations import JointObservations
from bayesdense.results import Fit
from bayesdense.simulate.story import draw_log_density, trend_at
from bayesdense.statements import FAR, format_count
from bayesdense.summary import strict
from bayesdense.wording import listing

#: Keeps the sizes of new LLMs, and what they are compared with, apart from other draws.
_SIZES, _OTHERS = 0x51E5, 0x07E5
_STATEMENT: Final = (
    "Laws, maps, noise, trend and the effects of families that the fit knows are those of the fit: "
    "the new scores have not updated them. The effect of a new family is inferred from the scores "
    "given here."
)


def score(fit: Fit, models: str | Path, scores: str | Path | None = None) -> dict[str, Any]:
    """Score new LLMs under an existing fit, without fitting again: private, offline, in seconds.

    In every posterior draw, an LLM's log effective size x is drawn from p(x | its scores, draw):
    the likelihood of its scores under the draw's laws, maps and noise, times the residual about
    log N + eta(t) + family effect. A family that the fit knows has the draw's effect; that of a new
    family is drawn from Normal(0, family_sd) given the scores of all of its LLMs in the table. The
    globals are not updated: for LLMs that should count as evidence, fit them.

    Parameters
    ----------
    fit
        A fit of a joint model.
    models
        CSV table of the new LLMs: the columns of `llms.csv`, and scores in columns named as the
        fit's benchmarks.
    scores
        CSV table with the columns of `scores.csv`, in place of those columns or beside them.

    Returns
    -------
    dict
        As `score.schema.json`: strict JSON. Beside size and density, of each LLM: the density that
        the trend gives a typical LLM of its date (`trend`), the LLM's over it (`ratio`), P(above
        the trend) and P(denser than another new LLM of that date), which has a family effect and
        a residual of its own.

    Raises
    ------
    DatasetError
        With every problem of the tables.
    BayesdenseError
        A fit of published densities.
    """
    require_laws(fit, "score")
    newcomers = read_newcomers(models, scores, benchmarks_of(fit))
    data, warnings = observe_newcomers(fit, newcomers)
    require_trend(fit, data.llms)
    posterior, known = with_families(fit, data, given_scores=True, seed=fit.seed)
    state = int(np.random.SeedSequence([fit.seed, _SIZES]).generate_state(1)[0])
    log_sizes = sizes.draw_log_sizes(posterior, fit.spec, data, seed=state)
    bounds = sizes.llm_bounds(posterior, fit.spec, data)
    lines = _lines(fit, data, posterior, log_sizes)
    people = dict(zip(data.llms.names, newcomers.llms, strict=True))
    rows = [
        {
            "llm": name,
            "release_date": data.llms.release_dates[i],
            "family": data.llms.families[data.llms.family_idx[i]],
            "family_is_known": known[data.llms.family_idx[i]],
            "n_params": float(np.round(np.exp(data.llms.log_params[i]))),
            "params": data.llms.params_used
            if data.llms.params_used in people[name].counts
            else "total",
            "benchmarks": _names_of(data, i),
            **_of_llm(lines.isel({LLM: i}), bounds.isel({LLM: i})),
            "extrapolation": _extrapolation(fit, log_sizes.isel({LLM: i})),
        }
        for i, name in enumerate(data.llms.names)
    ]
    found: dict[str, Any] = strict(
        {
            "schema": SCHEMA_VERSION,
            "fit": _about(fit),
            "globals_updated": False,
            "statement": _STATEMENT,
            "llms": rows,
            "warnings": [*newcomers.warnings, *warnings, *_cautions(fit, rows)],
        }
    )
    return found


def _about(fit: Fit) -> dict[str, object]:
    """Name the fit and the definitions that its densities rest on."""
    info, options = fit.dataset_info, fit.spec.options
    return {
        "dataset": info["name"],
        "dataset_digest": info["digest"],
        "model": fit.spec.name,
        "model_digest": fit.spec.digest,
        "window": list(derive.window(fit)),
        "trend": fit.spec.trend,
        "residual": fit.spec.residual,
        "reference_tokens": options.reference_tokens,
        "params": derive.params_convention(fit),
        "feedback": options.feedback,
    }


def _lines(
    fit: Fit, data: JointObservations, posterior: xr.Dataset, log_sizes: xr.DataArray
) -> xr.Dataset:
    """Logs of size, density, trend, and density of another new LLM of that date, by draw."""
    plain = posterior.drop_vars([str(name) for name in posterior.coords])
    x = log_sizes.drop_vars([str(name) for name in log_sizes.coords])
    rng = np.random.default_rng([fit.seed, _OTHERS])
    return xr.Dataset(
        {
            "size": x,
            "density": x - xr.DataArray(data.llms.log_params, dims=LLM),
            "trend": trend_at(plain, fit.spec, data.llms),
            "other": draw_log_density(plain, fit.spec, data.llms, rng, new_families=True),
        }
    )


def _names_of(data: JointObservations, i: int) -> list[str]:
    """Benchmarks on which an LLM has a score."""
    first, last = data.scores.first[i : i + 2]
    return [data.benchmarks.names[j] for j in data.scores.benchmark_idx[first:last]]


def _of_llm(line: xr.Dataset, bounds: xr.Dataset) -> dict[str, object]:
    """Size, density and place of one LLM."""
    return {
        "effective_params": _summary(line["size"]),
        "density": _summary(line["density"]),
        "trend": _summary(line["trend"]),
        "ratio": _summary(line["density"] - line["trend"]),
        "p_above_trend": probability(line["density"] > line["trend"]).value,
        "p_denser_than_new_llm": probability(line["density"] > line["other"]).value,
        "lower_bound_only": bool(bounds["lower_bound_only"]),
        "upper_bound_only": bool(bounds["upper_bound_only"]),
        "data_lower_bound": float(bounds["data_lower_bound"]),
    }


def _summary(log_draws: xr.DataArray) -> dict[str, object]:
    """Median and interval of exp(draws): quantiles commute with exp, and logs do not overflow."""
    with np.errstate(over="ignore"):
        low, middle, high = np.exp(
            np.quantile(log_draws.to_numpy(), [tails(CI_PROB)[0], 0.5, tails(CI_PROB)[1]])
        )
    return {"median": middle, "eti95": [low, high]}


def _extrapolation(fit: Fit, log_size: xr.DataArray) -> float:
    """Median effective size over the largest reference run."""
    with np.errstate(over="ignore"):
        return float(np.exp(np.median(log_size.to_numpy()))) / derive.largest_reference(fit)


def _cautions(fit: Fit, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say which rows rest on the trend or on the law where neither has seen data."""
    first, last = derive.window(fit)
    if outside := [row["llm"] for row in rows if not first <= row["release_date"] <= last]:
        yield (
            f"Released outside of the fit's window ({first} to {last}): {listing(outside)}. The "
            "trend is extrapolated to that date; an LLM of few scores is mostly what it expects."
        )
    if far := [row["llm"] for row in rows if row["extrapolation"] > FAR]:
        largest = format_count(derive.largest_reference(fit))
        yield (
            f"Extrapolated far beyond the reference runs: effective sizes of {listing(far)} are "
            f"more than {FAR:.0f} times their largest LLM ({largest} parameters)."
        )
    for row in rows:
        bound, high = row["data_lower_bound"], row["effective_params"]["eti95"][1]
        if row["lower_bound_only"] and high < bound < np.inf:
            yield (
                f"{row['llm']}: its scores alone ask for {format_count(bound)} parameters or more, "
                "which the trend of its date outweighs: the interval lies below. The two disagree."
            )


def csv_rows(payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Rows of the CSV: an LLM each, its benchmarks as one cell."""
    return [{**llm, "benchmarks": " ".join(llm["benchmarks"])} for llm in payload["llms"]]
