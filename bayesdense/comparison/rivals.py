"""Rival trends about one dataset: fit them, score them, weigh them, and say what is not known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from bayesdense import errors
from bayesdense.catalog import dataset_names
from bayesdense.comparison import lfo as future
from bayesdense.comparison.hiding import foretold
from bayesdense.comparison.importance import RELIABLE_K
from bayesdense.comparison.pointwise import (
    Difference,
    Pointwise,
    stacking_weights,
    with_refits,
)
from bayesdense.comparison.tasks import (
    Result,
    at_width,
    from_json,
    hypothesis,
    until,
    without_family,
)
from bayesdense.comparison.verdict import Pair, Scores, pairs, posterior_probabilities, verdict
from bayesdense.comparison.widths import WIDTHS
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.files import write_text_atomic
from bayesdense.inference import counts_of
from bayesdense.jobs import Job, JobFunction, Outcome, Progress, run_jobs
from bayesdense.jobs.crews import Submits
from bayesdense.names import (
    DEFAULT_CHAINS,
    DEFAULT_DRAWS,
    DEFAULT_SEED,
    DEFAULT_TUNE,
    SCHEMA_VERSION,
)
from bayesdense.observations import observe
from bayesdense.simulate.folder import tables_of
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.refits import Length, Study, default_folder, study_of
from bayesdense.studies.selection import WHOLE
from bayesdense.summary import strict
from bayesdense.trends import form_of
from bayesdense.trends.known import TRENDS
from bayesdense.wording import json_text, told

type Json = dict[str, Any]
RESULT_NAME: Final = "compare.json"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A log marginal likelihood at a width of the trend's priors.

    Attributes
    ----------
    value, se
        Nats; None where it failed.
    how
        "bridge"; "importance", by weights of the draws at width 1; or "refit", by bridge sampling
        of a fit at this width, where weights fail.
    """

    value: float | None
    se: float | None
    how: str


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """What is known of one trend.

    Attributes
    ----------
    name
        Kind of the trend.
    scores
        Predictive densities: families, LLMs and blocks of time left out.
    evidence
        Log marginal likelihood by factor of the priors' widths (`widths.WIDTHS`).
    smc
        Second opinion on the log marginal likelihood: value (None where chains disagree), se and
        spread; None where it was not asked for or is not offered.
    growth, doubling_time
        Sections of the fit's summary.
    checks
        Of the fit, of the refits, and what failed.
    lfo_mcse
        Monte Carlo error of leave-future-out.
    """

    name: str
    scores: Scores
    evidence: Mapping[float, Evidence]
    smc: Mapping[str, float | None] | None
    growth: Mapping[str, Any]
    doubling_time: Mapping[str, Any]
    checks: Mapping[str, Any]
    lfo_mcse: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Rival trends about one dataset.

    Attributes
    ----------
    dataset
        Name, digest and counts.
    model
        Specification that all share but for the trend.
    hypotheses
        In the order in which they were named.
    pairs
        Every two of them.
    weights_family, weights_lfo
        Stacking weight by name, on families left out and on the future left out; the second is
        empty where that was not done, or failed for one of them.
    probabilities
        Posterior probability by factor of the priors' widths and by name, all hypotheses equally
        probable before; None where a marginal likelihood failed.
    verdict
        The sentence of `verdict.verdict`.
    blocks
        Of leave-future-out; none without.
    power
        What this dataset could tell at all: from the study `power`, if there is one.
    seed
        Root of all random numbers.
    """

    dataset: Mapping[str, Any]
    model: ModelSpec
    hypotheses: tuple[Hypothesis, ...]
    pairs: tuple[Pair, ...]
    weights_family: Mapping[str, float]
    weights_lfo: Mapping[str, float]
    probabilities: Mapping[float, Mapping[str, float | None]]
    verdict: str
    blocks: tuple[future.Block, ...]
    power: Mapping[str, Any] | None
    seed: int

    def to_dict(self) -> Json:
        """What `compare --format json` prints, as `compare.schema.json` says."""
        content = {
            "schema": SCHEMA_VERSION,
            "dataset": dict(self.dataset),
            "model": {
                "name": self.model.name,
                "residual": self.model.residual,
                "reference_tokens": self.model.options.reference_tokens
                if self.model.is_joint
                else None,
            },
            "hypotheses": [_hypothesis_json(one, self) for one in self.hypotheses],
            "differences": [_pair_json(pair) for pair in self.pairs],
            "verdict": self.verdict,
            "power": None if self.power is None else dict(self.power),
            "blocks": [
                {
                    "start": block.start,
                    "end": block.end,
                    "n_llms": len(block.llms),
                    "n_llms_before": block.n_llms_before,
                    "n_families_before": block.n_families_before,
                }
                for block in self.blocks
            ],
            "seed": self.seed,
        }
        plain: Json = strict(content)
        return plain

    def to_json(self) -> str:
        """Strict JSON with a final newline."""
        return json_text(self.to_dict()) + "\n"

    @property
    def table(self) -> pd.DataFrame:
        """One row a hypothesis, best predictor of unseen families first."""
        rows = self.to_dict()["hypotheses"]
        columns = (
            *("name", "elpd_loo", "elpd_loo_se", "weight_loo", "elpd_lfo", "elpd_lfo_se"),
            *("weight_lfo", "log_ml", "log_ml_se", "log_ml_smc", "posterior_probability"),
        )
        frame = pd.DataFrame([{name: row[name] for name in columns} for row in rows])
        return frame.sort_values("elpd_loo", ascending=False, ignore_index=True)

    def __repr__(self) -> str:
        """Verdict and table."""
        return f"{self.verdict}\n{self.table.round(2).to_string(index=False, na_rep='-')}"


def compare(
    dataset: str | Path | Dataset,
    trends: Sequence[str],
    *,
    spec: ModelSpec | None = None,
    lfo: bool = False,
    check_evidence: bool = False,
    draws: int = DEFAULT_DRAWS,
    tune: int = DEFAULT_TUNE,
    chains: int = DEFAULT_CHAINS,
    seed: int = DEFAULT_SEED,
    out: str | Path | None = None,
    executor: str | Submits = "processes",
    workers: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    power: Mapping[str, Any] | None = None,
) -> Comparison:
    """Compare trend hypotheses about one dataset.

    Each is fitted to everything, and scored by families left out one at a time (Pareto-smoothed
    importance sampling, exact refits where its weights fail), by LLMs left out one at a time, with
    `lfo` by blocks of 91 days foretold from what was known before them, and by its marginal
    likelihood (bridge sampling) at five widths of the trend's priors.

    Parameters
    ----------
    dataset
        Name of a shipped dataset, or folder: workers find it again by that. A shipped dataset as
        `load_dataset` reads it will do, too.
    trends
        Kinds of the trend, two or more.
    spec
        What they share; by default `joint`, or `trend_only` for a dataset of densities.
    lfo
        Leave the future out, too: as many refits as there are blocks and one more, for each trend.
        Without it the verdict is provisional.
    check_evidence
        Second opinions on marginal likelihoods: sequential Monte Carlo where it is offered (given
        densities, a normal residual, fewer than 10 parameters), and the Savage-Dickey ratio of
        hypotheses nested in one another.
    draws, tune, chains
        Of every fit, as in `fit`.
    seed
        Root of all random numbers.
    out
        Folder of the jobs; None: `studies/compare-<dataset>`. `compare.json` is written there.
    executor, workers, resume, progress
        As in `bayesdense.jobs.run_jobs`. Results do not depend on who runs them. Where a trend is
        the user's own all fits run in this process, which alone knows it.
    power
        What `studies.power_result.read_power` read of a study of this dataset, to stand beside the
        verdict.

    Returns
    -------
    Comparison
        Of every pair, with the verdict; also as JSON.

    Raises
    ------
    SpecError
        Fewer than two trends, one twice, one that the model or the data cannot carry, or a model
        with a cut. Before any work.
    BayesdenseError
        A hypothesis that cannot be fitted, leave-future-out with too few families, or a folder
        that cannot be written or holds other files.

    Examples
    --------
    >>> found = compare("densing", ["exponential", "flat"])  # doctest: +SKIP
    >>> print(found.verdict)  # doctest: +SKIP
    """
    about = study_of(_found_by(dataset), Length(draws, tune, chains), seed)
    base = spec or load_spec(about.dataset.default_model)
    specs = _specs(base, about.dataset, trends)
    laid = future.blocks(observe(base, about.dataset).llms) if lfo else ()
    study = _Study(about, MappingProxyType(specs), laid, check_evidence)
    folder = default_folder("compare", about.where) if out is None else Path(out)
    found: dict[Job, Result] = {}
    for wave in (study.first, study.second):
        jobs = [*found, *wave(found)]
        outcomes = run_jobs(
            jobs,
            folder,
            executor="serial" if _is_known_here_alone(trends) else executor,
            workers=workers,
            resume=resume or bool(found),
            progress=progress,
            more_follow=not found,
        )
        found = {job: _result(outcomes[job.key]) for job in jobs}
        for name in specs:
            if "failed" in found[study.main(name)]:
                raise BayesdenseError(f"trend {name!r}: {found[study.main(name)]['failed']}")
    compared = _assembled(study, base, found, power)
    write_text_atomic(folder / RESULT_NAME, compared.to_json())
    return compared


def _is_known_here_alone(trends: Sequence[str]) -> bool:
    """Whether a trend is one that a user has added in this process."""
    return any(form_of(trend) not in TRENDS for trend in trends)


def _found_by(dataset: str | Path | Dataset) -> str | Path:
    """Name or folder by which workers find a dataset.

    A dataset in memory may have been changed since it was read, which its digest does not say.
    """
    if not isinstance(dataset, Dataset):
        return dataset
    if dataset.name in dataset_names():
        shipped = tables_of(load_dataset(dataset.name)).frames
        given = tables_of(dataset).frames
        if set(shipped) == set(given) and all(shipped[n].equals(given[n]) for n in given):
            return dataset.name
    raise BayesdenseError(
        f"compare: dataset {told(dataset.name)} is none that ships; give its folder in place of "
        "the loaded dataset, as fits run in other processes"
    )


def _result(outcome: Outcome) -> Result:
    """What a job found, or the one entry `failed`, which says why it did not."""
    if outcome.failure is None:
        return dict(outcome.result)
    failure = outcome.failure
    is_own = hasattr(errors, failure.type)
    return {"failed": failure.message if is_own else f"{failure.type}: {failure.message}"}


def _specs(base: ModelSpec, dataset: Dataset, trends: Sequence[str]) -> dict[str, ModelSpec]:
    """Model of every hypothesis; refuses, before any work, what cannot be compared."""
    if base.options.feedback == "cut":
        raise SpecError(
            'feedback = "cut" cannot be compared: its pooled draws are of no posterior given all '
            "data, so that neither marginal likelihood nor leaving one out has a meaning; use "
            'feedback = "joint"'
        )
    if len(trends) < 2:
        raise SpecError(f"trends: {', '.join(trends) or 'none'}, allowed: two or more")
    if doubled := next((name for k, name in enumerate(trends) if name in trends[:k]), None):
        raise SpecError(f"trends: {told(doubled)} is there twice")
    specs = {name: base.with_options(trend=name) for name in trends}
    for one in specs.values():
        observe(one, dataset)
    return specs


_BLOCKS: Final = MappingProxyType({"days": future.BLOCK_DAYS, "families": future.LEAST_FAMILIES})


@dataclass(frozen=True, slots=True, eq=False)
class _Study:
    """What the jobs of a comparison share."""

    about: Study
    specs: Mapping[str, ModelSpec]
    blocks: tuple[future.Block, ...]
    check: bool

    @property
    def dataset(self) -> Dataset:
        """The data."""
        return self.about.dataset

    def job(self, function: JobFunction, name: str, **params: object) -> Job:
        """A job about a hypothesis."""
        return self.about.job(function, self.specs[name], WHOLE, **params)

    def main(self, name: str) -> Job:
        """Fit of a hypothesis to everything."""
        return self.job(hypothesis, name, check=self.check)

    def first(self, _: Mapping[Job, Result]) -> Iterator[Job]:
        """Fits of all hypotheses, then their leave-future-out."""
        yield from (self.main(name) for name in self.specs)
        for name in self.specs:
            yield from self.until(name)

    def second(self, found: Mapping[Job, Result]) -> Iterator[Job]:
        """What the first fits could not tell by weights alone."""
        for name in self.specs:
            result = found[self.main(name)]
            yield from (self.without(name, family) for family in result["failed_families"])
            yield from self.widths(name, result)

    def until(self, name: str) -> Iterator[Job]:
        """Refits of a hypothesis, one more than blocks."""
        if self.blocks:
            for k in range(len(self.blocks) + 1):
                yield self.job(until, name, blocks=dict(_BLOCKS), k=k)

    def without(self, name: str, family: str) -> Job:
        """Refit without a family."""
        return self.job(without_family, name, family=family)

    def widths(self, name: str, result: Result) -> Iterator[Job]:
        """Refits with other priors, where weights fail."""
        for factor in WIDTHS:
            if not result["widths"][str(factor)]["reliable"]:
                yield self.width(name, factor)

    def width(self, name: str, factor: float) -> Job:
        """Refit with other priors."""
        return self.job(at_width, name, factor=factor)


def _assembled(
    study: _Study,
    base: ModelSpec,
    found: Mapping[Job, Result],
    power: Mapping[str, Any] | None,
) -> Comparison:
    """Put results together."""
    hypotheses = tuple(_read(study, name, found) for name in study.specs)
    scores = {one.name: one.scores for one in hypotheses}
    later = {name: one.lfo for name, one in scores.items() if one.lfo is not None}
    compared = pairs(scores)
    return Comparison(
        dataset=study.dataset.summary() | counts_of(observe(base, study.dataset)),
        model=base,
        hypotheses=hypotheses,
        pairs=compared,
        weights_family=stacking_weights({name: one.family for name, one in scores.items()}),
        weights_lfo=stacking_weights(later) if len(later) == len(scores) else {},
        probabilities={
            factor: posterior_probabilities(
                {one.name: one.evidence[factor].value for one in hypotheses}
            )
            for factor in WIDTHS
        },
        verdict=verdict(list(scores), compared),
        blocks=study.blocks,
        power=power,
        seed=study.about.seed,
    )


def _read(study: _Study, name: str, found: Mapping[Job, Result]) -> Hypothesis:
    """What was found of one hypothesis."""
    main, failures = found[study.main(name)], list[str]()
    refits = {family: found[study.without(name, family)] for family in main["failed_families"]}
    later = [found[job] for job in study.until(name)]
    family = _exact_families(main, refits, failures)
    lfo, mcse = _foretold(study, name, later, failures)
    evidence = {factor: _evidence_at(study, name, factor, found, failures) for factor in WIDTHS}
    smc, nested, own = main["smc"], main["nested"], evidence[1.0]
    if smc is not None and smc["value"] is None:
        failures.append(f"sequential Monte Carlo: chains {smc['spread']:.1f} nats apart")
    inner = None
    if nested is not None and nested["reliable"]:
        inner = (nested["name"], Difference(nested["value"], nested["se"]))
    elif nested is not None:
        failures.append(f"Savage-Dickey ratio over {nested['name']}: {nested['problem']}")
    llm = from_json(main["llm"])
    again = [found[job] for job in study.widths(name, main)]
    rhats = [one["max_rhat"] for one in (*refits.values(), *later, *again) if one.get("max_rhat")]
    checks = main["checks"] | {
        "pareto_k_families": list(family.failed),
        "pareto_k_llms": list(llm.failed),
        "refitted_families": [one for one in refits if one not in family.failed],
        "max_rhat_refits": max(rhats, default=None),
        "failures": failures,
    }
    known = None if own.value is None or own.se is None else (own.value, own.se)
    return Hypothesis(
        name=name,
        scores=Scores(family, llm, lfo, known, inner),
        evidence=MappingProxyType(evidence),
        smc=smc,
        growth=main["growth_rate_per_year"],
        doubling_time=main["doubling_time_days"],
        checks=MappingProxyType(checks),
        lfo_mcse=mcse,
    )


def _exact_families(main: Result, refits: Mapping[str, Result], failures: list[str]) -> Pointwise:
    """Families left out, by refits where weights fail; adds to `failures` those that fail too."""

    def exact(family: str) -> float | None:
        try:
            _refuse_failed(refits[family])
            at_whole = np.array(main["failed_families"][family])
            return foretold(np.array(refits[family]["gains"]), at_whole).log_density
        except BayesdenseError as error:
            failures.append(f"without family {family}: {error}")
            return None

    return with_refits(from_json(main["family"]), exact)


def _foretold(
    study: _Study, name: str, refits: Sequence[Result], failures: list[str]
) -> tuple[Pointwise | None, float | None]:
    """Leave-future-out of a hypothesis and its Monte Carlo error; none where a block fails."""
    if not refits:
        return None, None
    found = []
    for block, one, other in zip(study.blocks, refits, refits[1:], strict=False):
        try:
            _refuse_failed(one)
            _refuse_failed(other)
            found.append(foretold(np.array(one["ahead"][0]), np.array(other["behind"][0])))
        except BayesdenseError as error:
            failures.append(f"leave-future-out, block {block.start}: {error}")
    if len(found) < len(study.blocks):
        return None, None
    llms = observe(study.specs[name], study.dataset).llms
    units = [(b.start, family) for b in study.blocks for family in future.families_in(llms, b)]
    parts = np.concatenate([one.parts for one in found])
    pointwise = Pointwise(
        tuple(f"{start} {family}" for start, family in units),
        tuple(family for _, family in units),
        parts,
        np.zeros(len(parts)),
        RELIABLE_K,
    )
    return pointwise, float(np.sqrt(sum(one.se**2 for one in found)))


def _refuse_failed(result: Result) -> None:
    """Raise what a job raised."""
    if "failed" in result:
        raise BayesdenseError(result["failed"])


def _evidence_at(
    study: _Study,
    name: str,
    factor: float,
    found: Mapping[Job, Result],
    failures: list[str],
) -> Evidence:
    """Log marginal likelihood at a width: by bridge, by weights, or by a refit's bridge."""
    main = found[study.main(name)]
    log_ml, change = main["log_ml"], main["widths"][str(factor)]
    how = "bridge" if factor == 1.0 else "importance" if change["reliable"] else "refit"
    if how == "refit":
        refit = found[study.width(name, factor)]
        log_ml = refit.get("log_ml", {"value": None, "se": None, "failed": refit.get("failed")})
    if log_ml["failed"] and how != "importance":  # whose failure is the bridge's
        failures.append(f"evidence at {factor:g} times the priors' widths: {log_ml['failed']}")
    if how != "importance" or log_ml["value"] is None:
        return Evidence(log_ml["value"], log_ml["se"], how)
    error = float(np.hypot(log_ml["se"], change["se"]))
    return Evidence(log_ml["value"] + change["value"], error, how)


def _hypothesis_json(one: Hypothesis, among: Comparison) -> Json:
    """One entry of `hypotheses`."""
    scores, smc = one.scores, one.smc
    log_ml, log_ml_se = scores.log_ml or (None, None)
    doubling = {key: value for key, value in one.doubling_time.items() if key != "statement"}
    return {
        "name": one.name,
        "elpd_loo": scores.family.total,
        "elpd_loo_se": scores.family.se,
        "elpd_loo_llm": scores.llm.total,
        "elpd_loo_llm_se": scores.llm.se,
        "elpd_lfo": None if scores.lfo is None else scores.lfo.total,
        "elpd_lfo_se": None if scores.lfo is None else scores.lfo.se,
        "elpd_lfo_mcse": one.lfo_mcse,
        "weight_loo": among.weights_family[one.name],
        "weight_lfo": among.weights_lfo.get(one.name),
        "log_ml": log_ml,
        "log_ml_se": log_ml_se,
        "log_ml_smc": None if smc is None else smc["value"],
        "log_ml_smc_se": None if smc is None else smc["se"],
        "posterior_probability": among.probabilities[1.0][one.name],
        "prior_widths": [
            {
                "factor": factor,
                "log_ml": found.value,
                "log_ml_se": found.se,
                "how": found.how,
                "posterior_probability": among.probabilities[factor][one.name],
            }
            for factor, found in one.evidence.items()
        ],
        "growth_rate_per_year": dict(one.growth),
        "doubling_time_days": doubling,
        "checks": dict(one.checks),
    }


def _pair_json(pair: Pair) -> Json:
    """One entry of `differences`."""
    lfo, log_ml, nested = pair.lfo, pair.log_ml, pair.nested
    return {
        "a": pair.a,
        "b": pair.b,
        "elpd_diff": pair.family.elpd_diff,
        "se": pair.family.se,
        "elpd_diff_llm": pair.llm.elpd_diff,
        "se_llm": pair.llm.se,
        "elpd_diff_lfo": None if lfo is None else lfo.elpd_diff,
        "se_lfo": None if lfo is None else lfo.se,
        "log_bayes_factor": None if log_ml is None else log_ml.elpd_diff,
        "log_bayes_factor_se": None if log_ml is None else log_ml.se,
        "log_bayes_factor_savage_dickey": None if nested is None else nested.elpd_diff,
        "log_bayes_factor_savage_dickey_se": None if nested is None else nested.se,
        "decisive": pair.decisive,
    }
