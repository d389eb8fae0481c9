"""The settings that race: each takes a seed and returns its draws, statistics and seconds."""

import importlib.util
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import nutpie
import pymc as pm
import textbook
import xarray as xr
from nutpie.compile_pymc import CompiledPyMCModel
from textbook import GLOBALS, VERSIONS, Version
from threadpoolctl import threadpool_limits

from bayesdense import load_dataset, load_spec
from bayesdense.inference import counts_of, fit_observations
from bayesdense.observations import Observations

#: nutpie's settings that are tried; the best on the tuning seeds races on others.
TUNED: Mapping[str, Mapping[str, object]] = {
    "tune-1000": {"tune": 1000},
    "tune-1000 accept-.9": {"tune": 1000, "target_accept": 0.9},
    "tune-1000 low-rank": {"tune": 1000, "adaptation": "low_rank"},
}
#: The best of them on a tuning seed, which --quick takes as given; a full run chooses anew.
CHOSEN = "textbook centred nutpie tune-1000"
OURS = "bayesdense 4x1000"
DEFAULTS = {version: f"textbook {version} pm.sample" for version in VERSIONS}


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Draws of the global parameters, the sampler's statistics, and wall seconds."""

    draws: xr.Dataset
    stats: xr.Dataset
    sample_s: float
    compile_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One setting; `missing` says why it cannot run here."""

    name: str
    run: Callable[[int], Drawn]
    is_slow: bool = False
    missing: str = ""


def contenders(dataset: str) -> list[Contender]:
    """Every setting, those of the tuning list apart."""
    found = [
        Contender(OURS, lambda seed: run_bayesdense(dataset, seed, chains=4, draws=1000)),
        # as many chains and draws as pm.sample takes by default on two cores
        Contender(
            "bayesdense 2x1000", lambda seed: run_bayesdense(dataset, seed, chains=2, draws=1000)
        ),
    ]
    found += [
        Contender(name, lambda seed, version=version: run_pymc(dataset, version, seed))
        for version, name in DEFAULTS.items()
    ]
    for sampler, package in (("pymc", "pymc"), ("numpyro", "numpyro")):
        found += [
            Contender(
                f"textbook {version} {'NUTS of PyMC' if sampler == 'pymc' else 'NumPyro'}",
                lambda seed, version=version, sampler=sampler: run_pymc(
                    dataset, version, seed, sampler=sampler
                ),
                is_slow=True,
                missing="" if importlib.util.find_spec(package) else f"{package} not installed",
            )
            for version in VERSIONS
        ]
    has_stan = any(importlib.util.find_spec(name) for name in ("cmdstanpy", "stan"))
    why = "no Stan program is kept here" if has_stan else "neither cmdstanpy nor pystan installed"
    found.append(Contender("Stan", _never, is_slow=True, missing=why))
    return found


def tuned(dataset: str) -> list[Contender]:
    """nutpie's settings on the textbook model, in both versions."""
    return [
        Contender(
            f"textbook {version} nutpie {name}",
            lambda seed, version=version, options=options: run_nutpie(
                dataset, version, seed, options
            ),
        )
        for version in VERSIONS
        for name, options in TUNED.items()
    ]


def run_bayesdense(dataset: str, seed: int, *, chains: int, draws: int) -> Drawn:
    """Sample as `bayesdense.fit` does; the search for the mode and the pilot run are adaptation."""
    spec, data = load_spec("joint"), observations(dataset)
    fit = fit_observations(
        spec,
        data,
        about=load_dataset(dataset).summary() | counts_of(data),
        draws=draws,
        chains=chains,
        seed=seed,
        log_likelihood=False,  # derived after sampling, and not read here
    )
    posterior, stats = (fit.tree[name].to_dataset() for name in ("posterior", "sample_stats"))
    return Drawn(posterior[list(GLOBALS)], stats, fit.timings["sample"], fit.timings["compile"])


def run_pymc(
    dataset: str,
    version: Version,
    seed: int,
    *,
    sampler: str | None = None,
    draws: int = 1000,
    chains: int | None = None,
) -> Drawn:
    """Sample by `pm.sample`; its default, nutpie, is handed the model as compiled once for all."""
    began = time.perf_counter()
    model = textbook_model(dataset, version)
    shared = None if sampler else compiled_textbook(dataset, version)
    with model, sharing(shared.model) if shared else nullcontext():
        tree = pm.sample(
            draws,
            chains=chains,
            random_seed=seed,
            nuts_sampler=sampler,
            quiet=True,
            compute_convergence_checks=False,
        )
    posterior = tree["posterior"].to_dataset()
    sample = float(posterior.attrs["sampling_time"])
    compiled = shared.seconds if shared else time.perf_counter() - began - sample
    stats = tree["sample_stats"].to_dataset()
    return Drawn(posterior[list(GLOBALS)], stats, sample, compiled)


def run_nutpie(dataset: str, version: Version, seed: int, options: Mapping[str, object]) -> Drawn:
    """Sample by nutpie with options of its own, chains and draws as `pm.sample` takes them."""
    shared = compiled_textbook(dataset, version)
    began = time.perf_counter()
    # as pm.sample does: two chains on two cores, and BLAS threads beside them, only wait
    with threadpool_limits(limits=1):
        tree = nutpie.sample(
            shared.model,
            draws=1000,
            chains=2,
            seed=seed,
            save_warmup=False,
            progress_bar=False,
            **options,
        )
    sample = time.perf_counter() - began
    draws = tree["posterior"].to_dataset()[list(GLOBALS)]
    return Drawn(draws, tree["sample_stats"].to_dataset(), sample, shared.seconds)


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """nutpie's form of a model, and the seconds that it took."""

    model: CompiledPyMCModel
    seconds: float


def sharing(compiled: CompiledPyMCModel) -> AbstractContextManager[object]:
    """Spare `pm.sample` compiling the same model for every seed, which no result depends on."""
    return patch.object(nutpie, "compile_pymc_model", lambda *_, **__: compiled)


@cache
def observations(dataset: str) -> Observations:
    """What both sides see."""
    return textbook.load(dataset)


@cache
def textbook_model(dataset: str, version: Version) -> pm.Model:
    """The textbook model."""
    return textbook.build(observations(dataset), version)


@cache
def compiled_textbook(dataset: str, version: Version) -> Compiled:
    """The textbook model, compiled once."""
    model = textbook_model(dataset, version)
    began = time.perf_counter()
    compiled = nutpie.compile_pymc_model(model)
    return Compiled(compiled, time.perf_counter() - began)


def _never(seed: int) -> Drawn:
    raise RuntimeError(f"no sampler for seed {seed}")
