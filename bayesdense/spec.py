"""The specification of a statistical model: which components, which options, which priors."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bayesdense.catalog import model_names, model_path
from bayesdense.errors import SpecError
from bayesdense.files import MOST_TOML, parse_toml, read_regular
from bayesdense.kinds import (
    DENSITY_COMPONENTS,
    JOINT_COMPONENTS,
    KINDS,
    Component,
    read_component,
)
from bayesdense.names import SCHEMA_VERSION
from bayesdense.options import OPTION_NAMES, Options, options_of, read_options
from bayesdense.priors import Prior
from bayesdense.wording import MAX_SHOWN, is_plain, nearest_of, printable, told


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A statistical model as a value: made by `load_spec`, changed by `with_options`.

    Attributes
    ----------
    name, title, description, references
        As in its file; references are keys of works.
    options
        What holds for the whole model: D0, count of parameters, feedback, implementation.
    components
        Each term of the generative story by name, with its kind and its priors.
    """

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

    @property
    def option_names(self) -> tuple[str, ...]:
        """Options that have an effect on this model."""
        return options_of(joint=self.is_joint)

    def used_priors(self, component: str) -> dict[str, Prior]:
        """Return the priors of a component that its kind and the options ask for."""
        return self.component(component).used_priors(self.options)

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
                raise SpecError(f"--set {told(assignment)}: write it as a.b=value")
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
            "options": {name: getattr(self.options, name) for name in self.option_names},
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

    @property
    def posterior_digest(self) -> str:
        """`digest` without the spacing of the grid, which moves no posterior: fits refine it."""
        if not self.is_joint:
            return self.digest
        return self.with_options(quadrature_spacing=Options().quadrature_spacing).digest


def load_spec(name_or_path: str | Path) -> ModelSpec:
    """Load a model by its shipped name (`joint`, `trend_only`) or from a TOML file.

    Parameters
    ----------
    name_or_path
        Name of a shipped model, or a TOML file; a `Path` is a path first.

    Returns
    -------
    ModelSpec
        The whole model, checked.

    Raises
    ------
    SpecError
        Where the file, an entry or a prior is not as it should be; the message says where, what
        it holds and what is allowed.
    """
    path = spec_path(name_or_path)
    try:
        raw = parse_toml(read_regular(path, MOST_TOML))
    except ValueError as error:  # not TOML, not UTF-8, a number of thousands of digits
        raise SpecError(f"{path.name}: not a TOML file in UTF-8: {error}") from error
    except OSError as error:
        raise SpecError(f"{path.name}: cannot be read: {error.strerror}") from error
    return spec_from_dict(raw, where=path.name)


def spec_path(name_or_path: str | Path) -> Path:
    """File of a model: a shipped name, else a file that is there; a `Path` is a path first."""
    text = str(name_or_path)
    is_shipped = text in model_names()
    if is_shipped and isinstance(name_or_path, str):
        return model_path(text)
    if os.path.isfile(text):  # unlike Path's, False for names that no file system takes
        return Path(text)
    if not is_shipped and (problem := _path_problem(text)):
        raise SpecError(problem)
    return model_path(text)


def _path_problem(text: str) -> str | None:
    """Why there is no model at this path; None for a mere name, which may be misspelt."""
    if not text.strip():
        return f"the name of the model is empty; shipped are {', '.join(model_names())}"
    if os.path.exists(text):
        what = "a folder" if os.path.isdir(text) else "not a regular file"
        return f"{printable(text)}: {what}, allowed a TOML file or a shipped name"
    path = Path(text)
    is_path = path.suffix == ".toml" or path.name != text
    return f"{printable(text)}: no such file" if is_path else None


def spec_from_dict(raw: Mapping[str, Any], *, where: str) -> ModelSpec:
    """Read a specification from its TOML form; `where` stands in front of errors."""
    try:
        return _read_spec(raw, where)
    except RecursionError:
        raise SpecError(f"{where}: nested too deeply for a model") from None


def _read_spec(raw: Mapping[str, Any], where: str) -> ModelSpec:
    """Read and check every part of a specification."""
    if type(raw.get("schema")) is not int or raw["schema"] != SCHEMA_VERSION:
        raise SpecError(f"{where}: schema = {told(raw.get('schema'))}, allowed: {SCHEMA_VERSION}")
    heads = ("schema", "name", "title", "description", "references", "options")
    for key in raw:
        if key not in heads and key not in KINDS:
            raise SpecError(
                f"{where}: unknown entry {told(key)}{nearest_of(key, (*heads, *KINDS))}"
            )
    name = raw.get("name")
    if not isinstance(name, str) or not name or not name.isprintable():
        raise SpecError(f"{where}: name = {told(name)}, allowed: a word")
    title, description = (_text(where, raw, key) for key in ("title", "description"))
    references = raw.get("references", [])
    if not isinstance(references, list) or not all(map(_is_text, references)):
        raise SpecError(f"{where}: references = {told(references)}, allowed: a list of texts")
    components = {
        key: read_component(f"{where}: {key}", key, raw[key]) for key in KINDS if key in raw
    }
    for key in DENSITY_COMPONENTS:
        if key not in components:
            raise SpecError(f"{where}: [{key}] is missing")
    if set(components) not in (set(DENSITY_COMPONENTS), set(JOINT_COMPONENTS)):
        missing = ", ".join(name for name in JOINT_COMPONENTS if name not in components)
        raise SpecError(f"{where}: a model that reads scores also needs {missing}")
    options = _options(where, raw.get("options", {}), joint="loss_law" in components)
    _check_used_priors(where, components, options)
    return ModelSpec(
        name=name,
        title=title or name,
        description=description,
        references=tuple(references),
        options=options,
        components=MappingProxyType(components),
    )


def _options(where: str, raw: object, *, joint: bool) -> Options:
    """Read `[options]`; their values are checked where no file is known, so it is named here."""
    try:
        return read_options(where, raw, joint=joint)
    except SpecError as error:
        message = str(error)
        named = message.startswith(f"{where}: ")
        raise SpecError(message if named else f"{where}: {message}") from None


def _check_used_priors(where: str, components: Mapping[str, Component], options: Options) -> None:
    """Refuse a model without a prior that it needs."""
    for component in components.values():
        try:
            component.used_priors(options)
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from None


def _text(where: str, raw: Mapping[str, Any], key: str) -> str:
    """Read a text that may be absent."""
    text = raw.get(key, "")
    if not _is_text(text):
        raise SpecError(f"{where}: {key} = {told(text)}, allowed: a text that can be printed")
    return str(text)


def _is_text(value: object) -> bool:
    """Whether a value is text without control characters."""
    return isinstance(value, str) and is_plain(value)


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
            raise _missing(spec, key, step, node)
        node = node[step]
    # An option that this kind of model lacks is refused where options are read, which says why.
    known = path == ["options"] and last in OPTION_NAMES
    if not isinstance(node, dict) or (last not in node and not known):
        names = [*node, *OPTION_NAMES, *KINDS] if isinstance(node, dict) else []
        raise _missing(spec, key, last, names)
    node[last] = value
    return spec_from_dict(raw, where=f"model {told(spec.name)}")


def _missing(spec: ModelSpec, key: str, step: str, names: object) -> SpecError:
    """Say that an entry to be replaced is not there."""
    hint = nearest_of(step, names)
    return SpecError(f"{key[:MAX_SHOWN]}: model {told(spec.name)} has no {told(step)}{hint}")


def _parse_value(text: str) -> object:
    """Read a TOML value; a bare word is a string."""
    try:
        return parse_toml(f"value = {text}".encode())["value"]
    except ValueError as error:
        if "too deeply" in str(error):
            raise SpecError(f"--set: {told(text)} is nested too deeply") from None
        return text
