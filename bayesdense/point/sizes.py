"""From scores to effective sizes by each benchmark's own law and map, plugged in as points."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from bayesdense.arrays import Floats
from bayesdense.errors import BayesdenseError
from bayesdense.point.loss_fit import LawKind, LossFit, LossOptimum, Mode, fit_loss_law
from bayesdense.point.map_fit import ScoreMap, fit_score_map
from bayesdense.wording import listing

type Status = Literal["finite", "above_ceiling", "below_floor", "contradictory"]
type Params = Literal["non_embedding", "total", "active"]

PARAMS_COLUMN: dict[Params, str] = {
    "non_embedding": "n_params_non_embedding",
    "total": "n_params",
    "active": "n_params_active",
}


@dataclass(frozen=True, slots=True)
class BenchmarkFit:
    """Law and map of one benchmark, by least squares."""

    benchmark: str
    loss_fit: LossFit
    score_map: ScoreMap

    def optimum(self, mode: Mode) -> LossOptimum:
        """Return the law's optimum of this mode, the best one where it has none."""
        return self.loss_fit.choose(mode) or self.loss_fit.optima[0]

    def log_sizes(self, score: Floats, log_tokens: float, mode: Mode) -> Floats:
        """Log sizes at which a reference LLM reaches these scores; infinite where none does."""
        return self.optimum(mode).law.log_params(self.score_map.loss(score), log_tokens)

    def score_at_infinite_size(self, log_tokens: float, mode: Mode) -> float:
        """Score that no reference LLM of so many tokens exceeds."""
        return float(self.score_map.score(self.optimum(mode).law.loss(np.inf, log_tokens)))

    def to_dict(self, log_tokens: float, mode: Mode) -> dict[str, object]:
        """Plain values, as in the output of `point`."""
        used = self.optimum(mode)
        return {
            "benchmark": self.benchmark,
            "law": self.loss_fit.kind,
            "mode": used.law.mode,
            "optima": [o.to_dict() | {"used": o is used} for o in self.loss_fit.optima],
            "score_map": self.score_map.to_dict(),
            "score_at_infinite_size": self.score_at_infinite_size(log_tokens, mode),
        }


@dataclass(frozen=True, slots=True)
class LLMDensity:
    """Point density of one LLM; `log_density` is None unless `status` is finite.

    `above_ceiling`: no size of the reference LLM reaches its score; `below_floor`: every size
    does; `contradictory`: its benchmarks are split evenly between the two.
    """

    llm: str
    family: str
    release_date: date
    n_params: float | None
    log_density: float | None
    status: Status

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the output of `point`."""
        size = None
        if self.log_density is not None and self.n_params is not None:
            size = finite_exp(self.log_density + np.log(self.n_params))
        return {
            "llm": self.llm,
            "family": self.family,
            "release_date": self.release_date.isoformat(),
            "n_params": self.n_params,
            "effective_params": size,
            "density": finite_exp(self.log_density),
            "log_density": self.log_density,
            "above_ceiling": self.status == "above_ceiling",
            "status": self.status,
        }


def finite_exp(x: float | None) -> float | None:
    """Exponential of x, None where there is none or where it is beyond floating point."""
    return float(np.exp(x)) if x is not None and x < 700.0 else None


def fit_benchmarks(
    runs: pd.DataFrame,
    loss_scores: pd.DataFrame,
    benchmarks: Iterable[str],
    *,
    law: LawKind,
    pseudo_point: bool,
) -> tuple[BenchmarkFit, ...]:
    """Least squares law and map of each benchmark, the map on the points with role `fit`."""
    points = loss_scores[loss_scores["role"] == "fit"]
    fits = []
    for name in benchmarks:
        run, point = runs[runs["benchmark"] == name], points[points["benchmark"] == name]
        loss_fit = _loss_fit(*_columns(run, "n_params", "n_tokens", "loss"), kind=law)
        score_map = _map_fit(*_columns(point, "loss", "score"), pseudo_point=pseudo_point)
        fits.append(BenchmarkFit(name, loss_fit, score_map))
    return tuple(fits)


def _columns(table: pd.DataFrame, *names: str) -> Iterator[tuple[float, ...]]:
    """Columns of numbers in a form that a cache can look up."""
    return (tuple(table[name].astype(float)) for name in names)


# One report asks for the same laws and maps several times, with D0 and counts of its own.
@lru_cache(maxsize=64)
def _loss_fit(*columns: tuple[float, ...], kind: LawKind) -> LossFit:
    """`fit_loss_law`, found once for the same numbers."""
    return fit_loss_law(*(np.array(column) for column in columns), kind=kind)


@lru_cache(maxsize=64)
def _map_fit(*columns: tuple[float, ...], pseudo_point: bool) -> ScoreMap:
    """`fit_score_map`, found once for the same numbers."""
    return fit_score_map(*(np.array(column) for column in columns), pseudo_point=pseudo_point)


def point_densities(
    llms: pd.DataFrame,
    scores: pd.DataFrame,
    fits: Iterable[BenchmarkFit],
    *,
    reference_tokens: float,
    params_column: str,
    mode: Mode,
) -> tuple[LLMDensity, ...]:
    """Density of each LLM with a score: the median of its benchmarks' log sizes over its own size.

    Parameters
    ----------
    llms, scores
        Tables of the dataset; an LLM without a row in `scores` is left out.
    fits
        Law and map of every benchmark in `scores`.
    reference_tokens
        D0, the tokens that the reference LLM of unknown size is imagined to be trained on.
    params_column
        Column of `llms` that holds the size to divide by, without blanks.
    mode
        Optimum of the law to use.

    Returns
    -------
    tuple of LLMDensity
        In the order of `llms`.
    """
    log_tokens = float(np.log(reference_tokens))
    log_size = pd.Series(np.nan, index=scores.index)
    for fit in fits:
        rows = scores["benchmark"] == fit.benchmark
        score = scores.loc[rows, "score"].to_numpy(float)
        log_size[rows] = fit.log_sizes(score, log_tokens, mode)
    groups = log_size.groupby(scores["llm"])
    sizes: dict[str, Floats] = {str(llm): np.array(group) for llm, group in groups}
    return tuple(
        _density(llm, family, day.date(), n_params, sizes[llm])
        for llm, family, day, n_params in zip(
            llms["llm"], llms["family"], llms["release_date"], llms[params_column], strict=True
        )
        if llm in sizes
    )


def _density(
    llm: str, family: str, release_date: date, n_params: float, log_sizes: Floats
) -> LLMDensity:
    """Density of one LLM from the log sizes of its benchmarks."""
    log_size, status = median_log_size(log_sizes)
    log_density = None if log_size is None else log_size - float(np.log(n_params))
    return LLMDensity(llm, family, release_date, float(n_params), log_density, status)


def median_log_size(log_sizes: Floats) -> tuple[float | None, Status]:
    """Median of log sizes that may be infinite, and what became of it.

    An infinite size takes its place in the order, so that a minority of them leaves the median
    finite; between a finite and an infinite middle value the median is infinite, between -inf and
    +inf there is none.
    """
    ordered = np.sort(log_sizes)
    low, high = float(ordered[(ordered.size - 1) // 2]), float(ordered[ordered.size // 2])
    if np.isfinite(low) and np.isfinite(high):
        return 0.5 * (low + high), "finite"
    if low == -np.inf and high == np.inf:
        return None, "contradictory"
    return None, "above_ceiling" if high == np.inf else "below_floor"


def published_densities(densities: pd.DataFrame) -> tuple[LLMDensity, ...]:
    """Densities of a dataset that holds them ready-made."""
    blank = pd.Series(np.nan, index=densities.index)
    n_params = densities.get("n_params", blank)
    names = ("llm", "family", "release_date", "density")
    columns = (*(densities[name] for name in names), n_params)
    return tuple(
        LLMDensity(
            llm=llm,
            family=family,
            release_date=day.date(),
            n_params=None if np.isnan(size) else float(size),
            log_density=float(np.log(density)),
            status="finite",
        )
        for llm, family, day, density, size in zip(*columns, strict=True)
    )


def params_column(llms: pd.DataFrame, params: Params) -> tuple[Params, tuple[str, ...]]:
    """Convention that can be used for every LLM, and a warning where it is not the wanted one.

    Raises
    ------
    BayesdenseError
        `active` is wanted and not there for every LLM.
    """
    blank = _without(llms, PARAMS_COLUMN[params])
    if not blank:
        return params, ()
    missing = f"{len(blank)} of {len(llms)} LLMs have no {PARAMS_COLUMN[params]} ({listing(blank)})"
    if params == "active":
        raise BayesdenseError(f"params = 'active': {missing}; fill them in llms.csv, or use total")
    return "total", (f"{missing}: densities divide by total parameters instead.",)


def _without(llms: pd.DataFrame, column: str) -> list[str]:
    """LLMs whose size by this convention is unknown."""
    known = llms[column].notna() if column in llms else pd.Series(False, index=llms.index)
    return [str(llm) for llm in llms.loc[~known, "llm"]]
