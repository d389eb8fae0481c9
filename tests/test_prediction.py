"""Predictions of reference runs: by the law and the map, draw by draw, as strict JSON."""

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from bayesdense.dataset import load_dataset
from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError
from bayesdense.observations import observe
from bayesdense.prediction import predict
from bayesdense.prior_draws import draw_priors
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_score
from bayesdense.spec import load_spec

SPEC = load_spec("joint")
DATA = observe(SPEC, load_dataset("densing")).joint


def fit_of(n: int = 400, *, known: bool = False, drop: tuple[str, ...] = ()) -> Fit:
    """A fit whose posterior is the prior, or with `known` one point of it, n times."""
    draws = draw_priors(SPEC, DATA, np.random.default_rng(11), n)
    if known:
        draws = draws.isel(draw=np.zeros(n, dtype=int)).assign_coords(draw=np.arange(n))
    losses = DATA.losses
    constant = xr.Dataset(
        {
            "log_params_centre": losses.log_params_centre,
            "log_tokens_centre": losses.log_tokens_centre,
            "n_items": ("benchmark", DATA.benchmarks.n_items),
            "reference_max_params": losses.max_params,
            "reference_max_tokens": losses.max_tokens,
        },
        coords={"benchmark": list(DATA.benchmarks.names)},
    ).drop_vars(drop)
    tree = xr.DataTree.from_dict({"/posterior": draws, "/constant_data": constant})
    tree.attrs["seed"] = 5
    return Fit(tree, SPEC)


def mean_loss(fit: Fit, n_params: float, n_tokens: float) -> np.ndarray:
    """The law, written once more: (draws, benchmarks)."""
    p = {name: fit.posterior[name].values[0] for name in fit.posterior.data_vars}
    size = n_params / np.exp(DATA.losses.log_params_centre)
    tokens = n_tokens / np.exp(DATA.losses.log_tokens_centre)
    return (
        p["loss_floor"]
        + p["param_coef"] * size ** -p["param_exponent"]
        + p["token_coef"] * tokens ** -p["token_exponent"]
    )


def test_answer_follows_its_schema_and_is_strict_json():
    schema = json.loads((files("bayesdense") / "schemas/predict.schema.json").read_text("utf-8"))
    answer = predict(fit_of(), [7e9, 1e8], [2e12, 1e10])
    jsonschema.validate(json.loads(json.dumps(answer, allow_nan=False)), schema)
    found = [(p["benchmark"], p["n_params"], p["n_tokens"]) for p in answer["predictions"]]
    names = DATA.benchmarks.names
    assert found == [(n, 7e9, 2e12) for n in names] + [(n, 1e8, 1e10) for n in names]


def test_quantiles_are_taken_over_draws_of_law_and_map():
    fit = fit_of()
    answer = predict(fit, 7e9, 2e12)["predictions"]
    loss = mean_loss(fit, 7e9, 2e12)
    curve = ("score_floor", "score_ceiling", "score_slope", "loss_midpoint")
    score = logistic_score(loss, *(fit.posterior[name].values[0] for name in curve))
    for k, prediction in enumerate(answer):
        for what, draws in (("loss", loss[:, k]), ("score", score[:, k])):
            low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
            assert prediction[what]["median"] == pytest.approx(middle)
            assert prediction[what]["eti95_mean"] == pytest.approx([low, high])


def test_a_new_run_scatters_by_size_run_and_noise():
    fit = fit_of(20_000, known=True)
    answer = predict(fit, 3e8, 6e9)["predictions"]
    one = fit.posterior.isel(chain=0, draw=0)
    for k, prediction in enumerate(answer):
        sds = ("loss_noise_sd", "run_effect_sd", "size_effect_sd")
        sd = np.sqrt(sum(float(one[name][k]) ** 2 for name in sds))
        mean = prediction["loss"]["median"]
        assert prediction["loss"]["eti95_mean"] == pytest.approx([mean, mean])
        expected = mean * np.exp(stats.norm.ppf([0.025, 0.975]) * sd)
        assert prediction["loss"]["eti95_new"] == pytest.approx(list(expected), rel=0.1 * sd)


def test_a_new_score_is_a_count_of_items_at_the_maps_noisy_score():
    fit = fit_of(4000, known=True)
    answer = predict(fit, 3e8, 6e9)["predictions"]
    one = {name: value.isel(chain=0, draw=0).values for name, value in fit.posterior.items()}
    rng = np.random.default_rng(0)
    for k, prediction in enumerate(answer):
        sds = (one[name][k] for name in ("loss_noise_sd", "run_effect_sd", "size_effect_sd"))
        sd = np.sqrt(sum(value**2 for value in sds))
        loss = prediction["loss"]["median"] * np.exp(sd * rng.normal(size=200_000))
        curve = (one[n][k] for n in ("score_floor", "score_ceiling", "score_slope"))
        score = logistic_score(loss, *curve, one["loss_midpoint"][k])
        logit = np.log(score / (1 - score)) + one["map_noise_sd"][k] * rng.normal(size=loss.size)
        n_items = int(DATA.benchmarks.n_items[k])
        low, high = np.quantile(rng.binomial(n_items, expit(logit)) / n_items, [0.025, 0.975])
        assert prediction["score"]["eti95_new"] == pytest.approx([low, high], abs=0.02)


def test_the_answer_is_the_same_every_time():
    assert predict(fit_of(), 7e9, 2e12) == predict(fit_of(), 7e9, 2e12)


def test_a_number_stands_for_every_entry_of_the_list():
    fit = fit_of(50)
    assert predict(fit, [1e8, 1e9], 1e11) == predict(fit, [1e8, 1e9], [1e11, 1e11])


def test_extrapolation_says_how_far_outside_the_ladder():
    (first, *_) = predict(fit_of(20), 10 * DATA.losses.max_params, 1e9)["predictions"]
    assert first["extrapolation"]["params"] == pytest.approx(10.0)
    assert first["extrapolation"]["tokens"] == pytest.approx(1e9 / DATA.losses.max_tokens)
    unknown = fit_of(20, drop=("reference_max_params",))
    assert predict(unknown, 1e9, 1e9)["predictions"][0]["extrapolation"]["params"] is None


def test_a_law_without_floor_is_predicted():
    fit = fit_of(50)
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(fit.posterior.drop_vars("loss_floor"))
    lower = predict(Fit(tree, SPEC), 1e9, 1e11)["predictions"]
    higher = predict(fit, 1e9, 1e11)["predictions"]
    assert all(
        a["loss"]["median"] < b["loss"]["median"] for a, b in zip(lower, higher, strict=True)
    )


@pytest.mark.parametrize(
    ("n_params", "n_tokens", "message"),
    [
        (0.0, 1e12, "params 0, allowed: a positive number"),
        (7e9, -1.0, "tokens -1, allowed: a positive number"),
        (float("nan"), 1e12, "params nan"),
        (7e9, float("inf"), "tokens inf"),
        ([], 1e12, "no params given"),
        ([1e9, 2e9], [1e10, 1e11, 1e12], "2 sizes and 3 numbers of tokens"),
        (1e-300, 1e-300, "no finite loss|params 1e-300"),
    ],
)
def test_what_is_no_run_is_refused(n_params, n_tokens, message):
    with pytest.raises(BayesdenseError, match=message):
        predict(fit_of(2000), n_params, n_tokens)


def test_a_fit_of_densities_is_refused():
    fit = fit_of(5)
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(fit.posterior[["growth_rate"]])
    with pytest.raises(BayesdenseError, match="published densities"):
        predict(Fit(tree, SPEC), 1e9, 1e11)


def test_a_tree_without_centres_is_refused_by_name():
    with pytest.raises(BayesdenseError, match="'log_params_centre'"):
        predict(fit_of(5, drop=("log_params_centre",)), 1e9, 1e11)
