"""summary.json against its schema, sentences against the cases of growth, digits against errors."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
import xarray as xr
from fake_fit import DATES, FakeChecks, fake_checks, fake_fit
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesdense
from bayesdense import derive
from bayesdense.checks import check
from bayesdense.errors import BayesdenseError
from bayesdense.plots.kinds import draw
from bayesdense.plots.trend import trend_table
from bayesdense.results import Fit, load_fit
from bayesdense.statements import format_count, format_number, format_probability
from bayesdense.summary import headline, statement, strict, summarize, to_json
from bayesdense.text_tables import growth_text_table, llm_table, llm_text_table

SCHEMA = json.loads(
    (Path(bayesdense.__file__).parent / "schemas" / "summary.schema.json").read_text("utf-8")
)
LN2_DAYS = 365.25 * math.log(2.0)
CASES: dict[str, dict[str, Any]] = {
    "growing": {},
    "straddling": {"growth": 0.1, "growth_sd": 0.3},
    "shrinking": {"growth": -1.0, "growth_sd": 0.1},
    "flat trend": {"trend": "flat"},
    "all zero": {"growth_draws": np.zeros((4, 250))},
    "all minus zero": {"growth_draws": np.full((4, 250), -0.0)},
    "zero or growing": {"growth_draws": np.tile(np.linspace(0.0, 2.0, 250) // 0.5, (4, 1))},
    "zero or shrinking": {"growth_draws": -np.tile(np.linspace(0.0, 2.0, 250) // 0.5, (4, 1))},
    "huge": {"growth": 300.0},
    "tiny": {"growth_draws": np.full((4, 250), 1e-310)},
    "densities": {"densities_only": True},
    "composed": {"residual": "composed"},
    "one LLM": {"llms": ["only"]},
    "few draws": {"chains": 1, "draws": 5},
    "no bounds": {"lower_bounds": 0},
}


def holds(summary: dict[str, Any]) -> None:
    jsonschema.validate(summary, SCHEMA, jsonschema.Draft202012Validator)
    assert json.loads(to_json(summary), parse_constant=lambda name: pytest.fail(name)) == summary


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fake_fit()


@pytest.fixture(scope="module")
def summary(fit: Fit) -> dict[str, Any]:
    return summarize(fit, fake_checks())


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def objects(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_schema_leaves_nothing_open() -> None:
    assert all("additionalProperties" in found for found in objects(SCHEMA))


@pytest.mark.parametrize("case", CASES)
def test_every_case_holds_the_schema_and_reads(case: str) -> None:
    fake = fake_fit(**CASES[case])
    summary = summarize(fake, fake_checks("review"), threshold_days=150)
    holds(summary)
    text = headline(summary)
    assert "nan" not in text.split() and "inf" not in text.split() and "None" not in text
    assert len(llm_table(fake)) == len(llm_text_table(fake)) == summary["dataset"]["n_llms"]
    assert "nan" not in growth_text_table(fake).to_string().split()


def test_keys_are_those_of_the_interface(summary: dict[str, Any]) -> None:
    keys = (
        "schema dataset model growth_rate_per_year growth_factor_per_year "
        "orders_of_magnitude_per_year p_faster_than_paper doubling_time_days n_lower_bound_only "
        "n_upper_bound_only llms checks timings_s seed versions"
    )
    assert list(summary) == keys.split()
    growth = "median mean sd eti50 eti95 p_positive prior_p_positive at average_over_window"
    assert list(summary["growth_rate_per_year"]) == growth.split()
    time = "median eti50 eti95 unbounded unbounded50 at statement"
    assert list(summary["doubling_time_days"]) == time.split()
    llm = (
        "llm release_date n_params effective_params density lower_bound_only upper_bound_only "
        "data_lower_bound extrapolation"
    )
    assert list(summary["llms"][0]) == llm.split()
    stages = ["import", "build", "compile", "sample", "derive", "total"]
    assert list(summary["timings_s"]) == stages


def test_numbers_agree_with_the_draws(fit: Fit, summary: dict[str, Any]) -> None:
    draws = fit.posterior["growth_rate"].values
    growth, time = summary["growth_rate_per_year"], summary["doubling_time_days"]
    assert growth["median"] == pytest.approx(np.median(draws))
    assert growth["eti95"] == pytest.approx(np.quantile(draws, [0.025, 0.975]).tolist())
    assert time["median"] == pytest.approx(LN2_DAYS / growth["median"])
    for key in ("eti50", "eti95"):
        assert time[key] == pytest.approx([LN2_DAYS / growth[key][1], LN2_DAYS / growth[key][0]])
    assert (time["at"], growth["at"]) == (DATES[-1], DATES[-1])
    assert (growth["p_positive"], growth["prior_p_positive"]) == (1.0, 0.5)
    factor = summary["growth_factor_per_year"]
    assert factor["median"] == pytest.approx(math.exp(growth["median"]), rel=1e-3)
    assert not time["unbounded"] and not time["unbounded50"]
    assert "halving_time_days" not in summary


def test_llm_records_agree_with_the_table(fit: Fit, summary: dict[str, Any]) -> None:
    table = llm_table(fit)
    for record, (_, row) in zip(summary["llms"], table.iterrows(), strict=True):
        assert record["llm"] == row["llm"]
        assert record["effective_params"]["median"] == row["effective_params"]
        assert record["density"]["eti95"] == [
            row["density_eti95_lower"],
            row["density_eti95_upper"],
        ]
    assert summary["n_lower_bound_only"] == 2
    assert summary["n_upper_bound_only"] == 1
    assert [r["llm"] for r in summary["llms"] if r["data_lower_bound"]] == ["llm-6", "llm-7"]


def test_growth_that_may_be_negative_is_unbounded() -> None:
    summary = summarize(fake_fit(growth=0.1, growth_sd=0.3), fake_checks())
    low, high = summary["growth_rate_per_year"]["eti95"]
    doubling, halving = summary["doubling_time_days"], summary["halving_time_days"]
    assert low < 0 < high
    assert doubling["unbounded"] and halving["unbounded"]
    assert doubling["eti95"] == [pytest.approx(LN2_DAYS / high), None]
    assert halving["eti95"] == [pytest.approx(LN2_DAYS / -low), None]
    assert doubling["median"] is not None and halving["median"] is None
    assert doubling["statement"].split(";")[0].endswith("growth is not established")


def test_decline_never_doubles() -> None:
    summary = summarize(fake_fit(growth=-1.0, growth_sd=0.1), fake_checks())
    doubling, halving = summary["doubling_time_days"], summary["halving_time_days"]
    assert (doubling["median"], doubling["eti50"], doubling["eti95"]) == (
        None,
        [None, None],
        [None, None],
    )
    assert doubling["unbounded"] and doubling["unbounded50"]
    assert not halving["unbounded"] and halving["median"] == pytest.approx(LN2_DAYS, rel=0.05)
    assert "does not grow: it halves every 8." in doubling["statement"]
    assert halving["statement"].startswith("The density halves every 8.")


def test_zero_growth_neither_doubles_nor_halves() -> None:
    summary = summarize(fake_fit(growth_draws=np.zeros((4, 250))), fake_checks())
    assert summary["doubling_time_days"]["eti95"] == [None, None]
    assert "halving_time_days" not in summary
    assert "does not change" in summary["doubling_time_days"]["statement"]


@settings(max_examples=25, deadline=None)
@given(
    # a rate of 1e-308 a year has a halving time that no float holds
    st.one_of(st.just(0.0), st.floats(1e-9, 50.0), st.floats(-50.0, -1e-9)),
    st.one_of(st.just(0.0), st.floats(1e-9, 20.0)),
    st.integers(0, 1000),
    st.booleans(),
)
def test_no_growth_breaks_the_summary(mean: float, sd: float, seed: int, densities: bool) -> None:
    draws = np.random.default_rng(seed).normal(mean, sd, (2, 20))
    fake = fake_fit(growth_draws=draws, chains=2, draws=20, densities_only=densities)
    summary = summarize(fake, fake_checks(), threshold_days=100)
    holds(summary)
    assert ("halving_time_days" in summary) == (summary["growth_rate_per_year"]["eti95"][0] < 0)


def test_threshold_adds_its_probability(fit: Fit) -> None:
    section = summarize(fit, fake_checks(), threshold_days=150)["doubling_time_days"]
    draws = LN2_DAYS / fit.posterior["growth_rate"].values
    assert section["p_below_threshold"] == pytest.approx(((draws > 0) & (draws < 150)).mean())
    assert section["threshold_days"] == 150
    assert "P(doubling in less than 150 days) = 0.8" in section["statement"]


@pytest.mark.parametrize("days", [0.0, -1.0, math.nan, math.inf])
def test_a_threshold_is_a_positive_number_of_days(fit: Fit, days: float) -> None:
    with pytest.raises(BayesdenseError, match="allowed a positive number of days"):
        summarize(fit, fake_checks(), threshold_days=days)


# ---- draws that are not finite


@pytest.mark.parametrize("broken", ["growth_rate", "loss_floor", "log_density"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_draws_that_are_not_finite_leave_a_summary_without_growth(
    broken: str, value: float
) -> None:
    whole = fake_fit()
    posterior = whole.posterior.copy(deep=True)
    posterior[broken].values[0, 5] = value
    tree = whole.tree.copy()
    tree["posterior"] = xr.DataTree(posterior)
    made = Fit(tree, whole.spec)
    found = check(made)
    summary = summarize(made, found, threshold_days=100)
    holds(summary)
    assert found.status == "fail"
    growth, time = summary["growth_rate_per_year"], summary["doubling_time_days"]
    assert growth["median"] is growth["p_positive"] is summary["p_faster_than_paper"] is None
    assert (time["median"], time["eti95"], time["unbounded"]) == (None, [None, None], True)
    assert time["p_below_threshold"] is None
    count = posterior[broken].isel(chain=0, draw=5).size
    assert headline(summary).startswith(f"No answer: {count} of ")
    assert growth_text_table(made).empty
    assert len(llm_text_table(made)) == len(summary["llms"])


# ---- the sentence


def test_statement_says_reading_definition_bounds_and_reach(fit: Fit) -> None:
    said = statement(fit)
    for part in (
        "The density of a typical new base LLM doubles every 4.3 months (95 % interval 3.5 to 5.8)",
        "P(growing) > 0.99 (0.5 before the data)",
        "over non-embedding parameters",
        "D0 = 5T tokens",
        "2 of 8 LLMs have only lower bounds on their size",
        "D0 is 101 times their longest training",
        "2 of 8 effective sizes are more than 10 times their largest LLM (828M parameters)",
    ):
        assert part in said


def test_statement_names_the_reading_of_a_frontier() -> None:
    said = statement(fake_fit(residual="composed"))
    assert said.startswith("The density of the frontier of an average base LLM family doubles")


def test_statement_without_the_base_filter_speaks_of_llms(fit: Fit) -> None:
    said = statement(Fit(fit.tree, fit.spec.with_options(base_only=False)))
    assert said.startswith("The density of a typical new LLM doubles")


def test_statement_names_a_mismatch_of_counts(fit: Fit) -> None:
    tree = fit.tree.copy()
    constant = fit.group("constant_data").copy()
    constant["n_params"].attrs["convention"] = "total"
    tree["constant_data"] = xr.DataTree(constant)
    said = statement(Fit(tree, fit.spec))
    assert "reference runs count non-embedding parameters, the LLMs total parameters" in said
    assert "yardsticks" not in statement(fit)
    about = {**fit.dataset_info, "reference_params": "without input embedding"}
    tree.attrs["dataset"] = json.dumps(about)
    said = statement(Fit(tree, fit.spec))
    assert 'reference runs count parameters "without input embedding", the LLMs total' in said


def test_statement_near_the_reference_runs_is_short(fit: Fit) -> None:
    tree = fit.tree.copy()
    constant = fit.group("constant_data").assign(
        reference_max_params=1e12, reference_max_tokens=1e12
    )
    tree["constant_data"] = xr.DataTree(constant)
    assert "Extrapolated" not in statement(Fit(tree, fit.spec))


def test_statement_without_bounds_is_silent_about_them() -> None:
    assert "lower bound" not in statement(fake_fit(lower_bounds=0))
    assert "1 of 8 LLMs has only a lower bound" in statement(fake_fit(lower_bounds=1))


def test_an_llm_without_any_bound_is_no_bound_from_below() -> None:
    """llm-0 has an upper bound only; where it has a lower one only too, any size fits."""
    fit = fake_fit(lower_bounds=8)
    said = statement(fit)
    assert "7 of 8 LLMs have only lower bounds on their size" in said
    assert "1 of 8 LLMs has none: any size fits their scores." in said
    assert "upper" not in said
    notes = llm_text_table(fit).set_index("llm")["note"]
    assert notes["llm-0"].startswith("no bound: its scores fit any size")
    assert trend_table(fit)["bound"].value_counts()[["lower", "neither"]].to_list() == [7, 1]
    assert "7 with lower bounds only, 1 without bounds" in draw(fit, "trend").description
    assert "1 of 8 LLMs has only an upper bound" in statement(fake_fit())


@pytest.mark.parametrize(
    ("feedback", "said"),
    [
        ("joint", "learnt from reference data and the LLMs' scores together."),
        ("cut", "learnt from the reference data alone."),
    ],
)
def test_the_headline_says_what_the_laws_are_learnt_from(feedback: str, said: str) -> None:
    assert said in statement(fake_fit(options={"feedback": feedback}))


def test_densities_are_named_as_given() -> None:
    said = statement(fake_fit(densities_only=True))
    assert "Densities are taken as the dataset gives them." in said
    assert "D0" not in said


def test_headline_shows_what_did_not_pass(fit: Fit) -> None:
    items = [
        {"name": "r_hat", "status": "pass", "value": 1.0, "threshold": 1.01, "advice": ""},
        {"name": "loo_pit", "status": "review", "value": 0.1, "threshold": 0.05, "advice": "look"},
    ]
    checks = fake_checks("review", items=items, max_rhat=1.0042, min_ess_bulk=1890.7)
    lines = headline(summarize(fit, checks)).splitlines()
    assert lines[1] == "fake: 8 LLMs of 5 families, 2023-02-24 to 2025-04-28."
    assert lines[2] == "Checks: review (R-hat up to 1.004, bulk ESS from 1,890, no divergences)."
    assert lines[3:] == ["  review: loo_pit: look"]


def test_headline_without_diagnostics(fit: Fit) -> None:
    checks = fake_checks(max_rhat=None, min_ess_bulk=None, divergences=None)
    assert "Checks: pass (no R-hat, no ESS, no divergences)." in headline(summarize(fit, checks))


# ---- strict JSON


def test_checks_that_are_not_finite_become_null(fit: Fit) -> None:
    item = {"name": "x", "status": "fail", "value": np.float64("nan"), "threshold": math.inf}
    checks = fake_checks("fail", max_rhat=float("nan"), min_ess_bulk=np.float32(3), items=[item])
    summary = summarize(fit, checks)
    holds(summary)
    assert summary["checks"]["max_rhat"] is None
    assert summary["checks"]["items"][0]["value"] is None


def test_strict_makes_plain_values() -> None:
    value = {1: (np.int64(2), np.array([1.0, np.nan])), "b": np.bool_(True), "c": [math.inf, "x"]}
    assert strict(value) == {"1": [2, [1.0, None]], "b": True, "c": [None, "x"]}
    assert type(strict(np.bool_(True))) is bool


def test_json_refuses_what_is_not_strict() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"x": math.nan})


def test_hostile_names_stay_in_json_and_are_escaped_on_terminals() -> None:
    names = ["\x1b[31mr\x7f\x9b1m\u202e", 'q"\n', "näme 🦙"]
    fake = fake_fit(llms=names)
    summary = summarize(fake, fake_checks())
    holds(summary)
    assert [record["llm"] for record in summary["llms"]] == [
        "\x1b[31mr\x7f\x9b1m\u202e",
        'q"\n',
        "näme 🦙",
    ]
    text = to_json(summary)
    assert all(char.isprintable() for char in text.replace("\n", ""))
    assert "näme 🦙" in text
    assert llm_text_table(fake)["llm"].tolist() == [
        "\\x1b[31mr\\x7f\\x9b1m\\u202e", 'q"\\n', "näme 🦙",
    ]  # fmt: skip


def test_sizes_beyond_the_largest_float_are_null(fit: Fit) -> None:
    tree = fit.tree.copy()
    posterior = fit.posterior.assign(log_effective_params=fit.posterior["log_density"] + 800.0)
    tree["posterior"] = xr.DataTree(posterior)
    fake = Fit(tree, fit.spec)
    summary = summarize(fake, fake_checks())
    holds(summary)
    assert summary["llms"][0]["effective_params"] == {"median": None, "eti95": [None, None]}
    assert "inf (inf to inf)" in llm_text_table(fake)["effective size"].tolist()


def test_timings_of_later_stages_are_merged(fit: Fit) -> None:
    timings = summarize(fit, fake_checks(), timings={"derive": 0.5, "total": 60.0})["timings_s"]
    assert timings["derive"] == 0.5 and timings["sample"] == 31.5
    assert summarize(fit, fake_checks())["timings_s"]["total"] is None


def test_save_writes_the_summary_by_itself(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = SimpleNamespace(check=lambda fit: FakeChecks(fake_checks().content))
    monkeypatch.setitem(sys.modules, "bayesdense.checks", checks)
    fit.save(tmp_path / "f")
    written = json.loads((tmp_path / "f" / "summary.json").read_text("utf-8"))
    assert written == summarize(load_fit(tmp_path / "f"), fake_checks())


# ---- digits


@pytest.mark.parametrize(
    ("value", "mcse", "text"),
    [
        (5.1234, 0.0, "5.12"),
        (5.1234, math.nan, "5.12"),
        (5.1234, 0.009, "5.12"),
        (5.1234, 0.02, "5.1"),
        (5.1234, 0.2, "5"),
        (5.1234, 30.0, "5"),
        (9.996, 0.0, "10.0"),
        (9.96, 0.05, "10.0"),
        (99.96, 1.0, "100"),
        (0.01234, 0.0001, "0.0123"),
        (1064.2, 0.0, "1,060"),
        (-3.456, 0.1, "-3.5"),
        (0.0, 0.1, "0"),
        (1.234e9, 0.0, "1.23e+09"),
        (1.234e-7, 1e-8, "1.2e-07"),
        (1.7976e308, 0.0, "1.80e+308"),
        (5e-324, 0.0, "4.94e-324"),
    ],
)
def test_digits_end_where_the_error_begins(value: float, mcse: float, text: str) -> None:
    assert format_number(value, mcse) == text


def last_place(text: str) -> float:
    """What one unit of the last significant digit printed stands for."""
    mantissa, _, exponent = text.replace(",", "").partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))


@given(
    st.floats(1e-9, 1e12).flatmap(lambda v: st.tuples(st.sampled_from([v, -v]), st.just(v))),
    st.floats(1e-6, 0.9),
)
def test_printed_numbers_are_right_to_their_last_digit(
    value: tuple[float, float], relative: float
) -> None:
    number, size = value
    error = size * relative
    text = format_number(number, error)
    printed = float(text.replace(",", ""))
    digits = len(text.partition("e")[0].replace(",", "").replace(".", "").strip("-").lstrip("0"))
    assert digits >= 1
    if "e" in text or "." in text:  # in 1,060 the last zero is not a digit
        assert digits <= 3
        assert last_place(text) >= error * 0.999 or digits == 1
    assert abs(printed - number) <= max(size * 0.005, 10 * error) * 1.001


@pytest.mark.parametrize(
    ("value", "mcse", "text"),
    [
        (0.93421, 0.0, "0.934"),
        (0.93421, 0.004, "0.93"),
        (0.93421, 0.03, "0.9"),
        (0.93421, 0.4, "0.9"),
        (0.9997, 0.0002, "> 0.999"),
        (1.0, 0.00075, "> 0.999"),
        (1.0, 0.003, "> 0.99"),
        (0.0, 0.00075, "< 0.001"),
        (0.0003, 0.0001, "< 0.001"),
        (0.5, 0.008, "0.50"),
    ],
)
def test_probabilities_are_never_certain(value: float, mcse: float, text: str) -> None:
    assert format_probability(value, mcse) == text


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_no_probability_reads_as_zero_or_one(value: float, mcse: float) -> None:
    assert 0.0 < float(format_probability(value, mcse).strip("<> ")) < 1.0


@pytest.mark.parametrize(
    ("value", "mcse", "text"),
    [
        (7.24e9, 0.0, "7.24B"),
        (7e9, 0.0, "7B"),
        (5e12, 0.0, "5T"),
        (999.9e6, 0.0, "1B"),
        (828_225_024, 0.0, "828M"),
        (1.24e9, 0.1e9, "1.2B"),
        (5_247_232, 0.0, "5.25M"),
        (12.0, 0.0, "12"),
        (998e3, 10e3, "1M"),
        (998e6, 10e6, "1B"),
        (998e9, 100e9, "1T"),
        (994e6, 1e6, "994M"),
        (998e12, 10e12, "1,000T"),
        (3e30, 0.0, "3.00e+18T"),
    ],
)
def test_counts_read_as_people_say_them(value: float, mcse: float, text: str) -> None:
    assert format_count(value, mcse) == text


def test_more_draws_print_more_digits() -> None:
    few = growth_text_table(fake_fit(draws=50)).set_index("quantity")["median"]["doubling time"]
    many = growth_text_table(fake_fit(draws=20_000)).set_index("quantity")["median"]
    assert len(few) <= 3 < len(many["doubling time"]) + 1
    assert len(many["doubling time"]) == 4


def test_the_examples_in_docstrings_are_true() -> None:
    code = "import doctest, bayesdense.statements as s; raise SystemExit(doctest.testmod(s)[0])"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_extrapolation_is_told_per_llm(fit: Fit) -> None:
    notes = llm_text_table(fit).set_index("llm")["note"]
    assert (notes["llm-0"], notes["llm-1"]) == ("upper bound only", "")
    assert notes["llm-7"].startswith("lower bound only, at least 9.0")
    assert "x beyond the reference runs" in notes["llm-7"]
    table = derive.llm_estimates(fit)
    assert (table["extrapolation"] > 10).sum() == sum("x beyond" in note for note in notes)
