"""LLMs that a fit has not seen: read from tables, and observed as the fit's own LLMs were."""

from bayesdense.newcomers.observed import (
    benchmarks_of,
    observe_newcomers,
    require_laws,
    require_trend,
    shared_parameters,
    with_families,
)
from bayesdense.newcomers.tables import Cell, Newcomers, NewLLM, read_newcomers

__all__ = [
    "Cell",
    "NewLLM",
    "Newcomers",
    "benchmarks_of",
    "observe_newcomers",
    "read_newcomers",
    "require_laws",
    "require_trend",
    "shared_parameters",
    "with_families",
]
