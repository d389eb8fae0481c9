"""Do intervals hold what they say? Simulated datasets of known truth, fitted by the hundred."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.jobs import Job, Outcome, Progress, Results, run_jobs, write_result
from bayesdense.jobs.crews import Submits
from bayesdense.names import DEFAULT_SEED
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.bookkeeping import made_with
from bayesdense.studies.calibrate_jobs import simulation
from bayesdense.studies.calibrate_result import RESULT_NAME, Calibration, outside_before
from bayesdense.studies.coverage import interval_counts, width_ratio
from bayesdense.studies.made_worlds import WELL_SPECIFIED, WORLDS, World, make, world_named
from bayesdense.studies.ranks import LEAST_RANKED, LEVEL, N_RANKED, band, judged
from bayesdense.studies.readings import TRUTHS, reading
from bayesdense.studies.refits import Length, Study, default_folder, study_of
from bayesdense.studies.selection import WHOLE
from bayesdense.trends import trend_named
from bayesdense.wording import json_text, told

N_FITS: Final = 500
#: A quarter of the LLMs of `densing`.
N_LLMS: Final = 28
#: Of each first fit: enough for 100 nearly independent draws of the worst parameter in most.
DRAWS, TUNE, CHAINS = 750, 150, 2
PRIOR, DATA = "prior", "data"
#: Steps from one truth to the next; has no divisor in common with `TRUTHS`.
_STRIDE: Final = 17
#: Bins of ranks in the result.
_BINS: Final = 100


def calibrate(
    dataset: str | Path,
    spec: ModelSpec | None = None,
    *,
    fits: int = N_FITS,
    worlds: Sequence[str] = (WELL_SPECIFIED,),
    llms: int | None = N_LLMS,
    truths: str = PRIOR,
    repeat_of: str | Path | None = None,
    out: str | Path | None = None,
    draws: int = DRAWS,
    tune: int = TUNE,
    chains: int = CHAINS,
    seed: int = DEFAULT_SEED,
    executor: str | Submits = "processes",
    workers: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Calibration:
    """Fit simulated datasets of known truth: ranks, coverage, bias and width, world by world.

    Truths are drawn from the model's priors, data from the truths, and the model is fitted to the
    data. Where the model is right (`well_specified`), the rank of the truth among independent draws
    of the posterior is uniform for every quantity; ranks are held against simultaneous bands. In
    the other worlds something is not as the model says, and coverage tells what that costs. The
    point pipeline runs on the same data. All simulations count: none is rejected for what it looks
    like, and where the sampler had trouble, the fit is repeated at three times the length, and at
    nine times where chains still do not agree.

    Parameters
    ----------
    dataset
        Name of a shipped dataset, or folder, whose shape the simulated ones have.
    spec
        The model; None: that of the dataset.
    fits
        Simulations of each world.
    worlds
        Out of `bayesdense.studies.made_worlds.WORLDS`.
    llms
        LLMs of each simulated dataset, whole families drawn anew for each; None: all. Reference
        runs and calibration points are all there.
    truths
        `prior`, or `data`: draws of the posterior given the dataset, which is fitted first. Worlds
        are then about it, and not about whatever the priors hold for possible; ranks need not be
        uniform, and are not judged.
    repeat_of
        `calibrate.json` of an earlier study with another seed: what left its own band there and
        here is a failure.
    out
        Folder of the jobs; None: `studies/calibrate-<dataset>`. `calibrate.json` is written there.
    draws, tune, chains
        Of each first fit, as in `fit`.
    seed
        Of the study.
    executor, workers, resume, progress
        As in `bayesdense.jobs.run_jobs`.

    Returns
    -------
    Calibration
        With every fit that failed or had trouble.

    Raises
    ------
    BayesdenseError
        A world or model that cannot be examined, numbers out of range, a folder in the way.

    References
    ----------
    Talts et al. 2018, Validating Bayesian inference algorithms with simulation-based calibration,
    arXiv 1804.06788.
    """
    began = time.perf_counter()
    study = study_of(dataset, Length(draws, tune, chains), seed)
    model = spec or load_spec(study.dataset.default_model)
    chosen = _checked(study, model, fits=fits, worlds=worlds, llms=llms, truths=truths)
    before = None if repeat_of is None else outside_before(repeat_of, study.dataset.digest, seed)
    folder = default_folder("calibrate", dataset) if out is None else Path(out)
    run = partial(run_jobs, out=folder, executor=executor, workers=workers, progress=progress)
    known = [None] * TRUTHS
    if truths == DATA:
        first = study.job(reading, model, WHOLE)
        known = _truths(run([first], resume=resume, more_follow=True)[first.key])
        resume = True
    jobs = {
        (world.name, number): Job.of(
            simulation,
            {
                "world": world.name,
                "number": number,
                "n_llms": llms,
                "truth": known[number * _STRIDE % TRUTHS],
                "length": study.length.to_dict(),
            },
            spec=model.to_dict(),
            dataset=study.dataset.digest,
            where=study.where,
            seed=seed,
        )
        for number in range(fits)
        for world in chosen
    }
    results = run(list(jobs.values()), resume=resume, more_follow=truths == DATA)
    outcomes = {
        world.name: {number: results[jobs[world.name, number].key] for number in range(fits)}
        for world in chosen
    }
    found = Calibration(
        dataset=study.dataset.summary(),
        model=model.name,
        model_digest=model.posterior_digest,
        seed=seed,
        length=study.length,
        n_llms=llms,
        n_fits=fits,
        truths=truths,
        worlds=tuple(_told(world, outcomes) for world in chosen),
        ranks=ranks_of(outcomes.get(WELL_SPECIFIED, {}), before) if truths == PRIOR else None,
        record=_record(results, time.perf_counter() - began),
    )
    write_result(folder, RESULT_NAME, json_text(found.to_dict()) + "\n")
    return found


def _checked(
    study: Study,
    spec: ModelSpec,
    *,
    fits: int,
    worlds: Sequence[str],
    llms: int | None,
    truths: str,
) -> list[World]:
    """Refuse what cannot be examined; return the worlds, each once."""
    if spec.options.feedback == "cut":
        raise SpecError(
            'feedback = "cut": its draws are of no posterior given all data; use feedback = "joint"'
        )
    if not trend_named(spec.trend).grows:
        raise SpecError(f"trend {spec.trend}: has no growth to be examined; use exponential")
    if fits < 1:
        raise BayesdenseError(f"fits = {fits}, allowed: 1 or more")
    if llms is not None and llms < 2:
        raise BayesdenseError(f"llms = {llms}, allowed: 2 or more")
    if study.length.draws * study.length.chains < N_RANKED:
        raise BayesdenseError(
            f"draws * chains = {study.length.draws * study.length.chains}, allowed: {N_RANKED} or "
            "more, among which a truth is ranked"
        )
    if truths not in (PRIOR, DATA):
        raise BayesdenseError(f"truths = {told(truths)}, allowed: {PRIOR}, {DATA}")
    chosen = [world_named(name) for name in dict.fromkeys(worlds)]
    if not chosen:
        raise BayesdenseError(f"calibrate: no world is named, allowed: {', '.join(WORLDS)}")
    for world in chosen:
        if world.needs_scores and study.dataset.is_densities:
            raise BayesdenseError(
                f"world {world.name}: needs scores, and {study.dataset.name} holds densities"
            )
        # whatever a world cannot do with this model shows here, and not in every job
        make(world, spec, study.dataset, np.random.SeedSequence(study.seed).spawn(3))
    return chosen


def _truths(outcome: Outcome) -> list[Any]:
    """Draws of the posterior given the dataset."""
    if outcome.failure is not None:
        raise BayesdenseError(f"calibrate: {outcome.failure.type}: {outcome.failure.message}")
    return list(outcome.result["truths"])


def _told(world: World, outcomes: Mapping[str, Mapping[int, Outcome]]) -> dict[str, Any]:
    """One world: its fits, and what they say of growth."""
    mine = outcomes[world.name]
    done = {number: one.result for number, one in mine.items() if one.is_done}
    right = {n: one.result for n, one in outcomes.get(WELL_SPECIFIED, {}).items() if one.is_done}
    truths = [one["growth"]["truth"] for one in done.values()]
    out: dict[str, Any] = {
        "name": world.name,
        "what": world.what,
        "is_right": world.is_right,
        "n": len(mine),
        "failed": [
            {"number": number, "message": f"{one.failure.type}: {one.failure.message}"}
            for number, one in mine.items()
            if one.failure is not None
        ],
        "not_converged": [
            {"number": number, **one["attempts"][-1]}
            for number, one in done.items()
            if not one["converged"]
        ],
        "n_longer": sum(len(one["attempts"]) > 1 for one in done.values()),
        "n_unusable": sum(one["looks_usable"] is False for one in done.values()),
        "median_llms": _median([one["n_llms"] for one in done.values()]),
        "reviews": _reviews([one["reviews"] for one in done.values()]),
    }
    for name, key in (("model", "growth"), ("point", "point")):
        said = {number: one[key] for number, one in done.items()}
        beside = {number: one[key] for number, one in right.items()}
        out[name] = {
            **interval_counts(truths, list(said.values()), len(mine)),
            "width_ratio": width_ratio(said, beside),
        }
    return out


def _median(values: Sequence[int]) -> float | None:
    """Median, if there is anything."""
    return float(np.median(values)) if values else None


def _reviews(of_fits: Sequence[Sequence[str] | None]) -> dict[str, Any]:
    """How many fits were checked for misfit, and how many each check would have reviewed."""
    checked = [names for names in of_fits if names is not None]
    counts = Counter(name for names in checked for name in names)
    return {"n": len(checked), "counts": dict(sorted(counts.items()))}


def ranks_of(
    outcomes: Mapping[int, Outcome], before: Sequence[str] | None
) -> dict[str, Any] | None:
    """Ranks of every quantity against their bands; None for fewer than `LEAST_RANKED` simulations.

    Parameters
    ----------
    outcomes
        Simulations in which the model is right.
    before
        Quantities that left their own band in a study that this one repeats; None: it repeats none.
    """
    done = [one.result["ranks"] for one in outcomes.values() if one.is_done]
    if len(done) < LEAST_RANKED:
        return None
    names = dict.fromkeys(name for ranks in done for name in ranks)
    values = {name: [ranks[name] for ranks in done if name in ranks] for name in names}
    found = judged(values)
    quantities = {
        name: one | {"counts": np.histogram(values[name], bins=_BINS, range=(0.0, 1.0))[0].tolist()}
        for name, one in found["quantities"].items()
    }
    twice = None if before is None else [n for n in found["outside_single"] if n in set(before)]
    bands = {
        name: _lists(len(done), level)
        for name, level in (("single", LEVEL), ("all", found["level_all"]))
    }
    return {
        "world": WELL_SPECIFIED,
        "n": len(done),
        "n_ranked": N_RANKED,
        **found,
        "outside_twice": twice,
        "quantities": quantities,
        "bands": bands,
    }


def _lists(n: int, level: float) -> dict[str, Any]:
    """A band as JSON can hold it."""
    limits = band(n, level)
    return {
        "level": level,
        **{
            name: [round(float(value), 5) for value in getattr(limits, name)]
            for name in ("at", "lower", "upper")
        },
    }


def _record(results: Results, wall_seconds: float) -> dict[str, Any]:
    """What it takes to make the figures again, and what it took."""
    seconds = [one.seconds for one in results.values()]
    return {
        **made_with(),
        "seconds": {
            "wall": wall_seconds,
            "jobs": float(np.sum(seconds)),
            "median_job": float(np.median(seconds)),
        },
    }
