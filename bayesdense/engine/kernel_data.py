"""What a model sees of a dataset, as the tables that `joint_kernel` reads."""

from types import MappingProxyType

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats, Ints
from bayesdense.items import COUNT_LOG_WEIGHTS, COUNT_NODES, log_binomial
from bayesdense.kernel import grid_over
from bayesdense.observations import (
    CalibrationData,
    JointObservations,
    LossData,
    ReportData,
    trend_on,
)
from bayesdense.spec import ModelSpec
from bayesdense.trends import TrendOn, trend_named

#: Digits to which the basis of an LLM under two parts of a mixture has to agree to be the same.
_SAME_DIGITS = 12
#: Observed variables of the four terms of `kernel.Data.counted`.
TERMS = (("loss",), ("loss_score", "loss_score_count"), ("score_reports",), ("score",))


#: Trends that are not linear in their parameters -> their curve.
_CURVES = MappingProxyType(
    {
        "hyperbolic": kernel.HYPERBOLIC,
        "logistic": kernel.LOGISTIC_CURVE,
        "gompertz": kernel.GOMPERTZ,
        "power": kernel.POWER,
        "linear": kernel.LINE,
    }
)


def is_covered(spec: ModelSpec) -> bool:
    """Whether `joint_kernel` computes this model; others are left to PyTensor."""
    return (
        spec.is_joint
        and spec.options.implementation == "marginal"
        and spec.residual == "symmetric"
        and (spec.trend in _CURVES or trend_named(spec.trend).is_linear)
    )


def kernel_data(
    spec: ModelSpec,
    data: JointObservations,
    slots: kernel.Slots,
    trend_at: Ints,
    counted: Ints,
) -> kernel.Data:
    """Lay out the observations.

    Parameters
    ----------
    spec, data
        A model that `is_covered`, and its observations.
    slots
        Where variables stand in theta.
    trend_at
        Where the trend's parameters stand.
    counted
        Which of `TERMS` are wanted, 0 or 1.
    """
    return kernel.Data(
        slots=slots,
        counted=counted,
        losses=_losses(data.losses),
        points=_points(data.calibration),
        reports=_reports(data.reports),
        scores=_scores(spec, data, trend_at),
    )


def _losses(losses: LossData) -> kernel.Losses:
    """Entries sorted by group: runs that share a cluster, however indirectly, are of one group."""
    n_runs, n = len(losses.runs), len(losses.log_loss)
    ends = (losses.run_idx, n_runs + losses.cluster_idx)
    size = n_runs + losses.n_clusters
    _, group_of = connected_components(coo_matrix((np.ones(n), ends), (size, size)), directed=False)
    _, of_entry = np.unique(group_of[losses.run_idx], return_inverse=True)
    order = np.argsort(of_entry, kind="stable")
    n_groups = int(of_entry.max()) + 1
    first = np.concatenate([[0], np.cumsum(np.bincount(of_entry, minlength=n_groups))])
    run, cluster = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    sizes_of_runs, sizes_of_clusters, benchmarks = [], [], []
    for group in range(n_groups):
        at = slice(first[group], first[group + 1])
        entries = order[at]
        runs, run[at] = np.unique(losses.run_idx[entries], return_inverse=True)
        found, where, cluster[at] = np.unique(
            losses.cluster_idx[entries], return_index=True, return_inverse=True
        )
        sizes_of_runs.append(len(runs))
        sizes_of_clusters.append(len(found))
        benchmarks.append(losses.benchmark_idx[entries][where])
    return kernel.Losses(
        log_loss=losses.log_loss[order],
        known_var=losses.known_var[order],
        log_params_ratio=losses.log_params_ratio[order],
        log_tokens_ratio=losses.log_tokens_ratio[order],
        benchmark=losses.benchmark_idx[order],
        run=run,
        cluster=cluster,
        first=first.astype(np.int64),
        n_runs=np.array(sizes_of_runs),
        n_clusters=np.array(sizes_of_clusters),
        cluster_benchmark=np.concatenate(benchmarks),
        first_cluster=np.concatenate([[0], np.cumsum(sizes_of_clusters)]),
    )


def _points(points: CalibrationData) -> kernel.Points:
    normal = np.flatnonzero(points.is_fit & ~points.is_count)
    counted = np.flatnonzero(points.is_fit & points.is_count)
    order = np.concatenate([normal, counted])
    n_items = points.n_items[counted]
    n_correct = n_items * points.score[counted]
    return kernel.Points(
        loss=points.loss[order],
        n_items=points.n_items[order],
        benchmark=points.benchmark_idx[order],
        logit_score=points.logit_score[normal],
        n_correct=n_correct,
        log_coefficient=np.asarray(log_binomial(n_items, n_correct, gammaln)),
        nodes=COUNT_NODES,
        log_weights=COUNT_LOG_WEIGHTS,
    )


def _reports(reports: ReportData | None) -> kernel.Reports:
    if reports is None:
        return kernel.Reports(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), 0.0)
    shape, squares = reports.degrees / 2, reports.sum_of_squares
    constant = (shape - 1) * np.log(squares) - shape * np.log(2) - gammaln(shape)
    return kernel.Reports(
        reports.benchmark_idx.astype(np.int64), squares, reports.degrees, float(constant.sum())
    )


def _scores(spec: ModelSpec, data: JointObservations, trend_at: Ints) -> kernel.Scores:
    llms, scores = data.llms, data.scores
    grid = grid_over(llms.log_params, spec.options.quadrature_spacing)
    kinds, kind = scores.kinds()
    benchmark, n_items, n_reports, other_protocol = kinds.T
    trend = trend_on(spec, llms)
    basis, first_place, place = _places(trend)
    return kernel.Scores(
        nodes=grid.nodes,
        log_widths=np.concatenate([[0.0], grid.log_widths, [0.0]]),
        log_params_centre=data.losses.log_params_centre,
        log_tokens_ratio=float(
            np.log(spec.options.reference_tokens) - data.losses.log_tokens_centre
        ),
        logit_score=scores.logit_score,
        row=scores.rows(len(data.benchmarks.names)).astype(np.int64),
        kind=kind,
        first=scores.first.astype(np.int64),
        kind_benchmark=benchmark.astype(np.int64),
        kind_n_items=np.ascontiguousarray(n_items, dtype=float),
        kind_per_report=1 / n_reports,
        kind_offset=np.ascontiguousarray(other_protocol, dtype=float),
        log_params=llms.log_params,
        years=llms.years,
        family=llms.family_idx.astype(np.int64),
        basis=basis,
        trend_at=trend_at,
        n_benchmarks=len(data.benchmarks.names),
        first_place=first_place,
        place=place,
        curve=_CURVES.get(spec.trend, kernel.BASIS),
        window=np.array([trend.data.first, trend.data.last]),
    )


def _places(trend: TrendOn) -> tuple[Floats, Ints, Ints]:
    """Basis of every place, each LLM's first place, and its place in every part of a mixture.

    Parts that agree on an LLM share its place: two dates of a break do if both are later, or both
    earlier, than its release and the time origin. A curve has no basis, but the shape of one.
    """
    years, mixture = trend.data.years, trend.trend.mixture
    if not trend.trend.is_linear:
        each = np.arange(len(years) + 1)
        return np.zeros((len(years), len(trend.entries))), each, each[:-1]
    values = [None] if mixture is None else mixture.values(trend.data).tolist()
    basis = np.concatenate([trend.basis(years, value=value) for value in values])
    llm = np.tile(np.arange(len(years)), len(values))
    same = np.column_stack([llm, np.round(basis, _SAME_DIGITS)])
    rows, found, place = np.unique(same, axis=0, return_index=True, return_inverse=True)
    first_place = np.searchsorted(rows[:, 0], np.arange(len(years) + 1))
    return basis[found], first_place, place.ravel()
