"""Sampling coordinates: a bijection between a vector z and the model's natural parameters.

The `pm.Model` defines the density, in natural parameters. Here stands a second set of coordinates
in which that density is nearly round, as tables that `joint_kernel.unpack` reads:

- a parameter with a prior of numbers: its prior's quantile map, or the log, so that z is about
  standard normal a priori;
- a hierarchical parameter that data pin: its own log (centred); one that they do not: its offset
  in units of the hierarchical sd (non-centred);
- an effect of a family: its offset in units of family_sd; of one family among hundreds in units of
  a power of it, between centred and not, the nearer to centred the more members it has;
- growth and its change at a break: growth before it and after it;
- a bend of the trend: its offset in units of the root of the bends' sd;
- once draws show that an sd stays away from 0: its effects in units of the power of it that suits
  how much of their variance the data leave open;
- ceiling and midpoint of a score map: where LLMs' scores have risen above those of large losses,
  the score of a reference LLM of their median size, and how much nearer that lies to the ceiling
  than to 1 (`joint_kernel._unpack_map`). These coordinates cover midpoints below a loss of 0 as
  well, where the density is 0;
- the loss law of a benchmark: what the ladder pins. At the ladder's centre these are the loss
  L0 = E + a + b, the elasticities alpha a / L0 and beta b / L0; what it pins less are the shares
  of E in L0 and of a in a + b. The natural parameters lie on a curved ridge, these do not.

z has an entry for every natural parameter, in the same place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats, Ints

type Shape = tuple[int, ...]
#: Power of an sd in the unit of its effects between non-centred (1) and centred (0), before draws
#: say more, and share of its median above which the sd's lower quantile is away from 0.
PARTLY, _AWAY = 0.5, 0.5
#: Softness of a wall as a share of the spread of what it bounds.
_SOFTNESS = 0.15
#: Variables that stand for every LLM's size where it is sampled.
_SIZES = frozenset(("log_effective_params", "density_error"))


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """Where the LLMs' scores pin the score maps, (J,) each.

    Attributes
    ----------
    is_anchored
        Mask of the benchmarks whose maps they pin.
    level, room
        Guesses: the logit of the share of 1 - floor that an LLM of typical size reaches, and how
        much nearer it lies to the ceiling than to 1, on the log.
    log_params_ratio, log_tokens_ratio
        That size and its tokens, about the ladder's centre.
    """

    is_anchored: np.ndarray
    level: Floats
    room: Floats
    log_params_ratio: Floats
    log_tokens_ratio: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """The bijection: where each variable stands in theta and in z, and the tables of its map.

    Attributes
    ----------
    blocks, shapes
        Name of every variable -> its slice of theta, and its shape.
    free
        Positions of the variables that are sampled; the others are given.
    maps, slots, priors
        Tables that `joint_kernel` reads.
    start
        z of the free variables from which the mode is found, from priors and data.
    """

    blocks: Mapping[str, slice]
    shapes: Mapping[str, Shape]
    free: Ints
    maps: kernel.Maps
    slots: kernel.Slots
    priors: kernel.Priors
    start: Floats

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.free)

    @property
    def n_theta(self) -> int:
        """Number of natural parameters, those given included."""
        return len(self.maps.form)

    @property
    def names(self) -> list[str]:
        """Variables that are sampled."""
        is_free = np.isin(np.arange(self.n_theta), self.free)
        return [name for name, block in self.blocks.items() if is_free[block].all()]

    @property
    def scale_parameters(self) -> np.ndarray:
        """Mask of the coordinates of standard deviations and shapes of distributions."""
        mask = np.zeros(self.n_theta, dtype=bool)
        for name, block in self.blocks.items():
            mask[block] = name.endswith(("_sd", "_df"))
        return mask[self.free]

    @property
    def necks(self) -> np.ndarray:
        """Mask of the coordinates of standard deviations of what is sampled itself.

        As these and what they are of shrink together the density rises without bound.
        """
        mask = np.zeros(self.n_theta, dtype=bool)
        mask[self.priors.second_at[self.priors.second_at >= 0]] = True
        for name, block in self.blocks.items():
            if name.endswith("_df") or (name == "residual_sd" and not self._sizes_are_integrated):
                mask[block] = True
        return mask[self.free]

    @property
    def _sizes_are_integrated(self) -> bool:
        return _SIZES.isdisjoint(self.blocks)

    @property
    def local(self) -> np.ndarray:
        """Mask of the coordinates of effects of families, each with data of its own."""
        mask = np.zeros(self.n_theta, dtype=bool)
        if "family_effect" in self.blocks:
            mask[self.blocks["family_effect"]] = True
        return mask[self.free]

    def suited_to(self, z: Floats) -> tuple["Coordinates", Floats]:
        """Choose the units of effects, and how soft walls are, by draws.

        Where data neither pin effects nor leave them open, neither units of their sd nor plain ones
        make them independent of it; with half the power they nearly are (Papaspiliopoulos, Roberts
        and Sköld 2003, "Non-centered parameterisations for hierarchical models"). Draws show it
        where that sd stays away from 0.

        What other parameters hang on is linear only beyond a few times a wall's softness; of one
        that is hard beside the spread of draws, NUTS needs small steps.

        Parameters
        ----------
        z
            Draws, (chain, draw, n).

        Returns
        -------
        tuple
            The coordinates, and the draws in them.
        """
        centred, moved = self._partly_centred(z)
        return centred._softened(moved)

    def _partly_centred(self, z: Floats) -> tuple["Coordinates", Floats]:
        """Measure effects in units of the root of their sd, where it is away from 0."""
        maps, theta = self.maps, self._vectors(z, np.zeros(self.n_theta))
        power, moved = maps.power.copy(), z.copy()
        for at in np.unique(maps.scale_at[self.free]):
            sd = theta[..., at]
            low, middle = np.quantile(sd, [0.05, 0.5])
            if at < 0 or low <= _AWAY * middle:
                continue
            for i in np.flatnonzero(maps.scale_at[self.free] == at):
                k = self.free[i]
                offsets = z[..., i] * sd ** (power[k] - 1)
                suited = _suited_power(offsets.var())
                moved[..., i] *= sd ** (power[k] - suited)
                power[k] = suited
        return replace(self, maps=maps._replace(power=power)), moved

    def _softened(self, z: Floats) -> tuple["Coordinates", Floats]:
        """Make walls as soft as the spread of draws allows, and no softer."""
        shift, unit = self.maps.shift, self.maps.unit
        softness, moved = self.maps.scale.copy(), z.copy()
        for i in np.flatnonzero(np.isin(self.free, self._walls)):
            k = self.free[i]
            v = (shift[k] + unit[k] * z[..., i]) / softness[k]
            x = softness[k] * np.logaddexp(0.0, v)
            softness[k] = max(_SOFTNESS * x.std(), np.finfo(float).tiny)
            moved[..., i] = (behind_wall(x, softness[k]) - shift[k]) / unit[k]
        return replace(self, maps=self.maps._replace(scale=softness)), moved

    @property
    def _walls(self) -> Ints:
        """Entries of theta whose coordinates end at a wall."""
        is_walled = self.maps.form == kernel.WALL
        for name, form in (
            ("loss_floor", kernel.LAW),
            ("param_coef", kernel.LAW),
            ("score_ceiling", kernel.MAP),
        ):
            if name in self.blocks:
                is_walled[self.blocks[name]] |= self.maps.form[self.blocks[name]] == form
        return np.flatnonzero(is_walled)

    def in_units_of(self, other: "Coordinates") -> "Coordinates":
        """The same coordinates in units that another's draws gave, of one shape."""
        walls = self._walls
        columns = {name: getattr(self.maps, name).copy() for name in ("shift", "scale", "unit")}
        for name, column in columns.items():
            column[walls] = getattr(other.maps, name)[walls]
        return replace(self, maps=self.maps._replace(power=other.maps.power, **columns))

    def _vectors(self, z: Floats, given: Floats) -> Floats:
        """Theta of points, (..., n) -> (..., n_theta), with what is given."""
        points = np.ascontiguousarray(z.reshape(-1, z.shape[-1]))
        theta = kernel.unpack_all(points, self.free, given, self.maps, self.slots)
        return theta.reshape(*z.shape[:-1], self.n_theta)

    def theta(self, values: Mapping[str, Floats]) -> Floats:
        """Put natural parameters into one vector; 0 where a variable is not among them."""
        out = np.zeros(self.n_theta)
        for name, value in values.items():
            out[self.blocks[name]] = np.ravel(value)
        return out

    def natural(self, z: Floats, given: Floats | None = None) -> dict[str, Floats]:
        """Natural parameters of points, (..., n) -> name -> (..., *shape), of what is sampled.

        Parameters
        ----------
        z
            Coordinates of free variables.
        given
            A theta with what is not sampled.
        """
        theta = self._vectors(z, np.zeros(self.n_theta) if given is None else given)
        return {
            name: theta[..., self.blocks[name]].reshape((*z.shape[:-1], *self.shapes[name]))
            for name in self.names
        }


def _suited_power(unexplained: float) -> float:
    """Power of their sd in which effects are measured that hang on it as little as may be.

    Of an effect f ~ Normal(0, s^2) that data see with an error of variance e^2, u = e^2 /
    (s^2 + e^2) of its variance stays unexplained. In z = f s^-p the mixed derivative of the log
    density in z and log s is that of its posterior's mean, of variance (1 - u) s^2, times p - 2 u,
    and of the deviation from it, of variance u s^2, times 2 (p - u); p minimizes its mean square.
    """
    u = min(unexplained, 1.0)
    return 2 * u * (1 + u) / (1 + 3 * u)


def behind_wall(x: Floats, softness: Floats | float) -> Floats:
    """Solve x = s log(1 + exp(v / s)) for v: see `joint_kernel._walled`."""
    return np.asarray(x + softness * np.log(-np.expm1(-x / softness)))
