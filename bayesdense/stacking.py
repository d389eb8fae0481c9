"""Forecasts stacked over trend hypotheses: one mixture, weighed by what they foretold before."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense.errors import BayesdenseError
from bayesdense.forecasting import (
    HARDWARE_DOUBLING_YEARS,
    Ahead,
    about_fit,
    asked_dates,
    told_ahead,
)
from bayesdense.names import CHAIN, DRAW
from bayesdense.result_files import read_result
from bayesdense.results import Fit
from bayesdense.wording import printable, told

#: Draws of the mixture.
_DRAWS: Final = 4000
#: Weight that a hypothesis without a fit may have.
_LEAST_WEIGHT: Final = 0.005


def stacked_forecast(
    fits: Sequence[Fit],
    weights: Mapping[str, float],
    at: str | Sequence[str],
    *,
    density: float | None = None,
    score: Mapping[str, float] | None = None,
    params: float | None = None,
    horizon: str | None = None,
    hardware_doubling_years: float = HARDWARE_DOUBLING_YEARS,
) -> dict[str, Any]:
    """Forecast by the mixture of several trends.

    Of 4,000 draws each fit has as many as its weight says, taken at equal distances over its
    chains, so that every quantile and probability is that of the mixture sum_k w_k p_k.

    Parameters
    ----------
    fits
        Two or more, of one dataset and one model but for the trend.
    weights
        Trend -> weight, as `read_weights` has them: of leave-future-out. A hypothesis of more than
        .005 has to be among the fits; the rest are weighed anew to sum to 1.
    at, density, score, params, horizon, hardware_doubling_years
        As in `forecast`.

    Returns
    -------
    dict
        As `forecast.schema.json`; `stack` names trends, weights and draws.

    Raises
    ------
    BayesdenseError
        Fits of other data or models, a trend twice or without a weight, a weight without a fit;
        and what `forecast` refuses.

    References
    ----------
    Yao, Vehtari, Simpson and Gelman 2018, Bayesian Analysis 13:917.
    """
    shares = _shares(fits, weights)
    dates = asked_dates(at)
    kept = [(fit, share) for fit, share in zip(fits, shares, strict=True) if round(share * _DRAWS)]
    parts = [Ahead.of(_thinned(fit, round(share * _DRAWS)), dates) for fit, share in kept]
    found = told_ahead(
        parts,
        about_fit(kept[0][0]) | {"trend": "stacked", "model_digest": None},
        density=density,
        score=score,
        params=params,
        horizon=horizon,
        hardware_doubling_years=hardware_doubling_years,
    )
    stack = [
        {
            "trend": fit.spec.trend,
            "weight": share,
            "n_draws": round(share * _DRAWS),
            "model_digest": fit.spec.posterior_digest,
        }
        for fit, share in zip(fits, shares, strict=True)
    ]
    return found | {"stack": stack}


def read_weights(path: str | Path, fits: Sequence[Fit]) -> dict[str, float]:
    """Read the weights of leave-future-out by trend from the file of a comparison of the same data.

    Parameters
    ----------
    path
        `compare.json` of a comparison with `lfo`.
    fits
        Those to stack.

    Returns
    -------
    dict
        Trend -> weight, >= 0; they sum to 1.

    Raises
    ------
    BayesdenseError
        No such file, none of `compare`, about other data or another model, or a comparison without
        the future left out.
    """
    where, what = printable(str(path)), "result of compare; its file is compare.json"
    content = read_result(path, "compare", what)
    digests = {fit.dataset_info["digest"] for fit in fits}
    if digests != {content["dataset"].get("digest")}:
        raise BayesdenseError(f"{where}: is about other data than the fits")
    compared = {one["name"]: one.get("model_digest") for one in content["hypotheses"]}
    for fit in fits:
        if compared.get(fit.spec.trend) not in (None, fit.spec.posterior_digest):
            raise BayesdenseError(
                f"{where}: compared {told(fit.spec.trend)} under another model than that of its "
                "fit; stack fits of the model that was compared, or compare that of the fits"
            )
    weights = {one["name"]: one["weight_lfo"] for one in content["hypotheses"]}
    if any(weight is None for weight in weights.values()):
        raise BayesdenseError(
            f"{where}: has no weights of leave-future-out, which forecasts are stacked by; run "
            "compare with --lfo"
        )
    return {name: float(weight) for name, weight in weights.items()}


def _shares(fits: Sequence[Fit], weights: Mapping[str, float]) -> list[float]:
    """Weight of each fit; they sum to 1."""
    trends = [fit.spec.trend for fit in fits]
    if len(fits) < 2 or len(set(trends)) < len(trends):
        raise BayesdenseError(
            f"stacking: trends {', '.join(trends) or 'none'}, allowed: two or more, each once"
        )
    plain = {fit.spec.with_options(trend=trends[0]).posterior_digest for fit in fits}
    data = {fit.dataset_info["digest"] for fit in fits}
    if len(plain) > 1 or len(data) > 1:
        raise BayesdenseError(
            "stacking: the fits are of other "
            f"{'models' if len(plain) > 1 else 'data'}; allowed: one model, but for its trend, and "
            "one dataset"
        )
    if unknown := [name for name in trends if name not in weights]:
        raise BayesdenseError(f"stacking: no weight of trend {told(unknown[0])}")
    if left := [n for n, w in weights.items() if n not in trends and w > _LEAST_WEIGHT]:
        raise BayesdenseError(
            f"stacking: trend {told(left[0])} has the weight {weights[left[0]]:.2g} and no fit; "
            "fit it and name the fit with --with"
        )
    total = math.fsum(weights[name] for name in trends)
    if not (math.isfinite(total) and total > 0 and min(weights.values()) >= 0):
        raise BayesdenseError("stacking: weights, allowed: none negative, not all 0")
    return [weights[name] / total for name in trends]


def _thinned(fit: Fit, n: int) -> Fit:
    """A fit with so many of its draws, at equal distances over all chains, as one chain."""
    draws = fit.posterior.stack(sample=(CHAIN, DRAW), create_index=False)
    size = draws.sizes["sample"]
    rows = ((np.arange(n) + 0.5) * size / n).astype(int)
    chosen = draws.drop_vars([CHAIN, DRAW]).isel(sample=rows).rename(sample=DRAW)
    chosen = chosen.expand_dims(CHAIN).transpose(CHAIN, DRAW, ...)
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(chosen.assign_coords({CHAIN: [0], DRAW: np.arange(n)}))
    return Fit(tree, fit.spec)
