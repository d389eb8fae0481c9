"""Command lines that make a fit, or one like it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from bayesdense.catalog import dataset_names, model_names
from bayesdense.names import CHAIN, DRAW
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.wording import printable

#: What a reader has to put in: where his own dataset and his own model file lie.
_OWN_DATASET, _OWN_MODEL = "PATH/OF/DATASET", "PATH/OF/MODEL.toml"
#: Words of a model file, which decide nothing.
_WORDS: Final = ("schema", "name", "title", "description", "references")


def same_fit(fit: Fit) -> str:
    """Command line of a fit of the same model and seed to the same dataset."""
    sizes = fit.posterior.sizes
    counts = (
        ()  # a cut's pooled draws are one row, whatever was asked for
        if fit.spec.options.feedback == "cut"
        else ("--draws", str(sizes[DRAW]), "--chains", str(sizes[CHAIN]))
    )
    return shlex.join([*_start("fit", fit, fit.spec), "--seed", str(fit.seed), *counts])


def other_fit(fit: Fit, key: str, value: str) -> str:
    """Command line of a fit with one more choice changed."""
    spec = fit.spec.with_overrides([f"{key}={value}"])
    folder = f"fits/{printable(str(fit.dataset_info['name']))}-{key}-{value}"
    return shlex.join([*_start("fit", fit, spec), "--seed", str(fit.seed), "--out", folder])


def study_of_fit(fit: Fit, verb: str, *more: str) -> str:
    """Command line of a study of the fit's dataset and model."""
    return shlex.join([*_start(verb, fit, fit.spec), *more])


def _start(verb: str, fit: Fit, spec: ModelSpec) -> Iterator[str]:
    """Dataset, model and what differs from the model as it ships."""
    name = str(fit.dataset_info["name"])
    yield from ("bayesdense", verb, name if name in dataset_names() else _OWN_DATASET)
    if spec.name not in model_names():
        yield from ("--model", _OWN_MODEL)
        return
    yield from ("--model", spec.name)
    shipped = _shipped(spec.name)
    for path, value in _leaves(spec.to_dict()):
        if path not in _WORDS and shipped.get(path) != value:
            short = path.removeprefix("options.").removesuffix(".kind")
            yield from ("--set", f"{short}={_written(value)}")


@cache
def _shipped(name: str) -> Mapping[str, object]:
    """Entries of a model as it ships; a report asks for it with every command line."""
    return dict(_leaves(load_spec(name).to_dict()))


def _written(value: object) -> str:
    """A value as `--set` takes it: TOML, or a bare word."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return value if isinstance(value, str) else json.dumps(value)


def _leaves(tree: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    """Entries of a model file by dotted path, without reasons, which decide nothing."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        elif key != "reason":
            yield f"{path}{key}", value
