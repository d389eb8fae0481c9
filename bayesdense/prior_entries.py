"""Entries of a model's priors: where each stands in its TOML, what it is about, and its width."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from bayesdense.errors import SpecError
from bayesdense.priors import Prior, hyper_name
from bayesdense.spec import ModelSpec
from bayesdense.wording import nearest_of, told

#: Groups of priors by what they are about, in the order of the generative story.
PRIOR_GROUPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "law_exponents": "exponents of the loss law",
        "law_levels": "floor and coefficients of the loss law",
        "loss_noise": "scatter of losses about the law",
        "map_ends": "floor and ceiling of the score map",
        "map_rise": "slope and midpoint of the score map",
        "map_noise": "scatter of calibration points about the map",
        "score_noise": "scatter of LLMs' scores",
        "density_noise": "scatter of families and LLMs about the trend",
        "trend": "trend",
    }
)
#: Group of a component's priors, but for the variables that are named here.
_OF_COMPONENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "loss_law": "law_levels",
        "loss_noise": "loss_noise",
        "score_map": "map_rise",
        "score_noise": "score_noise",
        "family": "density_noise",
        "residual": "density_noise",
        "trend": "trend",
    }
)
_OF_VARIABLE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "param_exponent": "law_exponents",
        "token_exponent": "law_exponents",
        "score_floor": "map_ends",
        "score_ceiling": "map_ends",
        "map_noise_sd": "map_noise",
    }
)


@dataclass(frozen=True, slots=True)
class PriorEntry:
    """A prior that depends on no other variable.

    Attributes
    ----------
    variable
        Whose prior it is: a parameter, or the mean or sd of one; its name in `log_prior`.
    path
        Where it stands in the model's TOML, as `--set` takes it: `trend.priors.growth_rate`.
    group
        Out of `PRIOR_GROUPS`.
    """

    variable: str
    path: str
    group: str


def prior_entries(spec: ModelSpec) -> tuple[PriorEntry, ...]:
    """List the top-level priors that the model's kinds and options ask for.

    Examples
    --------
    >>> from bayesdense.spec import load_spec
    >>> [entry.path for entry in prior_entries(load_spec("trend_only"))][-1]
    'trend.priors.growth_rate'
    """
    return tuple(
        PriorEntry(name, path, _OF_VARIABLE.get(variable, _OF_COMPONENT[component]))
        for component in spec.components
        for variable, prior in spec.used_priors(component).items()
        for name, path in _top_level(variable, f"{component}.priors.{variable}", prior)
    )


def _top_level(variable: str, path: str, prior: Prior) -> Iterator[tuple[str, str]]:
    """Variable and path of the priors in here that depend on no other variable."""
    if not prior.is_hierarchical:
        yield variable, path
    for kwarg, inner in prior.inner.items():
        yield from _top_level(hyper_name(variable, kwarg), f"{path}.kwargs.{kwarg}", inner)


def prior_at(spec: ModelSpec, path: str) -> Prior:
    """Return the prior that stands at a path of the model's TOML.

    Raises
    ------
    SpecError
        The model uses no such prior; the message names the nearest.
    """
    known = {
        place: inner
        for component in spec.components
        for variable, prior in spec.used_priors(component).items()
        for place, inner in _all(f"{component}.priors.{variable}", prior)
    }
    if path not in known:
        raise SpecError(
            f"model {told(spec.name)} uses no prior {told(path)}{nearest_of(path, known)}"
        )
    return known[path]


def _all(path: str, prior: Prior) -> Iterator[tuple[str, Prior]]:
    """A prior and those within it, with their paths."""
    yield path, prior
    for kwarg, inner in prior.inner.items():
        yield from _all(f"{path}.kwargs.{kwarg}", inner)


def with_width(spec: ModelSpec, path: str, factor: float) -> ModelSpec:
    """Return the model with one prior wider by a factor; see `wider`.

    Raises
    ------
    SpecError
        The model uses no such prior, or it has no width of its own: parameters of a Beta that the
        dataset gives, or that make no peak.

    Examples
    --------
    >>> from bayesdense.spec import load_spec
    >>> spec = with_width(load_spec("joint"), "score_map.priors.score_ceiling", 2.0)
    >>> str(spec.prior("score_map", "score_ceiling"))
    'Beta(alpha=8.25, beta=1.25)'
    """
    prior = prior_at(spec, path)
    changes = {f"{path}.{entry}": value for entry, value in wider(prior, factor)}
    if not changes:
        raise SpecError(f"{path}: {prior} has no width of its own to be changed")
    return spec.with_options(**changes)


def wider(prior: Prior, factor: float, *, is_scale: bool = False) -> Iterator[tuple[str, float]]:
    """Entries that make a prior wider by a factor, with their new values.

    The sd of a normal prior, of the log of a log-normal one, the scale of a half-normal or gamma
    one; of a hierarchical prior the widths of the priors within it. A Beta with a peak is raised
    to the power 1 / factor^2, as which a normal prior's sd is multiplied by the factor: its mode
    stays.

    Parameters
    ----------
    prior
        The prior.
    factor
        Above 0; below 1 narrower.
    is_scale
        Whether it is that of a hierarchical sd, of which the whole is multiplied.
    """
    if prior.is_hierarchical:  # its own numbers are the model's form
        for key, inner in prior.inner.items():
            for path, value in wider(inner, factor, is_scale=key == "sigma"):
                yield f"kwargs.{key}.{path}", value
        return
    numbers = {key: value for key, value in prior.kwargs.items() if isinstance(value, int | float)}
    if is_scale and prior.dist == "LogNormal":
        yield "kwargs.mu", numbers["mu"] + float(np.log(factor))
    elif prior.dist == "Gamma":
        yield "kwargs.beta", numbers["beta"] / factor
    elif prior.dist == "Beta":
        if len(numbers) == 2 and min(numbers.values()) >= 1.0:
            for name, value in numbers.items():
                yield f"kwargs.{name}", 1.0 + (value - 1.0) / factor**2
    elif "sigma" in numbers:
        yield "kwargs.sigma", numbers["sigma"] * factor
