"""What a model sees of a dataset, as values: index arrays, logs and logits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from bayesdense.arrays import Floats, Ints
from bayesdense.errors import SpecError
from bayesdense.items import is_few
from bayesdense.spec import ModelSpec
from bayesdense.trends import TrendData, TrendOn, trend_named

#: Weight, in items, of the guess of the score floor (see `Benchmarks.data_scales`).
_FLOOR_CONCENTRATION = 50.0
_FLOOR_SHRINKAGE = 0.02
#: Dates at which growth may break where densities are given, which tell it to days.
_BREAKS_OF_DENSITIES = 64


@dataclass(frozen=True, slots=True, eq=False)
class Benchmarks:
    """Benchmarks with reference runs; vectors over `names`."""

    names: tuple[str, ...]
    n_items: Floats
    chance: Floats
    loss_centre: Floats
    loss_units: tuple[str, ...]

    def data_scales(self) -> Mapping[str, Floats]:
        """Vectors that priors may take as their unit or parameter (`priors.DATA_SCALES`)."""
        guess = self.chance + _FLOOR_SHRINKAGE * (1 - self.chance)
        return MappingProxyType(
            {
                "loss_centre": self.loss_centre,
                "per_loss_centre": 1 / self.loss_centre,
                "floor_guess_alpha": _FLOOR_CONCENTRATION * guess,
                "floor_guess_beta": _FLOOR_CONCENTRATION * (1 - guess),
            }
        )


@dataclass(frozen=True, slots=True, eq=False)
class LossData:
    """Reference losses, one entry per run and benchmark; logs of sizes are about the centre."""

    runs: tuple[str, ...]
    benchmark_idx: Ints
    run_idx: Ints
    cluster_idx: Ints  # runs of one size on one benchmark
    n_clusters: int
    log_params_ratio: Floats
    log_tokens_ratio: Floats
    log_loss: Floats
    known_var: Floats  # of the log loss, from `loss_sd`
    log_params_centre: float
    log_tokens_centre: float
    max_params: float
    max_tokens: float
    clustered: bool


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationData:
    """Points of loss and score that pin the score map."""

    benchmark_idx: Ints
    loss: Floats
    score: Floats
    logit_score: Floats
    n_items: Floats
    is_fit: NDArray[np.bool_]  # whether the point enters the likelihood

    @property
    def is_count(self) -> NDArray[np.bool_]:
        """Points of so few hits or misses that they are read as counts, not as logits."""
        return np.asarray(is_few(self.score, self.n_items), dtype=bool)


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """Replicated reports: per benchmark the sum of squares within cells, and its degrees."""

    benchmark_idx: Ints
    sum_of_squares: Floats
    degrees: Floats


@dataclass(frozen=True, slots=True, eq=False)
class ScoreData:
    """Scores of LLMs, one entry per LLM and benchmark, sorted by LLM."""

    llm_idx: Ints
    benchmark_idx: Ints
    score: Floats
    logit_score: Floats
    n_items: Floats
    n_reports: Floats
    other_protocol: Floats  # 1 where the score's protocol is not the map's
    first: Ints  # (n_llms + 1,): entries first[i]:first[i + 1] belong to LLM i

    def kinds(self) -> tuple[Floats, Ints]:
        """Distinct (benchmark, items, reports, protocol) of the scores, and the kind of each."""
        keys = [self.benchmark_idx, self.n_items, self.n_reports, self.other_protocol]
        kinds, index = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
        return kinds, index.astype(np.int64)

    def rows(self, n_benchmarks: int) -> Ints:
        """Row of each score's mean: its benchmark's, or that of its other protocol after all."""
        return self.benchmark_idx + n_benchmarks * (self.other_protocol > 0)


@dataclass(frozen=True, slots=True, eq=False)
class LLMData:
    """LLMs, in the order of the table."""

    names: tuple[str, ...]
    families: tuple[str, ...]
    family_idx: Ints
    release_dates: tuple[str, ...]
    years: Floats  # since the time origin
    time_origin: str
    log_params: Floats
    params_used: str
    derived_from: tuple[str, ...] = ()  # what each was made from, "" if nothing; () if unknown
    groups: tuple[str, ...] = ()  # those that the trend asks for
    group_idx: Ints | None = None
    covariate: Floats | None = None  # about `covariate_mean`
    covariate_mean: float = 0.0
    window: tuple[float, float] | None = None  # that the trend hangs on; by default their own

    @property
    def trend_data(self) -> TrendData:
        """What a trend sees of them."""
        of_group = np.zeros(0) if self.group_idx is None else self.group_idx
        return TrendData(
            origin=self.time_origin,
            years=self.years,
            family_idx=self.family_idx,
            groups=self.groups,
            weights=tuple((of_group == k).astype(float) for k in range(len(self.groups))),
            covariate=0.0 if self.covariate is None else self.covariate,
            window=self.window,
        )


@dataclass(frozen=True, slots=True, eq=False)
class DensityData:
    """Published densities, in place of scores."""

    log_density: Floats
    known_var: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """All that a model sees; parts that a dataset lacks are None."""

    llms: LLMData
    benchmarks: Benchmarks | None
    losses: LossData | None
    calibration: CalibrationData | None
    reports: ReportData | None
    scores: ScoreData | None
    densities: DensityData | None
    warnings: tuple[str, ...]

    @property
    def joint(self) -> "JointObservations":
        """The parts of a joint model, none of them None."""
        if (
            self.benchmarks is None
            or self.losses is None
            or self.calibration is None
            or self.scores is None
        ):
            raise SpecError(
                "the dataset holds published densities and no scores; use --model trend_only"
            )
        return JointObservations(
            self.llms, self.benchmarks, self.losses, self.calibration, self.reports, self.scores
        )

    @property
    def given(self) -> DensityData:
        """The published densities, which are not None."""
        if self.densities is None:
            raise SpecError(
                "the dataset holds scores and no published densities; use --model joint"
            )
        return self.densities


@dataclass(frozen=True, slots=True, eq=False)
class JointObservations:
    """Observations of a joint model; `reports` is None where no report is replicated."""

    llms: LLMData
    benchmarks: Benchmarks
    losses: LossData
    calibration: CalibrationData
    reports: ReportData | None
    scores: ScoreData

    @property
    def has_offset(self) -> NDArray[np.bool_]:
        """Benchmarks whose LLMs are scored under another protocol than the map."""
        out = np.zeros(len(self.benchmarks.names), dtype=bool)
        out[self.scores.benchmark_idx[self.scores.other_protocol > 0]] = True
        return out


def trend_on(spec: ModelSpec, llms: LLMData) -> TrendOn:
    """Trend of a model with the LLMs that it speaks of."""
    data = llms.trend_data
    if not spec.is_joint:
        data = replace(data, n_breaks=_BREAKS_OF_DENSITIES)
    return TrendOn(trend_named(spec.trend), data)
