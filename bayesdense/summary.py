"""The summary of a fit: `summary.json` and the headline, with digits that hold.

Intervals are equal-tailed (ETI) and say their probability; sizes and densities are summarised by
quantiles, never by means; a doubling time is read from quantiles of the growth rate.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import xarray as xr

from bayesdense import derive
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import DoublingTime, equals, tails
from bayesdense.growth_breaks import growth_break, has_break
from bayesdense.names import CI_PROB, LLM, SCHEMA_VERSION
from bayesdense.results import Fit
from bayesdense.statements import (
    FAR,
    Scope,
    Times,
    chance_clause,
    halving_sentence,
    prior_text,
    scope_sentences,
    time_sentence,
)
from bayesdense.wording import json_text, printable

_DATASET_KEYS: Final = (
    "name", "digest", "n_llms", "n_families", "n_runs", "n_scores", "window",
)  # fmt: skip
_STAGES: Final = ("import", "build", "compile", "sample", "derive", "total")


class SupportsToDict(Protocol):
    """What a summary needs of `bayesdense.checks.Checks`."""

    def to_dict(self) -> Mapping[str, object]:
        """Return the section `checks` of summary.json."""
        ...


def summarize(
    fit: Fit,
    checks: SupportsToDict,
    *,
    threshold_days: float | None = None,
    timings: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Summarise a fit as `summary.json` does.

    Parameters
    ----------
    fit
        A fit.
    checks
        What `bayesdense.check(fit)` gave.
    threshold_days
        If given, P(0 < doubling time < threshold) is added to `doubling_time_days`.
    timings
        Wall seconds of stages that ended after the fit was made (`derive`, `total`).

    Returns
    -------
    dict
        Plain JSON values as `schemas/summary.schema.json` describes them. A number that is not
        finite is None: an unbounded end of a doubling time, a size beyond the largest float.

        A fit in which any draw is not finite (its check `finite_draws` fails) says nothing about
        growth: all those numbers are None, and the statement says why.

    Raises
    ------
    BayesdenseError
        The fit lacks a variable, or `threshold_days` is not a positive number.
    """
    _check_threshold(threshold_days)
    table = derive.llm_estimates(fit)
    broken = count_not_finite(fit)
    answer = _no_answer(fit, broken) if broken else _answer(fit, table, threshold_days)
    if threshold_days is not None:
        answer["doubling_time_days"] |= _threshold_part(fit, threshold_days, broken=bool(broken))
    content = {
        "schema": SCHEMA_VERSION,
        "dataset": {key: fit.dataset_info.get(key) for key in _DATASET_KEYS},
        "model": _model_section(fit),
        **answer,
        "n_lower_bound_only": int(table["lower_bound_only"].sum()),
        "n_upper_bound_only": int(table["upper_bound_only"].sum()),
        "llms": _llm_sections(table),
        "checks": checks.to_dict(),
        "timings_s": {stage: {**fit.timings, **(timings or {})}.get(stage) for stage in _STAGES},
        "seed": fit.seed,
        "versions": fit.versions,
    }
    plain: dict[str, Any] = strict(content)
    return plain


def to_json(summary: Mapping[str, Any]) -> str:
    """Write a summary as strict JSON (no NaN, no Infinity), UTF-8 text with a final newline."""
    return json_text(summary) + "\n"


def headline(summary: Mapping[str, Any]) -> str:
    """Say a summary in a few lines of text for a terminal.

    Parameters
    ----------
    summary
        What `summarize` returned, or the content of a summary.json.
    """
    data = summary["dataset"]
    first, last = data["window"]
    people = f"{data['n_llms']} LLMs of {data['n_families']} families, {first} to {last}"
    lines = [summary["doubling_time_days"]["statement"], f"{printable(data['name'])}: {people}."]
    if "growth_break" in summary:
        lines.insert(1, summary["growth_break"]["statement"])
    return "\n".join([*lines, *_check_lines(summary["checks"])])


def statement(fit: Fit, *, threshold_days: float | None = None) -> str:
    """Say the doubling time of a fit, what density means in it, and what limits the answer."""
    _check_threshold(threshold_days)
    return _statement(fit, derive.llm_estimates(fit), threshold_days)


def count_not_finite(fit: Fit) -> int:
    """Count the draws of a fit that are not finite, as the check `finite_draws` does."""
    return sum(int((~np.isfinite(draws.values)).sum()) for draws in fit.posterior.values())


def strict(value: object) -> Any:  # noqa: ANN401  (any JSON value)
    """Return a value as plain JSON types; numbers that are not finite become None."""
    if isinstance(value, np.ndarray | np.generic):
        return strict(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _model_section(fit: Fit) -> dict[str, object]:
    """Name the model and the definitions that its densities rest on."""
    spec, options = fit.spec, fit.spec.options
    return {
        "name": spec.name,
        "digest": spec.digest,
        "trend": spec.trend,
        "residual": spec.residual,
        "reference_tokens": options.reference_tokens if spec.is_joint else None,
        "params": derive.params_convention(fit) if spec.is_joint else None,
        "feedback": options.feedback if spec.is_joint else None,
    }


def _check_threshold(days: float | None) -> None:
    """Refuse a threshold that no doubling time can be compared with."""
    if days is not None and not (math.isfinite(days) and days > 0.0):
        raise BayesdenseError(f"threshold_days = {days}: allowed a positive number of days")


def _answer(fit: Fit, table: xr.Dataset, threshold: float | None) -> dict[str, Any]:
    """Sections about growth."""
    doubling, halving = derive.doubling_time(fit), derive.halving_time(fit)
    found: dict[str, Any] = {
        "growth_rate_per_year": _growth_section(fit),
        "growth_factor_per_year": derive.growth_factor(fit).to_dict(),
        "orders_of_magnitude_per_year": derive.orders_of_magnitude(fit).to_dict(),
        "p_faster_than_paper": derive.p_faster_than_paper(fit).value,
        "doubling_time_days": doubling.to_dict() | {"statement": _statement(fit, table, threshold)},
    }
    if has_break(fit):
        found["growth_break"] = growth_break(fit).to_dict()
    if math.isfinite(halving.interval(CI_PROB)[0]):  # growth may be negative
        said = halving_sentence(_times(halving))
        found["halving_time_days"] = halving.to_dict() | {"statement": said}
    return found


def _no_answer(fit: Fit, broken: int) -> dict[str, Any]:
    """Sections about growth where draws are not finite: every number unknown, and why."""
    size = sum(draws.size for draws in fit.posterior.values())
    unknown: dict[str, Any] = {"median": None, "eti50": (None, None), "eti95": (None, None)}
    at = derive.last_release(fit)
    return {
        "growth_rate_per_year": {
            **unknown, "mean": None, "sd": None, "p_positive": None,
            "prior_p_positive": derive.prior_p_growing(fit), "at": at, "average_over_window": None,
        },
        "growth_factor_per_year": unknown,
        "orders_of_magnitude_per_year": unknown,
        "p_faster_than_paper": None,
        "doubling_time_days": {
            **unknown, "unbounded": True, "unbounded50": True, "at": at,
            "statement": f"No answer: {broken:,} of {size:,} draws are not finite; the sampler did "
            "not give a posterior (check the priors' scales, then fit again).",
        },
    }  # fmt: skip


def _threshold_part(fit: Fit, days: float, *, broken: bool) -> dict[str, object]:
    """P(0 < T < days)."""
    chance = None if broken else derive.doubling_time(fit).probability_below(days).value
    return {"threshold_days": float(days), "p_below_threshold": chance}


def _growth_section(fit: Fit) -> dict[str, object]:
    """Growth rate with its probabilities, at the last release and over the window."""
    growth = derive.growth_rate(fit)
    return {
        "median": growth.median,
        "mean": growth.mean,
        "sd": growth.sd,
        **growth.to_dict(),
        "p_positive": growth.probability_above(0.0).value,
        "prior_p_positive": derive.prior_p_growing(fit),
        "at": growth.at,
        "average_over_window": derive.average_growth(fit).median,
    }


def _llm_sections(table: xr.Dataset) -> list[dict[str, object]]:
    """One record per LLM, in the dataset's order."""
    columns = {str(name): table[name].values.tolist() for name in table.variables}
    return [_llm_section({name: values[k] for name, values in columns.items()})
            for k in range(table.sizes[LLM])]  # fmt: skip


def _llm_section(row: Mapping[str, Any]) -> dict[str, object]:
    """Record of one LLM; sizes are None in a fit of densities only."""
    return {
        "llm": row[LLM],
        "release_date": row["release_date"],
        "n_params": row["n_params"],
        "effective_params": _summary_of(row, "effective_params"),
        "density": _summary_of(row, "density"),
        "lower_bound_only": bool(row["lower_bound_only"]),
        "upper_bound_only": bool(row["upper_bound_only"]),
        "data_lower_bound": row["data_lower_bound"],
        "extrapolation": row["extrapolation"],
    }


def _summary_of(row: Mapping[str, Any], stem: str) -> dict[str, object] | None:
    """Median and interval of one quantity; None where the fit does not know it at all."""
    median, lower, upper = (row[name] for name in derive.column_names(stem))
    return None if math.isnan(median) else {"median": median, "eti95": [lower, upper]}


def _statement(fit: Fit, table: xr.Dataset, threshold: float | None) -> str:
    """Join the sentences about the doubling time and about its meaning."""
    doubling, halving = derive.doubling_time(fit), derive.halving_time(fit)
    spec = fit.spec
    first = time_sentence(
        residual=spec.residual,
        base_only=spec.options.base_only,
        doubling=_times(doubling),
        halving=_times(halving),
    )
    chance = equals(doubling.growth.probability_above(0.0))
    clauses = [f"{first}; {chance_clause(chance, prior_text(derive.prior_p_growing(fit)))}."]
    if derive.growth_changes(fit):
        clauses.append(f"Under the trend {spec.trend} growth changes: this is of {doubling.at}.")
    if threshold is not None:
        below = equals(doubling.probability_below(threshold))
        clauses.append(f"P(doubling in less than {threshold:g} days) {below}.")
    return " ".join([*clauses, *scope_sentences(_scope(fit, table))])


def _times(time: DoublingTime) -> Times:
    """Months of a doubling time as they are printed."""
    low, high = tails(CI_PROB)
    return Times(*(time.months(p) for p in (0.5, low, high)))


def _scope(fit: Fit, table: xr.Dataset) -> Scope:
    """Gather what the headline has to say about its own meaning."""
    joint = fit.spec.is_joint
    bounds = derive.bounds(table)
    return Scope(
        params=derive.params_convention(fit),
        reference_tokens=fit.spec.options.reference_tokens if joint else None,
        reference_params=fit.dataset_info.get("reference_params") if joint else None,
        feedback=fit.spec.options.feedback if joint else None,
        n_llms=table.sizes[LLM],
        n_lower_bound_only=bounds.count("lower"),
        n_upper_bound_only=bounds.count("upper"),
        n_no_bound=bounds.count("neither"),
        tokens_beyond=derive.tokens_beyond(fit),
        n_far=int((table["extrapolation"] > FAR).sum()),
        largest_reference=derive.largest_reference(fit),
    )


def _check_lines(checks: Mapping[str, Any]) -> list[str]:
    """Verdict of the checks, and a line for each that did not pass."""
    ess, rhat = checks.get("min_ess_bulk"), checks.get("max_rhat")
    facts = [
        f"R-hat up to {rhat:.3f}" if rhat is not None else "no R-hat",
        f"bulk ESS from {math.floor(ess):,}" if ess is not None else "no ESS",
        f"{checks.get('divergences') or 'no'} divergences",
    ]
    open_items = [item for item in checks["items"] if item["status"] in ("review", "fail")]
    lines = [f"  {i['status']}: {i['name']}: {i['advice']}".rstrip(": ") for i in open_items]
    return [f"Checks: {checks['status']} ({', '.join(facts)}).", *lines]
