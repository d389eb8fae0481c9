"""Frozen forecasts: what is written, what is refused, and their scores against brute force."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from datasets import every_cell, tiny_dataset
from fake_fit import FAMILIES, ORIGIN, fake_fit
from program import hold, invoke
from scipy import stats

from bayesdense.dataset import Dataset, load_dataset
from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError
from bayesdense.frozen import freeze_forecast, load_forecast, score_forecast
from bayesdense.items import item_variance
from bayesdense.laws import chinchilla_loss
from bayesdense.names import LAW_PARAMETERS, MAP_PARAMETERS
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_logit_score

LAST = "2023-06-01"


def frozen(tmp_path: Path, fit: Fit, **options: int) -> Path:
    """A forecast of a fit that has seen nothing after `LAST`."""
    tree = fit.tree.copy()
    about = {**fit.dataset_info, "window": ["2023-01-01", LAST]}
    tree.attrs["dataset"] = json.dumps(about)
    path = tmp_path / "forecast.json"
    freeze_forecast(Fit(tree, fit.spec), path, **options)  # type: ignore[arg-type]
    return path


def tiny(tmp_path: Path, family: str = "") -> Dataset:
    """The tiny dataset; Delta-3B perhaps of another family."""
    rename = every_cell("family", lambda name: family if family and name == "Delta" else name)
    return load_dataset(tiny_dataset(tmp_path, llms=rename))


def one_draw(n: int = 100) -> Fit:
    fit = fake_fit(chains=1, draws=n)
    known = fit.posterior.isel(draw=np.full(n, 7)).assign_coords(draw=np.arange(n))
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(known)
    return Fit(tree, fit.spec)


def test_a_frozen_forecast_holds_the_draws_and_their_digest(tmp_path):
    fit = fake_fit()
    path = tmp_path / "forecast.json"
    digest = freeze_forecast(fit, path, n_draws=100)
    content = json.loads(path.read_text(encoding="utf-8"))
    hold(content, "frozen_forecast")
    assert content["digest"] == digest
    read = load_forecast(path)
    assert read.digest == digest
    assert read.fit.spec == fit.spec
    assert read.fit.dataset_info == fit.dataset_info
    flat = fit.posterior["growth_rate"].values.ravel()
    rows = ((np.arange(100) + 0.5) * 10).astype(int)
    assert (read.fit.posterior["growth_rate"].values.ravel() == flat[rows]).all()
    effects = fit.posterior["family_effect"].transpose("chain", "draw", "family").values
    kept = read.fit.posterior["family_effect"]
    assert kept["family"].values.tolist() == sorted(set(FAMILIES))
    assert (kept.values[0] == effects.reshape(-1, len(kept["family"]))[rows]).all()


def test_a_forecast_is_never_replaced(tmp_path):
    path = frozen(tmp_path, fake_fit(draws=5))
    before = path.read_bytes()
    with pytest.raises(BayesdenseError, match="no forecast is replaced"):
        freeze_forecast(fake_fit(draws=6), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"frozen_at": "2', '"frozen_at": "1'), "altered since"),
        (lambda text: text.replace('"bayesdense-forecast"', '"other"'), "no frozen forecast"),
        (lambda text: text.replace('"schema": 1', '"schema": 9', 1), "schema 9, this version"),
        (lambda text: text[:-20], "is no JSON"),
    ],
)
def test_an_altered_forecast_is_refused(tmp_path, change, message):
    path = frozen(tmp_path, fake_fit(draws=5))
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(BayesdenseError, match=message):
        load_forecast(path)


def test_files_that_are_not_there_and_fits_without_laws_are_refused(tmp_path):
    with pytest.raises(BayesdenseError, match="cannot be read"):
        load_forecast(tmp_path / "none.json")
    with pytest.raises(BayesdenseError, match="published densities"):
        freeze_forecast(fake_fit(densities_only=True, draws=5), tmp_path / "f.json")
    with pytest.raises(BayesdenseError, match="cannot be written"):
        freeze_forecast(fake_fit(draws=5), tmp_path / "nowhere" / "f.json")


def log_densities(fit: Fit, data: Dataset, name: str, known: str | None) -> dict[str, float]:
    """Log predictive density of each logit of an LLM, and of all together, by a fine sum."""
    theta = fit.posterior.isel(chain=0, draw=0)
    constant = fit.group("constant_data")
    row = data.llms.set_index("llm").loc[name]
    year = (np.datetime64(row["release_date"], "D") - np.datetime64(ORIGIN)).astype(int) / 365.25
    centre = np.log(row["n_params"]) + float(theta["trend_intercept"] + theta["growth_rate"] * year)
    sd = np.hypot(float(theta["residual_sd"]), 0 if known else float(theta["family_sd"]))
    if known:
        centre += float(theta["family_effect"].sel(family=known))
    x = np.linspace(centre - 8 * sd, centre + 8 * sd, 4001)
    weight = stats.norm.pdf(x, centre, sd) * (x[1] - x[0])
    log_tokens = np.log(fit.spec.options.reference_tokens) - float(constant["log_tokens_centre"])
    out, together = {}, np.zeros_like(x)
    cells = data.scores[data.scores["llm"] == name]
    for benchmark, score in zip(cells["benchmark"], cells["score"], strict=True):
        p = theta.sel(benchmark=benchmark)
        law = (float(p[name]) for name in LAW_PARAMETERS)
        loss = chinchilla_loss(x - float(constant["log_params_centre"]), log_tokens, *law)
        mean = logistic_logit_score(loss, *(float(p[name]) for name in MAP_PARAMETERS))
        n_items = 14042.0 if benchmark == "MMLU" else 6511.0
        own = float(p["discrepancy_sd"]) ** 2 + float(p["protocol_sd"]) ** 2
        sd_of = np.sqrt(own + item_variance(mean, n_items))
        log_p = stats.norm.logpdf(np.log(score / (1 - score)), mean, sd_of)
        together += log_p
        out[benchmark] = float(np.log(weight @ np.exp(log_p)))
    out["joint"] = float(np.log(weight @ np.exp(together)))
    return out


@pytest.mark.parametrize("family", ["", "Gemma"])
def test_log_scores_are_those_of_brute_force(tmp_path, family):
    fit = one_draw(400)
    data = tiny(tmp_path, family)
    found = score_forecast(frozen(tmp_path, fit), data)
    hold(json.loads(json.dumps(found, allow_nan=False)), "forecast_score")
    expected = log_densities(fit, data, "Delta-3B", family or None)
    rows = {r["benchmark"]: r for r in found["scores"] if r["llm"] == "Delta-3B"}
    assert set(rows) == {"MMLU", "BBH"}
    for benchmark, row in rows.items():
        assert row["family_is_known"] == bool(family)
        assert row["log_score"] == pytest.approx(expected[benchmark], abs=0.15)
    (joint,) = (r["log_score_joint"] for r in found["llms"] if r["llm"] == "Delta-3B")
    assert joint == pytest.approx(expected["joint"], abs=0.25)


def test_only_later_base_llms_are_outcomes(tmp_path):
    found = score_forecast(frozen(tmp_path, fake_fit(draws=40)), tiny(tmp_path))
    # Alpha was there before, and Beta-7B-chat is no base LLM
    assert [llm["llm"] for llm in found["llms"]] == ["Beta-7B", "Gamma-2B", "Gamma-9B", "Delta-3B"]
    assert found["n_scores"] == 7
    assert found["overall"]["n_families"] == 3
    by_name = {b["benchmark"]: b for b in found["benchmarks"]}
    crps_of = [row["crps"] for row in found["scores"] if row["benchmark"] == "BBH"]
    assert by_name["BBH"]["crps"]["mean"] == pytest.approx(np.mean(crps_of))
    assert found["overall"]["coverage50"] <= found["overall"]["coverage95"]


def test_nothing_later_is_an_error(tmp_path):
    freeze_forecast(fake_fit(draws=5), tmp_path / "forecast.json")
    with pytest.raises(BayesdenseError, match="no LLM released after 2025-04-28"):
        score_forecast(tmp_path / "forecast.json", tiny(tmp_path))


def test_a_forecast_that_is_right_is_calibrated(tmp_path):
    """Outcomes drawn from the forecast itself are covered as its intervals say."""
    fit, rng = one_draw(400), np.random.default_rng(3)
    rows = score_forecast(frozen(tmp_path, fit), tiny(tmp_path))["scores"]
    theta = fit.posterior.isel(chain=0, draw=0).sel(benchmark="MMLU")
    (row,) = (r for r in rows if r["llm"] == "Beta-7B" and r["benchmark"] == "MMLU")
    constant = fit.group("constant_data")
    year = (np.datetime64("2023-09-01") - np.datetime64(ORIGIN)).astype(int) / 365.25
    centre = np.log(7e9) + float(theta["trend_intercept"] + theta["growth_rate"] * year)
    x = centre + np.hypot(*(float(theta[n]) for n in ("residual_sd", "family_sd"))) * rng.normal(
        size=200_000
    )
    log_tokens = np.log(fit.spec.options.reference_tokens) - float(constant["log_tokens_centre"])
    law = (float(theta[name]) for name in LAW_PARAMETERS)
    loss = chinchilla_loss(x - float(constant["log_params_centre"]), log_tokens, *law)
    mean = logistic_logit_score(loss, *(float(theta[name]) for name in MAP_PARAMETERS))
    own = float(theta["discrepancy_sd"]) ** 2 + float(theta["protocol_sd"]) ** 2
    drawn = expit(mean + np.sqrt(own + item_variance(mean, 14042.0)) * rng.normal(size=x.size))
    for share in (0.5, 0.8, 0.95):
        low, high = row[f"eti{100 * share:.0f}"]
        assert np.mean((drawn >= low) & (drawn <= high)) == pytest.approx(share, abs=0.03)


def test_the_verb_freezes(tmp_path, monkeypatch, capsys):
    folder = fake_fit(draws=20).save(tmp_path / "fit")
    path = tmp_path / "f.json"
    arguments = ("forecast", folder, "--at", "2026-01-01", "--freeze", path, "--format", "json")
    status, out, err = invoke(monkeypatch, capsys, *arguments)
    assert status == 0
    read = load_forecast(path)
    assert read.digest in err.replace("\n", "")
    assert json.loads(path.read_text(encoding="utf-8"))["answer"] == json.loads(out)
    assert invoke(monkeypatch, capsys, *arguments)[0] == 2


def test_backtest_scores_a_frozen_forecast(tmp_path, monkeypatch, capsys):
    path = frozen(tmp_path, fake_fit())
    folder = tiny_dataset(tmp_path / "later")
    verb = ("backtest", folder, "--score", path)
    status, out, _ = invoke(monkeypatch, capsys, *verb, "--format", "json")
    assert status == 0
    payload = json.loads(out)
    hold(payload, "forecast_score")
    assert payload == score_forecast(path, load_dataset(folder))
    status, out, _ = invoke(monkeypatch, capsys, *verb)
    assert status == 0
    said = " ".join(out.split())
    assert payload["digest"][:20] in said.replace(" ", "")
    assert f"{payload['overall']['crps']['mean']:.4f}" in said
    status, out, _ = invoke(monkeypatch, capsys, *verb, "--format", "csv")
    assert len(out.splitlines()) == 1 + payload["n_scores"]
    for option in (("--origins", "2024-01"), ("--draws", "70"), ("--executor", "serial")):
        status, _, err = invoke(monkeypatch, capsys, *verb, *option)
        assert status == 2
        assert "--score fits nothing" in " ".join(err.split())
    status, out, _ = invoke(monkeypatch, capsys, *verb, "--format", "json", "--seed", "3")
    assert json.loads(out) == score_forecast(path, load_dataset(folder), seed=3) != payload
