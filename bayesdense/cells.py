"""What one cell of a dataset may hold: text to value, or why not (standard library)."""

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

type Value = float | str | bool | date
type Storage = Literal["number", "text", "flag", "date"]

#: Earliest release date taken for real: typical slips (1899, 1900, 1970) lie before it.
FIRST_DATE: Final = date(2000, 1, 1)
#: Below, a count of parameters or tokens is taken for one in millions, billions or trillions.
SMALLEST_COUNT: Final = 1e5
#: Above, for one multiplied twice.
LARGEST_COUNT: Final = 1e18
#: Above, what is counted one by one (items, examples in a prompt) is taken for a slip.
MOST_COUNTED: Final = 1e9
MAX_NAME_LENGTH: Final = 200
_SPREADSHEET_EPOCH: Final = date(1899, 12, 30)

_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_NOT_A_NUMBER: Final = (
    (r"[+-]?(nan|inf|infinity)", "not finite: leave out what is not known"),
    (r"[+-]?[0-9.]+\s*%", "a percent sign? divide by 100 and leave it out"),
    (
        r"[0-9]{1,3}([ ,_'\u00a0\u202f][0-9]{3})+(\.[0-9]*)?",
        "separators of thousands? leave them out",
    ),
    (r"[+-]?[0-9]*,[0-9]+", "a decimal comma? write a point"),
    (r"[0-9.]+\s*(k|m|b|t|bn|mn|tn)", "a unit letter? write 7B as 7e9"),
)
_MISSING: Final = re.compile(r"#?n/?a|null|none|-+|\?+|missing|unknown", re.ASCII | re.IGNORECASE)


class CellError(Exception):
    """A cell that does not hold what its column allows; `cause` is the likely reason."""

    def __init__(self, cause: str = "") -> None:
        self.cause = cause
        super().__init__(cause)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column holds: how it is stored, what is allowed in words, and how a cell is read."""

    storage: Storage
    allowed: str
    parse: Callable[[str], Value]


def is_missing(cell: str) -> bool:
    """Whether a cell holds what other programs write where nothing is known."""
    return _MISSING.fullmatch(cell) is not None


def _why_not_a_number(cell: str) -> str:
    for pattern, cause in _NOT_A_NUMBER:
        if re.fullmatch(pattern, cell[:80], re.ASCII | re.IGNORECASE):
            return cause
    return "not a number"


def _number(cell: str) -> float:
    if not _NUMBER.fullmatch(cell):
        raise CellError(_why_not_a_number(cell))
    value = float(cell)
    if not math.isfinite(value):
        raise CellError("too large for a number: a slip in the exponent?")
    return value + 0.0  # -0.0 and 0.0 are one number


def _fraction(cell: str) -> float:
    value = _number(cell)
    if 1.0 < value <= 100.0:
        raise CellError("a percentage? divide by 100")
    if not 0.0 <= value <= 1.0:
        raise CellError("not a share of items")
    return value


def _chance(cell: str) -> float:
    value = _fraction(cell)
    if value == 1.0:
        raise CellError(
            "guessing cannot solve every item; 0.25 for four choices, 0 for free answers"
        )
    return value


def _positive(cell: str) -> float:
    value = _number(cell)
    if value <= 0.0:
        raise CellError("zero or negative: a logarithm, or a missing value?")
    return value


def _not_negative(cell: str) -> float:
    value = _number(cell)
    if value < 0.0:
        raise CellError("a standard deviation is never negative")
    return value


def _score_spread(cell: str) -> float:
    value = _not_negative(cell)
    if value > 1.0:
        raise CellError("a percentage? divide by 100")
    return value


def _bits(cell: str) -> float:
    value = _positive(cell)
    if value > 64.0:
        raise CellError("bits per weight; a size in bytes?")
    return value


def _count(cell: str, small: str) -> float:
    value = _number(cell)
    if value <= 0.0:
        raise CellError("zero or negative: a missing value?")
    if value < SMALLEST_COUNT:
        raise CellError(f"in {small}")
    if value > LARGEST_COUNT:
        raise CellError("multiplied by 1e9 twice?")
    return value


def _params(cell: str) -> float:
    return _count(cell, "billions? multiply by 1e9 (in millions: by 1e6)")


def _tokens(cell: str) -> float:
    return _count(cell, "billions or trillions? multiply by 1e9 or 1e12")


def _whole(cell: str, why: str) -> float:
    """A whole number of things that somebody counted."""
    value = _number(cell)
    if value != math.floor(value):
        raise CellError(why)
    if value > MOST_COUNTED:
        raise CellError("digits too many, or a slip in the exponent?")
    return value


def _items(cell: str) -> float:
    value = _whole(cell, "items are counted whole")
    if value <= 0.0:
        raise CellError("zero or negative: a missing value?")
    return value


def _shots(cell: str) -> float:
    why = "examples in the prompt are counted whole, from 0 on"
    value = _whole(cell, why)
    if value < 0.0:
        raise CellError(why)
    return value


def _text(cell: str) -> str:
    if any(unicodedata.category(char)[0] == "C" or char in "\u2028\u2029" for char in cell):
        raise CellError("a control or invisible character: retype the cell")
    if len(cell) > MAX_NAME_LENGTH:
        raise CellError(f"{len(cell)} characters: an unclosed quote above?")
    return cell


def _flag(cell: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[cell.casefold()]
    except KeyError:
        yes = cell.casefold() in {"yes", "y", "t", "1.0", "wahr", "vrai"}
        no = cell.casefold() in {"no", "n", "f", "0.0", "falsch", "faux"}
        raise CellError(f"write {'true' if yes else 'false'}" if yes or no else "") from None


def _role(cell: str) -> str:
    if cell not in {"fit", "heldout"}:
        guess = "heldout" if cell.casefold().startswith(("h", "t", "v")) else "fit"
        raise CellError(f"did you mean {guess!r}?")
    return cell


def _why_not_a_date(cell: str) -> str:
    if re.fullmatch(r"[0-9]{4}(-[0-9]{2})?", cell, re.ASCII):
        return "the day is missing"
    if re.fullmatch(r"[0-9]{5}", cell, re.ASCII):
        day = _SPREADSHEET_EPOCH + timedelta(days=int(cell))
        return f"a spreadsheet's number of {day.isoformat()}? format the column as text"
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ].*", cell[:80], re.ASCII):
        return "leave out the time of day"
    return "write year-month-day, as in 2024-07-23"


def _date(cell: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", cell, re.ASCII):
        raise CellError(_why_not_a_date(cell))
    try:
        value = date.fromisoformat(cell)
    except ValueError:
        raise CellError("no such day in the calendar: month and day exchanged?") from None
    if value < FIRST_DATE:
        raise CellError("an empty or zero date of another program?")
    return value


_COUNT_RANGE: Final = "a raw count (7000000000 or 7e9), from 1e5 to 1e18"

NAME: Final = Kind("text", f"a name of 1 to {MAX_NAME_LENGTH} printable characters", _text)
SCORE: Final = Kind("number", "0 to 1", _fraction)
CHANCE: Final = Kind("number", "0 or more and below 1", _chance)
POSITIVE: Final = Kind("number", "a finite number above 0", _positive)
SPREAD: Final = Kind("number", "a finite number, 0 or more", _not_negative)
SCORE_SPREAD: Final = Kind("number", "0 to 1", _score_spread)
BITS: Final = Kind("number", "above 0, up to 64", _bits)
PARAMS: Final = Kind("number", _COUNT_RANGE, _params)
TOKENS: Final = Kind("number", _COUNT_RANGE, _tokens)
ITEMS: Final = Kind("number", "a whole number from 1 to 1e9", _items)
SHOTS: Final = Kind("number", "a whole number from 0 to 1e9", _shots)
FLAG: Final = Kind("flag", "true or false", _flag)
ROLE: Final = Kind("text", "fit or heldout", _role)
DATE: Final = Kind("date", f"an ISO date from {FIRST_DATE.isoformat()} on", _date)
