"""Components of a model: the kinds of each, and the priors that each kind needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bayesdense.errors import SpecError
from bayesdense.options import Options
from bayesdense.priors import DISTRIBUTIONS, Prior, prior_from_dict
from bayesdense.trends import TRENDS, form_of, known_trends, trend_forms, trend_named
from bayesdense.wording import nearest_of, told

_LAW = ("param_coef", "param_exponent", "token_coef", "token_exponent")
_MAP = ("score_floor", "score_ceiling", "score_slope", "loss_midpoint", "map_noise_sd")

#: Kinds of every component and the priors that each of them needs; trends without an argument.
KINDS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "loss_law": {"chinchilla": ("loss_floor", *_LAW), "additive": _LAW},
        "loss_noise": {
            "clustered": ("loss_noise_sd", "run_effect_sd", "size_effect_sd"),
            "independent": ("loss_noise_sd",),
        },
        "score_map": {"logistic": _MAP},
        "score_noise": {
            "protocol": ("discrepancy_sd", "protocol_sd", "cell_sd", "protocol_offset"),
            "cell": ("cell_sd", "protocol_offset"),
        },
        "family": {"normal": ("family_sd",), "none": ()},
        "residual": {
            "symmetric": ("residual_sd",),
            "student_t": ("residual_sd", "residual_df"),
            "composed": ("residual_sd", "one_sided_sd"),
        },
        "trend": {kind: trend.parameters for kind, trend in TRENDS.items()},
    }
)
#: Option (true or false) -> component and prior that it asks for, beside those of the kinds.
OPTION_PRIORS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"scale_trend": ("residual", "residual_log_sd_slope")}
)
#: Variables between 0 and 1, and those beside the trend's that may be negative (a trend names
#: those of its own that may not).
_FRACTIONS = ("score_floor", "score_ceiling")
_REAL = ("protocol_offset", "residual_log_sd_slope")
#: Components of the joint model, and of the one for published densities.
JOINT_COMPONENTS = tuple(KINDS)
DENSITY_COMPONENTS = ("family", "residual", "trend")


@dataclass(frozen=True, slots=True)
class Component:
    """One term of the generative story: its kind and the priors written for it.

    Priors that the chosen kind does not use stay, so that switching kinds needs no new ones.
    """

    name: str
    kind: str
    priors: Mapping[str, Prior]

    def used_priors(self, options: Options) -> dict[str, Prior]:
        """Priors that the chosen kind asks for, in its order, then those that options ask for.

        The one place of this rule: what a model samples, draws, shows and checks follows it. An
        error names what asks for a prior that is missing.
        """
        needed = needed_by(self.name, self.kind)
        asked = {variable: f"kind {self.kind!r}" for variable in needed}
        for option, (component, variable) in OPTION_PRIORS.items():
            if component == self.name and getattr(options, option):
                asked[variable] = f"{option} = true"
        for variable, by in asked.items():
            if variable not in self.priors:
                raise SpecError(f"{self.name}.priors.{variable}: missing, {by} needs it")
        return {variable: self.priors[variable] for variable in asked}


def needed_by(component: str, kind: str) -> tuple[str, ...]:
    """Variables whose priors a kind needs."""
    return trend_named(kind).parameters if component == "trend" else KINDS[component][kind]


def known_priors(component: str) -> set[str]:
    """Variables of a component, under whatever kind and options."""
    of_options = {variable for name, variable in OPTION_PRIORS.values() if name == component}
    if component == "trend":
        return of_options.union(*(trend.parameters for trend in known_trends().values()))
    return of_options.union(*KINDS[component].values())


def read_component(where: str, name: str, raw: object) -> Component:
    """Read one component with its priors."""
    if not isinstance(raw, Mapping):
        raise SpecError(f"{where}: {told(raw)}, allowed is a table with kind and priors")
    kind = _read_kind(where, name, raw.get("kind"))
    for key in raw:
        if key not in ("kind", "priors"):
            raise SpecError(f"{where}: unknown key {told(key)}, allowed: kind, priors")
    priors = raw.get("priors", {})
    if not isinstance(priors, Mapping):
        raise SpecError(f"{where}.priors: {told(priors)}, allowed is a table")
    known = known_priors(name)
    for variable in priors:
        if variable not in known:
            raise SpecError(
                f"{where}.priors: unknown variable {told(variable)}{nearest_of(variable, known)}"
            )
    if name == "trend":
        priors = {**trend_named(kind).priors, **priors}
    read = {key: prior_from_dict(f"{where}.priors.{key}", value) for key, value in priors.items()}
    for variable, prior in read.items():
        _check_fits(f"{where}.priors.{variable}", name, variable, prior)
    return Component(name=name, kind=kind, priors=MappingProxyType(read))


def _read_kind(where: str, name: str, kind: object) -> str:
    """Accept a kind of the component; a trend's may carry an argument."""
    is_trend = name == "trend"
    known = set(known_trends()) if is_trend else set(KINDS[name])
    if not isinstance(kind, str) or (form_of(kind) if is_trend else kind) not in known:
        allowed = trend_forms() if is_trend else KINDS[name]
        own = " (one of your own is added first: add_trend, --trend-file)" if is_trend else ""
        raise SpecError(f"{where}.kind: {told(kind)}, allowed: {', '.join(allowed)}{own}")
    try:
        return trend_named(kind).kind if is_trend else kind
    except SpecError as error:
        raise SpecError(f"{where}.kind: {error}") from None


def _check_fits(where: str, component: str, variable: str, prior: Prior) -> None:
    """Refuse a prior whose shape or range is not the variable's."""
    dims = None if component in DENSITY_COMPONENTS else "benchmark"
    positive = variable not in (*_REAL, *_FRACTIONS)
    if component == "trend":
        trends = known_trends().values()
        dims = next((trend.dims[variable] for trend in trends if variable in trend.dims), None)
        positive = any(variable in trend.positive for trend in trends)
    if prior.dims != dims:
        allowed = f"dims = {dims!r}" if dims else f"no dims: {variable} is one number"
        raise SpecError(f"{where}.dims: {prior.dims!r}, allowed: {allowed}")
    if variable in _FRACTIONS and prior.dist != "Beta":
        raise SpecError(f"{where}.dist: {prior.dist!r}, allowed for a fraction: Beta")
    if positive and prior.dist == "Normal":
        allowed = ", ".join(name for name in DISTRIBUTIONS if name != "Normal")
        raise SpecError(f"{where}.dist: 'Normal', allowed for a positive number: {allowed}")
