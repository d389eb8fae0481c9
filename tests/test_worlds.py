"""The study of made-up worlds: what is counted, and a small one from end to end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import betabinom

from bayesdense.comparison import lfo
from bayesdense.comparison.assembly import foretold_blocks
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError
from bayesdense.observations import observe
from bayesdense.spec import load_spec
from bayesdense.studies.readings import truths_of
from bayesdense.studies.refits import Length, fit_of, refit, study_of
from bayesdense.studies.selection import WHOLE
from bayesdense.studies.world_jobs import _interval, foretold_in_world, trend_of_world
from bayesdense.studies.worlds import KINDS, summarize_worlds, worlds


def row(kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "failed": {},
        "truth_beaten_by": [],
        "with_lfo": False,
        "truth_probability": 0.5,
        "p_change": {"break_known@2024-04-01": 0.6, "break_free": 0.6, "quadratic": 0.5},
        "date_covered": True,
        "failed_bridges": [],
        "max_rhat": {"exponential": 1.004, "flat": 1.001},
        **changes,
    }


def test_what_is_demanded_is_counted() -> None:
    sure = {"break_known@2024-04-01": 0.99, "break_free": 0.9, "quadratic": 0.5}
    rows = [
        *(row("exponential") for _ in range(18)),
        row("exponential", p_change=sure),
        row("exponential", truth_beaten_by=["flat"], with_lfo=True),
        *(row("break2", p_change=sure) for _ in range(7)),
        *(row("break2", date_covered=False) for _ in range(13)),
        row("flat", max_rhat={"exponential": 1.03}, failed_bridges=["flat"]),
        {"kind": "flat", "failed": {"flat": "no"}},
    ]
    power = {
        "trends": [
            {
                "trend": "break_known@2024-04-01",
                "sizes": [
                    {"factor": 1, "rules": {"probability": {"hits": 5, "n": 200}}},
                    {"factor": 2.0, "rules": {"probability": {"hits": 60, "n": 200}}},
                ],
            }
        ]
    }
    found = summarize_worlds(rows, power)
    assert (found["n_worlds"], found["n_failed"]) == (41, 1)
    assert found["truth_decisively_beaten"]["n"] == 1
    with_lfo = found["truth_decisively_beaten_with_lfo"]
    assert (with_lfo["n"], with_lfo["of"]) == (1, 1)
    claimed = found["break_claimed_under_exponential"]
    assert {form: one["n"] for form, one in claimed.items()} == {"break_known": 1, "break_free": 0}
    known = found["breaks_found"]["break2"]["break_known"]
    assert (known["n"], known["of"]) == (7, 20)
    low, high = known["range"]
    inside = betabinom.cdf(high, 20, 60.5, 140.5) - betabinom.cdf(low - 1, 20, 60.5, 140.5)
    assert 0.95 <= inside < 0.99
    assert low < 6 < high
    assert found["breaks_found"]["break2"]["break_free"]["range"] is None
    assert found["breaks_found"]["break3"]["break_known"]["of"] == 0
    assert found["date_covered"]["break2"] == {"n": 7, "of": 20, "demanded": "at least 16 of 20"}
    assert found["mean_probability_of_truth"]["quadratic"] is None
    assert (found["n_worlds_above_rhat"], found["n_failed_bridges"]) == (1, 1)


def test_the_interval_of_a_date_is_uniform_within_parts() -> None:
    middles = np.array([0.5, 1.5, 2.5, 3.5])
    assert _interval(middles, np.full(4, 0.25)) == pytest.approx([0.2, 3.8])
    assert _interval(middles, np.array([0, 1.0, 0, 0])) == pytest.approx([1.05, 1.95])


def test_worlds_without_a_change() -> None:
    assert trend_of_world({}, "flat", 2.0, 0.0) == {}
    assert trend_of_world({}, "exponential", 2.0, 0.0) == {"growth_rate": 2.0}


@pytest.mark.fit
def test_a_small_study_from_end_to_end(tmp_path: Path) -> None:
    how: dict[str, Any] = {"kinds": ["flat"], "last": 1, "executor": "serial"}
    found: Any = worlds("densing-published", tmp_path, **how)
    json.dumps(found, allow_nan=False)
    (one,) = found["worlds"]
    assert one["failed"] == {}
    assert one["truth"] == "flat"
    assert set(one["max_rhat"]) == {
        "exponential",
        "flat",
        "quadratic",
        f"break_known@{found['break']}",
    }
    # full fits and closed form see one dataset
    known = f"break_known@{found['break']}"
    assert one["p_change"][known] == pytest.approx(one["closed"][known]["p_change"], abs=0.06)
    elpd, error = one["break_over_exponential"]
    assert elpd == pytest.approx(one["closed"][known]["elpd_diff"], abs=0.5)
    assert error == pytest.approx(one["closed"][known]["se"], abs=0.5)
    assert found["seconds_per_world"] > 0
    jobs = len(list((tmp_path / "jobs").iterdir()))
    again: Any = worlds("densing-published", tmp_path, **how)
    assert again["worlds"] == found["worlds"]
    assert len(list((tmp_path / "jobs").iterdir())) == jobs == 1 + 4


@pytest.mark.fit
def test_a_world_is_foretold_at_the_edges_of_its_blocks() -> None:
    """Fitted without what is later; told are the blocks on both sides, as of one posterior."""
    length = Length(draws=100, tune=100, chains=2)
    study = study_of("synthetic", length, 1)
    spec = load_spec("joint").with_options(trend="flat")
    fitted = fit_of(study.job(refit, spec, WHOLE))
    llms = observe(spec, study.dataset).llms
    how = {"days": 200, "families": 3}
    laid = lfo.blocks(llms, **how)
    assert len(laid) >= 2
    job = study.job(
        foretold_in_world,
        spec,
        WHOLE,
        world="flat",
        world_seed=[1],
        trend={},
        truth=truths_of(fitted)[0],
        blocks=how,
        k=1,
    )
    found: Any = foretold_in_world(job)
    for side, block in (("behind", laid[0]), ("ahead", laid[1])):
        (gains,) = found[side]
        assert np.shape(gains) == (2, found["draws"], len(lfo.families_in(llms, block)))
        assert np.isfinite(gains).all()
    assert found["max_rhat"] > 0


def told_at(edge: int, n_families: tuple[int, ...], level: float) -> dict[str, Any]:
    """What refits tell at an edge of blocks with so many families: one log density everywhere."""

    def gains(block: int) -> list[Any]:
        return np.full((2, 50, n_families[block]), level).tolist()

    last = len(n_families)
    return {
        "ahead": [gains(edge)] if edge < last else [],
        "behind": [gains(edge - 1)] if edge else [],
    }


def test_blocks_of_refits_make_one_future() -> None:
    llms = observe(load_spec("joint"), load_dataset("densing")).llms
    laid = lfo.blocks(llms)
    n_families = tuple(len(lfo.families_in(llms, block)) for block in laid)
    refits = [told_at(edge, n_families, -1.5) for edge in range(len(laid) + 1)]
    failures: list[str] = []
    future, error = foretold_blocks(laid, llms, refits, failures)
    assert future is not None
    np.testing.assert_allclose(future.elpd, -1.5)
    assert len(future.labels) == sum(n_families)
    assert error == pytest.approx(0.0, abs=1e-6)
    assert foretold_blocks(laid, llms, [], failures) == (None, None)
    assert not failures
    refits[3] = {"failed": "no memory"}
    assert foretold_blocks(laid, llms, refits, failures) == (None, None)
    assert [said.split(": ")[1] for said in failures] == ["no memory", "no memory"]


def test_leave_future_out_needs_scores(tmp_path: Path) -> None:
    with pytest.raises(BayesdenseError, match="takes a dataset with scores"):
        worlds("densing-published", tmp_path, executor="serial", lfo_worlds=1)


def test_a_kind_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BayesdenseError, match="no kind wavy"):
        worlds("densing-published", tmp_path, kinds=["wavy"])
    assert list(KINDS) == ["exponential", "break2", "break3", "quadratic", "flat"]
