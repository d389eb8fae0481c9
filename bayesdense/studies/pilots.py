"""Learn the shape of a posterior by several pilot runs, where one may not do."""

from dataclasses import replace
from typing import Final

import numpy as np

from bayesdense.engine import joint
from bayesdense.engine.joint import Prepared
from bayesdense.engine.sample import Draws, sample_nuts
from bayesdense.inference import prepare_observations
from bayesdense.observations import Observations
from bayesdense.spec import ModelSpec

#: Length of each pilot after the first, and how many there may be.
_TUNE, _DRAWS, _MOST = 100, 150, 4
#: Steps a draw, on average, above which the coordinates of a run were bad ones.
_MOST_STEPS: Final = 63.0


def learnt(
    spec: ModelSpec, data: Observations, *, chains: int, sequence: np.random.SeedSequence
) -> Prepared:
    """Learn a posterior's shape from a pilot run, and from others until draws cost little.

    The pilot of a fit begins at a mode, which wild data may not have: a bad one leaves coordinates
    in which every draw takes a thousand steps, and a fit minutes. A short run in them says so, and
    its own draws give better ones.

    Parameters
    ----------
    spec, data
        The model and what it sees.
    chains
        Of every run.
    sequence
        Of all seeds.

    Returns
    -------
    Prepared
        For `fit_observations(..., prepared=...)`.
    """
    first, *others = (int(one.generate_state(1)[0]) for one in sequence.spawn(1 + _MOST))
    ready = prepare_observations(spec, data, chains=chains, seed=first, cores=1)
    for seed in others:
        drawn = sample_nuts(
            ready.target,
            ready.whitening,
            draws=_DRAWS,
            tune=_TUNE,
            chains=chains,
            seed=seed,
            cores=1,
        )
        ready = _taught(ready, drawn)
        if float(drawn.stats["n_steps"].mean()) <= _MOST_STEPS:
            break
    return ready


def _taught(ready: Prepared, drawn: Draws) -> Prepared:
    """What a run teaches; nothing if a coordinate did not move in it."""
    if (drawn.z.std(axis=(0, 1)) == 0.0).any():
        return ready
    target, whitening = joint.learnt(ready.target, drawn)
    return replace(ready, target=target, whitening=whitening)
