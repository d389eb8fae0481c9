"""Make `data/densing`: `python data/densing/make.py --raw FOLDER_WITH_THE_RAW_DATASETS`."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # run as a script, from any folder

import curation  # noqa: E402

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
    "n_params_non_embedding",
    "n_tokens",
    "derived_from",
    "in_densing_paper",
    "release_date_source",
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
    return [row | {"score": curation.unsigned_zero(row["score"])} for row in curation.read_table(path)]


def tidy_llms(path: Path) -> list[curation.Row]:
    """Read all LLMs, chat and SFT ones (is_base false) included, counts as integers."""
    counts = ("n_params", "n_params_active", "n_params_non_embedding", "n_tokens")
    truths = ("is_base", "in_densing_paper")
    return [
        row
        | {name: curation.count(row[name]) for name in counts}
        | {name: curation.boolean(row[name]) for name in truths}
        for row in curation.read_table(path)
    ]


def tidy_reports(path: Path) -> list[curation.Row]:
    """Read every single report, shots as integers."""
    return [
        row
        | {"n_shots": curation.count(row["n_shots"]), "own_report": curation.boolean(row["own_report"])}
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
