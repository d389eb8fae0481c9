"""A log density with its gradient, compiled so that several chains can call it at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import get_mode

from bayesdense.arrays import Floats
from bayesdense.engine.coordinates import Coordinates

_NOTHING = np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Compiled density of z given what is held fixed, and the way back to natural parameters."""

    coordinates: Coordinates
    #: (whitened point, centre, scale, given) -> (log density, gradient), without the GIL.
    whitened: Callable[[Floats, Floats, Floats, Floats], tuple[float, Floats]]
    _natural: Callable[[Floats, Floats], list[Floats]]
    compile_seconds: float

    def log_density(self, z: Floats, given: Floats = _NOTHING) -> tuple[float, Floats]:
        """Log density and gradient at z."""
        n = self.coordinates.size
        value, gradient = self.whitened(z, np.zeros(n), np.eye(n), given)
        return float(value), gradient

    def natural(self, z: Floats, given: Floats = _NOTHING) -> dict[str, Floats]:
        """Natural parameters of points, (chain, draw, n) -> name -> (chain, draw, *shape)."""
        names = list(self.coordinates.natural)
        points = z.reshape(-1, z.shape[-1])
        columns = zip(*(self._natural(point, given) for point in points), strict=True)
        return {
            name: np.stack(column).reshape(*z.shape[:-1], *column[0].shape)
            for name, column in zip(names, columns, strict=True)
        }


def compile_target(coordinates: Coordinates) -> Target:
    """Compile log density, gradient and natural parameters with PyTensor's numba backend.

    Without fast math: free to reorder sums, the compiler does so in one way when it sees the whole
    graph and in another when parts come from numba's cache, and a seed would give other draws on
    the second run than on the first.
    """
    with pytensor.config.change_flags(numba__fastmath=False):
        return _compile(coordinates)


def _compile(coordinates: Coordinates) -> Target:
    """Compile with the flags that are set."""
    began = time.perf_counter()
    # The maps keep every parameter inside its support: PyMC's checks of it only cost time.
    mode = get_mode("NUMBA").including("local_remove_check_parameter")
    inputs = [coordinates.z, coordinates.given]
    gradient = pt.grad(coordinates.log_density, coordinates.z)
    density = pytensor.function(
        inputs, [coordinates.log_density, gradient], mode=mode, on_unused_input="ignore"
    ).vm.jit_fn
    natural = pytensor.function(
        inputs,
        list(coordinates.natural.values()),
        mode=mode,
        on_unused_input="ignore",
        trust_input=True,
    )

    @numba.njit(nogil=True)
    def whitened(  # type: ignore[no-untyped-def] # noqa: ANN202
        zeta,  # noqa: ANN001
        centre,  # noqa: ANN001
        scale,  # noqa: ANN001
        given,  # noqa: ANN001
    ):
        value, gradient = density(centre + scale @ zeta, given)
        return value.item(), scale.T @ gradient

    n = coordinates.size
    start = coordinates.start
    if not coordinates.given_names:
        whitened(start, np.zeros(n), np.eye(n), _NOTHING)
    return Target(coordinates, whitened, natural, time.perf_counter() - began)
