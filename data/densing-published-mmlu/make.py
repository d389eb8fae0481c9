"""Make `data/densing-published-mmlu`: `python data/densing-published-mmlu/make.py --raw FOLDER`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the folder is shipped as it is
sys.path.insert(0, str(HERE.parent))  # run as a script, from any folder

import curation  # noqa: E402

COLUMNS = ("llm", "family", "release_date", "density", "n_params")


def plain(name: str) -> str:
    """Drop what the two figures spell differently (`Llama-3.1-8B`, `Llama3.1-8B`)."""
    return name.lower().replace("-", "")


def make(raw: Path, out: Path) -> None:
    """Write the 37 MMLU densities, with the parameters that the other figure gives, else blank."""
    paper = raw / "densing" / "paper"
    known = {
        plain(row["llm"]): curation.count(row["n_params"])
        for row in curation.read_table(paper / "published_densities.csv")
    }
    rows = curation.read_table(paper / "published_densities_mmlu.csv")
    tidy = [row | {"n_params": known.get(plain(row["llm"]), "")} for row in rows]
    curation.write_table(out / "densities.csv", COLUMNS, tidy)


if __name__ == "__main__":
    options = curation.arguments("Make the dataset densing-published-mmlu.", HERE)
    make(options.raw, options.out)
    curation.update_digests(options.out)
