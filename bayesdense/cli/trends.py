"""The verb `trends`, and the option that adds a trend of the user's own."""

import datetime as dt
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from rich.console import RenderableType

from bayesdense.cli.options import (
    DatasetArgument,
    Format,
    FormatOption,
    ModelOption,
    SetOption,
    read_model,
)
from bayesdense.cli.output import Answer, columns_or_stack, emit
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.names import SCHEMA_VERSION
from bayesdense.wording import told

if TYPE_CHECKING:
    from bayesdense.dataset import Dataset
    from bayesdense.growth_priors import PriorGrowth
    from bayesdense.spec import ModelSpec

_NEEDS_A_DATE: Final = "@DATE"


def trends(
    dataset: DatasetArgument = "densing",
    model: ModelOption = None,
    overrides: SetOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the trend hypotheses, and what their priors say about growth in a dataset's window.

    Rival trends are compared fairly where the prior sds of growth differ by no more than a
    factor 2; each trend names those that differ by more. A trend that the data cannot carry says
    why. break_known is shown for the middle of the window.
    """
    from bayesdense.dataset import load_dataset

    data = load_dataset(dataset)
    spec = read_model(model, overrides, data)
    rows = _rows(spec, data)
    emit(
        Answer(
            payload={
                "schema": SCHEMA_VERSION,
                "dataset": data.name,
                "model": spec.name,
                "window": list(_window(data)),
                "trends": rows,
            },
            rows=[{**row, "unlike": " ".join(row["unlike"])} for row in rows],
            body=tuple(_body(rows, data.name)),
        ),
        form,
    )


def _rows(spec: "ModelSpec", data: "Dataset") -> list[dict[str, Any]]:
    """What is known of each trend."""
    from bayesdense.trends import trend_forms, trend_named

    first, last = (dt.date.fromisoformat(str(date)) for date in _window(data))
    middle = (first + (last - first) / 2).isoformat()
    names = [name.replace(_NEEDS_A_DATE, f"@{middle}") for name in trend_forms()]
    found = {name: _growth_or_refusal(spec, data, name) for name in names}
    known = [growth for growth, _ in found.values() if growth is not None]
    matched = [growth for growth in known if growth.is_like(growth)]
    return [
        {
            "trend": name,
            "formula": trend_named(name).formula,
            "outside": trend_named(name).outside,
            "prior_sd_start": growth and growth.start,
            "prior_sd_middle": growth and growth.middle,
            "prior_sd_end": growth and growth.end,
            "prior_p_growing": growth and growth.p_growing,
            "matches_itself": growth and growth.is_like(growth),
            "unlike": [other.trend for other in matched if growth and not growth.is_like(other)],
            "refused": refusal,
        }
        for name, (growth, refusal) in found.items()
    ]


def _growth_or_refusal(
    spec: "ModelSpec", data: "Dataset", name: str
) -> tuple["PriorGrowth | None", str | None]:
    """Growth under a trend's priors, or why the data cannot carry the trend."""
    from bayesdense.growth_priors import prior_growth

    try:
        return prior_growth(spec, data, [name])[0], None
    except SpecError as error:
        return None, str(error)


def _window(data: "Dataset") -> tuple[str, str]:
    """First and last release."""
    first, last = map(str, cast(Sequence[str], data.summary()["window"]))
    return first, last


def _body(rows: list[dict[str, Any]], dataset: str) -> Iterator[RenderableType]:
    """Say the trends as a table, then what is refused and what does not match."""
    columns = ("prior_sd_start", "prior_sd_middle", "prior_sd_end", "prior_p_growing")
    yield columns_or_stack(
        ("trend", "start", "middle", "end", "P(growing)"),
        ([row["trend"], *(_short(row[name]) for name in columns)] for row in rows),
        right=("start", "middle", "end", "P(growing)"),
    )
    yield f"start, middle, end: prior sd of growth (1/year) in the window of {dataset}."
    for row in rows:
        if row["refused"]:
            yield row["refused"]
        elif not row["matches_itself"]:
            yield f"{row['trend']}: its own prior sds differ by more than a factor 2: no match."
        elif row["unlike"]:
            yield f"{row['trend']}: more than a factor 2 from {', '.join(row['unlike'])}."


def _short(value: float | None) -> str:
    """Two digits after the point; a blank where nothing is known."""
    if value is None:
        return ""
    return f"{value:.2f}" if value < 1e4 else f"{value:.0e}"


def add_from_file(place: str) -> None:
    """Add the trend that a Python file defines.

    Parameters
    ----------
    place
        PATH.py:NAME, NAME a `Trend` in that file. The file is run: only ever one's own.
    """
    path_text, sign, name = place.rpartition(":")
    path = Path(path_text)
    if not sign or not name.isidentifier() or path.suffix != ".py":
        raise BayesdenseError(f"--trend-file {told(place)}: write it as PATH.py:NAME")
    if not path.is_file():
        raise BayesdenseError(f"--trend-file {path}: no such file")
    from bayesdense.trends import Trend, add_trend

    found = importlib.util.spec_from_file_location(f"bayesdense_trend_{path.stem}", path)
    if found is None or found.loader is None:
        raise BayesdenseError(f"--trend-file {path}: not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise BayesdenseError(
            f"--trend-file {path}: running it failed with {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.dont_write_bytecode = before
    trend = getattr(module, name, None)
    if not isinstance(trend, Trend):
        raise BayesdenseError(f"--trend-file {path}: it defines no Trend named {told(name)}")
    add_trend(trend)
