"""The verb `simulate`: a dataset with known truth, drawn from a model's own priors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayesdense.cli.options import (
    ForceOption,
    Format,
    FormatOption,
    SeedOption,
    SetOption,
    complete_dataset,
    complete_model,
    read_folder,
)
from bayesdense.cli.output import Answer, emit
from bayesdense.errors import DatasetError, SpecError
from bayesdense.names import DEFAULT_SEED, SCHEMA_VERSION
from bayesdense.statements import format_number

if TYPE_CHECKING:
    from bayesdense.simulate import Simulated


def simulate(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=read_folder,
            help="Folder of the new dataset.",
            show_default=False,
        ),
    ],
    like: Annotated[
        str,
        typer.Option(
            "--like",
            metavar="DATASET",
            help="Dataset with scores whose runs, LLMs and pattern of scores it has.",
            autocompletion=complete_dataset,
        ),
    ] = "densing",
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME|PATH",
            help="Model with law and map, from whose priors the truth is drawn: a shipped name, or "
            "a TOML file.",
            autocompletion=complete_model,
        ),
    ] = "joint",
    overrides: SetOption = None,
    seed: SeedOption = DEFAULT_SEED,
    force: ForceOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Simulate a dataset of a known truth, to see whether a fit finds it again.

    The truth is drawn from the model's priors, the data are drawn from the truth.
    Writes a folder as every dataset is, with the truth in truth.toml.
    """
    from bayesdense.dataset import load_dataset
    from bayesdense.simulate import simulate_dataset, write_dataset
    from bayesdense.simulate.folder import refuse_occupied
    from bayesdense.spec import load_spec

    refuse_occupied(out, force=force)
    spec = load_spec(model).with_overrides(overrides or [])
    if not spec.is_joint:
        raise SpecError(f"model {spec.name!r} draws no scores; simulate needs one that does: joint")
    source = load_dataset(like)
    if source.is_densities:
        raise DatasetError(
            source.name,
            ["holds published densities and no scores; simulate needs a dataset with scores"],
        )
    made = simulate_dataset(spec, like=source, seed=seed, name=out.resolve().name)
    emit(_answer(made, write_dataset(made.dataset, out, made.truth, force=force)), form)


def _answer(made: "Simulated", folder: Path) -> Answer:
    """Say what was written, and the truth about growth, in the three forms."""
    truth, counts = made.truth, made.dataset.summary()
    known = {
        "model": truth.model,
        "like": truth.like,
        "seed": truth.seed,
        "n_rejected": truth.n_rejected,
        "n_above_ceiling": truth.n_above_ceiling,
    }
    values = {
        str(name): float(value)
        for name, value in truth.parameters.data_vars.items()
        if not value.dims
    }
    growth = truth.growth
    speed = "" if growth is None else f" Its density grows by {format_number(growth)} per year."
    return Answer(
        payload={
            "schema": SCHEMA_VERSION,
            "path": str(folder),
            "dataset": counts,
            **known,
            "truth": values,
        },
        rows=[{"parameter": name, "value": value} for name, value in values.items()],
        body=(
            f"Written to {folder}: {counts['n_llms']} LLMs like {truth.like}'s, "
            f"{counts['n_scores']} scores, seed {truth.seed}.{speed}",
            f"Next: bayesdense fit {folder}   (then compare with {folder}/truth.toml)",
        ),
    )
