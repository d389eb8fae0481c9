"""Make `data/densing-published`: `python data/densing-published/make.py --raw FOLDER`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the folder is shipped as it is
sys.path.insert(0, str(HERE.parent))  # run as a script, from any folder

import curation  # noqa: E402

COLUMNS = ("llm", "family", "release_date", "density", "n_params")


def make(raw: Path, out: Path) -> None:
    """Write the 51 published densities, counts as integers."""
    rows = curation.read_table(raw / "densing" / "paper" / "published_densities.csv")
    tidy = [row | {"n_params": curation.count(row["n_params"])} for row in rows]
    curation.write_table(out / "densities.csv", COLUMNS, tidy)


if __name__ == "__main__":
    options = curation.arguments("Make the dataset densing-published.", HERE)
    make(options.raw, options.out)
    curation.update_digests(options.out)
