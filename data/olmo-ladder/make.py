"""Make `data/olmo-ladder`: `python data/olmo-ladder/make.py --raw FOLDER_WITH_THE_RAW_DATASETS`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the folder is shipped as it is
sys.path.insert(0, str(HERE.parent))  # run as a script, from any folder

import curation  # noqa: E402

#: Their losses do not fall with size, so that no loss law can be fitted.
LEFT_OUT = frozenset({"WinoGrande", "BoolQ"})
#: Scored comparably on the ladder and on the LLMs: cloze form, length-normalised.
COMPARABLE = frozenset({"HellaSwag", "ARC-C"})
LADDER_PROTOCOL = "5-shot cloze (OLMo ladder)"
#: Instruction-tuned, whatever the leaderboard's label says.
NOT_BASE = frozenset({"RWKV/rwkv-raven-14b"})
MAKERS = {
    "01-ai": "01.AI",
    "ai21labs": "AI21",
    "allenai": "Ai2",
    "bigcode": "BigCode",
    "bigscience": "BigScience",
    "cerebras": "Cerebras",
    "codellama": "Meta",
    "Deci": "Deci",
    "deepseek-ai": "DeepSeek",
    "EleutherAI": "EleutherAI",
    "facebook": "Meta",
    "google": "Google",
    "h2oai": "H2O.ai",
    "HuggingFaceTB": "Hugging Face",
    "huggyllama": "Meta",  # a copy of Meta's weights
    "internlm": "Shanghai AI Lab",
    "LLM360": "LLM360",
    "meta-llama": "Meta",
    "microsoft": "Microsoft",
    "mistralai": "Mistral",
    "mosaicml": "MosaicML",
    "openai-community": "OpenAI",
    "openlm-research": "OpenLM Research",
    "Qwen": "Alibaba",
    "RWKV": "RWKV",
    "Salesforce": "Salesforce",
    "stabilityai": "Stability",
    "tiiuae": "TII",
    "TinyLlama": "TinyLlama",
    "togethercomputer": "Together",
}

BENCHMARKS = ("benchmark", "n_items", "chance", "loss_unit", "split")
RUNS = (
    "run",
    "benchmark",
    "n_params",
    "n_params_total",
    "n_params_non_embedding",
    "n_tokens",
    "loss",
    "loss_sd",
)
LOSS_SCORES = ("benchmark", "run", "loss", "score", "role", "n_items", "protocol")
LLMS = (
    "llm",
    "family",
    "maker",
    "is_base",
    "release_date",
    "n_params",
    "n_params_active",
    "n_tokens",
    "release_date_source",
)
SCORES = ("llm", "benchmark", "score", "n_items", "protocol")


def kept(path: Path) -> list[curation.Row]:
    """Read a table without the benchmarks that are left out."""
    return [row for row in curation.read_table(path) if row["benchmark"] not in LEFT_OUT]


def last_checkpoints(path: Path, n_items: dict[str, str]) -> list[curation.Row]:
    """Read the last checkpoint of every run: earlier ones are not independent of it."""
    added = {"role": "fit", "protocol": LADDER_PROTOCOL}
    return [
        row | added | {"n_items": n_items[row["benchmark"]]}
        for row in kept(path)
        if row["is_final"] == "True"
    ]


def tidy_llms(path: Path, scored: set[str]) -> list[curation.Row]:
    """Read the LLMs that have a comparable score, maker from the repository's owner."""
    rows = [row for row in curation.read_table(path) if row["llm"] in scored]
    return [
        row
        | {name: curation.count(row[name]) for name in ("n_params", "n_params_active", "n_tokens")}
        | {
            "maker": MAKERS[row["llm"].split("/")[0]],
            "is_base": "false" if row["llm"] in NOT_BASE else "true",
        }
        for row in rows
    ]


def make(raw: Path, out: Path) -> None:
    """Write every table of the dataset to `out`."""
    source = raw / "olmo-ladder"
    benchmarks = kept(source / "benchmarks.csv")
    n_items = {row["benchmark"]: row["n_items"] for row in benchmarks}
    scores = [
        row for row in curation.read_table(source / "scores.csv") if row["benchmark"] in COMPARABLE
    ]
    curation.write_table(out / "benchmarks.csv", BENCHMARKS, benchmarks)
    curation.write_table(out / "runs.csv", RUNS, kept(source / "runs.csv"))
    points = last_checkpoints(source / "loss_scores.csv", n_items)
    curation.write_table(out / "loss_scores.csv", LOSS_SCORES, points)
    llms = tidy_llms(source / "llms.csv", {row["llm"] for row in scores})
    curation.write_table(out / "llms.csv", LLMS, llms)
    curation.write_table(out / "scores.csv", SCORES, scores)


if __name__ == "__main__":
    options = curation.arguments("Make the dataset olmo-ladder.", HERE)
    make(options.raw, options.out)
    curation.update_digests(options.out)
