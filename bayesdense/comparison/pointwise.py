"""Predictive densities unit by unit: leaving one out, differences, errors, stacking weights.

The unit is a family or an LLM, left out with everything else kept (`log_likelihood` of a fit), or a
family's LLMs of a block of time (`lfo`). Units of one family are no independent witnesses: errors
are those of sums over families.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import xarray as xr
from arviz_stats.loo import compare, loo
from arviz_stats.utils import ELPDDataLOO

from bayesdense.arrays import Floats
from bayesdense.comparison.evidence import refuse_cut
from bayesdense.errors import BayesdenseError
from bayesdense.results import Fit
from bayesdense.smoothing import can_smooth

#: ArviZ has no annotations.
_loo: Callable[..., Any] = loo
_compare: Callable[..., Any] = compare
_elpd_data: Callable[..., Any] = ELPDDataLOO

type Unit = Literal["family", "llm"]
_UNIT: Final = "unit"


@dataclass(frozen=True, slots=True, eq=False)
class Pointwise:
    """Log predictive densities of units, each given what it has not been told.

    Attributes
    ----------
    labels, families
        (n,): name of each unit, and of its family.
    elpd
        (n,): log predictive densities, nats.
    pareto_k
        (n,): shape of the tail of the weights behind each; 0 where none were needed.
    good_k
        Above it a density is not to be trusted.
    """

    labels: tuple[str, ...]
    families: tuple[str, ...]
    elpd: Floats
    pareto_k: Floats
    good_k: float

    @property
    def total(self) -> float:
        """Sum over units, nats."""
        return float(self.elpd.sum())

    @property
    def se(self) -> float:
        """Standard error of the total, clustered by family."""
        return clustered_error(self.elpd, self.families)

    @property
    def failed(self) -> tuple[str, ...]:
        """Labels of the units whose weights fail."""
        bad = ~(self.pareto_k <= self.good_k)
        return tuple(label for label, is_bad in zip(self.labels, bad, strict=True) if is_bad)


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of two totals, nats, and its standard error clustered by family."""

    elpd_diff: float
    se: float


def leave_one_out(fit: Fit, unit: Unit) -> Pointwise:
    """Leave out one family at a time, or one LLM, by Pareto-smoothed importance sampling.

    Families: log M_k, the family's effect integrated over its prior, as of a family never seen.
    LLMs: log M_k - log M_(k without i), the exact density given the others of its family.

    Parameters
    ----------
    fit
        With the group `log_likelihood`.
    unit
        "family" or "llm".

    Raises
    ------
    BayesdenseError
        A cut fit, one without pointwise log likelihoods, or too few draws.

    References
    ----------
    Vehtari, Gelman and Gabry 2017, Stat. Comput. 27:1413; Buerkner, Gabry and Vehtari 2021,
    Comput. Stat. 36:1243.
    """
    refuse_cut(fit, "leaving one out")
    group = fit.group("log_likelihood")
    if unit not in group:
        raise BayesdenseError(
            f"this fit has no log likelihoods of its {unit} units: fit with log_likelihood=True"
        )
    values = group[unit]
    if not can_smooth(values):
        raise BayesdenseError(
            "Pareto smoothing needs draws that differ, and more of them: draw more (--draws)"
        )
    with _without_advice():
        found = _loo(fit.tree, var_name=unit, pointwise=True)
    labels = tuple(str(label) for label in values[f"{unit}_obs"].to_numpy())
    return Pointwise(
        labels,
        labels if unit == "family" else families_of_llms(fit),
        np.asarray(found.elpd_i, dtype=float),
        np.asarray(found.pareto_k, dtype=float),
        float(found.good_k),
    )


def families_of_llms(fit: Fit) -> tuple[str, ...]:
    """Family of each LLM of a fit."""
    constant = fit.group("constant_data")
    names = constant["family"].to_numpy()
    return tuple(str(names[k]) for k in constant["family_idx"].to_numpy().astype(int))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep ArviZ's warnings of high k quiet: `Pointwise.failed` tells of them by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def clustered_error(values: Floats, families: tuple[str, ...]) -> float:
    """Standard error of a sum whose parts are independent between families only.

    sqrt(K var(S_k)) over the K sums S_k within families; infinite for a single family.
    """
    _, index = np.unique(families, return_inverse=True)
    sums = np.bincount(index, values)
    if len(sums) < 2:
        return float("inf")
    return float(np.sqrt(len(sums) * sums.var(ddof=1)))


def difference(a: Pointwise, b: Pointwise) -> Difference:
    """Total of `a` less that of `b`, unit by unit.

    Raises
    ------
    BayesdenseError
        They are of other units.
    """
    if a.labels != b.labels or a.families != b.families:
        raise BayesdenseError("predictive densities of other units cannot be compared")
    apart = a.elpd - b.elpd
    return Difference(float(apart.sum()), clustered_error(apart, a.families))


def with_refits(found: Pointwise, refit: Callable[[str], float | None]) -> Pointwise:
    """Replace densities whose weights fail by those of exact refits.

    Parameters
    ----------
    found
        From `leave_one_out`.
    refit
        Label of a unit -> its log predictive density under a fit without it; None where that
        failed as well, which leaves the unit as it is.
    """
    elpd, pareto_k = found.elpd.copy(), found.pareto_k.copy()
    for label in found.failed:
        exact = refit(label)
        if exact is not None:
            at = found.labels.index(label)
            elpd[at], pareto_k[at] = exact, 0.0
    return replace(found, elpd=elpd, pareto_k=pareto_k)


def stacking_weights(hypotheses: Mapping[str, Pointwise]) -> dict[str, float]:
    """Weights of the mixture that would have predicted the units best (Yao et al. 2018).

    Parameters
    ----------
    hypotheses
        Name -> predictive densities of the same units.

    Returns
    -------
    dict
        Name -> weight; they sum to 1.

    References
    ----------
    Yao, Vehtari, Simpson and Gelman 2018, Bayesian Analysis 13:917.
    """
    names = list(hypotheses)
    first = hypotheses[names[0]]
    for name in names[1:]:
        difference(hypotheses[name], first)  # which refuses other units
    if len(names) == 1:
        return {names[0]: 1.0}
    # Weights do not change with what all hypotheses share, and exponentials stay in range.
    matrix = np.stack([found.elpd for found in hypotheses.values()])
    matrix = matrix - matrix.max(axis=0)
    data = {
        name: _as_elpd_data(row, hypotheses[name]) for name, row in zip(names, matrix, strict=True)
    }
    with _without_advice():
        table = _compare(data, method="stacking", round_to="none")
    weights = np.clip(table["weight"][names].to_numpy(dtype=float), 0.0, 1.0)
    return dict(zip(names, (weights / weights.sum()).tolist(), strict=True))


def _as_elpd_data(elpd: Floats, found: Pointwise) -> object:
    """Densities as ArviZ has them."""
    coords = {_UNIT: list(found.labels)}
    return _elpd_data(
        elpd=float(elpd.sum()),
        se=found.se,
        p=float("nan"),
        n_samples=0,
        n_data_points=len(elpd),
        scale="log",
        warning=bool(found.failed),
        good_k=found.good_k,
        elpd_i=xr.DataArray(elpd, dims=_UNIT, coords=coords),
        pareto_k=xr.DataArray(found.pareto_k, dims=_UNIT, coords=coords),
    )
