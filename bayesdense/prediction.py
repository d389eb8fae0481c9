"""Loss and score of a reference run of any size and data, draw by draw."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.items import draw_score
from bayesdense.laws import chinchilla_loss
from bayesdense.names import (
    BENCHMARK,
    CHAIN,
    CI_PROB,
    DRAW,
    LAW_PARAMETERS,
    MAP_PARAMETERS,
    SCHEMA_VERSION,
)
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_logit_score

_SAMPLE_DIMS = (CHAIN, DRAW)


def predict(
    fit: Fit, n_params: float | Sequence[float], n_tokens: float | Sequence[float]
) -> dict[str, Any]:
    """Predict loss and score of reference runs on every benchmark of a fit.

    The mean is the law's loss L(N, D), and the map's score at that loss. A new run adds to the
    log of the loss the effect of its size, its own effect and noise; its score is the map's at
    the loss that it has, plus the scatter of calibration points on the logit, counted in items.
    Summarised last: quantiles over draws.

    Parameters
    ----------
    fit
        A fit of a joint model.
    n_params, n_tokens
        Parameters N (counted as the ladder's) and training tokens D of the runs: numbers, or
        lists of one length; a number stands for every entry of the other's list.

    Returns
    -------
    dict
        As `predict.schema.json`: strict JSON. `extrapolation` of a prediction holds N and D over
        the largest parameters and the most tokens of the ladder (null where the fit does not know):
        beyond 1 the law is extrapolated.

    Raises
    ------
    BayesdenseError
        A size that is no positive finite number, lists of different lengths, a fit of published
        densities, or a run so far out that its loss is no number.
    """
    sizes, tokens = _pairs(n_params, n_tokens)
    draws = fit.posterior
    if "param_coef" not in draws:
        raise BayesdenseError(
            "predict: this fit has no loss law (it was made from published densities); "
            "fit a dataset with reference runs"
        )
    rng = np.random.default_rng([fit.seed, _STREAM])
    found = [
        prediction
        for size, token in zip(sizes, tokens, strict=True)
        for prediction in _predictions(fit, draws, size, token, rng)
    ]
    return {"schema": SCHEMA_VERSION, "predictions": found}


#: Keeps the noise of predictions apart from other uses of a fit's seed.
_STREAM = 0x9C3D


def _pairs(
    n_params: float | Sequence[float], n_tokens: float | Sequence[float]
) -> tuple[list[float], list[float]]:
    """Sizes and tokens, one pair per run."""
    sizes, tokens = _positive("params", n_params), _positive("tokens", n_tokens)
    if len(sizes) != len(tokens) and 1 not in (len(sizes), len(tokens)):
        raise BayesdenseError(
            f"predict: {len(sizes)} sizes and {len(tokens)} numbers of tokens, allowed: "
            "as many of both, or one of either"
        )
    n = max(len(sizes), len(tokens))
    return sizes * (n // len(sizes)), tokens * (n // len(tokens))


def _positive(what: str, values: ArrayLike) -> list[float]:
    """Read counts as numbers."""
    numbers = np.atleast_1d(np.asarray(values, dtype=float)).ravel()
    if numbers.size == 0:
        raise BayesdenseError(f"predict: no {what} given, allowed: one number or more")
    for number in numbers:
        if not (math.isfinite(number) and number > 0):
            raise BayesdenseError(f"predict: {what} {number:g}, allowed: a positive number")
    return [float(number) for number in numbers]


def _predictions(
    fit: Fit, draws: xr.Dataset, size: float, token: float, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Predictions of one run on every benchmark."""
    law = (draws.get(name, 0.0) for name in LAW_PARAMETERS)
    with np.errstate(over="ignore"):
        mean = chinchilla_loss(
            math.log(size) - float(fit.variable("constant_data", "log_params_centre")),
            math.log(token) - float(fit.variable("constant_data", "log_tokens_centre")),
            *law,
        )
    if not bool(np.isfinite(mean).all()):
        raise BayesdenseError(
            f"predict: params {size:g} and tokens {token:g} give no finite loss; allowed: "
            "sizes nearer to those of the reference runs"
        )
    new = mean * np.exp(_noise(rng, _run_var(draws), mean))
    curve = [draws[name] for name in MAP_PARAMETERS]
    mean_logit, new_logit = (logistic_logit_score(loss, *curve) for loss in (mean, new))
    new_logit = new_logit + _noise(rng, draws["map_noise_sd"] ** 2, new_logit)
    new_logit = new_logit.transpose(..., BENCHMARK)
    new_score = draw_score(
        new_logit.to_numpy(), fit.variable("constant_data", "n_items").to_numpy(), rng
    )
    loss = _estimates(mean, new)
    score = _estimates(expit(mean_logit), new_logit.copy(data=new_score))
    outside = {
        "params": _ratio(fit, size, "reference_max_params"),
        "tokens": _ratio(fit, token, "reference_max_tokens"),
    }
    return [
        {
            "benchmark": str(name),
            "n_params": size,
            "n_tokens": token,
            "loss": loss[k],
            "score": score[k],
            "extrapolation": dict(outside),
        }
        for k, name in enumerate(mean[BENCHMARK].values)
    ]


def _run_var(draws: xr.Dataset) -> xr.DataArray:
    """Variance of a new run's log loss about the law, of a size that the ladder does not have."""
    sds = ("loss_noise_sd", "run_effect_sd", "size_effect_sd")
    return sum((draws[name] ** 2 for name in sds if name in draws), xr.DataArray(0.0))


def _noise(rng: np.random.Generator, var: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Draw normal noise of a variance, one number per draw and benchmark."""
    return var**0.5 * like.copy(data=rng.normal(size=like.shape))


def _estimates(mean: xr.DataArray, new: xr.DataArray) -> list[dict[str, Any]]:
    """Return median and intervals per benchmark."""
    middle, of_mean, of_new = (
        _quantiles(values, probs)
        for values, probs in ((mean, (0.5,)), (mean, tails(CI_PROB)), (new, tails(CI_PROB)))
    )
    return [
        {"median": middle[k][0], "eti95_mean": of_mean[k], "eti95_new": of_new[k]}
        for k in range(len(middle))
    ]


def _quantiles(values: xr.DataArray, probs: Sequence[float]) -> list[list[float]]:
    """Quantiles over draws, one list per benchmark."""
    ordered = values.transpose(BENCHMARK, *_SAMPLE_DIMS).to_numpy()
    flat: NDArray[np.float64] = ordered.reshape(len(ordered), -1)
    return [[float(value) for value in row] for row in np.quantile(flat, probs, axis=1).T]


def _ratio(fit: Fit, value: float, name: str) -> float | None:
    """Return a count over the ladder's largest; None where the fit does not know that."""
    largest = float(fit.group("constant_data").get(name, math.nan))
    return value / largest if math.isfinite(largest) else None
