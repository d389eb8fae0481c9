"""The marginal sum and its gradient, against the plain reference and finite differences."""

import ast
import importlib
import itertools
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher
from scipy import integrate, stats

import bayesdense
from bayesdense.arrays import Floats
from bayesdense.kernel import Cells, Grid, log_cells, log_marginal, make_grid, marginal_sum
from bayesdense.residuals import NUMPY, log_tails, normal_log_density

GRID = make_grid(14.0, 32.0, 0.25)


def cells_of(rows: list[list[tuple[float, int, int]]]) -> Cells:
    """Cells from (logit, benchmark, kind) by LLM."""
    flat = [cell for row in rows for cell in row]
    return Cells(
        np.array([cell[0] for cell in flat]),
        np.array([cell[1] for cell in flat], dtype=np.int64),
        np.array([cell[2] for cell in flat], dtype=np.int64),
        np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
    )


#: An ordinary LLM, one far above the ceiling (logit 3), one below the floor, one with one score.
CELLS = cells_of(
    [
        [(0.3, 0, 0), (-0.4, 1, 1), (0.1, 1, 2)],
        [(9.0, 0, 0), (7.0, 1, 1)],
        [(-4.0, 0, 0), (-5.0, 1, 2)],
        [(0.2, 1, 1)],
    ]
)
LOCATION = np.array([22.0, 25.0, 19.0, 23.0])


def curve(nodes: Floats, midpoint: float = 22.0) -> Floats:
    """Rises from logit -1 to 3."""
    return -1 + 4 / (1 + np.exp(-0.6 * (nodes - midpoint)))


def inputs(sd: float = 1.0, var: float = 0.1, grid: Grid = GRID) -> tuple[Floats, Floats, Floats]:
    """Mean, var and log weight for `CELLS`."""
    with np.errstate(over="ignore"):
        mean = np.stack([curve(grid.nodes), curve(grid.nodes, 23.0)])
    kinds = var * np.array([1.0, 2.0, 0.5])[:, None] + 0.002 * (2 + np.exp(mean[0]))
    inner = normal_log_density(grid.nodes[1:-1] - LOCATION[:, None], sd, 1.0, NUMPY)
    below, above = log_tails(
        "symmetric", LOCATION - grid.nodes[0], grid.nodes[-1] - LOCATION, sd, 1.0, NUMPY
    )
    return mean, kinds, np.column_stack([below, inner + grid.log_widths, above])


def compiled(mean: Floats, var: Floats, log_weight: Floats, cells: Cells = CELLS):
    return marginal_sum(
        mean,
        var,
        log_weight,
        cells.logit_score,
        cells.benchmark_idx,
        cells.noise_idx,
        cells.first,
    )


# --- The grid ----------------------------------------------------------------------------------


@given(low=st.floats(-5, 30), width=st.floats(0.5, 60), spacing=st.floats(0.01, 1.0))
@settings(max_examples=40, deadline=None)
def test_grid_covers_hundreds_of_log_units_whatever_the_spacing(
    low: float, width: float, spacing: float
) -> None:
    grid = make_grid(low, low + width, spacing)
    inner = grid.nodes[1:-1]
    assert grid.nodes[0] == inner[0] < low - 90
    assert grid.nodes[-1] == inner[-1] > low + width + 280
    assert (np.diff(inner) > 0).all()
    assert len(grid.log_widths) == len(inner)
    assert len(inner) < width / spacing + 45 + 4 * np.log(1 / spacing) + 8


@pytest.mark.parametrize("sd", [0.5, 1.0, 5.0])
@pytest.mark.parametrize("centre", [15.0, 22.1, 30.9])
def test_grid_integrates_densities(sd: float, centre: float) -> None:
    log_density = normal_log_density(GRID.nodes[1:-1] - centre, sd, 1.0, NUMPY)
    assert np.exp(log_density + GRID.log_widths).sum() == pytest.approx(1, abs=2e-5)
    heavy = stats.t.pdf(GRID.nodes[1:-1], 2.0, centre, sd) @ np.exp(GRID.log_widths)
    outside = stats.t.cdf(GRID.nodes[0], 2.0, centre, sd) + stats.t.sf(
        GRID.nodes[-1], 2.0, centre, sd
    )
    assert heavy + outside == pytest.approx(1, abs=3e-4)


def test_scores_are_flat_at_the_ends_of_the_grid() -> None:
    """Even for exponents of a tenth and of three: at the floor below, at the limit above."""
    for exponent in (0.1, 0.34, 3.0):
        with np.errstate(over="raise", invalid="raise"):
            loss = 0.5 + 0.3 * np.exp(-exponent * (GRID.nodes - 19.0))
        assert loss[-1] == pytest.approx(0.5, abs=1e-12)
        assert np.exp(-8.0 * loss[0]) < 1e-12


# --- The sum -----------------------------------------------------------------------------------


def test_log_cells_by_hand() -> None:
    mean, var, _ = inputs()
    found = log_cells(mean, var, CELLS)
    g = 40
    expected = sum(
        stats.norm.logpdf(y, mean[j, g], np.sqrt(var[u, g]))
        for y, j, u in ((0.3, 0, 0), (-0.4, 1, 1), (0.1, 1, 2))
    )
    assert found[0, g] == pytest.approx(expected, rel=1e-12)


def test_a_cell_far_off_costs_the_others_no_digits() -> None:
    mean, var, _ = inputs(var=1e-9)
    far = cells_of([[(1e6, 0, 0)], [(0.2, 1, 1)]])
    alone = cells_of([[(0.2, 1, 1)]])
    np.testing.assert_array_equal(log_cells(mean, var, far)[1], log_cells(mean, var, alone)[0])


def test_an_llm_without_scores_counts_nothing() -> None:
    mean, var, log_weight = inputs()
    empty = cells_of([[(0.3, 0, 0)], [], [(0.2, 1, 1)], []])
    found = log_marginal(mean, var, log_weight, empty)
    np.testing.assert_allclose(found[[1, 3]], 0.0, atol=1e-7)
    assert compiled(mean, var, log_weight, empty)[0] == pytest.approx(found.sum(), rel=1e-12)


@pytest.mark.parametrize("sd", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("i", range(4))
def test_reference_against_adaptive_quadrature(sd: float, i: int) -> None:
    mean, var, log_weight = inputs(sd)

    def integrand(x: float) -> float:
        at = Grid(np.array([x]), np.zeros(1))
        m, v = _moments(at.nodes)
        likelihood = log_cells(m, v, CELLS)[i, 0]
        return float(np.exp(likelihood + stats.norm.logpdf(x, LOCATION[i], sd)))

    breaks = LOCATION[i] + sd * np.arange(-9, 10, 1.5)
    value = sum(integrate.quad(integrand, a, b)[0] for a, b in itertools.pairwise(breaks))
    assert log_marginal(mean, var, log_weight, CELLS)[i] == pytest.approx(np.log(value), abs=1e-3)


def _moments(nodes: Floats) -> tuple[Floats, Floats]:
    mean = np.stack([curve(nodes), curve(nodes, 23.0)])
    return mean, 0.1 * np.array([1.0, 2.0, 0.5])[:, None] + 0.002 * (2 + np.exp(mean[0]))


@given(
    sd=st.floats(0.05, 5.0),
    log_var=st.floats(-16, 12),
    above=st.floats(-30, 30),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_compiled_sum_is_the_reference_at_extremes(
    sd: float, log_var: float, above: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mean, var, log_weight = inputs(sd, float(np.exp(log_var)))
    cells = cells_of(
        [
            [(above, 0, 0)],
            [(above, 0, 0), (-above, 1, 2)],
            [(float(rng.normal()), int(rng.integers(2)), int(rng.integers(3))) for _ in range(6)],
            [(0.2, 1, 1)],
        ]
    )
    total, d_mean, d_var, d_log_weight = compiled(mean, var, log_weight, cells)
    reference = log_marginal(mean, var, log_weight, cells)
    assert np.isfinite(reference).all()
    assert total == pytest.approx(reference.sum(), rel=1e-10, abs=1e-10)
    for gradient in (d_mean, d_var, d_log_weight):
        assert np.isfinite(gradient).all()
    np.testing.assert_allclose(d_log_weight.sum(axis=1), 1.0, rtol=1e-12)
    assert (d_log_weight >= 0).all()


# --- The gradient ------------------------------------------------------------------------------


def directional(
    function: Callable[[Floats], float], at: Floats, direction: Floats, step: float
) -> float:
    """Fourth-order central difference."""
    f = [function(at + k * step * direction) for k in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)


@pytest.mark.parametrize(("sd", "var"), [(1.0, 0.1), (0.05, 0.1), (5.0, 0.02), (1.0, 50.0)])
def test_gradient_against_finite_differences(sd: float, var: float) -> None:
    rng = np.random.default_rng(3)
    at = list(inputs(sd, var))
    gradients = compiled(*at)[1:]
    for k, gradient in enumerate(gradients):
        for _ in range(4):
            direction = rng.normal(size=at[k].shape)
            if k == 1:  # a variance moves in proportion
                direction = direction * at[k]

            def total(value: Floats, k: int = k) -> float:
                changed = [*at[:k], value, *at[k + 1 :]]
                return float(log_marginal(*changed, CELLS).sum())

            numeric = directional(total, at[k], direction, 1e-5)
            assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=1e-5, abs=1e-5)


def test_gradient_of_single_entries() -> None:
    mean, var, log_weight = inputs()
    _, d_mean, d_var, _ = compiled(mean, var, log_weight)
    for j, g in ((0, 30), (1, 60)):
        one = np.zeros_like(mean)
        one[j, g] = 1.0
        numeric = directional(
            lambda m: float(log_marginal(m, var, log_weight, CELLS).sum()), mean, one, 1e-4
        )
        assert d_mean[j, g] == pytest.approx(numeric, rel=1e-6, abs=1e-9)
    one = np.zeros_like(var)
    one[2, 35] = 1.0
    numeric = directional(
        lambda v: float(log_marginal(mean, v, log_weight, CELLS).sum()), var, one, 1e-5
    )
    assert d_var[2, 35] == pytest.approx(numeric, rel=1e-6, abs=1e-9)


def test_llm_above_the_ceiling_keeps_its_residual_where_the_curve_is_flat() -> None:
    """No size explains it: where no score changes any more, only the residual tells."""
    mean, var, log_weight = inputs(sd=5.0)
    weights = compiled(mean, var, log_weight)[3][1]
    flat = (GRID.nodes > 45) & (weights > 0)
    assert flat.sum() >= 2
    np.testing.assert_allclose(np.ptp(np.log(weights[flat]) - log_weight[1][flat]), 0.0, atol=1e-3)
    assert GRID.nodes @ weights > GRID.nodes @ np.exp(log_weight[1]) + 5


# ---------------------------------------------------------------- compiled code kept on disk

PACKAGE = Path(bayesdense.__file__).parent
COMPILED = sorted(p for p in PACKAGE.rglob("*.py") if "cache=True" in p.read_text(encoding="utf-8"))


def names_from_other_files(path: Path) -> set[str]:
    """Names that a module takes from this package."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name.split(".")[-1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (getattr(node, "module", None) or alias.name).startswith("bayesdense")
        # plain arithmetic, pinned to its last digits by tests: what it does never changes
        and getattr(node, "module", None) != "bayesdense.vector_math"
    }


def names_read(code: types.CodeType) -> set[str]:
    """Global names that a function reads, in nested functions too."""
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*map(names_read, inner))


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.stem)
def test_cached_machine_code_rests_on_one_file(path: Path) -> None:
    """numba keeps it until this file changes: functions and constants of others it would miss."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    functions = [
        value
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, Dispatcher)
        and not isinstance(value._cache, NullCache)
        and value.py_func.__module__ == name
    ]
    assert functions, f"{name} keeps no compiled function: is this test still looking at any?"
    foreign = names_from_other_files(path)
    used = {f.py_func.__name__: names_read(f.py_func.__code__) & foreign for f in functions}
    assert not any(used.values()), used
