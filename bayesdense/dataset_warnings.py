"""Warnings about a valid dataset: they do not stop the work and are kept in the fit."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from bayesdense.reading import Table
from bayesdense.wording import counted, listing, show

FEW_LLMS: Final = 20
FEW_FAMILIES: Final = 10
SHORT_WINDOW_DAYS: Final = 365
#: Parameters of the score map: floor, ceiling, slope, midpoint.
MAP_PARAMETERS: Final = 4
#: Ways to count parameters that LLMs' counts come in, too.
CONVENTIONS: Final = ("total", "active", "non_embedding")
#: Tokens per parameter (or sizes) of two runs within this factor count as one.
SAME_RATIO: Final = 1.02


def dataset_warnings(tables: Mapping[str, Table], card: Mapping[str, object]) -> Iterator[str]:
    """Yield plain sentences about a dataset that has no problems.

    Parameters
    ----------
    tables
        All tables of the dataset by name, without problems.
    card
        Its card; `reference_params` says how the reference runs' parameters are counted.
    """
    yield from _unknown_columns(tables)
    people = tables["densities"] if "densities" in tables else tables["llms"]
    yield from _llm_warnings(people)
    if "densities" in tables:
        return
    yield from _count_convention(people, card)
    yield from _dropped_llms(people, tables["scores"])
    yield from _ladder_warnings(tables["runs"])
    yield from _coverage_warnings(tables)


def _unknown_columns(tables: Mapping[str, Table]) -> Iterator[str]:
    for table in tables.values():
        if table.unknown:
            names = listing([name or "(no name)" for name in table.unknown], 12)
            yield f"{table.spec.file}: columns that nothing here uses are left out: {names}."


def _base(llms: Table) -> list[int]:
    """Places of the rows that are base LLMs; all where the table does not say."""
    flags = llms.columns.get("is_base")
    return [i for i in range(len(llms.rows)) if flags is None or flags[i] is not False]


def _llm_warnings(llms: Table) -> Iterator[str]:
    base = _base(llms)
    names, families = llms.text("llm"), llms.text("family")
    alone = [names[i] or "" for i in base if families[i] is None]
    if len(base) < FEW_LLMS:
        known = counted(len(base), "LLM")
        yield f"Only {known} (fewer than {FEW_LLMS}): expect a wide interval for growth."
    if alone:
        yield (
            f"{llms.spec.file}: {len(alone)} of {len(base)} LLMs have no family, "
            f"so each is taken for its own: {listing(alone)}."
        )
    n_families = len({families[i] for i in base if families[i] is not None}) + len(alone)
    if n_families < FEW_FAMILIES:
        yield (
            f"Only {counted(n_families, 'family')} (fewer than {FEW_FAMILIES}): "
            "growth rests on differences between families."
        )
    dates = [day for i in base if isinstance(day := llms.columns["release_date"][i], date)]
    days = (max(dates) - min(dates)).days
    if days < SHORT_WINDOW_DAYS:
        yield (
            f"The window is narrow: {days} days from {min(dates)} to {max(dates)} "
            f"(less than {SHORT_WINDOW_DAYS}), so growth is mostly prior."
        )


def _count_convention(llms: Table, card: Mapping[str, object]) -> Iterator[str]:
    convention = card.get("reference_params")
    if convention is None:
        yield (
            "The card does not say how the reference runs' parameters are counted "
            "(reference_params = total | active | non_embedding)."
        )
    elif convention not in CONVENTIONS:
        yield (
            f"The card's reference_params is {show(str(convention))}, none of "
            f"{', '.join(CONVENTIONS)}: no count of the LLMs is counted alike."
        )
    base, counts = _base(llms), llms.numbers("n_params_non_embedding")
    known = sum(counts[i] is not None for i in base)
    if convention != "total" and known < len(base):
        yield (
            f"{llms.spec.file} gives non-embedding parameters for {known} of "
            f"{len(base)} base LLMs: a fit with total parameters understates small LLMs "
            "with big vocabularies."
        )


def _dropped_llms(llms: Table, scores: Table) -> Iterator[str]:
    base, scored = set(_base(llms)), set(scores.text("llm"))
    names = llms.text("llm")
    bare = [n for i, n in enumerate(names) if n and i not in base and n not in scored]
    if bare:
        yield f"LLMs that are not base LLMs have no score and are never used: {listing(bare)}."


def _ladder_warnings(runs: Table) -> Iterator[str]:
    sizes, tokens = _points(runs, "n_params"), _points(runs, "n_tokens")
    one_size = [name for name, values in sizes.items() if _is_one(values)]
    one_count = [name for name, values in tokens.items() if _is_one(values)]
    ratios = {k: [d / n for n, d in zip(sizes[k], tokens[k], strict=True)] for k in sizes}
    one_ratio = [name for name, values in ratios.items() if _is_one(values)]
    if one_size:
        yield (
            "Reference runs of a single size cannot tell how loss falls with size: "
            f"{listing(one_size)}."
        )
    if one_count:
        yield (
            "Reference runs of a single number of tokens cannot tell how loss falls with tokens: "
            f"{listing(one_count)}."
        )
    if one_ratio:
        yield (
            "Reference runs of a single ratio of tokens to parameters cannot tell size from "
            f"tokens, so the law's two terms rest on their priors: {listing(one_ratio)}."
        )


def _points(runs: Table, column: str) -> dict[str, list[float]]:
    """Values of a column by benchmark."""
    points: dict[str, list[float]] = defaultdict(list)
    for benchmark, value in zip(runs.text("benchmark"), runs.numbers(column), strict=True):
        if benchmark is not None and value is not None:
            points[benchmark].append(value)
    return points


def _is_one(values: list[float]) -> bool:
    return max(values) <= SAME_RATIO * min(values)


def _coverage_warnings(tables: Mapping[str, Table]) -> Iterator[str]:
    names = [name for name in tables["benchmarks"].text("benchmark") if name]
    scored = set(tables["scores"].text("benchmark"))
    with_runs = set(tables["runs"].text("benchmark"))
    points = tables["loss_scores"].text("benchmark")
    unscored = [name for name in names if name in with_runs and name not in scored]
    unused = [name for name in names if name not in with_runs]
    few = [n for n in names if n in scored and points.count(n) < MAP_PARAMETERS]
    yield from _unlinked_points(tables["loss_scores"], tables["runs"])
    if unscored:
        yield f"Benchmarks with reference runs but no LLM scores: {listing(unscored, 12)}."
    if unused:
        yield f"Benchmarks without reference runs are not used: {listing(unused, 12)}."
    if few:
        yield (
            f"Fewer than {MAP_PARAMETERS} points of loss and score, so the score map rests on its "
            f"priors: {listing(few)}."
        )


def _unlinked_points(points: Table, runs: Table) -> Iterator[str]:
    known = set(runs.text("run"))
    strangers = {run: None for run in points.text("run") if run and run not in known}
    if strangers:
        yield f"{points.spec.file} names runs that {runs.spec.file} has not: {listing(strangers)}."
