"""Verbs that look at datasets and models: `list`, `show`, `validate`.

`list` and `show` read files with the standard library only, so that they answer at once.
"""

import csv
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bayesdense import catalog
from bayesdense.cli.options import Format, FormatOption, complete_any, complete_dataset
from bayesdense.cli.output import Answer, clean, emit, pairs, table
from bayesdense.errors import BayesdenseError, DatasetError
from bayesdense.names import SCHEMA_VERSION
from bayesdense.wording import nearest

CARD: Final = "card.toml"
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
    shelves = table(
        ("dataset", "LLMs", "scores", "losses", "what"),
        ([d["name"], *(d[c] for c in counts), d["title"]] for d in datasets),
        right=("LLMs", "scores", "losses"),
    )
    zoo = table(("model", "what"), ([m["name"], m["title"]] for m in models))
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
    if name in catalog.dataset_names() or Path(name).is_dir():
        answer = _card_answer(name, catalog.resolve_dataset(name))
    elif name in catalog.model_names():
        answer = _model_answer(name, _toml(catalog.model_path(name)))
    elif name.endswith(".toml"):
        answer = _model_answer(Path(name).stem, _toml(Path(name)))
    else:
        raise BayesdenseError(_unknown(name))
    emit(answer, form)


def _unknown(name: str) -> str:
    """Say that there is neither a dataset nor a model of that name, and which is nearest."""
    names = (*catalog.dataset_names(), *catalog.model_names())
    guess = nearest(name, names)
    hint = f"did you mean {guess!r}? " if guess else ""
    return f"{name}: no dataset, no model and no folder of that name; {hint}`list` names all"


def _card_answer(name: str, folder: Path) -> Answer:
    """Say a dataset in the three forms."""
    path = folder / CARD
    card = _plain(_toml(path)) if path.is_file() else {}
    files = list(_tables(folder))
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


def _model_answer(name: str, spec: Mapping[str, Any]) -> Answer:
    """Say a model in the three forms."""
    plain = _plain(spec)
    entries = list(_entries(plain))
    return Answer(
        payload={"schema": SCHEMA_VERSION, "kind": "model", "name": name, "spec": plain},
        rows=[{"key": key, "value": value} for key, value in entries],
        body=(
            table(("entry", "value"), entries),
            "Each entry is overridden by fit --set ENTRY=VALUE.",
        ),
    )


def _entries(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys of a model file and their values; a prior is one entry."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "dist" not in value:
            yield from _entries(value, f"{name}.")
        else:
            yield name, _sentence(value)


def _sentence(value: object) -> str:
    """Spell a TOML value: a prior as in a paper, a list as lines, a table as pairs."""
    if isinstance(value, Mapping):
        return _distribution(value) if "dist" in value else _listing(value)
    if isinstance(value, list):
        return "\n".join(_sentence(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    # A text of several lines is a paragraph: the terminal breaks its lines anew.
    return f"{value:.12g}" if isinstance(value, float) else " ".join(str(value).split())


def _listing(value: Mapping[str, Any]) -> str:
    """Spell a table, one pair a line."""
    return "\n".join(f"{key}: {_sentence(item)}" for key, item in value.items())


def _distribution(prior: Mapping[str, Any]) -> str:
    """Spell a prior: `Normal(mu=0.34, sigma=0.1) by benchmark`."""
    inner = ", ".join(f"{key}={_sentence(item)}" for key, item in prior.get("kwargs", {}).items())
    dims = prior.get("dims", ())
    by = [dims] if isinstance(dims, str) else list(dims)
    return f"{prior['dist']}({inner})" + (f" by {', '.join(by)}" if by else "")


def validate(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A dataset's folder or name, or a model's TOML file.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ],
    form: FormatOption = Format.TABLE,
) -> None:
    """Check a dataset or a model file whole, and name every problem at once.

    Nothing is written. Exit status 2 if there is a problem; warnings alone leave it at 0.
    """
    kind = "model" if path.endswith(".toml") else "dataset"
    try:
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
            *({"level": "problem", "message": clean(text)} for text in problems),
            *({"level": "warning", "message": clean(text)} for text in warnings),
        ]
        or [{"level": "valid", "message": clean(lines[0])}],
        body=(*lines, *(f"warning: {text}" for text in warnings)),
    )


def _tables(folder: Path) -> Iterator[dict[str, Any]]:
    """Names, columns and row counts of a dataset's tables."""
    for name in TABLES:
        path = folder / f"{name}.csv"
        if path.is_file():
            with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                reader = csv.reader(file)
                columns = next(reader, [])
                yield {"name": name, "rows": sum(1 for row in reader if row), "columns": columns}


def _toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; what is wrong with it is said with its name."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
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
    return value if isinstance(value, str | int | float | bool) else str(value)
