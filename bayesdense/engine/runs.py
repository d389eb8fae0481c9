"""What every way to a posterior shares: what is asked, what comes out, how progress is told."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from scipy.special import logit

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats
from bayesdense.engine.coordinates import PARTLY, Anchors, Coordinates
from bayesdense.engine.kernel_data import TERMS, is_covered, kernel_data
from bayesdense.engine.layout import coordinates
from bayesdense.engine.sample import Progress
from bayesdense.engine.target import Target, kernel_target
from bayesdense.interrupts import Interrupted, never_interrupted
from bayesdense.names import CHAIN, DRAW, MAP_PARAMETERS
from bayesdense.observations import JointObservations, LLMData, Observations, trend_on
from bayesdense.spec import ModelSpec
from bayesdense.trends import trend_named
from bayesdense.variables import labels_of, sampled_variables

#: Guess of a score map's ceiling, and how far above the scores at high losses those of LLMs pin it.
_CEILING, _RISEN = 0.94, 0.03
#: More families than this tell that their sd is not near 0.
_MANY_FAMILIES = 200


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
    #: None: what suits the model.
    target_accept: float | None = None

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


def as_dataset(
    spec: ModelSpec, data: Observations | JointObservations, values: Mapping[str, Floats]
) -> xr.Dataset:
    """Draws with the model's dims and labels."""
    n_chains, n_draws = next(iter(values.values())).shape[:2]
    dims, labels = sampled_variables(spec, data), labels_of(spec, data)
    coords: dict[str, object] = {CHAIN: np.arange(n_chains), DRAW: np.arange(n_draws)}
    coords |= {dim: list(labels[dim]) for name in values for dim in dims[name]}
    variables = {name: ((CHAIN, DRAW, *dims[name]), value) for name, value in values.items()}
    return xr.Dataset(variables, coords=coords)


def target_of(
    spec: ModelSpec,
    data: Observations,
    *,
    terms: Sequence[str] | None = None,
    given: Sequence[str] = (),
) -> Target:
    """Lay out the coordinates of (part of) the model and make its density ready.

    Parameters
    ----------
    spec, data
        The specification and what it sees.
    terms
        Names of the variables whose log densities count; None: all of them.
    given
        Names of free variables that are inputs, not coordinates.
    """
    where = coordinates_of(spec, data, given=given, terms=terms)
    if not is_covered(spec):
        # PyMC takes seconds to import, and what the kernel covers does without
        fallback = importlib.import_module("bayesdense.engine.pymc_target")
        target: Target = fallback.pymc_target(where, spec, data, terms)
        return target
    return kernel_target(restricted(where, terms), tables_of(spec, data, where, terms))


def tables_of(
    spec: ModelSpec, data: Observations, where: Coordinates, terms: Sequence[str] | None
) -> kernel.Data:
    """Lay out the observations for the kernel."""
    entries = trend_on(spec, data.llms).entries
    trend_at = [where.blocks[name].start + (k or 0) for name, k in entries]
    present = (True, True, data.reports is not None, True)
    counted = [
        int(there and (terms is None or any(name in terms for name in of_term)))
        for there, of_term in zip(present, TERMS, strict=True)
    ]
    return kernel_data(spec, data.joint, where.slots, np.array(trend_at), np.array(counted))


def restricted(where: Coordinates, terms: Sequence[str] | None) -> Coordinates:
    """Coordinates whose priors count for these variables only."""
    if terms is None:
        return where
    dist = where.priors.dist.copy()
    for name, block in where.blocks.items():
        if name not in terms:
            dist[block] = kernel.NO_PRIOR
    return replace(where, priors=where.priors._replace(dist=dist))


def coordinates_of(
    spec: ModelSpec,
    data: Observations,
    *,
    given: Sequence[str] = (),
    terms: Sequence[str] | None = None,
) -> Coordinates:
    """Lay out the coordinates of (part of) the model."""
    lengths = {dim: len(labels) for dim, labels in labels_of(spec, data).items()}
    shapes = {
        name: tuple(lengths[dim] for dim in dims)
        for name, dims in sampled_variables(spec, data).items()
    }
    scales = data.benchmarks.data_scales() if data.benchmarks else {}
    counts = terms is None or not set(TERMS[-1]).isdisjoint(terms)
    guesses = {"log_effective_params": data.llms.log_params} if data.scores else {}
    is_free = set(MAP_PARAMETERS).isdisjoint(given)
    anchors = _anchors(spec, data.joint) if data.scores and is_free and counts else None
    return coordinates(
        spec,
        shapes,
        scales,
        _informed(data) | _of_trend(spec, shapes),
        given=given,
        guesses=guesses,
        anchors=anchors,
        powers={"family_effect": _family_powers(data.llms)}
        | {name: np.full(shapes[name], PARTLY) for name in trend_named(spec.trend).dims},
    )


def _family_powers(llms: LLMData) -> Floats:
    """Power of family_sd in the unit of each family's effect.

    With v the variance that a family's data leave, its effect has posterior variance
    tau^2 v / (tau^2 + v), which is about tau^(2 p) for tau near a guess if p = v / (tau^2 + v): in
    units of tau^p it has one scale whatever tau is. One LLM leaves about v = tau^2. Of few families
    tau may be near 0, where only units of tau itself make no neck.
    """
    members = np.bincount(llms.family_idx, minlength=len(llms.families))
    return 1 / (1 + members) if len(members) > _MANY_FAMILIES else np.ones(len(members))


def _anchors(spec: ModelSpec, data: JointObservations) -> Anchors:
    """Anchor the maps whose scores have risen, at their LLMs' median size and mean score."""
    points, scores, n = data.calibration, data.scores, len(data.benchmarks.names)
    log_params = data.llms.log_params[scores.llm_idx]
    size, score, risen = np.zeros(n), np.full(n, 0.5), np.zeros(n, dtype=bool)
    for j in np.unique(scores.benchmark_idx):
        of_llms, of_points = scores.benchmark_idx == j, points.benchmark_idx == j
        size[j], score[j] = np.median(log_params[of_llms]), scores.score[of_llms].mean()
        by_loss = points.score[of_points][np.argsort(-points.loss[of_points])]
        low = by_loss[: -(-len(by_loss) // 3)].mean()
        risen[j] = score[j] - low > _RISEN * (1 - low)
    return Anchors(
        is_anchored=risen,
        level=logit(score),
        room=-np.log(np.clip(1 - score * (1 - _CEILING) / (_CEILING * (1 - score)), 0.1, 0.9)),
        log_params_ratio=size - data.losses.log_params_centre,
        log_tokens_ratio=np.full(
            n, np.log(spec.options.reference_tokens) - data.losses.log_tokens_centre
        ),
    )


def _of_trend(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """Vectors of the trend: about 0 where data pin them, else in units of the root of their sd."""
    trend = trend_named(spec.trend)
    return {name: np.full(shapes[name], float(name in trend.pinned)) for name in trend.dims}


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
