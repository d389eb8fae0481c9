"""Effective sizes after sampling, against brute force that shares no code with them."""

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from made_up import LLMS, densing, made_up_posterior, small_data
from scipy import integrate, stats
from scipy.special import expit, logsumexp

from bayesdense import kernel, residuals
from bayesdense.observations import JointObservations
from bayesdense.sizes import (
    accuracy,
    compiled,
    draw_log_sizes,
    drawing,
    likelihoods,
    llm_bounds,
    log_likelihoods,
    log_likelihoods_and_slopes,
    loo_pit,
    normal,
    pit,
    quadrature_error,
)
from bayesdense.sizes.blocks import block_of, cells_of
from bayesdense.sizes.terms import Grids, read_posterior
from bayesdense.spec import ModelSpec, load_spec

KINDS = ("symmetric", "student_t", "composed")
CEILING, FLOOR = 1, 2
#: A grid so fine that only the formulas are tested.
SPEC = load_spec("joint").with_options(quadrature_spacing=0.0625)
DATA = small_data()


def spec_with(**changes: object) -> ModelSpec:
    return SPEC.with_options(**changes)


def at(posterior: xr.Dataset, draw: int = 0) -> dict[str, np.ndarray]:
    """One draw, chains one after another."""
    chain, index = divmod(draw, posterior.sizes["draw"])
    return {
        str(name): value.transpose("chain", "draw", ...).to_numpy()[chain, index]
        for name, value in posterior.data_vars.items()
    }


# --- The model once more, in plain words -------------------------------------------------------


def cell_moments(
    theta: Mapping[str, np.ndarray], spec: ModelSpec, data: JointObservations, c: int, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the logit of score c at log sizes x."""
    j = data.scores.benchmark_idx[c]
    log_n = x - data.losses.log_params_centre
    log_d = np.log(spec.options.reference_tokens) - data.losses.log_tokens_centre
    loss = (
        theta.get("loss_floor", np.zeros(9))[j]
        + theta["param_coef"][j] * np.exp(-theta["param_exponent"][j] * log_n)
        + theta["token_coef"][j] * np.exp(-theta["token_exponent"][j] * log_d)
    )
    height = theta["score_ceiling"][j] - theta["score_floor"][j]
    with np.errstate(over="ignore"):
        odds = np.exp(theta["score_slope"][j] * (loss - theta["loss_midpoint"][j]))
    score = theta["score_floor"][j] + height / (1 + odds)
    mean = np.log(score) - np.log1p(-score)
    if data.scores.other_protocol[c]:
        mean = mean + theta["protocol_offset"][j]
    if "cell_sd" in theta:
        beyond = theta["cell_sd"][j] ** 2
    else:
        reports = data.scores.n_reports[c]
        beyond = theta["discrepancy_sd"][j] ** 2 + theta["protocol_sd"][j] ** 2 / reports
    p = 1 / (1 + np.exp(-mean))
    return mean, beyond + 1 / (data.scores.n_items[c] * p * (1 - p))


def log_score_density(
    theta: Mapping[str, np.ndarray], spec: ModelSpec, data: JointObservations, i: int, x: np.ndarray
) -> np.ndarray:
    total = np.zeros(np.shape(x))
    for c in range(data.scores.first[i], data.scores.first[i + 1]):
        mean, var = cell_moments(theta, spec, data, c, x)
        total = total + stats.norm.logpdf(data.scores.logit_score[c], mean, np.sqrt(var))
    return total


def location(theta: Mapping[str, np.ndarray], data: JointObservations, i: int) -> float:
    years = data.llms.years[i]
    return data.llms.log_params[i] + theta["trend_intercept"] + theta["growth_rate"] * years


def residual(theta: Mapping[str, np.ndarray], spec: ModelSpec, data: JointObservations, i: int):
    """SciPy's distribution of minus the residual of LLM i: for `composed` that is exponnorm."""
    sd = theta["residual_sd"]
    if spec.options.scale_trend:
        sd = sd * np.exp(theta["residual_log_sd_slope"] * data.llms.years[i])
    if spec.residual == "student_t":
        return stats.t(theta["residual_df"], scale=sd)
    if spec.residual == "composed":
        return stats.exponnorm(theta["one_sided_sd"] / sd, scale=sd)
    return stats.norm(scale=sd)


def given_effect(theta, spec, data, i, effects, x=None) -> np.ndarray:
    """Log m_i(f) on a fine uniform grid over log sizes."""
    x = np.linspace(-40, 160, 20001) if x is None else x
    likelihood = log_score_density(theta, spec, data, i, x)
    minus = residual(theta, spec, data, i)
    centre = location(theta, data, i)
    log_width = np.log(x[1] - x[0])

    def one(f: float) -> float:
        # at both ends the scores say no more: the rest is the residual's probability beyond
        below = likelihood[0] + minus.logsf(centre + f - x[0])
        above = likelihood[-1] + minus.logcdf(centre + f - x[-1])
        inner = logsumexp(likelihood + minus.logpdf(centre + f - x)) + log_width
        return float(logsumexp([below, inner, above]))

    return np.array([one(f) for f in effects])


def brute_family(theta, spec, data, members, n_effects: int = 161) -> float:
    """Log M_k by nested sums."""
    f, step = np.linspace(-9, 9, n_effects, retstep=True)
    prior = stats.norm.logpdf(f, scale=theta["family_sd"]) + np.log(step)
    x = np.linspace(-40, 160, 4001)
    return logsumexp(prior + sum(given_effect(theta, spec, data, i, f, x) for i in members))


def my_given(posterior, spec, data, effects, draw: int = 0) -> np.ndarray:
    read = read_posterior(posterior, spec, data)
    grid = Grids(read).resolving(read, draw, 0.0625, 2)
    terms = read.terms(draw, grid.nodes)
    return compiled.log_given_effects(
        compiled.log_likelihood(terms.mean, terms.var, read.cells),
        grid.nodes,
        grid.log_widths,
        compiled.residual_table(spec.residual, terms, grid),
        terms.location,
        np.arange(len(data.llms.names)),
        np.asarray(effects, float),
    )


# --- Terms of a draw ---------------------------------------------------------------------------

VARIANTS = {
    "joint": ({}, ()),
    "student_t": ({"residual": "student_t"}, ()),
    "composed": ({"residual": "composed"}, ()),
    "scale_trend": ({"scale_trend": True}, ()),
    "composed, scale_trend": ({"residual": "composed", "scale_trend": True}, ()),
    "offset": ({}, (0, 3)),
    "cell": ({"score_noise": "cell"}, (1,)),
    "additive": ({"loss_law": "additive"}, ()),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_given_family_effect_match_plain_formulas(variant: str) -> None:
    options, other = VARIANTS[variant]
    spec, data = spec_with(**options), small_data(other_protocol=other)
    posterior = made_up_posterior(spec, data)
    effects = [-1.5, 0.0, 2.0]
    mine = my_given(posterior, spec, data, effects, draw=4)
    theta = at(posterior, 4)
    reference = [given_effect(theta, spec, data, i, effects) for i in range(len(LLMS))]
    np.testing.assert_allclose(mine, reference, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("i", [0, CEILING, FLOOR, 7])
def test_one_llm_against_adaptive_quadrature(kind: str, i: int) -> None:
    spec = spec_with(residual=kind)
    theta = at(posterior := made_up_posterior(spec, DATA))
    minus, centre = residual(theta, spec, DATA, i), location(theta, DATA, i)

    def integrand(x: float) -> float:
        return float(np.exp(log_score_density(theta, spec, DATA, i, x)) * minus.pdf(centre - x))

    breaks = [*(centre - np.array([900, 100, 40])), *np.arange(centre - 20, centre + 20.1, 2.5)]
    breaks += [*(centre + np.array([40, 100, 900]))]
    value = sum(
        integrate.quad(integrand, low, high, epsrel=1e-9, epsabs=0)[0]
        for low, high in itertools.pairwise(breaks)
    )
    mine = my_given(posterior, spec, DATA, [0.0])[i, 0]
    assert mine == pytest.approx(np.log(value), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_residual_against_monte_carlo(kind: str) -> None:
    spec = spec_with(residual=kind)
    theta = at(posterior := made_up_posterior(spec, DATA))
    mine = np.exp(my_given(posterior, spec, DATA, [0.3])[:, 0])
    rng = np.random.default_rng(5)
    n = 40_000
    deviation = rng.normal(0, theta["residual_sd"], n)
    if kind == "composed":
        deviation = deviation - rng.exponential(theta["one_sided_sd"], n)
    if kind == "student_t":
        df = theta["residual_df"]
        deviation = deviation / np.sqrt(rng.chisquare(df, n) / df)
    for i in range(len(LLMS)):
        x = location(theta, DATA, i) + 0.3 + deviation
        draws = np.exp(log_score_density(theta, spec, DATA, i, x))
        error = draws.std() / np.sqrt(n)
        assert abs(mine[i] - draws.mean()) < 4.5 * error


def test_numpy_reference_agrees_on_the_same_grid() -> None:
    spec = spec_with(residual="composed")
    read = read_posterior(made_up_posterior(spec, DATA), spec, DATA)
    grid = Grids(read).resolving(read, 2, 0.25, 1)
    terms = read.terms(2, grid.nodes)
    below, above = residuals.log_tails(
        "composed",
        terms.location - grid.nodes[0],
        grid.nodes[-1] - terms.location,
        terms.residual_sd,
        terms.shape,
        residuals.NUMPY,
    )
    inner = residuals.composed_log_density(
        grid.nodes[1:-1] - terms.location[:, None],
        terms.residual_sd[:, None],
        terms.shape,
        residuals.NUMPY,
    )
    weights = np.column_stack([below, inner + grid.log_widths, above])
    reference = kernel.log_marginal(terms.mean, terms.var, weights, read.cells)
    mine = compiled.log_given_effects(
        compiled.log_likelihood(terms.mean, terms.var, read.cells),
        grid.nodes,
        grid.log_widths,
        compiled.residual_table("composed", terms, grid),
        terms.location,
        np.arange(len(LLMS)),
        np.zeros(1),
    )
    np.testing.assert_allclose(mine[:, 0], reference, atol=1e-6)


# --- Log likelihoods ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"residual": "student_t"}, {}),
        ({"residual": "composed"}, {}),
        ({"scale_trend": True}, {"residual_log_sd_slope": 0.5}),
        ({}, {"residual_sd": 0.25, "family_sd": 1.5}),
        ({}, {"residual_sd": 2.5, "family_sd": 0.05}),
    ],
)
def test_families_against_nested_brute_force(
    options: Mapping[str, object], changes: Mapping[str, float]
) -> None:
    spec = spec_with(**options)
    posterior = made_up_posterior(spec, DATA, **changes)
    found = log_likelihoods(posterior, spec, DATA)
    draw, theta = 3, at(posterior, 3)
    family = found["family"].to_numpy().reshape(6, -1)[draw]
    llm = found["llm"].to_numpy().reshape(6, -1)[draw]
    reference = {}
    n_effects = 721 if theta["family_sd"] < 0.1 else 161
    for members in ([0], [4, 5], [6, 7, 8, 9], [6, 7, 9]):
        reference[tuple(members)] = brute_family(theta, spec, DATA, members, n_effects)
    assert family[0] == pytest.approx(reference[0,], abs=1e-5)
    assert family[4] == pytest.approx(reference[4, 5], abs=1e-5)
    assert family[5] == pytest.approx(reference[6, 7, 8, 9], abs=1e-5)
    left_out = reference[6, 7, 8, 9] - reference[6, 7, 9]
    assert llm[8] == pytest.approx(left_out, abs=1e-5)


def test_leaving_one_out_is_the_fit_to_the_others() -> None:
    posterior = made_up_posterior(SPEC, DATA)
    whole = log_likelihoods(posterior, SPEC, DATA)
    for i, family in ((5, 4), (9, 5)):
        others = log_likelihoods(posterior, SPEC, small_data([*LLMS[:i], *LLMS[i + 1 :]]))
        difference = whole["family"][..., family] - others["family"][..., family]
        np.testing.assert_allclose(whole["llm"][..., i], difference, atol=1e-5)


def test_alone_in_a_family_llm_and_family_are_one() -> None:
    found = log_likelihoods(made_up_posterior(SPEC, DATA), SPEC, DATA)
    for i in range(4):
        np.testing.assert_array_equal(found["llm"][..., i], found["family"][..., i])
    assert not np.allclose(found["llm"][..., 4:6].sum("llm_obs"), found["family"][..., 4])


def test_without_families_llms_are_independent() -> None:
    spec = spec_with(family="none")
    found = log_likelihoods(posterior := made_up_posterior(spec, DATA), spec, DATA)
    np.testing.assert_allclose(found["llm"].sum("llm_obs"), found["family"].sum("family_obs"))
    np.testing.assert_allclose(found["llm"][0, 0], my_given(posterior, spec, DATA, [0.0])[:, 0])


def test_sampled_family_effects_do_not_matter() -> None:
    posterior = made_up_posterior(SPEC, DATA)
    other = posterior.assign(family_effect=posterior["family_effect"] + 3.0)
    xr.testing.assert_identical(
        log_likelihoods(posterior, SPEC, DATA), log_likelihoods(other, SPEC, DATA)
    )


def test_a_family_at_odds_with_itself_stays_finite_and_right() -> None:
    rows = [("odd", 0.0, 1e9, {0: 0.27}), ("odd", 0.0, 100e9, {0: 0.8, 1: 0.8, 4: 0.7})]
    data = small_data(rows)
    posterior = made_up_posterior(SPEC, data, residual_sd=0.15, family_sd=0.3)
    found = log_likelihoods(posterior, SPEC, data)
    reference = brute_family(at(posterior), SPEC, data, [0, 1], 1201)
    assert found["family"][0, 0, 0] == pytest.approx(reference, abs=1e-5)


def test_losses_left_out_one_cluster_at_a_time() -> None:
    posterior = made_up_posterior(SPEC, DATA)
    every = log_likelihoods(posterior, SPEC, DATA)
    found = every["loss"].to_numpy().reshape(6, -1)[2]
    theta, losses = at(posterior, 2), DATA.losses
    j = losses.benchmark_idx
    law = theta["loss_floor"][j]
    for size, part in ((losses.log_params_ratio, "param"), (losses.log_tokens_ratio, "token")):
        law = law + theta[f"{part}_coef"][j] * np.exp(-theta[f"{part}_exponent"][j] * size)
    error = losses.log_loss - np.log(law)
    same_size = losses.cluster_idx[:, None] == losses.cluster_idx
    same_run = losses.run_idx[:, None] == losses.run_idx
    run_sd = theta["run_effect_sd"][j]
    cov = (
        np.diag(theta["loss_noise_sd"][j] ** 2 + losses.known_var)
        + same_size * theta["size_effect_sd"][j] ** 2
        + same_run * np.outer(run_sd, run_sd)
    )
    whole = stats.multivariate_normal.logpdf(error, cov=cov)
    for k in (0, 7, losses.n_clusters - 1):
        rest = losses.cluster_idx != k
        without = stats.multivariate_normal.logpdf(error[rest], cov=cov[np.ix_(rest, rest)])
        assert found[k] == pytest.approx(whole - without, abs=1e-6)
    assert every["losses"].to_numpy().ravel()[2] == pytest.approx(whole, abs=1e-6)


def test_independent_losses_have_densities_of_their_own() -> None:
    data = replace(DATA, losses=replace(DATA.losses, clustered=False))
    posterior = made_up_posterior(SPEC, data).drop_vars(["run_effect_sd", "size_effect_sd"])
    found = log_likelihoods(posterior, SPEC, data)["loss"]
    clustered = log_likelihoods(
        made_up_posterior(SPEC, DATA).assign(
            run_effect_sd=1e-9 * posterior["loss_noise_sd"],
            size_effect_sd=1e-9 * posterior["loss_noise_sd"],
        ),
        SPEC,
        DATA,
    )["loss"]
    np.testing.assert_allclose(found, clustered, rtol=1e-6)


def _log_of_one_in(points, theta: dict[str, np.ndarray], k: int) -> float:
    """Log probability of one hit, the noise on the logit summed over."""
    j, n = points.benchmark_idx[k], points.n_items[k]
    share = expit(-theta["score_slope"][j] * (points.loss[k] - theta["loss_midpoint"][j]))
    score = theta["score_floor"][j] + (theta["score_ceiling"][j] - theta["score_floor"][j]) * share
    noise = np.linspace(-8, 8, 4001)
    chance = expit(np.log(score / (1 - score)) + theta["map_noise_sd"][j] * noise)
    weight = stats.norm.pdf(noise) * (noise[1] - noise[0])
    return float(np.log(np.sum(weight * n * chance * (1 - chance) ** (n - 1))))


def test_calibration_points() -> None:
    posterior = made_up_posterior(SPEC, DATA)
    found = log_likelihoods(posterior, SPEC, DATA)["loss_score"].to_numpy().reshape(6, -1)[5]
    theta, points = at(posterior, 5), DATA.calibration
    counted = int(np.flatnonzero(points.is_count)[-1])  # .0061 of 164 items: 1.0004
    assert found[counted] == pytest.approx(_log_of_one_in(points, theta, counted), abs=0.01)
    k = 17
    j = points.benchmark_idx[k]
    position = 1 / (
        1 + np.exp(theta["score_slope"][j] * (points.loss[k] - theta["loss_midpoint"][j]))
    )
    score = (
        theta["score_floor"][j] + (theta["score_ceiling"][j] - theta["score_floor"][j]) * position
    )
    var = theta["map_noise_sd"][j] ** 2 + 1 / (points.n_items[k] * score * (1 - score))
    expected = stats.norm.logpdf(points.logit_score[k], np.log(score / (1 - score)), np.sqrt(var))
    assert found[k] == pytest.approx(expected)


def test_dims_and_labels() -> None:
    posterior = made_up_posterior(SPEC, DATA, shape=(2, 3))
    found = log_likelihoods(posterior, SPEC, DATA)
    assert {name: value.dims[2:] for name, value in found.data_vars.items()} == {
        "llm": ("llm_obs",),
        "family": ("family_obs",),
        "loss": ("loss_cluster",),
        "losses": (),
        "loss_score": ("point_obs",),
        "score_reports": ("report_benchmark",),
    }
    assert dict(found.sizes) | {"chain": 2, "draw": 3} == dict(found.sizes)
    assert found["llm_obs"].values.tolist() == list(DATA.llms.names)
    assert len(set(found["loss_cluster"].values)) == DATA.losses.n_clusters
    turned = posterior.transpose("benchmark", "family", "draw", "chain")
    xr.testing.assert_identical(log_likelihoods(turned, SPEC, DATA), found)


def test_a_missing_parameter_is_named() -> None:
    posterior = made_up_posterior(SPEC, DATA).drop_vars("token_coef")
    with pytest.raises(KeyError, match=r"posterior lacks token_coef, parameters of model 'joint'"):
        log_likelihoods(posterior, SPEC, DATA)


# --- The normal residual's own loops, against those for every residual -------------------------

#: A family of nine, one of each other size, scores missing everywhere.
MANY = (
    *LLMS,
    *(
        ("nine", 0.2 * k - 0.8, (1 + 3 * k) * 1e9, {j: 0.3 + 0.05 * k for j in range(k % 3, 5, 2)})
        for k in range(9)
    ),
    ("nine-alone", 0.3, 4e9, {1: 0.5}),
)
SCALES = [
    {},
    {"family_sd": 0.01},
    {"family_sd": 8.0, "residual_sd": 0.3},
    {"residual_sd": 0.03},
    {"residual_sd": 4.0},
    {"residual_sd": 0.1, "family_sd": 0.1},
]


@pytest.mark.parametrize("variant", ["joint", "scale_trend", "offset", "cell", "additive"])
def test_laws_of_a_block_are_those_of_its_draws(variant: str) -> None:
    options, other = VARIANTS[variant]
    spec, data = spec_with(**options), small_data(other_protocol=other)
    read = read_posterior(made_up_posterior(spec, data), spec, data)
    grid, draws = Grids(read).get(0.25), np.array([1, 4])
    block = block_of(read, draws)
    laws = normal.laws_on(grid.nodes, block, cells_of(read))
    for row, draw in enumerate(draws):
        terms = read.terms(int(draw), grid.nodes)
        np.testing.assert_allclose(laws.mean[row, : len(terms.mean)], terms.mean, atol=1e-12)
        np.testing.assert_allclose(1 / laws.precision[row], terms.var, rtol=1e-12)
        np.testing.assert_allclose(laws.half_log_var[row], 0.5 * np.log(terms.var), atol=1e-12)
        np.testing.assert_allclose(block.location[row], terms.location)
        np.testing.assert_allclose(block.residual_sd[row], terms.residual_sd)


@pytest.mark.parametrize("changes", SCALES)
@pytest.mark.parametrize("scale_trend", [False, True])
def test_families_as_on_logs_over_all_nodes(
    changes: Mapping[str, float], scale_trend: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, data = spec_with(scale_trend=scale_trend, quadrature_spacing=0.25), small_data(MANY)
    read = read_posterior(made_up_posterior(spec, data, **changes), spec, data)
    llm, family, _, _ = likelihoods._normal_scores(read)
    table = compiled.residual_table
    monkeypatch.setattr(
        likelihoods, "residual_table", lambda *args: table(*args)._replace(fraction=0.5)
    )
    exact_llm, exact_family = likelihoods._scores(read)
    # Below the least sd that is resolved the grid's own error is not the same in both
    atol = 1e-4 if changes.get("residual_sd") == 0.03 else 4e-6
    np.testing.assert_allclose(family, exact_family, atol=atol)
    np.testing.assert_allclose(llm, exact_llm, atol=atol)


def test_families_whose_llms_contradict_each_other_as_on_logs() -> None:
    rows = [
        ("odd", 0.0, 1e9, {0: 0.27}),
        ("odd", 0.0, 100e9, {0: 0.8, 1: 0.8, 4: 0.7}),
        ("odder", 0.0, 1e8, {k: 0.94 for k in range(5)}),
        ("odder", 1.0, 1e12, {0: 0.26, 3: 0.001}),
        ("odder", 1.0, 1e9, {0: 0.5}),
    ]
    data = small_data(rows)
    for changes in ({"residual_sd": 0.15, "family_sd": 0.3}, {"residual_sd": 0.3}):
        read = read_posterior(made_up_posterior(SPEC, data, **changes), SPEC, data)
        for fast, exact in zip(
            likelihoods._normal_scores(read), likelihoods._scores(read), strict=False
        ):
            np.testing.assert_allclose(fast, exact, rtol=1e-8, atol=4e-6)


@pytest.mark.parametrize("i", [0, CEILING, FLOOR, 3])
def test_alone_in_a_family_by_adaptive_quadrature(i: int) -> None:
    """Family effect and residual are one normal deviation there."""
    posterior = made_up_posterior(SPEC, DATA)
    theta, centre = at(posterior), location(at(posterior), DATA, i)
    sd = float(np.hypot(theta["residual_sd"], theta["family_sd"]))

    def integrand(x: float) -> float:
        density = np.exp(log_score_density(theta, SPEC, DATA, i, x))
        return float(density * stats.norm.pdf(x, centre, sd))

    value = sum(
        integrate.quad(integrand, low, high, epsrel=1e-11, epsabs=0)[0]
        for low, high in itertools.pairwise(np.linspace(centre - 14 * sd, centre + 14 * sd, 29))
    )
    found = log_likelihoods(posterior, SPEC, DATA)["llm"].to_numpy()[0, 0, i]
    assert found == pytest.approx(np.log(value), abs=1e-8)


@pytest.mark.parametrize("changes", SCALES)
def test_slopes_are_derivatives_of_the_families_log_likelihood(
    changes: Mapping[str, float],
) -> None:
    data = small_data(MANY)
    spec = spec_with(quadrature_spacing=0.125)
    posterior = made_up_posterior(spec, data, shape=(1, 2), **changes)
    x = np.random.default_rng(3).normal(size=len(data.llms.names))
    _, slopes = log_likelihoods_and_slopes(posterior, spec, data, x)
    assert slopes is not None

    def total(slope: float) -> np.ndarray:
        llms = replace(data.llms, log_params=data.llms.log_params + slope * x)
        read = read_posterior(posterior, spec, data)  # the grid of the LLMs' own sizes
        return likelihoods._normal_scores(replace(read, data=replace(data, llms=llms)))[1].sum(1)

    step = 0.02
    at_steps = {k: total(k * step) for k in range(-2, 3)}
    score = (8 * (at_steps[1] - at_steps[-1]) - (at_steps[2] - at_steps[-2])) / (12 * step)
    second = 16 * (at_steps[1] + at_steps[-1]) - (at_steps[2] + at_steps[-2]) - 30 * at_steps[0]
    scale = np.abs(slopes["information"].to_numpy()[0]).max()
    np.testing.assert_allclose(slopes["score"][0], score, atol=2e-3 * np.sqrt(scale))
    np.testing.assert_allclose(
        slopes["information"][0], -second / (12 * step**2), atol=0.02 * scale
    )


def test_draws_as_on_all_nodes() -> None:
    for changes in SCALES:
        spec, data = spec_with(quadrature_spacing=0.25), small_data(MANY)
        posterior = made_up_posterior(spec, data, **changes)
        drawn = draw_log_sizes(posterior, spec, data, seed=2).to_numpy().reshape(6, -1)
        read = read_posterior(posterior, spec, data)
        uniform = np.random.default_rng(2).random(drawn.shape)
        for draw in range(6):
            grid = Grids(read).resolving(read, draw, 0.0625, 4)
            plain = drawing._draw_one(read, draw, grid, uniform[draw])
            np.testing.assert_allclose(drawn[draw], plain, atol=1e-8)


def test_leave_one_out_cdf_as_on_all_nodes() -> None:
    for changes in SCALES:
        spec, data = spec_with(quadrature_spacing=0.25), small_data(MANY)
        read = read_posterior(made_up_posterior(spec, data, **changes), spec, data)
        found = pit._cdf(read, np.arange(6))
        for draw in range(6):
            grid = Grids(read).resolving(read, draw, 0.25, 1)
            np.testing.assert_allclose(found[draw], pit._cdf_of_draw(read, draw, grid), atol=4e-6)


def test_totals_as_on_logs() -> None:
    read = read_posterior(made_up_posterior(SPEC, DATA), SPEC, DATA)
    grid = Grids(read).get(0.25)
    plain = [accuracy._total(read, draw, grid) for draw in range(6)]
    np.testing.assert_allclose(accuracy._totals(read, np.arange(6), grid), plain, atol=1e-9)


def test_bounds_as_by_the_reference() -> None:
    read = read_posterior(made_up_posterior(SPEC, DATA), SPEC, DATA)
    grid = Grids(read).get(0.125)
    laws = normal.laws_on(grid.nodes, block_of(read, np.arange(6)), cells_of(read))
    zero, infinity, smallest = normal.likelihood_bounds(laws, cells_of(read), grid.nodes, 1.35)
    for draw in range(6):
        terms = read.terms(draw, grid.nodes)
        log_likelihood = kernel.log_cells(terms.mean, terms.var, read.cells)
        below = log_likelihood - log_likelihood.max(axis=1, keepdims=True)
        np.testing.assert_allclose(zero[draw], below[:, 0], atol=1e-9)
        np.testing.assert_allclose(infinity[draw], below[:, -1], atol=1e-9)
        first = (below >= -1.35).argmax(axis=1)
        inside = first > 0
        assert np.isneginf(smallest[draw][~inside]).all()
        assert (smallest[draw][inside] <= grid.nodes[first[inside]]).all()
        assert (smallest[draw][inside] > grid.nodes[first[inside] - 1]).all()


@pytest.mark.parametrize("name", ["growth_rate", "family_sd", "param_exponent"])
def test_a_draw_that_is_no_number_leaves_the_others_alone(name: str) -> None:
    posterior = made_up_posterior(SPEC, DATA)
    broken = posterior.copy(deep=True)
    broken[name][0, 1] = np.nan
    found, whole = (log_likelihoods(p, SPEC, DATA)["llm"].to_numpy() for p in (broken, posterior))
    assert np.isnan(found[0, 1, 4:]).any()
    np.testing.assert_array_equal(found[1], whole[1])
    np.testing.assert_array_equal(found[0, [0, 2]], whole[0, [0, 2]])


# --- Draws -------------------------------------------------------------------------------------


def repeated(posterior: xr.Dataset, n: int) -> xr.Dataset:
    """The first draw, n times."""
    return posterior.isel(chain=[0], draw=np.zeros(n, int))


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"residual": "student_t"}, {}),
        ({"residual": "composed"}, {}),
        ({"scale_trend": True}, {}),
        ({}, {"residual_sd": 0.08}),
        ({}, {"residual_sd": 4.0}),
    ],
)
def test_draws_follow_the_exact_distribution(
    options: Mapping[str, object], changes: Mapping[str, float]
) -> None:
    spec = spec_with(**options, quadrature_spacing=0.25)
    posterior = repeated(made_up_posterior(spec, DATA, **changes), 2000)
    draws = draw_log_sizes(posterior, spec, DATA, seed=3)
    assert draws.dims == ("chain", "draw", "llm")
    assert np.isfinite(draws).all()
    theta = at(posterior)
    x = np.linspace(-40, 160, 40001)
    for i in (0, CEILING, FLOOR, 7):
        effect = theta["family_effect"][DATA.llms.family_idx[i]]
        minus = residual(theta, spec, DATA, i)
        log_density = log_score_density(theta, spec, DATA, i, x)
        log_density += minus.logpdf(location(theta, DATA, i) + effect - x)
        cdf = np.cumsum(np.exp(log_density - log_density.max()))
        cdf /= cdf[-1]

        def exact(value: np.ndarray, cdf: np.ndarray = cdf) -> np.ndarray:
            return np.interp(value, x, cdf)

        assert stats.kstest(draws[0, :, i].to_numpy(), exact).pvalue > 1e-3


def test_sizes_beyond_the_grid_follow_the_tail() -> None:
    """With scores that say nothing, a size has the residual's distribution, tails and all."""
    spec = spec_with(residual="student_t", family="none", quadrature_spacing=0.25)
    data = small_data([("none", 0.0, 7e9, {0: 0.5}), ("none", 0.0, 7e9, {0: 0.5})])
    posterior = made_up_posterior(
        spec, data, spread=0, residual_sd=30.0, residual_df=1.0, growth_rate=1.0
    ).assign(discrepancy_sd=("benchmark", np.full(5, 1e6)))
    posterior["discrepancy_sd"] = posterior["discrepancy_sd"].expand_dims(chain=2, draw=3)
    draws = draw_log_sizes(repeated(posterior, 1200), spec, data, seed=9)
    centre = location(at(posterior), data, 0)
    exact = stats.t(1.0, loc=centre, scale=30.0)
    assert (draws > 600).mean() > 0.005  # the grid ends near 450
    assert (draws < -300).mean() > 0.01
    assert stats.kstest(draws[0, :, 0].to_numpy(), exact.cdf).pvalue > 1e-3


def test_seed_fixes_the_draws() -> None:
    posterior = made_up_posterior(SPEC, DATA)
    first, again, other = (draw_log_sizes(posterior, SPEC, DATA, seed=s) for s in (1, 1, 2))
    xr.testing.assert_identical(first, again)
    assert not np.allclose(first, other)
    assert first["llm"].values.tolist() == list(DATA.llms.names)
    assert first.attrs["units"] == "log parameters"


# --- Bounds ------------------------------------------------------------------------------------


def test_bounds_of_llms_at_ceiling_and_floor() -> None:
    posterior = made_up_posterior(SPEC, DATA, shape=(1, 7))
    found = llm_bounds(posterior, SPEC, DATA)
    assert found["lower_bound_only"][CEILING]
    assert found["prob_lower_bound_only"][CEILING] == 1
    assert found["upper_bound_only"][FLOOR]
    assert not found["upper_bound_only"][CEILING]
    assert not found["lower_bound_only"][[0, FLOOR, 7]].any()
    assert np.isnan(found["data_lower_bound"][[0, FLOOR, 7]]).all()
    assert found["lower_bound_only"].dtype == bool


def test_data_lower_bound_solves_its_equation() -> None:
    posterior = made_up_posterior(SPEC, DATA, shape=(1, 1))
    bound = float(llm_bounds(posterior, SPEC, DATA)["data_lower_bound"][CEILING])
    theta, x = at(posterior), np.linspace(10, 200, 100_001)
    log_likelihood = log_score_density(theta, SPEC, DATA, CEILING, x)
    within = x[log_likelihood >= log_likelihood.max() - 1.35]
    assert np.log(bound) == pytest.approx(within[0], abs=0.02)


def test_bounds_do_not_lean_on_the_trend() -> None:
    posterior = made_up_posterior(SPEC, DATA)
    moved = posterior.assign(
        trend_intercept=posterior["trend_intercept"] + 2, residual_sd=posterior["residual_sd"] * 3
    )
    xr.testing.assert_identical(llm_bounds(posterior, SPEC, DATA), llm_bounds(moved, SPEC, DATA))


# --- Accuracy ----------------------------------------------------------------------------------


def test_quadrature_error_sees_a_coarse_grid() -> None:
    posterior = made_up_posterior(SPEC, DATA, shape=(2, 60), residual_sd=0.35)
    fine = quadrature_error(posterior, spec_with(quadrature_spacing=0.25), DATA)
    coarse = quadrature_error(posterior, spec_with(quadrature_spacing=1.0), DATA)
    assert fine["n_draws"] == 100
    assert fine["sd"] < 2e-3
    assert fine["max_abs"] < 5e-3
    assert abs(fine["growth_shift"]) < 1e-2
    assert coarse["sd"] > 20 * fine["sd"]
    assert fine["flat_beyond"] is True


def test_quadrature_error_sees_scores_that_still_change_at_the_ends() -> None:
    posterior = made_up_posterior(SPEC, DATA)
    slow = posterior.assign(param_exponent=0.02 * posterior["param_exponent"])
    assert quadrature_error(slow, SPEC, DATA)["flat_beyond"] is False


# --- Leave-one-out transforms ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["symmetric", "student_t"])
def test_loo_pit_against_monte_carlo(kind: str) -> None:
    spec = spec_with(residual=kind)
    posterior = repeated(made_up_posterior(spec, DATA), 60)
    rng = np.random.default_rng(8)
    equal = xr.DataArray(rng.normal(0, 1e-9, (1, 60, len(LLMS))), dims=("chain", "draw", "llm_obs"))
    found = loo_pit(posterior, spec, DATA, equal, seed=1, n_draws=20)
    theta = at(posterior)
    n = 40_000
    f = np.linspace(-5, 5, 401)
    for i, others in ((0, []), (5, [4]), (8, [6, 7, 9])):
        log_weight = stats.norm.logpdf(f, scale=theta["family_sd"])
        for k in others:
            x = np.linspace(-40, 160, 4001)
            log_weight = log_weight + given_effect(theta, spec, DATA, k, f, x)
        weight = np.exp(log_weight - log_weight.max())
        effect = rng.choice(f, n, p=weight / weight.sum()) + rng.uniform(-0.0125, 0.0125, n)
        deviation = residual(theta, spec, DATA, i).rvs(n, random_state=rng)
        size = location(theta, DATA, i) + effect + deviation
        for c in range(DATA.scores.first[i], DATA.scores.first[i + 1]):
            mean, var = cell_moments(theta, spec, DATA, c, size)
            below = rng.normal(mean, np.sqrt(var)) < DATA.scores.logit_score[c]
            error = np.sqrt(max(below.mean() * (1 - below.mean()), 1 / n) / n)
            assert abs(float(found[c]) - below.mean()) < 4.5 * error


def test_loo_pit_weighs_draws_by_the_other_llms() -> None:
    """Weights are 1/p(y_i | others): draws that predict the scores worst count most."""
    posterior = made_up_posterior(SPEC, DATA, shape=(4, 100), spread=0.1)
    cdf = pit._cdf(read_posterior(posterior, SPEC, DATA), np.arange(400))
    first_cell = cdf[:, DATA.scores.first[:-1]]
    log_likelihood = np.tanh((first_cell - first_cell.mean(axis=0)) / first_cell.std(axis=0))
    given = xr.DataArray(log_likelihood.reshape(4, 100, -1), dims=("chain", "draw", "llm_obs"))
    found = loo_pit(posterior, SPEC, DATA, given, seed=1, n_draws=400)
    weight = np.exp(-log_likelihood)[:, DATA.scores.llm_idx]
    expected = (weight * cdf).sum(axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - cdf.mean(axis=0)).max() > 0.03
    assert found["pareto_k"].dims == ("score_obs",)
    assert found["score_obs"].values[0] == "alone-0 MMLU"


def test_loo_pit_is_near_uniform_on_data_of_the_model() -> None:
    data = densing()
    posterior = repeated(made_up_posterior(SPEC, data), 40)
    theta, rng = at(posterior), np.random.default_rng(4)
    effect = rng.normal(0, theta["family_sd"], len(data.llms.families))[data.llms.family_idx]
    n = len(data.llms.names)
    size = np.array([location(theta, data, i) for i in range(n)]) + effect
    size += rng.normal(0, theta["residual_sd"], n)
    moments = [
        cell_moments(theta, SPEC, data, c, size[i]) for c, i in enumerate(data.scores.llm_idx)
    ]
    mean, var = np.array(moments).T
    simulated = replace(data.scores, logit_score=rng.normal(mean, np.sqrt(var)))
    data = replace(data, scores=simulated)
    equal = xr.DataArray(rng.normal(0, 1e-9, (1, 40, n)), dims=("chain", "draw", "llm_obs"))
    found = loo_pit(posterior, SPEC, data, equal, seed=1, n_draws=2).to_numpy()
    wanted = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    assert abs(found.mean() - 0.5) < 0.1
    assert np.abs(np.quantile(found, wanted) - wanted).max() < 0.13


# --- The model in PyMC -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "other"),
    [
        ({}, (0, 3)),
        ({"residual": "composed", "scale_trend": True}, ()),
        ({"residual": "student_t"}, ()),
    ],
)
def test_same_model_as_in_pymc(options: Mapping[str, object], other: tuple[int, ...]) -> None:
    import pytensor
    from pymc.model.transform.conditioning import remove_value_transforms

    from bayesdense.build import build_from_observations
    from bayesdense.observations import Observations

    spec, data = spec_with(**options), small_data(other_protocol=other)
    parts = {name: getattr(data, name) for name in data.__slots__}
    model = remove_value_transforms(
        build_from_observations(spec, Observations(**parts, densities=None, warnings=()))
    )
    posterior = made_up_posterior(spec, data)
    theta = at(posterior)
    values = {
        value: theta.get(rv.name, np.zeros(rv.shape.eval()))
        for rv, value in model.rvs_to_values.items()
        if rv in model.free_RVs
    }
    logp = model.logp(vars=[model["score"]], jacobian=False)
    compiled_logp = pytensor.function(
        list(values), logp, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    total = float(compiled_logp(*values.values()))
    read = read_posterior(posterior, spec, data)
    from bayesdense.sizes.accuracy import _total

    mine = _total(read, 0, Grids(read).get(spec.options.quadrature_spacing))
    assert mine == pytest.approx(total, abs=1e-5)


def test_sums_of_squares_of_reports_are_scaled_chi_square() -> None:
    posterior = made_up_posterior(SPEC, DATA)
    found = log_likelihoods(posterior, SPEC, DATA)["score_reports"].to_numpy().reshape(6, -1)[3]
    reports = DATA.reports
    var = at(posterior, 3)["protocol_sd"][reports.benchmark_idx] ** 2
    known = stats.chi2.logpdf(reports.sum_of_squares / var, reports.degrees) - np.log(var)
    np.testing.assert_allclose(found, known, rtol=1e-10)
