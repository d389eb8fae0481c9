"""The paper's estimator from end to end: `point_estimate` and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pandas as pd

from bayesdense.arrays import Floats, Ints
from bayesdense.dataset import Dataset
from bayesdense.errors import DatasetError
from bayesdense.names import SCHEMA_VERSION
from bayesdense.point.attempts import AttemptNull, attempt_null
from bayesdense.point.average import AVERAGE, average_panel, average_scores, check_average_applies
from bayesdense.point.loss_fit import LawKind, Mode
from bayesdense.point.options import (
    DEFAULT_PERMUTATIONS,
    DEFAULT_REFERENCE_TOKENS,
    DEFAULT_SEED,
    Aggregate,
    PointOptions,
    read_split,
)
from bayesdense.point.records import RecordLine, fit_line, running_records
from bayesdense.point.segments import Segment, split_records
from bayesdense.point.sizes import (
    PARAMS_COLUMN,
    BenchmarkFit,
    LLMDensity,
    Params,
    finite_exp,
    fit_benchmarks,
    params_column,
    point_densities,
    published_densities,
)
from bayesdense.wording import listing

#: The readings of a split that the interface names `segments`; the rest is beside them.
_SEGMENTS: Final = ("before", "after_restarted")


@dataclass(frozen=True, slots=True)
class ModeReading:
    """The same estimate with one optimum of the loss law taken on every benchmark that has it."""

    mode: Mode
    n_not_invertible: int
    line: RecordLine

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the output of `point`."""
        counts = {"mode": self.mode, "n_not_invertible": self.n_not_invertible}
        return counts | self.line.to_dict()


@dataclass(frozen=True, slots=True)
class PointEstimate:
    """The paper's estimate on one dataset: records, their line, and what it leaves out.

    Attributes
    ----------
    dataset, digest
        Name and content digest of the dataset.
    options
        As asked; `params_used` is the convention that could be used (None: published densities).
    origin
        First release of the dataset, day zero of every line.
    llms
        Every LLM with a score, also those without a finite density, by date.
    records
        Those of them that hold a running record, by date.
    line
        Least squares through the records.
    attempt_null
        Growth of such lines without any trend; None where no trend can be fitted to the LLMs.
    segments
        With a split date: the readings of `split_records`; else empty.
    fits
        Least squares law and map of each benchmark used; empty for published densities.
    mode_readings
        The line for each optimum of the loss law, where one has several; else empty.
    warnings
        Sentences that a reader of the estimate should see.
    """

    dataset: str
    digest: str
    options: PointOptions
    params_used: Params | None
    origin: date
    llms: tuple[LLMDensity, ...]
    records: tuple[LLMDensity, ...]
    line: RecordLine
    attempt_null: AttemptNull | None
    segments: tuple[Segment, ...]
    fits: tuple[BenchmarkFit, ...]
    mode_readings: tuple[ModeReading, ...]
    warnings: tuple[str, ...]

    @property
    def n_not_invertible(self) -> int:
        """Number of LLMs without a finite density."""
        return sum(llm.log_density is None for llm in self.llms)

    def table(self) -> pd.DataFrame:
        """Return the records, one row each: LLM, date, days since the first release, density."""
        log_density = [record.log_density for record in self.records]
        return pd.DataFrame(
            {
                "llm": [record.llm for record in self.records],
                "release_date": pd.to_datetime([record.release_date for record in self.records]),
                "days": [(record.release_date - self.origin).days for record in self.records],
                "density": np.exp(np.array(log_density, dtype=float)),
            }
        )

    def llm_table(self) -> pd.DataFrame:
        """Return every LLM, one row each, with NaN for a density that is not finite."""
        frame = pd.DataFrame([llm.to_dict() for llm in self.llms])
        frame["release_date"] = pd.to_datetime(frame["release_date"])
        numbers = ["n_params", "effective_params", "density", "log_density"]
        return frame.astype(dict.fromkeys(numbers, "float64"))

    def to_dict(self) -> dict[str, object]:
        """Return the JSON of `bayesdense point`: strict, without NaN or infinity."""
        has_ladder = bool(self.fits)
        options = self.options
        log_tokens = float(np.log(options.reference_tokens))
        result: dict[str, object] = {
            "schema": SCHEMA_VERSION,
            "dataset": self.dataset,
            "dataset_digest": self.digest,
            "records": [_record(record) for record in self.records],
            **self.line.to_dict(),
            "first_release": self.origin.isoformat(),
            "attempt_count_null": self.attempt_null and self.attempt_null.to_dict(),
            "n_llms": len(self.llms),
            "n_not_invertible": self.n_not_invertible,
            "n_above_ceiling": sum(llm.status == "above_ceiling" for llm in self.llms),
            "reference_tokens": options.reference_tokens if has_ladder else None,
            "params": self.params_used,
            "aggregate": options.aggregate if has_ladder else None,
            "laws": [fit.to_dict(log_tokens, options.mode) for fit in self.fits],
            "mode": options.mode if has_ladder else None,
            "mode_readings": [reading.to_dict() for reading in self.mode_readings],
            "llms": [llm.to_dict() for llm in self.llms],
            "warnings": list(self.warnings),
            "seed": options.seed,
        }
        if options.split is not None:
            parts = [(segment.reading in _SEGMENTS, segment.to_dict()) for segment in self.segments]
            result["split"] = options.split.isoformat()
            result["segments"] = [part for is_segment, part in parts if is_segment]
            result["other_readings"] = [part for is_segment, part in parts if not is_segment]
        return result


def point_estimate(
    dataset: Dataset,
    *,
    reference_tokens: float = DEFAULT_REFERENCE_TOKENS,
    params: Params = "non_embedding",
    aggregate: Aggregate = "median",
    law: LawKind = "additive",
    mode: Mode = "best",
    pseudo_point: bool = True,
    split: str | date | None = None,
    n_permutations: int = DEFAULT_PERMUTATIONS,
    seed: int = DEFAULT_SEED,
) -> PointEstimate:
    """Estimate the growth of density as the paper does: point by point, least squares throughout.

    Law and map of each benchmark by least squares; each score turned into a loss and a size at
    D0 tokens; the running records of density over release dates; a line through their logs. It
    ignores every uncertainty on the way, and a running record rises even where nothing improves:
    hence the attempt-count null beside it.

    Parameters
    ----------
    dataset
        A reference ladder with scores (base LLMs are used), or published densities, for which
        only `split`, `n_permutations` and `seed` matter.
    reference_tokens
        D0, the training tokens of the reference LLM of unknown size. A definition of density,
        not a nuisance: 1e12 in the paper's preprint, 5e12 in its article.
    params
        Count that densities divide by. `non_embedding` falls back on `total`, with a warning,
        unless every LLM has it.
    aggregate
        `median`: each benchmark has its own law and map, and an LLM's log size is the median over
        its benchmarks, infinite ones included. `average`, the paper's: LLMs with all five scores,
        their weighted mean, the AVERAGE panel's one law and map.
    law
        `additive`, the paper's, or `chinchilla` with a fitted loss floor.
    mode
        Optimum of the law: `best`, or the one whose size term (`params_steeper`) or token term
        (`tokens_steeper`, what the paper drew) is steeper, on every benchmark that has it.
    pseudo_point
        Whether the map is drawn to loss 0, score 1 (the paper's undisclosed choice).
    split
        Date at which to split the records; see `split_records`.
    n_permutations, seed
        Of the attempt-count null; see `attempt_null`.

    Returns
    -------
    PointEstimate
        LLMs that no size of the reference LLM matches are in `llms`, counted, and left out of the
        records and the null only.

    Raises
    ------
    BayesdenseError
        An option that is unknown, or that the dataset cannot serve.

    References
    ----------
    Xiao et al., Densing law of LLMs, Nature Machine Intelligence 7:1823-1833 (2025).
    """
    options = PointOptions(
        reference_tokens=float(reference_tokens),
        params=params,
        aggregate=aggregate,
        law=law,
        mode=mode,
        pseudo_point=pseudo_point,
        split=read_split(split),
        n_permutations=n_permutations,
        seed=seed,
    )
    options.check()
    if dataset.densities is not None:
        llms = published_densities(dataset.densities)
        return _estimate(dataset, options, llms, _first_release(dataset.densities))
    return _estimate_from_scores(dataset.base_only(), options)


def _estimate_from_scores(dataset: Dataset, options: PointOptions) -> PointEstimate:
    """Estimate from a ladder and scores."""
    llms, scores, loss_scores = dataset.llms, dataset.scores, dataset.loss_scores
    runs = dataset.runs
    if llms is None or scores is None or loss_scores is None or runs is None:
        raise DatasetError(dataset.name, ["point needs llms, scores, runs and loss_scores"])
    params, warnings = params_column(llms, options.params)
    if options.aggregate == "average":
        check_average_applies(dataset)
        runs, loss_scores = average_panel()
        scores = average_scores(scores)
    names = [AVERAGE] if options.aggregate == "average" else scores["benchmark"].unique().tolist()
    fits = fit_benchmarks(
        runs, loss_scores, names, law=options.law, pseudo_point=options.pseudo_point
    )

    def densities(mode: Mode) -> tuple[LLMDensity, ...]:
        return point_densities(
            llms,
            scores,
            fits,
            reference_tokens=options.reference_tokens,
            params_column=PARAMS_COLUMN[params],
            mode=mode,
        )

    origin = _first_release(llms)
    several = [fit.benchmark for fit in fits if len(fit.loss_fit.optima) > 1]
    modes: tuple[Mode, ...] = ("params_steeper", "tokens_steeper") if several else ()
    return _estimate(
        dataset,
        options,
        densities(options.mode),
        origin,
        params_used=params,
        fits=fits,
        mode_readings=tuple(_mode_reading(mode, densities(mode), origin) for mode in modes),
        warnings=(*warnings, *_mode_warnings(fits, options.mode, several)),
    )


def _estimate(
    dataset: Dataset,
    options: PointOptions,
    llms: Sequence[LLMDensity],
    origin: date,
    *,
    params_used: Params | None = None,
    fits: tuple[BenchmarkFit, ...] = (),
    mode_readings: tuple[ModeReading, ...] = (),
    warnings: tuple[str, ...] = (),
) -> PointEstimate:
    """Take records, line, null and segments of point densities."""
    by_date = tuple(sorted(llms, key=lambda llm: (llm.release_date, llm.llm)))
    finite, days, log_density = _trend_data(by_date, origin)
    rows = running_records(days, log_density)
    line = fit_line(days[rows], log_density[rows])
    names = np.array([llm.family for llm in finite], dtype=str)
    family = np.unique(names, return_inverse=True)[1].astype(np.int64)
    null = attempt_null(
        days,
        log_density,
        family,
        observed_slope=line.slope_per_day,
        n_permutations=options.n_permutations,
        rng=np.random.default_rng(options.seed),
    )
    split = options.split
    return PointEstimate(
        dataset=dataset.name,
        digest=dataset.digest,
        options=options,
        params_used=params_used,
        origin=origin,
        llms=by_date,
        records=tuple(finite[row] for row in rows),
        line=line,
        attempt_null=null,
        segments=()
        if split is None
        else split_records(days, log_density, origin=origin, split=split),
        fits=fits,
        mode_readings=mode_readings,
        warnings=warnings,
    )


def _trend_data(llms: Sequence[LLMDensity], origin: date) -> tuple[list[LLMDensity], Ints, Floats]:
    """LLMs with a finite density, their days since `origin` and their log densities."""
    finite = [llm for llm in llms if llm.log_density is not None]
    days = np.array([(llm.release_date - origin).days for llm in finite], dtype=np.int64)
    return finite, days, np.array([llm.log_density for llm in finite], dtype=np.float64)


def _mode_reading(mode: Mode, llms: Sequence[LLMDensity], origin: date) -> ModeReading:
    """Line of the records that one optimum of the law gives."""
    finite, days, log_density = _trend_data(llms, origin)
    rows = running_records(days, log_density)
    line = fit_line(days[rows], log_density[rows])
    return ModeReading(mode, len(llms) - len(finite), line)


def _mode_warnings(
    fits: Sequence[BenchmarkFit], mode: Mode, several: Sequence[str]
) -> tuple[str, ...]:
    """Sentences on laws with several optima, and on laws without the one asked for."""
    lacking = [fit.benchmark for fit in fits if fit.loss_fit.choose(mode) is None]
    warnings = []
    if several:
        warnings.append(
            f"The loss law has more than one least squares optimum on {listing(several)}; mode"
            f" {mode} is used, mode_readings shows what each gives."
        )
    if lacking:
        warnings.append(f"No optimum {mode} on {listing(lacking)}: the best is used there.")
    return tuple(warnings)


def _first_release(llms: pd.DataFrame) -> date:
    """First release date of a table."""
    first = llms["release_date"].min()
    return pd.Timestamp(first).date()


def _record(record: LLMDensity) -> dict[str, object]:
    """Record as the interface has it."""
    return {
        "llm": record.llm,
        "release_date": record.release_date.isoformat(),
        "density": finite_exp(record.log_density),
    }
