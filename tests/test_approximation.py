"""Previews: a normal approximation, exact on a normal, honest elsewhere; and prepared refits."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arviz_stats.base.array import array_stats
from modelling import small_joint
from program import hold, invoke

import bayesdense as bd
from bayesdense.dataset import load_dataset
from bayesdense.engine.joint import Prepared
from bayesdense.engine.laplace import approximate
from bayesdense.engine.runs import as_dataset
from bayesdense.engine.target import Target
from bayesdense.engine.whiten import Whitening
from bayesdense.errors import SpecError
from bayesdense.inference import fit, fit_observations, prepare
from bayesdense.mixtures import with_mixture
from bayesdense.observations import observe
from bayesdense.results import Fit
from bayesdense.sizes import quadrature_error
from bayesdense.spec import load_spec

pytestmark = pytest.mark.fit

SPEC, SMALL = small_joint()
#: A normal with one coordinate that counts as a standard deviation and two that are local.
ROOT = np.array([[1.0, 0.0, 0.0, 0.0], [0.8, 0.5, 0.0, 0.0], [0.3, 0.4, 0.7, 0.0]])
ROOT = np.vstack([ROOT, [0.1, -0.6, 0.0, 0.9]])
MEAN = np.array([0.3, -1.0, 2.0, 0.5])


class Known:
    """Coordinates of which the first is scale-like and the last two are local."""

    size = n_theta = 4
    start = np.zeros(4)
    scale_parameters = np.array([True, False, False, False])
    local = np.array([False, False, True, True])


def normal_target() -> Target:
    precision = np.linalg.inv(ROOT @ ROOT.T)

    def density(z: np.ndarray) -> tuple[float, np.ndarray]:
        return -0.5 * (z - MEAN) @ precision @ (z - MEAN), -precision @ (z - MEAN)

    def whitened(_: Any, whitening: Whitening, __: np.ndarray) -> Any:
        table = whitening.table

        def at(zeta: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = density(whitening.apply(zeta))
            out = table.bends[:, 5] * slope
            out[table.dense] += table.matrix.T @ slope
            return value, out

        return at

    return Target(Known(), whitened, None, 0.0)  # type: ignore[arg-type]


def test_a_normal_is_its_own_approximation() -> None:
    found = approximate(normal_target(), draws=20_000, seed=1)
    pareto_k = array_stats.psislw(-found.log_ratio[None], axis=-1)[1]
    assert pareto_k < 0.5, "importance sampling finds the approximation good"
    np.testing.assert_allclose(found.z.mean(axis=0), MEAN, atol=0.1)
    np.testing.assert_allclose(np.cov(found.z.T), ROOT @ ROOT.T, atol=0.15)


@pytest.fixture(scope="module")
def sampled() -> Fit:
    return fit(SPEC, SMALL, draws=400, chains=2, seed=3)


def test_a_preview_lies_near_the_fit_and_says_what_it_is(sampled: Fit) -> None:
    found = bd.preview(SPEC, SMALL)
    growth = bd.growth_rate(sampled)
    assert abs(found.growth_rate.mean - growth.mean) < 0.5 * growth.sd
    assert 0.7 < found.growth_rate.sd / growth.sd < 1.5
    assert repr(found).startswith("PREVIEW, a normal approximation (k-hat")
    assert not found.is_reliable and found.to_dict()["reliable"] is False
    assert found.growth_rate.at == growth.at
    again = bd.preview(SPEC, SMALL)
    np.testing.assert_array_equal(again.growth_rate.draws, found.growth_rate.draws)


def test_the_command_previews_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("fit", "densing", "--preview", "--quiet")
    status, out, _ = invoke(monkeypatch, capsys, *command)
    assert status == 0
    assert out.startswith("PREVIEW of joint on densing: a normal approximation")
    assert "Nothing was written" in out
    status, out, _ = invoke(monkeypatch, capsys, *command, "--format", "json")
    found = json.loads(out)
    hold(found, "preview")
    assert found["preview"] is True and found["approximation"] == "laplace"
    assert not list(tmp_path.iterdir())


def test_no_preview_of_a_cut() -> None:
    with pytest.raises(SpecError, match="no posterior to preview"):
        bd.preview(SPEC.with_options(feedback="cut"), SMALL)


# ---------------------------------------------------------------- refits


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(SPEC, SMALL, chains=2, seed=5)


def test_a_refit_gives_the_posterior_of_its_own_data(prepared: Prepared) -> None:
    """Other scores, another answer: the same as of a fit from nothing."""
    data = observe(SPEC, SMALL)
    assert data.scores is not None
    late = data.llms.years[data.scores.llm_idx]
    moved = replace(data, scores=replace(data.scores, logit_score=data.scores.logit_score + late))
    quick = {"about": SMALL.summary(), "depth": "posterior", "chains": 2}
    again, anew = (
        fit_observations(SPEC, moved, draws=600, seed=4, prepared=given, **quick)
        for given in (prepared, None)
    )
    growth, expected = (bd.growth_rate(found) for found in (again, anew))
    before = bd.growth_rate(fit(SPEC, SMALL, draws=300, chains=2, prepared=prepared))
    error = np.hypot(growth.mcse(), expected.mcse())
    assert abs(growth.median - expected.median) < 4 * error
    assert growth.median - before.median > 10 * error, "scores that rise faster"
    assert growth.sd == pytest.approx(expected.sd, rel=0.2)


def test_a_grid_too_coarse_is_refined_until_it_is_fine_enough() -> None:
    """As fine as the draws need, and hardly finer: every node costs time."""
    coarse = SPEC.with_options(quadrature_spacing=1.0)
    used = prepare(coarse, SMALL, chains=2, seed=5)
    spacing = used.spec.options.quadrature_spacing
    assert 0.15 < spacing < 0.8
    values = used.target.coordinates.natural(used.whitening.apply(some_normals(used)))
    data = observe(SPEC, SMALL)
    draws = as_dataset(used.spec, data, values)
    for factor, enough in ((1.0, True), (1.6, False)):
        spec = coarse.with_options(quadrature_spacing=factor * spacing)
        error = quadrature_error(with_mixture(draws, spec, data, seed=1), spec, data.joint)
        assert (error["sd"] < 0.01) is enough


def some_normals(prepared: Prepared) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(1, 200, prepared.target.coordinates.size))


def test_another_shape_or_model_is_refused(prepared: Prepared) -> None:
    with pytest.raises(SpecError, match="another shape"):
        fit(SPEC, load_dataset("densing"), draws=10, chains=1, prepared=prepared)
    with pytest.raises(SpecError, match="not the one that was prepared"):
        fit(SPEC.with_options(residual="student_t"), SMALL, draws=10, prepared=prepared)
    with pytest.raises(SpecError, match="takes nothing prepared"):
        fit(SPEC, SMALL, draws=10, sampler="pymc", prepared=prepared)
    with pytest.raises(SpecError, match="cannot be prepared"):
        prepare(load_spec("joint").with_options(feedback="cut"), SMALL)
