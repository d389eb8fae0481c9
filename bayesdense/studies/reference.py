"""Reference posteriors: what a shipped model says of a shipped dataset, by long runs.

A fit of today is held against them within Monte Carlo error, so that a number that has drifted is
seen. Each pair of model and dataset is a file: `python -m bayesdense.studies.reference --help`.
"""

import argparse
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayesdense import derive
from bayesdense.checks.sampling import labelled
from bayesdense.dataset import load_dataset
from bayesdense.derive.draws import SAMPLE_DIMS
from bayesdense.errors import BayesdenseError
from bayesdense.files import write_text_atomic
from bayesdense.inference import fit_observations
from bayesdense.names import (
    CHAIN,
    DEFAULT_CHAINS,
    DEFAULT_DRAWS,
    DEFAULT_SEED,
    DEFAULT_TUNE,
    FAMILY,
    LLM,
)
from bayesdense.observations import observe
from bayesdense.result_files import read_object
from bayesdense.results import Fit
from bayesdense.studies.bookkeeping import Record, Stopwatch, made_with
from bayesdense.studies.variants import Variant

_LOG = logging.getLogger(__name__)
_COMMAND: Final = "python -m bayesdense.studies.reference"
#: Every shipped model on every shipped dataset that it fits.
PAIRS: Mapping[str, Variant] = MappingProxyType(
    {
        "trend_only-densing-published": Variant("densing-published", "trend_only"),
        "trend_only-densing-published-mmlu": Variant("densing-published-mmlu", "trend_only"),
        "joint-olmo-ladder": Variant("olmo-ladder"),
        "joint-densing": Variant("densing"),
        "joint-synthetic": Variant("synthetic"),
    }
)
#: Of every hundred draws of a fit to these one or two diverge. Their references take steps of half
#: the length, which get into narrow corners: a fit that left them out would differ.
_NARROW: Final = ("joint-olmo-ladder", "joint-synthetic")
#: LLMs whose sizes are kept, evenly over the dates of release.
_N_LLMS: Final = 5
_QUANTILES: Final = MappingProxyType({"q02.5": 0.025, "q50": 0.5, "q97.5": 0.975})
#: Statistics that are compared. The tails' are kept for readers: a fit's 4,000 draws tell their
#: Monte Carlo errors too roughly for a bound that is to hold for hundreds at once.
STATISTICS: Final = ("mean", "sd", "q50")
#: Their mean and sd do not exist where growth may be 0: quantiles only.
_WITHOUT_MOMENTS: Final = ("doubling_time_days",)


@dataclass(frozen=True, slots=True)
class Length:
    """Seeds of the runs that are pooled, each with a pilot of its own, and the size of each."""

    seeds: tuple[int, ...] = (1, 2, 3, 4)
    chains: int = 4
    draws: int = 2500
    tune: int = 500
    target_accept: float | None = None


#: A fit as users ask for it.
FIT: Final = Length((DEFAULT_SEED,), DEFAULT_CHAINS, DEFAULT_DRAWS, DEFAULT_TUNE, None)


def length_of(name: str) -> Length:
    """Length of a pair's reference."""
    return Length(target_accept=0.95) if name in _NARROW else Length()


def sampled(pair: Variant, length: Length, seed: int) -> Fit:
    """Fit a pair once, without what no reference holds."""
    spec, dataset = pair.spec, load_dataset(pair.dataset)
    return fit_observations(
        spec,
        observe(spec, dataset),
        about=dataset.summary(),
        draws=length.draws,
        tune=length.tune,
        chains=length.chains,
        seed=seed,
        cores=1,
        depth="posterior",
        target_accept=length.target_accept,
    )


def quantities(fit: Fit) -> xr.Dataset:
    """Draws of what a reference holds: global parameters, doubling time, sizes of a few LLMs.

    All that is sampled but effects of families, which are known by their sd and by the sizes.
    """
    draws = fit.posterior
    by_date = fit.group("constant_data")["release_year"].to_series().sort_values(kind="stable")
    some = by_date.index[np.linspace(0, len(by_date) - 1, _N_LLMS).astype(int)]
    kept = {
        name: values.sel({LLM: list(some)}) if LLM in values.dims else values
        for name, values in draws.data_vars.items()
        if FAMILY not in values.dims and name != "log_density"
    }
    # Without growth density never doubles.
    growth = derive.growth_rate(fit).draws
    days = derive.doubling_time(fit).draws.where(growth > 0, np.inf)
    return xr.Dataset(kept | {"doubling_time_days": days}).drop_attrs()


def statistics(draws: xr.Dataset) -> pd.DataFrame:
    """Mean, sd and quantiles of draws with their Monte Carlo errors, ESS and R-hat, as ArviZ's.

    Returns
    -------
    pandas.DataFrame
        A row for every entry of every variable; columns `mean`, `mcse_mean` and so on, `ess_bulk`,
        `ess_tail`, `r_hat`.
    """
    moments = draws.drop_vars(_WITHOUT_MOMENTS)
    columns = {
        "mean": moments.mean(SAMPLE_DIMS),
        "mcse_mean": az.mcse(moments, method="mean"),
        "sd": moments.std(SAMPLE_DIMS, ddof=1),
        "mcse_sd": az.mcse(moments, method="sd"),
    }
    for name, prob in _QUANTILES.items():
        columns[name] = draws.quantile(prob, SAMPLE_DIMS)
        columns[f"mcse_{name}"] = az.mcse(draws, method="quantile", prob=prob)
    columns |= {f"ess_{kind}": az.ess(draws, method=kind) for kind in ("bulk", "tail")}
    columns["r_hat"] = az.rhat(draws)
    return pd.DataFrame(
        {
            name: dict(entry for array in values.values() for entry in labelled(array))
            for name, values in columns.items()
        }
    )


def make(name: str, length: Length) -> Record:
    """Sample a pair for each seed and pool the draws: a reference, as its file holds it."""
    pair, about, watch = PAIRS[name], made_with(), Stopwatch()
    fits = []
    for seed in length.seeds:
        one = sampled(pair, length, seed)
        fits.append((quantities(one), int(one.group("sample_stats")["diverging"].sum())))
        _LOG.info("%s, seed %d: %s", name, seed, watch.read())
    found = statistics(pooled([draws for draws, _ in fits]))
    return {
        "pair": name,
        "model": pair.model,
        "changes": list(pair.changes),
        "dataset": pair.dataset,
        "spec_digest": pair.spec.digest,
        "dataset_digest": load_dataset(pair.dataset).digest,
        "command": f"{_COMMAND} {name}",
        **about,
        **watch.read(),
        "runs": asdict(length),
        "divergences": [count for _, count in fits],
        "max_r_hat": _rounded(found["r_hat"].max()),
        "min_ess_bulk": _rounded(found["ess_bulk"].min()),
        "quantities": {
            str(row): {str(key): _rounded(value) for key, value in values.items()}
            for row, values in found.iterrows()
        },
    }


def pooled(runs: Sequence[xr.Dataset]) -> xr.Dataset:
    """Chains of all runs side by side."""
    together = xr.concat(runs, dim=CHAIN)
    return together.assign_coords({CHAIN: np.arange(together.sizes[CHAIN])})


def _rounded(value: float) -> float | None:
    """Six digits, far beyond any Monte Carlo error; None for what is not defined."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def load_reference(name: str, folder: Path) -> dict[str, Any]:
    """Return a pair's reference, which has to be of the model and the dataset of today.

    Raises
    ------
    BayesdenseError
        There is none, or it was made for another model or other data.
    """
    path, pair = folder / f"{name}.json", PAIRS[name]
    again = f"make it anew with `{_COMMAND} {name}`"
    if not path.exists():
        raise BayesdenseError(f"{path}: no such reference posterior; {again}")
    reference = read_object(path, f"reference posterior; {again}")
    today = {"spec_digest": pair.spec.digest, "dataset_digest": load_dataset(pair.dataset).digest}
    what = {"spec_digest": f"model {pair.model}", "dataset_digest": f"dataset {pair.dataset}"}
    changed = [what[key] for key, digest in today.items() if reference.get(key) != digest]
    if changed:
        raise BayesdenseError(
            f"{path}: {' and '.join(changed)} changed since this reference posterior was made; "
            f"{again}, look at what has moved, and say so under 'Model changes' in CHANGELOG.md"
        )
    return reference


def distances(draws: xr.Dataset, reference: Mapping[str, Any]) -> pd.DataFrame:
    """How far a fit lies from a reference, in their Monte Carlo errors.

    Parameters
    ----------
    draws
        From `quantities`.
    reference
        From `load_reference`.

    Returns
    -------
    pandas.DataFrame
        z = difference / sqrt(mcse^2 + mcse_reference^2), a row for every quantity and a column for
        each of `STATISTICS`; about standard normal where both are of one posterior. NaN where a
        statistic is not defined.

    Raises
    ------
    BayesdenseError
        The quantities are others.
    """
    known = pd.DataFrame(reference["quantities"]).T.astype(float)
    found = statistics(draws)
    if set(known.index) != set(found.index):
        others = ", ".join(sorted(set(known.index) ^ set(found.index)))
        raise BayesdenseError(
            f"{reference['pair']}: fit and reference do not hold the same quantities ({others}); "
            f"make the reference anew with `{reference['command']}`"
        )
    columns: dict[str, pd.Series] = {}
    for name in STATISTICS:
        error = np.hypot(found[f"mcse_{name}"], known[f"mcse_{name}"])
        columns[name] = (found[name] - known[name]) / error
    return pd.DataFrame(columns).loc[found.index]


def main() -> None:
    """Make the references that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*", help=f"of {', '.join(PAIRS)}; none: all")
    parser.add_argument("--out", type=Path, default=Path("tests/reference"))
    given = parser.parse_args()
    unknown = sorted(set(given.pairs) - set(PAIRS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; allowed: {', '.join(PAIRS)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.pairs or PAIRS:
        made = make(name, length_of(name))
        write_text_atomic(given.out / f"{name}.json", json.dumps(made, indent=1) + "\n")
        told = (f"{key} {made[key]}" for key in ("max_r_hat", "min_ess_bulk", "divergences"))
        _LOG.info("%s: %s", name, ", ".join(told))


if __name__ == "__main__":
    main()
