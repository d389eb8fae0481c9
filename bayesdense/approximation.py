"""A preview of a fit in a second or two: a normal approximation, said to be one everywhere."""

import time
from dataclasses import dataclass

import numpy as np
import xarray as xr
from arviz_stats.base.array import array_stats

from bayesdense.dataset import Dataset
from bayesdense.engine.laplace import approximate
from bayesdense.engine.runs import as_dataset, target_of
from bayesdense.errors import SpecError
from bayesdense.estimates import DoublingTime, Estimate
from bayesdense.mixtures import with_mixture
from bayesdense.names import CHAIN, DEFAULT_SEED, DRAW, SCHEMA_VERSION
from bayesdense.observations import observe, trend_on
from bayesdense.spec import ModelSpec
from bayesdense.trends.base import draws_as_columns

#: Draws of the approximation.
_DRAWS = 2000
#: Above this k-hat no weights mend an approximation (Vehtari et al. 2024).
RELIABLE_K = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """Growth and doubling time by a normal approximation of the posterior; no fit.

    Attributes
    ----------
    growth_rate, doubling_time
        As of a fit, from draws of the approximation.
    pareto_k
        Shape of the tail of the weights posterior / approximation. Above .7 the two differ by more
        than importance sampling can mend: expect the centre to be off by a part of the interval,
        and its width too.
    dataset, model
        Their names.
    seed
        Of the draws.
    seconds
        What it took.
    """

    growth_rate: Estimate
    pareto_k: float
    dataset: str
    model: str
    seed: int
    seconds: float

    @property
    def doubling_time(self) -> DoublingTime:
        """Doubling time, approximately."""
        return DoublingTime(self.growth_rate)

    @property
    def is_reliable(self) -> bool:
        """Whether importance sampling finds the approximation good."""
        return bool(self.pareto_k <= RELIABLE_K)

    def to_dict(self) -> dict[str, object]:
        """What `fit --preview --format json` prints, as `preview.schema.json` says."""
        growth, time_ = self.growth_rate, self.doubling_time
        low, high = (None if np.isinf(end) else end for end in time_.interval())
        return {
            "schema": SCHEMA_VERSION,
            "preview": True,
            "approximation": "laplace",
            "pareto_k": self.pareto_k if np.isfinite(self.pareto_k) else None,
            "reliable": self.is_reliable,
            "dataset": self.dataset,
            "model": self.model,
            "growth_rate_per_year": {
                "median": growth.median,
                "mean": growth.mean,
                "sd": growth.sd,
                "eti95": list(growth.interval()),
                "at": growth.at,
            },
            "doubling_time_days": {
                "median": None if np.isinf(time_.median) else time_.median,
                "eti95": [low, high],
                "unbounded": time_.is_unbounded(),
            },
            "seed": self.seed,
            "seconds": self.seconds,
        }

    def __repr__(self) -> str:
        """Say what it is before any number."""
        verdict = "good" if self.is_reliable else "rough: only a fit is to be quoted"
        return (
            f"PREVIEW, a normal approximation (k-hat {self.pareto_k:.1f}, {verdict}): "
            f"{self.doubling_time!r}"
        )


def preview(spec: ModelSpec, dataset: Dataset, *, seed: int = DEFAULT_SEED) -> Preview:
    """Approximate growth and doubling time from modes and curvatures, in a second or two.

    Standard deviations are set where they are most probable with all else integrated out by
    Laplace's approximation, all else where it is most probable given them; curvatures give the
    normal distribution about that point. The k-hat of importance weights from it to the posterior
    says how good it is; the draws are not reweighted.

    Parameters
    ----------
    spec, dataset
        The model and the data, as in `fit`.
    seed
        Of the draws.

    Returns
    -------
    Preview
        Draws of growth under the approximation, and the k-hat that judges it.

    Raises
    ------
    SpecError
        Where model and dataset do not fit each other, or the model is cut in two.

    References
    ----------
    Vehtari et al. 2024, J. Mach. Learn. Res. 25(72) (k-hat).
    """
    if spec.options.feedback == "cut":
        raise SpecError('feedback = "cut" has no posterior to preview; use feedback = "joint"')
    began = time.perf_counter()
    data = observe(spec, dataset)
    target = target_of(spec, data)
    found = approximate(target, draws=_DRAWS, seed=seed)
    finite = np.isfinite(found.log_ratio)
    pareto_k = np.inf
    if finite.mean() > 0.9:
        log_ratio = np.where(finite, found.log_ratio, found.log_ratio[finite].min())
        pareto_k = float(np.ravel(array_stats.psislw(-log_ratio[None], axis=-1)[1])[0])
    theta = target.coordinates.natural(found.z)
    years = float(data.llms.years.max())
    trend = trend_on(spec, data.llms).at_dates()
    if trend.trend.mixture is not None:
        one_row = as_dataset(spec, data, {name: value[None] for name, value in theta.items()})
        drawn = with_mixture(one_row, spec, data, seed=seed)[trend.trend.mixture.name]
        theta[trend.trend.mixture.name] = drawn.to_numpy()[0]
    found = trend.growth_rate(years, draws_as_columns(theta))
    draws = xr.DataArray(np.ravel(found)[None], dims=(CHAIN, DRAW), attrs={"units": "1/year"})
    return Preview(
        growth_rate=Estimate("growth rate", draws, max(data.llms.release_dates)),
        pareto_k=pareto_k if np.isfinite(pareto_k) else float("inf"),
        dataset=dataset.name,
        model=spec.name,
        seed=seed,
        seconds=time.perf_counter() - began,
    )
