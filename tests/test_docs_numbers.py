"""Figures that pages quote are those of the evidence, of the data or of the code: none is typed."""

import json
import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import bayesdense as bd
from bayesdense.names import DAYS_PER_MONTH, STUDY_RHAT

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: First author and year of a work that is named in a sentence.
CITED = re.compile(
    r"(\w[\w-]+)(?:(?:, \w[\w-]+)* and \w[\w-]+| et al\.)? \(?((?:19|20)\d\d)\b(?!-)"
)


@cache
def said(page: str) -> str:
    """Text of a page, with single spaces and without what only marks it up."""
    return " ".join(re.sub(r"[*`]", "", (ROOT / page).read_text(encoding="utf-8")).split())


@cache
def evidence(name: str) -> Any:
    return json.loads((DOCS / "evidence" / f"{name}.json").read_text(encoding="utf-8"))


def short(value: float, digits: int = 2) -> str:
    """A number as pages write it: without the zero before the point."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.{digits}f}")


def count(value: int) -> str:
    return f"{value:,}"


def growth(found: dict[str, Any]) -> str:
    """Median and 95 % interval of growth."""
    low, high = found["eti95"]
    return f"{found['median']:.2f} ({low:.2f} to {high:.2f})"


# --- calibration ------------------------------------------------------------------------------


def test_recovery() -> None:
    page, found = said("docs/explanation/calibration.md"), evidence("recovery-prior")["summary"]
    n, low_high = found["n_jobs"], found["bonferroni_band"]
    band = " to ".join(short(value) for value in low_high)
    (name, most), growth_bias = *found["bias"]["largest"].items(), found["bias"]["growth_rate"]
    for text in (
        f"growth holds the truth in {found['growth_covered']} of {n}.",
        f"Of {found['n_parameters']} parameters {len(found['outside_bonferroni'])} have an rms",
        f"outside the Bonferroni band ({band}), and {found['outside_single_band']} lie outside the",
        f"where {found['allowed_outside_single_band']:.1f} are allowed.",
        f"of growth is {growth_bias:.2f} standard errors. The largest, of {name}, is {most:.2f}",
        f"the bound of {found['bias']['bonferroni_bound']:.2f} for the largest",
        f"{found['status']['fail']} of {n} fits fail a check of sampling",
    ):
        assert text in page


def test_worlds_without_growth() -> None:
    page, found = said("docs/explanation/calibration.md"), evidence("recovery-flat")["summary"]
    n = found["n_jobs"]
    alarms = sum(not 0.025 <= p <= 0.975 for p in found["p_positive"])
    assert alarms == found["false_alarms"]
    assert (
        f"in {alarms} of {n}, and the doubling time is unbounded in {found['unbounded']} of {n}."
        in page
    )
    assert f"{found['status']['fail']} of {n} fits fail a check of sampling" in page


def test_two_implementations() -> None:
    page = said("docs/explanation/calibration.md")
    (job,) = (
        j for j in evidence("latent-vs-marginal")["jobs"] if j["dataset"] == "densing-thinned"
    )
    largest = max(abs(z) for of in job["largest"].values() for z in of.values())
    assert (
        f"On {job['n_llms']} LLMs of densing the largest of {job['n_comparisons']} differences in "
        f"mean and tails of {job['n_quantities']} quantities is {largest:.2f} Monte Carlo standard "
        f"errors, where {job['bound']:.2f} is the bound."
    ) in page


def test_reference_posteriors() -> None:
    table = rows("docs/reference/stability.md", "## Numbers")
    found = []
    for path in sorted((ROOT / "tests" / "reference").glob("*.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        growth, runs = known["quantities"]["growth_rate"], known["runs"]
        assert len(runs["seeds"]) * runs["chains"] * runs["draws"] == 40_000
        found.append(
            [
                path.stem,
                f"{short(growth['mean'], 4)} ({short(growth['mcse_mean'], 4)})",
                short(growth["sd"], 4),
                count(len(known["quantities"])),
                f"{known['max_r_hat']:.4f}",
                count(sum(known["divergences"])),
            ]
        )
    assert table == found


def test_what_few_worlds_can_see() -> None:
    from scipy.stats import binomtest

    found = evidence("recovery-prior")["summary"]
    covered, n = found["growth_covered"], found["n_jobs"]
    limits = binomtest(covered, n).proportion_ci(0.95, method="exact")
    assert (
        f"Coverage of {covered} of {n} is compatible with a true coverage between "
        f"{100 * limits.low:.0f} and {100 * limits.high:.1f} %."
    ) in said("docs/explanation/calibration.md")


# --- the model --------------------------------------------------------------------------------


def variants() -> list[dict[str, Any]]:
    return list(evidence("variants")["jobs"])


def rows(page: str, heading: str) -> list[list[str]]:
    """Cells of the rows of the first table below a heading."""
    text = (ROOT / page).read_text(encoding="utf-8").split(f"\n{heading}\n")[1]
    first = re.search(r"(?:^\|.+\|\n)+", text, flags=re.M)
    assert first is not None
    lines = [line.strip("|") for line in first[0].splitlines()]
    return [[re.sub("[*`]", "", cell).strip() for cell in line.split("|")] for line in lines[2:]]


def test_one_choice_at_a_time() -> None:
    table = rows("docs/explanation/model.md", "## One choice at a time")
    quoted = [(row[1], row[3], row[4], row[5]) for row in table]
    found = [
        (
            "none in the model"
            if job["variant"] == "flat"
            else growth(job["growth_rate_per_year"]),
            f"{job['max_rhat']:.3f}",
            count(round(job["min_ess_bulk"])),
            str(job["divergences"]),
        )
        for job in variants()
    ]
    assert sorted(quoted) == sorted(found)


def test_joint_beside_cut() -> None:
    page = said("docs/explanation/model.md")
    main, cut = evidence("main-job")["summary"], evidence("cut-job")["summary"]
    assert growth(cut["growth_rate_per_year"]) in page
    assert f"| {cut['doubling_time_days']['median'] / DAYS_PER_MONTH:.1f} (" in page
    assert f"lower bound only | 0 | {cut['n_lower_bound_only']} |" in page
    assert main["n_lower_bound_only"] == 0


def test_recovery_as_the_model_tells_it() -> None:
    page = said("docs/explanation/model.md")
    found, flat = evidence("recovery-prior")["summary"], evidence("recovery-flat")["summary"]
    low_high = " to ".join(short(value) for value in found["bonferroni_band"])
    for text in (
        f"Of {found['n_parameters']} global parameters none has an rms",
        f"({low_high}); {found['outside_single_band']} lie outside the band of a single one",
        f"where {found['allowed_outside_single_band']:.1f} are allowed.",
        f"hold the truth in {found['growth_covered']} of {found['n_jobs']}.",
        f"rank scores is {found['bias']['growth_rate']:.2f} standard errors",
        f"R-hat to {flat['max_rhat']:.3f}, ESS from {flat['min_ess_bulk']:.0f}",
    ):
        assert text in page
    assert found["outside_bonferroni"] == []


# --- speed ------------------------------------------------------------------------------------

SETTINGS = {
    "bayesdense fit, 4 x 1000": "bayesdense 4x1000",
    "textbook centred, pm.sample()": "textbook centred pm.sample",
    "textbook non-centred, pm.sample()": "textbook non_centred pm.sample",
    "textbook centred, nutpie with 1,000 steps of tuning": "textbook centred nutpie",
}


def test_speed() -> None:
    table, made = rows("docs/explanation/speed.md", "## Measured"), evidence("speed-quick")
    for row in table:
        (name,) = (key for key in made["settings"] if key.startswith(SETTINGS[row[0]]))
        found = made["settings"][name]
        per_second = found["ess_per_second"]
        median, low, high = (float(per_second[part]) for part in ("median", "min", "max"))
        numbers = [float(number.replace(",", "")) for number in re.findall(r"[\d,]*\.?\d+", row[3])]
        assert numbers == pytest.approx([median, low, high], rel=0.03, abs=0.05)
        assert float(row[1]) == pytest.approx(found["sample_s"]["median"], rel=0.03)
        assert int(row[2].replace(",", "")) == round(found["worst_ess"]["median"])
        assert float(row[5]) == pytest.approx(found["max_rhat"]["median"], abs=0.006)
        assert [int(row[6]), int(row[7])] == [
            round(found[part]["median"]) for part in ("divergences", "steps_per_draw")
        ]
    page = said("docs/explanation/speed.md")
    assert f"That is {made['ess_per_second_ratio_vs_textbook_pymc']:.0f} times the textbook" in page
    started = evidence("speed-process")
    warm = sorted(run["wall_s"] for run in started["warm"])
    for caches, wall in (("there", warm[2]), ("empty", started["cold"]["wall_s"])):
        assert f"| caches {caches} | {wall:.1f} |" in page
    assert f"warm starts ({warm[0]:.1f} to {warm[-1]:.1f} s)" in " ".join(page.split())
    many = evidence("scale-10000")
    assert f"{many['sample_seconds']:.0f} s, {many['peak_memory_mib']:.0f} MiB" in page
    assert f"R-hat {many['max_rhat']:.3f}, worst ESS {many['min_ess_bulk']:.0f}" in page


def test_compare() -> None:
    made = evidence("compare-densing")
    page = " ".join(said("docs/explanation/trends.md").split())
    assert f"takes {made['wall_s']:.0f} s on two cores" in page
    assert made["command"] in page
    alike, beaten = made["compare"]["verdict"].removeprefix("provisional, ").split(";")
    assert "decisively beaten: flat by" in beaten and len(alike.split(",")) == 5
    assert "flat is decisively beaten, the other five are not distinguishable" in page


def test_compare_with_the_future() -> None:
    made = evidence("compare-densing-lfo")
    page, compared = said("docs/explanation/trends.md"), made["compare"]
    first, _ = made["rounds"]
    wall, cpu = first["wall_s"], first["cpu_s"]
    assert f"it took {wall:,.0f} s with small other work beside, {cpu:,.0f} s of" in page
    assert all(not one["checks"]["pareto_k_llms"] for one in compared["hypotheses"])
    alike, beaten = compared["verdict"].split("; ")
    assert alike.startswith("not distinguishable") and "decisively beaten: flat by" in beaten
    of_flat = [d for d in compared["differences"] if "flat" in (d["a"], d["b"])]
    rest = [d for d in compared["differences"] if d not in of_flat]
    assert {round(abs(d["elpd_diff_lfo"])) for d in of_flat} == {11, 12}
    assert {round(d["se_lfo"]) for d in of_flat} == {6, 7}
    most = short(max(abs(d["elpd_diff_lfo"]) for d in rest), 1)
    errors = " to ".join(short(pick(d["se_lfo"] for d in rest), 1) for pick in (min, max))
    assert f"at most {most}, errors {errors}" in page
    left = [one for one in compared["hypotheses"] if one["name"] != "flat"]
    for key, words in (
        ("posterior_probability", "posterior probabilities, {} to {},"),
        ("posterior_probability_se", "Monte Carlo errors of {} to {},"),
    ):
        ends = (short(pick(one[key] for one in left)) for pick in (min, max))
        assert words.format(*ends) in page
    (checks,) = (one["checks"] for one in left if one["name"] == "break_free")
    for text in (
        f"(R-hat {checks['max_rhat']:.3f}, and up to {checks['max_rhat_refits']:.3f} in refits)",
        "seven of its fits were made three times as long",
    ):
        assert text in page
    assert (checks["n_longer"], checks["status"]) == (7, "fail")
    assert len(compared["blocks"]) == 7


def study(name: str) -> Any:
    path = ROOT / f"docs/evidence/studies/{name}-densing/{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_definitions() -> None:
    made, page = study("sweep"), " ".join(said("docs/how-to/definitions.md").split())
    days = {(row["axis"], row["value"]): row["doubling_time_days"] for row in made["rows"]}
    head = days["headline", "as the model says"]
    low, high = head["eti95"]
    growth = next(row for row in made["rows"] if row["axis"] == "headline")["growth_rate_per_year"]
    width = growth["eti95"][1] - growth["eti95"][0]
    tokens = [each["median"] for (axis, _), each in days.items() if axis == "reference_tokens"]
    counted = {value: each["median"] for (axis, value), each in days.items() if axis == "params"}
    for text in (
        f"headline {head['median']:.0f} days, {low:.1f} to {high:.0f}; width {width:.2f} per year",
        f"gives {min(tokens):.0f} to {max(tokens):.0f} days",
        f"total parameters {counted['total']:.0f} and active ones {counted['active']:.0f}",
    ):
        assert text in page
    ratios = {one["source"]: short(one["ratio"]) for one in made["decomposition"]["sources"]}
    for name, text in {
        "trend": "has {} times the headline's width",
        "params": "The width is {} of the headline's with the count of parameters left open",
        "reference_tokens": "{} with D0 left open",
        "law_and_map": "{} with law and map held",
        "family": "{} without families",
        "score_noise": "without item and protocol noise it is {}",
    }.items():
        assert text.format(ratios.pop(name)) in page
    assert not ratios, "every source is told"


def test_backtest() -> None:
    made, page = study("backtest"), " ".join(said("docs/how-to/backtest.md").split())
    table = rows("docs/how-to/backtest.md", "## What it found on densing")
    assert len(table) == len(made["origins"]) == 3
    for row, found in zip(table, made["origins"], strict=True):
        whole = next(c for c in found["coverage"] if (c["benchmark"], c["prob"]) == ("all", 0.95))
        low, high = (100 * end for end in whole["expected_eti95"])
        crps = [short(m["crps"], 3) for m in found["means"] if m["benchmark"] == "all"]
        assert row == [
            found["origin"],
            f"{found['n_llms']}, {found['n_later_llms']}",
            f"{100 * whole['coverage']:.1f} %",
            f"{low:.1f} to {high:.1f} %",
            ", ".join(crps),
        ]
    for origin, verdict in ((None, "model better"), ("2024-04-01", "not distinguishable")):
        of = [c for c in made["comparisons"] if (c["origin"], c["score"]) == (origin, "crps")]
        assert {c["verdict"] for c in of} == {verdict}
        first, second, third = (short(c["difference"], 3) for c in of)
        errors = [short(c["se"], 3) for c in of]
        assert f"{first}, {second} and {third}, errors {errors[0]}, {errors[1]} and" in page


def test_power() -> None:
    found = evidence("power-densing")
    told = {
        (f"{size['factor']:g}", f"{size['difference_per_year']:.2f}", *map(share, rules))
        for trend in found["trends"]
        for size in trend["sizes"]
        for rules in [(size["rules"]["verdict"], size["rules"]["probability"])]
    }
    table = rows("docs/how-to/power.md", "## What it found on densing")
    assert len(table) == 9 and all(tuple(row[1:5]) in told for row in table)
    reading = found["reading"]
    by_fit, closed = reading["growth_rate_per_year"], reading["closed_form"]
    page = said("docs/how-to/power.md")
    assert f"Growth is {by_fit['median']:.2f} (sd {short(by_fit['sd'])}) per year" in page
    assert f"{closed['mean']:.2f} ({short(closed['sd'])}) in closed form" in page


def test_power_in_full() -> None:
    found, page = evidence("power-check")["check"], said("docs/how-to/power.md")
    assert (found["n"], found["failed"]) == (20, [])
    for text in (
        f"{found['mean_sd_ratio']:.2f} times that of the closed form on average",
        f"differed by {short(found['rms_z_difference'])} (rms)",
        f"leave-one-family-out by {short(found['mean_elpd_difference'])} nats on average",
        f"the full fits found it in {found['claimed_full']}",
        f"the closed form in {found['claimed_closed_form']} of these",
    ):
        assert text in page
    both = [[one[way]["p_change"] for way in ("full", "closed")] for one in found["datasets"]]
    apart = [pair for pair in both if (pair[0] > 0.975) != (pair[1] > 0.975)]
    assert len(apart) == found["n"] - found["claims_agree"] == 4
    full, closed = (f"{short(min(p), 3)} to {short(max(p), 3)}" for p in zip(*apart, strict=True))
    assert f"of the other four is {full} in full and {closed} in closed form" in page


def test_worlds() -> None:
    made, page = evidence("worlds"), said("docs/explanation/comparison.md")
    table = rows("docs/explanation/comparison.md", "## The verdict in worlds of known growth")
    known = f"break_known@{made['break']}"
    assert len(table) == 5
    for kind, *cells in table:
        of = [world for world in made["worlds"] if world["kind"] == kind]
        beaten = [
            sum(loser in world["beaten"] for world in of) for loser in ("flat", "exponential")
        ]
        told = [len(of), sum(bool(world["truth_beaten_by"]) for world in of), *beaten]
        if cells[4]:
            for form in (known, "break_free"):
                told.append(sum(not 0.025 <= world["p_change"][form] <= 0.975 for world in of))
        if cells[6]:
            told.append(sum(world["date_covered"] for world in of))
        assert [int(cell) for cell in cells if cell] == told
    found = made["summary"]["breaks_found"]
    (low, high), (low3, high3) = (
        found[kind]["break_known"]["range"] for kind in ("break2", "break3")
    )
    assert f"expect {low} to {high} and {low3} to {high3} of twenty" in page
    later = [world for world in made["worlds"] if world["with_lfo"]]
    assert (made["lfo_worlds"], len(later)) == (5, 25)
    for world in later:  # every verdict is that of families left out alone
        losers = {"flat"} if world["kind"] != "flat" else set()
        losers |= {"exponential"} & set(world["beaten"])
        assert set(world["beaten"]) == losers and not world["truth_beaten_by"]
    assert "In five worlds of each kind leave-future-out was asked too" in page
    longer = sum(len(world["longer"]) for world in made["worlds"])
    fits = sum(len(world["max_rhat"]) for world in made["worlds"])
    assert (longer, fits) == (1, 400)
    assert (
        f"at most {made['summary']['max_rhat']:.3f} (one fit in {fits} was made longer for it)"
        in page
    )
    assert made["summary"]["n_failed_bridges"] == 0


def share(of_rule: dict[str, Any]) -> str:
    """Share in percent with its interval."""
    low, high = (round(100 * end) for end in of_rule["eti95"])
    return f"{100 * of_rule['share']:.1f} % ({low} to {high})"


# --- the paper --------------------------------------------------------------------------------


def test_the_papers_number() -> None:
    page = said("docs/explanation/paper.md")
    found = bd.point_estimate(bd.load_dataset("densing-published")).to_dict()
    null: Any = found["attempt_count_null"]
    low, high = null["growth_eti95"]
    days: Any = found["doubling_time_days"]
    fit = f"({days / DAYS_PER_MONTH:.2f} months), R2 {short(found['r_squared'], 4)}"
    for text in (
        f"density doubles every {days:.1f} days {fit}",
        f"by {short(null['growth_median'], 3)} per year in the median",
        f"between {short(low, 3)} and {high:.2f} in 95 %",
        f"has p = {short(null['p_null'], 3)} under them",
    ):
        assert text in page
    assert found["n_records"] == 9


def test_what_the_point_pipeline_loses() -> None:
    page = said("docs/explanation/paper.md")
    found = bd.point_estimate(bd.load_dataset("densing")).to_dict()
    assert f"loses {found['n_not_invertible']} of {found['n_llms']} LLMs" in page
    laws: Any = {law["benchmark"]: law["optima"] for law in found["laws"]}
    assert [len(laws), sum(len(optima) > 1 for optima in laws.values())] == [5, 4]
    assert "more than one optimum on four of the five benchmarks" in page
    drawn = json.loads((ROOT / "data/densing/paper/recovered_fit_parameters.json").read_text())
    quoted = {}
    for name, optima in laws.items():
        best, other = (short(optimum["param_exponent"]) for optimum in (optima[0], optima[-1]))
        if short(drawn[name]["law"]["alpha"]) != best:
            quoted[name] = (best, other)
            assert short(drawn[name]["law"]["alpha"]) == other
    assert list(quoted) == ["MATH", "MMLU"]
    (math, mmlu) = quoted.values()
    assert f"is {mmlu[0]} in the better one and {mmlu[1]} in the other on MMLU" in page
    assert f"{math[0]} and {math[1]} on MATH" in page


# --- the README -------------------------------------------------------------------------------


def test_the_readme_shows_a_fit_that_agrees_with_the_evidence() -> None:
    """Draws differ a little between machines and versions: months to a tenth or two."""
    shown = said("README.md")
    match = re.search(
        r"doubles every ([\d.]+) months \(95 % interval ([\d.]+) to ([\d.]+)\)", shown
    )
    assert match is not None
    found = evidence("main-job")["summary"]["doubling_time_days"]
    kept = [days / DAYS_PER_MONTH for days in (found["median"], *found["eti95"])]
    assert [float(part) for part in match.groups()] == pytest.approx(kept, abs=0.16)


def test_the_cut_of_the_readme() -> None:
    found = evidence("cut-job")["summary"]["doubling_time_days"]
    low, high = (days / DAYS_PER_MONTH for days in found["eti95"])
    said_of_it = (
        f"density every {found['median'] / DAYS_PER_MONTH:.1f} months ({low:.1f} to {high:.1f})"
    )
    assert said_of_it in said("README.md")


# --- works that are named ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.relative_to(DOCS).as_posix()
)
def test_every_work_is_in_the_bibliography(page: Path) -> None:
    listed = (DOCS / "explanation" / "bibliography.md").read_text(encoding="utf-8")
    works = {
        tuple(found) for found in re.findall(r"^- (\w[\w-]*),.*? (\d{4})\. ", listed, flags=re.M)
    }
    text = " ".join(re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S).split())
    named = {found for found in CITED.findall(text) if found[0][0].isupper()}
    months = {date(2000, month, 1).strftime("%B") for month in range(1, 13)}
    assert {work for work in named if work[0] not in months} <= works


# --- faults -----------------------------------------------------------------------------------


def test_kills() -> None:
    counts = {
        part.removeprefix("kills_of_"): [
            told["found"]["status -9"],
            sum(told["found"].get(f"status {status}", 0) for status in (0, 1)),
            told["lost"],
        ]
        for part, told in evidence("faults").items()
        if part.startswith("kills_of_")
    }
    *table, everything = rows("docs/explanation/faults.md", "## Kills")
    assert {row[0]: [int(cell) for cell in row[1:]] for row in table} == counts
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    assert [int(cell) for cell in everything[1:]] == totals
    through = evidence("faults")["kills_of_sweep"]["found"]["sweeps brought to their end"]
    assert f"all {through} sweeps ended with" in said("docs/explanation/faults.md")


def test_other_faults() -> None:
    page = "docs/explanation/faults.md"
    found = {part: told["found"] for part, told in evidence("faults").items()}
    assert all(told["lost"] == 0 for told in evidence("faults").values())
    pressed = found["ctrl_c"]
    assert pressed["at any moment"] == pressed["status 130"]
    assert f"{pressed['status 130']} times at random moments of" in said(page)
    damaged = {
        f"{row[0]} {how}: {cell.split(' ', 1)[1]}": int(cell.split()[0])
        for row in rows(page, "## Damage")
        for how, cell in zip(("truncated", "bit flipped"), row[1:], strict=True)
    }
    assert damaged == found["damage"]
    told = {
        (what, verb): f"{one['status']}" + one["said"].replace("error: ", "", 1).partition(":")[1]
        for what, verbs in found["surroundings"].items()
        for verb, one in verbs.items()
    }
    table = rows(page, "## Disks, folders, clocks")
    assert {(row[0], row[1]): row[2].split(" ")[0] for row in table} == told
    for row in table:
        said_last = found["surroundings"][row[0]][row[1]]["said"]
        assert said_last.endswith(row[2].partition(": ")[2])
    forty = found["forty"]
    assert (forty["tables_differ"], forty["failed_jobs"]) == (0, 0)
    for text in (
        f"The same sweep of {forty['n_jobs']} jobs",
        f"worker processes of which {forty['processes']['workers killed']} were killed",
        f"dask cluster of which {forty['dask']['workers killed']} workers were killed",
        f"interrupted {forty['interrupted and resumed']['times']} times",
    ):
        assert text in said(page)


# --- calibrate --------------------------------------------------------------------------------


def test_the_page_of_calibrate_lists_the_worlds_and_the_rules() -> None:
    from bayesdense.studies.calibrate import N_FITS, N_LLMS
    from bayesdense.studies.calibrate_jobs import LONGER, MOST_DIVERGENT
    from bayesdense.studies.made_worlds import WORLDS
    from bayesdense.studies.ranks import LEAST_ESS, N_RANKED

    table = rows("docs/how-to/calibrate.md", "## The worlds")
    assert [row[0] for row in table] == list(WORLDS)
    page = said("docs/how-to/calibrate.md")
    assert (N_FITS, LONGER) == (500, (1, 3, 9))
    for text in (
        f"{N_FITS} fits where the model is right",
        f"(--llms {N_LLMS})",
        f"among {N_RANKED} nearly independent draws",
        f"R-hat is above {STUDY_RHAT:g}, whose worst bulk ESS is below {LEAST_ESS:g},",
        f"more than one draw in {1 / MOST_DIVERGENT:,.0f} diverges",
    ):
        assert text in page
    assert "thirteen that break the model" in said("CHANGELOG.md")
    assert len(WORLDS) == 1 + 13


def test_ranks_by_the_hundred() -> None:
    from program import hold

    found, page = evidence("calibrate-densing"), said("docs/explanation/calibration.md")
    hold(found, "calibrate")
    ranks, (world,) = found["ranks"], found["worlds"]
    outside = ranks["outside_single"]
    shares = world["model"]["coverage"]
    troubled = world["not_converged"]
    assert world["failed"] == [] and {one["trouble"][0] for one in troubled} == {"divergences"}
    for text in (
        f"{world['n']} datasets, truths from the priors, none left out",
        f"Of {ranks['n_quantities']} quantities {len(ranks['outside_all'])} leave the band",
        f"{len(outside)} leave their own, where {ranks['expected_outside_single']:.1f} are "
        f"expected: {', '.join(outside)}.",
        f"interval of growth holds the truth in {held(shares['eti95'])}, that of 80 % in "
        f"{held(shares['eti80'])}, that of 50 % in {held(shares['eti50'])}.",
        f"on the same data, holds it in {held(world['point']['coverage']['eti95'])}.",
        f"{world['n_longer']} fits had trouble at first and were made longer; {len(troubled)} of",
        f"(R-hat at most {max(one['max_rhat'] for one in troubled):.3f}). No fit failed. "
        f"{world['n_unusable']} datasets are such as nobody would analyse.",
    ):
        assert text in page


def held(of: dict[str, Any]) -> str:
    """Intervals that hold the truth, of how many, and the share's interval."""
    low, high = (100 * end for end in of["eti95"])
    return f"{of['hits']} of {of['n']} ({low:.1f} to {high:.1f} %)"


# --- robustness -------------------------------------------------------------------------------


def test_spoilt_files() -> None:
    found = evidence("fuzz")
    kinds = found["kinds"]
    told = [
        [row["kind"], count(row["cases"]), count(row["refused"]), count(row["accepted"]), "0"]
        for row in kinds
    ]
    total = [sum(row[name] for row in kinds) for name in ("cases", "refused", "accepted")]
    assert found["n_failed"] == 0
    assert found["n_cases"] == total[0] == total[1] + total[2] >= 20_000
    told.append(["all", *map(count, total), "0"])
    assert rows("docs/explanation/robustness.md", "## What was tried") == told


def test_limits_of_files() -> None:
    from bayesdense import files, reading

    page = said("docs/explanation/robustness.md")
    sizes = (reading.MAX_BYTES, files.MOST_JSON, files.MOST_TOML)
    csv, json_size, toml = (f"{size / 1e6:g} MB" for size in sizes)
    assert f"{csv} of CSV, {json_size} of JSON, {toml} of TOML." in page


def test_licences() -> None:
    import tomllib
    from importlib.metadata import metadata

    def licence(name: str) -> str:
        about = metadata(name)
        kinds = [text.split(" :: ") for text in about.get_all("Classifier", [])]
        named = [k[-1] for k in kinds if k[0] == "License" and k[-1] != "OSI Approved"]
        words = (about.get("License") or "").split("\n")[0]
        return str(about.get("License-Expression") or (named[0] if named else words))

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [re.split("[<>=]", text)[0] for text in project["dependencies"]]
    page = (DOCS / "reference" / "dependencies.md").read_text(encoding="utf-8")
    for name in needed:
        assert f"\n| `{name}` | {licence(name)} |\n" in page
    for card in (ROOT / "data").glob("*/card.toml"):
        terms = tomllib.loads(card.read_text(encoding="utf-8"))["licence"]
        assert f"\n| `{card.parent.name}` | {terms} |\n" in page
    low = {re.split("[<>=,]", text)[0]: text for text in project["dependencies"]}
    assert f"`{low['filelock']}`" in page
