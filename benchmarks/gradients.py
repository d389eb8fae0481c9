"""What one gradient of the default model costs, for as many LLMs as the data hold and for more."""

import time
from dataclasses import replace

import numpy as np

from bayesdense import load_spec
from bayesdense.arrays import Floats
from bayesdense.engine.runs import target_of
from bayesdense.engine.sample import find_whitening
from bayesdense.observations import LLMData, Observations, ScoreData

_REPEATS = 7
_SECONDS_PER_REPEAT = 0.3


def at_mode(data: Observations) -> Floats:
    """Coordinates of the posterior's mode, given guesses of standard deviations."""
    target = target_of(load_spec("joint"), data)
    return find_whitening(target).apply(np.zeros((1, target.coordinates.size)))[0]


def gradient_microseconds(data: Observations, z: Floats) -> float:
    """Log density and its gradient at z: the best of several loops."""
    density = target_of(load_spec("joint"), data).log_density()
    density(z)
    began = time.perf_counter()
    density(z)
    calls = max(3, int(_SECONDS_PER_REPEAT / (time.perf_counter() - began)))
    loops = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        for _ in range(calls):
            density(z)
        loops.append((time.perf_counter() - began) / calls)
    return 1e6 * min(loops)


def tiled(data: Observations, times: int) -> Observations:
    """As many copies of every LLM and its scores; families, ladder and calibration as they are."""
    if data.scores is None:
        raise ValueError("only LLMs with scores can be tiled")
    return replace(
        data, llms=_tiled_llms(data.llms, times), scores=_tiled_scores(data.scores, times)
    )


def _tiled_llms(llms: LLMData, times: int) -> LLMData:
    names = tuple(f"{name} {copy}" for copy in range(times) for name in llms.names)
    return replace(
        llms,
        names=names,
        family_idx=np.tile(llms.family_idx, times),
        release_dates=llms.release_dates * times,
        years=np.tile(llms.years, times),
        log_params=np.tile(llms.log_params, times),
    )


def _tiled_scores(scores: ScoreData, times: int) -> ScoreData:
    n_llms, n_scores = len(scores.first) - 1, len(scores.llm_idx)
    copies = np.arange(times)[:, None]
    first = (scores.first[None, :-1] + n_scores * copies).ravel()
    return ScoreData(
        llm_idx=(scores.llm_idx[None] + n_llms * copies).ravel(),
        benchmark_idx=np.tile(scores.benchmark_idx, times),
        score=np.tile(scores.score, times),
        logit_score=np.tile(scores.logit_score, times),
        n_items=np.tile(scores.n_items, times),
        n_reports=np.tile(scores.n_reports, times),
        other_protocol=np.tile(scores.other_protocol, times),
        first=np.append(first, n_scores * times),
    )
