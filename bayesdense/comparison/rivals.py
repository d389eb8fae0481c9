"""Rival trends about one dataset: fit them, score them, weigh them, and say what is not known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from bayesdense import errors
from bayesdense.catalog import dataset_names
from bayesdense.comparison import lfo as future
from bayesdense.comparison.answer import Comparison
from bayesdense.comparison.assembly import assembled
from bayesdense.comparison.plan import Plan
from bayesdense.comparison.tasks import Result
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.jobs import Job, Outcome, Progress, run_jobs, write_result
from bayesdense.jobs.crews import Submits
from bayesdense.names import DEFAULT_CHAINS, DEFAULT_DRAWS, DEFAULT_SEED, DEFAULT_TUNE
from bayesdense.observations import observe
from bayesdense.simulate.folder import tables_of
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.refits import Length, default_folder, study_of
from bayesdense.trends import form_of
from bayesdense.trends.known import TRENDS
from bayesdense.wording import told

RESULT_NAME: Final = "compare.json"


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
    plan = Plan(about, MappingProxyType(specs), laid, check_evidence)
    folder = default_folder("compare", about.where) if out is None else Path(out)
    found: dict[Job, Result] = {}
    for wave in (plan.first, plan.second):
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
            if "failed" in found[plan.main(name)]:
                raise BayesdenseError(f"trend {name!r}: {found[plan.main(name)]['failed']}")
    compared = assembled(plan, base, found, power)
    write_result(folder, RESULT_NAME, compared.to_json())
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
