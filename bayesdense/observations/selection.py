"""From a dataset to what a model sees of it: selection, centring, logs and logits."""

from typing import Any

import numpy as np
import pandas as pd

from bayesdense.arrays import Floats, Ints
from bayesdense.dataset import Dataset
from bayesdense.errors import SpecError
from bayesdense.items import logit_of_score
from bayesdense.names import DAYS_PER_YEAR
from bayesdense.observations.values import (
    Benchmarks,
    CalibrationData,
    DensityData,
    LLMData,
    LossData,
    Observations,
    ReportData,
    ScoreData,
)
from bayesdense.spec import ModelSpec
from bayesdense.trends import Trend, trend_named
from bayesdense.trends.groups import MIXTURE_OF_EXPERTS
from bayesdense.wording import listing

#: Least replication for which size and run effects can be told from noise.
_MIN_SIZES = 3
_MIN_RUNS_PER_SIZE = 2


def observe(spec: ModelSpec, dataset: Dataset) -> Observations:
    """Select and transform what a model sees of a dataset.

    Raises
    ------
    SpecError
        Where model and dataset do not fit each other.
    """
    if spec.is_joint == dataset.is_densities:
        holds = "published densities and no scores" if dataset.is_densities else "scores"
        raise SpecError(
            f"model {spec.name!r} does not fit dataset {dataset.name!r}, which holds {holds}; "
            f"use --model {dataset.default_model}"
        )
    used = dataset.base_only() if spec.options.base_only else dataset
    if used.densities is not None:
        return _observe_densities(spec, used.densities)
    return _observe_scores(spec, used)


def _observe_densities(spec: ModelSpec, table: pd.DataFrame) -> Observations:
    """Read a dataset of published densities."""
    n_params = table["n_params"] if "n_params" in table else pd.Series(np.nan, table.index)
    llms = _llm_data(spec, table, np.log(n_params.to_numpy(float)), "published")
    sd = table["density_log_sd"] if "density_log_sd" in table else pd.Series(0.0, table.index)
    densities = DensityData(
        np.log(table["density"].to_numpy(float)),
        np.square(sd.fillna(0.0).to_numpy(float), dtype=float),
    )
    return Observations(llms, None, None, None, None, None, densities, ())


def _observe_scores(spec: ModelSpec, used: Dataset) -> Observations:
    """Read a dataset of reference runs, calibration points and scores."""
    tables = (used.benchmarks, used.runs, used.loss_scores, used.llms, used.scores)
    benchmarks_table, runs, points, llms_table, scores = (
        table if table is not None else pd.DataFrame() for table in tables
    )
    kept = benchmarks_table[benchmarks_table["benchmark"].isin(set(runs["benchmark"]))]
    kept = kept.reset_index(drop=True)
    index = pd.Series(np.arange(len(kept)), index=kept["benchmark"])
    log_params, params_used, warnings = _log_params(spec.options.params, llms_table)
    losses = _loss_data(runs, index, spec.component("loss_noise").kind == "clustered")
    if spec.component("loss_noise").kind == "clustered" and not losses.clustered:
        warnings = (
            *warnings,
            "The ladder has too little replication to tell size and run effects from noise: "
            "loss noise is taken as independent.",
        )
    benchmarks = Benchmarks(
        names=tuple(kept["benchmark"]),
        n_items=kept["n_items"].to_numpy(float),
        chance=kept["chance"].to_numpy(float),
        loss_centre=_loss_centre(losses, len(kept)),
        loss_units=tuple(kept["loss_unit"].astype(str)),
    )
    llms = _llm_data(spec, llms_table, log_params, params_used)
    protocol = spec.component("score_noise").kind == "protocol"
    reports = _report_data(used.score_reports, index, benchmarks) if protocol else None
    if protocol and reports is None:
        warnings = (
            *warnings,
            "No report is replicated: protocol noise and discrepancy are one parameter, cell_sd.",
        )
    return Observations(
        llms=llms,
        benchmarks=benchmarks,
        losses=losses,
        calibration=_calibration_data(points, index, benchmarks, spec.options.calibration),
        reports=reports,
        scores=_score_data(scores, used.score_reports, points, llms, index, benchmarks),
        densities=None,
        warnings=warnings,
    )


def _positions(index: "pd.Series[int]", labels: "pd.Series[str]") -> Ints:
    """Positions of labels in an index."""
    return np.asarray(index[labels].to_numpy(), dtype=np.int64)


def _log_params(params: str, llms: pd.DataFrame) -> tuple[Floats, str, tuple[str, ...]]:
    """Log of the count that divides, which count it is, and a warning if not the one wanted."""
    total = np.log(llms["n_params"].to_numpy(float))
    if params == "total":
        return total, "total", ()
    column = f"n_params_{params}"
    counts = llms[column] if column in llms else pd.Series(np.nan, llms.index)
    missing = llms["llm"][counts.isna()].tolist()
    if not missing:
        return np.log(counts.to_numpy(float)), params, ()
    names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    if params == "active":
        raise SpecError(
            f"params = active: n_params_active is blank for {names}; fill it in, or use total"
        )
    return (
        total,
        "total",
        (
            f"Non-embedding parameters are blank for {names}: total parameters are used for every "
            "LLM, although the reference ladder may count otherwise.",
        ),
    )


def _loss_data(runs: pd.DataFrame, index: "pd.Series[int]", wanted: bool) -> LossData:
    """Reference losses with their clusters; the centre is the mean log size of the runs."""
    log_params = np.log(runs["n_params"].to_numpy(float))
    log_tokens = np.log(runs["n_tokens"].to_numpy(float))
    names = tuple(dict.fromkeys(runs["run"].astype(str)))
    run_index = pd.Series(np.arange(len(names)), index=list(names))
    benchmark_idx = _positions(index, runs["benchmark"])
    keys = pd.MultiIndex.from_arrays([runs["n_params"], benchmark_idx])
    cluster_idx, clusters = pd.factorize(keys)
    sd = runs["loss_sd"] if "loss_sd" in runs else pd.Series(0.0, runs.index)
    loss = runs["loss"].to_numpy(float)
    per_size = runs.groupby("n_params")["run"].nunique()
    replicated = int((per_size >= _MIN_RUNS_PER_SIZE).sum()) >= _MIN_SIZES and len(index) > 1
    return LossData(
        runs=names,
        benchmark_idx=benchmark_idx,
        run_idx=_positions(run_index, runs["run"].astype(str)),
        cluster_idx=cluster_idx.astype(np.int64),
        n_clusters=len(clusters),
        log_params_ratio=log_params - log_params.mean(),
        log_tokens_ratio=log_tokens - log_tokens.mean(),
        log_loss=np.log(loss),
        known_var=(sd.fillna(0.0).to_numpy(float) / loss) ** 2,
        log_params_centre=float(log_params.mean()),
        log_tokens_centre=float(log_tokens.mean()),
        max_params=float(runs["n_params"].max()),
        max_tokens=float(runs["n_tokens"].max()),
        clustered=wanted and replicated,
    )


def _loss_centre(losses: LossData, n_benchmarks: int) -> Floats:
    """Geometric mean of the reference losses, per benchmark."""
    sums = np.bincount(losses.benchmark_idx, losses.log_loss, n_benchmarks)
    return np.exp(sums / np.bincount(losses.benchmark_idx, minlength=n_benchmarks))


def _items(table: pd.DataFrame, benchmark_idx: Ints, benchmarks: Benchmarks) -> Floats:
    """Items per entry: the table's own where given, else the benchmark's."""
    own = table["n_items"] if "n_items" in table else pd.Series(np.nan, table.index)
    return np.where(own.isna(), benchmarks.n_items[benchmark_idx], own.to_numpy(float))


def _calibration_data(
    points: pd.DataFrame, index: "pd.Series[int]", benchmarks: Benchmarks, calibration: str
) -> CalibrationData:
    """Points of the score map."""
    points = points[points["benchmark"].isin(set(index.index))].reset_index(drop=True)
    benchmark_idx = _positions(index, points["benchmark"])
    score, n_items = points["score"].to_numpy(float), _items(points, benchmark_idx, benchmarks)
    held_out = (points["role"] == "heldout").to_numpy(bool) & (calibration == "fit")
    return CalibrationData(
        benchmark_idx=benchmark_idx,
        loss=points["loss"].to_numpy(float),
        score=score,
        logit_score=logit_of_score(score, n_items),
        n_items=n_items,
        is_fit=~held_out,
    )


def _report_data(
    reports: pd.DataFrame | None, index: "pd.Series[int]", benchmarks: Benchmarks
) -> ReportData | None:
    """Sums of squares within cells of distinct figures; None where no cell has two."""
    if reports is None:
        return None
    cells = reports[reports["benchmark"].isin(set(index.index))]
    cells = cells.drop_duplicates(["llm", "benchmark", "score"])
    benchmark_idx = _positions(index, cells["benchmark"])
    values = logit_of_score(cells["score"].to_numpy(float), benchmarks.n_items[benchmark_idx])
    frame = pd.DataFrame({"llm": cells["llm"].to_numpy(), "benchmark": benchmark_idx, "y": values})
    within = frame.groupby(["llm", "benchmark"])["y"].agg(["var", "count"]).reset_index()
    within = within[within["count"] > 1]
    if within.empty:
        return None
    within["degrees"] = within["count"] - 1
    within["squares"] = within["var"] * within["degrees"]
    sums = within.groupby("benchmark")[["squares", "degrees"]].sum()
    sums = sums[sums["squares"] > 0]
    return ReportData(
        benchmark_idx=sums.index.to_numpy(np.int64),
        sum_of_squares=sums["squares"].to_numpy(float),
        degrees=sums["degrees"].to_numpy(float),
    )


def _score_data(
    scores: pd.DataFrame,
    reports: pd.DataFrame | None,
    points: pd.DataFrame,
    llms: LLMData,
    index: "pd.Series[int]",
    benchmarks: Benchmarks,
) -> ScoreData:
    """Scores of the LLMs used, sorted by LLM."""
    llm_index = pd.Series(np.arange(len(llms.names)), index=list(llms.names))
    llm_idx = _positions(llm_index, scores["llm"])
    benchmark_idx = _positions(index, scores["benchmark"])
    order = np.lexsort((benchmark_idx, llm_idx))
    scores, llm_idx = scores.iloc[order].reset_index(drop=True), llm_idx[order]
    benchmark_idx = benchmark_idx[order]
    score, n_items = scores["score"].to_numpy(float), _items(scores, benchmark_idx, benchmarks)
    counts = np.bincount(llm_idx, minlength=len(llms.names))
    return ScoreData(
        llm_idx=llm_idx,
        benchmark_idx=benchmark_idx,
        score=score,
        logit_score=logit_of_score(score, n_items),
        n_items=n_items,
        n_reports=_reports_per_cell(scores, reports),
        other_protocol=_other_protocol(scores, points),
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def _reports_per_cell(scores: pd.DataFrame, reports: pd.DataFrame | None) -> Floats:
    """Distinct figures behind each score: the maker's own where there are any, else all."""
    if reports is None:
        return np.ones(len(scores))
    own = reports["own_report"] if "own_report" in reports else pd.Series(False, reports.index)
    cell = ["llm", "benchmark"]
    has_own = own.groupby([reports["llm"], reports["benchmark"]]).transform("any")
    used = reports[own | ~has_own].drop_duplicates([*cell, "score"])
    counts = used.groupby(cell).size()
    keys = pd.MultiIndex.from_frame(scores[cell])
    return np.asarray(counts.reindex(keys, fill_value=1).to_numpy(float))


def _other_protocol(scores: pd.DataFrame, points: pd.DataFrame) -> Floats:
    """1 where a score's protocol is none of those of the map's points."""
    if "protocol" not in scores or "protocol" not in points:
        return np.zeros(len(scores))
    known = points[points["protocol"] != ""].groupby("benchmark")["protocol"].agg(set).to_dict()
    return np.array(
        [
            float(bool(protocol) and bool(known.get(name)) and protocol not in known[name])
            for name, protocol in zip(scores["benchmark"], scores["protocol"], strict=True)
        ]
    )


def _llm_data(
    spec: ModelSpec, table: pd.DataFrame, log_params: Floats, params_used: str
) -> LLMData:
    """LLMs with their families and times; the origin is the mean release date, a whole day.

    And what the trend asks of them, where it does; refused if the trend cannot do with them.
    """
    dates = table["release_date"]
    origin = pd.Timestamp(dates.mean()).normalize()
    families = tuple(dict.fromkeys(table["family"].astype(str)))
    family_index = pd.Series(np.arange(len(families)), index=list(families))
    trend = trend_named(spec.trend)
    groups, group_idx = _groups(trend, table)
    covariate, covariate_mean = _covariate(trend, table, log_params)
    llms = LLMData(
        names=tuple(table["llm"].astype(str)),
        families=families,
        family_idx=_positions(family_index, table["family"].astype(str)),
        release_dates=tuple(dates.dt.strftime("%Y-%m-%d")),
        years=np.asarray((dates - origin) / pd.Timedelta(days=DAYS_PER_YEAR), dtype=float),
        time_origin=origin.date().isoformat(),
        log_params=log_params,
        params_used=params_used,
        groups=groups,
        group_idx=group_idx,
        covariate=covariate,
        covariate_mean=covariate_mean,
        derived_from=tuple(table["derived_from"]) if "derived_from" in table else (),
    )
    trend.require(llms.trend_data)
    return llms


def _groups(trend: Trend, table: pd.DataFrame) -> tuple[tuple[str, ...], Ints | None]:
    """Groups that a trend asks for, in the order of the table, and that of each LLM."""
    if trend.group_by is None:
        return (), None
    if trend.group_by == MIXTURE_OF_EXPERTS:
        active = _complete(trend, table, "n_params_active").to_numpy(float)
        is_sparse = active < table["n_params"].to_numpy(float)
        return ("dense", "mixture of experts"), is_sparse.astype(np.int64)
    words = _complete(trend, table, trend.group_by).astype(str)
    names = tuple(dict.fromkeys(words))
    return names, _positions(pd.Series(np.arange(len(names)), index=list(names)), words)


def _covariate(
    trend: Trend, table: pd.DataFrame, log_params: Floats
) -> tuple[Floats | None, float]:
    """Covariate that a trend asks for, about its mean, and that mean."""
    if trend.covariate is None:
        return None, 0.0
    if not np.isfinite(log_params).all():
        _complete(trend, table, "n_params")
    values = log_params
    if trend.covariate != "log_params":
        log_tokens = np.log(_complete(trend, table, "n_tokens").to_numpy(float))
        sign = -1.0 if trend.covariate == "log_overtraining" else 1.0
        values = log_tokens + sign * log_params
    mean = float(values.mean())
    return np.asarray(values - mean, dtype=float), mean


def _complete(trend: Trend, table: pd.DataFrame, column: str) -> "pd.Series[Any]":
    """Return a column that a trend needs; refuse one that is absent or has blanks."""
    if column not in table:
        words = [str(name) for name in table if name not in ("llm", "release_date")]
        raise SpecError(
            f"trend {trend.kind}: the table of LLMs has no column {column!r}; its columns are "
            f"{', '.join(words)}"
        )
    blank = table["llm"][table[column].isna() | (table[column].astype(str) == "")].tolist()
    if blank:
        raise SpecError(
            f"trend {trend.kind}: {column} is blank for {listing(blank, 3)}; fill it in, or leave "
            "these LLMs out of the dataset"
        )
    return table[column]
