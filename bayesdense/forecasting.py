"""What a fit says of dates: density of typical and of new LLMs, when a goal is reached."""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from bayesdense import derive, laws
from bayesdense.arrays import Floats
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import DoublingTime, Estimate, probability, tails
from bayesdense.names import (
    BENCHMARK,
    CHAIN,
    CI_PROB,
    DAYS_PER_YEAR,
    DRAW,
    INNER_CI_PROB,
    LAW_PARAMETERS,
    LLM,
    MAP_PARAMETERS,
    SCHEMA_VERSION,
)
from bayesdense.newcomers import (
    Cell,
    Newcomers,
    NewLLM,
    benchmarks_of,
    constant,
    observe_newcomers,
    require_laws,
)
from bayesdense.observations import JointObservations
from bayesdense.prior_draws import draw_residuals, residual_parameters
from bayesdense.results import Fit
from bayesdense.simulate.story import score_moments
from bayesdense.summary import strict, time_section
from bayesdense.wording import nearest_of

#: Years in which hardware of one price doubles its speed, as the paper takes it (Moore's law).
HARDWARE_DOUBLING_YEARS: Final = 2.1
#: Years after the last release, or the last date asked for, in which a goal is looked for.
_HORIZON_YEARS: Final = 10
#: Days between the dates at which a trend is compared with a goal, and most of those dates; the
#: trend is linear between them.
_STEP_DAYS: Final = 7
_MOST_DATES: Final = 2000
#: Keeps the LLMs of a forecast apart from other uses of a fit's seed.
_STREAM: Final = 0xF0CA


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """What one fit says of some dates, draw by draw; of several, draws are put together.

    Attributes
    ----------
    fit
        The fit, its draws as many as its weight says.
    dates
        ISO dates.
    eta
        Trend, (chain, draw, date); infinite where it has left the numbers.
    deviation
        Family effect and residual of a new LLM, (chain, draw, date).
    """

    fit: Fit
    dates: tuple[str, ...]
    eta: xr.DataArray
    deviation: Floats

    @classmethod
    def of(cls, fit: Fit, dates: Sequence[str]) -> Self:
        """Read a fit at dates."""
        eta = _finite_or_more(derive.trend(fit, dates))
        return cls(fit, tuple(dates), eta, _deviations(fit, dates))

    def line(self, k: int) -> Floats:
        """Trend at a date, (chain, draw)."""
        return np.asarray(self.eta.isel(date=k).to_numpy())


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
        `p_reached_by_horizon` says how many do. A trend that is not finite at a date counts as
        infinite, and `p_not_finite` says how often.

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
    _require_positive("density", density)
    _require_positive("hardware_doubling_years", hardware_doubling_years)
    first = parts[0]
    goals = _score_goals(first.fit, score, params)
    last = max(derive.last_release(first.fit), *first.dates)
    end = _iso(horizon) if horizon else _years_later(last)
    targets = [] if density is None else [_density_target(parts, density, end)]
    targets += [
        _score_target(parts, name, value, params or math.nan, end) for name, value in goals.items()
    ]
    found: dict[str, Any] = strict(
        {
            "schema": SCHEMA_VERSION,
            "fit": dict(about),
            "dates": [_row(parts, k) for k in range(len(first.dates))],
            "horizon": end,
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
    rate = growth.draws + laws.LOG_2 / hardware_doubling_years
    combined = Estimate("growth with hardware", rate.assign_attrs(units="1/year"), growth.at)
    return {
        "size_halving_days": time_section(DoublingTime(growth)),
        "hardware_doubling_years": hardware_doubling_years,
        "with_hardware_doubling_days": time_section(DoublingTime(combined)),
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


def band(log_draws: Floats) -> dict[str, object]:
    """Median and intervals of exp(draws): quantiles commute with exp, and logs do not overflow."""
    probs = [0.5, *tails(INNER_CI_PROB), *tails(CI_PROB)]
    with np.errstate(over="ignore"):
        middle, low50, high50, low95, high95 = np.exp(_quantiles(log_draws, probs))
    return {"median": middle, "eti50": [low50, high50], "eti95": [low95, high95]}


def _quantiles(draws: Floats, probs: Sequence[float]) -> Floats:
    """Quantiles of draws of which some may be infinite, none is dropped."""
    flat = np.asarray(draws, dtype=float).ravel()
    if np.isfinite(flat).all():
        return np.asarray(np.quantile(flat, probs))
    # linear interpolation of infinities is no number; an order statistic is
    return np.asarray(np.quantile(flat, probs, method="inverted_cdf"))


def _pooled(each: Iterable[Floats]) -> Floats:
    """Draws of all fits, flat."""
    return np.concatenate([np.ravel(one) for one in each])


def _row(parts: Sequence[Ahead], k: int) -> dict[str, object]:
    """Everything about one date."""
    date = parts[0].dates[k]
    line = _pooled(part.line(k) for part in parts)
    growth = _growth(parts, date)
    return {
        "date": date,
        "extrapolated": date > derive.last_release(parts[0].fit),
        "typical": band(line),
        "new_llm": band(line + _pooled(part.deviation[..., k] for part in parts)),
        "p_not_finite": float(np.isinf(line).mean()),
        "growth_rate_per_year": {
            "median": growth.median,
            "eti95": growth.interval(CI_PROB),
            "p_positive": growth.probability_above(0.0).value,
        },
        "doubling_time_days": time_section(DoublingTime(growth)),
    }


def _deviations(fit: Fit, dates: Sequence[str]) -> Floats:
    """Family effect and residual of a new LLM at each date, (chain, draw, date)."""
    posterior, years = fit.posterior, derive.years_since_origin(fit, dates)
    rng = np.random.default_rng([fit.seed, _STREAM])
    scalars = {
        str(name): drawn.transpose(CHAIN, DRAW).to_numpy()
        for name, drawn in posterior.data_vars.items()
        if set(drawn.dims) == {CHAIN, DRAW}
    }
    shape = (posterior.sizes[CHAIN], posterior.sizes[DRAW], len(years))
    sd, form = residual_parameters(fit.spec, scalars, years)
    out = draw_residuals(fit.spec.residual, sd, form, shape, rng)
    if fit.spec.component("family").kind != "none":
        out = out + scalars["family_sd"][..., None] * rng.normal(size=shape)
    return np.asarray(out)


def _finite_or_more(eta: xr.DataArray) -> xr.DataArray:
    """Trend, infinite where it has left the numbers: never silently missing."""
    return eta.where(np.isfinite(eta), np.inf)


def _density_target(parts: Sequence[Ahead], density: float, end: str) -> dict[str, object]:
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
        _is_at(part.line(k) + (part.deviation[..., k] if new else 0.0), goal)
        for part, goal in zip(parts, goals, strict=True)
    ]
    return float(np.concatenate([np.ravel(one) for one in at_goal]).mean())


def _score_target(
    parts: Sequence[Ahead], benchmark: str, value: float, params: float, end: str
) -> dict[str, object]:
    """When LLMs of a size reach a score, and which size reaches it at each date."""
    dates = parts[0].dates
    needed, chances = [], []
    for part in parts:
        data = _imagined(part.fit, dates, benchmark, value, params)
        protocol = float(data.scores.other_protocol[0])
        needed.append(_log_size_of(part.fit, benchmark, value, protocol))
        sizes = math.log(params) + part.eta.to_numpy() + part.deviation
        chances.append(_chance_of_score(part.fit, data, sizes))
    goals = [one - math.log(params) for one in needed]
    chance = np.average(chances, axis=0, weights=[goal.size for goal in goals])
    return {
        "kind": "score",
        "benchmark": benchmark,
        "score": value,
        "n_params": params,
        "density": band(_pooled(goals)),
        "p_out_of_reach": float(np.isposinf(_pooled(goals)).mean()),
        **_reached(parts, goals, end),
        "dates": [
            {
                "date": date,
                "p_typical": _share_at(parts, goals, k),
                "p_new_llm": float(chance[k]),
                "size_needed": band(
                    _pooled(one - part.line(k) for one, part in zip(needed, parts, strict=True))
                ),
            }
            for k, date in enumerate(dates)
        ],
    }


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
    kept = [
        name
        for name, drawn in fit.posterior.data_vars.items()
        if set(drawn.dims) <= {CHAIN, DRAW, BENCHMARK}
    ]
    theta = fit.posterior[kept].transpose(CHAIN, DRAW, ...)
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
        on_map = laws.expit(laws.logit(value) - shift)
    log_tokens = math.log(fit.spec.options.reference_tokens) - float(
        constant(fit, "log_tokens_centre")
    )
    loss = laws.logistic_score_loss(on_map, *curve)
    ratio = laws.chinchilla_log_params(loss, log_tokens, *law)
    return np.asarray(ratio + float(constant(fit, "log_params_centre")))


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
    goal = _pooled(goals)
    each = [_finite_or_more(derive.trend(part.fit, dates)).to_numpy() for part in parts]
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
        (rows, n), values on these days, linear between; infinite ones are at any finite goal.
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
        for value in _quantiles(day, probs).tolist()
    )
    return {"median": middle, "eti50": [low50, high50], "eti95": [low95, high95]}


def _score_goals(
    fit: Fit, score: Mapping[str, float] | None, params: float | None
) -> dict[str, float]:
    """Check scores that are asked for."""
    _require_positive("params", params)
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


def _require_positive(name: str, value: float | None) -> None:
    """Refuse what is no positive finite number."""
    if value is not None and not (math.isfinite(value) and value > 0.0):
        raise BayesdenseError(f"forecast: {name} {value:g}, allowed: a positive number")


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
