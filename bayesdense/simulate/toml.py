"""TOML as text, for cards and truths: what the standard library reads but does not write."""

import json
from collections.abc import Mapping


def toml_text(content: Mapping[str, object]) -> str:
    """Return TOML that `tomllib` reads back to `content`.

    Parameters
    ----------
    content
        Texts, finite numbers, booleans, lists of these, and tables of these.
    """
    return "".join(line + "\n" for line in _lines(content, ())).lstrip("\n")


def _lines(table: Mapping[str, object], path: tuple[str, ...]) -> list[str]:
    """Lines of a table: its own values first, then its tables."""
    own = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    head = ["", f"[{'.'.join(map(_key, path))}]"] if path and (own or not inner) else []
    lines = [*head, *(f"{_key(key)} = {_value(value)}" for key, value in own.items())]
    for key, value in inner.items():
        lines += _lines(value, (*path, key))
    return lines


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _value(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):  # JSON escapes what TOML does, but for the delete character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)
