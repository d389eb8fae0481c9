"""The specification of a statistical model: which components, which options, which priors."""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bayesdense.catalog import model_path
from bayesdense.errors import SpecError
from bayesdense.names import SCHEMA_VERSION
from bayesdense.priors import DISTRIBUTIONS, Prior, prior_from_dict
from bayesdense.trends import TRENDS

_LAW = ("param_coef", "param_exponent", "token_coef", "token_exponent")
_MAP = ("score_floor", "score_ceiling", "score_slope", "loss_midpoint", "map_noise_sd")

#: Kinds of every component and the priors that each of them needs.
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
#: Priors that a component may have beside those of its kinds: they are used where an option asks.
OPTIONAL_PRIORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"residual": ("residual_log_sd_slope",)}
)
#: Variables between 0 and 1, and those beside the trend's that may be negative.
_FRACTIONS = ("score_floor", "score_ceiling")
_REAL = ("protocol_offset", "residual_log_sd_slope")
#: Components of the joint model, and of the one for published densities.
JOINT_COMPONENTS = tuple(KINDS)
DENSITY_COMPONENTS = ("family", "residual", "trend")

_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "params": ("non_embedding", "total", "active"),
        "feedback": ("joint", "cut"),
        "calibration": ("all", "fit"),
        "implementation": ("marginal", "latent"),
    }
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
                raise SpecError(f"options.{name}: {value!r}, allowed: {', '.join(allowed)}")
        for name, low, high in (("reference_tokens", 1e6, 1e18), ("quadrature_spacing", 0.01, 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SpecError(f"options.{name}: {value!r}, allowed: a number")
            if not low <= value <= high:
                raise SpecError(f"options.{name}: {value:g}, allowed: {low:g} to {high:g}")
        for name in ("base_only", "scale_trend"):
            if not isinstance(getattr(self, name), bool):
                raise SpecError(f"options.{name}: {getattr(self, name)!r}, allowed: true or false")


OPTION_NAMES = tuple(Options.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Component:
    """One term of the generative story: its kind and the priors written for it.

    Priors that the chosen kind does not use stay, so that switching kinds needs no new ones.
    """

    name: str
    kind: str
    priors: Mapping[str, Prior]

    @property
    def used_priors(self) -> dict[str, Prior]:
        """Priors of the chosen kind, in the order in which the kind names them."""
        return {name: self.priors[name] for name in KINDS[self.name][self.kind]}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A statistical model as a value: made by `load_spec`, changed by `with_options`."""

    name: str
    title: str
    description: str
    references: tuple[str, ...]
    options: Options
    components: Mapping[str, Component]

    def component(self, name: str) -> Component:
        """Return a component; an error names the model that lacks it."""
        if name not in self.components:
            raise SpecError(f"model {self.name!r} has no component {name!r}")
        return self.components[name]

    @property
    def is_joint(self) -> bool:
        """Whether the model reads scores through law and map, rather than given densities."""
        return "loss_law" in self.components

    @property
    def trend(self) -> str:
        """Kind of the trend hypothesis."""
        return self.component("trend").kind

    @property
    def residual(self) -> str:
        """Kind of the residual."""
        return self.component("residual").kind

    def prior(self, component: str, variable: str) -> Prior:
        """Return the prior of a variable; an error says which entry is missing."""
        priors = self.component(component).priors
        if variable not in priors:
            raise SpecError(
                f"model {self.name!r}: [{component}.priors.{variable}] is missing, "
                f"kind {self.component(component).kind!r} needs it"
            )
        return priors[variable]

    def with_options(self, **changes: object) -> "ModelSpec":
        """Return this model with other options or component kinds.

        Examples
        --------
        >>> from bayesdense.spec import load_spec
        >>> load_spec("joint").with_options(trend="flat", reference_tokens=1e12).trend
        'flat'
        """
        spec = self
        for key, value in changes.items():
            spec = _override(spec, key, value)
        return spec

    def with_overrides(self, assignments: Sequence[str]) -> "ModelSpec":
        """Return this model with entries replaced, each given as `a.b=value` (TOML values)."""
        spec = self
        for assignment in assignments:
            key, sign, text = assignment.partition("=")
            if not sign or not key.strip():
                raise SpecError(f"--set {assignment!r}: write it as a.b=value")
            spec = _override(spec, key.strip(), _parse_value(text.strip()))
        return spec

    def to_dict(self) -> dict[str, Any]:
        """Return the TOML form."""
        out: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "references": list(self.references),
            "options": {name: getattr(self.options, name) for name in OPTION_NAMES},
        }
        for name, component in self.components.items():
            priors = {key: prior.to_dict() for key, prior in component.priors.items()}
            out[name] = {"kind": component.kind, "priors": priors}
        return out

    def to_json(self) -> str:
        """Return the canonical JSON of the whole specification."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "ModelSpec":
        """Read what `to_json` wrote."""
        return spec_from_dict(json.loads(text), where="the fit's specification")

    @property
    def digest(self) -> str:
        """SHA-256 of options, kinds and all priors written, those of other kinds too; no words."""
        raw = self.to_dict()
        content: dict[str, Any] = {"options": raw["options"]}
        for name, component in self.components.items():
            content[name] = {
                "kind": component.kind,
                "priors": {k: p.identity + str(p.dims) for k, p in component.priors.items()},
            }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def load_spec(name_or_path: str | Path) -> ModelSpec:
    """Load a model by its shipped name (`joint`, `trend_only`) or from a TOML file.

    Raises
    ------
    SpecError
        Where the file, an entry or a prior is not as it should be; the message says where, what
        it holds and what is allowed.
    """
    path = _resolve(name_or_path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path.name}: not a TOML file in UTF-8: {error}") from error
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from error
    return spec_from_dict(raw, where=path.name)


def _resolve(name_or_path: str | Path) -> Path:
    """File of a model: a path that is there, else a shipped name."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise SpecError(f"{path}: no such file")
        return path
    return model_path(str(name_or_path))


def spec_from_dict(raw: Mapping[str, Any], *, where: str) -> ModelSpec:
    """Read a specification from its TOML form; `where` stands in front of errors."""
    if type(raw.get("schema")) is not int or raw["schema"] != SCHEMA_VERSION:
        raise SpecError(f"{where}: schema = {raw.get('schema')!r}, allowed: {SCHEMA_VERSION}")
    heads = ("schema", "name", "title", "description", "references", "options")
    for key in raw:
        if key not in heads and key not in KINDS:
            raise SpecError(f"{where}: unknown entry {key!r}{_nearest(key, (*heads, *KINDS))}")
    name = raw.get("name")
    if not isinstance(name, str) or not name:
        raise SpecError(f"{where}: name = {name!r}, allowed: a word")
    title, description = (_text(where, raw, key) for key in ("title", "description"))
    references = raw.get("references", [])
    if not isinstance(references, list) or not all(isinstance(item, str) for item in references):
        raise SpecError(f"{where}: references = {references!r}, allowed: a list of texts")
    components = {
        key: _read_component(f"{where}: {key}", key, raw[key]) for key in KINDS if key in raw
    }
    for key in DENSITY_COMPONENTS:
        if key not in components:
            raise SpecError(f"{where}: [{key}] is missing")
    if set(components) not in (set(DENSITY_COMPONENTS), set(JOINT_COMPONENTS)):
        missing = ", ".join(name for name in JOINT_COMPONENTS if name not in components)
        raise SpecError(f"{where}: a model that reads scores also needs {missing}")
    return ModelSpec(
        name=name,
        title=title or name,
        description=description,
        references=tuple(references),
        options=_read_options(where, raw.get("options", {})),
        components=MappingProxyType(components),
    )


def _text(where: str, raw: Mapping[str, Any], key: str) -> str:
    """Read a text that may be absent."""
    text = raw.get(key, "")
    if not isinstance(text, str):
        raise SpecError(f"{where}: {key} = {text!r}, allowed: a text")
    return text


def _read_options(where: str, raw: object) -> Options:
    """Read `[options]`; an unknown name is an error."""
    if not isinstance(raw, Mapping):
        raise SpecError(f"{where}: options is {raw!r}, allowed is a table")
    for key in raw:
        if key not in OPTION_NAMES:
            raise SpecError(f"{where}: unknown option {key!r}{_nearest(key, OPTION_NAMES)}")
    # 5e12 and 5000000000000 are one number: the digest must not tell them apart.
    plain: dict[str, Any] = {k: float(v) if type(v) is int else v for k, v in raw.items()}
    return Options(**plain)


def _read_component(where: str, name: str, raw: object) -> Component:
    """Read one component with its priors."""
    if not isinstance(raw, Mapping):
        raise SpecError(f"{where}: {raw!r}, allowed is a table with kind and priors")
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in KINDS[name]:
        raise SpecError(f"{where}.kind: {kind!r}, allowed: {', '.join(KINDS[name])}")
    for key in raw:
        if key not in ("kind", "priors"):
            raise SpecError(f"{where}: unknown key {key!r}, allowed: kind, priors")
    priors = raw.get("priors", {})
    if not isinstance(priors, Mapping):
        raise SpecError(f"{where}.priors: {priors!r}, allowed is a table")
    known = {variable for variables in KINDS[name].values() for variable in variables}
    known |= set(OPTIONAL_PRIORS.get(name, ()))
    for variable in priors:
        if variable not in known:
            raise SpecError(
                f"{where}.priors: unknown variable {variable!r}{_nearest(variable, known)}"
            )
    read = {key: prior_from_dict(f"{where}.priors.{key}", value) for key, value in priors.items()}
    for variable, prior in read.items():
        _check_fits(f"{where}.priors.{variable}", name, variable, prior)
    component = Component(name=name, kind=kind, priors=MappingProxyType(read))
    for variable in KINDS[name][component.kind]:
        if variable not in component.priors:
            raise SpecError(f"{where}.priors.{variable}: missing, kind {kind!r} needs it")
    return component


def _check_fits(where: str, component: str, variable: str, prior: Prior) -> None:
    """Refuse a prior whose shape or range is not the variable's."""
    dims = None if component in DENSITY_COMPONENTS else "benchmark"
    if prior.dims != dims:
        allowed = f"dims = {dims!r}" if dims else f"no dims: {variable} is one number"
        raise SpecError(f"{where}.dims: {prior.dims!r}, allowed: {allowed}")
    if variable in _FRACTIONS and prior.dist != "Beta":
        raise SpecError(f"{where}.dist: {prior.dist!r}, allowed for a fraction: Beta")
    real = component == "trend" or variable in _REAL
    if not real and variable not in _FRACTIONS and prior.dist == "Normal":
        allowed = ", ".join(name for name in DISTRIBUTIONS if name != "Normal")
        raise SpecError(f"{where}.dist: 'Normal', allowed for a positive number: {allowed}")


def _override(spec: ModelSpec, key: str, value: object) -> ModelSpec:
    """Replace one entry: an option, a component's kind, or any entry by its dotted path."""
    if key in KINDS:
        key = f"{key}.kind"
    elif key in OPTION_NAMES:
        key = f"options.{key}"
    raw = spec.to_dict()
    node: Any = raw
    *path, last = key.split(".")
    for step in path:
        if not isinstance(node, dict) or step not in node:
            raise SpecError(f"{key}: model {spec.name!r} has no {step!r}{_nearest(step, node)}")
        node = node[step]
    if not isinstance(node, dict) or last not in node:
        names = [*node, *OPTION_NAMES, *KINDS] if isinstance(node, dict) else []
        raise SpecError(f"{key}: model {spec.name!r} has no {last!r}{_nearest(last, names)}")
    node[last] = value
    return spec_from_dict(raw, where=f"model {spec.name!r}")


def _parse_value(text: str) -> object:
    """Read a TOML value; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _nearest(word: str, words: object) -> str:
    """Return '; did you mean ...?' or ', allowed: ...'."""
    names = sorted(str(name) for name in words) if hasattr(words, "__iter__") else []
    close = get_close_matches(word, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f", allowed: {', '.join(names)}" if names else ""


def top_level_priors(spec: ModelSpec) -> Iterator[tuple[str, Prior]]:
    """Yield (variable, prior) of every TOML entry in use that depends on no other variable."""
    for component in spec.components.values():
        for name, prior in component.used_priors.items():
            yield from prior.top_level(name)
