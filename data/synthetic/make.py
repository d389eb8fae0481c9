"""Make `data/synthetic`: `python data/synthetic/make.py [--out FOLDER]`; needs bayesdense.

The model is `model.toml` beside this script, so that the data stay as they are when the priors of
`models/joint.toml` change.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the folder is shipped as it is

#: Chosen by the look of its data: scores that spread on every benchmark, several LLMs above the
#: ceiling. Growth and all other parameters are as the priors gave them.
SEED = 10
OPTIONS = {"like": "densing", "n_above_ceiling": 5, "anonymous": True, "digits": 6}
CARD = {
    "title": "Synthetic: 112 LLMs that do not exist, with known truth, in the shape of `densing`",
    "description": (
        "One draw of the joint model: parameters from its priors (model.toml), then losses, scores "
        "and reports. truth.toml holds every parameter, effective size and density. Runs' sizes "
        "and tokens, and LLMs' sizes, dates and families are those of densing, the names are not."
    ),
    "licence": "Apache-2.0",
    "columns": {
        "benchmark": "name of the benchmark: it lends its items and chance, its scores are made up",
        "n_items": "items in the benchmark's test set (count)",
        "chance": "nominal score of guessing (fraction)",
        "loss_unit": "unit of `loss`",
        "run": "reference training run: size and tokens per parameter",
        "n_params": "runs: non-embedding parameters; llms: total parameters (count)",
        "n_tokens": "training tokens (count)",
        "loss": "simulated loss (nats per token)",
        "score": "simulated score (fraction)",
        "role": "fit or heldout, as in densing",
        "llm": "number of the LLM",
        "family": "number of its family",
        "is_base": "true: only base LLMs are here",
        "release_date": "day of release (ISO date)",
        "n_params_active": "parameters used per token (count)",
        "n_params_non_embedding": "parameters without input embedding and output head (count)",
        "reported_by": "simulated",
        "own_report": "true where densing has the maker's own report",
    },
}


def make(out: Path) -> None:
    """Draw the dataset with its truth and write it, over what is there."""
    from bayesdense.simulate import simulate_dataset, write_dataset
    from bayesdense.simulate.folder import Tables, tables_of
    from bayesdense.spec import load_spec

    spec = load_spec(HERE / "model.toml")
    simulated = simulate_dataset(spec, seed=SEED, name="synthetic", **OPTIONS)
    tables = tables_of(simulated.dataset)
    write_dataset(Tables({**tables.card, **CARD}, tables.frames), out, simulated.truth, force=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the dataset synthetic.")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write (default: here)")
    make(parser.parse_args().out)
