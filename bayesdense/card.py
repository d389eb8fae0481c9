"""A dataset's card: `card.toml`, checked as `schemas/card.schema.json` says (standard library)."""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Final

from bayesdense.files import MOST_TOML, parse_toml
from bayesdense.reading import Problem, composed, read_bytes
from bayesdense.wording import is_plain, nearest, printable, show

CARD: Final = "card.toml"
#: What each known entry may be, as in schemas/card.schema.json; other entries are free.
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "title": (str,),
    "description": (str,),
    "source": (str, list, dict),
    "licence": (str,),
    "attribution": (str,),
    "retrieved": (str, date),
    "columns": (dict,),
    "known_problems": (str, list),
    "reference_params": (str,),
    "sha256": (dict,),
}
_WORDS: Final = {str: "text", list: "a list of texts", dict: "a table", date: "a date"}


def read_card(folder: Path) -> tuple[dict[str, object], list[Problem]]:
    """Read the card of a dataset folder; an empty one with problems where it cannot be used."""
    path = folder / CARD
    if not path.exists():
        return {}, [Problem(CARD, "missing", 'a TOML file with at least title = "..."')]
    content = read_bytes(path, MOST_TOML)
    if isinstance(content, str):
        return {}, [Problem(CARD, content)]
    try:
        card = parse_toml(content)
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        return {}, [Problem(CARD, "not UTF-8", "text in UTF-8", "save it as UTF-8", row=row)]
    except ValueError as error:
        return {}, [Problem(CARD, f"not TOML: {printable(str(error))[:200]}")]
    return card, list(check_card(card))


def check_card(card: Mapping[str, object]) -> Iterator[Problem]:
    """Yield what is wrong with a card: no title, an entry of a wrong type, control characters."""
    title = card.get("title")
    if "title" not in card:
        guess = nearest("title", [key for key in card if key not in _TYPES])
        cause = f"misspelt as {show(guess)}?" if guess else ""
        yield Problem(CARD, "missing", "a text", cause, column="title")
    elif isinstance(title, str) and not title.strip():
        yield Problem(CARD, "empty", "a text", column="title")
    for key, types in _TYPES.items():
        if key in card and not _is_one_of(card[key], types):
            allowed = " or ".join(_WORDS[kind] for kind in types)
            yield Problem(CARD, show(str(card[key])), allowed, column=key)
    for key, text in _texts(card):
        if not is_plain(text):
            cause = "a control or invisible character: retype it"
            yield Problem(CARD, show(text), "printable text", cause, column=printable(key)[:60])


def _is_one_of(value: object, types: tuple[type, ...]) -> bool:
    if isinstance(value, list):
        return list in types and all(isinstance(entry, str) for entry in value)
    return isinstance(value, types)


def _texts(card: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Every text and every name of the card, under the top entry that it belongs to."""
    stack: list[tuple[str, object]] = list(card.items())
    yield from ((key, key) for key in card)
    while stack:
        top, value = stack.pop()
        if isinstance(value, str):
            yield top, value
        elif isinstance(value, dict):
            stack.extend((top, part) for pair in value.items() for part in pair)
        elif isinstance(value, list):
            stack.extend((top, part) for part in value)


def card_facts(card: Mapping[str, object]) -> dict[str, object]:
    """Return what a report tells of a card, as JSON can hold it: not its columns and digests."""
    return {
        key: _as_text(value)
        for key, value in card.items()
        if key in _TYPES and key not in ("columns", "sha256")
    }


def _as_text(value: object) -> object:
    """Return a TOML value with everything in it as text."""
    if isinstance(value, dict):
        return {key: _as_text(part) for key, part in value.items()}
    return [_as_text(part) for part in value] if isinstance(value, list) else str(value)


def described_columns(card: Mapping[str, object]) -> frozenset[str]:
    """Names of the columns that the card describes, listed flat or under the name of a table."""
    found: set[str] = set()
    stack = [card.get("columns")]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            found.update(composed(name) for name in part)
            stack.extend(part.values())
    return frozenset(found)
