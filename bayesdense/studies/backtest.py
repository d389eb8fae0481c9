"""Would earlier fits have foretold later LLMs' scores? Refits at earlier dates, and baselines."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.jobs import Job, Outcome, Progress, job_function, run_jobs, write_result
from bayesdense.jobs.crews import Submits
from bayesdense.jobs.seeds import seeds_of
from bayesdense.names import CI_PROB, DEFAULT_CHAINS, DEFAULT_SEED, DEFAULT_TUNE, STUDY_DRAWS
from bayesdense.observations import Observations, observe
from bayesdense.proper_scores import clustered_mean, crps, inside
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.backtest_result import MODEL, RESULT_NAME, SCORES, Backtest
from bayesdense.studies.baselines import BASELINES, Band, bands, lines_of
from bayesdense.studies.later import LaterDensities, LaterScores, later_densities, later_scores
from bayesdense.studies.refits import (
    Length,
    counts,
    default_folder,
    fit_of,
    growth_of,
    observed_by,
    study_of,
    verdict,
)
from bayesdense.studies.selection import Selection, dataset_of, people_of
from bayesdense.summary import strict
from bayesdense.wording import json_text, told

#: Dates at which the shipped data are parted, where LLMs lie on both sides.
_ORIGINS: Final = ("2024-01-01", "2024-04-01", "2024-07-01")
#: Else: shares of the LLMs that are earlier.
_SHARES: Final = (0.5, 0.65, 0.8)
PROBS: Final = (0.5, 0.8, 0.95)
_ALL: Final = "all"


def backtest(
    dataset: str | Path,
    spec: ModelSpec | None = None,
    *,
    origins: Sequence[str] | None = None,
    out: str | Path | None = None,
    draws: int = STUDY_DRAWS,
    tune: int = DEFAULT_TUNE,
    chains: int = DEFAULT_CHAINS,
    seed: int = DEFAULT_SEED,
    executor: str | Submits = "processes",
    workers: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Backtest:
    """Refit on the LLMs released before each origin, and score what that says of the later ones.

    All reference runs and calibration points stay in. Outcomes are the later LLMs' observed scores
    given their parameters and dates; a family that has earlier members keeps its effect. The
    baselines see the same earlier LLMs, each with the band of its own residuals.

    Parameters
    ----------
    dataset
        Name of a shipped dataset with scores, or folder: workers find it again by that.
    spec
        The model; None: `joint`.
    origins
        ISO dates (`2024-04` is the first of that month); None: those of 2024 in quarters up to
        July, or shares of .5, .65 and .8 of the LLMs where these do not part the dataset.
    out
        Folder of the jobs; None: `studies/backtest-<dataset>`. `backtest.json` is written there.
    draws, tune, chains
        Of each fit, as in `fit`.
    seed
        Of the study; each fit takes its own from its job.
    executor, workers, resume, progress
        As in `bayesdense.jobs.run_jobs`.

    Returns
    -------
    Backtest
        A fit that failed is an origin with its message.

    Raises
    ------
    BayesdenseError
        A dataset of densities, an origin that is no date or has no LLMs on one side.
    """
    study = study_of(dataset, Length(draws, tune, chains), seed)
    if study.dataset.is_densities:
        raise BayesdenseError(
            f"backtest: {study.dataset.name} holds published densities; later LLMs are judged by "
            "scores, so a dataset with scores is needed: densing"
        )
    model = spec or load_spec(study.dataset.default_model)
    dates = _origins(model, study.dataset, origins)
    jobs = [study.job(at_origin, model, Selection(until=date), origin=date) for date in dates]
    folder = default_folder("backtest", dataset) if out is None else Path(out)
    results = run_jobs(
        jobs, folder, executor=executor, workers=workers, resume=resume, progress=progress
    )
    outcomes = [results[job.key] for job in jobs]
    found = Backtest(
        dataset=study.dataset.summary(),
        model=model.name,
        model_digest=model.posterior_digest,
        seed=seed,
        length=study.length,
        origins=tuple(_origin(date, o) for date, o in zip(dates, outcomes, strict=True)),
        scores=tuple(row for o in outcomes if o.is_done for row in o.result["scores"]),
    )
    write_result(folder, RESULT_NAME, json_text(found.to_dict()) + "\n")
    return found


@job_function
def at_origin(job: Job) -> dict[str, object]:
    """Fit the LLMs before an origin, and score what that says of those after it."""
    spec, earlier, seen = observed_by(job)
    whole = dataset_of(job)
    everything = observe(spec, whole)
    fitted = fit_of(job)
    rng = np.random.default_rng(seeds_of(job).spawn(1)[0])
    later = later_scores(fitted, seen, everything, rng)
    baselines = _baselines(spec, earlier, everything, later)
    return {
        **counts(fitted),
        **growth_of(derive.growth_rate(fitted)),
        **verdict(fitted),
        "n_later_llms": len(np.unique(later.llm_idx)),
        "n_later_families": len(set(later.families)),
        "n_later_scores": len(later.observed),
        "n_later_scores_of_known_families": int(later.known_family.sum()),
        "baselines": list(baselines),
        "coverage": _coverages(later, seen.joint.benchmarks.names),
        "densities": _densities(later_densities(fitted, seen, everything, rng)),
        "scores": _score_rows(job.params["origin"], later, seen.joint.benchmarks.names, baselines),
    }


def _densities(later: LaterDensities | None) -> dict[str, object] | None:
    """Later densities, read with the origin's law and map, against what was foretold of them."""
    if later is None:
        return None
    above = clustered_mean(later.observed - np.median(later.drawn, axis=0), later.families)
    distance = clustered_mean(crps(later.drawn, later.observed), later.families)
    return {
        "n": len(later.names),
        "n_families": above.n_clusters,
        "mean_above": above.mean,
        "mean_above_se": above.se,
        "crps": distance.mean,
        "crps_se": distance.se,
        **{
            f"coverage{100 * prob:.0f}": float(inside(later.drawn, later.observed, prob).mean())
            for prob in PROBS
        },
    }


def _baselines(
    spec: ModelSpec, earlier: Dataset, everything: Observations, later: LaterScores
) -> dict[str, dict[str, Floats]]:
    """Scores of each baseline that there is."""
    point, lines = lines_of(spec, earlier)
    data = everything.joint
    is_later = np.isin(data.scores.llm_idx, np.unique(later.llm_idx))
    names = data.benchmarks.names
    made: dict[str, Band] = {
        name: bands(spec, point, line, data.llms, data.scores, names, is_later)
        for name, line in lines.items()
    }
    return {name: band.scored(later.observed, PROBS) for name, band in made.items()}


def _score_rows(
    origin: str,
    later: LaterScores,
    benchmarks: Sequence[str],
    baselines: Mapping[str, Mapping[str, Floats]],
) -> list[dict[str, object]]:
    """One row a score: what was predicted, and the scores of model and baselines."""
    draws, observed = later.score_draws, later.scores
    low, median, high = np.quantile(draws, (tails(CI_PROB)[0], 0.5, tails(CI_PROB)[1]), axis=0)
    columns: dict[str, Floats] = {
        "score": observed,
        "median": median,
        "eti95_low": low,
        "eti95_high": high,
        f"{MODEL}_crps": crps(draws, observed),
        f"{MODEL}_log_score": later.log_score,
    }
    for prob in PROBS:
        columns[f"{MODEL}_inside{100 * prob:.0f}"] = inside(draws, observed, prob).astype(float)
    for name in BASELINES:
        for score, values in baselines.get(name, {}).items():
            columns[f"{name}_{score}"] = values
    families = later.families
    rows: list[dict[str, object]] = strict(
        [
            {
                "origin": origin,
                "llm": later.llms.names[i],
                "family": families[c],
                "family_is_known": bool(later.known_family[c]),
                "release_date": later.llms.release_dates[i],
                "benchmark": benchmarks[later.benchmark_idx[c]],
                **{name: float(values[c]) for name, values in columns.items()},
            }
            for c, i in enumerate(later.llm_idx)
        ]
    )
    return rows


def _coverages(later: LaterScores, benchmarks: Sequence[str]) -> list[dict[str, object]]:
    """Share of scores in each band, and the shares that the model itself leads one to expect.

    The model's own draws of all later scores, with the sizes and families that they share, stand in
    for outcomes: the central 95 % of their shares is what coverage may be by chance.
    """
    rows: list[dict[str, object]] = []
    of_benchmark = {
        _ALL: np.ones(len(later.observed), dtype=bool),
        **{name: later.benchmark_idx == j for j, name in enumerate(benchmarks)},
    }
    for prob in PROBS:
        found = inside(later.drawn, later.observed, prob)
        simulated = inside(later.drawn, later.drawn, prob)
        for name, kept in of_benchmark.items():
            if not kept.any():
                continue
            shares = simulated[:, kept].mean(axis=1)
            low, high = (float(end) for end in np.quantile(shares, tails(CI_PROB)))
            share = float(found[kept].mean())
            rows.append(
                {
                    "benchmark": name,
                    "prob": prob,
                    "n": int(kept.sum()),
                    "coverage": share,
                    "expected": float(shares.mean()),
                    "expected_eti95": [low, high],
                    "as_expected": low <= share <= high,
                }
            )
    return rows


def _origin(date: str, outcome: Outcome) -> dict[str, Any]:
    """One origin without its single scores, or why there is nothing."""
    if outcome.failure is not None:
        said = f"{outcome.failure.type}: {outcome.failure.message}"
        return {"origin": date, "status": "failed", "message": said}
    kept = {key: value for key, value in outcome.result.items() if key != "scores"}
    means = _means(pd.DataFrame(outcome.result["scores"]))
    return {"origin": date, "status": "done", "message": "", **kept, "means": means}


def _means(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Mean scores of model and baselines, in all and by benchmark."""
    parts = [(_ALL, frame), *((str(n), part) for n, part in frame.groupby("benchmark", sort=False))]
    rows: list[dict[str, object]] = []
    for benchmark, part in parts:
        for source in (MODEL, *BASELINES):
            if f"{source}_crps" not in part:
                continue
            there = part[part[f"{source}_crps"].notna()]
            if there.empty:
                continue
            row: dict[str, object] = {"source": source, "benchmark": benchmark, "n": len(there)}
            row |= {score: float(there[f"{source}_{score}"].mean()) for score in SCORES}
            row |= {
                f"coverage{100 * prob:.0f}": float(there[f"{source}_inside{100 * prob:.0f}"].mean())
                for prob in PROBS
            }
            rows.append(row)
    return rows


def _origins(spec: ModelSpec, dataset: Dataset, asked: Sequence[str] | None) -> list[str]:
    """Dates of the origins, each with LLMs on both sides."""
    used = dataset.base_only() if spec.options.base_only else dataset
    dates = people_of(used)["release_date"]
    if asked is not None:
        wanted = [_read_date(text) for text in asked]
    else:
        wanted = [date for date in _ORIGINS if dates.min() < pd.Timestamp(date) <= dates.max()]
        shares = dates.quantile(list(_SHARES), interpolation="higher")
        wanted = wanted or [pd.Timestamp(date).date().isoformat() for date in shares]
    for date in wanted:
        if not dates.min() < pd.Timestamp(date) <= dates.max():
            raise BayesdenseError(
                f"backtest: origin {date} has no LLMs on one side; allowed are dates after "
                f"{dates.min().date()} and up to {dates.max().date()}"
            )
    if not wanted:
        raise BayesdenseError("backtest: no origin given, allowed: one date or more")
    return list(dict.fromkeys(wanted))


def _read_date(text: str) -> str:
    """ISO date of a day or a month."""
    full = f"{text}-01" if text.count("-") == 1 else text
    try:
        return dt.date.fromisoformat(full).isoformat()
    except ValueError:
        raise BayesdenseError(
            f"backtest: origin {told(text)}, allowed: a date as 2024-04-01 or a month as 2024-04"
        ) from None
