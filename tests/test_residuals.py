"""Densities and tails of the residual: against SciPy, by numerical convolution, at extremes."""

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from bayesdense.residuals import LOG_DENSITY, NUMPY, composed_log_density, log_tails

SHAPES = {"symmetric": (1.0,), "student_t": (0.8, 3.0, 40.0), "composed": (0.05, 0.8, 20.0)}
CASES = [
    (kind, sd, shape)
    for kind, shapes in SHAPES.items()
    for shape in shapes
    for sd in (0.05, 1.0, 5.0)
]


def minus_residual(kind: str, sd: float, shape: float):
    """SciPy's distribution of minus the residual."""
    if kind == "student_t":
        return stats.t(shape, scale=sd)
    if kind == "composed":
        return stats.exponnorm(shape / sd, scale=sd)
    return stats.norm(scale=sd)


@pytest.mark.parametrize(("kind", "sd", "shape"), CASES)
def test_densities_integrate_to_one(kind: str, sd: float, shape: float) -> None:
    def density(z: float) -> float:
        # deviation = sinh(z) sd: heavy tails within reach of a finite interval
        log_density = LOG_DENSITY[kind](sd * np.sinh(z), sd, shape, NUMPY)
        return float(np.exp(log_density + np.log(sd) + np.log(np.cosh(z))))

    parts = (integrate.quad(density, a, b)[0] for a, b in itertools.pairwise(range(-30, 31, 3)))
    assert sum(parts) == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(("kind", "sd", "shape"), CASES)
def test_densities_are_those_of_scipy(kind: str, sd: float, shape: float) -> None:
    deviation = np.linspace(-8, 8, 41) * sd
    expected = minus_residual(kind, sd, shape).logpdf(-deviation)
    found = LOG_DENSITY[kind](deviation, sd, shape, NUMPY)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("sd", "one_sided_sd"), [(1.0, 0.05), (0.3, 1.0), (0.1, 3.0)])
def test_composed_is_normal_minus_exponential(sd: float, one_sided_sd: float) -> None:
    for deviation in (-4.0, -1.0, 0.0, 0.4):

        def joint(u: float, deviation: float = deviation) -> float:
            return float(
                stats.norm.pdf(deviation + u, scale=sd) * stats.expon.pdf(u, scale=one_sided_sd)
            )

        peak = max(-deviation, 0.0)
        breaks = [0.0, *np.clip(peak + sd * np.array([-8, -2, 0, 2, 8]), 0, None)]
        breaks += [*(one_sided_sd * np.array([1.0, 5.0, 40.0]) + peak)]
        value = sum(integrate.quad(joint, a, b)[0] for a, b in itertools.pairwise(sorted(breaks)))
        found = np.exp(composed_log_density(deviation, sd, one_sided_sd, NUMPY))
        assert found == pytest.approx(value, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("kind", "sd", "shape"), CASES)
def test_tails_far_out_are_those_of_scipy(kind: str, sd: float, shape: float) -> None:
    """At the distances of the grid's ends, and where the probability is not below exp(-600)."""
    distance = np.array([100.0, 200.0, 300.0])
    minus = minus_residual(kind, sd, shape)
    below, above = log_tails(kind, distance, distance, sd, shape, NUMPY)
    for found, expected in ((below, minus.logsf(distance)), (above, minus.logcdf(-distance))):
        seen = expected > -600
        if kind == "composed" and found is above:  # a bound, where it matters to nothing
            assert ((found >= expected - 1e-6) & (found < -150)).all()
            continue
        bound = 5e-3 if kind == "student_t" and shape > 10 else 1e-5
        np.testing.assert_allclose(found[seen], expected[seen], atol=bound)
        assert (found[~seen] < -500).all()
        assert np.isfinite(found).all()


def test_tail_of_a_location_beyond_the_grid_is_finite() -> None:
    below, above = log_tails("symmetric", np.array([-50.0]), np.array([-1.0]), 1.0, 1.0, NUMPY)
    assert -1e-5 < below[0] <= 0
    assert above[0] == pytest.approx(stats.norm.logcdf(1.0))


@pytest.mark.parametrize("kind", LOG_DENSITY)
def test_gradients_are_finite_at_extremes(kind: str) -> None:
    import pytensor
    import pytensor.tensor as pt

    deviation, sd, shape = pt.dvectors("deviation", "sd", "shape")
    density = LOG_DENSITY[kind](deviation, sd, shape, pt)
    tails = log_tails(kind, abs(deviation) + 100, abs(deviation) + 100, sd, shape, pt)
    outputs = [density, *tails]
    used = [deviation, sd] if kind == "symmetric" else [deviation, sd, shape]
    gradients = [
        g for out in outputs for g in pytensor.grad(out.sum(), used, disconnected_inputs="ignore")
    ]
    function = pytensor.function(
        [deviation, sd, shape],
        [*outputs, *gradients],
        mode="FAST_COMPILE",
        on_unused_input="ignore",
    )
    grid = itertools.product((-400.0, -3.0, 0.0, 3.0, 400.0), (0.02, 1.0, 8.0), (0.02, 1.0, 50.0))
    values = function(*np.array(list(grid)).T)
    assert all(np.isfinite(value).all() for value in values)


@pytest.mark.parametrize("kind", ["student_t", "composed"])
def test_gradients_are_those_of_the_formula(kind: str) -> None:
    import pytensor
    import pytensor.tensor as pt

    inputs = pt.dvectors("deviation", "sd", "shape")
    density = LOG_DENSITY[kind](*inputs, pt)
    function = pytensor.function(inputs, pytensor.grad(density.sum(), inputs), mode="FAST_COMPILE")
    at = np.array(list(itertools.product((-3.0, 0.1, 2.0), (0.2, 1.0), (0.3, 2.0)))).T
    step = 1e-5
    for k, gradient in enumerate(function(*at)):
        shift = np.zeros((3, 1))
        shift[k] = step
        plus, minus = (LOG_DENSITY[kind](*(at + sign * shift), NUMPY) for sign in (1, -1))
        np.testing.assert_allclose(gradient, (plus - minus) / (2 * step), rtol=1e-5, atol=1e-6)
