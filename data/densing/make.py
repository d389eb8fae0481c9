"""Make `data/densing`: `python data/densing/make.py --raw FOLDER_WITH_THE_RAW_DATASETS`.

Two tables beside this file are made by hand and read here: `architectures.csv` (public
architectures, a source per row) and `corrections.csv` (dates with a better source).
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the folder is shipped as it is
sys.path[:0] = [str(HERE), str(HERE.parent)]  # run as a script, from any folder

import architectures  # noqa: E402
import curation  # noqa: E402

#: A size in the raw table that is further from the exact one is a mistake, not a rounding.
ROUNDING = 0.01
ROADS = {
    "config": "config",
    "card": "maker's card",
    "quoted": "config quoted",
    "memory": "public config.json, from memory",
}

RUNS = ("run", "benchmark", "n_params", "n_tokens", "loss")
LOSS_SCORES = ("benchmark", "point", "loss", "score", "role")
LLMS = (
    "llm",
    "family",
    "maker",
    "is_base",
    "release_date",
    "n_params",
    "n_params_active",
    "n_params_exact_total",
    "n_params_non_embedding",
    "n_params_non_embedding_figure",
    "vocab_size",
    "hidden_size",
    "tied_embeddings",
    "n_tokens",
    "derived_from",
    "in_densing_paper",
    "release_date_source",
    "n_params_non_embedding_source",
)
SCORES = ("llm", "benchmark", "score", "n_reports", "report_sd", "from_own_report")
REPORTS = (
    "llm",
    "benchmark",
    "score",
    "n_shots",
    "own_report",
    "reported_by",
    "model_name_in_source",
    "source",
    "source_line",
    "note",
)
BENCHMARKS = ("benchmark", "n_items", "chance", "loss_unit", "shots")
REFERENCE = ("average_runs.csv", "average_loss_scores.csv", "recovered_fit_parameters.json")


def tidy_loss_scores(path: Path) -> list[curation.Row]:
    """Read the loss-score points, -0.0 as 0.0."""
    return [
        row | {"score": curation.unsigned_zero(row["score"])} for row in curation.read_table(path)
    ]


def by_llm(name: str) -> dict[str, curation.Row]:
    """Read a table beside this file by its LLMs."""
    return {row["llm"]: row for row in curation.read_table(HERE / name)}


def size_columns(row: curation.Row, architecture: curation.Row) -> curation.Row:
    """Count an LLM's parameters exactly; correct raw counts that are no rounding of it."""
    body, ends = architectures.non_embedding(architecture), architectures.embedding(architecture)
    total, stated = body + ends, float(row["n_params"])
    wrong = abs(total / stated - 1) > ROUNDING and architecture["road"] != "memory"
    counts = {
        name: str(total) if wrong and float(row[name]) == stated else curation.count(row[name])
        for name in ("n_params", "n_params_active")
    }
    kept = {name: architecture[name] for name in ("vocab_size", "hidden_size", "tied_embeddings")}
    return (
        counts
        | kept
        | {
            "n_params_exact_total": str(total),
            "n_params_non_embedding": str(body),
            "n_params_non_embedding_figure": curation.count(row["n_params_non_embedding"]),
            "n_params_non_embedding_source": size_source(architecture, total, stated),
        }
    )


def size_source(architecture: curation.Row, total: int, stated: float) -> str:
    """Say in one cell how the count came about, and from where."""
    tied = architecture["tied_embeddings"] == "true"
    matrix = int(architecture["vocab_size"]) * int(architecture["hidden_size"])
    sizes = f"vocab {architecture['vocab_size']} x {architecture['hidden_size']}"
    road = ROADS[architecture["road"]]
    if architecture["road"] == "memory":
        road += f"; architecture arithmetic reproduces total within {abs(total / stated - 1):.1%}"
    return (
        f"{road}: {sizes}, {'tied' if tied else 'untied'}; "
        f"{total} - {1 if tied else 2} x {matrix}; {architecture['source']}"
    )


def tidy_llms(path: Path) -> list[curation.Row]:
    """Read all LLMs, chat and SFT ones included, with exact sizes and better dates."""
    shapes, corrections = by_llm("architectures.csv"), by_llm("corrections.csv")
    return [
        row
        | {name: curation.boolean(row[name]) for name in ("is_base", "in_densing_paper")}
        | {"n_tokens": curation.count(row["n_tokens"])}
        | size_columns(row, shapes[row["llm"]])
        | corrections.get(row["llm"], {})
        for row in curation.read_table(path)
    ]


def tidy_reports(path: Path) -> list[curation.Row]:
    """Read every single report, shots as integers."""
    return [
        row
        | {
            "n_shots": curation.count(row["n_shots"]),
            "own_report": curation.boolean(row["own_report"]),
        }
        for row in curation.read_table(path)
    ]


def tidy_scores(path: Path) -> list[curation.Row]:
    """Read one score per LLM and benchmark."""
    return [
        row | {"from_own_report": curation.boolean(row["from_own_report"])}
        for row in curation.read_table(path)
    ]


def make(raw: Path, out: Path) -> None:
    """Write every table of the dataset to `out`."""
    source = raw / "densing"
    tables = {
        "benchmarks": (BENCHMARKS, curation.read_table(source / "benchmarks.csv")),
        "runs": (RUNS, curation.read_table(source / "runs.csv")),
        "loss_scores": (LOSS_SCORES, tidy_loss_scores(source / "loss_scores.csv")),
        "llms": (LLMS, tidy_llms(source / "llms.csv")),
        "scores": (SCORES, tidy_scores(source / "scores.csv")),
        "score_reports": (REPORTS, tidy_reports(source / "score_reports.csv")),
    }
    for name, (columns, rows) in tables.items():
        curation.write_table(out / f"{name}.csv", columns, rows)
    for folder, names in {"paper": REFERENCE, ".": ("compression_bpc.csv",)}.items():
        for name in names:
            target = out / ("extra" if folder == "." else folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / folder / name, target)


if __name__ == "__main__":
    options = curation.arguments("Make the dataset densing.", HERE)
    make(options.raw, options.out)
    curation.update_digests(options.out)
