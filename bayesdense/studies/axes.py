"""Axes of definition: other answers to what density is, of which LLMs, by which form of model.

An axis lists cases, each one change of the model or of the part of the dataset that is fitted; a
case that the dataset or this version cannot serve says why, in place of a number.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import pandas as pd

from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.kinds import KINDS
from bayesdense.prior_entries import prior_at, with_width
from bayesdense.spec import ModelSpec
from bayesdense.studies.selection import (
    DATE_SD_DAYS,
    WHOLE,
    Selection,
    people_of,
    tables_of_llms,
)
from bayesdense.wording import nearest_of, told

HEADLINE: Final = "headline"
#: Axis of one prior, named behind it as in the model's file.
WIDTH: Final = "width@"
_WIDTHS: Final = MappingProxyType({"half": 0.5, "double": 2.0})
#: Tokens D0 of the reference LLM, in T: those of the paper's articles and around them.
_TRILLIONS: Final = (1, 2, 5, 10, 20)
#: Centre of the ceiling's prior -> alpha and beta; the middle one is the shipped model's.
_CEILINGS: Final = MappingProxyType({".85": (34, 6), ".94": (30, 2), ".99": (198, 2)})
#: Trends whose growth at the last release is put beside the headline's.
_TRENDS: Final = ("exponential", "break_free", "quadratic")
_YEAR: Final = pd.Timedelta(days=365)
#: Time to read a weight over that to compute with it, for 100 tokens on a GPU of 82.58 TFLOPS and
#: 1.01 TB/s: the paper's print is the inverse of what its formulas give, at a byte a weight.
_MEMORY_OVER_COMPUTE: Final = MappingProxyType(
    {
        "2.45": "as Xiao et al. print it",
        "0.41": "as their formulas give it, of a byte a weight",
        "0.82": "by their formulas with two bytes a weight",
    }
)
#: Draws of release dates about those given.
_DATE_DRAWS: Final = 3
_GIVEN: Final = "published densities have neither law nor sizes"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a sweep: a change of the headline's definitions.

    Attributes
    ----------
    axis, value
        What is changed, and to what.
    spec, selection
        What is fitted.
    missing
        Why it cannot be; "" where it can.
    note
        What a reader should know of it.
    """

    axis: str
    value: str
    spec: ModelSpec
    selection: Selection = WHOLE
    missing: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """What every case starts from."""

    spec: ModelSpec
    dataset: Dataset

    @property
    def llms(self) -> pd.DataFrame:
        """LLMs that the headline is about."""
        used = self.dataset.base_only() if self.spec.options.base_only else self.dataset
        return people_of(used)

    def changed(self, axis: str, value: str, note: str = "", **changes: object) -> Case:
        """Case of another option, kind or prior; missing where the model has no such."""
        try:
            return Case(axis, value, self.spec.with_options(**changes), note=note)
        except SpecError as error:
            return self.missing(axis, value, str(error))

    def missing(self, axis: str, value: str, why: str) -> Case:
        """Case that cannot be fitted."""
        return Case(axis, value, self.spec, missing=why)

    def blank(self, column: str) -> str:
        """Why a column cannot be used; "" where every LLM has it."""
        llms = self.llms
        if column not in llms:
            return f"the table of LLMs has no column {column}"
        count = int(llms[column].isna().sum())
        return f"{column} is blank for {count} of {len(llms)} LLMs" if count else ""


def _reference_tokens(base: Base) -> Iterator[Case]:
    for trillions in _TRILLIONS:
        yield base.changed("reference_tokens", f"{trillions}T", reference_tokens=trillions * 1e12)


def _params(base: Base) -> Iterator[Case]:
    columns = {"non_embedding": "n_params_non_embedding", "active": "n_params_active"}
    for value in ("total", "active", "non_embedding"):
        why = base.blank(columns[value]) if value in columns else ""
        case = base.changed("params", value, params=value)
        yield base.missing("params", value, why) if why and not case.missing else case


def _denominator(base: Base) -> Iterator[Case]:
    axis = "denominator"
    note = "2 FLOP per active parameter and token: another level, the growth of params = active"
    flop = base.changed(axis, "flop", note, params="active")
    why = base.blank("n_params_active")
    yield base.missing(axis, "flop", why) if why else flop
    why = base.blank("weight_bits")
    by_size = base.changed(axis, "bytes", "total parameters times weight_bits / 8", params="total")
    yield (
        base.missing(axis, "bytes", why)
        if why
        else replace(by_size, selection=Selection(in_bytes=True))
    )
    why = base.blank("n_params_active")
    for ratio, whose in _MEMORY_OVER_COMPUTE.items():
        value = f"time_mix {ratio}"
        note = (
            "time to read all weights and to compute with the active ones, in parameters of a "
            f"dense LLM of 16 bits; reading takes {ratio} times as long, {whose}; total "
            "parameters are read"
        )
        by_time = base.changed(axis, value, note, params="total")
        yield (
            base.missing(axis, value, why)
            if why
            else replace(by_time, selection=Selection(in_time=float(ratio)))
        )


def _benchmarks(base: Base) -> Iterator[Case]:
    axis, runs = "benchmarks", base.dataset.runs
    scored = set(tables_of_llms(base.dataset)[1]["benchmark"])
    ran = [] if runs is None else runs["benchmark"].unique().tolist()
    names = [str(name) for name in ran if name in scored]
    if len(names) < 2:
        yield base.missing(axis, "each alone", "the dataset has one benchmark")
        return
    for name in names:
        yield Case(axis, f"{name} alone", base.spec, Selection(benchmarks=(name,)))
    for name in names:
        others = tuple(other for other in names if other != name)
        yield Case(axis, f"without {name}", base.spec, Selection(benchmarks=others))


def _window(base: Base) -> Iterator[Case]:
    axis, dates = "window", base.llms["release_date"]
    first, last = dates.min(), dates.max()
    middle = pd.Timestamp(dates.median()).normalize()
    starts = {"second half": middle, "without the first year": first + _YEAR}
    ends = {"first half": middle, "without the last year": last - _YEAR}
    for value, date in (ends | starts).items():
        day, is_end = date.date().isoformat(), value in ends
        kept = int((dates < date).sum() if is_end else (dates >= date).sum())
        selection = Selection(until=day) if is_end else Selection(since=day)
        if kept == 0 or kept == len(dates):
            why = f"{kept} of {len(dates)} LLMs are released {'before' if is_end else 'from'} {day}"
            yield base.missing(axis, value, why)
        else:
            note = f"released {'before' if is_end else 'from'} {day}{'' if is_end else ' on'}"
            yield Case(axis, value, base.spec, selection, note=note)


def _llms(base: Base) -> Iterator[Case]:
    people = base.dataset.llms
    if people is None or bool(people["is_base"].all()):
        yield base.missing("llms", "all", "every LLM of the dataset is a base LLM")
        return
    yield base.changed("llms", "base", base_only=True)
    yield base.changed("llms", "all", base_only=False)


def _kinds(component: str) -> Callable[[Base], Iterator[Case]]:
    """Axis of the kinds of a component."""

    def cases(base: Base) -> Iterator[Case]:
        for kind in KINDS[component]:
            yield base.changed(component, kind, **{component: kind})

    return cases


def _feedback(base: Base) -> Iterator[Case]:
    notes = {"joint": "", "cut": "law and map from the reference data alone"}
    for value, note in notes.items():
        yield base.changed("feedback", value, note, feedback=value)


def _ceiling(base: Base) -> Iterator[Case]:
    entry = "score_map.priors.score_ceiling.kwargs"
    for value, (alpha, beta) in _CEILINGS.items():
        note = f"prior Beta({alpha}, {beta})"
        changes = {f"{entry}.alpha": alpha, f"{entry}.beta": beta}
        yield base.changed("ceiling", value, note, **changes)


def _covariate(base: Base) -> Iterator[Case]:
    """Growth at fixed size, and at fixed tokens per parameter, where trends have a covariate."""
    axis = "covariate"
    for value, kind in (
        ("fixed size", "covariate"),
        ("fixed tokens per parameter", "covariate@log_overtraining"),
    ):
        if "covariate" not in KINDS["trend"]:
            yield base.missing(axis, value, "this version has no trend with a covariate")
            continue
        note = "another quantity: growth among LLMs alike in it"
        why = base.blank("n_tokens") if kind.endswith("log_overtraining") else ""
        case = base.changed(axis, value, note, trend=kind)
        yield base.missing(axis, value, why) if why and not case.missing else case


def _trend(base: Base) -> Iterator[Case]:
    """Rival trends, as far as this version has them."""
    for kind in _TRENDS:
        if kind not in KINDS["trend"]:
            yield base.missing("trend", kind, "this version has no such trend")
        else:
            note = "" if kind == "exponential" else "growth at the last release"
            yield base.changed("trend", kind, note, trend=kind)


def _width(base: Base, axis: str) -> Iterator[Case]:
    """One prior at half and at double width; an error where the model uses no such."""
    path = axis.removeprefix(WIDTH)
    prior_at(base.spec, path)
    for value, factor in _WIDTHS.items():
        try:
            spec = with_width(base.spec, path, factor)
        except SpecError as error:
            yield base.missing(axis, value, str(error))
        else:
            yield Case(axis, value, spec, note=f"{path} ~ {prior_at(spec, path)}")


def _date_error(base: Base) -> Iterator[Case]:
    """Dates moved at random: the model takes them as exact, and errors in them flatten growth."""
    given = "date_sd_days" in base.llms and bool(base.llms["date_sd_days"].notna().any())
    sd = "date_sd_days" if given else f"{DATE_SD_DAYS:g} days"
    for number in range(1, _DATE_DRAWS + 1):
        note = f"release dates moved by Normal(0, {sd})"
        selection = Selection(dates_drawn=number)
        yield Case("date_error", f"{sd}, draw {number}", base.spec, selection, note=note)


#: Axes of what published densities lack.
_JOINT_AXES: Final = (
    *("reference_tokens", "params", "denominator", "benchmarks"),
    *("loss_law", "score_map", "feedback", "ceiling"),
)
#: Axes by name, in the order in which they are told.
AXES: Final[Mapping[str, Callable[[Base], Iterator[Case]]]] = MappingProxyType(
    {
        "reference_tokens": _reference_tokens,
        "params": _params,
        "denominator": _denominator,
        "benchmarks": _benchmarks,
        "window": _window,
        "llms": _llms,
        "family": _kinds("family"),
        "loss_law": _kinds("loss_law"),
        "score_map": _kinds("score_map"),
        "feedback": _feedback,
        "ceiling": _ceiling,
        "trend": _trend,
        "covariate": _covariate,
        "date_error": _date_error,
    }
)


def refuse_unknown(axes: Sequence[str], known: Collection[str]) -> None:
    """Refuse an axis that is none of these, nor one of a prior."""
    for axis in axes:
        if axis not in known and not axis.startswith(WIDTH):
            hint = nearest_of(axis, (*known, f"{WIDTH}ENTRY"))
            raise BayesdenseError(f"sweep: no axis {told(axis)}{hint}")


def cases_of(spec: ModelSpec, dataset: Dataset, axes: Sequence[str]) -> list[Case]:
    """List the headline's own case and those of each axis.

    Parameters
    ----------
    spec, dataset
        The headline's.
    axes
        Names out of `AXES`, or `width@` and the path of a prior in the model's file.

    Raises
    ------
    BayesdenseError
        There is no such axis, or no such prior.
    """
    refuse_unknown(axes, AXES)
    base = Base(spec, dataset)
    found = [Case(HEADLINE, "as the model says", spec)]
    for axis in dict.fromkeys(axes):
        if axis.startswith(WIDTH):
            found += _width(base, axis)
        elif axis in _JOINT_AXES and not spec.is_joint:
            found.append(base.missing(axis, "any", _GIVEN))
        else:
            found += AXES[axis](base)
    return found
