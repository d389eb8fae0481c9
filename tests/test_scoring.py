"""New LLMs under a fit: tables, sizes against brute force, families old and new, the verb."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from fake_fit import FAMILIES, ORIGIN, fake_fit
from program import hold, invoke
from scipy import stats

from bayesdense.errors import BayesdenseError, DatasetError, SpecError
from bayesdense.items import item_variance
from bayesdense.laws import chinchilla_loss
from bayesdense.names import LAW_PARAMETERS, MAP_PARAMETERS
from bayesdense.newcomers import observe_newcomers, read_newcomers, with_families
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_logit_score
from bayesdense.scoring import score

HEAD = "llm,release_date,n_params,n_params_non_embedding,family,MMLU,BBH\n"
BENCHMARKS = ("MMLU", "BBH")
DATE, N = "2025-06-01", 4e9
YEARS = float((np.datetime64(DATE) - np.datetime64(ORIGIN)).astype(int)) / 365.25
X = np.linspace(np.log(N) - 15, np.log(N) + 25, 8001)


def table(tmp_path: Path, rows: str, head: str = HEAD, name: str = "new.csv") -> Path:
    path = tmp_path / name
    path.write_text(head + rows, encoding="utf-8")
    return path


def row(name: str, family: str = "", mmlu: str = "0.5", bbh: str = "0.45") -> str:
    return f"{name},{DATE},4.4e9,{N},{family},{mmlu},{bbh}\n"


def one_draw(n: int = 3000, **options: object) -> Fit:
    """A fit that knows its parameters: one draw, n times."""
    fit = fake_fit(chains=1, draws=n, **options)  # type: ignore[arg-type]
    known = fit.posterior.isel(draw=np.full(n, 7)).assign_coords(draw=np.arange(n))
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(known)
    return Fit(tree, fit.spec)


def log_likelihood(fit: Fit, scores: dict[str, float]) -> np.ndarray:
    """Log p(scores | x) over `X`, written once more."""
    theta = fit.posterior.isel(chain=0, draw=0)
    constant = fit.group("constant_data")
    log_tokens = np.log(fit.spec.options.reference_tokens) - float(constant["log_tokens_centre"])
    out = np.zeros(len(X))
    for name, value in scores.items():
        p = theta.sel(benchmark=name)
        loss = chinchilla_loss(
            X - float(constant["log_params_centre"]),
            log_tokens,
            *(float(p[parameter]) for parameter in LAW_PARAMETERS),
        )
        mean = logistic_logit_score(loss, *(float(p[parameter]) for parameter in MAP_PARAMETERS))
        own = float(p["discrepancy_sd"]) ** 2 + float(p["protocol_sd"]) ** 2
        var = own + item_variance(mean, 2000.0)
        out += stats.norm.logpdf(np.log(value / (1 - value)), mean, np.sqrt(var))
    return out


def location(fit: Fit) -> float:
    theta = fit.posterior.isel(chain=0, draw=0)
    return float(np.log(N) + theta["trend_intercept"] + theta["growth_rate"] * YEARS)


def quantiles(log_weight: np.ndarray) -> np.ndarray:
    weight = np.exp(log_weight - log_weight.max())
    cdf = np.cumsum(weight) / weight.sum()
    return np.exp(np.interp([0.025, 0.5, 0.975], cdf, X))


def numbers(payload: dict[str, object]) -> list[float]:
    """Sizes of a payload; compiled sums may differ in their last digit from call to call."""
    llms: list[dict[str, dict[str, object]]] = payload["llms"]  # type: ignore[assignment]
    return [x for llm in llms for x in llm["effective_params"]["eti95"]]  # type: ignore[attr-defined]


def assert_close(found: dict[str, object], expected: np.ndarray, width: float) -> None:
    """Logs within a few Monte Carlo errors of quantiles of 3,000 draws."""
    logs = np.log([found["eti95"][0], found["median"], found["eti95"][1]])  # type: ignore[index]
    assert np.abs(logs - np.log(expected)) == pytest.approx(0.0, abs=width)


def test_the_size_of_an_llm_of_a_known_family_is_that_of_brute_force(tmp_path):
    fit = one_draw()
    theta = fit.posterior.isel(chain=0, draw=0)
    effect = float(theta["family_effect"].sel(family="Gemma"))
    prior = stats.norm.logpdf(X, location(fit) + effect, float(theta["residual_sd"]))
    expected = quantiles(log_likelihood(fit, {"MMLU": 0.5, "BBH": 0.45}) + prior)
    (found,) = score(fit, table(tmp_path, row("ours", "Gemma")))["llms"]
    assert found["family_is_known"]
    assert_close(found["effective_params"], expected, 0.12)
    assert_close(found["density"], expected / N, 0.12)


def test_a_new_family_is_integrated_together_with_the_residual(tmp_path):
    fit = one_draw()
    theta = fit.posterior.isel(chain=0, draw=0)
    sd = np.hypot(float(theta["residual_sd"]), float(theta["family_sd"]))
    prior = stats.norm.logpdf(X, location(fit), sd)
    weight = log_likelihood(fit, {"MMLU": 0.5, "BBH": 0.45}) + prior
    (found,) = score(fit, table(tmp_path, row("ours")))["llms"]
    assert not found["family_is_known"]
    assert_close(found["effective_params"], quantiles(weight), 0.12)
    trend = location(fit) - np.log(N)
    assert found["trend"]["median"] == pytest.approx(np.exp(trend))
    above = (
        np.exp(weight - weight.max())[location(fit) < X].sum() / np.exp(weight - weight.max()).sum()
    )
    assert found["p_above_trend"] == pytest.approx(above, abs=0.04)
    share = np.exp(weight - weight.max()) / np.exp(weight - weight.max()).sum()
    denser = share @ stats.norm.cdf(X, location(fit), sd)
    assert found["p_denser_than_new_llm"] == pytest.approx(denser, abs=0.04)


@pytest.mark.parametrize("residual", ["symmetric", "composed"])
def test_llms_of_one_new_family_inform_its_effect_together(tmp_path, residual):
    fit = one_draw(2000, residual=residual)
    theta = fit.posterior.isel(chain=0, draw=0)
    sd, family_sd = float(theta["residual_sd"]), float(theta["family_sd"])
    effects = np.linspace(-6 * family_sd, 6 * family_sd, 241)
    kinds = {"a": {"MMLU": 0.8, "BBH": 0.75}, "b": {"MMLU": 0.7}, "c": {"BBH": 0.3}}
    log_posterior = stats.norm.logpdf(effects, 0, family_sd)
    for scores in kinds.values():
        likelihood = np.exp(log_likelihood(fit, scores))
        for k, effect in enumerate(effects):
            deviation = X - location(fit) - effect
            if residual == "symmetric":
                density = stats.norm.pdf(deviation, scale=sd)
            else:  # normal minus exponential: an exponentially modified normal, mirrored
                one_sided = float(theta["one_sided_sd"])
                density = stats.exponnorm.pdf(-deviation, one_sided / sd, scale=sd)
            log_posterior[k] += np.log(likelihood @ density)
    weight = np.exp(log_posterior - log_posterior.max())
    cdf = np.cumsum(weight) / weight.sum()
    expected = np.interp([0.1, 0.5, 0.9], cdf, effects)
    rows = "".join(
        row(name, "ours", str(s.get("MMLU", "")), str(s.get("BBH", "")))
        for name, s in kinds.items()
    )
    data, _ = observe_newcomers(fit, read_newcomers(table(tmp_path, rows), None, BENCHMARKS))
    posterior, known = with_families(fit, data, given_scores=True, seed=1)
    assert known == (False,)
    found = np.quantile(posterior["family_effect"], [0.1, 0.5, 0.9])
    assert found == pytest.approx(expected, abs=4 * family_sd / np.sqrt(2000))


def test_families_before_their_scores_are_seen_have_the_prior(tmp_path):
    fit = one_draw(4000)
    rows = row("a", "ours") + row("b", "Phi")
    data, _ = observe_newcomers(fit, read_newcomers(table(tmp_path, rows), None, BENCHMARKS))
    posterior, known = with_families(fit, data, given_scores=False, seed=1)
    assert known == (False, True)
    effect = posterior["family_effect"]
    assert (effect.sel(family="Phi") == fit.posterior["family_effect"].sel(family="Phi")).all()
    sd = float(fit.posterior["family_sd"][0, 0])
    assert float(effect.sel(family="ours").std()) == pytest.approx(sd, rel=0.05)


def test_a_score_above_every_ceiling_is_a_lower_bound(tmp_path):
    (found,) = score(fake_fit(), table(tmp_path, row("ours", "", "0.99", "0.99")))["llms"]
    assert found["lower_bound_only"]
    assert not found["upper_bound_only"]
    assert found["data_lower_bound"] > 0
    (other,) = score(fake_fit(), table(tmp_path, row("ours", "", "0.2", "0.2")))["llms"]
    assert other["upper_bound_only"]


@pytest.mark.parametrize(
    "kind", [{}, {"options": {"family": "none"}}, {"options": {"feedback": "cut"}}]
)
def test_every_kind_of_fit_scores(tmp_path, kind):
    if "family" in kind.get("options", {}):
        fit = fake_fit(draws=50)
        spec = fit.spec.with_options(family="none")
        tree = fit.tree.copy()
        tree["posterior"] = xr.DataTree(fit.posterior.drop_vars(["family_effect", "family_sd"]))
        fit = Fit(tree, spec)
    else:
        fit = fake_fit(draws=50, **kind)
    payload = score(fit, table(tmp_path, row("ours") + row("theirs", "Gemma")))
    hold(json.loads(json.dumps(payload, allow_nan=False)), "score")
    assert payload["globals_updated"] is False


def test_scores_may_stand_in_a_table_of_their_own(tmp_path):
    fit = fake_fit(draws=50)
    wide = score(fit, table(tmp_path, row("ours")))
    head = "llm,release_date,n_params,n_params_non_embedding\n"
    models = table(tmp_path, f"ours,{DATE},4.4e9,{N}\n", head, "models.csv")
    tall = table(tmp_path, "ours,BBH,0.45\nours,MMLU,0.5\n", "llm,benchmark,score\n", "scores.csv")
    assert numbers(score(fit, models, tall)) == pytest.approx(numbers(wide))
    more = table(tmp_path, "ours,BBH,0.45,50\nours,MMLU,0.5,50\n", "llm,benchmark,score,n_items\n")
    wider = score(fit, models, more)["llms"][0]["density"]["eti95"]
    tighter = wide["llms"][0]["density"]["eti95"]
    assert wider[1] / wider[0] > tighter[1] / tighter[0]


def test_the_answer_is_the_same_every_time(tmp_path):
    fit = fake_fit(draws=50)
    path = table(tmp_path, row("ours") + row("theirs", "Gemma"))
    assert numbers(score(fit, path)) == pytest.approx(numbers(score(fit, path)))


def test_what_is_not_used_is_said(tmp_path):
    head = HEAD.strip() + ",GPQA,comment\n"
    path = table(tmp_path, row("ours", "Gema").strip() + ",0.3,good\n", head)
    tall = table(tmp_path, "ours,ARC,0.5\n", "llm,benchmark,score\n", "scores.csv")
    warnings = " ".join(score(fake_fit(draws=20), path, tall)["warnings"])
    assert "no law for ARC" in warnings
    assert "GPQA, comment" in warnings
    assert "did you mean 'Gemma'" in warnings


def test_doubtful_rows_are_warned_about(tmp_path):
    head = "llm,release_date,n_params,is_base,MMLU\n"
    path = table(tmp_path, f"llm-0,{DATE},4e9,false,0.5\n", head)
    found = score(fake_fit(draws=20), path)
    warnings = " ".join(found["warnings"])
    assert "divided by the total" in warnings
    assert found["llms"][0]["params"] == "total"
    assert "learnt from llm-0 already" in warnings
    assert "base LLMs; llm-0" in warnings


def test_what_rests_on_the_trend_or_the_law_alone_is_said(tmp_path):
    rows = row("within").replace(DATE, "2025-01-01") + row("early").replace(DATE, "2015-06-01")
    first, *_ = score(fake_fit(draws=50), table(tmp_path, rows))["warnings"]
    assert "Released outside" in first and first.count("early") == 1 and "within" not in first
    rows = f"tiny,{DATE},1e6,1e6,,0.99,0.99\n"  # the trend makes little of it
    found = score(fake_fit(), table(tmp_path, rows))
    (tiny,) = found["llms"]
    assert tiny["effective_params"]["eti95"][1] < tiny["data_lower_bound"]
    assert any("tiny: its scores alone ask for" in text for text in found["warnings"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (f"a,{DATE},4e9,4e10,,0.5,0.5\n", "4e+10, allowed up to n_params = 4e+09: exchanged"),
        (row("a", mmlu="57"), "row 2, column MMLU: 57, allowed 0 to 1: a percentage"),
        (row("a") + row("a"), "row 3, column llm: a, allowed each LLM once"),
        (row("a", mmlu="", bbh=""), "a has no score, allowed a score on one or more of MMLU, BBH"),
        (f"a,{DATE},,4e9,,0.5,0.5\n", "column n_params: empty"),
    ],
)
def test_bad_tables_are_refused_with_place_and_remedy(tmp_path, rows, message):
    with pytest.raises(DatasetError, match=re.escape(message)):
        score(fake_fit(draws=5), table(tmp_path, rows))


def test_a_misspelt_benchmark_and_a_stranger_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="did you mean 'MMLU'"):
        score(fake_fit(draws=5), table(tmp_path, f"a,{DATE},4e9,.5,.5\n",
                                       "llm,release_date,n_params,MMLUU,BBH\n"))  # fmt: skip
    tall = table(tmp_path, "ourz,BBH,0.5\nours,MMLU,0.5\n", "llm,benchmark,score\n", "scores.csv")
    with pytest.raises(DatasetError) as refused:
        score(fake_fit(draws=5), table(tmp_path, row("ours")), tall)
    assert "score of ourz, allowed an llm of new.csv: did you mean 'ours'?" in str(refused.value)
    assert "two scores of ours on MMLU, allowed one" in str(refused.value)


def test_fits_that_cannot_score_say_why(tmp_path):
    path = table(tmp_path, row("ours"))
    with pytest.raises(BayesdenseError, match="published densities"):
        score(fake_fit(densities_only=True, draws=5), path)
    fit = fake_fit(draws=5)
    fit.tree["constant_data"]["n_params"].attrs["convention"] = "active"
    with pytest.raises(SpecError, match="n_params_active is blank for ours"):
        score(fit, path)


def test_protocol_offsets_are_those_of_the_fits_own_llms(tmp_path):
    fit = fake_fit(draws=400)
    path = table(tmp_path, row("ours", bbh=""))
    plain = score(fit, path)["llms"][0]["density"]["median"]
    offset = xr.zeros_like(fit.posterior["score_slope"]) + 0.5
    posterior = fit.posterior.assign(protocol_offset=offset)
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(posterior)
    with pytest.raises(BayesdenseError, match="protocol offsets"):
        score(Fit(tree, fit.spec), path)
    rows = fit.group("constant_data").sizes["score_obs"]
    for other, sign in ((0.0, 0), (1.0, -1)):
        constant = fit.group("constant_data").assign(
            score_other_protocol=("score_obs", np.full(rows, other))
        )
        tree["constant_data"] = xr.DataTree(constant)
        density = score(Fit(tree, fit.spec), path)["llms"][0]["density"]["median"]
        assert np.sign(density - plain) == sign


def test_the_verb_answers_in_three_forms(tmp_path, monkeypatch, capsys):
    folder = fake_fit(draws=50).save(tmp_path / "fit")
    path = table(tmp_path, row("ours") + row("theirs", FAMILIES[0], "0.99", "0.99"))
    status, out, _ = invoke(monkeypatch, capsys, "score", folder, path)
    assert status == 0
    assert "ours" in out
    assert "> theirs" in out
    assert "have not updated them" in " ".join(out.split())
    status, out, _ = invoke(monkeypatch, capsys, "score", folder, path, "--format", "json")
    hold(json.loads(out), "score")
    status, out, _ = invoke(monkeypatch, capsys, "score", folder, path, "--format", "csv")
    first, second = csv.DictReader(io.StringIO(out))
    assert first["llm"] == "ours"
    assert float(first["density_eti95_low"]) < float(first["density_median"])
    assert second["lower_bound_only"] == "true"
    status, _, err = invoke(monkeypatch, capsys, "score", folder, tmp_path / "none.csv")
    assert status == 2
    assert "none.csv" in err
