"""How growth would move without one LLM, or one family, by weights on the draws of a fit."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.loo import loo

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.checks.arrays import growth_varies
from bayesdense.checks.stages import is_cut
from bayesdense.checks.thresholds import THRESHOLDS
from bayesdense.checks.verdict import CheckResult, informed
from bayesdense.errors import BayesdenseError
from bayesdense.names import CHAIN, DRAW, FAMILY, LLM
from bayesdense.results import Fit
from bayesdense.smoothing import can_smooth
from bayesdense.wording import listing

_loo: Callable[..., Any] = loo  # ArviZ has no annotations
_GOOD_K: Final = THRESHOLDS.pareto_k.good
_NAMED: Final = 3
#: What can be left out, and its plural.
UNITS: Final = {LLM: "LLMs", FAMILY: "families"}


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """Weights of draws given all data but one entry, for every entry of a log likelihood.

    Attributes
    ----------
    weights
        (entry, chain, draw): Pareto smoothed, each entry's sum to 1.
    pareto_k
        (entry,): shape of the tail of the raw weights, with the entries' labels.
    """

    weights: Floats
    pareto_k: xr.DataArray


def left_out(fit: Fit, name: str) -> LeftOut:
    """Leave out each entry of a log likelihood by Pareto smoothed weights, ArviZ's."""
    # ArviZ takes the relative efficiency over the whole posterior: the growth rate and its like
    # are enough, and a hundred sizes would cost more than the smoothing itself.
    posterior = fit.posterior
    scalars = [name for name in posterior.data_vars if posterior[name].ndim == 2]
    tree = xr.DataTree.from_dict(
        {
            "/posterior": posterior[scalars],
            "/log_likelihood": fit.group("log_likelihood")[[name]],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "k is too high": that is what we report
        result = _loo(tree, var_name=name, pointwise=True)
    log_weights = result.log_weights.transpose(..., CHAIN, DRAW).to_numpy()
    weights = np.exp(log_weights - log_weights.max(axis=(-2, -1), keepdims=True))
    weights /= weights.sum(axis=(-2, -1), keepdims=True)
    return LeftOut(weights, result.pareto_k)


def influence(fit: Fit, unit: str = LLM) -> pd.DataFrame:
    """Growth at the last release without each LLM, or each family, and how far it has moved.

    Draws are weighted by 1 / p(scores of the unit | all others), Pareto smoothed: an LLM given the
    others of its family, a family with its effect integrated over its prior.

    Parameters
    ----------
    fit
        A fit of all data at once with the group `log_likelihood`.
    unit
        "llm" or "family".

    Returns
    -------
    pandas.DataFrame
        One row per unit, the largest shift first: `name`; `growth_median` (1/year) and `growth_sd`
        without it; `shift_in_sd`, the median's move in posterior sds; `pareto_k`; `reliable`,
        whether k is at most .7: where it is not, a fit without the unit has to tell.

    Raises
    ------
    BayesdenseError
        Another unit, a cut fit, one without pointwise log likelihoods, or too few draws.

    References
    ----------
    Vehtari, Gelman and Gabry 2017, Stat. Comput. 27:1413.
    """
    if unit not in UNITS:
        raise BayesdenseError(f"influence: no unit {unit!r}, allowed: {', '.join(UNITS)}")
    if problem := no_influence(fit, unit):
        raise BayesdenseError(f"leaving one out: {problem}")
    return _table(fit, left_out(fit, unit))


def no_influence(fit: Fit, unit: str) -> str:
    """Why the influence of units cannot be told; empty where it can."""
    likelihood = fit.group("log_likelihood")
    if is_cut(fit):
        return "a cut fit has no one posterior of all data"
    if unit not in likelihood:
        return "the fit kept no pointwise log likelihoods"
    if not can_smooth(likelihood[unit]):
        return "Pareto smoothing needs draws that differ, and more of them: draw more (--draws)"
    if not growth_varies(fit):
        return "growth does not vary under this trend, or is not finite"
    return ""


def influence_item(fit: Fit, unit: str, found: LeftOut) -> CheckResult:
    """Say which units move growth most, of those whose weights can be trusted."""
    table = _table(fit, found)
    trusted = table[table["reliable"]]
    largest = float(trusted["shift_in_sd"].abs().max()) if len(trusted) else float("nan")
    first = trusted.head(_NAMED)
    moved = [f"{n} ({s:+.2f})" for n, s in zip(first["name"], first["shift_in_sd"], strict=True)]
    failed = table["name"][~table["reliable"]]
    said = [
        f"growth moves most, in its sds, without {listing(moved, _NAMED)}" if moved else "",
        f"{UNITS[unit]} of which only a refit can tell: {listing(failed, _NAMED)}"
        if len(failed)
        else "",
    ]
    return informed("influence", largest, "; ".join(filter(None, said)), of=unit)


def _table(fit: Fit, found: LeftOut) -> pd.DataFrame:
    """Growth without each unit."""
    draws = derive.growth_rate(fit).draws.transpose(CHAIN, DRAW).to_numpy().ravel()
    weights = found.weights.reshape(len(found.weights), -1)
    mean = weights @ draws
    median = _medians(draws, weights)
    names = [str(name) for name in found.pareto_k[found.pareto_k.dims[0]].to_numpy()]
    k = found.pareto_k.to_numpy()
    return pd.DataFrame(
        {
            "name": names,
            "growth_median": median,
            "growth_sd": np.sqrt(np.maximum(weights @ draws**2 - mean**2, 0.0)),
            "shift_in_sd": (median - np.median(draws)) / draws.std(),
            "pareto_k": k,
            "reliable": k <= _GOOD_K,
        }
    ).sort_values("shift_in_sd", key=np.abs, ascending=False, ignore_index=True)


def _medians(draws: Floats, weights: Floats) -> Floats:
    """Weighted medians of draws, one per row of weights (units, draws)."""
    order = np.argsort(draws)
    below = np.cumsum(weights[:, order], axis=1)
    return np.asarray(draws[order][np.argmax(below >= 0.5, axis=1)])
