"""Attributes of a fit's root: each is what it has to be, or a clear error when it is read."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense.errors import FitFolderError
from bayesdense.files import parse_json
from bayesdense.wording import told


def attribute(tree: xr.DataTree, name: str) -> Any:  # noqa: ANN401  (attributes have no type)
    """Return an attribute of the tree's root, of JSON what it says, or raise naming it."""
    if name not in tree.attrs:
        raise FitFolderError(f"this fit has no attribute {name!r}")
    stored, form = written(tree, name), _FORMS[name]
    value = _parsed(stored) if form.is_json else stored
    if not form.holds(value):
        raise FitFolderError(
            f"the attribute {name!r} of this fit is {told(stored)}, allowed: {form.allowed}"
        )
    return value


def written(tree: xr.DataTree, name: str) -> object:
    """Return an attribute as it was written: netCDF gives numbers back as NumPy's."""
    value: object = tree.attrs.get(name)
    return value.item() if isinstance(value, np.generic) else value


def _parsed(text: object) -> object:
    """Return what JSON text says; None, which no attribute may be, of anything else."""
    try:
        return parse_json(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _is_text(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def is_count(value: object) -> bool:
    """Whether a value is an integer from 0; a bool is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_date(value: object) -> bool:
    """Whether a value is an ISO date."""
    try:
        return isinstance(value, str) and bool(dt.date.fromisoformat(value))
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    """Whether a value of JSON is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_window(value: object) -> bool:
    """Whether a value of JSON is a pair of dates."""
    return isinstance(value, list) and len(value) == 2 and all(map(_is_date, value))


def _is_texts(value: object) -> bool:
    """Whether a value of JSON is a list of texts."""
    return isinstance(value, list) and all(map(_is_text, value))


def _maps_to(test: Callable[[object], bool]) -> Callable[[object], bool]:
    """Test whether a value of JSON is an object, every value of which passes a test."""
    return lambda value: isinstance(value, dict) and all(map(test, value.values()))


def _or_none(test: Callable[[object], bool]) -> Callable[[object], bool]:
    """Test whether a value is None or passes a test."""
    return lambda value: value is None or test(value)


#: What is read of the attribute `dataset`; a fit of densities has neither runs nor scores.
_DATASET: Final[Mapping[str, Callable[[object], bool]]] = {
    "name": _is_text,
    "digest": _is_text,
    "n_llms": is_count,
    "n_families": is_count,
    "n_runs": _or_none(is_count),
    "n_scores": _or_none(is_count),
    "window": _is_window,
    "reference_params": _or_none(_is_text),
}


def _is_dataset(value: object) -> bool:
    """Whether a value of JSON says of a dataset what is read of it."""
    if not isinstance(value, dict):
        return False
    return all(test(value.get(name)) for name, test in _DATASET.items())


@dataclass(frozen=True, slots=True)
class _Form:
    """What an attribute has to be: the test of its value, the same in words, how it is stored."""

    holds: Callable[[object], bool]
    allowed: str
    is_json: bool = False


#: Attributes of the root that every fit has.
_FORMS: Final[Mapping[str, _Form]] = {
    "bayesdense_version": _Form(_is_text, "text"),
    "dataset": _Form(
        _is_dataset, "JSON of an object with name, digest, counts and window", is_json=True
    ),
    "dataset_warnings": _Form(_is_texts, "JSON of a list of texts", is_json=True),
    "spec": _Form(lambda value: isinstance(value, dict), "JSON of an object", is_json=True),
    "spec_digest": _Form(_is_text, "text"),
    "time_origin": _Form(_is_date, "a date such as 2024-04-05"),
    "seed": _Form(is_count, "an integer from 0"),
    "versions": _Form(_maps_to(_is_text), "JSON of an object of texts", is_json=True),
    "timings_s": _Form(_maps_to(_is_number), "JSON of an object of numbers", is_json=True),
    "sampler": _Form(_is_text, "text"),
}


#: Names of the attributes that every fit has.
ATTRIBUTES: Final = tuple(_FORMS)
