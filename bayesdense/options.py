"""Options of a model: definitions and choices that are no priors."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from bayesdense.errors import SpecError
from bayesdense.priors import read_number
from bayesdense.wording import nearest_of, told

_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": ("non_embedding", "total", "active"),
        "feedback": ("joint", "cut"),
        "calibration": ("all", "fit"),
        "implementation": ("marginal", "latent"),
    }
)
#: Smallest and largest value of the options that are numbers.
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"reference_tokens": (1e6, 1e18), "quadrature_spacing": (0.01, 1.0)}
)


@dataclass(frozen=True, slots=True)
class Options:
    """Definitions and choices that are no priors.

    Attributes
    ----------
    reference_tokens
        D0, the tokens on which the reference LLM of unknown size is imagined to be trained.
    params
        Which count divides: `non_embedding`, `total` or `active` parameters.
    base_only
        Whether only base LLMs enter (`is_base`).
    feedback
        `joint`, or `cut`: law and map learn from the reference data alone.
    calibration
        Points of the score map: `all`, or those with role `fit` (the others are predicted).
    implementation
        `marginal` (sizes integrated out) or `latent` (every size a parameter): one model.
    quadrature_spacing
        Distance of the grid's nodes in log parameters, marginal implementation.
    scale_trend
        Whether the log of the residual's sd moves linearly with time.
    """

    reference_tokens: float = 5e12
    params: str = "non_embedding"
    base_only: bool = True
    feedback: str = "joint"
    calibration: str = "all"
    implementation: str = "marginal"
    quadrature_spacing: float = 0.25
    scale_trend: bool = False

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise SpecError(f"options.{name}: {told(value)}, allowed: {', '.join(allowed)}")
        for name, (low, high) in RANGES.items():
            number = read_number(f"options.{name}", getattr(self, name))
            if not low <= number <= high:
                raise SpecError(f"options.{name}: {number:g}, allowed: {low:g} to {high:g}")
        for name in ("base_only", "scale_trend"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise SpecError(f"options.{name}: {told(value)}, allowed: true or false")


OPTION_NAMES = tuple(Options.__dataclass_fields__)
#: Options of law, map and sizes, which a model of given densities does not have.
JOINT_OPTIONS: Final = (
    "reference_tokens",
    "params",
    "feedback",
    "calibration",
    "implementation",
    "quadrature_spacing",
)


def options_of(*, joint: bool) -> tuple[str, ...]:
    """Names of the options that have an effect on a joint model, or on one of given densities."""
    return OPTION_NAMES if joint else tuple(n for n in OPTION_NAMES if n not in JOINT_OPTIONS)


def read_options(where: str, raw: object, *, joint: bool) -> Options:
    """Read `[options]`; an unknown name, or one without effect on the model, is an error."""
    if not isinstance(raw, Mapping):
        raise SpecError(f"{where}: options is {told(raw)}, allowed is a table")
    for key in raw:
        if key not in OPTION_NAMES:
            raise SpecError(f"{where}: unknown option {told(key)}{nearest_of(key, OPTION_NAMES)}")
        if key not in options_of(joint=joint):
            raise SpecError(
                f"{where}: option {key!r} has no effect on a model of given densities, which has "
                f"neither law nor sizes; allowed: {', '.join(options_of(joint=joint))}"
            )
    # 5e12 and 5000000000000 are one number: the digest must not tell them apart.
    plain: dict[str, Any] = {
        key: read_number(f"options.{key}", value) if type(value) is int else value
        for key, value in raw.items()
    }
    return Options(**plain)
