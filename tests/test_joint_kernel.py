"""The compiled joint density is that of the `pm.Model`, term by term and as a whole."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, reduce
from operator import add

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelling import small_observations
from pymc.model.transform.conditioning import remove_value_transforms
from pymc.model.transform.optimization import freeze_dims_and_data
from pytensor.compile.mode import Mode
from pytensor.graph.replace import graph_replace
from scipy import special, stats

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats, Ints
from bayesdense.build import build_from_observations
from bayesdense.dataset import load_dataset
from bayesdense.engine import kernel_data
from bayesdense.engine.coordinates import Coordinates
from bayesdense.engine.runs import coordinates_of, tables_of, target_of
from bayesdense.engine.sample import find_whitening
from bayesdense.engine.whiten import linear, unwhitened
from bayesdense.items import COUNT_LOG_WEIGHTS, COUNT_NODES, count_terms, item_variance
from bayesdense.items import log_binomial as log_binomial_of
from bayesdense.kernel import Cells, grid_over, log_marginal, make_grid
from bayesdense.laws import chinchilla_loss
from bayesdense.observations import LossData, Observations, observe
from bayesdense.prior_draws import draw_priors
from bayesdense.residuals import NUMPY, log_tails, normal_log_density
from bayesdense.score_maps import logistic_logit_score
from bayesdense.spec import ModelSpec, load_spec

#: Python without rewrites but one: a graph that is called a hundred times is worth no compiler.
PLAIN = Mode(linker="py", optimizer="merge")
type Density = Callable[[Floats], tuple[Floats, Floats]]

# ---------------------------------------------------------------- the whole, against the pm.Model


def two_by_two(total: pt.TensorVariable) -> pt.TensorVariable:
    """The same sum, added two by two: Python's operations take 32 summands at most."""
    if total.owner is None or total.owner.op != pt.add:
        return total
    return reduce(add, map(two_by_two, total.owner.inputs))


def of_pymc(model: pm.Model, where: Coordinates) -> Density:
    """Log density of a model and its gradient in natural parameters, by PyTensor."""
    natural = remove_value_transforms(freeze_dims_and_data(model))
    theta = pt.dvector("theta")
    values = {
        natural.rvs_to_values[rv]: theta[where.blocks[rv.name]].reshape(where.shapes[rv.name])
        for rv in natural.free_RVs
    }
    total = two_by_two(graph_replace(natural.logp(), values, strict=False))
    compiled = pytensor.function([theta], [total, pt.grad(total, theta)], mode=PLAIN)
    return lambda at: tuple(compiled(at))  # type: ignore[return-value]


def near_and_far(
    spec: ModelSpec, data: Observations, where: Coordinates, n: int, seed: int
) -> Floats:
    """Natural parameters: draws of the prior, points about the mode, and points far from it."""
    rng = np.random.default_rng(seed)
    drawn = draw_priors(spec, data, rng, n // 4)
    of_prior = [
        where.theta({name: drawn[name].values[0, k] for name in where.blocks})
        for k in range(n // 4)
    ]
    target = target_of(spec, data)
    whitening = find_whitening(target)
    zeta = rng.normal(size=(n // 2, where.size)) * np.linspace(0.2, 3.0, n // 2)[:, None]
    tails = (
        where.start + rng.normal(size=(n // 4, where.size)) * np.linspace(0.5, 2.0, n // 4)[:, None]
    )
    z = np.concatenate([whitening.apply(zeta), tails])
    given = np.zeros(where.n_theta)
    return np.concatenate(
        [of_prior, kernel.unpack_all(z, where.free, given, where.maps, where.slots)]
    )


def assert_one_density(spec: ModelSpec, data: Observations, n: int, seed: int = 1) -> None:
    """Both log densities and gradients are the same to 1e-8 at n points."""
    assert kernel_data.is_covered(spec)
    where = coordinates_of(spec, data)
    model = build_from_observations(spec, data)
    shapes = {rv.name: tuple(rv.shape.eval()) for rv in model.free_RVs}
    assert shapes == dict(where.shapes)
    reference, tables = of_pymc(model, where), tables_of(spec, data, where, None)
    points = near_and_far(spec, data, where, n, seed)
    finite = 0
    for theta in points:
        expected, slope = reference(theta)
        found, gradient = kernel.log_density(theta, where.priors, tables)
        if not (np.isfinite(expected) and np.isfinite(slope).all()):
            continue  # PyTensor's graph overflows in its tails before the kernel does
        finite += 1
        assert found == pytest.approx(float(expected), rel=1e-8)
        for name, block in where.blocks.items():
            # a sum over LLMs may vanish, not so its terms
            scale = max(len(data.llms.names), np.abs(slope[block]).max())
            error = np.abs(gradient[block] - slope[block]).max() / scale
            assert error < 1e-8, f"{name}: {error:.1e}"
    assert finite >= 0.8 * len(points)


def small(options: dict[str, object], **changes: object) -> tuple[ModelSpec, Observations]:
    spec = load_spec("joint").with_options(**options)
    data = small_observations(spec, **changes)  # type: ignore[arg-type]
    return spec, data


#: Priors of every distribution and form that a user may write, where shipped ones are others.
UNUSUAL = (
    'loss_law.priors.loss_floor={dist="LogNormal",dims="benchmark",scale="loss_centre",'
    'kwargs={mu={dist="LogNormal",kwargs={mu=-0.5,sigma=0.3}},sigma=0.4}}',
    'loss_law.priors.param_coef={dist="Gamma",dims="benchmark",scale="loss_centre",'
    "kwargs={alpha=2.5,beta=7}}",
    'loss_law.priors.token_coef={dist="HalfNormal",dims="benchmark",kwargs={sigma=0.7}}',
    'loss_noise.priors.run_effect_sd={dist="HalfNormal",dims="benchmark",kwargs={sigma=0.03}}',
    'loss_noise.priors.size_effect_sd={dist="Gamma",dims="benchmark",kwargs={alpha=2,beta=90}}',
    'score_map.priors.score_ceiling={dist="Beta",dims="benchmark",kwargs={alpha=9,beta=0.7}}',
    'score_map.priors.score_slope={dist="Gamma",dims="benchmark",scale="per_loss_centre",'
    "kwargs={alpha=3,beta=0.4}}",
    'score_map.priors.loss_midpoint={dist="HalfNormal",dims="benchmark",scale="loss_centre",'
    "kwargs={sigma=1}}",
    'score_map.priors.map_noise_sd={dist="LogNormal",dims="benchmark",'
    'kwargs={mu=-1.9,sigma={dist="HalfNormal",kwargs={sigma=0.8}}}}',
    'score_noise.priors.discrepancy_sd={dist="LogNormal",dims="benchmark",scale="loss_centre",'
    'kwargs={mu={dist="Normal",kwargs={mu=-1.2,sigma=0.5}},'
    'sigma={dist="Gamma",kwargs={alpha=3,beta=6}}}}',
    'score_noise.priors.protocol_offset={dist="Normal",dims="benchmark",scale="loss_centre",'
    'kwargs={mu={dist="Normal",kwargs={mu=0.1,sigma=0.5}},'
    'sigma={dist="LogNormal",kwargs={mu=-1,sigma=0.5}}}}',
    'family.priors.family_sd={dist="Gamma",kwargs={alpha=2,beta=3}}',
    'residual.priors.residual_sd={dist="HalfNormal",kwargs={sigma=1.2}}',
    'trend.priors.growth_rate={dist="LogNormal",kwargs={mu=0.2,sigma=0.5}}',
    'trend.priors.trend_intercept={dist="Gamma",kwargs={alpha=2,beta=2}}',
)

ESSENTIAL: dict[str, Callable[[], tuple[ModelSpec, Observations]]] = {
    "offsets": lambda: small({"scale_trend": True}, other_protocol=(1, 2)),
    "fewest terms": lambda: small(
        {"loss_law": "additive", "loss_noise": "independent", "family": "none", "trend": "flat"},
        replicated=False,
    ),
    "cell": lambda: small({"score_noise": "cell", "calibration": "fit"}, other_protocol=(3,)),
    "unusual priors": lambda: unusual(),
}


def unusual() -> tuple[ModelSpec, Observations]:
    spec = load_spec("joint").with_overrides(UNUSUAL)
    return spec, small_observations(spec, other_protocol=(0,))


@pytest.mark.parametrize("case", ESSENTIAL)
def test_density_and_gradient_are_those_of_the_model(case: str) -> None:
    spec, data = ESSENTIAL[case]()
    assert_one_density(spec, data, 40)


OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {"loss_law": "additive"},
    {"loss_noise": "independent"},
    {"score_noise": "cell"},
    {"family": "none"},
    {"trend": "flat"},
    {"trend": "break_free"},
    {"trend": "logistic"},
    {"scale_trend": True},
    {"calibration": "fit"},
    {"base_only": False},
    {"params": "total"},
)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dataset", ["densing", "olmo-ladder", "synthetic"])
def test_density_of_every_shipped_dataset(dataset: str, options: dict[str, object]) -> None:
    spec = load_spec("joint").with_options(**options)
    assert_one_density(spec, observe(spec, load_dataset(dataset)), 200, seed=2)


# ---------------------------------------------------------------- terms, one by one


def slots_of(width: int, *without: str) -> kernel.Slots:
    """Every variable `width` wide, in the order of the slots, but those that are absent."""
    starts = {}
    for name in kernel.Slots._fields:
        starts[name] = (
            -1 if name in without else width * (len(starts) - [*starts.values()].count(-1))
        )
    return kernel.Slots(**starts)


def vector(slots: kernel.Slots, width: int, values: dict[str, Sequence[float] | Floats]) -> Floats:
    """Theta with these values; 0.5 where none is given."""
    n = max(slots) + width
    theta = np.full(n, 0.5)
    for name, value in values.items():
        at = getattr(slots, name)
        theta[at : at + np.size(value)] = value
    return theta


def assert_gradient(
    function: Callable[[Floats, Floats], float], theta: Floats, *, rel: float = 1e-6
) -> None:
    """The gradient that a term adds is that of its value, by differences of fourth order."""
    gradient = np.zeros_like(theta)
    function(theta, gradient)
    unread = np.zeros_like(theta)
    numeric = np.zeros_like(theta)
    for k in range(len(theta)):
        step = 1e-4 * max(abs(theta[k]), 1e-3)
        ends = []
        for s in (-2, -1, 1, 2):
            moved = theta.copy()
            moved[k] += s * step
            ends.append(function(moved, unread))
        numeric[k] = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
        noise = 1e-15 * max(1.0, *np.abs(ends)) / step
        assert gradient[k] == pytest.approx(
            numeric[k], rel=rel, abs=rel * max(1.0, np.abs(gradient).max()) + 50 * noise
        ), k


def test_a_term_adds_to_the_gradient_and_leaves_theta_alone() -> None:
    slots = slots_of(1)
    reports = kernel.Reports(np.zeros(1, dtype=np.int64), np.ones(1), np.ones(1) * 3, 0.0)
    theta = vector(slots, 1, {})
    before, once, twice = theta.copy(), np.zeros_like(theta), np.zeros_like(theta)
    kernel._reports(theta, reports, slots, once)
    for _ in range(2):
        kernel._reports(theta, reports, slots, twice)
    np.testing.assert_array_equal(theta, before)
    assert once.any()
    np.testing.assert_array_equal(twice, 2 * once)


# losses


def ladder(seed: int, *, runs: int, sizes: int, benchmarks: int, kept: float) -> LossData:
    """Losses of runs of some sizes, some missing, so that they may fall apart into groups."""
    rng = np.random.default_rng(seed)
    run, benchmark = (grid.ravel() for grid in np.meshgrid(range(runs), range(benchmarks)))
    order = rng.permutation(len(run))[: max(2, int(kept * len(run)))]
    run, benchmark = run[order], benchmark[order]
    seen, run = np.unique(run, return_inverse=True)
    size = rng.integers(sizes, size=runs)[seen][run]
    clusters, cluster = np.unique(size * benchmarks + benchmark, return_inverse=True)
    n = len(run)
    return LossData(
        runs=tuple(map(str, seen)),
        benchmark_idx=benchmark,
        run_idx=run,
        cluster_idx=cluster,
        n_clusters=len(clusters),
        log_params_ratio=1.5 * (size - sizes / 2),
        log_tokens_ratio=rng.normal(size=n),
        log_loss=rng.normal(0.5, 0.3, n),
        known_var=np.where(rng.random(n) < 0.3, rng.uniform(0, 0.01, n), 0.0),
        log_params_centre=20.0,
        log_tokens_centre=25.0,
        max_params=1e9,
        max_tokens=1e11,
        clustered=True,
    )


def losses_by_scipy(theta: Floats, data: LossData, slots: kernel.Slots) -> float:
    """Normal density with the covariance entry by entry."""
    j = data.benchmark_idx

    def of(name: str) -> Floats:
        at = getattr(slots, name)
        return theta[at + j] if at >= 0 else np.zeros(len(j))

    law = chinchilla_loss(
        data.log_params_ratio,
        data.log_tokens_ratio,
        *(of(name) for name in _LAW_PARTS),
    )
    same_run = data.run_idx[:, None] == data.run_idx
    same_cluster = data.cluster_idx[:, None] == data.cluster_idx
    covariance = (
        np.diag(of("loss_noise_sd") ** 2 + data.known_var)
        + same_run * np.outer(of("run_effect_sd"), of("run_effect_sd"))
        + same_cluster * of("size_effect_sd") ** 2
    )
    return float(stats.multivariate_normal(np.log(law), covariance).logpdf(data.log_loss))


_LAW_PARTS = ("loss_floor", "param_coef", "param_exponent", "token_coef", "token_exponent")


@given(
    seed=st.integers(0, 2**16),
    runs=st.integers(1, 7),
    sizes=st.integers(1, 5),
    benchmarks=st.integers(1, 3),
    kept=st.floats(0.2, 1.0),
    log_sds=st.tuples(*[st.floats(-5, 0.5)] * 3),
    absent=st.sampled_from(
        [(), ("loss_floor",), ("run_effect_sd", "size_effect_sd")],
    ),
)
@settings(max_examples=60)
def test_losses_have_the_density_of_scipy(
    seed: int,
    runs: int,
    sizes: int,
    benchmarks: int,
    kept: float,
    log_sds: tuple[float, ...],
    absent: tuple[str, ...],
) -> None:
    data = ladder(seed, runs=runs, sizes=sizes, benchmarks=benchmarks, kept=kept)
    slots = slots_of(benchmarks, *absent)
    rng = np.random.default_rng(seed)
    theta = vector(slots, benchmarks, {}) * np.exp(rng.normal(0, 0.3, max(slots) + benchmarks))
    for name, log_sd in zip(
        ("loss_noise_sd", "run_effect_sd", "size_effect_sd"), log_sds, strict=True
    ):
        if name not in absent:
            at = getattr(slots, name)
            theta[at : at + benchmarks] *= np.exp(log_sd)
    tables = kernel_data._losses(data)
    found = kernel._losses(theta, tables, slots, np.zeros_like(theta))
    assert found == pytest.approx(losses_by_scipy(theta, data, slots), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("absent", [(), ("loss_floor", "run_effect_sd", "size_effect_sd")])
@pytest.mark.parametrize("seed", range(3))
def test_gradient_of_losses(seed: int, absent: tuple[str, ...]) -> None:
    data = ladder(seed, runs=6, sizes=3, benchmarks=2, kept=0.7)
    slots, rng = slots_of(2, *absent), np.random.default_rng(seed)
    theta = vector(slots, 2, {}) * np.exp(rng.normal(0, 0.3, max(slots) + 2))
    tables = kernel_data._losses(data)
    assert_gradient(lambda at, out: kernel._losses(at, tables, slots, out), theta)


def test_groups_of_losses_share_neither_runs_nor_clusters() -> None:
    data = ladder(4, runs=7, sizes=6, benchmarks=2, kept=0.6)
    tables = kernel_data._losses(data)
    groups = len(tables.first) - 1
    assert groups > 1 and tables.first[-1] == len(data.log_loss)
    of_entry = np.repeat(np.arange(groups), np.diff(tables.first))
    order = [int(np.flatnonzero(data.log_loss == value)[0]) for value in tables.log_loss]
    for ends in (data.run_idx[order], data.cluster_idx[order]):
        for value in np.unique(ends):
            assert len(set(of_entry[ends == value])) == 1


@given(n=st.integers(1, 12), seed=st.integers(0, 2**16), log_scale=st.floats(-6, 6))
@settings(max_examples=40)
def test_inverse_and_log_determinant(n: int, seed: int, log_scale: float) -> None:
    loadings = np.random.default_rng(seed).normal(size=(n, n)) * np.exp(log_scale)
    matrix = np.eye(n) + loadings @ loadings.T
    inverse, log_det = kernel._inverse(matrix.copy())
    expected = np.linalg.inv(matrix)
    np.testing.assert_allclose(inverse, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
    assert log_det == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-9, abs=1e-9)


# calibration points and reports


def points_of(
    loss: Floats, n_items: Floats, benchmark: Sequence[int], logits: Floats, counts: Floats
) -> kernel.Points:
    counted = n_items[len(logits) :]
    return kernel.Points(
        loss=loss,
        n_items=n_items,
        benchmark=np.array(benchmark, dtype=np.int64),
        logit_score=logits,
        n_correct=counts,
        log_coefficient=np.asarray(log_binomial_of(counted, counts, special.gammaln)),
        nodes=COUNT_NODES,
        log_weights=COUNT_LOG_WEIGHTS,
    )


def points_by_scipy(theta: Floats, data: kernel.Points, slots: kernel.Slots) -> float:
    j, n = data.benchmark, len(data.logit_score)

    def of(name: str) -> Floats:
        return theta[getattr(slots, name) + j]

    mean = logistic_logit_score(data.loss, *(of(name) for name in _MAP_PARTS))
    sd = of("map_noise_sd")
    spread = np.sqrt(sd[:n] ** 2 + item_variance(mean[:n], data.n_items[:n]))
    normal = stats.norm.logpdf(data.logit_score, mean[:n], spread).sum()
    terms = count_terms(data.n_correct, data.n_items[n:], data.log_coefficient, mean[n:], sd[n:])
    return float(normal + special.logsumexp(terms, axis=-1).sum())


_MAP_PARTS = ("score_floor", "score_ceiling", "score_slope", "loss_midpoint")
_MAP: dict[str, Sequence[float]] = {
    "score_floor": (0.25, 0.01),
    "score_ceiling": (0.95, 0.9),
    "score_slope": (7.0, 3.0),
    "loss_midpoint": (0.7, 1.1),
}


@given(
    losses=st.lists(st.floats(-60, 200), min_size=4, max_size=4),
    sds=st.tuples(st.floats(1e-4, 3.0), st.floats(1e-4, 3.0)),
    hits=st.integers(0, 164),
)
@settings(max_examples=60)
def test_calibration_points_have_the_density_of_scipy(
    losses: list[float], sds: tuple[float, float], hits: int
) -> None:
    """Losses far off both ends of the map, and all hits or none, included."""
    slots = slots_of(2)
    theta = vector(slots, 2, {**_MAP, "map_noise_sd": sds})
    data = points_of(
        np.array(losses),
        np.array([500.0, 14042.0, 164.0, 50.0]),
        [0, 1, 1, 0],
        np.array([0.3, -2.0]),
        np.array([float(hits), 50.0]),
    )
    found = kernel._points(theta, data, slots, np.zeros_like(theta))
    assert found == pytest.approx(points_by_scipy(theta, data, slots), rel=1e-11, abs=1e-9)


@pytest.mark.parametrize("losses", [(0.6, 1.3, 0.9, 1.5), (0.1, 2.5, 0.7, 1.1)])
def test_gradient_of_calibration_points(losses: tuple[float, ...]) -> None:
    """Also where the loss is the midpoint itself, the seam of the map's two forms."""
    slots = slots_of(2)
    theta = vector(slots, 2, {**_MAP, "map_noise_sd": (0.1, 0.4)})
    data = points_of(
        np.array(losses),
        np.array([500.0, 14042.0, 164.0, 50.0]),
        [0, 1, 0, 1],
        np.array([0.3, -2.0]),
        np.array([3.0, 50.0]),
    )
    assert_gradient(lambda at, out: kernel._points(at, data, slots, out), theta)


@given(x=st.floats(-1e3, 1e3), floor=st.floats(1e-6, 0.5), rise=st.floats(1e-6, 0.499))
@settings(max_examples=60)
def test_odds_of_the_map_are_those_of_its_logit(x: float, floor: float, rise: float) -> None:
    ceiling = floor + rise
    odds, d_x, d_floor, d_ceiling = kernel._map_at(np.exp(-abs(x)), x > 0, floor, ceiling)
    # slope 1, midpoint 0
    expected = logistic_logit_score(-x, floor, ceiling, 1.0, 0.0)
    assert np.log(odds) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert d_x >= 0 and d_floor >= 0 and d_ceiling >= 0
    share = odds / (1 + odds)
    curve = special.expit(x)
    per_score = 1 / (share * (1 - share))
    assert d_floor == pytest.approx((1 - curve) * per_score, rel=1e-6, abs=1e-12)
    assert d_ceiling == pytest.approx(curve * per_score, rel=1e-6, abs=1e-12)
    slope = (ceiling - floor) * curve * special.expit(-x)
    assert d_x == pytest.approx(slope * per_score, rel=1e-6, abs=1e-12)


@given(sds=st.tuples(st.floats(1e-3, 10), st.floats(1e-3, 10)), squares=st.floats(1e-4, 1e3))
@settings(max_examples=40)
def test_sums_of_squares_are_chi_square(sds: tuple[float, float], squares: float) -> None:
    degrees, sums = np.array([1.0, 13.0]), np.array([squares, 2.0])
    constant = ((degrees / 2 - 1) * np.log(sums) - degrees / 2 * np.log(2)).sum()
    constant -= special.gammaln(degrees / 2).sum()
    data = kernel.Reports(np.array([1, 0]), sums, degrees, constant)
    slots = slots_of(2)
    theta = vector(slots, 2, {"protocol_sd": sds})
    found = kernel._reports(theta, data, slots, np.zeros_like(theta))
    variances = np.square(sds)[[1, 0]]
    expected = (stats.chi2.logpdf(sums / variances, degrees) - np.log(variances)).sum()
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert_gradient(lambda at, out: kernel._reports(at, data, slots, out), theta, rel=1e-5)


def test_tables_of_reports_carry_their_constant() -> None:
    _, data = small({})
    reports = data.reports
    assert reports is not None
    slots = slots_of(5)
    theta = vector(slots, 5, {"protocol_sd": np.linspace(0.1, 0.5, 5)})
    variances = theta[slots.protocol_sd + reports.benchmark_idx] ** 2
    scaled = stats.chi2.logpdf(reports.sum_of_squares / variances, reports.degrees)
    found = kernel._reports(theta, kernel_data._reports(reports), slots, np.zeros_like(theta))
    assert found == pytest.approx((scaled - np.log(variances)).sum(), rel=1e-12)


# priors


def priors_of(*rows: tuple[int, float, float, int, int, float]) -> kernel.Priors:
    """A row per entry: distribution, first, second, their places, unit."""
    dist, first, second, first_at, second_at, unit = zip(*rows, strict=True)
    return kernel.Priors(
        np.array(dist),
        np.array(first, dtype=float),
        np.array(second, dtype=float),
        np.array(first_at),
        np.array(second_at),
        np.array(unit, dtype=float),
    )


def test_priors_have_the_densities_of_scipy() -> None:
    priors = priors_of(
        (kernel.NORMAL, 0.3, 2.0, -1, -1, 1.0),
        (kernel.LOG_NORMAL, -1.0, 0.5, -1, -1, 1.0),
        (kernel.HALF, 0.0, 0.8, -1, -1, 1.0),
        (kernel.BETA, 3.0, 1.5, -1, -1, 1.0),
        (kernel.GAMMA, 2.5, 4.0, -1, -1, 1.0),
        (kernel.NO_PRIOR, 0.0, 1.0, -1, -1, 1.0),
        (kernel.NORMAL, 0.0, 1.0, 0, 1, 3.0),  # 3 Normal(theta_0, theta_1)
        (kernel.LOG_NORMAL, 0.0, 1.0, 0, 1, 3.0),  # 3 exp Normal(theta_0, theta_1)
        (kernel.LOG_NORMAL, 0.7 + np.log(3), 1.0, -1, 1, 3.0),
        (kernel.NORMAL, 0.4, 2.0, 0, -1, 1.0),
        (kernel.NORMAL, 0.0, 1.0, -1, 2, 1.0),
    )
    theta = np.array([0.6, 0.4, 0.9, 0.7, 0.5, 9.9, 1.3, 2.1, 1.7, -0.8, 0.35])
    expected = [
        stats.norm.logpdf(0.6, 0.3, 2.0),
        stats.lognorm.logpdf(0.4, 0.5, scale=np.exp(-1.0)),
        stats.halfnorm.logpdf(0.9, scale=0.8),
        stats.beta.logpdf(0.7, 3.0, 1.5),
        stats.gamma.logpdf(0.5, 2.5, scale=1 / 4.0),
        0.0,
        stats.norm.logpdf(1.3, 3 * 0.6, 3 * 0.4),
        stats.lognorm.logpdf(2.1, 0.4, scale=3 * np.exp(0.6)),
        stats.lognorm.logpdf(1.7, 0.4, scale=3 * np.exp(0.7)),
        stats.norm.logpdf(-0.8, 0.6, 2.0),
        stats.norm.logpdf(0.35, 0.0, 0.9),
    ]
    found = kernel._log_prior(theta, priors, np.zeros_like(theta))
    assert found == pytest.approx(sum(expected), rel=1e-13)
    assert_gradient(lambda at, out: kernel._log_prior(at, priors, out), theta)
    for k, one in enumerate(expected):  # and each of them alone
        alone = priors._replace(
            dist=np.where(np.arange(len(theta)) == k, priors.dist, kernel.NO_PRIOR)
        )
        value = kernel._log_prior(theta, alone, np.zeros_like(theta))
        assert value == pytest.approx(one, rel=1e-12), k


# ---------------------------------------------------------------- scores


@given(z=st.one_of(st.floats(-5, 60), st.floats(15, 25), st.floats(60, 1e6)))
@settings(max_examples=100)
def test_normal_tail(z: float) -> None:
    value, slope = kernel._normal_tail(z)
    expected = special.log_ndtr(-z)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-15)
    hazard = np.exp(stats.norm.logpdf(z) - expected) if z < 1e3 else z + 1 / z
    assert slope == pytest.approx(-hazard, rel=1e-7)


def test_a_tail_that_is_all_counts_for_all() -> None:
    assert kernel._normal_tail(-1e6)[0] == pytest.approx(0.0, abs=3e-7)


GRID = make_grid(14.0, 32.0, 0.25)


class Made:
    """Arguments of `score_sum`: two benchmarks, three kinds of cells, LLMs of any scores."""

    def __init__(
        self,
        rows: Sequence[Sequence[tuple[float, int, int]]],
        location: Sequence[float],
        sd: Sequence[float],
        least_var: float = 0.1,
    ) -> None:
        nodes = GRID.nodes

        def curve(midpoint: float) -> Floats:
            return -1 + 4 * special.expit(0.6 * (nodes - midpoint))

        self.mean = np.stack([curve(22.0), curve(23.0)])
        kinds = least_var * np.array([1.0, 2.0, 0.5])
        self.var = kinds[:, None] + 0.002 * (2 + np.exp(self.mean[[0, 1, 1]]))
        self.largest = -0.5 * np.log(kinds)
        self.location, self.sd = np.array(location, dtype=float), np.array(sd, dtype=float)
        flat = [cell for row in rows for cell in row]
        self.logits = np.array([cell[0] for cell in flat], dtype=float)
        self.row = np.array([cell[1] for cell in flat], dtype=np.int64)
        self.kind = np.array([cell[2] for cell in flat], dtype=np.int64)
        self.first = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)

    def found(self, largest: Floats | None = None) -> tuple[float, Floats, Floats, Floats, Floats]:
        return kernel.score_sum(
            self.mean,
            self.var,
            self.largest if largest is None else largest,
            self.location,
            self.sd,
            GRID.nodes,
            np.concatenate([[0.0], GRID.log_widths, [0.0]]),
            self.logits,
            self.row,
            self.kind,
            self.first,
            *self.places,
        )

    @property
    def places(self) -> tuple[Ints, Ints]:
        """One place for every LLM."""
        return np.arange(len(self.first)), np.arange(len(self.location))

    def log_weight(self, location: Floats, sd: Floats) -> Floats:
        x, wide = location[:, None], sd[:, None]
        inner = normal_log_density(GRID.nodes[1:-1] - x, wide, 1.0, NUMPY)
        below, above = log_tails(
            "symmetric", x - GRID.nodes[0], GRID.nodes[-1] - x, wide, 1.0, NUMPY
        )
        return np.column_stack([below, inner + GRID.log_widths, above])

    def expected(self, **changes: Floats) -> Floats:
        at = {
            name: changes.get(name, getattr(self, name))
            for name in ("mean", "var", "location", "sd")
        }
        cells = Cells(self.logits, self.row, self.kind, self.first)
        weights = self.log_weight(at["location"], at["sd"])
        return log_marginal(at["mean"], at["var"], weights, cells)


def extremes(above: float, location: float, log_sd: float, log_var: float, seed: int) -> Made:
    """Beyond every ceiling or floor, ordinary, and without any score."""
    rng = np.random.default_rng(seed)
    many = [(float(rng.normal()), int(rng.integers(2)), int(rng.integers(3))) for _ in range(6)]
    rows = [[(above, 0, 0)], [(above, 0, 0), (-above, 1, 2)], many, [], [(0.2, 1, 1)]]
    places = [location, 22.0, 20.0, location, 28.0]
    sd = np.exp(log_sd) * np.array([1.0, 1.0, 1.0, 2.0, 0.5])
    return Made(rows, places, sd.tolist(), float(np.exp(log_var)))


@given(
    above=st.floats(-30, 30),
    location=st.floats(10, 36),
    log_sd=st.floats(-6, 4),
    log_var=st.floats(-12, 9),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150)
def test_windows_of_the_grid_lose_nothing(
    above: float, location: float, log_sd: float, log_var: float, seed: int
) -> None:
    """Against the plain sum over all nodes; and the same again where no bound allows a window."""
    made = extremes(above, location, log_sd, log_var, seed)
    expected = made.expected()
    assert np.isfinite(expected).all()
    found = made.found()
    assert found[0] == pytest.approx(expected.sum(), rel=1e-9, abs=1e-9)
    everywhere = made.found(np.full(3, np.inf))
    assert everywhere[0] == pytest.approx(found[0], rel=1e-10, abs=1e-10)
    for gradient, same in zip(found[1:], everywhere[1:], strict=True):
        assert np.isfinite(gradient).all()
        scale = max(1.0, np.abs(same).max())
        np.testing.assert_allclose(gradient, same, rtol=1e-7, atol=1e-8 * scale)


@pytest.mark.parametrize("log_sd", [-1.0, 0.0, 1.7])
@pytest.mark.parametrize("above", [0.4, 9.0, -5.0])
def test_gradient_of_the_sum_of_scores(log_sd: float, above: float) -> None:
    """By differences of the plain sum, in random directions of each argument."""
    made = extremes(above, 24.0, log_sd, -2.3, 5)
    rng = np.random.default_rng(3)
    for name, gradient in zip(("mean", "var", "location", "sd"), made.found()[1:], strict=True):
        at = getattr(made, name)
        for _ in range(4):
            move = rng.normal(size=at.shape) * (at if name in ("var", "sd") else 1.0)
            step = 1e-5
            ends = [made.expected(**{name: at + k * step * move}).sum() for k in (-2, -1, 1, 2)]
            numeric = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
            slope = float((gradient * move).sum())
            assert slope == pytest.approx(numeric, rel=1e-5, abs=1e-5), name


class Mixed(Made):
    """The same LLMs in three parts of a mixture: two parts agree on some, all agree on others."""

    PLACE = np.array([[0, 2, 4, 5, 6], [1, 2, 4, 5, 7], [1, 3, 4, 5, 8]])

    def __init__(self, above: float, location: float, log_sd: float, log_var: float) -> None:
        one = extremes(above, location, log_sd, log_var, 3)
        self.__dict__.update(one.__dict__)
        moved = np.array([0.0, 0.7, 0.0, -1.1, 0.0, 0.0, 0.0, 5.0, -0.4])
        self.llm = np.array([0, 0, 1, 1, 2, 3, 4, 4, 4])
        self.location, self.sd = one.location[self.llm] + moved, one.sd[self.llm]

    @property
    def places(self) -> tuple[Ints, Ints]:
        return np.searchsorted(self.llm, np.arange(6)), self.PLACE.ravel()

    def expected(self, **changes: Floats) -> Floats:
        """Log of the mean over parts; what an LLM has at a place, in every part alike."""
        at = {name: changes.get(name, getattr(self, name)) for name in ("location", "sd")}
        others = {name: changes[name] for name in ("mean", "var") if name in changes}
        parts = [
            super(Mixed, self)
            .expected(location=at["location"][place], sd=at["sd"][place], **others)
            .sum()
            for place in self.PLACE
        ]
        return np.array([special.logsumexp(parts) - np.log(len(parts))])


@given(
    above=st.floats(-30, 30),
    location=st.floats(10, 36),
    log_sd=st.floats(-6, 4),
    log_var=st.floats(-12, 9),
)
@settings(max_examples=100)
def test_a_mixture_is_the_mean_of_its_parts(
    above: float, location: float, log_sd: float, log_var: float
) -> None:
    made = Mixed(above, location, log_sd, log_var)
    expected = made.expected()[0]
    assert np.isfinite(expected)
    found = made.found()
    assert found[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    everywhere = made.found(np.full(3, np.inf))
    assert everywhere[0] == pytest.approx(found[0], rel=1e-10, abs=1e-10)
    for gradient, same in zip(found[1:], everywhere[1:], strict=True):
        assert np.isfinite(gradient).all()
        scale = max(1.0, np.abs(same).max())
        np.testing.assert_allclose(gradient, same, rtol=1e-7, atol=1e-8 * scale)


@pytest.mark.parametrize("log_sd", [-1.0, 0.0, 1.7])
@pytest.mark.parametrize("above", [0.4, 9.0, -5.0])
def test_gradient_of_a_mixture_of_sums(log_sd: float, above: float) -> None:
    """Parts weigh by their posterior probabilities, none of which is 0 or 1 here."""
    made = Mixed(above, 24.0, log_sd, -2.3)
    rng = np.random.default_rng(3)
    for name, gradient in zip(("mean", "var", "location", "sd"), made.found()[1:], strict=True):
        at = getattr(made, name)
        for _ in range(4):
            move = rng.normal(size=at.shape) * (at if name in ("var", "sd") else 1.0)
            step = 1e-5
            ends = [made.expected(**{name: at + k * step * move})[0] for k in (-2, -1, 1, 2)]
            numeric = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
            slope = float((gradient * move).sum())
            assert slope == pytest.approx(numeric, rel=1e-5, abs=1e-5), name


def test_an_llm_far_above_the_ceiling_needs_nodes_beyond_its_window() -> None:
    """Its sum would be another if only nodes within 8 sds of its location were looked at."""
    made = Made([[(9.0, 0, 0), (7.0, 1, 1)]], [18.0], [0.5])
    near = np.abs(GRID.nodes - 18.0) < 8 * 0.5
    weights = made.log_weight(made.location, made.sd)
    cells = Cells(made.logits, made.row, made.kind, made.first)
    only = log_marginal(made.mean, made.var, np.where(near, weights, -np.inf), cells)[0]
    assert made.expected()[0] > only + 1e-3
    assert made.found()[0] == pytest.approx(made.expected()[0], rel=1e-10)


class Scored:
    """Scores of `small_observations` with everything that the term may have."""

    def __init__(self, logits: Floats | None = None, spacing: float = 0.5) -> None:
        self.spec = load_spec("joint").with_options(quadrature_spacing=spacing)
        data = small_observations(self.spec, other_protocol=(1, 2))
        if logits is not None:
            scores = replace(data.scores, logit_score=logits)  # type: ignore[type-var]
            data = replace(data, scores=scores)
        self.data, self.width = data.joint, max(5, len(data.llms.families))
        self.slots = slots_of(self.width)
        self.trend_at = np.array([max(self.slots) + self.width, max(self.slots) + self.width + 1])
        self.tables = kernel_data._scores(self.spec, self.data, self.trend_at)

    def theta(self, **values: Sequence[float] | Floats) -> Floats:
        centre = self.data.benchmarks.loss_centre
        made: dict[str, Sequence[float] | Floats] = {
            "loss_floor": 0.3 * centre,
            "param_coef": 0.33 * centre,
            "token_coef": 0.33 * centre,
            "param_exponent": np.linspace(0.25, 0.4, 5),
            "token_exponent": np.linspace(0.4, 0.25, 5),
            "score_floor": self.data.benchmarks.chance + 0.02,
            "score_ceiling": np.full(5, 0.95),
            "score_slope": 8 / centre,
            "loss_midpoint": 0.6 * centre,
            "discrepancy_sd": np.linspace(0.2, 0.4, 5),
            "protocol_sd": np.linspace(0.3, 0.1, 5),
            "protocol_offset": np.linspace(-0.3, 0.4, 5),
            "family_effect": np.linspace(-1, 1, len(self.data.llms.families)),
            "residual_sd": [1.0],
            "residual_log_sd_slope": [0.3],
        }
        whole = vector(self.slots, self.width, made | values)
        return np.concatenate([whole, [0.1, 1.5]])

    def value(self, theta: Floats, gradient: Floats) -> float:
        return float(kernel._scores(theta, self.tables, self.slots, gradient))

    def by_numpy(self, theta: Floats) -> float:
        """The plain formulas of `laws`, `items`, `residuals` and `kernel`."""
        data, scores, llms = self.data, self.data.scores, self.data.llms
        grid = grid_over(llms.log_params, self.spec.options.quadrature_spacing)

        def of(name: str, width: int = 5) -> Floats:
            at = getattr(self.slots, name)
            return theta[at : at + width, None]

        log_tokens = np.log(self.spec.options.reference_tokens) - data.losses.log_tokens_centre
        law = (of(name) for name in _LAW_PARTS)
        with np.errstate(over="ignore"):
            loss = chinchilla_loss(grid.nodes - data.losses.log_params_centre, log_tokens, *law)
            mean = logistic_logit_score(loss, *(of(name) for name in _MAP_PARTS))
        mean = np.concatenate([mean, mean + of("protocol_offset")])
        kinds, kind = scores.kinds()
        j = kinds[:, 0].astype(int)
        rows = j + 5 * (kinds[:, 3] > 0)
        beyond = of("discrepancy_sd")[j] ** 2 + of("protocol_sd")[j] ** 2 / kinds[:, 2, None]
        var = beyond + item_variance(mean[rows], kinds[:, 1, None])
        trend = theta[self.trend_at[0]] + theta[self.trend_at[1]] * llms.years
        effects = of("family_effect", self.width)[llms.family_idx, 0]
        location = (llms.log_params + trend + effects)[:, None]
        sd = of("residual_sd")[0] * np.exp(of("residual_log_sd_slope")[0] * llms.years)[:, None]
        inner = normal_log_density(grid.nodes[1:-1] - location, sd, 1.0, NUMPY)
        below, above = log_tails(
            "symmetric", location - grid.nodes[0], grid.nodes[-1] - location, sd, 1.0, NUMPY
        )
        weights = np.column_stack([below, inner + grid.log_widths, above])
        cells = Cells(scores.logit_score, scores.rows(5), kind, scores.first)
        return float(log_marginal(mean, var, weights, cells).sum())


@given(
    log_sd=st.floats(-4, 3),
    slope=st.floats(-1, 1),
    growth=st.floats(-6, 8),
    steep=st.floats(-2, 2),
    exponent=st.floats(-1.5, 2.5),
    noise=st.floats(-4, 2),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60)
def test_scores_have_the_density_of_the_plain_formulas(
    log_sd: float,
    slope: float,
    growth: float,
    steep: float,
    exponent: float,
    noise: float,
    seed: int,
) -> None:
    """With logits of up to 20, which stand for scores of 0 and 1."""
    scored = scored_by(seed % 8)
    base = scored.theta()
    theta = scored.theta(
        residual_sd=[np.exp(log_sd)],
        residual_log_sd_slope=[slope],
        score_slope=_of(scored, base, "score_slope") * np.exp(steep),
        param_exponent=_of(scored, base, "param_exponent") * np.exp(exponent),
        discrepancy_sd=_of(scored, base, "discrepancy_sd") * np.exp(noise),
        protocol_sd=_of(scored, base, "protocol_sd") * np.exp(noise),
    )
    theta[scored.trend_at[1]] = growth
    gradient = np.zeros_like(theta)
    found, expected = scored.value(theta, gradient), scored.by_numpy(theta)
    assert found == pytest.approx(expected, rel=1e-9)
    assert np.isfinite(gradient).all()


@cache
def scored_by(seed: int) -> Scored:
    """Scores drawn anew, half of them far beyond ceiling or floor."""
    rng = np.random.default_rng(seed)
    n = len(Scored().data.scores.logit_score)
    return Scored(rng.normal(size=n) * rng.choice([1.0, 10.0], n))


def _of(scored: Scored, theta: Floats, name: str) -> Floats:
    at = getattr(scored.slots, name)
    return theta[at : at + 5]


@pytest.mark.parametrize("residual_sd", [0.15, 1.0, 6.0])
def test_gradient_of_scores(residual_sd: float) -> None:
    scored = Scored()
    theta = scored.theta(residual_sd=[residual_sd])
    assert_gradient(scored.value, theta, rel=1e-5)


@pytest.mark.parametrize("seed", range(2))
def test_gradient_of_scores_beyond_ceiling_and_floor(seed: int) -> None:
    scored = scored_by(seed)
    assert_gradient(scored.value, scored.theta(residual_sd=[3.0]), rel=1e-5)


def test_scores_need_not_have_every_variable() -> None:
    """Without floor, protocols, families and a trend in the sd: as with values of nothing."""
    scored = Scored()
    data = replace(
        scored.data,
        scores=replace(
            scored.data.scores, other_protocol=np.zeros_like(scored.data.scores.other_protocol)
        ),
    )
    nothing = ("loss_floor", "protocol_sd", "family_effect", "residual_log_sd_slope")
    theta = scored.theta(**{name: np.zeros(scored.width) for name in nothing})
    tables = kernel_data._scores(scored.spec, data, scored.trend_at)
    expected = kernel._scores(theta, tables, scored.slots, np.zeros_like(theta))
    absent = dict.fromkeys((*nothing, "protocol_offset"), -1)
    slots = scored.slots._replace(**absent)
    gradient = np.zeros_like(theta)
    found = kernel._scores(theta, tables, slots, gradient)
    assert found == pytest.approx(expected, rel=1e-13)
    for name in absent:
        at = getattr(scored.slots, name)
        assert not gradient[at : at + scored.width].any(), name


# ---------------------------------------------------------------- words, and calls from C


def leaves(value: object) -> list[np.ndarray]:
    """Arrays and numbers of nested tuples."""
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in leaves(part)]
    return [np.asarray(value)]


@pytest.mark.parametrize("case", ["offsets", "fewest terms"])
def test_what_is_packed_is_read_again(case: str) -> None:
    spec, data = ESSENTIAL[case]()
    where = coordinates_of(spec, data)
    n, rng = where.size, np.random.default_rng(0)
    dense = np.flatnonzero(rng.random(n) < 0.7)
    matrix = rng.normal(size=(n, len(dense)))
    whitening = linear(rng.normal(size=n), rng.normal(size=n), dense, matrix)
    tables = tables_of(spec, data, where, None)
    theta = rng.normal(size=where.n_theta)
    given = (where.maps, where.priors, tables, where.free, theta, whitening.table)
    found = leaves(kernel._read(kernel.pack(*given)))
    expected = leaves(given)
    assert len(found) == len(expected)
    for k, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.shape == other.shape, k
        assert one.dtype.kind == ("f" if other.dtype.kind == "f" else "i"), k
        np.testing.assert_array_equal(one, other, err_msg=str(k))


def called_from_c() -> Callable[..., int]:
    number, pointer = ctypes.c_uint64, ctypes.POINTER(ctypes.c_double)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, number, pointer, pointer, pointer, ctypes.c_void_p)
    return prototype(kernel.native()[0].address)


def pointer_to(array: Floats) -> object:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def test_a_call_from_c_is_the_same_to_the_last_bit() -> None:
    spec, data = ESSENTIAL["offsets"]()
    target = target_of(spec, data)
    n, rng = target.coordinates.size, np.random.default_rng(1)
    assert target.packed is not None
    whitening = find_whitening(target)
    words = target.packed(whitening, target.nothing_given)
    function, density = called_from_c(), target.whitened(whitening, target.nothing_given)
    for _ in range(5):
        zeta, gradient, value = rng.normal(size=n), np.zeros(n), np.zeros(1)
        code = function(
            n, pointer_to(zeta), pointer_to(gradient), pointer_to(value), words.ctypes.data
        )
        expected, slope = density(zeta)
        assert code == 0
        assert value[0] == expected and np.isfinite(expected)
        np.testing.assert_array_equal(gradient, slope)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_what_is_not_finite_has_a_code(bad: float) -> None:
    """nutpie takes it for a divergence; a number would be sampled from."""
    spec, data = ESSENTIAL["fewest terms"]()
    target = target_of(spec, data)
    n = target.coordinates.size
    assert target.packed is not None
    words = target.packed(unwhitened(n), target.nothing_given)
    zeta, gradient, value = np.full(n, bad), np.zeros(n), np.zeros(1)
    code = called_from_c()(
        n, pointer_to(zeta), pointer_to(gradient), pointer_to(value), words.ctypes.data
    )
    assert code != 0
    assert not (np.isfinite(value[0]) and np.isfinite(gradient).all())


def test_a_draw_is_handed_over_as_it_is() -> None:
    pointer = ctypes.POINTER(ctypes.c_double)
    prototype = ctypes.CFUNCTYPE(
        ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64, pointer, pointer, ctypes.c_void_p
    )
    zeta, out = np.linspace(-1, 1, 7), np.zeros(8)
    assert prototype(kernel.native()[1].address)(7, 7, pointer_to(zeta), pointer_to(out), None) == 0
    np.testing.assert_array_equal(out, [*zeta, 0.0])
