"""When a goal is reached: the date of a density, or of a score by LLMs of a size."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from bayesdense import derive, elementary, laws, score_maps
from bayesdense.arrays import Floats
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.forecasting.ahead import Ahead, band, never_missing, pooled, quantiles
from bayesdense.names import (
    BENCHMARK,
    CHAIN,
    CI_PROB,
    DRAW,
    INNER_CI_PROB,
    LAW_PARAMETERS,
    LLM,
    MAP_PARAMETERS,
)
from bayesdense.newcomers import (
    Cell,
    Newcomers,
    NewLLM,
    benchmarks_of,
    observe_newcomers,
    require_laws,
    shared_parameters,
)
from bayesdense.observations import JointObservations, LLMData
from bayesdense.results import Fit
from bayesdense.simulate.story import score_moments
from bayesdense.trends import trend_named
from bayesdense.wording import nearest_of

#: Days between the dates at which a trend is compared with a goal, and most of those dates; the
#: trend is linear between them.
_STEP_DAYS: Final = 7
_MOST_DATES: Final = 2000


def density_target(parts: Sequence[Ahead], density: float, end: str) -> dict[str, object]:
    """When a density is reached."""
    goals = [np.full(part.eta.shape[:2], math.log(density)) for part in parts]
    return {
        "kind": "density",
        "density": density,
        **_reached(parts, goals, end),
        "dates": [
            {
                "date": date,
                "p_typical": _share_at(parts, goals, k),
                "p_new_llm": _share_at(parts, goals, k, new=True),
            }
            for k, date in enumerate(parts[0].dates)
        ],
    }


def _share_at(
    parts: Sequence[Ahead], goals: Sequence[Floats], k: int, *, new: bool = False
) -> float:
    """Share of all draws in which the typical LLM, or a new one, is at its goal at a date."""
    at_goal = [
        _is_at(part.new_llm(k) if new else part.line(k), goal)
        for part, goal in zip(parts, goals, strict=True)
    ]
    return float(np.concatenate([np.ravel(one) for one in at_goal]).mean())


def score_target(
    parts: Sequence[Ahead], benchmark: str, value: float, params: float, end: str
) -> dict[str, object]:
    """When LLMs of a size reach a score, and which size reaches it at each date."""
    dates = parts[0].dates
    needed, chances, goals, slopes = [], [], [], []
    for part in parts:
        data = _imagined(part.fit, dates, benchmark, value, params)
        protocol = float(data.scores.other_protocol[0])
        log_size = _log_size_of(part.fit, benchmark, value, protocol)
        slope = _size_slope(part.fit, data.llms)
        larger = slope * (math.log(params) - data.llms.covariate_mean)
        sizes = math.log(params) + larger[..., None] + part.eta.to_numpy() + part.deviation
        chances.append(_chance_of_score(part.fit, data, sizes))
        goals.append(log_size - math.log(params) - larger)
        needed.append(log_size + slope * data.llms.covariate_mean)
        slopes.append(slope)
    chance = np.average(chances, axis=0, weights=[goal.size for goal in goals])
    return {
        "kind": "score",
        "benchmark": benchmark,
        "score": value,
        "n_params": params,
        "density": band(pooled(goals)),
        "p_out_of_reach": float(np.isposinf(pooled(goals)).mean()),
        **_reached(parts, goals, end),
        "dates": [
            {
                "date": date,
                "p_typical": _share_at(parts, goals, k),
                "p_new_llm": float(chance[k]),
                "size_needed": band(
                    pooled(
                        _size_needed(one, part.line(k), slope)
                        for one, part, slope in zip(needed, parts, slopes, strict=True)
                    )
                ),
            }
            for k, date in enumerate(dates)
        ],
    }


def _size_needed(log_size: Floats, line: Floats, slope: Floats) -> Floats:
    """Log N with log N + line + slope log N = log_size.

    Infinite where the effective size is, and where a larger LLM is worth no more (slope <= -1).
    """
    out_of_reach = np.isposinf(log_size) | (slope <= -1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(out_of_reach, np.inf, (log_size - line) / (1.0 + slope))


def _size_slope(fit: Fit, llms: LLMData) -> Floats:
    """Slope of log density on log N under the trend `covariate`, (chain, draw); 0 under others."""
    shape = (fit.posterior.sizes[CHAIN], fit.posterior.sizes[DRAW])
    if trend_named(fit.spec.trend).covariate is None:
        return np.zeros(shape)
    if llms.covariate is None:
        raise BayesdenseError(
            f"forecast: a score asks for {trend_named(fit.spec.trend).covariate} of LLMs to come, "
            "which is not known; forecast a density, or fit another trend"
        )
    return np.asarray(fit.posterior["covariate_slope"].transpose(CHAIN, DRAW).to_numpy())


def _imagined(
    fit: Fit, dates: Sequence[str], benchmark: str, value: float, params: float
) -> JointObservations:
    """LLMs of a size with a score, one per date."""
    counts = {derive.params_convention(fit): params, "total": params}
    llms = tuple(NewLLM(d, dt.date.fromisoformat(d), counts, None, True) for d in dates)
    cells = tuple(Cell(llm.name, benchmark, value) for llm in llms)
    return observe_newcomers(fit, Newcomers(llms, cells))[0]


def _chance_of_score(fit: Fit, data: JointObservations, log_sizes: Floats) -> Floats:
    """P(a new LLM scores at least as much), with its skill, protocol and items, by date."""
    theta = shared_parameters(fit).transpose(CHAIN, DRAW, ...)
    theta = theta.drop_vars([str(name) for name in theta.coords])
    sizes = xr.DataArray(log_sizes, dims=(CHAIN, DRAW, LLM))
    mean, var, _ = score_moments(theta, fit.spec, data, sizes)
    z = (mean - xr.DataArray(data.scores.logit_score, dims=str(mean.dims[-1]))) / var**0.5
    return np.asarray(special.ndtr(z).mean((CHAIN, DRAW)))


def _log_size_of(fit: Fit, benchmark: str, value: float, other_protocol: float) -> Floats:
    """Log size of the reference LLM that is expected to score so, by draw; may be infinite."""
    theta = fit.posterior.sel({BENCHMARK: benchmark})
    law, curve = (
        [theta[name].transpose(CHAIN, DRAW).to_numpy() if name in theta else 0.0 for name in names]
        for names in (LAW_PARAMETERS, MAP_PARAMETERS)
    )
    on_map: Any = value
    if "protocol_offset" in theta:
        shift = other_protocol * theta["protocol_offset"].transpose(CHAIN, DRAW).to_numpy()
        on_map = elementary.expit(elementary.logit(value) - shift)
    log_tokens = math.log(fit.spec.options.reference_tokens) - float(
        fit.variable("constant_data", "log_tokens_centre")
    )
    loss = score_maps.logistic_score_loss(on_map, *curve)
    ratio = laws.chinchilla_log_params(loss, log_tokens, *law)
    return np.asarray(ratio + float(fit.variable("constant_data", "log_params_centre")))


def _reached(parts: Sequence[Ahead], goals: Sequence[Floats], end: str) -> dict[str, object]:
    """First dates at which draws' trends are at their goals, summarised; null where none is."""
    window = derive.window(parts[0].fit)
    first, last_day = (dt.date.fromisoformat(d) for d in (window[0], end))
    if last_day <= first:
        raise BayesdenseError(f"forecast: horizon {end}, allowed: a date after {first}")
    whole = (last_day - first).days
    n_dates = min(math.ceil(whole / _STEP_DAYS), _MOST_DATES)
    days = np.unique(np.linspace(0, whole, n_dates + 1).round())
    dates = [(first + dt.timedelta(days=int(day))).isoformat() for day in days]
    goal = pooled(goals)
    each = [never_missing(derive.trend(part.fit, dates)).to_numpy() for part in parts]
    eta = np.concatenate([one.reshape(-1, len(dates)) for one in each])
    day = first_reached(days, eta, goal)
    return {
        "date": _date_summary(day, first),
        "p_reached_by_horizon": float(np.isfinite(day).mean()),
        "p_reached_before_window": float(_is_at(eta[:, 0], goal).mean()),
    }


def first_reached(days: Floats, line: Floats, goal: Floats) -> Floats:
    """Day on which each row of a broken line first is at its goal; infinite if never.

    Parameters
    ----------
    days
        (n,) increasing.
    line
        (rows, n), values on these days, linear between; infinite ones are at any finite goal, those
        of minus infinity at none.
    goal
        (rows,), may be infinite.

    Returns
    -------
    numpy.ndarray
        (rows,): the first of the days where the line starts at its goal or above it.

    Examples
    --------
    >>> lines = np.array([[0.0, 4.0], [0.0, 0.0]])
    >>> first_reached(np.array([0.0, 10.0]), lines, np.ones(2)).tolist()
    [2.5, inf]
    """
    at_goal = _is_at(line, goal[:, None])
    k = at_goal.argmax(axis=1)
    found = at_goal.any(axis=1)
    rows = np.arange(len(line))
    before = np.maximum(k - 1, 0)
    low, high = line[rows, before], line[rows, k]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(k > 0, (goal - low) / (high - low), 0.0)
    share = np.where(np.isfinite(share) & np.isfinite(high), share, 1.0)
    return np.where(found, days[before] + share * (days[k] - days[before]), np.inf)


def _is_at(line: Floats, goal: Floats) -> NDArray[np.bool_]:
    """Whether a trend is at a goal; what no size reaches, an infinite trend does not either."""
    return np.asarray((line >= goal) & ~np.isposinf(goal))


def _date_summary(day: Floats, first: dt.date) -> dict[str, object]:
    """Median and intervals of dates; None where a quantile lies at never, or after the horizon."""
    probs = [0.5, *tails(INNER_CI_PROB), *tails(CI_PROB)]
    middle, low50, high50, low95, high95 = (
        (first + dt.timedelta(days=round(value))).isoformat() if math.isfinite(value) else None
        for value in quantiles(day, probs).tolist()
    )
    return {"median": middle, "eti50": [low50, high50], "eti95": [low95, high95]}


def score_goals(
    fit: Fit, score: Mapping[str, float] | None, params: float | None
) -> dict[str, float]:
    """Check scores that are asked for."""
    require_positive("params", params)
    if not score:
        if params is not None:
            raise BayesdenseError("forecast: params without a score, allowed: both or neither")
        return {}
    require_laws(fit, "forecast")
    if params is None:
        raise BayesdenseError("forecast: a score needs params, the LLM's parameters, as 7e9")
    names = benchmarks_of(fit)
    for name, value in score.items():
        if name not in names:
            raise BayesdenseError(
                f"forecast: no benchmark {name!r} in this fit{nearest_of(name, names)}"
            )
        if not 0.0 < value < 1.0:
            raise BayesdenseError(f"forecast: score {value:g} on {name}, allowed: between 0 and 1")
    return dict(score)


def require_positive(name: str, value: float | None) -> None:
    """Refuse what is no positive finite number."""
    if value is not None and not (math.isfinite(value) and value > 0.0):
        raise BayesdenseError(f"forecast: {name} {value:g}, allowed: a positive number")
