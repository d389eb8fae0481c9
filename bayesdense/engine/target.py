"""A log density with its gradient, compiled so that several chains can call it at once.

Two ways lead to it. `joint_kernel` computes the joint models that it covers and needs nothing
compiled but itself, once; any other `pm.Model` is compiled by PyTensor (`pymc_target`).
Coordinates, and all that follows, are the same.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats
from bayesdense.engine.coordinates import Coordinates
from bayesdense.engine.whiten import Whitening, unwhitened

#: Whitened point -> (log density, gradient), without the interpreter's lock.
type LogDensity = Callable[[Floats], tuple[float, Floats]]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Density of the coordinates z, given what is held fixed.

    Attributes
    ----------
    coordinates
        What z means.
    whitened
        (whitening, theta of what is given) -> log density of whitened points.
    packed
        The same as words for `joint_kernel.native`, which a sampler calls without
        Python; None where PyTensor computes the density.
    compile_seconds
        What it took to get here.
    """

    coordinates: Coordinates
    whitened: Callable[[Whitening, Floats], LogDensity]
    packed: Callable[[Whitening, Floats], kernel.Words] | None
    compile_seconds: float

    @property
    def nothing_given(self) -> Floats:
        """The theta of a model of which everything is sampled."""
        return np.zeros(self.coordinates.n_theta)

    def log_density(self, given: Floats | None = None) -> LogDensity:
        """Log density of z and its gradient."""
        fixed = self.nothing_given if given is None else given
        return self.whitened(unwhitened(self.coordinates.size), fixed)


def kernel_target(coordinates: Coordinates, data: kernel.Data) -> Target:
    """Target of a joint model whose terms `joint_kernel` has."""
    began = time.perf_counter()
    free, maps, priors = coordinates.free, coordinates.maps, coordinates.priors

    def packed(whitening: Whitening, given: Floats) -> kernel.Words:
        return kernel.pack(maps, priors, data, free, given, whitening.table)

    def whitened(whitening: Whitening, given: Floats) -> LogDensity:
        return kernel.called(packed(whitening, given))

    return ready(Target(coordinates, whitened, packed, 0.0), began)


def ready(target: Target, began: float) -> Target:
    """Target that has been called once, so that it is compiled."""
    where = target.coordinates
    if where.size == where.n_theta:
        target.log_density()(where.start)
    return replace(target, compile_seconds=time.perf_counter() - began)
