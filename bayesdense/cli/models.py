"""What `show` says of a model: where it lies, its options, every prior with scale and reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from bayesdense.cli.output import Answer, Row, pairs, table
from bayesdense.names import SCHEMA_VERSION

if TYPE_CHECKING:
    from bayesdense.priors import Prior
    from bayesdense.spec import ModelSpec


def model_answer(name_or_path: str) -> Answer:
    """Read a model, which checks it whole, and say it in the three forms."""
    from bayesdense.spec import load_spec, spec_path

    path, spec = spec_path(name_or_path), load_spec(name_or_path)
    return Answer(
        payload={
            "schema": SCHEMA_VERSION,
            "kind": "model",
            "name": spec.name,
            "path": str(path),
            "digest": spec.digest,
            "spec": spec.to_dict(),
        },
        rows=list(_rows(spec)),
        body=tuple(_body(path, spec)),
    )


def _rows(spec: "ModelSpec") -> Iterator[Row]:
    """Every entry that `--set` replaces, under its key; a prior within a prior is one, too."""
    blank = {"dims": None, "scale": None, "used": None, "reason": None}
    for name, value in spec.to_dict()["options"].items():
        yield {"key": f"options.{name}", "value": value, **blank}
    for component in spec.components.values():
        yield {"key": f"{component.name}.kind", "value": component.kind, **blank}
        for variable, prior in component.priors.items():
            used = variable in spec.used_priors(component.name)
            yield from _prior_rows(f"{component.name}.priors.{variable}", prior, used=used)


def _prior_rows(key: str, prior: "Prior", *, used: bool) -> Iterator[Row]:
    """A prior, then those that its parameters have."""
    yield {
        "key": key,
        "value": prior.distribution,
        "dims": prior.dims,
        "scale": prior.scale,
        "used": used,
        "reason": prior.reason,
    }
    for kwarg, inner in prior.inner.items():
        yield from _prior_rows(f"{key}.kwargs.{kwarg}", inner, used=used)


def _body(path: Path, spec: "ModelSpec") -> Iterator[RenderableType]:
    """Say where the model lies, what it is, and how to change it."""
    from bayesdense.kinds import KINDS

    yield pairs(
        [
            ("model", spec.name),
            ("file", path),
            ("title", spec.title),
            ("description", " ".join(spec.description.split())),
            ("references", "\n".join(spec.references)),
        ]
    )
    yield ""
    options = spec.to_dict()["options"].items()
    yield table(("option", "value"), ([k, _spelt(v)] for k, v in options), compact=True)
    for component in spec.components.values():
        others = [kind for kind in KINDS[component.name] if kind != component.kind]
        rest = f" (or {', '.join(others)})" if others else ""
        yield f"\n[{component.name}] kind = {component.kind}{rest}"
        yield pairs(
            (f"  {variable}", _told(prior, used=variable in spec.used_priors(component.name)))
            for variable, prior in component.priors.items()
        )
    yield from ("", *_hint(spec))


def _told(prior: "Prior", *, used: bool) -> str:
    """Say a prior in lines: its distribution, its scale, its reasons."""
    by = f", one for each {prior.dims}" if prior.dims else ""
    lines = [f"{prior.distribution}{by}"]
    if prior.scale:
        lines.append(f"times {prior.scale}: {prior.scale_meaning}")
    if not used:
        lines.append("(not used by this kind and these options)")
    lines.append(prior.reason)
    lines += [f"{kwarg}: {inner.reason}" for kwarg, inner in prior.inner.items()]
    return "\n".join(line for line in lines if line)


def _spelt(value: object) -> str:
    """Spell an option as TOML does."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _hint(spec: "ModelSpec") -> Iterator[str]:
    """Say how `fit` replaces an option, a kind and a number of a prior."""
    variable, prior = next(iter(spec.used_priors("trend").items()))
    kwarg = next(iter(prior.kwargs))
    while isinstance(prior.kwargs[kwarg], type(prior)):
        variable, prior = f"{variable}.kwargs.{kwarg}", prior.inner[kwarg]
    yield "fit --set replaces one entry, and may be repeated:"
    option = spec.option_names[-1] if not spec.is_joint else "params"
    yield f"  --set {option}={_spelt(getattr(spec.options, option))}"
    yield f"  --set trend={spec.trend}"
    yield f"  --set trend.priors.{variable}.kwargs.{kwarg}={prior.kwargs[kwarg]:g}"
