"""Readings of the frontier against brute force, one draw after the other."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from datasets import tiny_densities
from fake_fit import DATES, FAMILIES, ORIGIN, SIZES, fake_fit
from program import hold, invoke
from scipy import stats

from bayesdense import point_estimate
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError
from bayesdense.frontier import frontier_readings
from bayesdense.plots.readings import describe_readings
from bayesdense.results import Fit

DAYS = (np.array(DATES, dtype="datetime64[D]") - np.datetime64(DATES[0])).astype(int)
YEARS = (np.array(DATES, dtype="datetime64[D]") - np.datetime64(ORIGIN)).astype(int) / 365.25


def reading(fit: Fit, name: str, **options: object) -> dict[str, object]:
    payload = frontier_readings(fit, **options)  # type: ignore[arg-type]
    (found,) = (r for r in payload["readings"] if r["reading"] == name)
    return found


def records_growth(log_density: np.ndarray) -> tuple[float, list[int]]:
    """Growth per year of the line through the running records of one draw, and their holders."""
    best, kept = -np.inf, []
    for day in sorted(set(DAYS)):
        k = max(np.flatnonzero(day == DAYS), key=lambda i: log_density[i])
        if log_density[k] > best:
            best = log_density[k]
            kept.append(int(k))
    if len(kept) < 3:
        return np.nan, kept
    return float(np.polyfit(DAYS[kept] / 365.25, log_density[kept], 1)[0]), kept


def maximum_growth(log_density: np.ndarray) -> float:
    """Growth per year of the running maximum; every LLM of `DATES` has a day of its own."""
    return float(np.polyfit(DAYS / 365.25, np.maximum.accumulate(log_density), 1)[0])


def draws_of(fit: Fit, name: str) -> np.ndarray:
    values = fit.posterior[name].transpose("chain", "draw", ...).values
    return values.reshape(-1, *values.shape[2:])


def with_variables(fit: Fit, **values: object) -> Fit:
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(fit.posterior.assign(**values))
    return Fit(tree, fit.spec)


def test_the_mean_is_the_trends_growth():
    fit = fake_fit()
    found = reading(fit, "mean")
    growth = draws_of(fit, "growth_rate")
    assert found["growth_rate_per_year"]["eti95"] == pytest.approx(
        list(np.quantile(growth, [0.025, 0.975]))
    )
    days = 365.25 * np.log(2) / np.median(growth)
    assert found["doubling_time_days"]["median"] == pytest.approx(days)


def test_a_quantile_grows_faster_where_the_scatter_widens():
    fit = fake_fit(options={"scale_trend": True})
    slope = xr.full_like(fit.posterior["growth_rate"], 0.3)
    fit = with_variables(fit, residual_log_sd_slope=slope)
    t, step, z = YEARS.max(), 1e-5, stats.norm.ppf(0.8)

    def line(at: float) -> np.ndarray:
        sd = draws_of(fit, "residual_sd") * np.exp(0.3 * at)
        return draws_of(fit, "growth_rate") * at + z * np.hypot(sd, draws_of(fit, "family_sd"))

    growth = (line(t + step) - line(t - step)) / (2 * step)
    found = reading(fit, "quantile", quantile=0.8)
    assert found["growth_rate_per_year"]["median"] == pytest.approx(np.median(growth), rel=1e-5)
    assert found["growth_rate_per_year"]["median"] > np.median(draws_of(fit, "growth_rate"))


def test_records_are_taken_in_every_draw():
    fit = fake_fit(draws=50, lower_bounds=3)
    pairs = [records_growth(draw) for draw in draws_of(fit, "log_density")]
    growth = np.array([slope for slope, _ in pairs])
    found = reading(fit, "records")
    assert found["share_too_few_records"] == pytest.approx(np.isnan(growth).mean())
    assert found["growth_rate_per_year"]["eti50"] == pytest.approx(
        list(np.nanquantile(growth, [0.25, 0.75]))
    )
    holders = [k for _, kept in pairs for k in kept]
    share = np.mean([k >= len(DATES) - 3 for k in holders])
    assert found["share_lower_bound_holders"] == pytest.approx(share)
    assert "p_growing" not in found


def test_records_need_three_of_them():
    fit = fake_fit(draws=20)
    falling = xr.DataArray(-np.arange(8.0), dims="llm")
    fit = with_variables(fit, log_density=0.0 * fit.posterior["log_density"] + falling)
    found = reading(fit, "records")
    assert found["absent"] == "too few records, or dates, in every draw"
    assert found["growth_rate_per_year"] is None


def test_the_industrys_frontier_is_the_largest_family_so_far():
    fit = fake_fit(draws=50, residual="composed")
    names = fit.posterior["family"].values.tolist()
    effects, growth = draws_of(fit, "family_effect"), draws_of(fit, "growth_rate")
    start, log_density = draws_of(fit, "trend_intercept"), draws_of(fit, "log_density")
    slopes, above = [], []
    for draw, own in enumerate(effects):
        lead = [
            max(own[names.index(FAMILIES[i])] for i in range(8) if DAYS[i] <= DAYS[k])
            for k in range(8)
        ]
        frontier = start[draw] + growth[draw] * YEARS + np.array(lead)
        slopes.append(np.polyfit(DAYS / 365.25, frontier, 1)[0])
        above.append((log_density[draw] > frontier).mean())
    found = reading(fit, "industry_frontier")
    assert found["growth_rate_per_year"]["median"] == pytest.approx(np.median(slopes))
    assert found["share_above_industry_frontier"]["median"] == pytest.approx(np.median(above))


def test_llms_of_one_day_share_a_frontier():
    fit = fake_fit(draws=5, residual="composed", llms=[f"llm-{k}" for k in range(10)])
    found = reading(fit, "industry_frontier")  # llm-8 and llm-9 are of the first two days again
    names = fit.posterior["family"].values.tolist()
    effects, growth = draws_of(fit, "family_effect"), draws_of(fit, "growth_rate")
    slopes = []
    for draw, own in enumerate(effects):
        lead = np.maximum.accumulate([own[names.index(name)] for name in FAMILIES])
        slopes.append(np.polyfit(DAYS / 365.25, growth[draw] * YEARS + lead, 1)[0])
    assert found["growth_rate_per_year"]["median"] == pytest.approx(np.median(slopes))


def test_attempts_split_growth_into_the_trend_and_the_entrants():
    fit = fake_fit(chains=1, draws=4000, growth_sd=0.0)
    fit = with_variables(
        fit, family_sd=xr.full_like(fit.posterior["family_sd"], 0.7),
        residual_sd=xr.full_like(fit.posterior["residual_sd"], 0.8),
    )  # fmt: skip
    rng, n = np.random.default_rng(9), 3000
    index = np.array([sorted(set(FAMILIES)).index(name) for name in FAMILIES])
    family = 0.7 * rng.normal(size=(n, index.max() + 1))
    noise = family[:, index] + 0.8 * rng.normal(size=(n, 8))
    whole = np.array([maximum_growth(row + 1.9 * YEARS) for row in noise])
    without = np.array([maximum_growth(row) for row in noise])
    for name, expected in (
        ("attempts", whole),
        ("attempts_from_entrants", without),
        ("attempts_from_eta", whole - without),
    ):
        found = reading(fit, name)["growth_rate_per_year"]
        assert found["median"] == pytest.approx(np.median(expected), abs=0.06), name
        assert found["eti50"] == pytest.approx(np.quantile(expected, [0.25, 0.75]), abs=0.08), name
    assert np.median(without) > 0.2, "the maximum rises though nothing improves"


def test_the_papers_estimate_is_that_of_point(tmp_path):
    data = load_dataset(tiny_densities(tmp_path))
    fit = fake_fit(densities_only=True, draws=20)
    with pytest.raises(BayesdenseError, match="is not the one that was fitted"):
        frontier_readings(fit, dataset=data)
    tree = fit.tree.copy()
    about = {**fit.dataset_info, "digest": data.digest}
    tree.attrs["dataset"] = json.dumps(about)
    found = reading(Fit(tree, fit.spec), "paper", dataset=data)
    line = point_estimate(data, n_permutations=1).line
    assert found["doubling_time_days"]["median"] == pytest.approx(line.doubling_time_days)
    assert found["growth_rate_per_year"]["eti95"] is None
    assert found["n_records"] == line.n_records


def test_entrants_per_year_are_those_of_the_window():
    found = frontier_readings(fake_fit(draws=10))["entrants_per_year"]
    assert found == pytest.approx(len(SIZES) / (DAYS.max() / 365.25))


@pytest.mark.parametrize(
    "kind",
    [{}, {"densities_only": True}, {"trend": "flat"}, {"options": {"feedback": "cut"}},
     {"residual": "composed"}],
)  # fmt: skip
def test_every_kind_of_fit_is_read(kind):
    payload = frontier_readings(fake_fit(draws=30, **kind))
    hold(json.loads(json.dumps(payload, allow_nan=False)), "readings")
    absent = {r["reading"] for r in payload["readings"] if r["absent"]}
    assert {"quantile", "paper"} <= absent
    assert ("industry_frontier" in absent) == (kind.get("residual") != "composed")


@pytest.mark.parametrize("q", [0.0, 1.0, float("nan")])
def test_what_is_no_quantile_is_refused(q):
    with pytest.raises(BayesdenseError, match="between 0 and 1"):
        frontier_readings(fake_fit(draws=5), quantile=q)


def test_the_verb_answers_in_three_forms(tmp_path, monkeypatch, capsys):
    folder = fake_fit(draws=40).save(tmp_path / "fit")
    asked = ("summarize", folder, "--readings")
    status, out, _ = invoke(monkeypatch, capsys, *asked)
    assert status == 0
    assert "attempts_from_entrants" in out
    assert "not here: needs the dataset" in " ".join(out.split())
    status, out, _ = invoke(monkeypatch, capsys, *asked, "--format", "json")
    hold(json.loads(out), "readings")
    status, out, _ = invoke(monkeypatch, capsys, *asked, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows[0]["reading"] == "mean"
    assert float(rows[0]["growth_rate_per_year_median"]) > 0
    status, _, err = invoke(monkeypatch, capsys, *asked, "--dataset", "densing-published")
    assert status == 2
    assert "not the one that was fitted" in err


def test_growth_of_no_size_is_told_as_none() -> None:
    row = {"reading": "attempts_from_entrants", "absent": None, "growth_median": 0.33}
    table = pd.DataFrame([{**row, "growth_low": 4.9e-16, "growth_high": 0.861}])
    assert "0.330 (95 % 0 to 0.861)" in describe_readings(table)
