"""Whitening, sampling and its interruption, on targets whose posterior is known."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import get_type_hints

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from modelling import small_observations
from numba.core.dispatcher import Dispatcher
from scipy import stats

from bayesdense import joint_kernel, vector_math
from bayesdense.arrays import Floats, Ints
from bayesdense.dataset import load_dataset
from bayesdense.engine import cut, joint, pymc_target
from bayesdense.engine import sample as sampling
from bayesdense.engine.coordinates import Coordinates
from bayesdense.engine.cut import _diagnostics
from bayesdense.engine.runs import Settings, coordinates_of, part_of
from bayesdense.engine.sample import Draws, find_whitening, sample_nuts
from bayesdense.engine.target import Target, kernel_target
from bayesdense.engine.whiten import (
    Whitening,
    linear,
    turned_by_gradients,
    turned_by_hessians,
    whiten_at_mode,
    whiten_by_draws,
)
from bayesdense.interrupts import noticing_interrupts
from bayesdense.observations import observe
from bayesdense.spec import load_spec

#: What is given: a theta whose first entry is the mean that all others follow.
GIVEN = np.array([3.0, 0.0, 0.0, 0.0])
MEAN = np.array([3.0, 0.675, 0.475])
COVARIANCE = np.array([[4.0, 0.9, 0.9], [0.9, 0.25, 0.25], [0.9, 0.25, 0.34]])
PRECISION = np.linalg.inv(COVARIANCE)
#: No coordinate is frozen, or local.
NONE = np.zeros(3, dtype=bool)


def gaussian(z: np.ndarray) -> tuple[float, np.ndarray]:
    error = z - MEAN
    return -0.5 * error @ PRECISION @ error, -PRECISION @ error


def gaussian_log_density(z: np.ndarray) -> float:
    """The same with its constant."""
    return float(stats.multivariate_normal(MEAN, COVARIANCE).logpdf(z))


def laid_out() -> Coordinates:
    """z ~ Normal(MEAN, COVARIANCE), as a chain: natural parameters are a vector and an exp.

    place_0 ~ Normal(mean, 2), place_1 ~ .225 Normal(place_0, .97), and the log of width_sd
    ~ Normal(place_1 - .2, .3).
    """
    k, none = joint_kernel, -1
    second = np.array([1.0, 2.0, np.sqrt(0.0475), 0.3])
    maps = k.Maps(
        form=np.array([k.FIXED, k.LINEAR, k.LINEAR, k.EXPONENTIAL]),
        shift=np.zeros(4),
        scale=np.ones(4),
        shift_at=np.full(4, none),
        scale_at=np.full(4, none),
        power=np.ones(4),
        unit=np.ones(4),
        lower_tail=np.ones(4),
        upper_tail=np.ones(4),
        log_centre=np.zeros(0),
        level=np.zeros(0),
        log_params_ratio=np.zeros(0),
        log_tokens_ratio=np.zeros(0),
    )
    priors = k.Priors(
        dist=np.array([k.NO_PRIOR, k.NORMAL, k.NORMAL, k.LOG_NORMAL]),
        first=np.zeros(4),
        second=second,
        first_at=np.array([none, 0, 1, 2]),
        second_at=np.full(4, none),
        unit=np.array([1.0, 1.0, 0.225, np.exp(-0.2)]),
    )
    return Coordinates(
        blocks=MappingProxyType(
            {"mean": slice(0, 1), "place": slice(1, 3), "width_sd": slice(3, 4)}
        ),
        shapes=MappingProxyType({"mean": (1,), "place": (2,), "width_sd": (1,)}),
        free=np.array([1, 2, 3]),
        maps=maps,
        slots=k.Slots(*([none] * len(k.Slots._fields))),
        priors=priors,
        start=np.zeros(3),
    )


def no_data() -> joint_kernel.Data:
    """Tables without an entry, none of which is counted."""

    def empty(table: type) -> object:
        made = {
            name: np.zeros(0, dtype=float if hint is Floats else np.int64)
            if hint in (Floats, Ints)
            else 0
            for name, hint in get_type_hints(table).items()
        }
        return table(**made)

    k = joint_kernel
    scores = empty(k.Scores)._replace(basis=np.zeros((0, 1)), trend_at=np.zeros(1, dtype=np.int64))
    parts = [empty(table) for table in (k.Losses, k.Points, k.Reports)]
    return k.Data(laid_out().slots, np.zeros(4, dtype=np.int64), *parts, scores)


def of_pytensor() -> Target:
    """The same by PyTensor."""
    with pm.Model() as model:
        mean = pm.Flat("mean", shape=1)
        first = pm.math.concatenate([mean, mean * 0.225])
        place = pm.MvNormal("place", first, chol=np.linalg.cholesky(COVARIANCE[:2, :2]), shape=2)
        pm.LogNormal("width_sd", place[1] - 0.2, 0.3, shape=1)
    return pymc_target._compile(laid_out(), model, ["place", "width_sd"])


@pytest.fixture(scope="module", params=["kernel", "pytensor"])
def target(request: pytest.FixtureRequest) -> Target:
    """Both ways to a density."""
    return of_pytensor() if request.param == "pytensor" else kernel_target(laid_out(), no_data())


@pytest.fixture(scope="module")
def quick() -> Target:
    """Where it does not matter which."""
    return kernel_target(laid_out(), no_data())


def drawn(target: Target, seed: int = 1, **changes: object) -> Draws:
    settings = {"draws": 500, "tune": 200, "chains": 2, "cores": 1, "given": GIVEN} | changes
    whitening = settings.pop("whitening", straight(MEAN, np.linalg.cholesky(COVARIANCE)))
    return sample_nuts(target, whitening, seed=seed, **settings)  # type: ignore[arg-type]


def straight(centre: np.ndarray, matrix: np.ndarray) -> Whitening:
    """z = centre + matrix zeta."""
    return linear(centre, np.zeros(len(centre)), np.arange(len(centre)), matrix)


def parts(whitening: Whitening, n: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Centre and matrix of a whitening that bends nothing."""
    centre = whitening.apply(np.zeros(n))
    return centre, (whitening.apply(np.eye(n)) - centre).T


# ---------------------------------------------------------------- the target


def test_target_has_value_gradient_and_natural_parameters(target: Target) -> None:
    z = np.array([1.0, 2.0, 3.0])
    value, gradient = target.log_density(GIVEN)(z)
    assert value == pytest.approx(gaussian_log_density(z))
    np.testing.assert_allclose(gradient, gaussian(z)[1], rtol=1e-9)
    points = np.arange(24.0).reshape(2, 4, 3) / 10
    natural = target.coordinates.natural(points, GIVEN)
    assert set(natural) == {"place", "width_sd"}
    assert natural["place"].shape == (2, 4, 2) and natural["width_sd"].shape == (2, 4, 1)
    np.testing.assert_allclose(natural["width_sd"][..., 0], np.exp(points[..., 2]))
    assert target.compile_seconds > 0


def test_what_is_given_moves_the_density(target: Target) -> None:
    z = np.array([0.3, -0.2, 0.1])
    found = target.log_density()(z)[0]  # nothing given: a mean of 0
    expected = stats.multivariate_normal(MEAN - 3 * np.array([1, 0.225, 0.225]), COVARIANCE)
    assert found == pytest.approx(expected.logpdf(z))


def test_whitened_coordinates_are_the_chain_rule(target: Target) -> None:
    scale = np.array([[1.0, 0.2, 0.0], [0.0, 2.0, 0.1], [0.3, 0.0, 0.5]])
    zeta, whitening = np.array([0.4, -1.0, 2.0]), straight(MEAN, scale)
    value, gradient = target.whitened(whitening, GIVEN)(zeta)
    z = MEAN + scale @ zeta
    assert value == pytest.approx(gaussian_log_density(z))
    np.testing.assert_allclose(gradient, scale.T @ gaussian(z)[1], rtol=1e-9)
    np.testing.assert_allclose(whitening.apply(zeta), z)
    np.testing.assert_allclose(
        whitening.apply(np.stack([zeta, 2 * zeta]))[1], MEAN + scale @ zeta * 2
    )


@pytest.mark.parametrize("local", [NONE, np.array([True, False, True])], ids=["dense", "local"])
def test_a_bent_whitening_is_the_change_of_variables(target: Target, local: np.ndarray) -> None:
    """Its density is that of z times the Jacobian, up to a constant, and so is its gradient."""
    whitening = whiten_by_draws(skewed(np.random.default_rng(6), 4000), local)
    whitened, plain = target.whitened(whitening, GIVEN), target.log_density(GIVEN)
    constants = []
    for zeta in np.random.default_rng(7).normal(size=(6, 3)) * 1.5:
        value, gradient = whitened(zeta)
        constants.append(value - plain(whitening.apply(zeta))[0] - log_determinant(whitening, zeta))
        for move in np.eye(3) * 1e-5:
            numeric = (whitened(zeta + move)[0] - whitened(zeta - move)[0]) / 2e-5
            assert gradient @ move / 1e-5 == pytest.approx(numeric, rel=1e-5, abs=1e-5)
    np.testing.assert_allclose(constants, constants[0], atol=1e-6)


def log_determinant(whitening: Whitening, zeta: np.ndarray) -> float:
    steps = np.eye(len(zeta)) * 1e-4
    slopes = (whitening.apply(zeta + steps) - whitening.apply(zeta - steps)) / 2e-4
    sign, value = np.linalg.slogdet(slopes)
    assert sign > 0, "one to one"
    return float(value)


def test_chains_need_not_wait_for_one_another() -> None:
    compiled = [
        value
        for module in (joint_kernel, vector_math)
        for value in vars(module).values()
        if isinstance(value, Dispatcher)
    ]
    assert len(compiled) > 20
    assert all(function.targetoptions["nogil"] is True for function in compiled)


@pytest.mark.slow
def test_what_is_loaded_first_changes_no_bit(tmp_path: Path) -> None:
    """In the process that compiles, in one that loads, and where parts are loaded by themselves."""
    script = """
import numpy as np
from modelling import small_observations
from bayesdense.engine.runs import target_of
from bayesdense.sizes import ahead
from bayesdense.spec import load_spec
if {parts}:
    for function, arguments in ahead.calls()[:3]:
        function.compile(ahead.types_of(arguments))
spec = load_spec("joint")
target = target_of(spec, small_observations(spec))
normals = np.random.default_rng(0).normal(size=(20, target.coordinates.size))
density = target.log_density()
print(b"".join(density(target.coordinates.start + 0.3 * z)[1].tobytes() for z in normals).hex())
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    found = [
        subprocess.run(
            [sys.executable, "-c", script.format(parts=parts)],
            env=environment,
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
        ).stdout
        for parts in (False, False, True)
    ]
    assert found[0] == found[1] == found[2] != b""


def test_scale_parameters_are_known_by_their_name() -> None:
    np.testing.assert_array_equal(laid_out().scale_parameters, [False, False, True])


# ---------------------------------------------------------------- whitening


def test_whitening_at_the_mode_makes_a_gaussian_round() -> None:
    centre, scale = parts(whiten_at_mode(gaussian, np.zeros(3), NONE, NONE))
    np.testing.assert_allclose(centre, MEAN, atol=1e-5)
    np.testing.assert_allclose(scale @ scale.T, COVARIANCE, rtol=1e-4, atol=1e-5)


def test_frozen_coordinates_stay_where_they_start() -> None:
    start, frozen = np.array([0.0, 0.0, 0.2]), np.array([False, False, True])
    centre, scale = parts(whiten_at_mode(gaussian, start, frozen, NONE))
    assert centre[2] == 0.2
    np.testing.assert_allclose(scale[2], [0, 0, 0.5])
    # what is left is the Gaussian given the frozen coordinate
    shift = COVARIANCE[:2, 2] / COVARIANCE[2, 2] * (0.2 - MEAN[2])
    np.testing.assert_allclose(centre[:2], MEAN[:2] + shift, atol=1e-5)
    inner = scale[:2, :2]
    np.testing.assert_allclose(inner @ inner.T, np.linalg.inv(PRECISION[:2, :2]), rtol=1e-3)


def test_directions_that_data_leave_open_get_a_bounded_scale() -> None:
    def ridge(z: np.ndarray) -> tuple[float, np.ndarray]:
        return -0.5 * (z[0] + z[1]) ** 2, -np.array([z[0] + z[1], z[0] + z[1]])

    _, scale = parts(whiten_at_mode(ridge, np.array([1.0, 2.0]), NONE[:2], NONE[:2]), 2)
    np.testing.assert_allclose(np.linalg.svd(scale)[1], [3.0, np.sqrt(0.5)], rtol=1e-3)


def test_a_search_that_leaves_the_domain_comes_back() -> None:
    def gamma(z: np.ndarray) -> tuple[float, np.ndarray]:
        if z[0] <= 0:
            return -np.inf, np.full(1, np.nan)
        return float(3 * np.log(z[0]) - z[0]), np.array([3 / z[0] - 1])

    found = whiten_at_mode(gamma, np.array([0.1]), NONE[:1], NONE[:1])
    centre, scale = parts(found, 1)
    assert centre[0] == pytest.approx(3.0, rel=1e-3)
    assert scale[0, 0] == pytest.approx(np.sqrt(3.0), rel=1e-2)


def test_find_whitening_takes_what_is_given(target: Target) -> None:
    """A standard deviation of what is integrated out makes no neck: it is at its mode."""
    centre, _ = parts(find_whitening(target, GIVEN))
    np.testing.assert_allclose(centre, MEAN, atol=1e-4)


def test_a_start_without_density_is_left_for_one_near_it() -> None:
    def density(z: np.ndarray) -> tuple[float, np.ndarray]:
        return (-0.5 * float(z @ z) if z[1] > 0.6 else -np.inf), -z

    here = np.array([3.0, 1.0, 0.0])
    assert (sampling._possible(density, here) == here).all()
    found = sampling._possible(density, np.zeros(3))
    assert found[1] > 0.6
    assert np.abs(found).max() < 3
    nowhere = lambda z: (-np.inf, z)  # noqa: E731
    assert (sampling._possible(nowhere, here) == here).all()


def test_sds_of_what_is_sampled_make_necks() -> None:
    """There the density rises without bound; other sds are found at the mode."""
    spec = load_spec("joint")
    where = coordinates_of(spec, small_observations(spec))
    hyper = {name for name in where.blocks if name.endswith("_sd_sd")}
    exponents = {"param_exponent_sd", "token_exponent_sd", "score_slope_sd", "loss_midpoint_sd"}
    assert necks(where) == hyper | exponents | {"family_sd"}
    latent = spec.with_options(implementation="latent")
    assert "residual_sd" in necks(coordinates_of(latent, small_observations(latent)))


def necks(where: Coordinates) -> set[str]:
    return {name for name, block in where.blocks.items() if where.necks[block].any()}


#: Effects 0 and 3 meet each other only through the others: the precision is an arrow.
ARROW = np.array(
    [
        [2.0, 0.7, -0.4, 0.0],
        [0.7, 3.0, 0.5, 0.9],
        [-0.4, 0.5, 1.5, 0.3],
        [0.0, 0.9, 0.3, 4.0],
    ]
)
LOCAL = np.array([True, False, False, True])


def test_local_coordinates_cost_one_normal_each() -> None:
    """At the mode and from draws: round all the same where the precision is an arrow."""
    mean = np.array([1.0, -2.0, 0.5, 3.0])

    def density(z: np.ndarray) -> tuple[float, np.ndarray]:
        return -0.5 * (z - mean) @ ARROW @ (z - mean), -ARROW @ (z - mean)

    covariance = np.linalg.inv(ARROW)
    centre, scale = parts(whiten_at_mode(density, np.zeros(4), np.zeros(4, bool), LOCAL), 4)
    np.testing.assert_allclose(centre, mean, atol=1e-3)
    np.testing.assert_allclose(scale @ scale.T, covariance, atol=1e-4)
    rng = np.random.default_rng(5)
    found = whiten_by_draws(rng.multivariate_normal(mean, covariance, (4, 5000)), LOCAL)
    back = found.apply(rng.normal(size=(40_000, 4)))
    np.testing.assert_allclose(back.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(back.T), covariance, atol=0.03)
    for slopes in (scale, parts(found, 4)[1]):
        inner = slopes[np.ix_(LOCAL, LOCAL)]
        assert (np.abs(inner[~np.eye(2, dtype=bool)]) < 1e-9).all()


def test_slopes_of_effects_are_those_of_the_hessian() -> None:
    """A hundred draws leave slopes of 400 effects in doubt, the density does not."""
    rng, n = np.random.default_rng(4), 402
    local = np.arange(n) > 1
    slopes = 0.5 * rng.normal(size=(n - 2, 2))
    dense = rng.normal(size=(100, 2))
    draws = np.column_stack([dense, dense @ slopes.T + rng.normal(size=(100, n - 2))])
    whitening = whiten_by_draws(draws[None], local)

    def density(zeta: np.ndarray) -> tuple[float, np.ndarray]:
        """Of straight whitened points, so that every draw has the Hessian of the centre."""
        table = whitening.table
        slope = np.array([step(k) for k in range(n)])
        z = whitening.apply(np.zeros(n)) + slope * (
            table.matrix @ zeta[table.dense] + table.bends[:, 5] * zeta
        )
        rest = z[local] - slopes @ z[~local]
        of_z = np.concatenate([slopes.T @ rest - z[~local], -rest])
        out = table.bends[:, 5] * slope * of_z
        out[table.dense] += table.matrix.T @ (slope * of_z)
        return -0.5 * (rest @ rest + z[~local] @ z[~local]), out

    def step(k: int) -> float:
        _, width, skew, weight, centre, _ = whitening.table.bends[k]
        ends = width * np.sinh(weight * (np.arcsinh(centre + np.array([-1e-6, 1e-6])) + skew))
        return float(np.diff(ends)[0] / 2e-6)

    def misfit(found: Whitening) -> float:
        """Greatest curvature along what is dense."""
        table = found.table
        unit = np.array([step(k) for k in range(n)])
        root = unit[:, None] * table.matrix
        rest = root[local] - slopes @ root[~local]
        return float(np.linalg.eigvalsh(root[~local].T @ root[~local] + rest.T @ rest)[-1])

    assert misfit(whitening) > 4
    assert misfit(turned_by_hessians(whitening, density, draws, local)) < 1.5


def test_draws_at_the_edge_of_the_support_leave_their_own_slopes() -> None:
    z = np.random.default_rng(0).normal(size=(1, 50, 4))
    whitening = whiten_by_draws(z, LOCAL)
    nowhere = lambda zeta: (-np.inf, np.full(4, np.nan))  # noqa: E731
    assert turned_by_hessians(whitening, nowhere, z, LOCAL) is whitening
    assert turned_by_hessians(whitening, nowhere, z, np.zeros(4, dtype=bool)) is whitening


def test_few_draws_and_their_gradients_tell_a_narrow_ridge() -> None:
    """Twelve draws in ten dimensions: a sample covariance says next to nothing."""
    rng, n = np.random.default_rng(7), 10
    covariance = np.full((n, n), 0.999) + 0.001 * np.eye(n)
    draws = rng.multivariate_normal(np.zeros(n), covariance, (2, 6))
    base = linear(np.zeros(n), np.zeros(n), np.arange(n), 2 * np.eye(n))

    def density(zeta: np.ndarray) -> tuple[float, np.ndarray]:
        slope = -np.linalg.solve(covariance, 2 * zeta)
        return zeta @ slope, 2 * slope

    found = turned_by_gradients(base, density, draws).table.matrix
    np.testing.assert_allclose(found @ found.T, covariance, atol=1e-6)
    sampled = np.cov(draws.reshape(-1, n).T)
    assert np.linalg.cond(np.linalg.solve(covariance, sampled)) > 50
    assert turned_by_gradients(base, density, draws[:1]) is base, "fewer draws than dimensions"


def test_trajectories_are_exact_for_a_normal(
    quick: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energy is then kept to rounding, whatever the step; the leapfrog's is not."""
    errors = []
    for least in (1, sampling._NEARLY_NORMAL):
        monkeypatch.setattr(sampling, "_NEARLY_NORMAL", least)
        errors.append(float(np.abs(drawn(quick, tune=300).stats["energy_error"]).median()))
    exact, leapfrog = errors
    assert exact < 0.3 * leapfrog


def test_of_many_coordinates_only_what_stands_alone_is_bent() -> None:
    """Ninety draws of a hundred coordinates: eighty local, a ridge of ten, ten on their own."""
    rng = np.random.default_rng(8)
    local = np.arange(100) < 80
    z = np.exp(0.6 * rng.normal(size=(3, 30, 100)))
    z[..., 80:90] = z[..., 80, None] + 0.05 * rng.normal(size=(3, 30, 10))

    def is_bent(draws: np.ndarray) -> np.ndarray:
        _, _, skew, weight, _, _ = whiten_by_draws(draws, local).table.bends.T
        return (skew != 0) | (weight != 1)

    found = is_bent(z)
    assert not found[:90].any() and found[90:].mean() > 0.8
    assert is_bent(np.concatenate([z, z]))[:90].mean() > 0.8, "draws outnumber coordinates"


@pytest.mark.parametrize("local", [NONE, np.array([True, False, True])], ids=["dense", "local"])
def test_normals_of_points(local: np.ndarray) -> None:
    whitening = whiten_by_draws(skewed(np.random.default_rng(6), 400), local)
    zeta = np.random.default_rng(7).normal(size=(2, 3, 3))
    np.testing.assert_allclose(whitening.normals(whitening.apply(zeta)), zeta, rtol=1e-9)


def test_chains_begin_one_sd_off_the_mean() -> None:
    """Where whitening is right the gradients there are 1, too; seeds give all corners."""
    starts = np.array([sampling._start(3, seed) for seed in range(100)])
    assert (np.abs(starts) == 1.0).all()
    assert len(np.unique(starts, axis=0)) == 8
    np.testing.assert_array_equal(starts[7], sampling._start(3, 7))


def test_steps_are_as_small_as_the_model_asks() -> None:
    joint_spec, densities = load_spec("joint"), load_spec("trend_only")
    of_scores = coordinates_of(joint_spec, small_observations(joint_spec))
    published = load_dataset("densing-published")
    of_densities = coordinates_of(densities, observe(densities, published))
    assert sampling._acceptance(of_scores) < sampling._acceptance(of_densities)
    many = replace(of_scores, free=np.arange(sampling._NEARLY_NORMAL))
    assert sampling._acceptance(many) > sampling._acceptance(of_scores)


def test_effects_of_families_are_local() -> None:
    spec = load_spec("joint")
    where = coordinates_of(spec, small_observations(spec))
    assert set(np.flatnonzero(where.local)) == set(
        range(*where.blocks["family_effect"].indices(where.size))
    )


def skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Four chains of correlated draws: skewed to the right, to the left, and heavy-tailed."""
    normal = rng.multivariate_normal(np.zeros(3), np.full((3, 3), 0.6) + 0.4 * np.eye(3), (4, n))
    right, left, heavy = np.moveaxis(normal, -1, 0)
    return np.stack(
        [5 + np.exp(0.4 * right), -np.exp(0.3 * left), 3 * np.sinh(1.2 * np.arcsinh(heavy))],
        axis=-1,
    )


@pytest.mark.parametrize("local", [NONE, np.array([False, True, False])], ids=["dense", "local"])
def test_standard_normal_draws_need_no_whitening(local: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    found = whiten_by_draws(rng.normal(size=(4, 5000, 3)), local)
    for zeta in (np.zeros(3), *np.eye(3), *-np.eye(3), np.array([1.5, -1.5, 2.0])):
        np.testing.assert_allclose(found.apply(zeta), zeta, atol=0.15)


def test_whitening_by_draws_of_a_gaussian() -> None:
    rng = np.random.default_rng(0)
    found = whiten_by_draws(rng.multivariate_normal(MEAN, COVARIANCE, (4, 5000)), NONE)
    back = found.apply(rng.normal(size=(20_000, 3)))
    sd = np.sqrt(np.diag(COVARIANCE))
    np.testing.assert_allclose((back.mean(axis=0) - MEAN) / sd, 0.0, atol=0.05)
    error = (np.cov(back.T) - COVARIANCE) / np.outer(sd, sd)
    assert np.abs(error).max() < 0.06


def test_whitened_skewed_draws_are_normal() -> None:
    """Standard normals go to what the draws came from: quantiles, and ranks together."""
    rng = np.random.default_rng(1)
    found = whiten_by_draws(skewed(rng, 4000), NONE)
    back = found.apply(rng.normal(size=(40_000, 3)))
    fresh = skewed(rng, 10_000).reshape(-1, 3)
    levels = stats.norm.cdf([-2, -1, 0, 1, 2])
    expected = np.quantile(fresh, levels, axis=0)
    error = (np.quantile(back, levels, axis=0) - expected) / fresh.std(axis=0)
    assert np.abs(error).max() < 0.1
    straight = fresh.mean(axis=0) + stats.norm.ppf(levels)[:, None] * fresh.std(axis=0)
    assert np.abs((straight - expected) / fresh.std(axis=0)).max() > 0.3, "bends are needed"
    ranks = [np.corrcoef(stats.rankdata(sample, axis=0).T) for sample in (back, fresh)]
    np.testing.assert_allclose(*ranks, atol=0.05)


@pytest.mark.parametrize("local", [NONE, np.array([False, True, False])], ids=["dense", "local"])
def test_whitening_does_not_depend_on_units(local: np.ndarray) -> None:
    draws = skewed(np.random.default_rng(2), 500)
    zeta = np.random.default_rng(3).normal(size=(20, 3))
    unit, origin = np.array([1e-3, 1.0, 50.0]), np.array([0.0, -7.0, 1e3])
    expected = origin + unit * whiten_by_draws(draws, local).apply(zeta)
    found = whiten_by_draws(origin + unit * draws, local).apply(zeta)
    np.testing.assert_allclose((found - expected) / unit, 0.0, atol=1e-6)


@pytest.mark.parametrize("n_local", [0, 5, 19])
def test_few_draws_are_shrunk_towards_independence(n_local: int) -> None:
    rng = np.random.default_rng(0)
    few = rng.normal(size=(1, 8, 20))  # their covariance has no inverse
    _, slopes = parts(whiten_by_draws(few, np.arange(20) < n_local), 20)
    assert np.isfinite(slopes).all()
    assert np.linalg.cond(slopes) < 60


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize("nearly_normal", [sampling._NEARLY_NORMAL, 1], ids=["leapfrog", "exact"])
def test_nuts_recovers_a_known_normal(
    target: Target, nearly_normal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along either kind of trajectories."""
    monkeypatch.setattr(sampling, "_NEARLY_NORMAL", nearly_normal)
    z = drawn(target, draws=2000, tune=300, chains=2).z
    assert z.shape == (2, 2000, 3)
    points = z.reshape(-1, 3)
    sd = np.sqrt(np.diag(COVARIANCE))
    error = (points.mean(axis=0) - MEAN) / sd
    assert np.abs(error).max() < 5 / np.sqrt(1000), "four thousand draws, an ESS of 1,000 or more"
    ratio = np.cov(points.T) / np.outer(sd, sd) - COVARIANCE / np.outer(sd, sd)
    assert np.abs(ratio).max() < 0.15
    for k in range(3):
        quantile = stats.norm.cdf((points[:, k] - MEAN[k]) / sd[k])
        assert np.abs(np.quantile(quantile, [0.025, 0.25, 0.75, 0.975]) - [0.025, 0.25, 0.75, 0.975]
                      ).max() < 0.03  # fmt: skip


def test_a_poor_whitening_only_costs_time(target: Target) -> None:
    z = drawn(target, draws=1500, whitening=straight(np.zeros(3), np.eye(3))).z.reshape(-1, 3)
    sd = np.sqrt(np.diag(COVARIANCE))
    assert np.abs((z.mean(axis=0) - MEAN) / sd).max() < 0.25


def test_a_seed_gives_the_same_draws_bit_by_bit(target: Target) -> None:
    first, again, other = (drawn(target, seed).z for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] != first[1]).any(), "chains differ"
    many = drawn(target, 7, cores=2).z
    np.testing.assert_array_equal(first, many)


def test_statistics_are_those_that_the_checks_read(quick: Target) -> None:
    found = drawn(quick, draws=50, tune=50).stats
    assert {"diverging", "depth", "maxdepth_reached", "n_steps", "energy", "step_size"} <= set(
        found
    )
    assert dict(found.sizes) == {"chain": 2, "draw": 50}
    assert not found["diverging"].any()


def test_progress_counts_all_chains(target: Target) -> None:
    seen: list[tuple[int, int, int]] = []
    drawn(target, draws=3000, tune=100, progress=lambda *counts: seen.append(counts))
    assert seen
    assert all(done <= total == 2 * 3100 for done, total, _ in seen)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


type Told = tuple[int, int, int]


def asked(seen: list[Told], draws: int = 1000) -> Settings:
    """Settings of a run that tells its progress to a list."""
    return Settings(
        draws, 200, 4, 1, np.random.SeedSequence(1), lambda *counts: seen.append(counts)
    )


def test_progress_of_parts_is_that_of_the_whole() -> None:
    seen: list[Told] = []
    part = part_of(asked(seen).progress, before=2400, total=7200, divergences=2)
    assert part is not None
    part(4800, 4800, 3)
    assert seen == [(7200, 7200, 5)]
    assert part_of(None, before=0, total=1) is None


def test_pilot_and_main_run_are_one_whole(quick: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: object, __: object, *, draws: int, tune: int, chains: int, **more: object) -> Draws:
        total = chains * (draws + tune)
        more["progress"](0, total, 0)  # type: ignore[operator]
        more["progress"](total, total, 7)  # type: ignore[operator]
        return Draws(np.random.default_rng(0).normal(size=(chains, draws, 3)), xr.Dataset())

    seen: list[Told] = []
    monkeypatch.setattr(joint, "find_whitening", lambda _: None)
    monkeypatch.setattr(joint, "sample_nuts", run)
    joint.pilot_and_main(quick, asked(seen))
    pilot = 4 * (joint._PILOT_TUNE + joint._PILOT_DRAWS)
    whole = pilot + 4 * 1200
    assert seen == [(0, whole, 0), (pilot, whole, 0), (pilot, whole, 0), (whole, whole, 7)]


def test_every_run_of_a_second_stage_is_told(
    quick: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred short runs without a word would look like a program that hangs."""
    seen: list[Told] = []
    for name, value in (("_POINTS", 3), ("_TUNE", 50), ("_DRAWS", 30)):
        monkeypatch.setattr(cut, name, value)
    vectors = GIVEN + np.arange(3)[:, None]
    runs = cut._second_stage(quick, vectors, asked(seen, draws=20))
    assert [run.z.shape for run in runs] == [(2, 30, 3)] * 3
    assert {total for _, total, _ in seen} == {3 * 2 * 80}
    done = [count for count, _, _ in seen]
    assert done == sorted(done)
    for k in range(3):
        assert any(160 * k <= count <= 160 * (k + 1) for count in done), f"run {k} was silent"


def test_a_shortened_trace_is_an_error(quick: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(sampler: object, interrupted: object) -> object:
        tree = finish(sampler, interrupted)
        return {
            "posterior": {"zeta": tree["posterior"]["zeta"][:, :10]},
            "sample_stats": tree["sample_stats"],
        }

    finish = sampling._finish
    monkeypatch.setattr(sampling, "_finish", half)
    with pytest.raises(RuntimeError, match=r"nutpie returned .* draws instead of \(2, 50\)"):
        drawn(quick, draws=50, tune=50)


# ---------------------------------------------------------------- interruption


def test_ctrl_c_cancels_the_sampler_and_is_raised_again(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    samplers = []
    start = sampling.nutpie.sample

    def recording(*args: object, **kwargs: object) -> object:
        samplers.append(start(*args, **kwargs))
        return samplers[-1]

    def press(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling.nutpie, "sample", recording)
    monkeypatch.setattr(sampling.time, "sleep", press)
    with pytest.raises(KeyboardInterrupt):
        drawn(target, draws=5_000_000, tune=1000)
    monkeypatch.undo()
    (sampler,) = samplers
    threads = threading.active_count()
    time.sleep(0.3)
    assert threading.active_count() <= threads
    assert sampler.is_finished or sampler._sampler is None, "nothing goes on sampling"
    drawn(target, draws=20, tune=20)


def test_whatever_ends_the_wait_ends_the_sampling() -> None:
    for problem in (KeyboardInterrupt, SystemExit, RuntimeError):
        cancelled = []

        def wait(problem: type[BaseException] = problem) -> None:
            raise problem

        sampler = SimpleNamespace(
            is_finished=True, wait=wait, cancel=lambda done=cancelled: done.append(True)
        )
        with pytest.raises(problem):
            sampling._finish(sampler, lambda: False)
        assert cancelled == [True]


def test_a_lost_interrupt_is_noticed_while_polling() -> None:
    cancelled = []
    sampler = SimpleNamespace(is_finished=False, cancel=lambda: cancelled.append(True))
    with pytest.raises(KeyboardInterrupt):
        sampling._finish(sampler, lambda: True)
    assert cancelled == [True]


def test_a_late_answer_is_no_end() -> None:
    class Busy:
        asked = 0

        @property
        def is_finished(self) -> bool:
            self.asked += 1
            if self.asked < 3:
                raise TimeoutError
            return True

        def wait(self) -> str:
            return "tree"

    busy = Busy()
    assert sampling._finish(busy, lambda: False) == "tree"
    assert busy.asked == 3


@pytest.mark.usefixtures("minding_ctrl_c")
def test_a_first_interrupt_is_noted_and_a_second_acts_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with noticing_interrupts() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupted()
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def ask() -> None:
        with noticing_interrupts() as interrupted:
            seen.append((interrupted(), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


# ---------------------------------------------------------------- diagnostics of stages


def test_diagnostics_are_the_worst_over_parameters() -> None:
    rng = np.random.default_rng(0)
    good = rng.normal(size=(4, 500))
    bad = good + np.arange(4)[:, None]
    rhat, bulk, tail = _diagnostics({"good": good, "pair": np.stack([good, bad], axis=-1)})
    assert rhat > 1.5 and bulk < 50 and tail < 1000
    rhat, bulk, _ = _diagnostics({"good": good})
    assert rhat < 1.02 and bulk > 1200


# ---------------------------------------------------------------- the stages of a cut


def test_the_first_stage_of_a_cut_samples_law_and_map_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it learns nothing about has no density there: sampled, it would wander off."""

    class Asked(Exception):
        pass

    def run(target: Target, _: object) -> Draws:
        found.append(target)
        raise Asked

    found: list[Target] = []
    monkeypatch.setattr(cut, "pilot_and_main", run)
    spec = load_spec("joint").with_options(feedback="cut", quadrature_spacing=1.0)
    with pytest.raises(Asked):
        cut.sample_cut(spec, small_observations(spec), asked([]))
    names = set(found[0].coordinates.names)
    assert {"loss_floor", "map_noise_sd", "param_exponent_mean"} <= names
    assert not {"growth_rate", "residual_sd", "family_effect", "discrepancy_sd"} & names
