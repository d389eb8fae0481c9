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
    density
        (coordinates, whitening, theta of what is given) -> log density of whitened points.
    words
        The same as words for `joint_kernel.native`, which a sampler calls without
        Python; None where PyTensor computes the density.
    compile_seconds
        What it took to get here.
    """

    coordinates: Coordinates
    density: Callable[[Coordinates, Whitening, Floats], LogDensity]
    words: Callable[[Coordinates, Whitening, Floats], kernel.Words] | None
    compile_seconds: float

    def whitened(self, whitening: Whitening, given: Floats) -> LogDensity:
        """Log density of whitened points, given a theta of what is held fixed."""
        return self.density(self.coordinates, whitening, given)

    def packed(self, whitening: Whitening, given: Floats) -> kernel.Words | None:
        """Words of `whitened`; None where PyTensor computes it."""
        return None if self.words is None else self.words(self.coordinates, whitening, given)

    def in_units_of(self, other: "Target") -> "Target":
        """The same density in coordinates that measure effects as another's, of one shape, do."""
        return replace(self, coordinates=self.coordinates.in_units_of(other.coordinates))

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

    def words(where: Coordinates, whitening: Whitening, given: Floats) -> kernel.Words:
        return kernel.pack(where.maps, where.priors, data, where.free, given, whitening.table)

    def density(where: Coordinates, whitening: Whitening, given: Floats) -> LogDensity:
        return kernel.called(words(where, whitening, given))

    return ready(Target(coordinates, density, words, 0.0), began)


def ready(target: Target, began: float) -> Target:
    """Target that has been called once, so that it is compiled."""
    where = target.coordinates
    if where.size == where.n_theta:
        target.log_density()(where.start)
    return replace(target, compile_seconds=time.perf_counter() - began)
