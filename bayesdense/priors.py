"""Priors as data: what a model's TOML says about one variable, checked, without PyMC."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from bayesdense.errors import SpecError
from bayesdense.names import BENCHMARK, TREND_DIMS
from bayesdense.wording import is_plain, told

#: Parameters of each distribution, in PyMC's names.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Normal": ("mu", "sigma"),
        "LogNormal": ("mu", "sigma"),
        "HalfNormal": ("sigma",),
        "Beta": ("alpha", "beta"),
        "Gamma": ("alpha", "beta"),
    }
)
#: Distributions of a scale family, for which `scale` has a meaning.
SCALABLE = ("Normal", "LogNormal", "HalfNormal", "Gamma")
#: Distributions whose mean and sd may have priors of their own, and what those may be.
HIERARCHICAL = ("Normal", "LogNormal")
HYPER_DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"mu": ("Normal", "LogNormal"), "sigma": ("LogNormal", "HalfNormal", "Gamma")}
)
#: Suffix of the variable that a prior within a prior becomes.
HYPER_SUFFIX: Mapping[str, str] = MappingProxyType({"mu": "mean", "sigma": "sd"})
#: Vectors over benchmarks that a prior may refer to, computed from the dataset and printed.
DATA_SCALES: Mapping[str, str] = MappingProxyType(
    {
        "loss_centre": "geometric mean of the benchmark's reference losses",
        "per_loss_centre": "1 / geometric mean of the benchmark's reference losses",
    }
)
DATA_KWARGS: Mapping[str, str] = MappingProxyType(
    {
        "floor_guess_alpha": "50 (chance + .02 (1 - chance))",
        "floor_guess_beta": "50 (1 - chance - .02 (1 - chance))",
    }
)


@dataclass(frozen=True, slots=True)
class Prior:
    """Prior of one variable: `dist(**kwargs)`, per entry of `dims`, in units of `scale`.

    A kwarg is a number, the name of a vector of `DATA_KWARGS`, or a prior of its own, which makes
    the variable hierarchical: `mu` becomes the variable `<name>_mean`, `sigma` `<name>_sd`.
    """

    dist: str
    kwargs: Mapping[str, "float | str | Prior"]
    dims: str | None = None
    scale: str | None = None
    reason: str = field(default="", compare=False)

    @property
    def is_hierarchical(self) -> bool:
        """Whether a parameter of this prior has a prior itself."""
        return bool(self.inner)

    def top_level(self, name: str) -> Iterator[tuple[str, "Prior"]]:
        """Yield (variable, prior) of the priors in here that depend on no other variable."""
        if not self.is_hierarchical:
            yield name, self
        for kwarg, prior in self.inner.items():
            yield from prior.top_level(hyper_name(name, kwarg))

    @property
    def identity(self) -> str:
        """All that determines the density, numbers to their last digit, without the reason."""
        inner = ", ".join(f"{key}={_exact(value)}" for key, value in self.kwargs.items())
        times = f" x {self.scale}" if self.scale else ""
        return f"{self.dist}({inner}){times}"

    def to_dict(self) -> dict[str, object]:
        """Return the TOML form."""
        out: dict[str, object] = {"dist": self.dist}
        if self.dims:
            out["dims"] = self.dims
        if self.scale:
            out["scale"] = self.scale
        if self.reason:
            out["reason"] = self.reason
        out["kwargs"] = {
            key: value.to_dict() if isinstance(value, Prior) else value
            for key, value in self.kwargs.items()
        }
        return out

    @property
    def inner(self) -> dict[str, "Prior"]:
        """Parameters that have a prior themselves, with it."""
        return {key: value for key, value in self.kwargs.items() if isinstance(value, Prior)}

    @property
    def distribution(self) -> str:
        """The distribution as a paper writes it, without the scale: `Normal(mu=0, sigma=2)`."""
        inner = ", ".join(f"{key}={_short(value)}" for key, value in self.kwargs.items())
        return f"{self.dist}({inner})"

    @property
    def scale_meaning(self) -> str:
        """What the scale is, in words; empty without one."""
        return DATA_SCALES[self.scale] if self.scale else ""

    def __str__(self) -> str:
        times = f" x {self.scale}" if self.scale else ""
        return f"{self.distribution}{times}"


def hyper_name(name: str, kwarg: str) -> str:
    """Name of the variable that the prior of this kwarg becomes."""
    return f"{name}_{HYPER_SUFFIX.get(kwarg, kwarg)}"


def _short(value: "float | str | Prior") -> str:
    """A kwarg as `show` prints it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _exact(value: "float | str | Prior") -> str:
    """A kwarg without loss: the short form where that is all there is."""
    if isinstance(value, Prior):
        return value.identity
    if isinstance(value, str):
        return value
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


#: Depth to which priors within priors are read; which of them are allowed is said with a reason.
#: Python's own limit may lie far off, as PyTensor sets it to 10,000.
_MOST_NESTED: Final = 2


def prior_from_dict(where: str, raw: object) -> Prior:
    """Read one prior of a TOML; `where` names the entry in errors."""
    if not isinstance(raw, Mapping):
        raise SpecError(f"{where}: {told(raw)}, allowed is a table with dist and kwargs")
    if (
        where.count(".kwargs.") > _MOST_NESTED
    ):  # Python's own limit may lie far off: PyTensor sets it
        raise SpecError(f"{where}: priors are nested too deeply")
    unknown = set(raw) - {"dist", "kwargs", "dims", "scale", "reason"}
    if unknown:
        raise SpecError(
            f"{where}: unknown key {told(min(unknown))}, allowed: dist, kwargs, dims, scale, reason"
        )
    dist = raw.get("dist")
    if not isinstance(dist, str) or dist not in DISTRIBUTIONS:
        raise SpecError(f"{where}.dist: {told(dist)}, allowed: {', '.join(DISTRIBUTIONS)}")
    reason = raw.get("reason", "")
    if not isinstance(reason, str) or not is_plain(reason):
        raise SpecError(f"{where}.reason: {told(reason)}, allowed: a text that can be printed")
    prior = Prior(
        dist=dist,
        kwargs=MappingProxyType(_read_kwargs(where, dist, raw.get("kwargs"))),
        dims=_one_of(f"{where}.dims", raw.get("dims"), (BENCHMARK, *TREND_DIMS)),
        scale=_one_of(f"{where}.scale", raw.get("scale"), tuple(DATA_SCALES)),
        reason=reason,
    )
    if prior.scale and (prior.dist not in SCALABLE or prior.dims != BENCHMARK):
        raise SpecError(f"{where}.scale: needs dims = 'benchmark' and one of {', '.join(SCALABLE)}")
    _check_parameters(where, prior)
    return prior


def _check_parameters(where: str, prior: Prior) -> None:
    """Refuse parameters that cannot be those of this distribution."""
    for name, value in prior.kwargs.items():
        here = f"{where}.kwargs.{name}"
        if isinstance(value, str) and (prior.dist != "Beta" or prior.dims != BENCHMARK):
            raise SpecError(
                f"{here}: {told(value)}, allowed only in a Beta with dims = 'benchmark'"
            )
        if not isinstance(value, Prior):
            continue
        if prior.dist not in HIERARCHICAL:
            raise SpecError(f"{here}: a prior, allowed only in {' and '.join(HIERARCHICAL)}")
        if value.is_hierarchical or value.dims:
            raise SpecError(f"{here}: allowed is one prior for all benchmarks, with numbers only")
        if value.dist not in HYPER_DISTRIBUTIONS[name]:
            allowed = ", ".join(HYPER_DISTRIBUTIONS[name])
            raise SpecError(f"{here}.dist: {value.dist!r}, allowed for {name}: {allowed}")


def _one_of(where: str, value: object, allowed: tuple[str, ...]) -> str | None:
    """Accept one of these words, or nothing."""
    if value is None or value in allowed:
        return None if value is None else str(value)
    raise SpecError(f"{where}: {told(value)}, allowed: {', '.join(allowed)}")


def _read_kwargs(where: str, dist: str, raw: object) -> dict[str, float | str | Prior]:
    """Read the parameters of a distribution and check their ranges."""
    names = DISTRIBUTIONS[dist]
    if not isinstance(raw, Mapping) or set(raw) != set(names):
        got = sorted(raw) if isinstance(raw, Mapping) else raw
        raise SpecError(f"{where}.kwargs: {told(got)}, {dist} takes {', '.join(names)}")
    return {name: _read_kwarg(f"{where}.kwargs.{name}", name, raw[name]) for name in names}


def _read_kwarg(where: str, name: str, value: object) -> float | str | Prior:
    """Read one parameter: a number, a data vector, or a prior."""
    if isinstance(value, Mapping):
        if name not in HYPER_SUFFIX:
            raise SpecError(f"{where}: only mu and sigma can have a prior of their own")
        return prior_from_dict(where, value)
    if isinstance(value, str):
        if value not in DATA_KWARGS:
            raise SpecError(
                f"{where}: {told(value)}, allowed: a number or {', '.join(DATA_KWARGS)}"
            )
        return value
    number = read_number(where, value, allowed="a number or a prior")
    if name != "mu" and number <= 0:
        raise SpecError(f"{where}: {told(value)}, allowed: a positive number")
    return number


def read_number(where: str, value: object, *, allowed: str = "a number") -> float:
    """Read a number that a float can hold; TOML's integers have any number of digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"{where}: {told(value)}, allowed: {allowed}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SpecError(f"{where}: {told(value)}, allowed: a finite number")
    return number
