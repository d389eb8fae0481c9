"""Lines through point densities as forecasts of scores, each with the band of its own residuals."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from bayesdense.arrays import Floats, Ints
from bayesdense.dataset import Dataset
from bayesdense.elementary import expit
from bayesdense.items import logit_of_score
from bayesdense.observations import LLMData, ScoreData
from bayesdense.point import point_estimate
from bayesdense.point.estimate import PointEstimate
from bayesdense.point.records import RecordLine, fit_line
from bayesdense.proper_scores import crps, inside
from bayesdense.spec import ModelSpec

BASELINES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "records": "the paper's line through running records",
        "all_llms": "least squares through all point densities",
        "last_slope": "the line through the last two records",
    }
)
#: Residuals from which on a benchmark has a band, and points that stand for a normal one.
_LEAST_RESIDUALS, _POINTS = 3, 1000


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Normal predictive distributions of logits; NaN where there is none, (n,)."""

    mean: Floats
    sd: Floats

    @property
    def is_there(self) -> NDArray[np.bool_]:
        """Which scores have a prediction."""
        return np.isfinite(self.mean) & np.isfinite(self.sd)

    @property
    def draws(self) -> Floats:
        """Evenly spaced quantiles, (points, n)."""
        at = ndtri((np.arange(_POINTS) + 0.5) / _POINTS)
        return np.asarray(self.mean + self.sd * at[:, None])

    def scored(self, observed: Floats, probs: tuple[float, ...]) -> dict[str, Floats]:
        """Log score of the logit, CRPS of the fraction, and whether bands hold it; NaN: none."""
        there, out = self.is_there, {}
        some = Band(self.mean[there], self.sd[there])
        z = (observed[there] - some.mean) / some.sd
        found = {
            "log_score": -0.5 * z**2 - np.log(some.sd) - 0.5 * np.log(2 * np.pi),
            "crps": crps(expit(some.draws), expit(observed[there])),
            **{
                f"inside{100 * prob:.0f}": inside(some.draws, observed[there], prob).astype(float)
                for prob in probs
            },
        }
        for name, values in found.items():
            out[name] = np.full(len(observed), np.nan)
            out[name][there] = values
        return out


def lines_of(spec: ModelSpec, dataset: Dataset) -> tuple[PointEstimate, dict[str, RecordLine]]:
    """Point densities of a dataset and each baseline's line; lines without a slope are left out.

    Parameters
    ----------
    spec
        D0, the count of parameters and the LLMs that the point pipeline shares with the model.
    dataset
        LLMs before the origin.
    """
    if not spec.options.base_only and dataset.llms is not None:
        dataset = replace(dataset, llms=dataset.llms.assign(is_base=True))
    point = point_estimate(
        dataset,
        reference_tokens=spec.options.reference_tokens,
        params=spec.options.params,  # type: ignore[arg-type]  # options hold the same words
        n_permutations=1,
    )
    finite = [llm for llm in point.llms if llm.log_density is not None]
    days = np.array([(llm.release_date - point.origin).days for llm in finite], dtype=np.int64)
    log_density = np.array([llm.log_density for llm in finite], dtype=float)
    lines = {
        "records": point.line,
        "all_llms": fit_line(days, log_density),
        "last_slope": _last_slope(point),
    }
    return point, {name: line for name, line in lines.items() if line.slope_per_day is not None}


def _last_slope(point: PointEstimate) -> RecordLine:
    """Line through the last two records."""
    if len(point.records) < 2:
        return RecordLine(len(point.records))
    (x0, y0), (x1, y1) = (
        ((record.release_date - point.origin).days, record.log_density or 0.0)
        for record in point.records[-2:]
    )
    slope = (y1 - y0) / (x1 - x0)
    return RecordLine(2, slope, y1 - slope * x1)


def bands(
    spec: ModelSpec,
    point: PointEstimate,
    line: RecordLine,
    llms: LLMData,
    scores: ScoreData,
    benchmarks: tuple[str, ...],
    is_later: NDArray[np.bool_],
) -> Band:
    """Predict later scores from a line, with the scatter of the earlier ones about it.

    The line gives an LLM's log density at its date, the point pipeline's law and map the logit of
    its score on each benchmark. Residuals of the earlier logits about that, benchmark by benchmark,
    give the band: Normal(prediction + mean residual, sd^2 (1 + 1/n)). The mean makes a line of the
    records, which runs above most LLMs, a fair forecast of one.

    Parameters
    ----------
    spec, point, line
        From `lines_of`.
    llms, scores, benchmarks
        All LLMs, all scores, and the names that scores' benchmarks index.
    is_later
        Which scores are to be predicted; the others give residuals.

    Returns
    -------
    Band
        Of the later scores, in their order.
    """
    predicted = _predicted(spec, point, line, llms, scores, benchmarks)
    residual = scores.logit_score - predicted
    mean, sd = (np.full(len(predicted), np.nan) for _ in range(2))
    for j in range(len(benchmarks)):
        of_benchmark = scores.benchmark_idx == j
        earlier = residual[of_benchmark & ~is_later & np.isfinite(residual)]
        if len(earlier) < _LEAST_RESIDUALS:
            continue
        mean[of_benchmark] = predicted[of_benchmark] + earlier.mean()
        sd[of_benchmark] = earlier.std(ddof=1) * np.sqrt(1 + 1 / len(earlier))
    return Band(mean[is_later], sd[is_later])


def _predicted(
    spec: ModelSpec,
    point: PointEstimate,
    line: RecordLine,
    llms: LLMData,
    scores: ScoreData,
    benchmarks: tuple[str, ...],
) -> Floats:
    """Logit of every score by line, law and map; NaN where a benchmark has no point fit."""
    log_density = _on_line(line, llms, point.origin)
    log_size: Floats = (log_density + llms.log_params)[scores.llm_idx]
    out = np.full(len(log_size), np.nan)
    log_tokens = float(np.log(spec.options.reference_tokens))
    for fit in point.fits:
        rows: Ints = np.flatnonzero(scores.benchmark_idx == benchmarks.index(fit.benchmark))
        loss = fit.optimum(point.options.mode).law.loss(log_size[rows], log_tokens)
        out[rows] = logit_of_score(fit.score_map.score(loss), scores.n_items[rows])
    return out


def _on_line(line: RecordLine, llms: LLMData, origin: date) -> Floats:
    """Log density that a line gives each LLM's date."""
    dates = pd.DatetimeIndex(pd.to_datetime(list(llms.release_dates)))
    days = np.asarray((dates - pd.Timestamp(origin)).days, dtype=float)
    return np.asarray((line.intercept or 0.0) + (line.slope_per_day or 0.0) * days)
