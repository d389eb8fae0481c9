"""What every way to a posterior shares: what is asked, what comes out, how progress is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pymc as pm
import xarray as xr

from bayesdense.arrays import Floats
from bayesdense.engine.coordinates import Coordinates, coordinates
from bayesdense.engine.interrupts import Interrupted, never_interrupted
from bayesdense.engine.sample import Progress
from bayesdense.engine.target import Target, compile_target
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations
from bayesdense.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user asks of a run."""

    draws: int
    tune: int
    chains: int
    cores: int | None
    seed: np.random.SeedSequence
    progress: Progress | None
    interrupted: Interrupted = never_interrupted

    def seeds(self, count: int) -> list[int]:
        """Independent seeds for the parts of a run."""
        return [int(child.generate_state(1)[0]) for child in self.seed.spawn(count)]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Draws in natural parameters, (chain, draw, *shape), and how they were made."""

    spec: ModelSpec
    values: Mapping[str, Floats]
    stats: xr.Dataset
    timings: Mapping[str, float]
    stages: xr.Dataset | None = field(default=None)


def as_dataset(model: pm.Model, values: Mapping[str, Floats]) -> xr.Dataset:
    """Draws with the model's dims and labels."""
    n_chains, n_draws = next(iter(values.values())).shape[:2]
    coords: dict[str, object] = {CHAIN: np.arange(n_chains), DRAW: np.arange(n_draws)}
    variables = {}
    for name, value in values.items():
        dims = model.named_vars_to_dims.get(name, ())
        coords |= {dim: [str(label) for label in model.coords[dim]] for dim in dims}
        variables[name] = ((CHAIN, DRAW, *dims), value)
    return xr.Dataset(variables, coords=coords)


def target_of(
    spec: ModelSpec,
    data: Observations,
    model: pm.Model,
    *,
    terms: Sequence[str] | None = None,
    given: Sequence[str] = (),
) -> Target:
    """Lay out the coordinates of (part of) the model and compile its density."""
    return compile_target(coordinates_of(spec, data, model, terms=terms, given=given))


def coordinates_of(
    spec: ModelSpec,
    data: Observations,
    model: pm.Model,
    *,
    terms: Sequence[str] | None,
    given: Sequence[str],
) -> Coordinates:
    """Lay out the coordinates of (part of) the model."""
    scales = data.benchmarks.data_scales() if data.benchmarks else {}
    guesses = {"log_effective_params": data.llms.log_params} if data.scores else {}
    return coordinates(
        spec, model, scales, _informed(data), terms=terms, given=given, guesses=guesses
    )


def _informed(data: Observations) -> dict[str, Floats]:
    """Entries of the score noise that scores or reports pin: others are left to their mean."""
    if data.benchmarks is None or data.scores is None:
        return {}
    scored = np.zeros(len(data.benchmarks.names))
    scored[data.scores.benchmark_idx] = 1.0
    reported = np.zeros_like(scored)
    if data.reports is not None:
        reported[data.reports.benchmark_idx] = 1.0
    return {"discrepancy_sd": scored, "cell_sd": scored, "protocol_sd": reported}


def part_of(
    progress: Progress | None, *, before: int, total: int, divergences: int = 0
) -> Progress | None:
    """Tell progress of a part as progress of the whole.

    Parameters
    ----------
    progress
        Of the whole; None: nobody asks.
    before, total
        Steps of the parts before, and of all parts.
    divergences
        Of the parts before.
    """
    if progress is None:
        return None

    def report(done: int, _: int, diverging: int) -> None:
        progress(before + done, total, divergences + diverging)

    return report
