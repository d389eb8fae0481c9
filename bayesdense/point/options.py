"""What the point pipeline can be asked, checked before any work."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, get_args

from bayesdense.errors import BayesdenseError
from bayesdense.options import RANGES
from bayesdense.point.loss_fit import LawKind, Mode
from bayesdense.point.sizes import Params
from bayesdense.wording import nearest

type Aggregate = Literal["median", "average"]

DEFAULT_REFERENCE_TOKENS: Final = 5e12
DEFAULT_PERMUTATIONS: Final = 10_000
#: Fixed so that two readers of one dataset see one null; the day of the paper's first LLM.
DEFAULT_SEED: Final = 20230224


@dataclass(frozen=True, slots=True)
class PointOptions:
    """Options of `point_estimate`, which explains them."""

    reference_tokens: float
    params: Params
    aggregate: Aggregate
    law: LawKind
    mode: Mode
    pseudo_point: bool
    split: date | None
    n_permutations: int
    seed: int

    def check(self) -> None:
        """Raise `BayesdenseError` on the first option that cannot be."""
        _check_name("params", self.params, get_args(Params.__value__))
        _check_name("aggregate", self.aggregate, get_args(Aggregate.__value__))
        _check_name("law", self.law, get_args(LawKind.__value__))
        _check_name("mode", self.mode, get_args(Mode.__value__))
        low, high = RANGES["reference_tokens"]
        if not low <= self.reference_tokens <= high:
            raise BayesdenseError(
                f"reference_tokens = {self.reference_tokens}: allowed {low:g} to {high:g} tokens,"
                " as 5e12"
            )
        if self.n_permutations < 1:
            raise BayesdenseError(f"n_permutations = {self.n_permutations}: allowed 1 or more")
        if self.seed < 0:
            raise BayesdenseError(f"seed = {self.seed}: allowed 0 or more")


def read_split(split: str | date | None) -> date | None:
    """Date of a split given as a date or in ISO form."""
    if split is None:
        return None
    if isinstance(split, datetime):
        return split.date()
    if isinstance(split, date):
        return split
    try:
        return date.fromisoformat(split)
    except ValueError as error:
        raise BayesdenseError(f"split = {split!r}: allowed a date, as 2022-11-30") from error


def _check_name(option: str, value: str, allowed: Iterable[str]) -> None:
    names = tuple(allowed)
    if value not in names:
        guess = nearest(str(value), names)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise BayesdenseError(f"{option} = {value!r}: allowed {', '.join(names)}{hint}")
