"""Sampling coordinates: a bijection between a vector z and the model's natural parameters.

The `pm.Model` defines the density, in natural parameters. Here stands a second set of
coordinates in which that density is nearly round, and the log Jacobian between the two:

- a parameter with a prior of numbers: its prior's quantile map, or the log, so that z is about
  standard normal a priori;
- a hierarchical parameter that data pin: its own log (centred); one that they do not: its offset
  in units of the hierarchical sd (non-centred);
- the loss law of a benchmark: what the ladder pins. At the ladder's centre these are the loss
  L0 = E + a + b, the elasticities alpha a / L0 and beta b / L0; what it pins less are the shares
  of E in L0 and of a in a + b. The natural parameters lie on a curved ridge, these do not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.model.transform.conditioning import remove_value_transforms
from pymc.model.transform.optimization import freeze_dims_and_data
from pytensor.graph.replace import graph_replace

from bayesdense.arrays import Floats
from bayesdense.components.tensor import Tensor
from bayesdense.laws import expit
from bayesdense.priors import Prior, hyper_name
from bayesdense.spec import ModelSpec

#: Scale of -log(1 - share of the floor) in its coordinate: what ladders leave open.
_FLOOR_SCALE = 0.15


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The bijection: blocks of z, natural parameters as expressions of z, and the log density.

    Attributes
    ----------
    z
        Symbolic vector of all coordinates.
    given
        Symbolic vector of variables that are held fixed, in the order of `given_names`.
    blocks
        Name -> slice of z.
    natural
        Name of every variable that z stands for -> its expression in z.
    log_density
        Log density of z: the model's in natural parameters plus the log Jacobian.
    start
        A point from which the mode is found, from priors and data.
    """

    z: Tensor
    given: Tensor
    given_names: tuple[str, ...]
    blocks: Mapping[str, slice]
    natural: Mapping[str, Tensor]
    log_density: Tensor
    start: Floats

    @property
    def scale_parameters(self) -> np.ndarray:
        """Mask of the coordinates of standard deviations and shapes of distributions."""
        mask = np.zeros(self.size, dtype=bool)
        for name, block in self.blocks.items():
            mask[block] = name.endswith(("_sd", "_df"))
        return mask

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.start)


class _Builder:
    """Collects blocks while the maps are laid out; private to `coordinates`."""

    def __init__(self, z: Tensor) -> None:
        self.z = z
        self.blocks: dict[str, slice] = {}
        self.start: list[Floats] = []
        self.natural: dict[str, Tensor] = {}
        self.log_jacobian: list[Tensor] = []

    def take(self, name: str, start: Floats) -> Tensor:
        """Claim the next entries of z."""
        first = sum(len(part) for part in self.start)
        self.start.append(start)
        self.blocks[name] = slice(first, first + len(start))
        return self.z[first : first + len(start)]


def coordinates(
    spec: ModelSpec,
    model: pm.Model,
    scales: Mapping[str, Floats],
    informed: Mapping[str, Floats],
    *,
    terms: Sequence[str] | None = None,
    given: Sequence[str] = (),
    guesses: Mapping[str, Floats] | None = None,
) -> Coordinates:
    """Lay out the coordinates of a model that `build_model` made.

    Parameters
    ----------
    spec, model
        The specification and the model built from it.
    scales
        Data vectors that priors refer to (`Benchmarks.data_scales`).
    informed
        Variable -> 1 for the entries that data pin, 0 for others; absent: all pinned.
    terms
        Names of the model's variables whose log densities count; None: all of them.
    given
        Names of free variables that are inputs, not coordinates.
    guesses
        Where to start variables that no prior places.
    """
    natural_model = remove_value_transforms(freeze_dims_and_data(model))
    counted = [rv for rv in natural_model.basic_RVs if terms is None or rv.name in terms]
    free = [rv for rv in natural_model.free_RVs if rv in counted]
    shapes = {rv.name: rv.shape.eval() for rv in free}
    priors = _all_priors(spec)
    build = _Builder(pt.dvector("z"))
    if "param_coef" in shapes:
        _law_map(build, scales, shapes)
    for name, shape in shapes.items():
        if name not in build.natural:
            _variable_map(build, name, shape, priors.get(name), scales, informed)
    for name, guess in (guesses or {}).items():
        if name in build.blocks:
            build.start[list(build.blocks).index(name)] = guess
    fixed = pt.dvector("given")
    expressions = build.natural | _split(fixed, natural_model, given)
    values = {
        natural_model.rvs_to_values[natural_model[name]]: e for name, e in expressions.items()
    }
    log_density = graph_replace(natural_model.logp(vars=counted), values, strict=False) + sum(
        term.sum() for term in build.log_jacobian
    )
    return Coordinates(
        z=build.z,
        given=fixed,
        given_names=tuple(given),
        blocks=MappingProxyType(build.blocks),
        natural=MappingProxyType(build.natural),
        log_density=log_density,
        start=np.concatenate(build.start),
    )


def _split(vector: Tensor, model: pm.Model, names: Sequence[str]) -> dict[str, Tensor]:
    """Cut a vector into variables of the model."""
    out, first = {}, 0
    for name in names:
        shape = tuple(int(n) for n in model[name].shape.eval())
        size = int(np.prod(shape))
        out[name] = vector[first : first + size].reshape(shape)
        first += size
    return out


def _all_priors(spec: ModelSpec) -> dict[str, Prior]:
    """Every variable with a prior, hyperparameters included."""

    def walk(name: str, prior: Prior) -> dict[str, Prior]:
        found = {name: prior}
        for key, value in prior.kwargs.items():
            if isinstance(value, Prior):
                found |= walk(hyper_name(name, key), value)
        return found

    out: dict[str, Prior] = {}
    for component in spec.components.values():
        for name, prior in component.priors.items():
            out |= walk(name, prior)
    return out


def _unit(prior: Prior, scales: Mapping[str, Floats]) -> Floats | float:
    """Unit of a prior, 1 where it has none."""
    return scales[prior.scale] if prior.scale else 1.0


def _law_map(build: _Builder, scales: Mapping[str, Floats], shapes: Mapping[str, Floats]) -> None:
    """Loss law by what the ladder pins.

    With phi the floor's share, 1 - phi = exp(-.15 h), h half-normal, and s the share of a in a + b:
    E = L0 phi, a = L0 (1 - phi) s, b = L0 (1 - phi)(1 - s), alpha = u / ((1 - phi) s),
    beta = v / ((1 - phi)(1 - s)). The Jacobian of (E, a, b) in (log L0, phi, s) is
    L0^3 (1 - phi), without a floor that of (a, b) is L0^2; exponents add alpha beta.
    """
    n = int(shapes["param_coef"][0])
    has_floor = "loss_floor" in shapes
    centre = np.log(scales["loss_centre"])
    log_loss = centre + build.take("law:log_loss", np.zeros(n))
    floor_z = build.take("law:floor_share", np.zeros(n)) if has_floor else None
    share_z = build.take("law:param_share", np.zeros(n))
    elasticity = np.log(0.12)
    log_u = elasticity + build.take("law:param_elasticity", np.zeros(n))
    log_v = elasticity + build.take("law:token_elasticity", np.zeros(n))
    share, rest = expit(share_z), expit(-share_z)
    log_reducible = pt.zeros(n)
    if floor_z is not None:
        half_normal = _half_normal_quantile(floor_z)
        log_reducible = -_FLOOR_SCALE * half_normal
        build.natural["loss_floor"] = -pt.exp(log_loss) * pt.expm1(log_reducible)
        log_slope = np.log(_FLOOR_SCALE / 2) + 0.5 * half_normal**2 - 0.5 * floor_z**2
        build.log_jacobian.append(log_loss + 2 * log_reducible + log_slope)
    log_s, log_r = pt.log(share), pt.log(rest)
    log_alpha, log_beta = log_u - log_reducible - log_s, log_v - log_reducible - log_r
    build.natural["param_coef"] = pt.exp(log_loss + log_reducible + log_s)
    build.natural["token_coef"] = pt.exp(log_loss + log_reducible + log_r)
    build.natural["param_exponent"] = pt.exp(log_alpha)
    build.natural["token_exponent"] = pt.exp(log_beta)
    build.log_jacobian.append(2 * log_loss + log_s + log_r + log_alpha + log_beta)


def _variable_map(
    build: _Builder,
    name: str,
    shape: Floats,
    prior: Prior | None,
    scales: Mapping[str, Floats],
    informed: Mapping[str, Floats],
) -> None:
    """Map of one variable by the form of its prior."""
    size = int(np.prod(shape))
    z = build.take(name, np.zeros(size))
    if prior is None:
        value, log_jacobian = _EFFECTS[name](build, z)
    elif prior.is_hierarchical:
        value, log_jacobian = _hierarchical(build, name, z, prior, scales, informed)
    else:
        value, log_jacobian = _PRIOR_MAPS[prior.dist](z, prior, scales)
    build.natural[name] = value.reshape(tuple(int(n) for n in shape))
    build.log_jacobian.append(log_jacobian + pt.zeros(size))


def _hierarchical(
    build: _Builder,
    name: str,
    z: Tensor,
    prior: Prior,
    scales: Mapping[str, Floats],
    informed: Mapping[str, Floats],
) -> tuple[Tensor, Tensor]:
    """Normal or log-normal about a mean and sd that are variables: centred where data pin it."""
    mean, sd = (_parameter(build, name, key, prior, scales) for key in ("mu", "sigma"))
    pinned = informed.get(name, 1.0)
    guess = _prior_mean(prior)
    linear = pinned * (guess + 0.3 * z) + (1 - pinned) * (mean + sd * z)
    log_slope = pinned * np.log(0.3) + (1 - pinned) * pt.log(sd)
    if prior.dist == "Normal":
        unit = _unit(prior, scales)
        return unit * linear, np.log(unit) + log_slope
    value = pt.exp(linear) * _unit(prior, scales)
    return value, pt.log(value) + log_slope


def _parameter(
    build: _Builder, name: str, key: str, prior: Prior, scales: Mapping[str, Floats]
) -> Tensor:
    """A parameter of a prior: a variable laid out before, or a number."""
    value = prior.kwargs[key]
    if not isinstance(value, Prior):
        return pt.as_tensor(float(value))
    hyper = hyper_name(name, key)
    if hyper not in build.natural:
        _variable_map(build, hyper, np.array([]), value, scales, {})
    return build.natural[hyper]


def _prior_mean(prior: Prior) -> float:
    """Prior guess of the mean of a hierarchical variable."""
    value = prior.kwargs["mu"]
    mu = value.kwargs["mu"] if isinstance(value, Prior) else value
    return float(mu)  # type: ignore[arg-type]  # a number: priors are two levels deep at most


def _normal(z: Tensor, prior: Prior, scales: Mapping[str, Floats]) -> tuple[Tensor, Tensor]:
    """X = unit (mu + sigma z)."""
    mu, sigma = float(prior.kwargs["mu"]), float(prior.kwargs["sigma"])  # type: ignore[arg-type]
    unit = _unit(prior, scales)
    return unit * (mu + sigma * z), pt.as_tensor(np.log(unit * sigma))


def _log_normal(z: Tensor, prior: Prior, scales: Mapping[str, Floats]) -> tuple[Tensor, Tensor]:
    """X = unit exp(mu + sigma z)."""
    mu, sigma = float(prior.kwargs["mu"]), float(prior.kwargs["sigma"])  # type: ignore[arg-type]
    log_value = np.log(_unit(prior, scales)) + mu + sigma * z
    return pt.exp(log_value), log_value + np.log(sigma)


def _half_normal_quantile(z: Tensor) -> Tensor:
    """Quantile of the standard half-normal at Phi(z)."""
    return np.sqrt(2) * pt.erfcinv(0.5 * pt.erfc(z / np.sqrt(2)))


def _half_normal(z: Tensor, prior: Prior, scales: Mapping[str, Floats]) -> tuple[Tensor, Tensor]:
    """X = sigma sqrt 2 erfcinv(1 - Phi(z)): the prior's quantile at Phi(z)."""
    sigma = float(prior.kwargs["sigma"]) * _unit(prior, scales)  # type: ignore[arg-type]
    standard = _half_normal_quantile(z)
    return sigma * standard, np.log(sigma / 2) + 0.5 * standard**2 - 0.5 * z**2


def _beta(z: Tensor, prior: Prior, scales: Mapping[str, Floats]) -> tuple[Tensor, Tensor]:
    """X = logistic(centre + z / sqrt(smaller parameter)): logit, about unit scale a priori."""
    alpha, beta = (
        scales[value] if isinstance(value, str) else np.float64(value)  # type: ignore[arg-type]
        for value in (prior.kwargs["alpha"], prior.kwargs["beta"])
    )
    slope = 1 / np.sqrt(np.minimum(alpha, beta))
    position = np.log(alpha / beta) + slope * z
    value = expit(position)
    return value, pt.log(value) + pt.log(expit(-position)) + np.log(slope)


def _gamma(z: Tensor, prior: Prior, scales: Mapping[str, Floats]) -> tuple[Tensor, Tensor]:
    """X = unit exp(log mean + z / sqrt alpha)."""
    alpha, beta = float(prior.kwargs["alpha"]), float(prior.kwargs["beta"])  # type: ignore[arg-type]
    slope = 1 / np.sqrt(alpha)
    log_value = np.log(_unit(prior, scales)) + np.log(alpha / beta) + slope * z
    return pt.exp(log_value), log_value + np.log(slope)


_Map = Callable[[Tensor, Prior, Mapping[str, Floats]], tuple[Tensor, Tensor]]
_PRIOR_MAPS: Mapping[str, _Map] = MappingProxyType(
    {
        "Normal": _normal,
        "LogNormal": _log_normal,
        "HalfNormal": _half_normal,
        "Beta": _beta,
        "Gamma": _gamma,
    }
)


def _standard(build: _Builder, z: Tensor) -> tuple[Tensor, Tensor]:
    """A variable that is its own coordinate."""
    return z, pt.zeros_like(z)


def _family(build: _Builder, z: Tensor) -> tuple[Tensor, Tensor]:
    """Family effects in units of their sd."""
    sd = build.natural["family_sd"]
    return sd * z, pt.log(sd) + pt.zeros_like(z)


_EFFECTS = {"log_effective_params": _standard, "density_error": _standard, "family_effect": _family}
