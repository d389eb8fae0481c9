"""What is forecast at dates, of one fit or of several whose draws count alike."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense import derive
from bayesdense.elementary import LOG_2
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import DoublingTime, Estimate, probability
from bayesdense.forecasting.ahead import Ahead, band, p_singular, pooled
from bayesdense.forecasting.goals import density_target, require_positive, score_goals, score_target
from bayesdense.names import CHAIN, CI_PROB, DAYS_PER_YEAR, DRAW, LLM, SCHEMA_VERSION
from bayesdense.results import Fit
from bayesdense.summary import strict

#: Years in which hardware of one price doubles its speed, as the paper takes it (Moore's law).
HARDWARE_DOUBLING_YEARS: Final = 2.1
#: Years after the last release, or the last date asked for, in which a goal is looked for.
_HORIZON_YEARS: Final = 10


def forecast(
    fit: Fit,
    at: str | Sequence[str],
    *,
    density: float | None = None,
    score: Mapping[str, float] | None = None,
    params: float | None = None,
    horizon: str | None = None,
    hardware_doubling_years: float = HARDWARE_DOUBLING_YEARS,
) -> dict[str, Any]:
    """Forecast density at dates, and the dates at which goals are reached.

    Two bands: `typical` is exp(eta(t)), the density of a typical LLM; `new_llm` that of one LLM,
    exp(eta(t) + f + e) with an effect f ~ Normal(0, family_sd) of a new family and a residual e.
    After the last release both rest on the trend's going on as it did.

    Parameters
    ----------
    fit
        A fit; of a joint model where a score is asked for.
    at
        ISO dates.
    density
        A density to be reached.
    score
        Scores to be reached, by benchmark, by an LLM of `params` parameters: their density is
        Nhat(S)/N, where a reference run of Nhat parameters on D0 tokens is expected to score S.
    params
        Parameters N, counted as the fit counts them.
    horizon
        ISO date until which goals are looked for; by default ten years after the last release or
        the last of `at`.
    hardware_doubling_years
        In which hardware of one price doubles.

    Returns
    -------
    dict
        As `forecast.schema.json`: strict JSON. A goal's date is the first, from the first release
        on, at which the typical LLM reaches it. Draws that never do, or not until the horizon, are
        counted as later than every date: a quantile that falls among them is null, and
        `p_reached_by_horizon` says how many do. Draws in which density has become infinite
        (`hyperbolic`) are at every goal, those in which it has fallen to zero at none;
        `p_singular` and `p_singular_by_horizon` say how many they are, and growth at such a date is
        null.

    Raises
    ------
    BayesdenseError
        A date, density, score or size that cannot be, a benchmark that the fit does not know.
    """
    dates = asked_dates(at)
    return told_ahead(
        [Ahead.of(fit, dates)],
        about_fit(fit),
        density=density,
        score=score,
        params=params,
        horizon=horizon,
        hardware_doubling_years=hardware_doubling_years,
    )


def about_fit(fit: Fit) -> dict[str, Any]:
    """What was fitted."""
    return {
        "dataset": fit.dataset_info["name"],
        "dataset_digest": fit.dataset_info["digest"],
        "model": fit.spec.name,
        "model_digest": fit.spec.digest,
        "trend": fit.spec.trend,
        "residual": fit.spec.residual,
        "window": list(derive.window(fit)),
        "params": derive.params_convention(fit),
        "reference_tokens": fit.spec.options.reference_tokens if fit.spec.is_joint else None,
    }


def asked_dates(at: str | Sequence[str]) -> list[str]:
    """Dates that are asked for."""
    dates = list(dict.fromkeys(map(_iso, [at] if isinstance(at, str) else at)))
    if not dates:
        raise BayesdenseError("forecast: no date, allowed: one or more as 2026-12-31")
    return dates


def told_ahead(
    parts: Sequence[Ahead],
    about: Mapping[str, Any],
    *,
    density: float | None,
    score: Mapping[str, float] | None,
    params: float | None,
    horizon: str | None,
    hardware_doubling_years: float,
) -> dict[str, Any]:
    """Summarise one fit, or several whose draws count alike; arguments as of `forecast`.

    Parameters
    ----------
    parts
        Fits of one dataset, read at the same dates.
    about
        The section `fit` of the answer.
    """
    require_positive("density", density)
    require_positive("hardware_doubling_years", hardware_doubling_years)
    first = parts[0]
    goals = score_goals(first.fit, score, params)
    last = max(derive.last_release(first.fit), *first.dates)
    end = _iso(horizon) if horizon else _years_later(last)
    targets = [] if density is None else [density_target(parts, density, end)]
    targets += [
        score_target(parts, name, value, params or math.nan, end) for name, value in goals.items()
    ]
    found: dict[str, Any] = strict(
        {
            "schema": SCHEMA_VERSION,
            "fit": dict(about),
            "dates": [_row(parts, k) for k in range(len(first.dates))],
            "horizon": end,
            "p_singular_by_horizon": p_singular(parts, end),
            "targets": targets,
            "corollaries": _corollaries(parts, hardware_doubling_years),
            "derived": _derived_densities(parts),
        }
    )
    return found


def _corollaries(parts: Sequence[Ahead], hardware_doubling_years: float) -> dict[str, object]:
    """What growth of density means for sizes, read at the last release.

    The size needed for a given score halves as density doubles, every ln 2 / g. On hardware that
    doubles every H years, effective size for a price grows with the rate g + ln 2 / H, and doubles
    every ln 2 / (g + ln 2 / H): harmonic sums of the times, interval by interval of the rates.

    References
    ----------
    Xiao et al. 2025, corollaries 1 and 2: with H = 2.1 years they print 88 days.
    """
    growth = _growth(parts, None)
    rate = growth.draws + LOG_2 / hardware_doubling_years
    combined = Estimate("growth with hardware", rate.assign_attrs(units="1/year"), growth.at)
    return {
        "size_halving_days": DoublingTime(growth).to_dict(),
        "hardware_doubling_years": hardware_doubling_years,
        "with_hardware_doubling_days": DoublingTime(combined).to_dict(),
    }


def _growth(parts: Sequence[Ahead], date: str | None) -> Estimate:
    """Growth rate at a date, None: at the last release, from the draws of all."""
    each = [derive.growth_rate(part.fit, date) for part in parts]
    return Estimate(each[0].name, _side_by_side([one.draws for one in each]), each[0].at)


def _side_by_side(each: Sequence[xr.DataArray]) -> xr.DataArray:
    """Draws of several fits as those of one chain; of one fit as they are."""
    if len(each) == 1:
        return each[0]
    draws = np.concatenate([np.ravel(one.transpose(CHAIN, DRAW).to_numpy()) for one in each])
    return xr.DataArray(draws[None], dims=(CHAIN, DRAW), attrs=each[0].attrs)


def _derived_densities(parts: Sequence[Ahead]) -> dict[str, object]:
    """Density of LLMs that were pruned, distilled or quantised, over that of what they came from.

    Draw by draw from the joint draws of both densities; pairs as `derived_from` names them, of
    which the other LLM has to be in the fit. `all_pairs` is the geometric mean over pairs.
    """
    parents = parts[0].fit.group("constant_data").get("derived_from")
    if parents is None:
        return {"pairs": [], "n_without_parent": 0, "all_pairs": None}
    each = [derive.log_density(part.fit) for part in parts]
    names = [str(name) for name in each[0][LLM].values]
    made = [
        (str(llm), str(parent))
        for llm, parent in zip(parents[LLM].values, parents.values, strict=True)
        if parent
    ]
    pairs = [(llm, parent) for llm, parent in made if parent in names]
    ratios = [
        _side_by_side(
            [one.sel({LLM: llm}, drop=True) - one.sel({LLM: parent}, drop=True) for one in each]
        )
        for llm, parent in pairs
    ]
    return {
        "pairs": [
            {"llm": llm, "derived_from": parent, **_ratio(ratio)}
            for (llm, parent), ratio in zip(pairs, ratios, strict=True)
        ],
        "n_without_parent": len(made) - len(pairs),
        "all_pairs": _ratio(sum(ratios[1:], ratios[0]) / len(ratios)) if ratios else None,
    }


def _ratio(log_ratio: xr.DataArray) -> dict[str, object]:
    """Summarise a ratio of densities."""
    plain = log_ratio.drop_vars("release_date", errors="ignore")
    return {"ratio": band(plain.to_numpy()), "p_denser": probability(plain > 0.0).value}


def _row(parts: Sequence[Ahead], k: int) -> dict[str, object]:
    """Everything about one date; no growth where density may be infinite by then."""
    date, (first, last) = parts[0].dates[k], derive.window(parts[0].fit)
    line = pooled(part.line(k) for part in parts)
    singular = p_singular(parts, date)
    growth = _growth(parts, date) if singular == 0.0 else None
    return {
        "date": date,
        "extrapolated": not first <= date <= last,
        "typical": band(line),
        "new_llm": band(pooled(part.new_llm(k) for part in parts)),
        "p_not_finite": float(np.isinf(line).mean()),
        "p_singular": singular,
        "growth_rate_per_year": growth
        and {
            "median": growth.median,
            "eti95": growth.interval(CI_PROB),
            "p_positive": growth.probability_above(0.0).value,
        },
        "doubling_time_days": growth and DoublingTime(growth).to_dict(),
    }


def _iso(text: str) -> str:
    """Return an ISO date, or raise saying how it is written."""
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError as err:
        raise BayesdenseError(f"{text!r} is not a date; write it as 2026-12-31") from err


def _years_later(date: str) -> str:
    """Date so many years later, as far as the calendar goes."""
    day, days = dt.date.fromisoformat(date), round(_HORIZON_YEARS * DAYS_PER_YEAR)
    return (day + dt.timedelta(days=min(days, (dt.date.max - day).days))).isoformat()
