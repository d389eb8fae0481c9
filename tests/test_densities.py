"""Log likelihoods of given densities, families and known errors integrated out by brute force."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

from bayesdense.dataset import load_dataset
from bayesdense.densities import log_likelihoods, with_densities
from bayesdense.observations import Observations, observe
from bayesdense.spec import ModelSpec, load_spec

OF_FAMILY = np.array([0, 1, 1, 2, 2, 2])
YEARS = np.array([-1.0, -0.4, -0.1, 0.2, 0.6, 1.1])
LOG_DENSITY = np.array([-2.0, -1.1, 0.4, 0.2, 1.9, -0.7])
KNOWN_SD = np.array([0.3, 0.0, 0.2, 0.0, 0.5, 0.1])
#: Two draws of every parameter.
DRAWS = {
    "trend_intercept": (-0.2, 0.3),
    "growth_rate": (1.1, 0.4),
    "residual_sd": (0.5, 0.9),
    "family_sd": (0.8, 0.3),
    "residual_df": (3.0, 8.0),
    "one_sided_sd": (0.7, 0.4),
    "residual_log_sd_slope": (0.2, -0.1),
}


def observations(known_sd: np.ndarray) -> Observations:
    seen = observe(load_spec("trend_only"), load_dataset("densing-published"))
    llms = replace(
        seen.llms,
        names=tuple("abcdef"),
        families=("one", "two", "three"),
        family_idx=OF_FAMILY,
        years=YEARS,
    )
    assert seen.densities is not None
    given = replace(seen.densities, log_density=LOG_DENSITY, known_var=known_sd**2)
    return replace(seen, llms=llms, densities=given)


def posterior(**changes: tuple[float, float]) -> xr.Dataset:
    values = DRAWS | changes
    return xr.Dataset({name: (("chain", "draw"), [list(pair)]) for name, pair in values.items()})


def members_of(family: int) -> np.ndarray:
    return np.array([i for i, own in enumerate(OF_FAMILY) if own == family])


def residual_density(spec: ModelSpec, theta: dict[str, float], i: int, known_sd: float):
    """Log density of LLM i's deviation, its known error convolved on a fine grid."""
    sd = theta["residual_sd"]
    if spec.options.scale_trend:
        sd *= np.exp(theta["residual_log_sd_slope"] * YEARS[i])
    plain = {
        "symmetric": lambda x: stats.norm.logpdf(x, 0, sd),
        "student_t": lambda x: stats.t.logpdf(x, theta["residual_df"], 0, sd),
        "composed": lambda x: stats.exponnorm.logpdf(-x, theta["one_sided_sd"] / sd, 0, sd),
    }[spec.residual]
    if known_sd == 0:
        return plain
    error = np.linspace(-8, 8, 801) * known_sd
    weight = stats.norm.logpdf(error, 0, known_sd) + np.log(error[1] - error[0])
    return lambda x: logsumexp(plain(np.asarray(x)[..., None] - error) + weight, axis=-1)


def brute_force(
    spec: ModelSpec, theta: dict[str, float], known_sd: np.ndarray, members: np.ndarray
) -> float:
    """Log of the joint density of these members of one family."""
    eta = theta["trend_intercept"] + theta["growth_rate"] * YEARS
    effect, log_weight = np.zeros(1), np.zeros(1)
    if spec.component("family").kind == "normal":
        effect = np.linspace(-9, 9, 1801) * theta["family_sd"]
        log_weight = stats.norm.logpdf(effect, 0, theta["family_sd"])
        log_weight = log_weight + np.log(effect[1] - effect[0])
    total = log_weight
    for i in members:
        density = residual_density(spec, theta, i, known_sd[i])
        total = total + density(LOG_DENSITY[i] - eta[i] - effect)
    return float(logsumexp(total))


@pytest.mark.parametrize("known_sd", [np.zeros(6), KNOWN_SD], ids=["exact", "known errors"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"residual": "student_t"},
        {"residual": "composed"},
        {"residual": "composed", "scale_trend": True},
        {"family": "none", "residual": "student_t"},
    ],
    ids=str,
)
def test_against_brute_force(options: dict[str, object], known_sd: np.ndarray) -> None:
    spec = load_spec("trend_only").with_options(**options)
    drawn = posterior()
    if spec.component("family").kind == "none":
        drawn = drawn.drop_vars("family_sd")
    found = log_likelihoods(drawn, spec, observations(known_sd))
    for draw in range(2):
        theta = {name: pair[draw] for name, pair in DRAWS.items()}
        for k in range(3):
            members = members_of(k)
            whole = brute_force(spec, theta, known_sd, members)
            assert float(found["family"][0, draw, k]) == pytest.approx(whole, abs=1e-4)
            for i in members:
                others = members[members != i]
                without = brute_force(spec, theta, known_sd, others) if len(others) else 0.0
                assert float(found["llm"][0, draw, i]) == pytest.approx(whole - without, abs=2e-4)


def test_labels() -> None:
    found = log_likelihoods(posterior(), load_spec("trend_only"), observations(np.zeros(6)))
    assert found["llm"].dims == ("chain", "draw", "llm_obs")
    assert list(found["llm_obs"].values) == list("abcdef")
    assert list(found["family_obs"].values) == ["one", "two", "three"]


@pytest.mark.parametrize("family_sd", [1e-4, 20.0])
def test_family_sds_far_from_the_residuals(family_sd: float) -> None:
    """Far smaller: independent LLMs. Far larger: a normal integral with a closed form."""
    spec, data = load_spec("trend_only"), observations(np.zeros(6))
    found = log_likelihoods(posterior(family_sd=(family_sd, family_sd)), spec, data)
    for draw in range(2):
        theta = {name: pair[draw] for name, pair in DRAWS.items()}
        error = LOG_DENSITY - theta["trend_intercept"] - theta["growth_rate"] * YEARS
        for k in range(3):
            own = error[members_of(k)]
            covariance = theta["residual_sd"] ** 2 * np.eye(len(own)) + family_sd**2
            expected = stats.multivariate_normal.logpdf(own, np.zeros(len(own)), covariance)
            assert float(found["family"][0, draw, k]) == pytest.approx(expected, abs=1e-5)


def test_given_densities_are_the_same_in_every_draw() -> None:
    out = with_densities(posterior(), observations(np.zeros(6)))["log_density"]
    assert out.sizes == {"chain": 1, "draw": 2, "llm": 6} and out.attrs["units"] == "log density"
    np.testing.assert_array_equal(out.transpose("chain", "draw", "llm")[0, 1], LOG_DENSITY)
