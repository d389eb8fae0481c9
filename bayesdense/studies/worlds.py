"""Does a comparison find what is true? Made-up worlds about the real data, judged.

Worlds of five kinds in the shape of a dataset: growth that is steady, doubles or trebles at a date,
changes steadily, or is none. Each is fitted under every hypothesis; each fit is a job, so that the
study runs in parts, and goes on where it was stopped: `python -m bayesdense.studies.worlds --help`.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import betabinom

from bayesdense.comparison import lfo
from bayesdense.comparison.assembly import foretold_blocks
from bayesdense.comparison.plan import BLOCKS
from bayesdense.comparison.pointwise import Pointwise, difference
from bayesdense.comparison.tasks import from_json as pointwise_of
from bayesdense.comparison.verdict import Pair, Scores, beaten_by, pairs, posterior_probabilities
from bayesdense.errors import BayesdenseError
from bayesdense.files import write_text_atomic
from bayesdense.jobs import Job, JobFunction, Results, run_jobs
from bayesdense.names import DEFAULT_SEED, STUDY_RHAT
from bayesdense.observations import LLMData, observe
from bayesdense.result_files import read_result
from bayesdense.spec import load_spec
from bayesdense.studies.bookkeeping import made_with
from bayesdense.studies.power import middle_of, n_before_of
from bayesdense.studies.power_jobs import EXPONENTIAL, is_claimed, share_before
from bayesdense.studies.readings import TRUTHS, from_json, reading
from bayesdense.studies.refits import Length, Study, study_of
from bayesdense.studies.selection import WHOLE
from bayesdense.studies.world_jobs import foretold_in_world, hypothesis_in_world, trend_of_world
from bayesdense.summary import strict

_LOG = logging.getLogger(__name__)
#: Kinds of worlds: growth at the end over growth at the start, None: no growth.
KINDS: Final[Mapping[str, float | None]] = {
    "exponential": 1.0,
    "break2": 2.0,
    "break3": 3.0,
    "quadratic": 3.0,
    "flat": None,
}
#: Fits of worlds are short: what is judged are counts.
_LENGTH: Final = Length(draws=500, tune=300, chains=4)


@dataclass(frozen=True, slots=True, eq=False)
class _Worlds:
    """What all worlds share, once the exponential trend is fitted to the data."""

    study: Study
    about: Mapping[str, Any]
    llms: LLMData
    blocks: tuple[lfo.Block, ...]
    date: str
    n_before: int
    fits_free: bool
    lfo_worlds: int

    @property
    def known_break(self) -> str:
        """The break at the date at which growth does change."""
        return f"break_known@{self.date}"

    @property
    def rivals(self) -> tuple[str, ...]:
        """Hypotheses that are fitted to every world."""
        free = ("break_free",) if self.fits_free else ()
        return (EXPONENTIAL, "flat", self.known_break, "quadratic", *free)

    def truth_of(self, kind: str) -> str:
        """The hypothesis that is right in worlds of a kind."""
        return self.known_break if kind.startswith("break") else kind

    def change(self, kind: str, growth: float) -> float:
        """Growth at the end less growth at the start that keeps the average, 1/year."""
        factor = KINDS[kind] or 1.0
        share = 0.5
        if kind.startswith("break"):
            share = share_before(from_json(self.about["densities"]), self.known_break)
        return (factor - 1) * growth / (share + (1 - share) * factor)

    def jobs(self, kind: str, k: int) -> dict[str, Job]:
        """Fits of every hypothesis to one world."""
        more = {
            "rivals": [self.known_break, "break_free", "quadratic"],
            "n_before": self.n_before,
        }
        return {
            rival: self._job(hypothesis_in_world, rival, kind, k, more) for rival in self.rivals
        }

    def later(self, kind: str, k: int) -> dict[str, list[Job]]:
        """Refits of every hypothesis for leave-future-out; none beyond the first worlds."""
        edges = range(len(self.blocks) + 1) if k < self.lfo_worlds else ()
        return {
            rival: [
                self._job(foretold_in_world, rival, kind, k, {"blocks": BLOCKS, "k": edge})
                for edge in edges
            ]
            for rival in self.rivals
        }

    def _job(
        self, function: JobFunction, rival: str, kind: str, k: int, more: Mapping[str, object]
    ) -> Job:
        """A job about one hypothesis in one world."""
        truth = self.about["truths"][k % TRUTHS]
        growth = float(truth["growth_rate"]["values"])
        base = load_spec(self.study.dataset.default_model)
        there = self.truth_of(kind)
        trend = trend_of_world(self.about["densities"], there, growth, self.change(kind, growth))
        return self.study.job(
            function,
            base.with_options(trend=rival),
            WHOLE,
            world=there,
            world_seed=[self.study.seed, list(KINDS).index(kind), k],
            trend=trend,
            truth=truth,
            **more,
        )

    @property
    def break_year(self) -> float:
        """When growth changes, years since the origin."""
        return from_json(self.about["densities"]).trend_data.year_of(self.date)


def worlds(
    dataset: str,
    out: Path,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    first: int = 0,
    last: int = 20,
    jobs: int | None = None,
    executor: str = "processes",
    seed: int = DEFAULT_SEED,
    power: Path | None = None,
    fits_free: bool = False,
    lfo_worlds: int = 0,
) -> dict[str, object]:
    """Run worlds `first` to `last` of each kind, and judge all that are finished among them.

    Parameters
    ----------
    dataset
        Name or folder of the dataset whose shape the worlds have.
    out
        Folder of the jobs; finished ones are not run again.
    kinds
        Out of `KINDS`.
    first, last
        Numbers of the worlds, the last one not included.
    jobs, executor
        As in `run_jobs`.
    seed
        Of the study.
    power
        `power.json` of the dataset, for how often breaks were to be found.
    fits_free
        Whether `break_free` is fitted in full, which takes ten times as long as the others; else
        what it says comes from the closed form on readings of the exponential fit.
    lfo_worlds
        How many worlds of each kind, the first ones, are judged with leave-future-out too.

    Returns
    -------
    dict
        Strict JSON: counts with what is demanded of them, and every world.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise BayesdenseError(f"no kind {unknown[0]}, allowed: {', '.join(KINDS)}")
    study = study_of(dataset, _LENGTH, seed)
    base = load_spec(study.dataset.default_model)
    data = observe(base, study.dataset)
    if lfo_worlds and data.scores is None:
        raise BayesdenseError("leave-future-out of worlds takes a dataset with scores")
    laid = lfo.blocks(data.llms, **BLOCKS) if lfo_worlds else ()
    fit = study.job(reading, base.with_options(trend=EXPONENTIAL), WHOLE)
    known = run_jobs([fit], out, executor="serial", resume=True, more_follow=True)[fit.key]
    if known.failure is not None:
        raise BayesdenseError(f"{known.failure.type}: {known.failure.message}")
    there = _Worlds(
        study=study,
        about=known.result,
        llms=data.llms,
        blocks=laid,
        date=middle_of(data),
        n_before=n_before_of(data),
        fits_free=fits_free,
        lfo_worlds=lfo_worlds,
    )
    plan = {(kind, k): there.jobs(kind, k) for k in range(first, last) for kind in kinds}
    later = {at: there.later(*at) for at in plan}
    every = [job for world in plan.values() for job in world.values()]
    every += [job for world in later.values() for jobs_ in world.values() for job in jobs_]
    results = run_jobs(
        every,
        out,
        executor=executor,
        workers=jobs,
        resume=True,
        more_follow=True,
        progress=lambda done, failed, n, left: _LOG.info(
            "%d of %d done, %d failed, %s s left", done, n, failed, left and round(left)
        ),
    )
    judged = [_judged(there, kind, k, results) for kind, k in plan]
    seconds = [results[job.key].seconds for job in every]
    summary = {
        "study": "worlds",
        "dataset": study.dataset.summary(),
        **made_with(),
        "seed": seed,
        **_LENGTH.to_dict(),
        "break": there.date,
        "break_free": "full fits" if fits_free else "closed form",
        "lfo_worlds": lfo_worlds,
        "seconds_per_world": float(np.sum(seconds)) / max(len(plan), 1),
        "summary": summarize_worlds(judged, None if power is None else _read_power(power)),
        "worlds": judged,
    }
    plain: dict[str, object] = strict(summary)
    return plain


def _judged(there: _Worlds, kind: str, k: int, results: Results) -> dict[str, Any]:
    """One world: who is beaten, what is claimed, what is probable."""
    outcomes = {rival: results[job.key] for rival, job in there.jobs(kind, k).items()}
    failed = {r: o.failure.message for r, o in outcomes.items() if o.failure is not None}
    row: dict[str, Any] = {"kind": kind, "world": k, "failed": failed}
    if failed:
        return row
    found = {rival: outcome.result for rival, outcome in outcomes.items()}
    truth = there.truth_of(kind)
    families = {rival: pointwise_of(result["family"]) for rival, result in found.items()}
    future = _foretold(there, kind, k, results)
    compared = _pairs(families, found, future)
    beaten = beaten_by(compared)
    probabilities = posterior_probabilities({r: f["log_ml"]["value"] for r, f in found.items()})
    plain = found[EXPONENTIAL]
    free = found.get("break_free")
    low, high = free["break_year"] if free else plain["closed_break_year"]
    p_change = {rival: one["p_change"] for rival, one in plain["closed"].items()}
    p_change |= {r: one["change"]["p_change"] for r, one in found.items() if one["change"]}
    return row | {
        "truth": truth,
        "truth_beaten_by": beaten.get(truth, []),
        "beaten": beaten,
        "with_lfo": bool(future),
        "truth_probability": probabilities[truth],
        "p_change": p_change,
        "break_over_exponential": _told(difference(families[there.known_break],
                                                   families[EXPONENTIAL])),
        "date_covered": low <= there.break_year <= high,
        "closed": plain["closed"],
        "failed_bridges": [r for r, f in found.items() if f["log_ml"]["value"] is None],
        "failed_families": {r: len(one.failed) for r, one in families.items() if one.failed},
        "max_rhat": {r: f["max_rhat"] for r, f in found.items()},
        "longer": [r for r, f in found.items() if f.get("draws", 0) > _LENGTH.draws],
        "divergences": {r: f["divergences"] for r, f in found.items() if f["divergences"]},
    }  # fmt: skip


def _foretold(there: _Worlds, kind: str, k: int, results: Results) -> dict[str, Pointwise]:
    """Leave-future-out of every hypothesis in a world; empty where one of them has none."""
    out = {}
    for rival, jobs in there.later(kind, k).items():
        outcomes = [results[job.key] for job in jobs]
        told = [
            {"failed": one.failure.message} if one.failure is not None else one.result
            for one in outcomes
        ]
        failures: list[str] = []
        found, _ = foretold_blocks(there.blocks, there.llms, told, failures)
        for failure in failures:
            _LOG.warning("%s %d, %s: %s", kind, k, rival, failure)
        if found is None:
            return {}
        out[rival] = found
    return out


def _pairs(
    families: Mapping[str, Pointwise], found: Mapping[str, Any], future: Mapping[str, Pointwise]
) -> tuple[Pair, ...]:
    """Every two hypotheses, by families left out, by the future, and by bridge sampling."""
    scores = {}
    for rival, one in families.items():
        log_ml = found[rival]["log_ml"]
        known = None if log_ml["value"] is None else (log_ml["value"], log_ml["se"])
        scores[rival] = Scores(one, one, future.get(rival), known)
    return pairs(scores)


def _told(found: Any) -> list[float]:  # noqa: ANN401 - a difference
    """Difference and error."""
    return [found.elpd_diff, found.se]


def _read_power(path: Path) -> Mapping[str, Any]:
    """Result of the study `power`."""
    return read_result(path, "power", "result of power")


def summarize_worlds(
    rows: Sequence[Mapping[str, Any]], power: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Count what is demanded of a comparison over all worlds that were fitted whole.

    Parameters
    ----------
    rows
        Worlds as `worlds` judges them.
    power
        `power.json` of the same data, for the range of how many breaks are to be found.

    Returns
    -------
    dict
        Counts, each with the number of worlds and what is demanded of it.
    """
    whole = [row for row in rows if not row["failed"]]
    of = {kind: [row for row in whole if row["kind"] == kind] for kind in KINDS}
    steady = of["exponential"]
    rhats = [max(row["max_rhat"].values()) for row in whole]
    return {
        "n_worlds": len(whole),
        "n_failed": len(rows) - len(whole),
        "truth_decisively_beaten": _count(
            [bool(row["truth_beaten_by"]) for row in whole], "at most 3 of 100"
        ),
        "truth_decisively_beaten_with_lfo": _count(
            [bool(row["truth_beaten_by"]) for row in whole if row["with_lfo"]], "none asked for"
        ),
        "break_claimed_under_exponential": {
            form: _count([_claimed(row, form) for row in steady], "at most 3 of 20")
            for form in ("break_known", "break_free")
        },
        "breaks_found": {
            kind: _found(of[kind], float(KINDS[kind] or 1), power) for kind in ("break2", "break3")
        },
        "date_covered": {
            kind: _count([row["date_covered"] for row in of[kind]], "at least 16 of 20")
            for kind in ("break2", "break3")
        },
        "mean_probability_of_truth": {
            kind: float(np.mean([row["truth_probability"] for row in part]))
            if part and all(row["truth_probability"] is not None for row in part)
            else None
            for kind, part in of.items()
        },
        "max_rhat": max(rhats, default=None),
        "n_worlds_above_rhat": sum(rhat > STUDY_RHAT for rhat in rhats),
        "n_failed_bridges": sum(len(row["failed_bridges"]) for row in whole),
    }


def _claimed(row: Mapping[str, Any], form: str) -> bool:
    """Whether a change is claimed by its probability under a break."""
    chance = next(p for rival, p in row["p_change"].items() if rival.startswith(form))
    return bool(is_claimed(np.array(chance)))


def _count(hits: Sequence[bool], demanded: str) -> dict[str, Any]:
    """How often, of how many."""
    return {"n": sum(hits), "of": len(hits), "demanded": demanded}


def _found(
    rows: Sequence[Mapping[str, Any]], factor: float, power: Mapping[str, Any] | None
) -> dict[str, Any]:
    """How often breaks are found by probability, and the range that `power` leads one to expect.

    The range is the central 95 % of a beta-binomial: of `power`'s share with its own error.
    """
    out: dict[str, Any] = {}
    for form in ("break_known", "break_free"):
        hits = [_claimed(row, form) for row in rows]
        out[form] = {
            "n": sum(hits),
            "of": len(hits),
            "range": _range(form, factor, len(hits), power),
        }
    return out


def _range(form: str, factor: float, n: int, power: Mapping[str, Any] | None) -> list[int] | None:
    """Central 95 % of the number of breaks that are found, by `power`."""
    for trend in power["trends"] if power and n else ():
        for size in trend["sizes"]:
            if trend["trend"].startswith(form) and size["factor"] == factor:
                share = size["rules"]["probability"]
                a, b = share["hits"] + 0.5, share["n"] - share["hits"] + 0.5
                low, high = betabinom.ppf([0.025, 0.975], n, a, b)
                return [int(low), int(high)]
    return None


def main() -> None:
    """Run worlds and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="densing")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of worlds, with commas")
    parser.add_argument("--first", type=int, default=0, help="number of the first world")
    parser.add_argument("--last", type=int, default=20, help="number after the last world")
    parser.add_argument("--jobs", type=int, help="fits at a time")
    parser.add_argument("--executor", default="processes")
    parser.add_argument("--out", type=Path, default=Path("studies/worlds"))
    parser.add_argument("--lfo-worlds", type=int, default=0, help="worlds judged with LFO too")
    parser.add_argument("--fit-break-free", action="store_true", help="fit break_free in full")
    parser.add_argument("--power", type=Path, help="power.json of the dataset")
    parser.add_argument("--summary", type=Path, default=Path("docs/evidence/worlds.json"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    found = worlds(
        arguments.dataset,
        arguments.out,
        kinds=[kind.strip() for kind in arguments.kinds.split(",")],
        first=arguments.first,
        last=arguments.last,
        jobs=arguments.jobs,
        executor=arguments.executor,
        power=arguments.power,
        fits_free=arguments.fit_break_free,
        lfo_worlds=arguments.lfo_worlds,
    )
    write_text_atomic(arguments.summary, json.dumps(found, indent=1) + "\n")
    _LOG.info("%s", json.dumps(found["summary"], indent=1))


if __name__ == "__main__":
    main()
