"""NUTS on a compiled target: whitening, chains in threads, progress, interruption."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import nutpie
import xarray as xr
from nutpie.compile_pymc import CompiledPyMCModel
from nutpie.compiled_pyfunc import from_pyfunc
from threadpoolctl import threadpool_limits

from bayesdense.arrays import Floats
from bayesdense.engine.coordinates import Coordinates
from bayesdense.engine.target import LogDensity, Target
from bayesdense.engine.whiten import Whitening, whiten_at_mode
from bayesdense.interrupts import Interrupted, never_interrupted
from bayesdense.joint_kernel import native

#: nutpie ships no types.
type Sampler = Any
type CompiledModel = Any
#: (draws done, draws in all, divergences after tuning) of all chains together.
type Progress = Callable[[int, int, int], None]

_POLL_SECONDS = 0.05
#: Sds of points about a start that are tried until one is possible; the start itself first.
_RINGS: Final = (0.0,) + 25 * (0.1,) + 25 * (0.3,) + 50 * (1.0,)
#: Coordinates from which on trajectories are those that are exact for a standard normal: a step's
#: error is then one of what is not normal, which does not add up over effects of families.
_NEARLY_NORMAL: Final = 500
#: Longest step. After half a turn, pi, an exact trajectory of a normal is at its start mirrored, as
#: far from the mean as ever: means would be known at once, and sds never.
_LONGEST_STEP: Final = 1.0
#: Mean acceptance that step sizes are adapted to. Exact trajectories go round in 15 steps of any
#: length between .21 and .42, so that short ones, which narrow corners ask for, cost no more. Of
#: published densities, in few dimensions, families of one LLM leave the sds of families and of
#: residuals a neck in common, which small steps get into.
_ACCEPTANCE, _OF_MANY, _OF_DENSITIES = 0.8, 0.9, 0.95
_KEPT_STATS = (
    "diverging",
    "depth",
    "maxdepth_reached",
    "n_steps",
    "energy",
    "energy_error",
    "step_size",
    "logp",
    "mean_tree_accept",
)


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Draws of z after tuning, (chain, draw, n), and the sampler's statistics."""

    z: Floats
    stats: xr.Dataset


def find_whitening(target: Target, given: Floats | None = None) -> Whitening:
    """Whiten at the mode over everything but standard deviations of what is sampled itself."""
    where, density = target.coordinates, target.log_density(given)
    with threadpool_limits(limits=1):
        start = _possible(density, where.start)
        return whiten_at_mode(density, start, where.necks, where.local)


def _possible(density: LogDensity, start: Floats) -> Floats:
    """Start, or the first point of ever wider rings about it where the density is not 0.

    A map that is anchored at scores near its floor may have its midpoint below a loss of 0 there.
    """
    rng = np.random.default_rng(0)
    for sd in _RINGS:
        point = start + sd * rng.standard_normal(len(start))
        if np.isfinite(density(point)[0]):
            return point
    return start


def sample_nuts(
    target: Target,
    whitening: Whitening,
    *,
    draws: int,
    tune: int,
    chains: int,
    seed: int,
    given: Floats | None = None,
    cores: int | None = None,
    progress: Progress | None = None,
    interrupted: Interrupted = never_interrupted,
    target_accept: float | None = None,
) -> Draws:
    """Sample with nutpie in whitened coordinates.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C: sampling stops and nothing of it is returned.
    """
    if interrupted():
        raise KeyboardInterrupt
    model = _compiled_model(target, whitening, target.nothing_given if given is None else given)
    # Chains are the parallel part: BLAS threads within them would only wait for each other.
    with threadpool_limits(limits=1):
        tree = _finish(
            nutpie.sample(
                model,
                draws=draws,
                tune=tune,
                chains=chains,
                cores=cores,
                seed=seed,
                adaptation="diag",
                target_accept=target_accept or _acceptance(target.coordinates),
                max_step_size=_LONGEST_STEP,
                exact_normal_trajectory=_is_nearly_normal(target.coordinates),
                save_warmup=False,
                progress_bar=False,
                progress_callback=_watch(progress) if progress else None,
                progress_rate=200,
                blocking=False,
            ),
            interrupted,
        )
    zeta = tree["posterior"]["zeta"].to_numpy()
    if zeta.shape[:2] != (chains, draws):
        raise RuntimeError(f"nutpie returned {zeta.shape[:2]} draws instead of {(chains, draws)}")
    stats = tree["sample_stats"].to_dataset()
    return Draws(whitening.apply(zeta), stats[[name for name in _KEPT_STATS if name in stats]])


def _finish(sampler: Sampler, interrupted: Interrupted) -> xr.DataTree:
    """Wait for a sampler; whatever ends the wait ends the sampling."""
    try:
        while not _is_finished(sampler):
            if interrupted():
                raise KeyboardInterrupt
            time.sleep(_POLL_SECONDS)
        tree: xr.DataTree = sampler.wait()
        return tree
    except BaseException:
        with suppress(TimeoutError):  # of the answer: the chains stop all the same
            sampler.cancel()
        raise


def _is_finished(sampler: Sampler) -> bool:
    """Ask nutpie, whose answer can come too late while all its threads compute."""
    try:
        return bool(sampler.is_finished)
    except TimeoutError:
        return False


def _compiled_model(target: Target, whitening: Whitening, given: Floats) -> CompiledModel:
    """Wrap the target as nutpie's model; every chain calls the same compiled function."""
    n, names = target.coordinates.size, ["zeta"]
    words = target.packed(whitening, given)
    if words is not None:
        log_density, copy = native()
        return CompiledPyMCModel(
            dims={},
            _coords={},
            _shapes={"zeta": (n,)},
            compiled_logp_func=log_density,
            compiled_expand_func=copy,
            initial_point_func=partial(_start, n),
            shared_data={},
            shared_var_keys={},
            user_data=words,
            n_expanded=n,
            shape_info=(names, [slice(0, n)], [(n,)]),
            logp_func=None,
            expand_func=None,
            _n_dim=n,
            reparameterized_names=None,
        )
    density = target.whitened(whitening, given)
    return from_pyfunc(
        n,
        lambda: density,
        lambda *_: lambda zeta: {"zeta": zeta},
        [np.dtype("float64")],
        [(n,)],
        names,
        make_initial_point_fn=partial(_start, n),
    )


def _is_nearly_normal(where: Coordinates) -> bool:
    """Whether there are so many coordinates that most of them are effects, each nearly normal."""
    return where.size >= _NEARLY_NORMAL


def _acceptance(where: Coordinates) -> float:
    """Mean acceptance to adapt the step size to."""
    if _is_nearly_normal(where):
        return _OF_MANY
    return _ACCEPTANCE if "loss_midpoint" in where.blocks else _OF_DENSITIES


def _start(n: int, seed: int) -> Floats:
    """Where a chain begins: every whitened coordinate one standard deviation off its mean.

    The gradients there are about one as well. From a start's gradients nutpie takes its first
    scales, so that these are about one from the first draw on; where they are not, as with a
    gradient near 0, thousands of steps are lost before they are mended.
    """
    return np.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], n), dtype=float)


def _watch(progress: Progress) -> Callable[[list[Any]], None]:
    """Turn nutpie's progress of chains into one count."""
    return partial(_report, progress)


def _report(progress: Progress, chains: list[Any]) -> None:
    """Report draws done, draws in all, and divergences after tuning."""
    progress(
        sum(chain.finished_draws for chain in chains),
        sum(chain.total_draws for chain in chains),
        sum(chain.divergences for chain in chains),
    )
