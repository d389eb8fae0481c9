"""The change of growth that a dataset would show, if there were one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from bayesdense.comparison import lfo
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.inference import counts_of
from bayesdense.jobs import Job, Progress, Results, run_jobs, write_result
from bayesdense.jobs.crews import Submits
from bayesdense.names import (
    DEFAULT_CHAINS,
    DEFAULT_SEED,
    DEFAULT_TUNE,
    STUDY_DRAWS,
)
from bayesdense.observations import Observations, observe
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies import power_jobs
from bayesdense.studies.normal_trends import require_normal
from bayesdense.studies.power_counts import (
    checked,
    crossing,
    found_in,
    placebo_breaks,
    share_of,
)
from bayesdense.studies.power_jobs import CHANGES, EXPONENTIAL, rival_wins
from bayesdense.studies.power_result import RESULT_NAME, RULES, Power
from bayesdense.studies.readings import TRUTHS, from_json, reading
from bayesdense.studies.refits import (
    Length,
    Study,
    default_folder,
    study_of,
)
from bayesdense.studies.selection import WHOLE
from bayesdense.trends import form_of
from bayesdense.trends.breaks import allowed_dates
from bayesdense.trends.grids import break_dates
from bayesdense.wording import json_text, told

#: Growth after over growth before; where growth itself is in doubt, differences in 1/year.
FACTORS: Final = (1.5, 2.0, 3.0, 5.0, 10.0)
DIFFERENCES: Final = (1.0, 2.0, 3.0, 5.0, 8.0)
N_SIMULATIONS: Final = 200
_AT_ONCE: Final = 50
#: Steps from one truth to the next that is fitted in full: any number of them is spread over the
#: chains, and a larger one holds a smaller one. Has no divisor in common with `TRUTHS`.
_STRIDE: Final = 17
_NO_FACTOR: Final = 0.025


def power(
    dataset: str | Path,
    spec: ModelSpec | None = None,
    *,
    trends: Sequence[str] | None = None,
    date: str | None = None,
    factors: Sequence[float] | None = None,
    n: int = N_SIMULATIONS,
    check: int = 0,
    out: str | Path | None = None,
    draws: int = STUDY_DRAWS,
    tune: int = DEFAULT_TUNE,
    chains: int = DEFAULT_CHAINS,
    seed: int = DEFAULT_SEED,
    executor: str | Submits = "processes",
    workers: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Power:
    """Find the smallest change of growth that a dataset would show.

    The exponential trend is fitted. Worlds about it have its dates, its families, what it knows of
    each LLM's log density (`readings.densities_of`), and growth, family and residual sd drawn from
    its posterior; their growth changes by a size that is known, and is on average that of the data.
    Each is examined in closed form (`normal_trends.examine`) under the rival and the exponential
    trend, and both rules are applied. Size 0 shows the false alarms.

    Parameters
    ----------
    dataset
        Name of a shipped dataset, or folder: workers find it again by that.
    spec
        The model; None: that of the dataset. Its residual has to be normal with one sd.
    trends
        Rivals: `break_known@DATE`, `break_free` (the worlds break at `date`, the analysis does not
        know when), `quadratic`; None: all three.
    date
        ISO date of the worlds' break where a rival has none; None: the middle of the window, or
        the nearest date with five families on either side.
    factors
        Growth at the end of the window over growth at its start, above 1; None: 1.5, 2, 3, 5, 10.
        Where growth is in doubt (P(growth <= 0) at least .025), sizes are differences of 1, 2, 3, 5
        and 8 per year, and factors are not offered.
    n
        Datasets of each size.
    check
        So many datasets fitted in full (two fits each), beside the closed form; at most 40.
    out
        Folder of the jobs; None: `studies/power-<dataset>`. `power.json` is written there.
    draws, tune, chains
        Of each fit, as in `fit`.
    seed
        Of the study.
    executor, workers, resume, progress
        As in `bayesdense.jobs.run_jobs`.

    Returns
    -------
    Power
        How often each rule finds each size of change, with the errors of these shares.

    Raises
    ------
    BayesdenseError
        A rival or a date that the data cannot carry, factors that are none, a fit that failed.
    """
    study = study_of(dataset, Length(draws, tune, chains), seed)
    base = spec or load_spec(study.dataset.default_model)
    data = observe(base.with_options(trend=EXPONENTIAL), study.dataset)
    plan = _Plan.of(study, base, data, trends, date, n)
    if not 0 <= check <= TRUTHS:
        raise BayesdenseError(f"check = {check}, allowed: 0 to {TRUTHS}")
    if factors is not None and not (factors and all(1 < r < np.inf for r in factors)):
        raise BayesdenseError(f"factors {told(list(factors))}, allowed: numbers above 1")
    folder = default_folder("power", dataset) if out is None else Path(out)

    run = partial(run_jobs, out=folder, executor=executor, workers=workers, progress=progress)
    first = plan.first
    about = _result(run([first], resume=resume, more_follow=True), first)
    known = _Known(plan, about, tuple(sorted(factors)) if factors else None)
    jobs = [first, known.placebo, *(job for t in plan.trends for job in known.simulated(t))]
    results = run(jobs, resume=True, more_follow=True)
    found = tuple(known.power_of(trend, results) for trend in plan.trends)
    full = known.full(found[0], check) if check else []
    if full:
        results = run([*jobs, *full], resume=True, more_follow=True)
    answer = Power(
        dataset=study.dataset.summary() | counts_of(data),
        model=base.name,
        model_digest=base.posterior_digest,
        seed=seed,
        length=study.length,
        n=n,
        reading={k: v for k, v in about.items() if k not in ("densities", "draws", "truths")},
        trends=found,
        placebo=placebo_breaks(_result(results, known.placebo)),
        check=checked(full, results) if full else None,
    )
    write_result(folder, RESULT_NAME, json_text(answer.to_dict()) + "\n")
    return answer


def _result(results: Results, job: Job) -> dict[str, Any]:
    """Result of a job without which there is no answer."""
    outcome = results[job.key]
    if outcome.failure is not None:
        raise BayesdenseError(f"power: {outcome.failure.type}: {outcome.failure.message}")
    return dict(outcome.result)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is asked, before anything is fitted."""

    study: Study
    spec: ModelSpec
    trends: tuple[str, ...]
    date: str
    n_before: int
    n: int

    @staticmethod
    def of(
        study: Study,
        spec: ModelSpec,
        data: Observations,
        trends: Sequence[str] | None,
        date: str | None,
        n: int,
    ) -> "_Plan":
        """Refuse what cannot be examined."""
        if spec.options.feedback == "cut":
            raise SpecError(
                'feedback = "cut": its draws are of no posterior given all data; use '
                'feedback = "joint"'
            )
        require_normal(spec)
        if n < 1:
            raise BayesdenseError(f"n = {n}, allowed: 1 or more")
        day = date or middle_of(data)
        asked = tuple(trends) if trends else (f"break_known@{day}", "break_free", "quadratic")
        for kind in asked:
            if form_of(kind) not in CHANGES:
                raise BayesdenseError(
                    f"power: trend {told(kind)} has no one parameter of change; allowed: "
                    "break_known@DATE, break_free, quadratic"
                )
            observe(spec.with_options(trend=kind), study.dataset)
        observe(spec.with_options(trend=f"break_known@{day}"), study.dataset)
        return _Plan(study, spec, tuple(dict.fromkeys(asked)), day, n_before_of(data), n)

    @property
    def first(self) -> Job:
        """The fit about which worlds are made."""
        return self.study.job(reading, self.spec.with_options(trend=EXPONENTIAL), WHOLE)

    def world_of(self, trend: str) -> str:
        """Trend of the worlds in which a rival is right."""
        return f"break_known@{self.date}" if trend == "break_free" else trend


def middle_of(observed: Observations) -> str:
    """Middle of the window, held between the dates that a break may have."""
    data = observed.llms.trend_data
    first, last = allowed_dates(data)
    if first > last:
        raise BayesdenseError(
            "power: no date has five families on either side; a break cannot be examined"
        )
    return min(max(data.date_of(0.5 * (data.first + data.last)), first), last)


def n_before_of(data: Observations) -> int:
    """LLMs released before the origin of leave-future-out; 0 where there is none."""
    try:
        return lfo.blocks(data.llms)[0].n_llms_before
    except BayesdenseError:
        return 0


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """The study, once the exponential trend has been fitted."""

    plan: _Plan
    about: Mapping[str, Any]
    asked: tuple[float, ...] | None

    @property
    def growth(self) -> float:
        """Average growth of the worlds' centre, 1/year."""
        return float(self.about["growth_rate_per_year"]["median"])

    @property
    def has_factors(self) -> bool:
        """Whether growth is clear enough for a ratio of growth rates to mean something."""
        return bool(self.about["growth_rate_per_year"]["p_positive"] > 1 - _NO_FACTOR)

    def sizes(self, trend: str) -> list[tuple[float | None, float]]:
        """Factor and difference (1/year) of each size, from none on."""
        if not self.has_factors:
            if self.asked:
                raise BayesdenseError(
                    "power: growth itself is in doubt here, so that factors mean nothing; leave "
                    "out --factors, sizes are then differences"
                )
            return [(None, difference) for difference in (0.0, *DIFFERENCES)]
        return [(r, self._difference(trend, r)) for r in (1.0, *(self.asked or FACTORS))]

    def _difference(self, trend: str, factor: float) -> float:
        """Difference of growth whose ratio is `factor`, the average over the window kept."""
        share = self._share(trend)
        return (factor - 1) * self.growth / (share + (1 - share) * factor)

    def _factor(self, trend: str, difference: float | None) -> float | None:
        """The same backwards; None where growth before would not be positive."""
        if difference is None or not self.has_factors:
            return None
        before = self.growth - (1 - self._share(trend)) * difference
        return 1 + difference / before if before > 0 else None

    def _share(self, trend: str) -> float:
        """Share of the window before the break; a steady change has as much of either."""
        world = self.plan.world_of(trend)
        if form_of(world) == "quadratic":
            return 0.5
        return power_jobs.share_before(from_json(self.about["densities"]), world)

    def _job(self, function: Any, **params: object) -> Job:  # noqa: ANN401 - any job function
        """A job in closed form, which says all that it needs."""
        study = self.plan.study
        shared = {
            "densities": self.about["densities"],
            "draws": self.about["draws"],
            "n_before": self.plan.n_before,
        }
        return Job.of(
            function,
            shared | params,
            spec=self.plan.spec.with_options(trend=EXPONENTIAL).to_dict(),
            dataset=study.dataset.digest,
            seed=study.seed,
        )

    def simulated(self, trend: str) -> list[Job]:
        """Made-up datasets for a rival, some at a time."""
        n = self.plan.n
        return [
            self._job(
                power_jobs.simulated,
                trend=trend,
                world=self.plan.world_of(trend),
                changes=[difference for _, difference in self.sizes(trend)],
                first=first,
                n=min(_AT_ONCE, n - first),
            )
            for first in range(0, n, _AT_ONCE)
        ]

    @property
    def placebo(self) -> Job:
        """Breaks at dates all over the window."""
        data = from_json(self.about["densities"]).trend_data
        first, last = allowed_dates(data)
        dates = [
            data.date_of(float(year)) for year in break_dates(data.first, data.last, data.n_breaks)
        ]
        kept = [day for day in dates if first <= day <= last]
        return self._job(power_jobs.placebo, dates=kept, n=self.plan.n)

    def power_of(self, trend: str, results: Results) -> dict[str, Any]:
        """How often each rule finds each size of change."""
        parts = [_result(results, job) for job in self.simulated(trend)]
        values = {
            name: np.concatenate([np.array(part[name]) for part in parts], axis=1)
            for name in ("p_change", "mean", "sd", "elpd_diff", "se", "lfo_diff")
        }
        sizes, hits = self.sizes(trend), found_in(values, has_lfo=self.plan.n_before > 0)
        beaten = rival_wins(values, -1.0)
        rows = [
            {
                "factor": factor,
                "difference_per_year": difference,
                "posterior_sd": float(np.mean(values["sd"][k])) * self._in_differences(trend),
                "rules": {
                    rule: None if found is None else share_of(int(found[k].sum()), found.shape[1])
                    for rule, found in hits.items()
                },
                "truth_beaten": int(beaten[k].sum()) if k and self.plan.n_before else None,
            }
            for k, (factor, difference) in enumerate(sizes)
        ]
        return {
            "trend": trend,
            "world": self.plan.world_of(trend),
            "sizes": rows,
            "smallest": {rule: self._smallest(trend, rows, rule) for rule in RULES},
        }

    def _in_differences(self, trend: str) -> float:
        """What turns the parameter of change into a difference over the window."""
        if form_of(trend) != "quadratic":
            return 1.0
        data = from_json(self.about["densities"]).trend_data
        return data.last - data.first

    def _smallest(
        self, trend: str, rows: Sequence[Mapping[str, Any]], rule: str
    ) -> dict[str, Any] | None:
        """Smallest difference that a rule finds in 80 %, with what Monte Carlo error allows."""
        found = [row["rules"][rule] for row in rows]
        if found[0] is None:
            return None
        sizes = np.array([row["difference_per_year"] for row in rows])
        best, high, low = (
            crossing(sizes, np.array(shares))
            for shares in (
                [one["share"] for one in found],
                [one["eti95"][0] for one in found],
                [one["eti95"][1] for one in found],
            )
        )
        return {
            "difference_per_year": best,
            "eti95": [low, high],
            "factor": self._factor(trend, best),
            "factor_eti95": [self._factor(trend, low), self._factor(trend, high)],
        }

    def full(self, found: Mapping[str, Any], n: int) -> list[Job]:
        """Full fits of datasets at the size that is found half of the time by probability."""
        shares = [row["rules"]["probability"]["share"] for row in found["sizes"][1:]]
        row = found["sizes"][1 + int(np.argmin(np.abs(np.array(shares) - 0.5)))]
        study = self.plan.study
        return [
            study.job(
                power_jobs.full,
                self.plan.spec,
                WHOLE,
                trend=found["trend"],
                world=found["world"],
                change=row["difference_per_year"],
                densities=self.about["densities"],
                n_before=self.plan.n_before,
                truth=self.about["truths"][k * _STRIDE % TRUTHS],
            )
            for k in range(n)
        ]
