"""Verbs that look at datasets and models: `list`, `show`, `validate`.

`list`, and `show` of a dataset, read files with the standard library only, so that they answer at
once.
"""

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bayesdense import catalog
from bayesdense.cli.models import model_answer
from bayesdense.cli.options import Format, FormatOption, complete_any
from bayesdense.cli.output import Answer, columns_or_stack, emit, pairs, table
from bayesdense.errors import BayesdenseError, DatasetError
from bayesdense.files import MOST_TOML, open_regular, parse_toml, read_regular
from bayesdense.names import SCHEMA_VERSION
from bayesdense.wording import nearest, printable_lines, told

CARD: Final = "card.toml"
#: From here on the titles in `list` have room beside the numbers.
_LIST_COLUMNS: Final = 70
_LARGEST: Final = 2**63
#: Tables of a dataset, in the order in which people read them.
TABLES: Final = (
    "benchmarks",
    "runs",
    "loss_scores",
    "llms",
    "scores",
    "score_reports",
    "densities",
)


def list_shipped(form: FormatOption = Format.TABLE) -> None:
    """List the datasets and models that come with the program."""
    datasets = [_shelf_entry(name) for name in catalog.dataset_names()]
    models = [
        {"name": name, "title": str(_toml(catalog.model_path(name)).get("title", ""))}
        for name in catalog.model_names()
    ]
    emit(_list_answer(datasets, models), form)


def _shelf_entry(name: str) -> dict[str, Any]:
    """Collect what `list` says about a shipped dataset."""
    folder = catalog.dataset_path(name)
    rows = {file["name"]: file["rows"] for file in _tables(folder)}
    return {
        "name": name,
        "title": str(_toml(folder / CARD).get("title", "")),
        "n_llms": rows.get("llms", rows.get("densities", 0)),
        "n_scores": rows.get("scores"),
        "n_losses": rows.get("runs"),
    }


def _list_answer(datasets: list[dict[str, Any]], models: list[dict[str, Any]]) -> Answer:
    """Say datasets and models in the three forms."""
    counts = ("n_llms", "n_scores", "n_losses")
    blank = dict.fromkeys(counts)
    shelves = columns_or_stack(
        ("dataset", "LLMs", "scores", "losses", "what"),
        ([d["name"], *(d[c] for c in counts), d["title"]] for d in datasets),
        right=("LLMs", "scores", "losses"),
        least=_LIST_COLUMNS,
    )
    zoo = columns_or_stack(
        ("model", "what"), ([m["name"], m["title"]] for m in models), least=_LIST_COLUMNS
    )
    return Answer(
        payload={"schema": SCHEMA_VERSION, "datasets": datasets, "models": models},
        rows=[
            *({"kind": "dataset", **d} for d in datasets),
            *({"kind": "model", **m, **blank} for m in models),
        ],
        body=(shelves, zoo, "show NAME tells more; fit DATASET --model MODEL fits."),
    )


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A dataset or a model: a shipped name, a folder, or a TOML file.",
            autocompletion=complete_any,
            show_default=False,
        ),
    ],
    form: FormatOption = Format.TABLE,
) -> None:
    """Show a dataset's card and tables, or a model's options and priors."""
    if _is_model(name) and not os.path.isdir(name):
        answer = model_answer(name)
    elif name in catalog.dataset_names() or os.path.exists(name):
        answer = _card_answer(name, catalog.resolve_dataset(name))
    else:
        raise BayesdenseError(_unknown(name))
    emit(answer, form)


def _is_model(name: str) -> bool:
    """Whether a name or path is a model's: shipped names, then files but for a dataset's."""
    path = Path(name)
    of_dataset = path.name == CARD or path.suffix.casefold() not in ("", ".toml")
    of_file = name.endswith(".toml") or os.path.isfile(name)
    return name in catalog.model_names() or (of_file and not of_dataset)


def _unknown(name: str) -> str:
    """Say that there is neither a dataset nor a model of that name, and which is nearest."""
    if not name.strip():
        return "the name is empty, allowed a dataset, a model or a folder; `list` names all"
    names = (*catalog.dataset_names(), *catalog.model_names())
    guess = nearest(name, names)
    hint = f"did you mean {guess!r}? " if guess else ""
    return f"{name}: no dataset, no model and no folder of that name; {hint}`list` names all"


def _card_answer(name: str, folder: Path) -> Answer:
    """Say a dataset in the three forms."""
    path = folder / CARD
    card = _toml(path) if path.is_file() else {}
    files = list(_tables(folder))
    if not card and not files:
        _refuse(name)
    listing = table(
        ("table", "rows", "columns"),
        ([f["name"], f["rows"], ", ".join(f["columns"])] for f in files),
        right=("rows",),
    )
    shown = [(key, _sentence(value)) for key, value in card.items() if key != "sha256"]
    return Answer(
        payload={
            "schema": SCHEMA_VERSION,
            "kind": "dataset",
            "name": folder.name,
            "path": str(folder),
            "card": card,
            "tables": files,
        },
        rows=[
            {"table": f["name"], "column": c, "rows": f["rows"]}
            for f in files
            for c in f["columns"]
        ],
        body=(pairs([("dataset", name), ("folder", folder), *shown]), listing),
    )


def _refuse(path: str) -> None:
    """Refuse a folder with nothing to show, in the words of `validate`."""
    from bayesdense.dataset import load_dataset

    load_dataset(path)


def _sentence(value: object) -> str:
    """Spell a TOML value: a list as lines, a table as pairs."""
    if isinstance(value, Mapping):
        return _listing(value)
    if isinstance(value, list):
        return "\n".join(_sentence(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    # A text of several lines is a paragraph: the terminal breaks its lines anew.
    return f"{value:.12g}" if isinstance(value, float) else " ".join(str(value).split())


def _listing(value: Mapping[str, Any]) -> str:
    """Spell a table, one pair a line."""
    return "\n".join(f"{key}: {_sentence(item)}" for key, item in value.items())


def validate(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A dataset's folder or name, or a model's TOML file or name.",
            autocompletion=complete_any,
            show_default=False,
        ),
    ],
    form: FormatOption = Format.TABLE,
) -> None:
    """Check a dataset or a model whole, and name every problem at once.

    Nothing is written. Exit status 2 if there is a problem; warnings alone leave it at 0.
    """
    kind = "model" if _is_model(path) and not os.path.isdir(path) else "dataset"
    try:
        if not (_is_model(path) or path in catalog.dataset_names() or os.path.exists(path)):
            raise BayesdenseError(_unknown(path))
        verdict = _read_model(path) if kind == "model" else _read_dataset(path)
    except BayesdenseError as error:
        if form is Format.TABLE:
            raise
        problems = error.problems if isinstance(error, DatasetError) else (str(error),)
        emit(_verdict(path, kind, {}, problems, ()), form)
        raise typer.Exit(2) from error
    emit(verdict, form)


def _read_dataset(path: str) -> Answer:
    """Load a dataset, which validates it."""
    from bayesdense.dataset import load_dataset

    dataset = load_dataset(path)
    tables = {name: getattr(dataset, name) for name in TABLES}
    counts = {name: len(rows) for name, rows in tables.items() if rows is not None}
    return _verdict(
        path, "dataset", {"digest": dataset.digest, "rows": counts}, (), dataset.warnings
    )


def _read_model(path: str) -> Answer:
    """Load a model file, which validates it."""
    from bayesdense.spec import load_spec

    return _verdict(path, "model", {"digest": load_spec(path).digest}, (), ())


def _verdict(
    path: str,
    kind: str,
    found: Mapping[str, Any],
    problems: Sequence[str],
    warnings: Sequence[str],
) -> Answer:
    """Say the outcome of `validate` in the three forms."""
    rows = ", ".join(f"{count} {name}" for name, count in found.get("rows", {}).items())
    lines = [f"{path}: a valid {kind}{f' ({rows})' if rows else ''}"]
    return Answer(
        payload={
            "schema": SCHEMA_VERSION,
            "kind": kind,
            "path": path,
            "valid": not problems,
            "problems": list(problems),
            "warnings": list(warnings),
            **found,
        },
        rows=[
            *({"level": "problem", "message": printable_lines(text)} for text in problems),
            *({"level": "warning", "message": printable_lines(text)} for text in warnings),
        ]
        or [{"level": "valid", "message": printable_lines(lines[0])}],
        body=(*lines, *(f"warning: {text}" for text in warnings)),
    )


def _tables(folder: Path) -> Iterator[dict[str, Any]]:
    """Names, columns and row counts of a dataset's tables."""
    for name in TABLES:
        path = folder / f"{name}.csv"
        if path.is_file():
            columns, rows = _header_and_rows(path)
            yield {"name": name, "rows": rows, "columns": columns}


def _header_and_rows(path: Path) -> tuple[list[str], int]:
    """Columns of a CSV file, and how many rows follow."""
    try:
        with open_regular(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
            reader = csv.reader(text)
            return next(reader, []), sum(1 for row in reader if row)
    except (OSError, csv.Error) as error:
        raise BayesdenseError(f"{path}: not a readable CSV file: {error}") from error


def _toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, fit for JSON; what is wrong with it is said with its name."""
    try:
        return _plain(parse_toml(read_regular(path, MOST_TOML)))
    except (OSError, ValueError) as error:  # not TOML, not UTF-8, a number of thousands of digits
        raise BayesdenseError(f"{path}: not a readable TOML file: {error}") from error


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Make a TOML tree fit for JSON: dates and non-finite numbers become text."""
    return {key: _plain_value(value) for key, value in tree.items()}


def _plain_value(value: object) -> object:
    """Make one TOML value fit for JSON."""
    if isinstance(value, Mapping):
        return _plain(value)
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) > _LARGEST:
        return told(value)  # JSON's readers make a float of it, or fail
    return value if isinstance(value, str | int | float | bool) else str(value)
