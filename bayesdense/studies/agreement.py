"""Whether two ways to one posterior agree within Monte Carlo error.

`latent` and `marginal` are two implementations of one model, and PyMC's and NumPyro's NUTS sample
its `pm.Model` as it stands, in natural parameters, where nutpie has coordinates of this package.
Each pair of fits is a job with a file of its own, so that a study goes on where it was stopped:
`python -m bayesdense.studies.agreement --help`.
"""

import argparse
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import norm

from bayesdense.checks.sampling import labelled
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.files import write_text_atomic
from bayesdense.inference import fit
from bayesdense.names import CHAIN, DEFAULT_SEED, DRAW
from bayesdense.results import Fit
from bayesdense.spec import load_spec
from bayesdense.studies.bookkeeping import Record, Stopwatch, done_once, made_with

_LOG = logging.getLogger(__name__)
#: Probability that two samples of one posterior are told to differ.
_FALSE_ALARM = 0.01
_TAILS = (0.05, 0.95)
#: Densities are sizes over given numbers of parameters: no other quantities.
_SAME_AS_OTHERS = ("log_density",)
_SIZE = {"draws": 1000, "chains": 4}


class Way(NamedTuple):
    """A way to a posterior; who samples it as it stands has to tune for longer."""

    sampler: str = "nutpie"
    implementation: str = "marginal"
    tune: int = 300

    def fit(self, model: str, dataset: Dataset, *, spacing: float, seed: int, **size: int) -> Fit:
        """Fit a dataset in this way."""
        spec = load_spec(model)
        if spec.is_joint:
            spec = spec.with_options(implementation=self.implementation, quadrature_spacing=spacing)
        return fit(spec, dataset, sampler=self.sampler, tune=self.tune, seed=seed, **size)  # type: ignore[arg-type]  # counts only


class Comparison(NamedTuple):
    """Two ways to the posterior of a model on a dataset; a grid of sizes that needs no refining."""

    dataset: Callable[[], Dataset]
    ways: Mapping[str, Way]
    model: str = "joint"
    spacing: float = 0.125


def thinned(dataset: Dataset, n_llms: int, benchmarks: Sequence[str]) -> Dataset:
    """Keep LLMs with scores on these benchmarks, evenly over their dates, and these benchmarks.

    Parameters
    ----------
    dataset
        With reference runs and scores.
    n_llms
        Number of base LLMs kept, at most as many as have a score.
    benchmarks
        Names of benchmarks kept.
    """
    scores = _of(dataset.scores, "benchmark", benchmarks)
    scored = _of(dataset.llms, "llm", scores["llm"])
    by_date = scored[scored["is_base"]].sort_values("release_date")
    kept = by_date.iloc[np.linspace(0, len(by_date) - 1, n_llms).astype(int)]
    reports = dataset.score_reports
    if reports is not None:
        reports = _of(_of(reports, "benchmark", benchmarks), "llm", kept["llm"])
    return replace(
        dataset,
        benchmarks=_of(dataset.benchmarks, "benchmark", benchmarks),
        runs=_of(dataset.runs, "benchmark", benchmarks),
        loss_scores=_of(dataset.loss_scores, "benchmark", benchmarks),
        llms=kept.reset_index(drop=True),
        scores=_of(scores, "llm", kept["llm"]),
        score_reports=reports,
    )


def _of(table: pd.DataFrame | None, column: str, values: Iterable[object]) -> pd.DataFrame:
    """Rows whose column has one of these values."""
    if table is None:
        raise ValueError("only a dataset with reference runs and scores can be thinned")
    return table[table[column].isin(list(values))].reset_index(drop=True)


def differences(one: xr.Dataset, other: xr.Dataset) -> pd.DataFrame:
    """Differences of means and of tail quantiles of two samples, in their Monte Carlo errors.

    Parameters
    ----------
    one, other
        Posteriors with the same variables; a row for every entry of every variable.

    Returns
    -------
    pandas.DataFrame
        Columns `mean`, `q05` and `q95`: z = difference / sqrt(mcse^2 + mcse^2), about standard
        normal where both sample one posterior.

    Raises
    ------
    ValueError
        The samples have other variables.
    """
    if set(one) != set(other):
        raise ValueError(f"variables of one sample only: {set(one) ^ set(other)}")
    names = [name for name in one if name not in _SAME_AS_OTHERS]
    pair = (one[names], other[names])
    columns = {"mean": _z(pair, lambda draws: draws.mean((CHAIN, DRAW)), method="mean")}
    for prob in _TAILS:
        columns[f"q{100 * prob:02.0f}"] = _z(
            pair,
            lambda draws, prob=prob: draws.quantile(prob, (CHAIN, DRAW)),  # type: ignore[misc]
            method="quantile",
            prob=prob,
        )
    return pd.DataFrame(columns)


def _z(
    pair: tuple[xr.Dataset, xr.Dataset],
    statistic: Callable[[xr.Dataset], xr.Dataset],
    **how: object,
) -> dict[str, float]:
    """Z of a statistic's difference, entry by entry."""
    one, other = (statistic(draws) for draws in pair)
    errors = [az.mcse(draws, **how) for draws in pair]
    out: dict[str, float] = {}
    for name in pair[0].data_vars:
        difference = one[name].values - other[name].values
        z = difference / np.hypot(errors[0][name].values, errors[1][name].values)
        out |= dict(labelled(one[name].copy(data=z)))
    return out


def bound_of(z: pd.DataFrame, false_alarm: float = _FALSE_ALARM) -> float:
    """Largest |z| that two samples of one posterior exceed with this probability (Bonferroni)."""
    return float(norm.isf(false_alarm / (2 * z.size)))


def _thinned_densing(n_llms: int, *benchmarks: str) -> Dataset:
    return thinned(load_dataset("densing"), n_llms, benchmarks)


_IMPLEMENTATIONS = {"marginal": Way(), "latent": Way(implementation="latent")}
_SMALL = partial(_thinned_densing, 12, "MMLU")
_PUBLISHED = partial(load_dataset, "densing-published")
#: Two implementations, sampled alike.
IMPLEMENTATIONS: Mapping[str, Comparison] = MappingProxyType(
    {
        "densing-thinned": Comparison(
            partial(_thinned_densing, 30, "MMLU", "HumanEval"), _IMPLEMENTATIONS
        ),
        "synthetic": Comparison(partial(load_dataset, "synthetic"), _IMPLEMENTATIONS),
    }
)
#: nutpie and the other samplers: of published densities, and of a joint model, on 12 LLMs and one
#: benchmark, as a loss law in natural parameters is a curved ridge on which these are slow.
SAMPLERS: Mapping[str, Comparison] = MappingProxyType(
    {
        f"{where}-{sampler}": Comparison(
            dataset, {"nutpie": Way(), sampler: Way(sampler=sampler, tune=1000)}, model
        )
        for where, dataset, model in (
            ("published", _PUBLISHED, "trend_only"),
            ("densing-small", _SMALL, "joint"),
        )
        for sampler in ("pymc", "numpyro")
    }
)
STUDIES: Mapping[str, tuple[str, Mapping[str, Comparison]]] = MappingProxyType(
    {
        "latent-vs-marginal": ("latent against marginal", IMPLEMENTATIONS),
        "samplers": ("nutpie against the samplers of PyMC and NumPyro", SAMPLERS),
    }
)
JOBS: Mapping[str, Comparison] = MappingProxyType({**IMPLEMENTATIONS, **SAMPLERS})


def run_job(name: str, **size: int) -> Record:
    """Fit a dataset in both ways and compare every quantity of the posterior."""
    job, length = JOBS[name], _SIZE | size
    dataset = job.dataset()
    fits, took = {}, {}
    for k, (key, way) in enumerate(job.ways.items()):
        watch = Stopwatch()
        fits[key] = way.fit(
            job.model, dataset, spacing=job.spacing, seed=DEFAULT_SEED + k, **length
        )
        took[key] = watch.read()
    posteriors = {key: fitted.posterior for key, fitted in fits.items()}
    z = differences(*posteriors.values())
    rhats, least = (_extremes(posteriors, how, list(z.index)) for how in (az.rhat, az.ess))
    return {
        "dataset": name,
        "model": job.model,
        "n_llms": next(iter(posteriors.values())).sizes["llm"],
        "seeds": [DEFAULT_SEED, DEFAULT_SEED + 1],
        **length,
        "tune": {key: way.tune for key, way in job.ways.items()},
        "n_quantities": len(z),
        "n_comparisons": z.size,
        "bound": round(bound_of(z), 3),
        "largest": {str(column): _largest(z[column]) for column in z},
        "rms_z": {str(column): round(float(np.sqrt((z[column] ** 2).mean())), 3) for column in z},
        "max_rhat": rhats,
        "min_ess_bulk": least,
        "divergences": {
            key: int(fitted.group("sample_stats")["diverging"].sum())
            for key, fitted in fits.items()
        },
        "z": {str(row): values.round(2).tolist() for row, values in z.T.items()},
        "took": took,
    }


def _largest(z: pd.Series) -> dict[str, float]:
    """The quantity that differs most."""
    where = str(z.abs().idxmax())
    return {where: round(float(z[where]), 3)}


def _extremes(
    posteriors: Mapping[str, xr.Dataset], diagnostic: Callable[..., xr.Dataset], rows: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Worst R-hat (largest) or ESS (smallest) of each fit, and whose it is."""
    names = sorted({row.partition("[")[0] for row in rows})
    sign = 1 if diagnostic is az.rhat else -1
    out = {}
    for key, draws in posteriors.items():
        found = diagnostic(draws[names])
        values = {k: v for name in names for k, v in labelled(found[name])}
        worst = max(values, key=lambda k: sign * values[k])
        out[key] = {worst: round(values[worst], 4)}
    return out


def run_study(names: Sequence[str], out: Path) -> list[Record]:
    """Run the jobs that have no file yet; return all of them."""
    jobs = []
    for name in names:
        job = done_once(out / f"{name}.json", partial(run_job, name))
        _LOG.info("%s: %s of %s", name, job["largest"], job["bound"])
        jobs.append(job)
    return jobs


def main() -> None:
    """Run a study and write its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/agreement"))
    parser.add_argument("--summaries", type=Path, default=Path("docs/evidence"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    study, jobs = STUDIES[arguments.study]
    record = {"study": study, **made_with(), "jobs": run_study(list(jobs), arguments.out)}
    path = arguments.summaries / f"{arguments.study}.json"
    write_text_atomic(path, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
