"""Models as PyMC sees them: names, finite densities, and two implementations of one model."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from made_up import made_up_posterior
from modelling import PLAIN, at_draw, natural_log_density, small_observations

import bayesdense as bd
from bayesdense.build import build_from_observations, build_model
from bayesdense.dataset import load_dataset
from bayesdense.errors import SpecError
from bayesdense.observations import Observations, observe
from bayesdense.prior_draws import draw_priors
from bayesdense.spec import ModelSpec, load_spec

DRAWS = 20
SHIPPED = [
    ("joint", "densing"),
    ("joint", "olmo-ladder"),
    ("joint", "synthetic"),
    ("trend_only", "densing-published"),
    ("trend_only", "densing-published-mmlu"),
]
VARIANTS: list[dict[str, object]] = [
    {"residual": "student_t"},
    {"residual": "composed"},
    {"residual": "composed", "scale_trend": True},
    {"loss_law": "additive"},
    {"loss_noise": "independent"},
    {"score_noise": "cell"},
    {"family": "none"},
    {"trend": "flat", "scale_trend": True},
    {"calibration": "fit"},
]
LATENT = [
    {"implementation": "latent", "residual": kind, "scale_trend": moves}
    for kind, moves in (("symmetric", True), ("student_t", False), ("composed", False))
]
SMALL = small_observations()


def finite_at_prior_draws(spec: ModelSpec, data: Observations, model: pm.Model) -> None:
    """Every term of the density is finite at draws of the priors, and at PyMC's own start."""
    density = natural_log_density(model)
    draws = draw_priors(spec, data, np.random.default_rng(7), DRAWS)
    names = [rv.name for rv in model.basic_RVs]
    for draw in range(DRAWS):
        for name, term in zip(names, density(at_draw(draws, draw)), strict=True):
            assert np.isfinite(term).all(), f"{name} at draw {draw}"
    start = model.compile_logp(mode=PLAIN, sum=False)(model.initial_point())
    assert all(np.isfinite(term).all() for term in start)


@pytest.mark.parametrize(("model", "dataset"), SHIPPED)
def test_shipped_models_on_shipped_datasets(model: str, dataset: str) -> None:
    spec = load_spec(model)
    source = load_dataset(dataset)
    built = build_model(spec, source)
    assert bd.build_model is build_model
    finite_at_prior_draws(spec, observe(spec, source), built)
    for rv in built.basic_RVs:
        dims = built.named_vars_to_dims.get(rv.name, ())
        assert len(dims) == rv.ndim, f"{rv.name} has an axis without a name"
        assert rv.shape.eval(mode=PLAIN).tolist() == [len(built.coords[dim]) for dim in dims]


def test_dims_are_the_fields_words() -> None:
    built = build_model(load_spec("joint"), load_dataset("densing"))
    dims = {name: tuple(dims) for name, dims in built.named_vars_to_dims.items()}
    assert dims["loss_floor"] == dims["score_slope"] == dims["protocol_sd"] == ("benchmark",)
    assert dims["family_effect"] == ("family",)
    assert (dims["loss"], dims["loss_score"], dims["score"]) == (
        ("loss_obs",),
        ("point_obs",),
        ("score_obs",),
    )
    assert dims["score_reports"] == ("report_benchmark",)
    assert not {"growth_rate", "residual_sd", "param_exponent_mean"} & set(dims), "numbers"
    sizes = {dim: len(labels) for dim, labels in built.coords.items() if labels is not None}
    assert (sizes["benchmark"], sizes["llm"], sizes["family"]) == (5, 112, 52)
    assert (sizes["loss_obs"], sizes["point_obs"], sizes["count_obs"]) == (165, 58, 2)
    assert built.coords["llm"][0] in built.coords["score_obs"][0]


@pytest.mark.parametrize("options", [*VARIANTS, *LATENT], ids=str)
def test_variants(options: Mapping[str, object]) -> None:
    spec = load_spec("joint").with_options(**options)
    data = small_observations(spec)
    finite_at_prior_draws(spec, data, build_from_observations(spec, data))


@pytest.mark.parametrize("options", [{}, {"residual": "student_t"}, {"residual": "composed"}])
def test_densities_with_known_errors(options: Mapping[str, object]) -> None:
    spec = load_spec("trend_only").with_options(**options)
    data = with_known_errors(observe(spec, load_dataset("densing-published")))
    built = build_from_observations(spec, data)
    assert built["density_error"].name in [rv.name for rv in built.free_RVs]
    draws = draw_priors(spec, data, np.random.default_rng(7), 3)
    values = at_draw(draws, 0) | {"density_error": np.zeros(len(data.llms.names))}
    assert all(np.isfinite(term).all() for term in natural_log_density(built)(values))


def with_known_errors(data: Observations) -> Observations:
    assert data.densities is not None
    known = np.where(np.arange(len(data.llms.names)) % 2, 0.04, 0.0)
    return replace(data, densities=replace(data.densities, known_var=known))


def test_an_option_leaves_its_mark() -> None:
    def free(**options: object) -> set[str]:
        spec = load_spec("joint").with_options(**options)
        return {rv.name for rv in build_from_observations(spec, small_observations(spec)).free_RVs}

    plain = free()
    assert free(loss_law="additive") == plain - {"loss_floor"}
    assert free(family="none") == plain - {"family_sd", "family_effect"}
    assert free(trend="flat") == plain - {"growth_rate"}
    assert free(residual="student_t") == plain | {"residual_df"}
    assert free(residual="composed") == plain | {"one_sided_sd"}
    assert free(scale_trend=True) == plain | {"residual_log_sd_slope"}
    assert free(implementation="latent") == plain | {"log_effective_params"}
    assert free(loss_noise="independent") == plain - {"run_effect_sd", "size_effect_sd"}
    cell = {"cell_sd", "cell_sd_mean", "cell_sd_sd"}
    assert cell <= free(score_noise="cell") and not cell & plain


def test_without_replicated_reports_only_the_sum_is_a_parameter() -> None:
    spec, data = load_spec("joint"), small_observations(replicated=False)
    names = {rv.name for rv in build_from_observations(spec, data).basic_RVs}
    assert {"cell_sd", "cell_sd_mean", "cell_sd_sd"} <= names
    assert not {"discrepancy_sd", "protocol_sd", "score_reports"} & names


def test_an_offset_only_where_a_benchmark_has_another_protocol() -> None:
    spec = load_spec("joint")
    names = {rv.name for rv in build_from_observations(spec, SMALL).free_RVs}
    assert "protocol_offset" not in names
    offset = build_from_observations(spec, small_observations(other_protocol=(1,)))
    assert offset.named_vars_to_dims["protocol_offset"] == ("benchmark",)


def test_held_out_points_are_not_in_the_likelihood() -> None:
    source = load_dataset("densing")
    spec = load_spec("joint").with_options(calibration="fit")
    built = build_model(spec, source)
    assert (len(built.coords["point_obs"]), len(built.coords["count_obs"])) == (48, 2)


def test_model_and_dataset_have_to_fit() -> None:
    with pytest.raises(SpecError, match="use --model trend_only"):
        build_model(load_spec("joint"), load_dataset("densing-published"))


def test_pymc_draws_from_the_model() -> None:
    built = build_from_observations(load_spec("joint"), SMALL)
    names = ["loss", "loss_score", "score", "score_reports", "growth_rate", "loss_floor"]
    drawn = pm.draw([built[name] for name in names], mode=PLAIN, random_seed=4)
    for name, value in zip(names, drawn, strict=True):
        assert value.shape == tuple(built[name].shape.eval(mode=PLAIN)), name
        assert np.isfinite(value).all(), name


# ---------------------------------------------------------------- one model, two implementations

KINDS: list[dict[str, object]] = [
    {"residual": "symmetric"},
    {"residual": "student_t"},
    {"residual": "composed"},
    {"residual": "composed", "scale_trend": True, "loss_law": "additive"},
    {"residual": "symmetric", "family": "none", "trend": "flat"},
]
#: Log size about its location: fine where scores speak, sparse where only tails are.
TAIL = np.concatenate([np.arange(30.0, 100.0, 0.05), np.geomspace(100.0, 1e4, 300)])
X = np.concatenate([-TAIL[TAIL < 150][::-1], np.arange(-29.98, 30.0, 0.02), TAIL])


def integrated(terms, values: Mapping[str, np.ndarray], location, llm_idx) -> float:
    """Log of the integral of the latent density over every LLM's size, one by one."""
    total = np.empty((len(X), len(location)))
    with np.errstate(over="ignore"):  # the loss of an LLM of no size
        for row, x in zip(total, X, strict=True):
            of_size, of_cells = terms({**values, "log_effective_params": location + x})
            row[:] = of_size + np.bincount(llm_idx, of_cells, len(location))
    top = total.max(axis=0)
    return float((top + np.log(np.trapezoid(np.exp(total - top), X, axis=0))).sum())


@pytest.mark.parametrize(
    ("options", "other_protocol"), [*((kind, ()) for kind in KINDS), (KINDS[0], (0, 3))], ids=str
)
def test_latent_integrates_to_marginal(
    options: Mapping[str, object], other_protocol: tuple[int, ...]
) -> None:
    data = small_observations(other_protocol=other_protocol)
    marginal, latent = (
        load_spec("joint").with_options(implementation=kind, quadrature_spacing=0.02, **options)
        for kind in ("marginal", "latent")
    )
    # About plausible laws, so that sizes lie where the grid is dense; their means and sds anyhow.
    about = made_up_posterior(marginal, data.joint, shape=(1, 2), spread=0.2, seed=6)
    priors = draw_priors(marginal, data, np.random.default_rng(3), 2)
    draws = priors.assign({name: value for name, value in about.items() if name in priors})
    ours = natural_log_density(build_from_observations(marginal, data))
    model = build_from_observations(latent, data)
    sized = natural_log_density(model, ["log_effective_params", "score"])
    others = [rv.name for rv in model.basic_RVs if rv.name not in ("log_effective_params", "score")]
    unsized = natural_log_density(model, others)
    for draw in range(2):
        values = at_draw(draws, draw)
        expected = sum(float(term.sum()) for term in unsized(values)) + integrated(
            sized, values, locations(draws, draw, data), data.joint.scores.llm_idx
        )
        found = sum(float(term.sum()) for term in ours(values))
        assert found == pytest.approx(expected, abs=1e-4), f"draw {draw}"


def locations(draws: xr.Dataset, draw: int, data: Observations) -> np.ndarray:
    """Log size that trend and family expect of every LLM."""
    values = at_draw(draws, draw)
    family = values.get("family_effect", np.zeros(len(data.llms.families)))
    growth = values.get("growth_rate", 0.0)
    eta = values["trend_intercept"] + growth * data.llms.years
    return data.llms.log_params + eta + family[data.llms.family_idx]


@pytest.mark.parametrize("kind", ["symmetric", "student_t", "composed"])
def test_the_default_grid_is_near_the_fine_one(kind: str) -> None:
    spec = load_spec("joint").with_options(residual=kind)
    draws = made_up_posterior(spec, SMALL.joint, shape=(1, 4))
    default, fine = (
        natural_log_density(build_from_observations(s, SMALL), ["score"])
        for s in (spec, spec.with_options(quadrature_spacing=0.02))
    )
    for draw in range(4):
        values = at_draw(draws, draw)
        assert float(default(values)[0]) == pytest.approx(float(fine(values)[0]), abs=5e-3)
