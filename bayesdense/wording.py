"""Words of messages and outputs: hostile text made safe to print, nearest names, lists, counts."""

import json
import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Final

MAX_SHOWN: Final = 60
_PLAIN_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9.eE+-]*", re.ASCII)
_SEPARATORS: Final = re.compile(r"[\s_\-./]+")
#: Characters that may need an escape; which of them do, `str.isprintable` says.
_DOUBTFUL: Final = re.compile(r"[^\n -~]")


def show(text: str, limit: int = MAX_SHOWN) -> str:
    """Text of a file as a message may print it: escaped, quoted unless a number, cut to `limit`."""
    if not text:
        return "empty"
    if len(text) <= limit and _PLAIN_NUMBER.fullmatch(text):
        return text
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}..."


def printable(text: str) -> str:
    """Text without quotes, with everything escaped that a terminal could act on."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def printable_lines(text: object) -> str:
    """`printable` for texts of several lines: line ends stay.

    A terminal obeys escape sequences; a name in somebody's CSV file must not command it.
    """
    return "\n".join(printable(line) for line in str(text).split("\n"))


def is_plain(text: str) -> bool:
    """Whether text of several lines holds nothing that a terminal could act on, or that hides."""
    return all(char.isprintable() or char in "\n\t" for char in text)


def told(value: object, limit: int = MAX_SHOWN) -> str:
    """Write any value of a TOML file as a message may print it: its `repr`, cut to `limit`."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, thousands of brackets
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= limit else f"{text[:limit]}..."


def json_text(payload: object) -> str:
    """Write strict JSON: no NaN, no Infinity; what a terminal could act on is escaped.

    JSON itself lets DEL, C1 controls and marks that turn the direction of writing pass as they are.
    """
    text = json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False)
    return _DOUBTFUL.sub(lambda m: m[0] if m[0].isprintable() else json.dumps(m[0])[1:-1], text)


def normalised(name: str) -> str:
    """Name without case and separators, as people confuse them."""
    return _SEPARATORS.sub("", name[: 2 * MAX_SHOWN]).casefold()


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name most like `name`, or None where none is at least `cutoff` alike.

    Parameters
    ----------
    name
        What was given.
    known
        What is allowed.
    cutoff
        Smallest similarity ratio (0 to 1, `difflib`) of the names without case and separators.

    Examples
    --------
    >>> nearest("n-param", ["n_tokens", "n_params"])
    'n_params'
    """
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(normalised(name))
    best: tuple[float, str] | None = None
    for candidate in known:
        matcher.set_seq1(normalised(candidate))
        floor = cutoff if best is None else best[0]
        if matcher.real_quick_ratio() < floor or matcher.quick_ratio() < floor:
            continue
        ratio = matcher.ratio()
        if ratio >= floor and (best is None or ratio > best[0]):
            best = (ratio, candidate)
    return None if best is None else best[1]


def nearest_of(word: str, words: object) -> str:
    """Hint at the word meant: '; did you mean ...?' or ', allowed: ...'."""
    names = sorted(str(name) for name in words) if hasattr(words, "__iter__") else []
    close = get_close_matches(word, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f", allowed: {', '.join(names)}" if names else ""


def is_slip_of(name: str, meant: str) -> bool:
    """Whether `name` is `meant` but for case, separators and one typing slip (two in long names).

    A slip is a letter left out, added, exchanged, or swapped with its neighbour. Stricter than
    `nearest`: `n_reports` is no slip of `report_sd`.

    Examples
    --------
    >>> is_slip_of("is_bsae", "is_base"), is_slip_of("n_reports", "report_sd")
    (True, False)
    """
    given, right = normalised(name), normalised(meant)
    return _slips(given, right) <= (1 if len(right) < 10 else 2)


def slip_of(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` is a slip of, the likest first; None where there is none.

    Examples
    --------
    >>> slip_of("llama 3.1", ["Llama-1", "Llama-3", "Llama-3.1"])
    'Llama-3.1'
    """
    slips = [meant for meant in sorted(known) if is_slip_of(name, meant)]
    return min(slips, key=lambda meant: _slips(normalised(name), normalised(meant)), default=None)


def _slips(left: str, right: str) -> int:
    """Optimal string alignment distance: insertions, deletions, exchanges, swaps of neighbours."""
    before, row = [0] * (len(right) + 1), list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        last, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and (a, b) == (right[j - 2], left[i - 2]):
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def listing(names: Iterable[str], limit: int = 5) -> str:
    """Names separated by commas, at most `limit` of them, with the number left out."""
    every = [printable(name)[:MAX_SHOWN] for name in names]
    more = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {more} more" if more > 0 else "")


def counted(count: int, noun: str) -> str:
    """A number of things: "1 LLM", "3 LLMs", "2 families"."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"
