"""The paper's point pipeline beside the posterior, where the dataset that was fitted is at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bayesdense import derive
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.names import CI_PROB, DAYS_PER_MONTH, DAYS_PER_YEAR
from bayesdense.plots.baseline import estimate_of, fitted_dataset
from bayesdense.results import Fit
from bayesdense.statements import format_number
from bayesdense.wording import printable


@dataclass(frozen=True, slots=True)
class Beside:
    """The point pipeline in words and rows.

    Attributes
    ----------
    rows
        (quantity, what the fit says, what the point pipeline says).
    records
        (LLM, release date, density) of its running records.
    notes
        Sentences on what it rests on and leaves out.
    """

    rows: tuple[tuple[str, str, str], ...] = ()
    records: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()


def beside(fit: Fit, dataset: Dataset | None = None) -> Beside:
    """Estimate as the paper does, on the dataset that was fitted."""
    fitted = fitted_dataset(fit, dataset)
    if fitted is None:
        return Beside(notes=("The dataset that was fitted is no shipped one, and was not given.",))
    try:
        found = estimate_of(fit, fitted).to_dict()
    except BayesdenseError as error:
        return Beside(notes=(f"The point pipeline cannot serve this dataset: {error}",))
    return Beside(tuple(_rows(fit, found)), tuple(_records(found)), tuple(_notes(found)))


def _rows(fit: Fit, found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What both say, side by side."""
    growth, doubling = derive.growth_rate(fit), derive.doubling_time(fit)
    low, high = tails(CI_PROB)
    slope, days = found["slope_per_day"], found["doubling_time_days"]
    times = [doubling.months(prob) or "unbounded" for prob in (0.5, low, high)]
    one_sided = sum(bound != "" for bound in derive.bounds(derive.llm_estimates(fit)))
    return [
        (
            "growth rate (1/year)",
            f"{growth.text(0.5)} ({growth.text(low)} to {growth.text(high)})",
            "none" if slope is None else format_number(slope * DAYS_PER_YEAR),
        ),
        (
            "doubling time (months)",
            f"{times[0]} ({times[1]} to {times[2]})",
            "none" if days is None else format_number(days / DAYS_PER_MONTH),
        ),
        (
            "rests on",
            f"all {found['n_llms']} LLMs",
            f"{found['n_records']} running records",
        ),
        (
            "scores out of reach",
            f"{one_sided} LLMs with one bound or none, kept as such",
            f"{found['n_not_invertible']} LLMs without a density, left out",
        ),
    ]


def _records(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Running records with their densities."""
    return [
        (
            printable(record["llm"]),
            record["release_date"],
            "beyond 1e+304" if record["density"] is None else format_number(record["density"]),
        )
        for record in found["records"]
    ]


def _notes(found: Mapping[str, Any]) -> list[str]:
    """What growth the estimator would find where there is none, and its warnings."""
    notes = []
    null = found["attempt_count_null"]
    if null is None or null["growth_median"] is None:
        notes.append("Too few LLMs or dates to say what it would find without any growth.")
    else:
        days = null["median_doubling_time_days"]
        doubling = (
            ""
            if days is None
            else f", a doubling time of {format_number(days / DAYS_PER_MONTH)} months"
        )
        low, high = null["growth_eti95"]
        notes.append(
            "Running records rise even where nothing improves, as there are ever more LLMs: with "
            f"the same dates and no trend by {format_number(null['growth_median'])} per year "
            f"(95 % {format_number(low)} to {format_number(high)}){doubling}."
        )
    if found["r_squared"] is not None:
        notes.append(
            f"Its line has R\u00b2 = {found['r_squared']:.3f}, which says nothing of the "
            "uncertainty of what it goes through."
        )
    return [*notes, *found["warnings"]]
