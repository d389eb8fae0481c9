"""Numbers do not drift: fits of today against reference posteriors, and one seed, one answer.

`python -m bayesdense.studies.reference` makes references; docs/reference/stability.md says when.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from repeats import digest

from bayesdense.catalog import dataset_names, model_names
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.observations import observe
from bayesdense.spec import load_spec
from bayesdense.studies.agreement import bound_of
from bayesdense.studies.reference import (
    FIT,
    PAIRS,
    distances,
    load_reference,
    pooled,
    quantities,
    sampled,
    statistics,
)
from bayesdense.studies.variants import Variant

FOLDER = Path(__file__).parent / "reference"
#: Probability that a pair's fit is told to differ though nothing has changed.
FALSE_ALARM = 1e-3
PUBLISHED = "trend_only-densing-published"


def outliers(z: pd.DataFrame) -> pd.Series:
    """Statistics beyond the bound, largest first."""
    there = z.stack().dropna()
    bound = bound_of(there.to_frame(), FALSE_ALARM)
    return there[there.abs() > bound].sort_values(key=abs, ascending=False)


# ---------------------------------------------------------------- the references


def test_every_shipped_model_has_a_reference_on_every_dataset_it_fits() -> None:
    fitting = set()
    for model in model_names():
        for dataset in dataset_names():
            try:
                observe(load_spec(model), load_dataset(dataset))
            except SpecError:
                continue
            fitting.add(Variant(dataset, model))
    assert fitting == set(PAIRS.values())
    assert {path.stem for path in FOLDER.glob("*.json")} == set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_a_reference_is_of_today_and_converged(name: str) -> None:
    known = load_reference(name, FOLDER)
    runs = known["runs"]
    drawn = len(runs["seeds"]) * runs["chains"] * runs["draws"]
    assert len(runs["seeds"]) >= 2 and drawn >= 40_000
    assert known["max_r_hat"] <= 1.005 and known["min_ess_bulk"] >= 2000
    # on `synthetic`, where a fit has six times as many and yet agrees
    assert len(known["divergences"]) == len(runs["seeds"])
    assert sum(known["divergences"]) <= drawn / 400
    assert {"commit", "versions", "machine", "wall_seconds"} <= set(known)
    assert {"growth_rate", "doubling_time_days", "residual_sd"} <= set(known["quantities"])


def altered(tmp_path: Path, **changes: object) -> Path:
    """A folder with one reference, with entries changed."""
    known = json.loads((FOLDER / f"{PUBLISHED}.json").read_text(encoding="utf-8"))
    (tmp_path / f"{PUBLISHED}.json").write_text(json.dumps(known | changes), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"spec_digest": "0"}, "model trend_only changed"),
        ({"dataset_digest": "0"}, "dataset densing-published changed"),
        (
            {"spec_digest": "0", "dataset_digest": "0"},
            "model trend_only and dataset densing-published changed",
        ),
    ],
    ids=str,
)
def test_a_reference_of_another_model_or_other_data_is_refused(
    changes: dict[str, str], what: str, tmp_path: Path
) -> None:
    with pytest.raises(BayesdenseError, match=what) as told:
        load_reference(PUBLISHED, altered(tmp_path, **changes))
    assert f"`python -m bayesdense.studies.reference {PUBLISHED}`" in str(told.value)
    assert "'Model changes' in CHANGELOG.md" in str(told.value)


def test_a_reference_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BayesdenseError, match="no such reference posterior; make it anew with"):
        load_reference(PUBLISHED, tmp_path)


# ---------------------------------------------------------------- the judge


def made_up(seed: int, n_draws: int, shift: float = 0.0, spread: float = 1.0) -> xr.Dataset:
    """Draws of a growth rate with its doubling time, and of a vector, of known distributions."""
    rng = np.random.default_rng(seed)
    growth = 2.4 + 0.4 * (shift + spread * rng.normal(size=(4, n_draws)))
    floors = rng.gamma(20.0, size=(4, n_draws, 2))
    return xr.Dataset(
        {
            "growth_rate": (("chain", "draw"), growth),
            "doubling_time_days": (("chain", "draw"), 365.25 * np.log(2) / growth),
            "loss_floor": (("chain", "draw", "benchmark"), floors),
        },
        coords={"benchmark": ["MMLU", "BBH"]},
    )


def as_reference(draws: xr.Dataset) -> dict[str, Any]:
    table = statistics(draws)
    return {"pair": "x", "command": "y", "quantities": table.T.to_dict()}


def test_distances_of_one_distribution_are_standard_normal() -> None:
    found = [
        distances(made_up(2 * k, 1000), as_reference(made_up(2 * k + 1, 4000))) for k in range(25)
    ]
    z = pd.concat(found)
    assert list(z) == ["mean", "sd", "q50"]
    assert z.loc["doubling_time_days", ["mean", "sd"]].isna().all(axis=None)
    assert z.drop("doubling_time_days").notna().all(axis=None)
    np.testing.assert_allclose(np.sqrt((z**2).mean()), 1.0, atol=0.3)
    assert sum(len(outliers(one)) for one in found) == 0


@pytest.mark.parametrize(
    ("fault", "moved"),
    [
        ({"shift": 0.3}, {"growth_rate", "doubling_time_days"}),
        ({"shift": -0.3}, {"growth_rate", "doubling_time_days"}),
        ({"spread": 1.3}, {"growth_rate"}),
    ],
    ids=["up", "down", "wide"],
)
def test_a_posterior_that_has_moved_is_found(fault: dict[str, float], moved: set[str]) -> None:
    found = outliers(distances(made_up(1, 1000, **fault), as_reference(made_up(2, 10_000))))
    assert set(found.index.get_level_values(0)) == moved


def test_other_quantities_are_not_compared() -> None:
    known = as_reference(made_up(1, 200))
    with pytest.raises(BayesdenseError, match=r"same quantities \(loss_floor\[BBH\]\)"):
        distances(made_up(2, 200).sel(benchmark=["MMLU"]), known)


def test_chains_of_all_runs_are_pooled() -> None:
    runs = [made_up(1, 50), made_up(2, 50)]
    together = pooled(runs)
    assert dict(together.sizes) == {"chain": 8, "draw": 50, "benchmark": 2}
    assert list(together["chain"].values) == list(range(8))
    xr.testing.assert_equal(together["growth_rate"][4:].drop_vars("chain"), runs[1]["growth_rate"])


# ---------------------------------------------------------------- fits of today


def held_against(name: str, known: Mapping[str, Any]) -> None:
    z = distances(quantities(sampled(PAIRS[name], FIT, FIT.seeds[0])), known)
    there = z.stack().dropna()
    print(
        f"{name}: worst of {there.size} is {there[there.abs().idxmax()]:.2f} {there.abs().idxmax()}"
    )
    assert outliers(z).empty, f"beyond Monte Carlo error:\n{outliers(z)}"
    assert np.sqrt((there**2).mean()) < 1.6, "differences add up: too many, if none too large"


@pytest.mark.fit
@pytest.mark.parametrize("name", PAIRS)
def test_a_fit_is_what_it_was(name: str) -> None:
    held_against(name, load_reference(name, FOLDER))


@pytest.mark.fit
@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ("family.priors.family_sd.kwargs.sigma=0.5", "family_sd"),
        ("trend.priors.growth_rate.kwargs.sigma=0.5", "growth_rate"),
    ],
)
def test_another_prior_is_found(change: str, moved: str) -> None:
    """Were the digest not looked at, too."""
    known = load_reference(PUBLISHED, FOLDER)
    other = PAIRS[PUBLISHED]._replace(changes=(change,))
    found = outliers(distances(quantities(sampled(other, FIT, FIT.seeds[0])), known))
    assert moved in set(found.index.get_level_values(0))


# ---------------------------------------------------------------- one seed, one answer


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Digests of fits by a process that has to compile everything, then by one that loads it."""
    caches = tmp_path_factory.mktemp("caches")
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        "PYTENSOR_FLAGS": f"base_compiledir={caches / 'pytensor'}",
    }
    program = [sys.executable, str(Path(__file__).parent / "repeats.py")]
    found: list[dict[str, str]] = []
    for cores in (("1", "2"), ("2", "1")):
        ended = subprocess.run(
            [*program, *cores], env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        found += json.loads(ended.stdout)
    return found


@pytest.mark.fit
@pytest.mark.parametrize("model", ["joint", "trend_only"])
def test_a_seed_gives_the_same_bits(model: str, told: list[dict[str, str]]) -> None:
    """In one process and in two, compiled anew and loaded, on one core and on two."""
    assert len(told) == 4
    assert len({digests[model] for digests in told}) == 1


def test_a_digest_sees_every_bit() -> None:
    draws = {"posterior": made_up(1, 50)}
    other = {"posterior": draws["posterior"].copy(deep=True)}
    assert digest(draws) == digest(other)
    other["posterior"]["growth_rate"][3, 49] = np.nextafter(
        draws["posterior"]["growth_rate"][3, 49], 9
    )
    assert digest(draws) != digest(other)
