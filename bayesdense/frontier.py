"""Growth of the frontier in six readings, side by side: they answer different questions."""

from typing import Any, Final, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from bayesdense import derive
from bayesdense.arrays import Floats, Ints
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import DoublingTime, Estimate, tails
from bayesdense.names import (
    CHAIN,
    CI_PROB,
    DAYS_PER_YEAR,
    DRAW,
    FAMILY,
    GROUP,
    LLM,
    SCHEMA_VERSION,
    TREND_DIMS,
)
from bayesdense.observations import LLMData
from bayesdense.point import RecordLine, point_estimate, running_records
from bayesdense.point.attempts import record_slopes
from bayesdense.point.sizes import Params
from bayesdense.prior_draws import residual_parameters
from bayesdense.results import Fit
from bayesdense.simulate.story import draw_log_density, trend_at
from bayesdense.summary import strict

#: Share of new LLMs below the quantile that is read, unless said.
QUANTILE: Final = 0.9
_STREAM: Final = 0xF207


def frontier_readings(
    fit: Fit, *, quantile: float = QUANTILE, dataset: Dataset | None = None
) -> dict[str, Any]:
    """Read the growth of density in six ways, side by side and never ranked.

    - `mean`: eta, the density of a typical new LLM, at the last release.
    - `quantile`: eta + z_q sd(t), the density that a share q of new LLMs stays below, where the
      residual's sd moves with time (`scale_trend`), at the last release; sd(t) is of family effect
      and residual together.
    - `industry_frontier`: eta + the largest effect of a family released so far, under a composed
      residual; least squares over the release dates, in every draw.
    - `records`: least squares on the running records of every joint draw of log densities. It is a
      property of these LLMs, so that no probability of growth belongs to it.
    - `attempts`: the running maximum of simulated LLMs of new families at the real dates, least
      squares over the dates. Its growth is that from eta plus that from the number of entrants,
      which is what the same simulation gives with g = 0.
    - `paper`: least squares on the running records of point densities (`point_estimate`) with the
      fit's D0 and count of parameters, one number.

    Parameters
    ----------
    fit
        A fit.
    quantile
        The share q, between 0 and 1.
    dataset
        The data that were fitted, for the paper's estimate; None: without it.

    Returns
    -------
    dict
        As `readings.schema.json`: strict JSON. A reading that the model does not have, or whose
        draws have too few records everywhere, says why in `absent` and has no numbers. Draws with
        fewer than three records have no line: `share_too_few_records` counts them, and the
        quantiles are of the others.

    Raises
    ------
    BayesdenseError
        A quantile that is none, or a dataset that is not the one that was fitted.
    """
    if not 0.0 < quantile < 1.0:
        raise BayesdenseError(f"quantile = {quantile:g}, allowed: between 0 and 1")
    readings = [
        _mean(fit),
        _quantile(fit, quantile),
        _industry(fit),
        _records(fit),
        *_attempts(fit),
        _paper(fit, dataset),
    ]
    found: dict[str, Any] = strict(
        {
            "schema": SCHEMA_VERSION,
            "dataset": fit.dataset_info["name"],
            "model": fit.spec.name,
            "trend": fit.spec.trend,
            "residual": fit.spec.residual,
            "window": list(derive.window(fit)),
            "entrants_per_year": _entrants_per_year(fit),
            "readings": readings,
        }
    )
    return found


def _reading(
    name: str, about: str, growth: Floats, at: str | None, **more: object
) -> dict[str, object]:
    """Growth and doubling time of one reading from its draws (chain, draw); nan: no line."""
    flat = growth[np.isfinite(growth)]
    if flat.size == 0:
        return _absent(name, about, "too few records, or dates, in every draw")
    draws = xr.DataArray(flat[None, :], dims=(CHAIN, DRAW), attrs={"units": "1/year"})
    estimate = Estimate(name, draws, at)
    return {
        "reading": name,
        "about": about,
        "absent": None,
        "growth_rate_per_year": estimate.to_dict(),
        "doubling_time_days": DoublingTime(estimate).to_dict(),
        **more,
    }


def _absent(name: str, about: str, why: str) -> dict[str, object]:
    """Say why a reading has no numbers."""
    return {
        "reading": name,
        "about": about,
        "absent": why,
        "growth_rate_per_year": None,
        "doubling_time_days": None,
    }


def _mean(fit: Fit) -> dict[str, object]:
    """Growth of the trend."""
    growth = derive.growth_rate(fit)
    about = "a typical new LLM"
    if fit.spec.residual == "composed":
        about = "the frontier of an average family"
    chance = growth.probability_above(0.0).value
    return _reading("mean", about, growth.draws.to_numpy(), growth.at, p_growing=chance)


def _quantile(fit: Fit, q: float) -> dict[str, object]:
    """Growth of a quantile of new LLMs: g + z_q sd'(t)."""
    about = f"the density that {100 * q:g} % of new LLMs stay below"
    if not fit.spec.options.scale_trend:
        why = (
            "the model's scatter is constant, so that quantiles grow as the mean does (scale_trend)"
        )
        return _absent("quantile", about, why)
    if fit.spec.residual != "symmetric":
        return _absent("quantile", about, "no closed form under this residual")
    growth = derive.growth_rate(fit)
    years = derive.years_since_origin(fit, [derive.last_release(fit)])
    scalars = _scalars(fit)
    sd = residual_parameters(fit.spec, scalars, years)[0][..., 0]
    total = np.hypot(sd, scalars.get("family_sd", 0.0 * sd))
    # d/dt sqrt(family_sd^2 + sd^2) with sd = residual_sd exp(s t) is s sd^2 / total
    widening = scalars["residual_log_sd_slope"] * sd**2 / total
    drawn = growth.draws.transpose(CHAIN, DRAW).to_numpy() + stats.norm.ppf(q) * widening
    return _reading("quantile", about, drawn, growth.at, q=q, p_growing=float((drawn > 0).mean()))


def _industry(fit: Fit) -> dict[str, object]:
    """Growth of the largest family's frontier so far."""
    name, about = "industry_frontier", "the densest family released so far, without shortfall"
    if fit.spec.residual != "composed":
        return _absent(name, about, 'needs residual = "composed"')
    if "family_effect" not in fit.posterior:
        return _absent(name, about, "the model has no families")
    days, order = _days(fit)
    effects = fit.posterior["family_effect"].transpose(CHAIN, DRAW, FAMILY).to_numpy()
    of_llm = effects.reshape(-1, effects.shape[-1])[:, fit.group("constant_data")["family_idx"]]
    # of LLMs of one day, all families count from that day on
    so_far = np.maximum.accumulate(of_llm[:, order], axis=1)
    last_of_day = np.searchsorted(days[order], days[order], side="right") - 1
    lead = np.empty_like(so_far)
    lead[:, order] = so_far[:, last_of_day]
    eta = _eta(fit)
    day, first = np.unique(days, return_index=True)
    growth = DAYS_PER_YEAR * _slopes(day, (eta + lead)[:, first])
    log_density = _flat(derive.log_density(fit))
    shares = {
        "share_above_industry_frontier": _share(log_density > eta + lead),
        "share_above_average_family": _share(log_density > eta),
    }
    return _reading(name, about, growth, None, p_growing=float((growth > 0).mean()), **shares)


def _records(fit: Fit) -> dict[str, object]:
    """Growth of the line through the records of every joint draw of log densities."""
    about = "the records that these LLMs set (no statement about others)"
    days, _ = _days(fit)
    log_density = _flat(derive.log_density(fit))
    growth = DAYS_PER_YEAR * record_slopes(days, log_density)
    bound = derive.llm_estimates(fit)["lower_bound_only"].to_numpy()
    holders = [running_records(days, draw) for draw in log_density]
    counts = np.array([len(rows) for rows in holders])
    bounds = sum(int(bound[rows].sum()) for rows in holders)
    return _reading(
        "records",
        about,
        growth,
        None,
        n_records=float(np.median(counts)),
        share_too_few_records=float(np.isnan(growth).mean()),
        share_lower_bound_holders=bounds / int(counts.sum()),
    )


def _attempts(fit: Fit) -> list[dict[str, object]]:
    """Growth of the maximum in simulated worlds at the real dates, and where it comes from."""
    days, _ = _days(fit)
    posterior = fit.posterior[
        [
            name
            for name, drawn in fit.posterior.data_vars.items()
            if set(drawn.dims) <= {CHAIN, DRAW, FAMILY, *TREND_DIMS}
        ]
    ].transpose(CHAIN, DRAW, ...)
    theta = posterior.drop_vars([str(name) for name in posterior.coords])
    llms = _llms(fit)
    rng = np.random.default_rng([fit.seed, _STREAM])
    drawn = _flat(draw_log_density(theta, fit.spec, llms, rng, new_families=True))
    eta = _flat(trend_at(theta, fit.spec, llms))
    whole, entrants = _maximum_growth(days, drawn), _maximum_growth(days, drawn - eta)
    return [
        _reading("attempts", "the maximum so far of new LLMs at these dates", whole, None),
        _reading("attempts_from_eta", "of that, from the trend", whole - entrants, None),
        _reading(
            "attempts_from_entrants",
            "of that, from the number of entrants: the maximum rises though nothing improves",
            entrants,
            None,
        ),
    ]


def _maximum_growth(days: Ints, log_density: Floats) -> Floats:
    """Growth per year of the running maximum, least squares over the dates, one per row."""
    order = np.argsort(days, kind="stable")
    day, first = np.unique(days[order], return_index=True)
    best_of_day = np.maximum.reduceat(log_density[:, order], first, axis=1)
    return DAYS_PER_YEAR * _slopes(day, np.maximum.accumulate(best_of_day, axis=1))


def _paper(fit: Fit, dataset: Dataset | None) -> dict[str, object]:
    """Growth by the paper's estimator, without any uncertainty."""
    about = "least squares on the records of point densities, as the paper does"
    if dataset is None:
        return _absent("paper", about, "needs the dataset")
    if dataset.digest != fit.dataset_info["digest"]:
        ours = fit.dataset_info["name"]
        raise BayesdenseError(
            f"dataset {dataset.name!r} is not the one that was fitted ({ours!r}): digests differ"
        )
    line = _point_line(fit, dataset)
    if line.slope_per_day is None:
        return _absent("paper", about, "fewer than three records")
    growth = DAYS_PER_YEAR * line.slope_per_day
    days = line.doubling_time_days
    return {
        "reading": "paper",
        "about": about,
        "absent": None,
        "growth_rate_per_year": {"median": growth, "eti50": None, "eti95": None},
        "doubling_time_days": {"median": days, "eti50": None, "eti95": None},
        "n_records": float(line.n_records),
    }


def _point_line(fit: Fit, dataset: Dataset) -> RecordLine:
    """Line through the point densities' records, densities defined as in the fit."""
    if not fit.spec.is_joint:
        return point_estimate(dataset, n_permutations=1).line
    options = fit.spec.options
    params = cast("Params", options.params)
    tokens = options.reference_tokens
    return point_estimate(dataset, reference_tokens=tokens, params=params, n_permutations=1).line


def _scalars(fit: Fit) -> dict[str, Floats]:
    """Parameters of one number, (chain, draw)."""
    return {
        str(name): drawn.transpose(CHAIN, DRAW).to_numpy()
        for name, drawn in fit.posterior.data_vars.items()
        if set(drawn.dims) == {CHAIN, DRAW}
    }


def _flat(draws: xr.DataArray) -> Floats:
    """Draws of all chains as rows, LLMs as columns."""
    ordered = draws.transpose(CHAIN, DRAW, LLM).to_numpy()
    return ordered.reshape(-1, ordered.shape[-1])


def _days(fit: Fit) -> tuple[Ints, Ints]:
    """Days of release since the first, and the LLMs in their order."""
    dates = derive.release_dates(fit).to_numpy().astype("datetime64[D]")
    days = (dates - dates.min()).astype(np.int64)
    return days, np.argsort(days, kind="stable")


def _eta(fit: Fit) -> Floats:
    """Trend at every LLM's release, draws as rows."""
    dates = [str(date) for date in derive.release_dates(fit).values]
    line = derive.trend(fit, dates).to_numpy()
    return np.asarray(line.reshape(-1, line.shape[-1]))


def _llms(fit: Fit) -> LLMData:
    """LLMs of a fit, with its families and times."""
    constant = fit.group("constant_data")
    idx = constant["family_idx"].to_numpy()
    names = tuple(str(name) for name in constant[LLM].values)
    dates = tuple(str(date) for date in derive.release_dates(fit).values)
    return LLMData(
        names=names,
        families=tuple(str(k) for k in range(int(idx.max()) + 1)),
        family_idx=idx,
        release_dates=dates,
        years=derive.years_since_origin(fit, dates),
        time_origin=fit.time_origin,
        log_params=np.zeros(len(names)),
        params_used=derive.params_convention(fit),
        groups=tuple(str(name) for name in constant[GROUP].values) if GROUP in constant else (),
        group_idx=constant["group_idx"].to_numpy() if GROUP in constant else None,
        covariate=constant["covariate"].to_numpy() if "covariate" in constant else None,
    )


def _slopes(x: Floats | Ints, y: Floats) -> Floats:
    """Least squares slope of every row of y on x; nan where x is one point."""
    centred = x - np.mean(x)
    square = float(centred @ centred)
    return np.asarray(y @ centred / square) if square > 0.0 else np.full(len(y), np.nan)


def _share(above: NDArray[np.bool_]) -> dict[str, object]:
    """Share of LLMs: its median over draws, and its interval."""
    shares = above.mean(axis=1)
    return {"median": float(np.median(shares)), "eti95": np.quantile(shares, tails(CI_PROB))}


def _entrants_per_year(fit: Fit) -> float | None:
    """LLMs released per year of the window, as which the attempts go on."""
    days, _ = _days(fit)
    return len(days) * DAYS_PER_YEAR / int(days.max()) if days.max() > 0 else None
