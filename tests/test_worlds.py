"""The study of made-up worlds: what is counted, and a small one from end to end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import betabinom

from bayesdense.errors import BayesdenseError
from bayesdense.studies.world_jobs import _interval, trend_of_world
from bayesdense.studies.worlds import KINDS, summarize_worlds, worlds


def row(kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "failed": {},
        "truth_beaten_by": [],
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
        row("exponential", truth_beaten_by=["flat"]),
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


def test_a_kind_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BayesdenseError, match="no kind wavy"):
        worlds("densing-published", tmp_path, kinds=["wavy"])
    assert list(KINDS) == ["exponential", "break2", "break3", "quadratic", "flat"]
