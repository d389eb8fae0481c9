"""What `check --sensitivity` says: power scaling of priors and data, and LLMs left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType

from bayesdense.cli.output import Answer, columns_or_stack
from bayesdense.names import SCHEMA_VERSION
from bayesdense.statements import format_number, signed

if TYPE_CHECKING:
    from bayesdense.results import Fit

#: Units that people are shown; JSON and CSV hold all.
_SHOWN: Final = 5


def sensitivity_answer(fit: "Fit") -> Answer:
    """Say the sensitivity of growth in the three forms."""
    from bayesdense import derive
    from bayesdense.checks.influence import UNITS, influence
    from bayesdense.checks.sensitivity import sensitivity, width_command

    found = sensitivity(fit)
    growth = derive.growth_rate(fit)
    scaling: dict[str, Any] = {
        **found.to_dict(),
        "command": width_command(fit, [part.name for part in found.named]) if found.named else None,
    }
    left_out = {unit: _records(influence(fit, unit)) for unit in UNITS}
    payload = {
        "schema": SCHEMA_VERSION,
        "at": growth.at,
        "growth_rate_per_year": {"median": growth.median, "sd": growth.sd},
        "power_scaling": scaling,
        "influence": left_out,
    }
    return Answer(payload, [*_rows(scaling, left_out)], tuple(_body(payload)))


def _records(table: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - pandas is not imported here
    """Rows of a data frame, with what JSON knows."""
    from bayesdense.checks.verdict import json_number

    return [
        {name: json_number(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _rows(
    scaling: Mapping[str, Any], left_out: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[dict[str, object]]:
    """Rows of the CSV: parts that were scaled, then units that were left out."""
    kinds = {"prior": "prior", "groups": "group", "entries": "entry"}
    kinds |= {"likelihood": "likelihood", "likelihoods": "likelihood part"}
    for key, kind in kinds.items():
        parts = scaling[key] if isinstance(scaling[key], list) else [scaling[key]]
        for part in parts:
            yield _row(kind, part)
    for unit, rows in left_out.items():
        for row in rows:
            yield _row(f"without {unit}", row)


_COLUMNS: Final = (
    *("name", "group", "sensitivity", "shift_in_sd", "pareto_k"),
    *("growth_median", "growth_sd", "reliable"),
)


def _row(kind: str, part: Mapping[str, Any]) -> dict[str, object]:
    return {"kind": kind, **{name: part.get(name) for name in _COLUMNS}}


def _body(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Two tables: power scaling, and who moves growth most."""
    growth, scaling = payload["growth_rate_per_year"], payload["power_scaling"]
    yield (
        f"Growth on {payload['at']}: {format_number(growth['median'])} per year, sd "
        f"{format_number(growth['sd'])}. Shifts are in this sd."
    )
    yield ""
    columns = ("made stronger", "sensitivity", "shift")
    cells = [
        [f"{'' if name in scaling else '  '}{part['about']}", *_numbers(part)]
        for name, part in _parts(scaling)
    ]
    yield columns_or_stack(columns, cells, right=columns[1:], compact=True)
    yield "Sensitivity above .05 counts; shift: of mean growth as the power doubles."
    largest = sorted(scaling["entries"], key=lambda entry: -entry["sensitivity"])[:_SHOWN]
    yield f"Largest priors: {', '.join(f'{e["name"]} ({_numbers(e)[0]})' for e in largest)}"
    if scaling["named"]:
        yield f"Growth leans on {', '.join(scaling['named'])}: {scaling['diagnosis']}."
        yield f"See by how much: {scaling['command']}"
    for unit, rows in payload["influence"].items():
        yield ""
        yield from _influence(unit, rows)


def _parts(scaling: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Wholes by their names, each before its parts."""
    for whole, parts in (("prior", "groups"), ("likelihood", "likelihoods")):
        yield whole, scaling[whole]
        yield from ((part["name"], part) for part in scaling[parts])


def _numbers(part: Mapping[str, Any]) -> tuple[str, str]:
    """Sensitivity, marked where its weights fail, and shift."""
    k = part["pareto_k"]
    trust = "" if k is None or k <= _good_k() else f" (Pareto k {k:.2f})"
    return f"{part['sensitivity']:.3f}{trust}", signed(part["shift_in_sd"])


def _influence(unit: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Tell units without which growth moves most."""
    columns = (f"without {unit}", "growth", "sd", "shift", "Pareto k")
    cells = [
        [
            row["name"],
            *(format_number(row[f"growth_{what}"]) for what in ("median", "sd")),
            signed(row["shift_in_sd"]),
            _k(row),
        ]
        for row in rows[:_SHOWN]
    ]
    yield columns_or_stack(columns, cells, right=columns[1:], compact=True)
    failed = sum(not row["reliable"] for row in rows)
    if failed:
        yield f"{failed} of {len(rows)} have weights that fail (k above .7): only a refit can tell."


def _k(row: Mapping[str, Any]) -> str:
    """Pareto k, marked where it is too high."""
    k = "infinite" if row["pareto_k"] is None else f"{row['pareto_k']:.2f}"
    return k if row["reliable"] else f"{k} (refit)"


def _good_k() -> float:
    from bayesdense.checks import THRESHOLDS

    return THRESHOLDS.pareto_k.good
