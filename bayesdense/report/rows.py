"""Rows of the report's tables, as text with what they are sorted by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bayesdense import derive
from bayesdense.names import FAMILY
from bayesdense.results import Fit
from bayesdense.text_tables import growth_text_table
from bayesdense.wording import printable


@dataclass(frozen=True, slots=True)
class LLMRow:
    """An LLM in the table: texts, and the numbers by which columns are sorted."""

    llm: str
    family: str
    released: str
    parameters: str
    n_params: float | None
    size: str
    size_interval: str
    effective_params: float | None
    density: str
    density_interval: str
    density_value: float | None
    bound: str
    note: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A check in the table."""

    name: str
    status: str
    value: str
    threshold: str
    advice: str


def llm_rows(fit: Fit, texts: pd.DataFrame) -> list[LLMRow]:
    """Every LLM in the dataset's order, from `text_tables.llm_text_table`."""
    numbers = derive.llm_estimates(fit)
    families = _families(fit)
    sides = derive.bounds(numbers)
    columns = {
        name: numbers[name].values.tolist() for name in ("n_params", "effective_params", "density")
    }
    rows = []
    for k, text in enumerate(texts.to_dict("records")):
        size, size_interval = _split(text["effective size"])
        density, density_interval = _split(text["density"])
        rows.append(
            LLMRow(
                llm=text["llm"],
                family=families[k],
                released=text["released"],
                parameters=text["parameters"],
                n_params=_finite(columns["n_params"][k]),
                size=size,
                size_interval=size_interval,
                effective_params=_finite(columns["effective_params"][k]),
                density=density,
                density_interval=density_interval,
                density_value=_finite(columns["density"][k]),
                bound=sides[k],
                note=text["note"],
            )
        )
    return rows


def growth_rows(fit: Fit) -> list[tuple[str, str, str]]:
    """Growth in every unit: quantity with its unit, median, interval."""
    return [
        (
            f"{name} ({unit})" if unit not in ("", "1") else name,
            median,
            f"{low} to {high}" if low else "",
        )
        for name, median, low, high, unit in growth_text_table(fit).values.tolist()
    ]


def check_rows(items: Sequence[Mapping[str, Any]]) -> list[CheckRow]:
    """Every check: those that failed first, then those to review, then those that passed."""
    order = ("fail", "review", "pass")
    return [
        CheckRow(
            name=item["name"],
            status=item["status"],
            value=_value(item["name"], item["value"]),
            threshold=_threshold(item["threshold"]),
            advice=item["advice"],
        )
        for status in order
        for item in items
        if item["status"] == status
    ]


def _families(fit: Fit) -> list[str]:
    """Family of every LLM; blank where the fit does not say."""
    constant = fit.group("constant_data")
    names = constant[FAMILY].values if FAMILY in constant.coords else fit.posterior.get(FAMILY)
    if names is None:
        return [""] * constant["family_idx"].size
    return [printable(str(names[k])) for k in constant["family_idx"].values]


def _split(text: str) -> tuple[str, str]:
    """`median (lower to upper)` as median and interval."""
    median, _, interval = text.partition(" (")
    return median, interval.removesuffix(")")


def _finite(value: float) -> float | None:
    """A number to sort by; none where it is no number."""
    return value if math.isfinite(value) else None


def _value(name: str, value: object) -> str:
    """What a check measured; R-hat differs from 1 in its last digits only."""
    if isinstance(value, float):
        return f"{value:.4f}" if name.startswith("r_hat") else f"{value:.3g}"
    return "" if value is None else str(value)


def _threshold(bound: object) -> str:
    """What a check's value must keep."""
    if isinstance(bound, Sequence) and not isinstance(bound, str):
        return " to ".join(f"{float(str(end)):g}" for end in bound)
    return "" if bound is None else f"{float(str(bound)):g}"
