"""Canonical JSON: one text for one value, so that its digest is the value's name."""

import json
import math
from collections.abc import Mapping
from typing import Final

from bayesdense.errors import JobError
from bayesdense.wording import show, told

#: Levels of brackets: far more than a job needs, far fewer than what a parser refuses.
_DEPTH: Final = 64
#: Python neither writes nor reads longer whole numbers than about this (4300 digits).
_BITS: Final = 8192


def canonical(value: object, name: str = "value") -> str:
    """Write a value as JSON in the one way that depends on nothing but the value.

    Keys are sorted, there are no spaces, and floats have the fewest digits that bring them back.
    A tuple is a list, a mapping of any kind an object; 1 and 1.0 are two values.

    Parameters
    ----------
    value
        None, booleans, whole numbers, finite floats, text, and lists, tuples and mappings of them.
    name
        What messages call the value.

    Raises
    ------
    JobError
        Something else is in there: where, and what to do.

    Examples
    --------
    >>> canonical({"b": (1, 2.0), "a": None})
    '{"a":null,"b":[1,2.0]}'
    """
    return json.dumps(
        _plain(value, name, _DEPTH),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def _plain(value: object, where: str, depth: int) -> object:
    """Lists and dicts of what JSON holds, or an error that says where it is something else."""
    if depth < 0:
        raise JobError(f"{_short(where)}: nested more than {_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {
            _key(key, where): _plain(entry, f"{where}.{key}", depth - 1)
            for key, entry in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(entry, f"{where}[{k}]", depth - 1) for k, entry in enumerate(value)]
    return _scalar(value, where)


def _scalar(value: object, where: str) -> object:
    """Return what is no list or mapping as it is, or raise."""
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise JobError(
                f"{_short(where)}: {value}, allowed: finite numbers; write null where there is none"
            )
        return value
    if isinstance(value, int):  # a boolean too
        if value.bit_length() > _BITS:
            raise JobError(f"{_short(where)}: a whole number of {value.bit_length()} bits")
        return value
    if value is None:
        return None
    kind = type(value)
    raise JobError(
        f"{_short(where)}: {told(value)} ({kind.__module__}.{kind.__qualname__}), allowed: what "
        "JSON holds (text, numbers, booleans, null, lists, objects); convert arrays with .tolist()"
    )


def _key(key: object, where: str) -> str:
    """Return a key that is text, or raise: JSON would write 1 and "1" alike."""
    if not isinstance(key, str):
        raise JobError(f"{_short(where)}: the key {told(key)} is no text")
    return _text(key, where)


def _text(text: str, where: str) -> str:
    """Return text that is Unicode, or raise: halves of characters have no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise JobError(f"{_short(where)}: {show(text)} holds half a character") from None
    return text


def _short(where: str) -> str:
    """Place of a value as a message may print it."""
    return show(where, 200) if not where.isprintable() or len(where) > 200 else where
