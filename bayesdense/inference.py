"""Posterior inference: from a model and a dataset to a fit with everything that belongs to it."""

import logging
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np

from bayesdense import fit_tree
from bayesdense.card import card_facts
from bayesdense.cores import usable_cores
from bayesdense.dataset import Dataset
from bayesdense.engine.cut import sample_cut
from bayesdense.engine.joint import Prepared, prepare_on, sample_joint, sample_prepared
from bayesdense.engine.runs import Settings
from bayesdense.engine.sample import Progress
from bayesdense.errors import SpecError
from bayesdense.interrupts import never_interrupted, noticing_interrupts
from bayesdense.names import (
    ALLOWED_COUNTS,
    DEFAULT_CHAINS,
    DEFAULT_DRAWS,
    DEFAULT_SEED,
    DEFAULT_TUNE,
    MOST_DRAWS,
)
from bayesdense.observations import Observations, observe
from bayesdense.results import Fit
from bayesdense.sizes import ahead
from bayesdense.spec import ModelSpec

_LOG = logging.getLogger(__name__)
SAMPLERS = ("nutpie", "pymc", "numpyro")
_PACKAGES = (
    *("pymc", "pytensor", "nutpie", "arviz", "arviz-stats"),
    *("numba", "numpy", "pandas", "scipy", "xarray"),
)


def fit(
    spec: ModelSpec,
    dataset: Dataset,
    *,
    draws: int = DEFAULT_DRAWS,
    tune: int = DEFAULT_TUNE,
    chains: int = DEFAULT_CHAINS,
    seed: int = DEFAULT_SEED,
    sampler: str = "nutpie",
    cores: int | None = None,
    progress: Progress | None = None,
    prepared: Prepared | None = None,
) -> Fit:
    """Sample the posterior of a model on a dataset and derive what is read from it.

    Warnings about the dataset are logged, and kept in the fit.

    Parameters
    ----------
    spec
        The model, from `load_spec`.
    dataset
        The data, from `load_dataset`.
    draws, tune, chains
        Draws kept of each chain, steps before them, and chains.
    seed
        Of everything random; the same seed, machine and versions give the same draws.
    sampler
        `nutpie` (in this package's coordinates), or PyMC's own NUTS (`pymc`) or NumPyro's
        (`numpyro`) on the `pm.Model` as it stands: slower, for comparison.
    cores
        Chains at a time; None: as many as the machine has.
    progress
        Called as (draws done, draws in all, divergences) while sampling.
    prepared
        From `prepare`: the model as learnt on a dataset of the same shape. Saves most of the time
        of many fits, to replicated data or to data with some scores altered; 100 steps of tuning
        are then enough.

    Returns
    -------
    Fit
        With the groups posterior, sample_stats, log_likelihood, log_prior, prior,
        prior_predictive, posterior_predictive, observed_data, constant_data and what the checks
        read.

    Raises
    ------
    SpecError
        Where model, dataset and options do not fit each other.
    KeyboardInterrupt
        On Ctrl-C; nothing of an interrupted run is returned.
    """
    _check_kinds(spec, dataset)
    data = observe(spec, dataset)
    about = dataset.summary() | counts_of(data)
    about["reference_params"] = dataset.card.get("reference_params")
    about |= {"card": card_facts(dataset.card), "excluded": excluded(spec, dataset)}
    for text in (*dataset.warnings, *data.warnings):
        _LOG.warning("%s: %s", dataset.name, text)
    return fit_observations(
        spec,
        data,
        about=about,
        warnings=dataset.warnings,
        draws=draws,
        tune=tune,
        chains=chains,
        seed=seed,
        sampler=sampler,
        cores=cores,
        progress=progress,
        prepared=prepared,
    )


def prepare(
    spec: ModelSpec,
    dataset: Dataset,
    *,
    chains: int = DEFAULT_CHAINS,
    seed: int = DEFAULT_SEED,
    cores: int | None = None,
) -> Prepared:
    """Learn the shape of a posterior once, for many fits to data of one shape.

    Parameters
    ----------
    spec, dataset
        The model and a dataset that stands for the others.
    chains, seed, cores
        Of the pilot run, as in `fit`.

    Returns
    -------
    Prepared
        For `fit(spec, other, prepared=...)`.

    Raises
    ------
    SpecError
        Where model and dataset do not fit each other, or the model is cut in two.

    Examples
    --------
    >>> ready = prepare(spec, dataset)  # doctest: +SKIP
    >>> fits = [fit(spec, other, prepared=ready, tune=100, draws=500)
    ...         for other in replicates]  # doctest: +SKIP
    """
    _check_kinds(spec, dataset)
    return prepare_observations(spec, observe(spec, dataset), chains=chains, seed=seed, cores=cores)


def prepare_observations(
    spec: ModelSpec,
    data: Observations,
    *,
    chains: int = DEFAULT_CHAINS,
    seed: int = DEFAULT_SEED,
    cores: int | None = None,
) -> Prepared:
    """`prepare` for what a model sees of a dataset."""
    if spec.options.feedback == "cut":
        raise SpecError('feedback = "cut" samples in two stages and cannot be prepared')
    _check_arguments(spec, "nutpie", draws=4, tune=1, chains=chains, seed=seed)
    with noticing_interrupts() as interrupted:
        entropy = np.random.SeedSequence(seed)
        settings = Settings(4, 1, chains, cores, entropy, None, interrupted)
        return prepare_on(spec, data, settings, settings.seeds(1)[0])


def fit_observations(
    spec: ModelSpec,
    data: Observations,
    *,
    about: Mapping[str, object],
    warnings: Sequence[str] = (),
    draws: int = DEFAULT_DRAWS,
    tune: int = DEFAULT_TUNE,
    chains: int = DEFAULT_CHAINS,
    seed: int = DEFAULT_SEED,
    sampler: str = "nutpie",
    cores: int | None = None,
    progress: Progress | None = None,
    depth: fit_tree.Depth = "all",
    prepared: Prepared | None = None,
    target_accept: float | None = None,
) -> Fit:
    """Fit what a model sees of a dataset; `about` says which dataset it is (`Dataset.summary`).

    For replicated data, whose priors keep the scales of the data that they replicate; else `fit`.
    Studies of many fits do with less (`fit_tree.Depth`): without the pointwise log likelihoods of a
    joint model, which cost most of what follows sampling, and the checks that rest on them
    (`without_likelihoods`), or without any check but those of the sampling (`posterior`).
    `target_accept`: mean acceptance that step sizes are adapted to; None: what suits the model.
    """
    _check_arguments(spec, sampler, draws=draws, tune=tune, chains=chains, seed=seed)
    if prepared is not None:
        _check_prepared(spec, sampler, prepared)
    watching = noticing_interrupts() if sampler == "nutpie" else nullcontext(never_interrupted)
    several = usable_cores() > 1 and cores != 1
    compiling = ahead.compiling(wanted=several and spec.is_joint and spec.residual == "symmetric")
    with watching as interrupted, compiling as compiled:
        entropy = np.random.SeedSequence(seed)
        settings = Settings(
            draws, tune, chains, cores, entropy, progress, interrupted, target_accept
        )
        if sampler != "nutpie":  # which watches for Ctrl-C itself
            # PyMC takes seconds to import, and the kernel does without
            plain = import_module("bayesdense.engine.plain")
            posterior = plain.sample_pymc(spec, data, sampler, settings)
        elif prepared is not None:
            posterior = sample_prepared(prepared, data, settings)
        elif spec.options.feedback == "cut":
            posterior = sample_cut(spec, data, settings)
        else:
            posterior = sample_joint(spec, data, settings)
        began = time.perf_counter()
        compiled()
        if interrupted():
            raise KeyboardInterrupt
    used = posterior.spec
    tree = fit_tree.assemble(used, data, posterior, seed=seed, depth=depth)
    timings = {**posterior.timings, "derive": time.perf_counter() - began}
    tree.attrs |= fit_tree.root_attributes(
        used,
        data,
        about=about,
        warnings=warnings,
        seed=seed,
        sampler=sampler,
        timings=timings,
        versions=_versions(),
    )
    return Fit(tree, used)


def counts_of(data: Observations) -> dict[str, object]:
    """Count what a model sees of a dataset, which its options decide (`base_only`).

    Returns
    -------
    dict
        n_llms, n_families, n_runs, n_scores (the last two None for densities) and window, as in
        `Dataset.summary`.
    """
    llms, losses, scores = data.llms, data.losses, data.scores
    return {
        "n_llms": len(llms.names),
        "n_families": len(llms.families),
        "n_runs": None if losses is None else int(losses.log_loss.size),
        "n_scores": None if scores is None else int(scores.score.size),
        "window": [min(llms.release_dates), max(llms.release_dates)],
    }


def excluded(spec: ModelSpec, dataset: Dataset) -> list[str]:
    """Name the LLMs of a dataset that a model leaves out: those that are not base LLMs."""
    if dataset.llms is None or not spec.options.base_only:
        return []
    return [str(name) for name in dataset.llms.loc[~dataset.llms["is_base"], "llm"]]


def _versions() -> dict[str, str]:
    """Versions of Python and of what a fit rests on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def _check_kinds(spec: object, dataset: object) -> None:
    """Refuse names and paths, which the loaders take."""
    if not isinstance(spec, ModelSpec):
        raise SpecError(f"spec = {spec!r}, allowed: a model, as load_spec returns it")
    if not isinstance(dataset, Dataset):
        raise SpecError(f"dataset = {dataset!r}, allowed: a dataset, as load_dataset returns it")


def _check_arguments(spec: ModelSpec, sampler: str, **counts: int) -> None:
    """Refuse what cannot be sampled, before any work."""
    for name, value in counts.items():
        least, most = ALLOWED_COUNTS[name]
        if type(value) is not int or not least <= value <= most:  # True is no count
            raise SpecError(f"{name} = {value!r}, allowed: a whole number from {least} to {most}")
    if (total := counts["draws"] * counts["chains"]) > MOST_DRAWS:
        raise SpecError(
            f"draws * chains = {total}, allowed: {MOST_DRAWS} or fewer: no posterior needs more, "
            "and memory holds no more"
        )
    if sampler not in SAMPLERS:
        raise SpecError(f"sampler = {sampler!r}, allowed: {', '.join(SAMPLERS)}")
    if spec.options.feedback == "cut" and sampler != "nutpie":
        raise SpecError('feedback = "cut" needs sampler = "nutpie"')
    if sampler == "numpyro":
        _check_installed("numpyro")


def _check_prepared(spec: ModelSpec, sampler: str, prepared: Prepared) -> None:
    """Refuse what was prepared for another model; only its grid of sizes may be finer."""
    spacing = prepared.spec.options.quadrature_spacing
    if spec.is_joint and spec.with_options(quadrature_spacing=spacing) != prepared.spec:
        raise SpecError(f"model {spec.name!r} is not the one that was prepared; prepare it anew")
    if sampler != "nutpie":
        raise SpecError(f'sampler = {sampler!r} takes nothing prepared; use "nutpie"')


def _check_installed(package: str) -> None:
    """Say how to install an optional package."""
    if find_spec(package) is None:
        raise SpecError(f"{package} is not installed: pip install 'bayesdense[{package}]'")
