"""The target of any `pm.Model`, compiled by PyTensor: slower to compile and to run, but general."""

import time
from collections.abc import Mapping, Sequence

import numba
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.model.transform.conditioning import remove_value_transforms
from pymc.model.transform.optimization import freeze_dims_and_data
from pytensor.compile.mode import get_mode
from pytensor.graph.replace import graph_replace

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats
from bayesdense.build import build_from_observations
from bayesdense.engine.coordinates import Coordinates
from bayesdense.engine.target import LogDensity, Target, ready
from bayesdense.engine.whiten import Whitening
from bayesdense.observations import Observations
from bayesdense.spec import ModelSpec


def pymc_target(
    coordinates: Coordinates,
    spec: ModelSpec,
    data: Observations,
    terms: Sequence[str] | None = None,
) -> Target:
    """Target of any model: its `pm.Model`, compiled with PyTensor's numba backend.

    Without fast math: free to reorder sums, the compiler does so in one way when it sees the whole
    graph and in another when parts come from numba's cache, and a seed would give other draws on
    the second run than on the first.

    Parameters
    ----------
    coordinates
        Of its free variables.
    spec, data
        What the model is built from.
    terms
        Names of the variables whose log densities count; None: all of them.
    """
    model = build_from_observations(spec, data)
    with pytensor.config.change_flags(numba__fastmath=False):
        return _compile(coordinates, model, terms)


def natural_log_density(
    model: pm.Model, blocks: Mapping[str, slice], terms: Sequence[str] | None
) -> tuple[pt.TensorVariable, pt.TensorVariable]:
    """Vector of natural parameters, and the model's log density as an expression of it."""
    natural = remove_value_transforms(freeze_dims_and_data(model))
    counted = [rv for rv in natural.basic_RVs if terms is None or rv.name in terms]
    theta = pt.dvector("theta")
    values = {
        natural.rvs_to_values[rv]: theta[blocks[rv.name]].reshape(rv.shape.eval())
        for rv in natural.free_RVs
    }
    return theta, graph_replace(natural.logp(vars=counted), values, strict=False)


def _compile(coordinates: Coordinates, model: pm.Model, terms: Sequence[str] | None) -> Target:
    """Compile with the flags that are set."""
    began = time.perf_counter()
    theta, value = natural_log_density(model, coordinates.blocks, terms)
    # The maps keep every parameter inside its support: PyMC's checks of it only cost time.
    mode = get_mode("NUMBA").including("local_remove_check_parameter")
    density = pytensor.function([theta], [value, pt.grad(value, theta)], mode=mode).vm.jit_fn
    unpack, pull_back, colour, discolour = (
        kernel.unpack,
        kernel.pull_back,
        kernel.colour,
        kernel.discolour,
    )

    @numba.njit(nogil=True)
    def compiled(zeta, table, given, free, maps, slots):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        z, slope, log_slope = colour(zeta, table)
        whole, theta = np.zeros(given.shape[0]), given.copy()
        whole[free] = z
        log_jacobian = unpack(whole, maps, slots, theta)
        value, gradient = density(theta)
        pulled = pull_back(whole, theta, maps, slots, gradient.copy())[free]
        return discolour(table, pulled, slope, log_slope, value.item() + log_jacobian)

    def of(where: Coordinates, whitening: Whitening, given: Floats) -> LogDensity:
        free, maps, slots = where.free, where.maps, where.slots
        return lambda zeta: compiled(zeta, whitening.table, given, free, maps, slots)

    return ready(Target(coordinates, of, None, 0.0), began)
