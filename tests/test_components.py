"""Terms of the model one by one, against SciPy, finite differences and each other's backends."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import get_mode
from pytensor.link.numba.dispatch.basic import numba_funcify_and_cache_key
from scipy import integrate, stats

from bayesdense import kernel
from bayesdense.components import marginal
from bayesdense.components.density import Residual
from bayesdense.components.latent import add_deviating
from bayesdense.components.loss_law import clustered_normal_draw, clustered_normal_logp
from bayesdense.components.marginal import MarginalSum, _draw_scores
from bayesdense.components.priors import _scaled, random_variable
from bayesdense.components.score_noise import ScoreNoise, observe_reports
from bayesdense.observations import ReportData
from bayesdense.priors import Prior, prior_from_dict

PLAIN = get_mode("FAST_COMPILE").excluding("fusion", "elemwise_fusion")

# ---------------------------------------------------------------- clustered losses


class Ladder:
    """Runs of four sizes on three benchmarks, some cells missing."""

    def __init__(self, seed: int = 3, *, missing: int = 5) -> None:
        rng = np.random.default_rng(seed)
        run, benchmark = (grid.ravel() for grid in np.meshgrid(np.arange(11), np.arange(3)))
        size = np.minimum(run // 3, 3)  # the last size has two runs
        kept = np.sort(rng.permutation(33)[: 33 - missing])
        self.run, self.benchmark, self.size = run[kept], benchmark[kept], size[kept]
        _, self.cluster = np.unique(self.size * 3 + self.benchmark, return_inverse=True)
        n, self.n_clusters = len(kept), self.cluster.max() + 1
        self.mean = rng.normal(size=n)
        self.value = self.mean + 0.3 * rng.normal(size=n)
        self.var = rng.uniform(0.01, 0.1, n)
        self.run_sd = rng.uniform(0.05, 0.3, 3)[self.benchmark]
        self.cluster_var = rng.uniform(0.01, 0.1, self.n_clusters)

    @property
    def covariance(self) -> np.ndarray:
        """What the docstring says, entry by entry."""
        same_run = self.run[:, None] == self.run
        same_cluster = self.cluster[:, None] == self.cluster
        return (
            np.diag(self.var)
            + same_run * np.outer(self.run_sd, self.run_sd)
            + same_cluster * self.cluster_var[self.cluster]
        )

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        floats = (self.value, self.mean, self.var, self.run_sd, self.cluster_var)
        return (*floats, self.run, self.cluster)


def log_density_function(*, gradient: bool = False):
    names = ("value", "mean", "var", "run_sd", "cluster_var")
    floats = [pt.dvector(name) for name in names]
    indices = [pt.lvector(name) for name in ("run_idx", "cluster_idx")]
    out = clustered_normal_logp(*floats, *indices)
    outputs = pt.grad(out, floats) if gradient else out
    return pytensor.function([*floats, *indices], outputs, mode=PLAIN)


LOG_DENSITY = log_density_function()


@pytest.mark.parametrize("missing", [0, 5, 17])
@pytest.mark.parametrize("without", ["", "run_sd", "cluster_var", "both"])
def test_clustered_losses_have_the_density_of_scipy(missing: int, without: str) -> None:
    ladder = Ladder(missing=missing)
    for name in ("run_sd", "cluster_var"):
        if without in (name, "both"):
            setattr(ladder, name, np.zeros_like(getattr(ladder, name)))
    expected = stats.multivariate_normal.logpdf(ladder.value, ladder.mean, ladder.covariance)
    assert LOG_DENSITY(*ladder.arguments) == pytest.approx(expected, abs=1e-9)


def test_clustered_losses_of_very_unequal_scales() -> None:
    ladder = Ladder()
    ladder.var[:] = 1e-6
    ladder.run_sd[:4], ladder.cluster_var[:3] = 10.0, 100.0
    ladder.value = ladder.mean + 1e-3 * (ladder.value - ladder.mean)
    expected = stats.multivariate_normal.logpdf(
        ladder.value, ladder.mean, ladder.covariance, allow_singular=True
    )
    assert LOG_DENSITY(*ladder.arguments) == pytest.approx(expected, rel=1e-6)


def test_clusters_in_another_order_are_the_same() -> None:
    ladder = Ladder()
    before = LOG_DENSITY(*ladder.arguments)
    turn = np.random.default_rng(1).permutation(ladder.n_clusters)
    ladder.cluster_var = ladder.cluster_var[np.argsort(turn)]
    ladder.cluster = turn[ladder.cluster]
    assert LOG_DENSITY(*ladder.arguments) == pytest.approx(before, abs=1e-10)


@pytest.mark.parametrize("zero", [False, True])
def test_gradient_of_clustered_losses(zero: bool) -> None:
    ladder = Ladder()
    if zero:
        ladder.run_sd, ladder.cluster_var = 0 * ladder.run_sd, 0 * ladder.cluster_var
    gradients = log_density_function(gradient=True)(*ladder.arguments)
    for place, found in enumerate(gradients):
        assert np.isfinite(found).all()
        if zero and place > 2:
            continue  # at the edge of the domain there is no difference on both sides
        for entry in (0, len(found) // 2):
            step = 1e-6
            ends = []
            for sign in (1, -1):
                moved = [array.copy() for array in ladder.arguments]
                moved[place][entry] += sign * step
                ends.append(LOG_DENSITY(*moved))
            expected = (ends[0] - ends[1]) / (2 * step)
            assert found[entry] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_draws_of_clustered_losses_have_the_covariance_of_the_density() -> None:
    ladder = Ladder(missing=15)
    _, mean, *rest = ladder.arguments
    n = 20_000
    draws = clustered_normal_draw(mean, *rest, rng=np.random.default_rng(5), size=(n,))
    assert draws.shape == (n, len(mean))
    scale = np.sqrt(np.diag(ladder.covariance))
    error = (np.cov(draws.T) - ladder.covariance) / np.outer(scale, scale)
    assert np.abs(error).max() < 5 / np.sqrt(n)
    assert np.abs((draws.mean(axis=0) - mean) / scale).max() < 5 / np.sqrt(n)
    one = clustered_normal_draw(mean, *rest, rng=np.random.default_rng(5))
    assert one.shape == mean.shape


# ---------------------------------------------------------------- priors

UNIT = np.array([0.5, 2.0, 7.0])
FAMILIES = {
    "Normal": ({"mu": 0.4, "sigma": 0.7}, stats.norm(0.4, 0.7)),
    "LogNormal": ({"mu": -1.1, "sigma": 0.7}, stats.lognorm(0.7, scale=np.exp(-1.1))),
    "HalfNormal": ({"sigma": 0.4}, stats.halfnorm(scale=0.4)),
    "Gamma": ({"alpha": 2.0, "beta": 3.0}, stats.gamma(2, scale=1 / 3)),
}


@pytest.mark.parametrize("dist", FAMILIES)
def test_a_prior_in_units_is_the_prior_of_the_variable_over_its_unit(dist: str) -> None:
    kwargs, standard = FAMILIES[dist]
    raw = {"dist": dist, "kwargs": kwargs, "dims": "benchmark", "scale": "loss_centre"}
    with pm.Model(coords={"benchmark": ["a", "b", "c"]}):
        variable = random_variable("x", prior_from_dict("x", raw), {"loss_centre": UNIT})
    value = np.array([0.3, 1.1, 4.0])
    found = pm.logp(variable, value).eval(mode=PLAIN)
    np.testing.assert_allclose(found, standard.logpdf(value / UNIT) - np.log(UNIT))


def test_scaling_leaves_other_parameters_alone() -> None:
    scaled = _scaled("Gamma", {"alpha": 2.0, "beta": 3.0}, UNIT)
    assert scaled["alpha"] == 2.0
    scaled = _scaled("LogNormal", {"mu": 1.0, "sigma": 0.5}, UNIT)
    assert scaled["sigma"] == 0.5


def test_a_prior_within_a_prior_becomes_a_variable() -> None:
    raw = {
        "dist": "LogNormal",
        "dims": "benchmark",
        "kwargs": {
            "mu": {"dist": "Normal", "kwargs": {"mu": -1, "sigma": 0.3}},
            "sigma": {"dist": "LogNormal", "kwargs": {"mu": -1.6, "sigma": 0.35}},
        },
    }
    prior = prior_from_dict("x", raw)
    with pm.Model(coords={"benchmark": ["a", "b", "c"]}) as model:
        random_variable("x", prior, {})
    assert [rv.name for rv in model.free_RVs] == ["x_mean", "x_sd", "x"]
    assert model.named_vars_to_dims == {"x": ("benchmark",)}


def test_a_beta_takes_its_parameters_from_the_data() -> None:
    prior = Prior("Beta", {"alpha": "floor_guess_alpha", "beta": "floor_guess_beta"}, "benchmark")
    alpha, beta = np.array([5.0, 10.0, 1.5]), np.array([45.0, 40.0, 48.5])
    scales = {"floor_guess_alpha": alpha, "floor_guess_beta": beta}
    with pm.Model(coords={"benchmark": ["a", "b", "c"]}):
        variable = random_variable("x", prior, scales)
    value = np.array([0.1, 0.2, 0.05])
    found = pm.logp(variable, value).eval(mode=PLAIN)
    np.testing.assert_allclose(found, stats.beta.logpdf(value, alpha, beta))


# ---------------------------------------------------------------- replicated reports


def test_sums_of_squares_are_chi_square() -> None:
    sd, degrees, squares = np.array([0.1, 0.3]), np.array([7.0, 1.0]), np.array([0.05, 0.2])
    noise = ScoreNoise(pt.zeros(3), pt.as_tensor([0.1, 9.0, 0.3]), pt.zeros(3))
    data = ReportData(np.array([0, 2]), squares, degrees)
    with pm.Model(coords={"report_benchmark": ["a", "c"]}) as model:
        observe_reports(noise, data)
    found = model.compile_logp(mode=PLAIN)({})
    expected = stats.chi2.logpdf(squares / sd**2, degrees) - np.log(sd**2)
    assert found == pytest.approx(expected.sum())


def test_noise_of_a_cell_shrinks_with_its_reports() -> None:
    noise = ScoreNoise(pt.as_tensor([0.3, 0.4]), pt.as_tensor([0.2, 0.6]), pt.zeros(2))
    found = noise.variance(np.array([0, 1, 1]), np.array([1.0, 1.0, 4.0])).eval(mode=PLAIN)
    np.testing.assert_allclose(found, [0.13, 0.52, 0.25])


# ---------------------------------------------------------------- residuals as variables

KINDS = {
    "symmetric": (None, lambda x: stats.norm.logpdf(x, 0, 0.7)),
    "student_t": (3.0, lambda x: stats.t.logpdf(x, 3, 0, 0.7)),
    "composed": (0.8, lambda x: stats.exponnorm.logpdf(-x, 0.8 / 0.7, 0, 0.7)),
}


def residual(kind: str) -> Residual:
    shape = KINDS[kind][0]
    sd, shape = (None if x is None else pt.as_tensor(np.float64(x)) for x in (0.7, shape))
    return Residual(kind, sd, shape)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deviating_variable_has_the_residuals_density(kind: str) -> None:
    location = np.array([-1.0, 0.0, 2.0])
    value = np.array([-4.0, 0.3, 2.1])
    with pm.Model(coords={"llm": ["a", "b", "c"]}) as model:
        add_deviating("x", pt.as_tensor(location), residual(kind), "llm")
    found = model.compile_logp(sum=False, mode=PLAIN)({"x": value})[0]
    np.testing.assert_allclose(found, KINDS[kind][1](value - location), rtol=1e-9)
    own = residual(kind).log_density(pt.as_tensor(value - location)).eval(mode=PLAIN)
    np.testing.assert_allclose(found, own)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_of_a_deviating_variable(kind: str) -> None:
    with pm.Model(coords={"llm": range(4000)}):
        variable = add_deviating("x", pt.full(4000, 1.5), residual(kind), "llm")
    drawn = pm.draw(variable, mode=PLAIN, random_seed=8) - 1.5

    def cdf(x: np.ndarray) -> list[float]:
        return [
            integrate.quad(lambda u: np.exp(KINDS[kind][1](u)), -60, point, limit=200, points=(0,))[
                0
            ]
            for point in x
        ]

    # the cdf at 60 quantiles is enough for a test of Kolmogorov's kind
    quantiles = np.quantile(drawn, np.linspace(0.01, 0.99, 60))
    assert np.abs(cdf(quantiles) - np.linspace(0.01, 0.99, 60)).max() < 1.9 / np.sqrt(4000)


def test_a_wider_residual_per_llm() -> None:
    location, sd = np.zeros(3), np.array([0.3, 1.0, 2.0])
    wide = Residual("composed", pt.as_tensor(sd), pt.as_tensor(0.8))
    with pm.Model(coords={"llm": ["a", "b", "c"]}) as model:
        add_deviating("x", pt.as_tensor(location), wide, "llm")
    value = np.array([-1.0, -1.0, -1.0])
    found = model.compile_logp(sum=False, mode=PLAIN)({"x": value})[0]
    np.testing.assert_allclose(found, stats.exponnorm.logpdf(-value, 0.8 / sd, 0, sd))


# ---------------------------------------------------------------- the marginal sum


def marginal_problem(seed: int = 2) -> list[np.ndarray]:
    """Means, variances and weights of five LLMs, one without scores, on three benchmarks."""
    rng = np.random.default_rng(seed)
    n_nodes, counts = 40, np.array([3, 1, 0, 2, 3])
    mean = np.sort(rng.normal(size=(3, n_nodes)), axis=1)
    var = rng.uniform(0.05, 0.3, (4, n_nodes))
    log_weight = -0.5 * rng.uniform(0, 3, (5, n_nodes)) ** 2
    n_cells = counts.sum()
    first = np.concatenate([[0], np.cumsum(counts)])
    return [
        mean,
        var,
        log_weight,
        rng.normal(size=n_cells),
        rng.integers(0, 3, n_cells),
        rng.integers(0, 4, n_cells),
        first,
    ]


def marginal_function(mode: object, *, gradient: bool = False):
    matrices = [pt.dmatrix(name) for name in ("mean", "var", "log_weight")]
    rest = [pt.dvector("y"), pt.lvector("benchmark"), pt.lvector("noise"), pt.lvector("first")]
    total = MarginalSum()(*matrices, *rest)[0]
    outputs = pt.grad(2 * total, matrices) if gradient else total
    return pytensor.function([*matrices, *rest], outputs, mode=mode)


def test_marginal_sum_is_the_plain_reference() -> None:
    problem = marginal_problem()
    mean, var, log_weight, y, benchmark, noise, first = problem
    cells = kernel.Cells(y, benchmark, noise, first)
    found = marginal_function(PLAIN)(*problem)
    assert found == pytest.approx(kernel.log_marginal(mean, var, log_weight, cells).sum())
    kinds = np.full((len(first) - 1, mean.shape[1]), np.nan)
    for i in range(len(first) - 1):
        own = slice(first[i], first[i + 1])
        density = stats.norm.pdf(y[own, None], mean[benchmark[own]], np.sqrt(var[noise[own]]))
        kinds[i] = np.exp(log_weight[i]) * density.prod(axis=0)
    assert found == pytest.approx(np.log(kinds.sum(axis=1)).sum())


def test_marginal_sum_is_one_in_python_and_numba() -> None:
    problem = marginal_problem()
    plain, compiled = (marginal_function(mode)(*problem) for mode in (PLAIN, "NUMBA"))
    assert plain == pytest.approx(float(compiled), rel=1e-12)
    gradients = [marginal_function(mode, gradient=True)(*problem) for mode in (PLAIN, "NUMBA")]
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("module", [kernel, marginal], ids=["kernel", "operation"])
def test_other_source_is_compiled_anew(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTensor keeps machine code on disk under a key: it has to tell sources apart."""
    matrices = [pt.dmatrix() for _ in range(3)]
    node = MarginalSum()(*matrices, pt.dvector(), pt.lvector(), pt.lvector(), pt.lvector())[0].owner
    before = numba_funcify_and_cache_key(node.op, node)[1]
    assert before == numba_funcify_and_cache_key(node.op, node)[1]
    changed = tmp_path / "changed.py"
    changed.write_bytes(Path(module.__file__ or "").read_bytes() + b"# changed\n")
    monkeypatch.setattr(module, "__file__", str(changed))
    assert numba_funcify_and_cache_key(node.op, node)[1] not in (None, before)


def test_gradient_of_the_marginal_sum() -> None:
    problem = marginal_problem()
    rest = [pt.constant(value) for value in problem[3:]]
    pytensor.gradient.verify_grad(
        lambda *matrices: MarginalSum()(*matrices, *rest)[0],
        problem[:3],
        rng=np.random.default_rng(1),
        mode=PLAIN,
        eps=1e-6,
    )
    doubled = marginal_function(PLAIN, gradient=True)(*problem)
    mean, var, log_weight, *others = problem
    _, *gradient = kernel.marginal_sum(mean, var, log_weight, *others)
    for ours, theirs in zip(doubled, gradient, strict=True):
        # `perform` is NumPy's; the compiled sum leaves terms below exp(-40) of the largest out
        np.testing.assert_allclose(ours, 2 * theirs, rtol=1e-9, atol=1e-15)


def test_scores_are_drawn_at_sizes_by_their_weights() -> None:
    rng = np.random.default_rng(4)
    mean = np.array([[-10.0, 0.0, 10.0]])
    var = np.array([[1e-6, 1e-6, 1e-6]])
    weight = np.array([0.2, 0.5, 0.3])
    first = np.arange(0, 4001, 2)
    log_weight = np.log(np.tile(weight, (2000, 1))) + 3.0  # not normalised
    index = np.zeros(4000, dtype=int)
    drawn = _draw_scores(mean, var, log_weight, index, index, first, rng)
    node = np.rint(drawn / 10).astype(int) + 1
    assert (node[::2] == node[1::2]).all(), "one size per LLM"
    share = np.bincount(node[::2], minlength=3) / 2000
    np.testing.assert_allclose(share, weight, atol=4 * np.sqrt(0.25 / 2000))
    with pytest.raises(NotImplementedError):
        _draw_scores(mean, var, log_weight, index, index, first, rng, size=(3,))
