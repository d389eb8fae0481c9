"""Sampling coordinates are a bijection, and their density the model's times the Jacobian."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, reduce
from operator import add

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from modelling import natural_log_density, small_observations
from pytensor.compile.mode import Mode
from scipy import stats

from bayesdense.build import build_from_observations
from bayesdense.dataset import load_dataset
from bayesdense.engine.coordinates import Coordinates
from bayesdense.engine.cut import _reference_names
from bayesdense.engine.runs import coordinates_of
from bayesdense.observations import Observations, observe
from bayesdense.spec import ModelSpec, load_spec

#: No rewrites: they would join the summands.
PLAIN = Mode(linker="py", optimizer=None)
NOTHING = np.zeros(0)


def joint(**options: object) -> tuple[ModelSpec, Observations]:
    spec = load_spec("joint").with_options(quadrature_spacing=1.0, **options)
    return spec, small_observations(spec)


def cell_noise() -> tuple[ModelSpec, Observations]:
    """As on `olmo-ladder`: no replicated report, scores of two benchmarks under a protocol."""
    spec, _ = joint()
    return spec, replace(small_observations(spec, other_protocol=(1, 2)), reports=None)


def densities(*, known: bool = False, **options: object) -> tuple[ModelSpec, Observations]:
    spec = load_spec("trend_only").with_options(**options)
    data = observe(spec, load_dataset("densing-published-mmlu"))
    assert data.densities is not None
    if known:
        errors = np.linspace(0.0, 0.3, len(data.llms.names))
        data = replace(data, densities=replace(data.densities, known_var=errors**2))
    return spec, data


CASES: dict[str, Callable[[], tuple[ModelSpec, Observations]]] = {
    "joint": joint,
    "additive": lambda: joint(loss_law="additive"),
    "independent": lambda: joint(loss_noise="independent", score_noise="cell"),
    "latent": lambda: joint(implementation="latent", residual="student_t"),
    "composed": lambda: joint(residual="composed", scale_trend=True),
    "no family": lambda: joint(family="none", trend="flat"),
    "cell_sd": cell_noise,
    "densities": densities,
    "known errors": lambda: densities(known=True, residual="composed", scale_trend=True),
    "student_t": lambda: densities(residual="student_t"),
}
type Compiled = Callable[..., list[np.ndarray]]


@cache
def laid_out(case: str) -> tuple[ModelSpec, Observations, Coordinates, Compiled]:
    """Coordinates of a case, and (z, given) -> log density, gradient, natural parameters."""
    spec, data = CASES[case]()
    model = build_from_observations(spec, data)
    where = coordinates_of(spec, data, model, terms=None, given=())
    return spec, data, where, compiled(where)


def compiled(where: Coordinates) -> Compiled:
    total = two_by_two(where.log_density)
    outputs = [total, pt.grad(total, where.z), *where.natural.values()]
    return pytensor.function([where.z, where.given], outputs, mode=PLAIN, on_unused_input="ignore")


def two_by_two(total: pt.TensorVariable) -> pt.TensorVariable:
    """The same sum, added two by two: Python's operations take 32 summands at most."""
    if total.owner is None or total.owner.op != pt.add:
        return total
    return reduce(add, map(two_by_two, total.owner.inputs))


def points(where: Coordinates, n: int, seed: int = 1) -> list[np.ndarray]:
    """Points about the start, some of them two units away."""
    rng = np.random.default_rng(seed)
    return [where.start + rng.normal(0, scale, where.size) for scale in np.linspace(0.3, 1.0, n)]


def flat(natural: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in natural])


def log_determinant(function: Callable[[np.ndarray], np.ndarray], z: np.ndarray) -> float:
    """Log |det| of a Jacobian by differences of fourth order."""
    step, n = 1e-3, len(z)
    columns = []
    for k in range(n):
        move = np.zeros(n)
        move[k] = step
        near = function(z + move) - function(z - move)
        far = function(z + 2 * move) - function(z - 2 * move)
        columns.append((8 * near - far) / (12 * step))
    sign, value = np.linalg.slogdet(np.array(columns))
    assert sign != 0
    return float(value)


@pytest.mark.parametrize("case", CASES)
def test_density_is_the_models_times_the_jacobian(case: str) -> None:
    spec, data, where, function = laid_out(case)
    natural_density = natural_log_density(build_from_observations(spec, data))
    natural_of = pytensor.function([where.z], list(where.natural.values()), mode=PLAIN)
    for z in points(where, 2):
        value, _, *natural = function(z, NOTHING)
        assert flat(natural).shape == z.shape, "as many natural parameters as coordinates"
        named = dict(zip(where.natural, natural, strict=True))
        expected = sum(float(np.sum(term)) for term in natural_density(named))
        expected += log_determinant(lambda at: flat(natural_of(at)), z)
        assert float(value) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_gradient(case: str) -> None:
    _, _, where, function = laid_out(case)
    z = points(where, 1, seed=2)[0]
    gradient = function(z, NOTHING)[1]
    assert np.isfinite(gradient).all()
    rng = np.random.default_rng(4)
    for direction in rng.normal(size=(4, where.size)):
        step = 1e-5
        ends = [float(function(z + s * step * direction, NOTHING)[0]) for s in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * step)
        assert gradient @ direction == pytest.approx(expected, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_every_point_has_parameters_in_their_support(case: str) -> None:
    _, _, where, function = laid_out(case)
    rng = np.random.default_rng(3)
    for scale in (0.5, 1.0):
        value, _, *natural = function(where.start + rng.normal(0, scale, where.size), NOTHING)
        assert np.isfinite(value)
        for name, found in zip(where.natural, natural, strict=True):
            assert np.isfinite(found).all(), name
            if name.endswith(("_sd", "_df", "_coef", "_exponent", "_slope")):
                assert name == "residual_log_sd_slope" or (found > 0).all(), name
            if name in ("score_floor", "score_ceiling"):
                assert ((found > 0) & (found < 1)).all(), name


def test_blocks_tile_the_vector() -> None:
    _, _, where, _ = laid_out("joint")
    covered = np.concatenate([np.arange(where.size)[block] for block in where.blocks.values()])
    np.testing.assert_array_equal(covered, np.arange(where.size))
    law = {name for name in where.blocks if name.startswith("law:")}
    assert len(law) == 5 and "loss_floor" not in where.blocks
    assert "law:floor_share" not in laid_out("additive")[2].blocks


def test_scale_parameters_are_sds_and_degrees_of_freedom() -> None:
    _, _, where, _ = laid_out("latent")
    frozen = {name for name, block in where.blocks.items() if where.scale_parameters[block].all()}
    partly = {name for name, block in where.blocks.items() if where.scale_parameters[block].any()}
    assert frozen == partly
    assert {
        "residual_sd",
        "residual_df",
        "family_sd",
        "param_exponent_sd",
        "loss_noise_sd",
    } <= frozen
    assert not {"growth_rate", "log_effective_params", "family_effect"} & frozen
    assert "residual_log_sd_slope" not in {
        name
        for name, block in laid_out("composed")[2].blocks.items()
        if laid_out("composed")[2].scale_parameters[block].any()
    }


def test_sizes_start_at_the_llms_own() -> None:
    _, data, where, _ = laid_out("latent")
    block = where.blocks["log_effective_params"]
    np.testing.assert_array_equal(where.start[block], data.llms.log_params)


def test_the_start_is_a_plausible_law() -> None:
    _, data, where, function = laid_out("joint")
    natural = dict(zip(where.natural, function(where.start, NOTHING)[2:], strict=True))
    centre = data.joint.benchmarks.loss_centre
    total = natural["loss_floor"] + natural["param_coef"] + natural["token_coef"]
    np.testing.assert_allclose(total, centre, err_msg="the loss at the ladder's centre")
    assert ((natural["param_exponent"] > 0.1) & (natural["param_exponent"] < 0.6)).all()
    assert ((natural["loss_floor"] > 0) & (natural["loss_floor"] < 0.3 * centre)).all()


def test_quantile_maps_are_standard_normal_under_the_prior() -> None:
    _, _, where, function = laid_out("densities")
    names = list(where.natural)
    for z in (-1.5, 0.0, 2.0):
        at = np.full(where.size, z)
        found = dict(zip(names, function(at, NOTHING)[2:], strict=True))
        assert found["growth_rate"] == pytest.approx(2 * z)
        assert stats.halfnorm.cdf(found["family_sd"]) == pytest.approx(stats.norm.cdf(z))
        assert found["residual_sd"] == pytest.approx(np.exp(-0.2 + 0.5 * z))
        np.testing.assert_allclose(found["family_effect"], z * found["family_sd"])


def test_noise_that_no_data_pin_hangs_on_its_mean() -> None:
    """Entries without data are non-centred: they follow the mean; others do not."""
    spec, data = joint()
    assert data.reports is not None
    only = replace(
        data.reports,
        benchmark_idx=data.reports.benchmark_idx[:2],
        sum_of_squares=data.reports.sum_of_squares[:2],
        degrees=data.reports.degrees[:2],
    )
    data = replace(data, reports=only)
    model = build_from_observations(spec, data)
    where = coordinates_of(spec, data, model, terms=None, given=())
    function = compiled(where)
    moved = where.start.copy()
    moved[where.blocks["protocol_sd_mean"]] += 1.0
    names = list(where.natural)
    before, after = (
        dict(zip(names, function(z, NOTHING)[2:], strict=True)) for z in (where.start, moved)
    )
    changed = before["protocol_sd"] != after["protocol_sd"]
    pinned = np.isin(np.arange(5), only.benchmark_idx)
    np.testing.assert_array_equal(changed, ~pinned)


def test_given_variables_are_inputs_and_parts_add_up() -> None:
    """The two stages of a cut: their densities sum to the whole, at the same parameters."""
    spec, data, whole, function = laid_out("joint")
    model = build_from_observations(spec, data)
    reference = _reference_names(spec, model)
    assert {"loss", "loss_score", "param_exponent_sd", "map_noise_sd"} <= set(reference)
    assert not {"score", "score_reports", "protocol_sd", "growth_rate"} & set(reference)
    rest = [rv.name for rv in model.basic_RVs if rv.name not in reference]
    given = [rv.name for rv in model.free_RVs if rv.name in reference]
    first = coordinates_of(spec, data, model, terms=reference, given=())
    second = coordinates_of(spec, data, model, terms=rest, given=given)
    assert first.size + second.size == whole.size
    assert second.given_names == tuple(given) and not first.given_names
    assert set(first.natural) == set(given)
    z = points(whole, 1, seed=5)[0]
    value, _, *natural = function(z, NOTHING)
    named = dict(zip(whole.natural, natural, strict=True))

    def part(where: Coordinates) -> np.ndarray:
        return np.concatenate([z[whole.blocks[name]] for name in where.blocks])

    one, _, *law = compiled(first)(part(first), NOTHING)
    for name, found in zip(first.natural, law, strict=True):
        np.testing.assert_allclose(found, named[name], err_msg=name)
    vector = flat([named[name] for name in given])
    two, _, *others = compiled(second)(part(second), vector)
    for name, found in zip(second.natural, others, strict=True):
        np.testing.assert_allclose(found, named[name], err_msg=name)
    assert float(one) + float(two) == pytest.approx(float(value), abs=1e-7)
