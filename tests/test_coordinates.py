"""Sampling coordinates are a bijection, and their density the model's times the Jacobian."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from modelling import natural_log_density, small_observations
from scipy import stats

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats
from bayesdense.build import build_from_observations
from bayesdense.dataset import load_dataset
from bayesdense.engine import runs
from bayesdense.engine.coordinates import Coordinates, _suited_power
from bayesdense.engine.cut import _REFERENCE_OBSERVED, _REST_OBSERVED, _reference_names
from bayesdense.engine.kernel_data import is_covered
from bayesdense.engine.runs import coordinates_of, tables_of, target_of
from bayesdense.observations import Observations, observe
from bayesdense.spec import ModelSpec, load_spec


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
    "break_known": lambda: joint(trend="break_known@2024-04-01"),
    "break_free": lambda: densities(trend="break_free"),
    "densities": densities,
    "known errors": lambda: densities(known=True, residual="composed", scale_trend=True),
    "student_t": lambda: densities(residual="student_t"),
}
#: PyTensor compiles what the kernel does not cover, in half a minute each: one of them always.
COMPILED = [
    case
    if case == "student_t" or is_covered(CASES[case]()[0])
    else pytest.param(case, marks=pytest.mark.slow)
    for case in CASES
]


@cache
def laid_out(case: str) -> tuple[ModelSpec, Observations, Coordinates]:
    spec, data = CASES[case]()
    return spec, data, coordinates_of(spec, data)


def points(where: Coordinates, n: int, seed: int = 1) -> list[Floats]:
    """Points about the start, some of them two units away."""
    rng = np.random.default_rng(seed)
    return [where.start + rng.normal(0, scale, where.size) for scale in np.linspace(0.3, 1.0, n)]


def unpacked(where: Coordinates, z: Floats) -> tuple[float, Floats]:
    """Log Jacobian and theta of a point, nothing given."""
    theta = np.zeros(where.n_theta)
    return kernel.unpack(z, where.maps, where.slots, theta), theta


def natural_at(where: Coordinates, z: Floats, given: Floats | None = None) -> dict[str, Floats]:
    """Natural parameters of one point."""
    return {name: value[0] for name, value in where.natural(z[None], given).items()}


def log_determinant(function: Callable[[Floats], Floats], z: Floats) -> float:
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


def assert_slope(
    function: Callable[[Floats], float], gradient: Floats, z: Floats, seed: int = 4
) -> None:
    """A gradient is that of a function, in random directions, by differences of fourth order."""
    assert np.isfinite(gradient).all()
    for direction in np.random.default_rng(seed).normal(size=(4, len(z))):
        step = 1e-5 * direction
        near = function(z + step) - function(z - step)
        far = function(z + 2 * step) - function(z - 2 * step)
        expected = (8 * near - far) / 12e-5
        assert gradient @ direction == pytest.approx(expected, rel=1e-5, abs=1e-3)


# ---------------------------------------------------------------- the bijection


@pytest.mark.parametrize("case", CASES)
def test_jacobian_is_that_of_the_map(case: str) -> None:
    _, _, where = laid_out(case)
    assert where.size == where.n_theta, "as many natural parameters as coordinates"
    for z in points(where, 2):
        expected = log_determinant(lambda at: unpacked(where, at)[1], z)
        assert unpacked(where, z)[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_pulled_back_by_the_chain_rule(case: str) -> None:
    """Of a made-up function of theta; the log Jacobian's own is added."""
    _, _, where = laid_out(case)
    weights = np.random.default_rng(7).normal(size=where.n_theta)

    def function(z: Floats) -> float:
        log_jacobian, theta = unpacked(where, z)
        return float(log_jacobian + weights @ np.sin(theta))

    for z in points(where, 2, seed=2):
        theta = unpacked(where, z)[1]
        used_up = weights * np.cos(theta)
        gradient = kernel.pull_back(z, theta, where.maps, where.slots, used_up)
        assert_slope(function, gradient, z)


@pytest.mark.parametrize("case", CASES)
def test_every_point_has_parameters_in_their_support(case: str) -> None:
    _, _, where = laid_out(case)
    rng = np.random.default_rng(3)
    for scale in (0.5, 1.0):
        found = natural_at(where, where.start + rng.normal(0, scale, where.size))
        assert set(found) == set(where.blocks)
        for name, value in found.items():
            assert np.isfinite(value).all(), name
            if name.endswith(("_sd", "_df", "_coef", "_exponent", "_slope")):
                assert name == "residual_log_sd_slope" or (value > 0).all(), name
            if name in ("score_floor", "score_ceiling"):
                assert ((value > 0) & (value < 1)).all(), name


def test_natural_parameters_keep_the_shape_of_draws() -> None:
    _, _, where = laid_out("joint")
    z = where.start + np.random.default_rng(0).normal(0, 0.3, (2, 4, where.size))
    found = where.natural(z)
    for name, shape in where.shapes.items():
        assert found[name].shape == (2, 4, *shape), name
        np.testing.assert_array_equal(found[name][1, 2], natural_at(where, z[1, 2])[name])
    theta = where.theta({name: value[1, 2] for name, value in found.items()})
    np.testing.assert_array_equal(theta, unpacked(where, z[1, 2])[1])


def test_one_point_is_enough() -> None:
    _, _, where = laid_out("joint")
    found, expected = where.natural(where.start), natural_at(where, where.start)
    for name, shape in where.shapes.items():
        assert found[name].shape == shape, name
        np.testing.assert_array_equal(found[name], expected[name])


# ---------------------------------------------------------------- densities


@pytest.mark.parametrize("case", CASES)
def test_coordinates_are_of_the_variables_of_the_model(case: str) -> None:
    spec, data, where = laid_out(case)
    model = build_from_observations(spec, data)
    shapes = {rv.name: tuple(rv.shape.eval()) for rv in model.free_RVs}
    assert dict(where.shapes) == shapes


@pytest.mark.parametrize("case", COMPILED)
def test_density_is_the_models_times_the_jacobian(case: str) -> None:
    spec, data, where = laid_out(case)
    natural_density = natural_log_density(build_from_observations(spec, data))
    density = target_of(spec, data).log_density()
    inside = 0
    for z in points(where, 6):
        expected = sum(float(np.sum(term)) for term in natural_density(natural_at(where, z)))
        expected += unpacked(where, z)[0]
        value, gradient = density(z)
        assert value == pytest.approx(expected, rel=1e-10)
        if np.isfinite(expected):
            inside += 1
            assert_slope(lambda at: density(at)[0], gradient, z)
    assert inside >= 2


def test_beyond_the_support_there_is_no_density() -> None:
    """Anchored maps can put a midpoint below a loss of 0."""
    spec, data, where = laid_out("joint")
    z = where.start.copy()
    z[where.blocks["loss_midpoint"]] = -200.0  # scores at their floor, and ceilings at 1
    z[where.blocks["score_ceiling"]] = -200.0
    assert (natural_at(where, z)["loss_midpoint"] < 0).all()
    assert target_of(spec, data).log_density()(z)[0] == -np.inf


# ---------------------------------------------------------------- blocks


def test_blocks_tile_the_vector() -> None:
    _, _, where = laid_out("joint")
    covered = np.concatenate([np.arange(where.n_theta)[block] for block in where.blocks.values()])
    np.testing.assert_array_equal(covered, np.arange(where.n_theta))
    np.testing.assert_array_equal(where.free, np.arange(where.n_theta))
    assert where.names == list(where.blocks)
    assert "loss_floor" in where.blocks and "loss_floor" not in laid_out("additive")[2].blocks


def test_slots_are_where_the_variables_stand() -> None:
    for case in CASES:
        _, _, where = laid_out(case)
        for name, at in where.slots._asdict().items():
            if name == "discrepancy_sd" and "cell_sd" in where.blocks:
                assert at == where.blocks["cell_sd"].start
            else:
                assert at == (where.blocks[name].start if name in where.blocks else -1), name


def test_scale_parameters_are_sds_and_degrees_of_freedom() -> None:
    _, _, where = laid_out("latent")
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
    composed = laid_out("composed")[2]
    assert not composed.scale_parameters[composed.blocks["residual_log_sd_slope"]].any()


# ---------------------------------------------------------------- what z means


def test_sizes_start_at_the_llms_own() -> None:
    _, data, where = laid_out("latent")
    block = where.blocks["log_effective_params"]
    np.testing.assert_array_equal(where.start[block], data.llms.log_params)
    np.testing.assert_array_equal(
        natural_at(where, where.start)["log_effective_params"], data.llms.log_params
    )


def test_the_start_is_a_plausible_law() -> None:
    _, data, where = laid_out("joint")
    natural = natural_at(where, where.start)
    centre = data.joint.benchmarks.loss_centre
    total = natural["loss_floor"] + natural["param_coef"] + natural["token_coef"]
    np.testing.assert_allclose(total, centre, err_msg="the loss at the ladder's centre")
    assert ((natural["param_exponent"] > 0.1) & (natural["param_exponent"] < 0.6)).all()
    assert ((natural["loss_floor"] > 0) & (natural["loss_floor"] < 0.3 * centre)).all()


def test_the_law_is_told_by_what_the_ladder_pins() -> None:
    """Loss and elasticities at the centre move with one coordinate each, and only with it."""
    _, data, where = laid_out("joint")
    z = points(where, 1)[0]

    def pinned(at: Floats) -> dict[str, Floats]:
        natural = natural_at(where, at)
        a, b = natural["param_coef"], natural["token_coef"]
        loss = natural["loss_floor"] + a + b
        return {
            "token_coef": np.log(loss / data.joint.benchmarks.loss_centre),
            "param_exponent": np.log(natural["param_exponent"] * a / loss),
            "token_exponent": np.log(natural["token_exponent"] * b / loss),
        }

    before = pinned(z)
    for moved in ("loss_floor", "param_coef", "param_exponent", "token_coef", "token_exponent"):
        after = z.copy()
        after[where.blocks[moved]] += 0.7
        for name, value in pinned(after).items():
            expected = before[name] + (0.7 if name == moved else 0.0)
            np.testing.assert_allclose(value, expected, atol=1e-12, err_msg=f"{moved} on {name}")


def test_a_map_is_told_by_the_score_of_a_typical_llm() -> None:
    """Where scores have risen, that score moves with one coordinate, and only with it."""
    spec, data, where = laid_out("joint")
    anchored = where.maps.form[where.blocks["loss_midpoint"]] == kernel.MAP
    assert anchored.any()
    llms, losses = data.llms, data.joint.losses
    of_score = data.joint.scores
    tokens = np.log(spec.options.reference_tokens) - losses.log_tokens_centre

    def score(at: Floats, j: int) -> float:
        natural = natural_at(where, at)
        size = np.median(llms.log_params[of_score.llm_idx[of_score.benchmark_idx == j]])
        loss = natural["loss_floor"][j]
        loss += natural["param_coef"][j] * np.exp(
            -natural["param_exponent"][j] * (size - losses.log_params_centre)
        )
        loss += natural["token_coef"][j] * np.exp(-natural["token_exponent"][j] * tokens)
        x = natural["score_slope"][j] * (natural["loss_midpoint"][j] - loss)
        floor, ceiling = natural["score_floor"][j], natural["score_ceiling"][j]
        return float(floor + (ceiling - floor) / (1 + np.exp(-x)))

    z = points(where, 1)[0]
    for j in np.flatnonzero(anchored):
        before = score(z, j)
        for name in ("loss_floor", "param_exponent", "score_slope", "score_ceiling"):
            after = z.copy()
            after[where.blocks[name]] += 0.7
            assert score(after, j) == pytest.approx(before, abs=1e-12), name
        after = z.copy()
        after[where.blocks["loss_midpoint"]] += 0.1
        assert score(after, j) > before + 0.005


def test_scores_at_the_floor_anchor_no_map() -> None:
    """On `synthetic`, BBH's scores have not risen above those of the largest losses."""
    spec = load_spec("joint")
    data = observe(spec, load_dataset("synthetic"))
    where = coordinates_of(spec, data)
    anchored = where.maps.form[where.blocks["loss_midpoint"]] == kernel.MAP
    names = np.array(data.joint.benchmarks.names)
    np.testing.assert_array_equal(names[~anchored], ["BBH"])


def test_quantile_maps_are_standard_normal_under_the_prior() -> None:
    _, _, where = laid_out("densities")
    for z in (-1.5, 0.0, 2.0):
        found = natural_at(where, np.full(where.size, z))
        assert found["growth_rate"] == pytest.approx(2 * z)
        assert stats.halfnorm.cdf(found["family_sd"]) == pytest.approx(stats.norm.cdf(z))
        assert found["residual_sd"] == pytest.approx(np.exp(-0.2 + 0.5 * z))
        np.testing.assert_allclose(found["family_effect"], z * found["family_sd"])


def test_many_families_are_in_units_of_a_power_of_their_sd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those with more members the power is less: nearer to centred."""
    spec, data = densities()
    monkeypatch.setattr(runs, "_MANY_FAMILIES", 1)
    where = coordinates_of(spec, data)
    members = np.bincount(data.llms.family_idx)
    for z in (-1.5, 2.0):
        found = natural_at(where, np.full(where.size, z))
        units = found["family_sd"] ** (1 / (1 + members))
        np.testing.assert_allclose(found["family_effect"], z * units)


@pytest.mark.parametrize(("spread", "is_away"), [(0.1, True), (1.0, False)])
def test_effects_whose_sd_is_away_from_zero_are_partly_centred(
    spread: float, is_away: bool
) -> None:
    """Units change with the power, what the draws say does not."""
    _, _, where = laid_out("densities")
    z = np.random.default_rng(1).normal(size=(2, 200, where.size))
    at, effects_at = where.blocks["family_sd"], where.blocks["family_effect"]
    z[..., at] = 0.5 + spread * z[..., at]
    z[..., effects_at] *= np.sqrt(0.5)
    unexplained = z[..., effects_at].var(axis=(0, 1))
    found, moved = where.suited_to(z)
    before, after = where.natural(z), found.natural(moved)
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-12)
    powers = np.array([_suited_power(u) for u in unexplained]) if is_away else 1.0
    units = before["family_sd"][..., None] ** powers
    np.testing.assert_allclose(moved[..., effects_at], before["family_effect"] / units)


@pytest.mark.parametrize("error_sd", [0.2, 1.0, 3.0])
def test_effects_hang_least_on_their_sd_in_units_of_the_power_that_suits(error_sd: float) -> None:
    """Mixed derivatives of the log density, by differences, at draws of effects and data."""
    rng, step = np.random.default_rng(3), 1e-4
    effect = rng.normal(size=20_000)
    data = effect + error_sd * rng.normal(size=20_000)

    def mixed(power: float) -> float:
        def log_density(shift: float, log_sd: float) -> np.ndarray:
            moved = (effect + shift) * np.exp(power * log_sd)
            return -0.5 * (moved / np.exp(log_sd)) ** 2 - 0.5 * ((data - moved) / error_sd) ** 2

        corners = [(a, b) for a in (step, -step) for b in (step, -step)]
        found = sum(np.sign(a * b) * log_density(a, b) for a, b in corners) / (4 * step**2)
        return float((found**2).mean())

    unexplained = error_sd**2 / (1 + error_sd**2)
    powers = np.linspace(0, 1, 201)
    best = powers[np.argmin([mixed(power) for power in powers])]
    assert _suited_power(unexplained) == pytest.approx(best, abs=0.02)
    assert _suited_power(1.3) == 1.0


def test_walls_are_as_soft_as_draws_are_wide() -> None:
    """A wall changes with the draws, what they say does not; beyond it coordinates are linear."""
    _, _, where = laid_out("joint")
    z = where.start + np.random.default_rng(1).normal(0, 0.5, (2, 50, where.size))
    found, moved = where.suited_to(z)
    before, after = where.natural(z), found.natural(moved)
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-9, err_msg=name)
    block = where.blocks["score_floor"]
    x = -np.log1p(-before["score_floor"])
    np.testing.assert_allclose(found.maps.scale[block], 0.15 * x.std(axis=(0, 1)))
    far = x > 10 * found.maps.scale[block]
    linear = found.maps.shift[block] + found.maps.unit[block] * moved[..., block]
    assert far.mean() > 0.2
    np.testing.assert_allclose(linear[far], x[far], rtol=1e-3)


def test_coordinates_in_the_units_of_others_mean_the_same() -> None:
    """Of other data walls would lie elsewhere, and a whitening learnt here say something else."""
    spec, data, where = laid_out("joint")
    better = replace(data.joint.scores, score=0.5 + 0.4 * data.joint.scores.score)
    other = coordinates_of(spec, replace(data, scores=better))
    z = where.start + np.random.default_rng(1).normal(0, 0.3, (2, 50, where.size))
    learnt, moved = where.suited_to(z)
    found = other.in_units_of(learnt)
    for name in ("loss_floor", "param_coef", "score_floor"):
        expected = learnt.natural(moved)[name]
        np.testing.assert_array_equal(found.natural(moved)[name], expected, err_msg=name)
    walls = where.blocks["score_ceiling"]
    assert (other.maps.shift[walls] != learnt.maps.shift[walls]).any()
    np.testing.assert_array_equal(found.maps.shift[walls], learnt.maps.shift[walls])


def test_two_sds_of_one_score_are_told_by_their_sum_of_squares() -> None:
    """Where reports are replicated: the second coordinate moves their ratio alone."""
    _, data, where = laid_out("joint")
    assert data.reports is not None
    paired = where.maps.form[where.blocks["protocol_sd"]] == kernel.PAIR
    np.testing.assert_array_equal(np.flatnonzero(paired), np.unique(data.reports.benchmark_idx))
    z = points(where, 1)[0]
    after = z.copy()
    after[where.blocks["protocol_sd"]] += 1.0
    (one, two), (first, second) = (
        (natural["discrepancy_sd"][paired], natural["protocol_sd"][paired])
        for natural in (natural_at(where, z), natural_at(where, after))
    )
    np.testing.assert_allclose(np.hypot(first, second), np.hypot(one, two))
    np.testing.assert_allclose(second / first, two / one * np.exp(0.3))


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
    where = coordinates_of(spec, replace(data, reports=only))
    pinned = np.isin(np.arange(5), only.benchmark_idx)
    for name in ("protocol_sd_mean", "protocol_sd_sd"):
        moved = where.start + 0.5  # an offset of nothing has no unit that could matter
        before = natural_at(where, moved)["protocol_sd"]
        moved[where.blocks[name]] += 1.0
        changed = before != natural_at(where, moved)["protocol_sd"]
        np.testing.assert_array_equal(changed, ~pinned)
    theta = natural_at(where, where.start + 0.5)
    offset = (np.log(theta["protocol_sd"]) - theta["protocol_sd_mean"]) / theta["protocol_sd_sd"]
    np.testing.assert_allclose(offset[~pinned], 0.5)


# ---------------------------------------------------------------- parts of a model


def test_given_variables_are_inputs_and_parts_add_up() -> None:
    """The two stages of a cut: their densities sum to the whole, at the same parameters."""
    spec, data, _ = laid_out("joint")
    # As in the stages, of which neither has map and scores: nothing is anchored.
    whole = coordinates_of(spec, data, terms=_REFERENCE_OBSERVED)
    tables = tables_of(spec, data, whole, None)
    reference = [name for name in whole.blocks if name in _reference_names(spec)]
    assert {"param_exponent_sd", "map_noise_sd", "loss_floor"} <= set(reference)
    assert not {"protocol_sd", "growth_rate", "family_effect"} & set(reference)
    rest = [name for name in whole.blocks if name not in reference]
    first = target_of(spec, data, terms=[*reference, *_REFERENCE_OBSERVED], given=rest)
    second = target_of(spec, data, terms=[*rest, *_REST_OBSERVED], given=reference)
    assert first.coordinates.names == reference and second.coordinates.names == rest
    assert first.coordinates.size + second.coordinates.size == whole.size
    for z in points(whole, 3, seed=5):
        log_jacobian, theta = unpacked(whole, z)
        log_density, used_up = kernel.log_density(theta, whole.priors, tables)
        value = log_jacobian + log_density
        slope = kernel.pull_back(z, theta, whole.maps, whole.slots, used_up)
        parts = []
        for target in (first, second):
            free = target.coordinates.free
            given = theta.copy()
            given[free] = np.nan  # what is sampled must not be read
            parts.append(target.log_density(given)(z[free]))
            natural = natural_at(target.coordinates, z[free], given)
            for name, found in natural.items():
                expected = theta[whole.blocks[name]].reshape(found.shape)
                np.testing.assert_array_equal(found, expected, err_msg=name)
        assert parts[0][0] + parts[1][0] == pytest.approx(value, rel=1e-12)
        # the first stage knows nothing of the rest
        assert first.log_density()(z[first.coordinates.free])[0] == parts[0][0]
        # in the rest's coordinates nothing else counts
        np.testing.assert_allclose(
            parts[1][1], slope[second.coordinates.free], rtol=1e-9, atol=1e-9
        )


def test_a_trend_hypothesis_changes_no_coordinates_but_its_own() -> None:
    _, _, one = laid_out("joint")
    _, _, other = laid_out("no family")
    assert set(one.blocks) - set(other.blocks) == {"growth_rate", "family_sd", "family_effect"}
