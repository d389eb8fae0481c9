"""Lay out a model's sampling coordinates: the tables of their map, from priors and data."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from bayesdense import joint_kernel as kernel
from bayesdense.arrays import Floats, Ints
from bayesdense.engine.coordinates import Anchors, Coordinates, Shape, behind_wall
from bayesdense.priors import Prior, hyper_name
from bayesdense.spec import ModelSpec

#: Variables whose distribution is no prior of the TOML: (mean, variable that is the sd).
_EFFECTS: Mapping[str, str | None] = MappingProxyType(
    {"log_effective_params": None, "density_error": None, "family_effect": "family_sd"}
)
_LAW = ("loss_floor", "param_coef", "param_exponent", "token_coef", "token_exponent")
_PAIR = ("discrepancy_sd", "protocol_sd")
_SIDES = ("growth_rate", "growth_change")
_MAP = ("score_ceiling", "loss_midpoint")
_DISTS = MappingProxyType(
    {
        "Normal": kernel.NORMAL,
        "LogNormal": kernel.LOG_NORMAL,
        "HalfNormal": kernel.HALF,
        "Beta": kernel.BETA,
        "Gamma": kernel.GAMMA,
    }
)
#: Unit of the coordinate of a hierarchical variable that data pin.
_PINNED_SCALE = 0.3
#: Where walled coordinates of the loss law have their 0: -log of what is left of the loss above its
#: floor, and of the share in that which falls with size.
_WALLED = MappingProxyType({"loss_floor": 0.1, "param_coef": math.log(2.0)})
#: Largest softness of a wall until draws say how near it is, and largest unit of its coordinate.
_SOFTNESS, _WALL_UNIT = 0.1, 0.15


def coordinates(
    spec: ModelSpec,
    shapes: Mapping[str, Shape],
    scales: Mapping[str, Floats],
    informed: Mapping[str, Floats],
    *,
    given: Sequence[str] = (),
    guesses: Mapping[str, Floats] | None = None,
    anchors: Anchors | None = None,
    powers: Mapping[str, Floats] | None = None,
) -> Coordinates:
    """Lay out the coordinates of a model.

    Parameters
    ----------
    spec
        The specification.
    shapes
        Free variables of the model -> their shapes, those that others hang on first.
    scales
        Data vectors that priors refer to (`Benchmarks.data_scales`).
    informed
        Variable -> 1 for the entries that data pin, 0 for others; absent: all pinned.
    given
        Names of free variables that are inputs, not coordinates.
    guesses
        Where to start variables that no prior places.
    anchors
        What the LLMs' scores pin of the maps; None: nothing.
    powers
        Effects and vectors of the trend -> power of their sd in their unit; absent: 1, non-centred.
        0 would be centred.
    """
    sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    ends = np.cumsum(list(sizes.values()))
    blocks = {
        name: slice(int(end) - sizes[name], int(end))
        for name, end in zip(shapes, ends, strict=True)
    }
    tables = _Tables(int(ends[-1]), blocks, scales, powers or {})
    for name, prior in _all_priors(spec).items():
        if name in blocks:
            tables.prior(name, prior)
            tables.map(name, prior, informed)
    for name, sd in _EFFECTS.items():
        if name in blocks:
            tables.effect(name, sd)
    if "param_coef" in blocks:
        for name in _LAW:
            if name in blocks:
                tables.form[blocks[name]] = kernel.LAW
        for name, where in _WALLED.items():
            if name in blocks:
                tables.wall(blocks[name], np.array(where))
    if anchors is not None:
        at = np.arange(blocks["score_ceiling"].start, blocks["score_ceiling"].stop)
        tables.wall(at[anchors.is_anchored], anchors.room[anchors.is_anchored])
        for name in _MAP:
            tables.form[blocks[name]][anchors.is_anchored] = kernel.MAP
    tables.pair(given)
    tables.sides(given)
    start = np.zeros(int(ends[-1]))
    for name, guess in (guesses or {}).items():
        if name in blocks:
            start[blocks[name]] = guess
    for name in given:
        tables.form[blocks[name]] = kernel.FIXED
    free = np.flatnonzero(tables.form != kernel.FIXED)
    centre = scales.get("loss_centre", np.zeros(0)) if "param_coef" in blocks else np.zeros(0)
    return Coordinates(
        blocks=MappingProxyType(blocks),
        shapes=MappingProxyType(dict(shapes)),
        free=free,
        maps=tables.maps(np.log(centre), anchors),
        slots=_slots(blocks),
        priors=tables.priors(),
        start=start[free],
    )


def _slots(blocks: Mapping[str, slice]) -> kernel.Slots:
    """Where the kernel finds each variable; `cell_sd` is the discrepancy where it is the noise."""
    found = {name: block.start for name, block in blocks.items()}
    if "cell_sd" in found:
        found["discrepancy_sd"] = found["cell_sd"]
    return kernel.Slots(*(found.get(name, -1) for name in kernel.Slots._fields))


class _Tables:
    """Tables while they are filled; private to `coordinates`."""

    def __init__(
        self,
        n: int,
        blocks: Mapping[str, slice],
        scales: Mapping[str, Floats],
        powers: Mapping[str, Floats],
    ) -> None:
        self._blocks, self._scales = blocks, scales
        self.form, self._dist = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self._shift, self._scale, self._unit = np.zeros(n), np.ones(n), np.ones(n)
        self._lower_tail, self._upper_tail = np.ones(n), np.ones(n)
        self._shift_at, self._scale_at, self._first_at, self._second_at = (
            np.full(n, -1, dtype=np.int64) for _ in range(4)
        )
        self._power = np.ones(n)
        for name, power in powers.items():
            if name in blocks:
                self._power[blocks[name]] = power
        self._first, self._second, self._prior_unit = np.zeros(n), np.ones(n), np.ones(n)

    def maps(self, log_centre: Floats, anchors: Anchors | None) -> kernel.Maps:
        none = np.zeros(0)
        pinned = Anchors(none, none, none, none, none) if anchors is None else anchors
        return kernel.Maps(
            self.form,
            self._shift,
            self._scale,
            self._shift_at,
            self._scale_at,
            self._power,
            self._unit,
            self._lower_tail,
            self._upper_tail,
            log_centre,
            pinned.level,
            pinned.log_params_ratio,
            pinned.log_tokens_ratio,
        )

    def priors(self) -> kernel.Priors:
        return kernel.Priors(
            self._dist,
            self._first,
            self._second,
            self._first_at,
            self._second_at,
            self._prior_unit,
        )

    def _number(self, value: "float | str | Prior") -> Floats | float:
        """A parameter of a prior: a number or a vector of the data; 0 for a variable."""
        if isinstance(value, Prior):
            return 0.0
        return self._scales[value] if isinstance(value, str) else float(value)

    def _unit_of(self, prior: Prior) -> Floats | float:
        return self._scales[prior.scale] if prior.scale else 1.0

    def _hyper(self, name: str, key: str, prior: Prior) -> int:
        """Position of the variable that is this parameter of the prior; -1 for a number."""
        value = prior.kwargs.get(key)
        return self._blocks[hyper_name(name, key)].start if isinstance(value, Prior) else -1

    def prior(self, name: str, prior: Prior) -> None:
        """Distribution of a variable, in PyMC's parameters, its unit worked in."""
        at, unit, kwargs = self._blocks[name], self._unit_of(prior), prior.kwargs
        self._dist[at], self._prior_unit[at] = _DISTS[prior.dist], unit
        if prior.dist in ("Beta", "Gamma"):
            self._first[at] = self._number(kwargs["alpha"])
            beta = self._number(kwargs["beta"])
            self._second[at] = beta / unit if prior.dist == "Gamma" else beta
            return
        sigma = self._number(kwargs["sigma"])
        self._second_at[at] = self._hyper(name, "sigma", prior)
        self._first_at[at] = self._hyper(name, "mu", prior)
        if prior.dist == "LogNormal":
            self._first[at] = self._number(kwargs["mu"]) + np.log(unit)
            self._second[at] = sigma
            return
        self._first[at] = self._number(kwargs.get("mu", 0.0)) * unit
        self._second[at] = sigma * unit

    def effect(self, name: str, sd: str | None) -> None:
        """Normal effects in units of their sd; other variables without a prior as they are."""
        at = self._blocks[name]
        self.form[at] = kernel.LINEAR
        if sd is not None:
            self._scale_at[at] = self._second_at[at] = self._blocks[sd].start
            self._dist[at] = kernel.NORMAL

    def wall(self, at: slice | Ints, guess: Floats) -> None:
        """Coordinates that end at a wall, 0 being where x is a guess."""
        softness = np.minimum(_SOFTNESS, guess / 2)
        self._scale[at], self._unit[at] = softness, np.minimum(_WALL_UNIT, guess)
        self._shift[at] = behind_wall(guess, softness)

    def pair(self, given: Sequence[str]) -> None:
        """Both sds of a benchmark's scores together, where data pin each and both are free."""
        if not set(_PAIR) <= set(self._blocks) - set(given):
            return
        both = [self._blocks[name] for name in _PAIR]
        centred = [
            (self.form[at] == kernel.EXPONENTIAL)
            & (self._scale_at[at] < 0)
            & (self._shift_at[at] < 0)
            & (self._unit[at] == 1)
            for at in both
        ]
        for at in both:
            self.form[at][np.logical_and(*centred)] = kernel.PAIR

    def sides(self, given: Sequence[str]) -> None:
        """Growth before and after a break, where both growth and its change are free."""
        if not set(_SIDES) <= set(self._blocks) - set(given):
            return
        rate, change = (self._blocks[name].start for name in _SIDES)
        if any(self.form[at] != kernel.LINEAR or self._scale_at[at] >= 0 for at in (rate, change)):
            return
        self.form[rate], self.form[change] = kernel.BEFORE, kernel.AFTER
        self._shift_at[rate], self._shift_at[change] = change, rate
        half = 0.5 * self._shift[change]
        self._shift[change] = self._shift[rate] + half
        self._shift[rate] -= half
        self._scale[[rate, change]] = math.hypot(self._scale[rate], 0.5 * self._scale[change])

    def map(self, name: str, prior: Prior, informed: Mapping[str, Floats]) -> None:
        """Map of one variable by the form of its prior."""
        at, unit, kwargs = self._blocks[name], self._unit_of(prior), prior.kwargs
        self._unit[at] = unit
        if prior.is_hierarchical:
            self.form[at] = kernel.LINEAR if prior.dist == "Normal" else kernel.EXPONENTIAL
            self._hierarchical(name, prior, informed.get(name, 1.0))
        elif prior.dist in ("Normal", "LogNormal"):
            self.form[at] = kernel.LINEAR if prior.dist == "Normal" else kernel.EXPONENTIAL
            self._shift[at], self._scale[at] = (
                self._number(kwargs["mu"]),
                self._number(kwargs["sigma"]),
            )
        elif prior.dist == "HalfNormal":
            self.form[at] = kernel.HALF_NORMAL
            self._scale[at] = self._number(kwargs["sigma"]) * unit
        else:
            alpha, beta = self._number(kwargs["alpha"]), self._number(kwargs["beta"])
            self._shift[at] = np.log(alpha) - np.log(beta)
            if prior.dist == "Gamma":
                self.form[at], self._scale[at] = kernel.EXPONENTIAL, 1 / np.sqrt(alpha)
                return
            if name == "score_floor":  # what hangs on it hangs on the score itself, not its logit
                self.form[at] = kernel.WALL
                self.wall(at, -np.log1p(-alpha / (alpha + beta)))
                return
            self.form[at] = kernel.LOGISTIC
            self._scale[at] = np.sqrt(1 / (alpha + 0.5) + 1 / (beta + 0.5))
            self._lower_tail[at], self._upper_tail[at] = 1 / alpha, 1 / beta

    def _hierarchical(self, name: str, prior: Prior, pinned: Floats | float) -> None:
        """Centred about the prior's guess where data pin a variable, else about its mean."""
        at = self._blocks[name]
        is_pinned = np.broadcast_to(np.asarray(pinned) > 0, at.stop - at.start)
        guess, sigma = _guess(prior, "mu"), prior.kwargs["sigma"]
        mean_at, sd_at = self._hyper(name, "mu", prior), self._hyper(name, "sigma", prior)
        number = 1.0 if sd_at >= 0 else float(sigma)  # type: ignore[arg-type]
        self._shift[at] = np.where(is_pinned | (mean_at < 0), guess, 0.0)
        self._shift_at[at] = np.where(is_pinned, -1, mean_at)
        self._scale[at] = np.where(is_pinned, _PINNED_SCALE, number)
        self._scale_at[at] = np.where(is_pinned, -1, sd_at)


def _guess(prior: Prior, key: str) -> float:
    """Prior guess of a parameter of a hierarchical variable."""
    value = prior.kwargs[key]
    number = value.kwargs[key] if isinstance(value, Prior) else value
    return float(number)  # type: ignore[arg-type]  # a number: priors are two levels deep at most


def _all_priors(spec: ModelSpec) -> dict[str, Prior]:
    """Every variable with a prior, hyperparameters included."""

    def walk(name: str, prior: Prior) -> dict[str, Prior]:
        found = {name: prior}
        for key, value in prior.inner.items():
            found |= walk(hyper_name(name, key), value)
        return found

    out: dict[str, Prior] = {}
    for component in spec.components.values():
        for name, prior in component.priors.items():
            out |= walk(name, prior)
    return out
