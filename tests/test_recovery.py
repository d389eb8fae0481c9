"""Does the model find what it was told? The judges on made-up studies, and the studies themselves.

The studies take hours: `pytest tests/test_recovery.py --run-slow`. Every finished job is a file:
with `--studies docs/evidence` those that are there are judged, and the others run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from bayesdense.studies import recovery
from bayesdense.studies.recovery import (
    evidence,
    rank_scores,
    run_study,
    summarize_flat,
    summarize_recovery,
    z_scores,
)

ROOT = Path(__file__).parents[1]
N_JOBS, K = 20, 60


# ---------------------------------------------------------------- made-up studies


def named(z: np.ndarray) -> dict[str, float]:
    return {"growth_rate" if k == 0 else f"theta[{k}]": float(v) for k, v in enumerate(z)}


def made_up_jobs(
    *, bias: float = 0.0, spread: float = 1.0, only: int | None = None, seed: int = 12
) -> list[dict[str, object]]:
    """Jobs whose z are normal; `only` one parameter is off, else every one."""
    rng = np.random.default_rng(seed)
    jobs: list[dict[str, object]] = []
    for job in range(N_JOBS):
        z = rng.normal(size=K)
        off = slice(None) if only is None else only
        z[off] = bias + spread * z[off]
        jobs.append(
            {
                "seed": 1000 + job,
                "seconds": 2.0,
                "status": "pass" if job else "review",
                "max_rhat": 1.001 + 0.0001 * job,
                "min_ess_bulk": 2000.0 + job,
                "z": named(z),
                "rank_z": named(z),
                "draws": 1000,
                "commit": "abc",
                "growth": {"covered": bool(abs(z[0]) < 1.96)},
                "p_positive": 0.5,
                "unbounded": True,
            }
        )
    return jobs


def passes(summary: Mapping[str, object]) -> bool:
    """What issue and study ask of twenty worlds drawn from the priors."""
    n = int(summary["n_jobs"])  # type: ignore[call-overload]
    return (
        not summary["outside_bonferroni"]
        and summary["outside_single_band"] <= summary["allowed_outside_single_band"]  # type: ignore[operator]
        and summary["growth_covered"] >= 0.85 * n  # type: ignore[operator]
    )


@pytest.mark.parametrize("seed", [12, 13, 14])
def test_a_calibrated_model_passes(seed: int) -> None:
    summary = summarize_recovery(made_up_jobs(seed=seed))
    assert passes(summary)
    assert (summary["n_jobs"], summary["n_parameters"]) == (N_JOBS, K)
    assert abs(summary["bias"]["growth_rate"]) < summary["bias"]["bonferroni_bound"]  # type: ignore[index]


@pytest.mark.parametrize(
    "fault",
    [
        {"spread": 2.0},  # too sure of everything
        {"spread": 0.4},  # too unsure
        {"bias": 1.2},
        {"bias": 2.0, "only": 7},  # one parameter alone
        {"spread": 2.5, "only": 7},
        {"spread": 0.3, "only": 7},
        {"spread": 1.3},  # a little too sure: seen in the number outside the single band
    ],
    ids=str,
)
def test_a_miscalibrated_model_fails(fault: dict[str, float]) -> None:
    summary = summarize_recovery(made_up_jobs(**fault))  # type: ignore[arg-type]
    assert not passes(summary)
    if "only" in fault:
        assert summary["outside_bonferroni"] == ["theta[7]"]


def test_bands_are_those_of_the_issue() -> None:
    summary = summarize_recovery(made_up_jobs())
    assert summary["bonferroni_band"] == pytest.approx([0.51, 1.55], abs=0.005)
    expected = 0.056 * K
    assert summary["allowed_outside_single_band"] == pytest.approx(expected + 2 * expected**0.5)


def test_convergence_is_counted_beside_calibration() -> None:
    summary = summarize_recovery(made_up_jobs())
    assert summary["status"] == {"review": 1, "pass": 19}
    assert summary["max_rhat"] == pytest.approx(1.0029)
    assert summary["min_ess_bulk"] == 2000.0


def test_a_bias_that_the_rms_hides_is_shown() -> None:
    summary = summarize_recovery(made_up_jobs(bias=1.0, spread=0.3, only=5))
    assert summary["outside_bonferroni"] == []
    bias = summary["bias"]
    assert list(bias["largest"]) == ["theta[5]"]  # type: ignore[index]
    assert bias["largest"]["theta[5]"] > bias["bonferroni_bound"] > 3  # type: ignore[index]
    assert abs(bias["growth_rate"]) < bias["bonferroni_bound"]  # type: ignore[index]


def test_fits_that_failed_are_judged_with_the_others_and_left_out() -> None:
    jobs = made_up_jobs()
    for job in jobs[:3]:
        job["status"] = "fail"
    summary = summarize_recovery(jobs)
    assert (summary["n_jobs"], summary["converged"]["n_jobs"]) == (N_JOBS, N_JOBS - 3)  # type: ignore[index]
    assert summarize_flat(jobs)["status"]["fail"] == 3  # type: ignore[index]


def test_flat_worlds() -> None:
    jobs = made_up_jobs()
    for job, p in zip(jobs, (0.01, 0.03, 0.97, 0.98, 0.999), strict=False):
        job["p_positive"] = p
        job["unbounded"] = 0.025 <= p <= 0.975
    summary = summarize_flat(jobs)
    assert summary["false_alarms"] == 3
    assert summary["unbounded"] == 17


def test_the_evidence_says_how_to_make_it_again() -> None:
    jobs = made_up_jobs()
    found = json.loads(json.dumps(evidence("prior", jobs), allow_nan=False))
    assert found["seeds"] == list(range(1000, 1020))
    assert found["wall_seconds"] == 40.0
    assert found["summary"]["n_jobs"] == N_JOBS
    assert {"bayesdense", "pymc", "nutpie"} <= set(found["versions"])
    assert "false_alarms" in evidence("flat", jobs)["summary"]  # type: ignore[operator]


# ---------------------------------------------------------------- scores of one fit


def fit_of(**draws: tuple[tuple[str, ...], np.ndarray]) -> SimpleNamespace:
    """As much of a fit as scores read."""
    return SimpleNamespace(
        posterior=xr.Dataset(
            {name: (("chain", "draw", *dims), value) for name, (dims, value) in draws.items()},
            coords={"benchmark": ["MMLU", "BBH"]},
        )
    )


def test_scores_by_hand() -> None:
    rng = np.random.default_rng(2)
    growth = rng.normal(1.0, 0.5, (4, 500))
    spread = np.exp(rng.normal(-1.0, 0.2, (4, 500)))
    fitted = fit_of(growth_rate=((), growth), residual_sd=((), spread))
    truth = xr.Dataset({"growth_rate": 2.0, "residual_sd": np.exp(-1.2)})
    z = z_scores(fitted, truth)  # type: ignore[arg-type]
    assert z["growth_rate"] == pytest.approx((growth.mean() - 2.0) / growth.std(ddof=1))
    assert z["residual_sd"] == pytest.approx(
        (np.log(spread).mean() + 1.2) / np.log(spread).std(ddof=1)
    )
    ranks = rank_scores(fitted, truth)  # type: ignore[arg-type]
    for name in z:
        assert ranks[name] == pytest.approx(z[name], abs=0.15), "the posterior is normal"


def test_a_growth_rate_stays_off_the_log_whatever_its_sign() -> None:
    """All draws positive, truth negative: a z far out, never NaN."""
    growth = np.abs(np.random.default_rng(2).normal(1.0, 0.1, (4, 500)))
    fitted = fit_of(growth_rate=((), growth), trend_intercept=((), growth))
    truth = xr.Dataset({"growth_rate": -1.0, "trend_intercept": 0.0})
    z = z_scores(fitted, truth)  # type: ignore[arg-type]
    assert z["growth_rate"] > 15 and z["trend_intercept"] > 8
    ranks = rank_scores(fitted, truth)  # type: ignore[arg-type]
    assert all(3 < value < 5 for value in ranks.values()), "no rank is beyond the draws"


def test_vectors_are_scored_by_benchmark_and_effects_not_at_all() -> None:
    rng = np.random.default_rng(2)
    fitted = fit_of(
        loss_floor=(("benchmark",), rng.normal(size=(2, 100, 2))),
        family_effect=(("family",), rng.normal(size=(2, 100, 3))),
        log_density=(("llm",), rng.normal(size=(2, 100, 4))),
        not_in_the_truth=((), rng.normal(size=(2, 100))),
    )
    truth = xr.Dataset(
        {
            "loss_floor": (("benchmark",), [0.0, 3.0]),
            "family_effect": (("family",), np.zeros(3)),
            "log_density": (("llm",), np.zeros(4)),
        },
        coords={"benchmark": ["MMLU", "BBH"]},
    )
    z = z_scores(fitted, truth)  # type: ignore[arg-type]
    assert set(z) == {"loss_floor[MMLU]", "loss_floor[BBH]"}
    assert z["loss_floor[BBH]"] < -2 < z["loss_floor[MMLU]"]


def test_scores_of_a_conjugate_model_are_calibrated() -> None:
    """Truth and posterior of one normal model, two hundred times: z and ranks are standard."""
    rng = np.random.default_rng(6)
    found = []
    for _ in range(200):
        truth, noise = rng.normal(), 0.7
        seen = truth + noise * rng.normal()
        var = 1 / (1 + 1 / noise**2)
        draws = rng.normal(var * seen / noise**2, np.sqrt(var), (2, 200))
        fitted = fit_of(growth_rate=((), draws))
        made = xr.Dataset({"growth_rate": truth})
        found.append(
            [score(fitted, made)["growth_rate"] for score in (z_scores, rank_scores)]  # type: ignore[arg-type]
        )
    rms = np.sqrt(np.mean(np.square(found), axis=0))
    np.testing.assert_allclose(rms, 1.0, atol=0.16)


# ---------------------------------------------------------------- running


def test_a_study_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []

    def job(world: str, seed: int, spec: object, like: str, draws: int) -> dict[str, object]:
        ran.append(seed)
        if seed == 2002 and ran.count(2002) == 1:
            raise KeyboardInterrupt
        return {"world": world, "seed": seed, "status": "pass", "seconds": 1.0}

    monkeypatch.setattr(recovery, "run_job", job)
    with pytest.raises(KeyboardInterrupt):
        run_study("flat", 4, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    jobs = run_study("flat", 4, tmp_path)
    assert ran == [2000, 2001, 2002, 2002, 2003]
    assert [job["seed"] for job in jobs] == [2000, 2001, 2002, 2003]


def test_a_fit_that_fails_is_run_longer_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longer fit counts, failed or not, and the short one stays beside it."""

    def job(world: str, seed: int, spec: object, like: str, draws: int) -> dict[str, object]:
        failed = seed == 2003 or (seed == 2001 and draws == 1000)
        return {"status": "fail" if failed else "pass", "draws": draws, "seconds": 1.0}

    monkeypatch.setattr(recovery, "run_job", job)
    jobs = run_study("flat", 4, tmp_path)
    assert [job["draws"] for job in jobs] == [1000, 2500, 1000, 2500]
    assert [job["status"] for job in jobs] == ["pass", "pass", "pass", "fail"]
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # a warning in the nineteenth fit must not cost the others
def test_truths_drawn_from_the_priors_are_found(studies: Path) -> None:
    summary = summarize_recovery(run_study("prior", N_JOBS, studies / "recovery"))
    assert not summary["outside_bonferroni"], summary["rms"]
    assert summary["outside_single_band"] <= summary["allowed_outside_single_band"], summary["rms"]  # type: ignore[operator]
    assert summary["growth_covered"] >= 17  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_no_growth_is_found_where_there_is_none(studies: Path) -> None:
    summary = summarize_flat(run_study("flat", N_JOBS, studies / "recovery"))
    assert summary["false_alarms"] <= 3, summary["p_positive"]  # type: ignore[operator]
    assert summary["unbounded"] >= 17  # type: ignore[operator]
