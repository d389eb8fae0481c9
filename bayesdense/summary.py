"""The summary of a fit: `summary.json`, tables and the headline, with digits that hold.

Intervals are equal-tailed (ETI) and say their probability; sizes and densities are summarised by
quantiles, never by means; a doubling time is read from quantiles of the growth rate.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd
import xarray as xr

from bayesdense import derive
from bayesdense.estimates import DoublingTime, Estimate, equals, quantile_mcse, tails
from bayesdense.names import CI_PROB, INNER_CI_PROB, LLM, SCHEMA_VERSION
from bayesdense.results import Fit
from bayesdense.statements import (
    FAR,
    Scope,
    Times,
    chance_clause,
    format_count,
    format_number,
    halving_sentence,
    prior_text,
    scope_sentences,
    time_sentence,
)
from bayesdense.wording import printable

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

    Raises
    ------
    BayesdenseError
        Draws of the growth rate are not finite, or the fit lacks a variable.
    """
    table = derive.llm_estimates(fit)
    halving = derive.halving_time(fit)
    may_shrink = math.isfinite(halving.interval(CI_PROB)[0])
    content = {
        "schema": SCHEMA_VERSION,
        "dataset": {key: fit.dataset_info.get(key) for key in _DATASET_KEYS},
        "model": _model_section(fit),
        "growth_rate_per_year": _growth_section(fit),
        "growth_factor_per_year": _quantile_section(derive.growth_factor(fit)),
        "orders_of_magnitude_per_year": _quantile_section(derive.orders_of_magnitude(fit)),
        "p_faster_than_paper": derive.p_faster_than_paper(fit).value,
        "doubling_time_days": _doubling_section(fit, table, threshold_days),
        **({"halving_time_days": _halving_section(halving)} if may_shrink else {}),
        "n_lower_bound_only": int(table["lower_bound_only"].sum()),
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
    return json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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
    return "\n".join([*lines, *_check_lines(summary["checks"])])


def statement(fit: Fit, *, threshold_days: float | None = None) -> str:
    """Say the doubling time of a fit, what density means in it, and what limits the answer."""
    return _statement(fit, derive.llm_estimates(fit), threshold_days)


def llm_table(fit: Fit) -> pd.DataFrame:
    """Tabulate every LLM's size and density, as numbers.

    Returns
    -------
    pandas.DataFrame
        A row per LLM; the columns of `derive.llm_estimates`: medians, 95 % equal-tailed
        intervals, bounds and extrapolation, nan where a fit does not know.
    """
    table = derive.llm_estimates(fit)
    first = [LLM, "release_date", "n_params"]
    frame = table.to_dataframe().reset_index()
    return frame[[*first, *(str(name) for name in table.data_vars if name not in first)]]


def llm_text_table(fit: Fit) -> pd.DataFrame:
    """Tabulate every LLM for people: digits limited by Monte Carlo error, bounds in words."""
    table = derive.llm_estimates(fit)
    errors = {stem: _relative_errors(fit, stem) for stem in ("effective_params", "density")}
    rows = [
        {
            "llm": printable(str(row[LLM].item())),
            "released": str(row["release_date"].item()),
            "parameters": _count(row["n_params"].item()),
            "effective size": _cell(row, "effective_params", errors, k, format_count),
            "density": _cell(row, "density", errors, k, format_number),
            "note": _note(row),
        }
        for k, row in enumerate(table.isel({LLM: k}) for k in range(table.sizes[LLM]))
    ]
    return pd.DataFrame(rows, columns=_TEXT_COLUMNS)


def growth_text_table(fit: Fit) -> pd.DataFrame:
    """Tabulate growth in every unit for people: median and 95 % interval, digits that hold."""
    numbers = [derive.growth_rate(fit), derive.growth_factor(fit), derive.orders_of_magnitude(fit)]
    low, high = tails(CI_PROB)
    times = [derive.doubling_time(fit), derive.halving_time(fit)]
    rows = [(e.name, *(e.text(p) for p in (0.5, low, high)), e.units) for e in numbers]
    rows += [
        (t.name, *(t.months(p) or "unbounded" for p in (0.5, low, high)), "months")
        for t in times
        if math.isfinite(t.interval(CI_PROB)[0])
    ]
    chances = {
        "P(growing)": derive.growth_rate(fit).probability_above(0.0),
        "P(faster than the paper)": derive.p_faster_than_paper(fit),
    }
    rows += [(name, str(chance), "", "", "") for name, chance in chances.items()]
    return pd.DataFrame(rows, columns=["quantity", "median", "eti95_lower", "eti95_upper", "unit"])


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


def _growth_section(fit: Fit) -> dict[str, object]:
    """Growth rate with its probabilities, at the last release and over the window."""
    growth = derive.growth_rate(fit)
    return {
        "median": growth.median,
        "mean": growth.mean,
        "sd": growth.sd,
        **_intervals(growth),
        "p_positive": growth.probability_above(0.0).value,
        "prior_p_positive": derive.prior_p_growing(fit),
        "at": growth.at,
        "average_over_window": derive.average_growth(fit).median,
    }


def _quantile_section(estimate: Estimate) -> dict[str, object]:
    """Median and intervals: what survives a nonlinear transformation."""
    return {"median": estimate.median, **_intervals(estimate)}


def _intervals(estimate: Estimate | DoublingTime) -> dict[str, object]:
    """Both intervals of an estimate; infinite ends become None later."""
    return {"eti50": estimate.interval(INNER_CI_PROB), "eti95": estimate.interval(CI_PROB)}


def _time_section(time: DoublingTime, text: str) -> dict[str, object]:
    """Doubling or halving time in days."""
    return {
        "median": time.median,
        **_intervals(time),
        "unbounded": time.is_unbounded(CI_PROB),
        "unbounded50": time.is_unbounded(INNER_CI_PROB),
        "at": time.at,
        "statement": text,
    }


def _doubling_section(fit: Fit, table: xr.Dataset, threshold: float | None) -> dict[str, object]:
    """Doubling time with the sentence that says all of it."""
    doubling = derive.doubling_time(fit)
    section = _time_section(doubling, _statement(fit, table, threshold))
    if threshold is None:
        return section
    chance = doubling.probability_below(threshold).value
    return {**section, "threshold_days": float(threshold), "p_below_threshold": chance}


def _halving_section(halving: DoublingTime) -> dict[str, object]:
    """Halving time, where growth may be negative."""
    return _time_section(halving, halving_sentence(_times(halving)))


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
    return Scope(
        params=derive.params_convention(fit),
        reference_tokens=fit.spec.options.reference_tokens if joint else None,
        reference_params=fit.dataset_info.get("reference_params") if joint else None,
        n_llms=table.sizes[LLM],
        n_lower_bound_only=int(table["lower_bound_only"].sum()),
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


_TEXT_COLUMNS: Final = ["llm", "released", "parameters", "effective size", "density", "note"]


def _relative_errors(fit: Fit, stem: str) -> list[list[float]]:
    """Relative Monte Carlo errors of median, lower and upper end by LLM, from the log draws."""
    name = f"log_{stem}"
    if name not in fit.posterior:
        return []
    draws = fit.posterior[name]
    errors = [quantile_mcse(draws, prob).values for prob in (0.5, *tails(CI_PROB))]
    result: list[list[float]] = np.stack(errors, axis=1).tolist()
    return result


def _cell(
    row: xr.Dataset,
    stem: str,
    errors: Mapping[str, Sequence[Sequence[float]]],
    k: int,
    write: "Writer",
) -> str:
    """Write `median (lower to upper)`; blank where unknown."""
    values = [row[name].item() for name in derive.column_names(stem)]
    if math.isnan(values[0]):
        return ""
    median, lower, upper = (
        write(value, value * error) if math.isfinite(value) else "inf"
        for value, error in zip(values, errors[stem][k], strict=True)
    )
    return f"{median} ({lower} to {upper})"


class Writer(Protocol):
    """A function that writes a number with the digits that its error supports."""

    def __call__(self, value: float, mcse: float = 0.0) -> str:
        """Write the number."""
        ...


def _count(value: float) -> str:
    """Write a number of parameters; blank where unknown."""
    return "" if math.isnan(value) else format_count(value)


def _note(row: xr.Dataset) -> str:
    """Say in words what bounds an LLM's size and how far it lies beyond the reference runs."""
    notes = []
    bound = _count(row["data_lower_bound"].item())
    if row["lower_bound_only"].item():
        notes.append(f"lower bound only{f', at least {bound}' if bound else ''}")
    if row["upper_bound_only"].item():
        notes.append("upper bound only")
    beyond = row["extrapolation"].item()
    if beyond > FAR and math.isfinite(beyond):
        notes.append(f"{format_number(beyond, digits=2)}x beyond the reference runs")
    return "; ".join(notes)
