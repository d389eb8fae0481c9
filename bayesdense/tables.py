"""The tables of a dataset folder and the columns of each, written down once (standard library)."""

from dataclasses import dataclass
from typing import Final

from bayesdense.cells import (
    BITS,
    CHANCE,
    DATE,
    FLAG,
    ITEMS,
    NAME,
    PARAMS,
    POSITIVE,
    ROLE,
    SCORE,
    SCORE_SPREAD,
    SHOTS,
    SPREAD,
    TOKENS,
    Kind,
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, what it holds, and whether every row must fill it."""

    name: str
    kind: Kind
    required: bool = True


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One CSV table: its name (the file's without `.csv`), columns, and what may not repeat."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    optional: bool = False

    @property
    def file(self) -> str:
        """Name of the file in the folder."""
        return f"{self.name}.csv"

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns that must be there."""
        return tuple(column.name for column in self.columns if column.required)

    def column(self, name: str) -> Column | None:
        """Return the column of that name, if the table knows it."""
        return next((column for column in self.columns if column.name == name), None)


def _optional(**kinds: Kind) -> tuple[Column, ...]:
    return tuple(Column(name, kind, required=False) for name, kind in kinds.items())


BENCHMARKS: Final = TableSpec(
    "benchmarks",
    (
        Column("benchmark", NAME),
        Column("n_items", ITEMS),
        Column("chance", CHANCE),
        Column("loss_unit", NAME),
    ),
    key=("benchmark",),
)
RUNS: Final = TableSpec(
    "runs",
    (
        Column("run", NAME),
        Column("benchmark", NAME),
        Column("n_params", PARAMS),
        Column("n_tokens", TOKENS),
        Column("loss", POSITIVE),
        *_optional(loss_sd=SPREAD),
    ),
    key=("run", "benchmark"),
)
LOSS_SCORES: Final = TableSpec(
    "loss_scores",
    (
        Column("benchmark", NAME),
        Column("loss", POSITIVE),
        Column("score", SCORE),
        *_optional(role=ROLE, run=NAME, n_items=ITEMS, protocol=NAME),
    ),
)
LLMS: Final = TableSpec(
    "llms",
    (
        Column("llm", NAME),
        Column("release_date", DATE),
        Column("n_params", PARAMS),
        *_optional(
            n_params_active=PARAMS,
            n_params_non_embedding=PARAMS,
            n_tokens=TOKENS,
            family=NAME,
            maker=NAME,
            is_base=FLAG,
            derived_from=NAME,
            weight_bits=BITS,
            date_sd_days=SPREAD,
        ),
    ),
    key=("llm",),
)
SCORES: Final = TableSpec(
    "scores",
    (
        Column("llm", NAME),
        Column("benchmark", NAME),
        Column("score", SCORE),
        *_optional(report_sd=SCORE_SPREAD, n_items=ITEMS, protocol=NAME),
    ),
    key=("llm", "benchmark"),
)
SCORE_REPORTS: Final = TableSpec(
    "score_reports",
    (
        Column("llm", NAME),
        Column("benchmark", NAME),
        Column("score", SCORE),
        Column("reported_by", NAME),
        *_optional(n_shots=SHOTS, own_report=FLAG, source=NAME),
    ),
    optional=True,
)
DENSITIES: Final = TableSpec(
    "densities",
    (
        Column("llm", NAME),
        Column("release_date", DATE),
        Column("density", POSITIVE),
        *_optional(family=NAME, density_log_sd=SPREAD, n_params=PARAMS),
    ),
    key=("llm",),
)

#: The tables of a dataset with scores, in the order in which people read them.
SCORE_TABLES: Final = (BENCHMARKS, RUNS, LOSS_SCORES, LLMS, SCORES, SCORE_REPORTS)
ALL_TABLES: Final = (*SCORE_TABLES, DENSITIES)
