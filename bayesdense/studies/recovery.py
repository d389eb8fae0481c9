"""Does the model find what it was told? Fits to datasets of known truth.

Two worlds in the shape of a real dataset: truths drawn from the model's own priors, and the same
without growth. Each fit is a job with a seed and a file of its own, so that a study goes on where
it was stopped: `python -m bayesdense.studies.recovery --help`.
"""

import argparse
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.stats import chi2, norm

from bayesdense.arrays import Floats
from bayesdense.checks import check
from bayesdense.dataset import load_dataset
from bayesdense.files import write_text_atomic
from bayesdense.inference import fit_observations
from bayesdense.names import BENCHMARK, CHAIN, DRAW
from bayesdense.observations import observe
from bayesdense.results import Fit
from bayesdense.simulate import simulate_observations
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.bookkeeping import done_once, made_with
from bayesdense.summary import summarize

_LOG = logging.getLogger(__name__)
#: Truths by world: what is fixed, everything else being drawn from the priors.
WORLDS: Mapping[str, Mapping[str, float]] = {"prior": {}, "flat": {"growth_rate": 0.0}}
#: Draws a chain: z and ranks need no more than an ESS of a few hundred. A fit that fails a check of
#: sampling is run again with the second number, and the second fit counts whatever it says.
_DRAWS = (1000, 2500)
#: The spacing of sizes that the pilot run of nearly every world asks for: asked for at once, one
#: compilation is spared.
_SPACING = 0.125
_FIRST_SEED = {"prior": 1000, "flat": 2000}
#: Quantities with more than one value per LLM, run or family are no global parameters.
_NOT_GLOBAL = ("llm", "family", "run")
#: Endings of the names of scales, whose posteriors are near normal on the log.
_SCALES = ("_sd", "_df")


def z_scores(fitted: Fit, truth: xr.Dataset) -> dict[str, float]:
    """(posterior mean - truth) / sd of every global parameter, sds on the log."""

    def standardized(draws: xr.DataArray, true: xr.DataArray) -> xr.DataArray:
        return (draws.mean((CHAIN, DRAW)) - true) / draws.std((CHAIN, DRAW), ddof=1)

    return _per_parameter(fitted, truth, standardized)


def rank_scores(fitted: Fit, truth: xr.Dataset) -> dict[str, float]:
    """Normal quantile of the truth's rank among the draws of every global parameter.

    Standard normal where the model is calibrated, whatever the shape of the posterior (Talts et
    al. 2018), which holds for `z_scores` only where posteriors are near normal.
    """

    def quantile(draws: xr.DataArray, true: xr.DataArray) -> xr.DataArray:
        n = draws.sizes[CHAIN] * draws.sizes[DRAW]
        below = ((draws > true).sum((CHAIN, DRAW)) + 0.5) / (n + 1)
        return below.copy(data=norm.ppf(below))

    return _per_parameter(fitted, truth, quantile)


def _per_parameter(
    fitted: Fit,
    truth: xr.Dataset,
    score: Callable[[xr.DataArray, xr.DataArray], xr.DataArray],
) -> dict[str, float]:
    """Score every global parameter, each benchmark's by itself, scales on the log."""
    out: dict[str, float] = {}
    for key, draws in fitted.posterior.items():
        name = str(key)
        if name not in truth or set(draws.dims) & set(_NOT_GLOBAL):
            continue
        theta, true = draws, truth[name]
        if name.endswith(_SCALES):
            theta, true = theta.copy(data=np.log(theta)), true.copy(data=np.log(true))
        z = score(theta, true)
        if BENCHMARK in z.dims:
            of_benchmark = zip(z[BENCHMARK].values, z.values, strict=True)
            out |= {f"{name}[{label}]": float(value) for label, value in of_benchmark}
        else:
            out[name] = float(z)
    return out


def run_job(world: str, seed: int, spec: ModelSpec, like: str, draws: int) -> dict[str, object]:
    """Simulate one set of observations, fit it with `draws` a chain, and compare."""
    began = time.perf_counter()
    source = load_dataset(like)
    made = simulate_observations(spec, observe(spec, source), seed=seed, truth=WORLDS[world])
    fitted = fit_observations(
        spec.with_options(quadrature_spacing=_SPACING),
        made.observations,
        about=source.summary(),
        seed=seed,
        draws=draws,
        depth="without_likelihoods",
    )
    checks = check(fitted)
    summary = summarize(fitted, checks)
    growth = fitted.posterior["growth_rate"]
    true_growth = float(made.parameters["growth_rate"])
    low, high = (float(value) for value in np.quantile(growth, (0.025, 0.975)))
    return {
        "world": world,
        "seed": seed,
        "z": z_scores(fitted, made.parameters),
        "rank_z": rank_scores(fitted, made.parameters),
        "growth": {
            "truth": true_growth,
            "eti95": [low, high],
            "covered": low <= true_growth <= high,
        },
        "p_positive": float((growth > 0).mean()),
        "unbounded": summary["doubling_time_days"]["unbounded"],
        "statement": summary["doubling_time_days"]["statement"],
        "n_above_ceiling": made.n_above_ceiling,
        "n_rejected": made.n_rejected,
        "status": checks.status,
        "max_rhat": checks.max_rhat,
        "min_ess_bulk": checks.min_ess_bulk,
        "divergences": checks.divergences,
        "not_passed": [item.name for item in checks.items if item.status != "pass"],
        "draws": draws,
        "commit": made_with()["commit"],
        "timings": fitted.timings,
        "seconds": time.perf_counter() - began,
    }


def summarize_recovery(jobs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Judge the rms of every parameter's z over the jobs against chi-square bands.

    With n jobs, n rms^2 is chi-square(n) where the model is calibrated and posteriors are normal:
    each of K parameters has to lie inside the band of probability 1 - .05 / K, and about 5.6 % of
    them, with two standard deviations of slack, may lie outside 1 +- 1.96 / sqrt(2 n), the band of
    a single one (.69 to 1.31 for n = 20). The same of the normal scores of ranks, which need no
    normal posterior, and their mean, which shows a bias that an rms hides: sqrt(n) times it is
    standard normal. Fits that failed a check of sampling count; `converged` judges the others.
    """
    converged = [job for job in jobs if job["status"] != "fail"]
    whole = {**_bands(jobs, "z"), "ranks": _bands(jobs, "rank_z"), "bias": _bias(jobs)}
    return {
        **whole,
        "growth_covered": sum(bool(job["growth"]["covered"]) for job in jobs),  # type: ignore[index]
        **_sampling(jobs),
        "converged": _bands(converged, "z") if converged else None,
    }


def _sampling(jobs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """How well the fits of a study were sampled."""
    return {
        "status": dict(Counter(str(job["status"]) for job in jobs)),
        "max_rhat": max(float(str(job["max_rhat"])) for job in jobs),
        "min_ess_bulk": min(float(str(job["min_ess_bulk"])) for job in jobs),
    }


def _bias(jobs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Mean normal score of the ranks of growth and of the parameter that is furthest off."""
    names, z = _scores(jobs, "rank_z")
    standard = z.mean(axis=0) * math.sqrt(len(jobs))
    k = int(np.abs(standard).argmax())
    return {
        "growth_rate": round(float(standard[names.index("growth_rate")]), 2),
        "largest": {names[k]: round(float(standard[k]), 2)},
        "bonferroni_bound": float(norm.isf(0.025 / len(names))),
    }


def _scores(jobs: Sequence[Mapping[str, object]], score: str) -> tuple[list[str], Floats]:
    """Names of the parameters and their scores, one row per job."""
    names = list(jobs[0][score])  # type: ignore[call-overload]
    return names, np.array([[job[score][name] for name in names] for job in jobs])  # type: ignore[index]


def _bands(jobs: Sequence[Mapping[str, object]], score: str) -> dict[str, object]:
    """Judge the rms of every parameter's score."""
    names, z = _scores(jobs, score)
    n, k = z.shape
    rms = np.sqrt((z**2).mean(axis=0))
    low, high = np.sqrt(chi2.ppf([0.025 / k, 1 - 0.025 / k], n) / n)
    allowed = 0.056 * k + 2 * math.sqrt(0.056 * k)
    half_width = 1.96 / math.sqrt(2 * n)
    outside = int((np.abs(rms - 1) > half_width).sum())
    return {
        "n_jobs": n,
        "n_parameters": k,
        "rms": dict(zip(names, rms.round(3).tolist(), strict=True)),
        "bonferroni_band": [float(low), float(high)],
        "outside_bonferroni": [
            name for name, value in zip(names, rms, strict=True) if not low <= value <= high
        ],
        "outside_single_band": outside,
        "allowed_outside_single_band": allowed,
    }


def summarize_flat(jobs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Count false alarms and unbounded doubling times in worlds without growth.

    Everything but growth is drawn from the priors there as well, so that `bias` is as in
    `summarize_recovery`.
    """
    p = np.array([job["p_positive"] for job in jobs], dtype=float)
    return {
        "n_jobs": len(jobs),
        "p_positive": p.round(4).tolist(),
        "false_alarms": int(((p < 0.025) | (p > 0.975)).sum()),
        "unbounded": sum(bool(job["unbounded"]) for job in jobs),
        "bias": _bias(jobs),
        **_sampling(jobs),
    }


def run_study(
    world: str, n_jobs: int, out: Path, *, like: str = "densing"
) -> list[dict[str, object]]:
    """Run the jobs of a world that have no file yet; return all of them, the longest of each."""
    spec = load_spec("joint")
    jobs = []
    for seed in range(_FIRST_SEED[world], _FIRST_SEED[world] + n_jobs):
        for length, draws in zip(("", "-long"), _DRAWS, strict=True):
            path = out / f"{world}-{seed}-{spec.digest[:8]}{length}.json"
            job = done_once(path, partial(run_job, world, seed, spec, like, draws))
            _LOG.info("%s: %s, %.0f s", path.stem, job["status"], job["seconds"])
            if job["status"] != "fail":
                break
        jobs.append(job)
    return jobs


def evidence(world: str, jobs: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Summary of a study with all that it takes to run it again."""
    judge = summarize_recovery if world == "prior" else summarize_flat
    return {
        "study": f"recovery, world {world}",
        **made_with(),
        "commits": sorted({str(job.get("commit")) for job in jobs}),
        "draws": dict(sorted(Counter(int(str(job.get("draws"))) for job in jobs).items())),
        "seeds": [job["seed"] for job in jobs],
        "wall_seconds": float(np.sum([job["seconds"] for job in jobs])),
        "summary": judge(jobs),
    }


def main() -> None:
    """Run a study and write its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", choices=sorted(WORLDS))
    parser.add_argument("--jobs", type=int, default=20, help="number of simulated datasets")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/recovery"))
    parser.add_argument("--summary", type=Path, help="JSON file of the summary")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("pymc").setLevel(logging.WARNING)
    jobs = run_study(arguments.world, arguments.jobs, arguments.out)
    text = json.dumps(evidence(arguments.world, jobs), indent=1)
    if arguments.summary:
        write_text_atomic(arguments.summary, text + "\n")
    else:
        _LOG.info("%s", text)


if __name__ == "__main__":
    main()
