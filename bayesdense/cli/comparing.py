"""The verb `compare`: rival trends about one dataset, and a verdict."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import RenderableType

from bayesdense.cli.options import (
    ChainsOption,
    DatasetArgument,
    DrawsOption,
    ExecutorOption,
    Format,
    FormatOption,
    JobsOption,
    ModelOption,
    QuietOption,
    ResumeOption,
    SeedOption,
    SetOption,
    StudyOption,
    TuneOption,
    read_model,
)
from bayesdense.cli.output import Answer, columns_or_stack, emit
from bayesdense.cli.words import flat, interval, study_ending
from bayesdense.names import (
    DAYS_PER_MONTH,
    DEFAULT_CHAINS,
    DEFAULT_DRAWS,
    DEFAULT_SEED,
    DEFAULT_TUNE,
    STUDY_RHAT,
)
from bayesdense.statements import format_number, format_probability
from bayesdense.wording import counted


def compare(
    dataset: DatasetArgument,
    trends: Annotated[
        str,
        typer.Option(
            "--trends",
            metavar="A,B,...",
            help="Kinds of the trend, two or more, with commas between.",
            show_default=False,
        ),
    ],
    model: ModelOption = None,
    overrides: SetOption = None,
    lfo: Annotated[
        bool,
        typer.Option("--lfo", help="Also leave the future out: many refits, and the verdict."),
    ] = False,
    check_evidence: Annotated[
        bool,
        typer.Option(
            "--check-evidence",
            help="Second opinions on marginal likelihoods: sequential Monte Carlo, Savage-Dickey.",
        ),
    ] = False,
    out: StudyOption = None,
    jobs: JobsOption = None,
    executor: ExecutorOption = "processes",
    resume: ResumeOption = False,
    seed: SeedOption = DEFAULT_SEED,
    draws: DrawsOption = DEFAULT_DRAWS,
    tune: TuneOption = DEFAULT_TUNE,
    chains: ChainsOption = DEFAULT_CHAINS,
    power: Annotated[
        Path | None,
        typer.Option(
            "--power",
            metavar="FILE",
            help="power.json of a study of this dataset, to stand beside the verdict.",
            show_default=False,
        ),
    ] = None,
    quiet: QuietOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Compare rival trends: how each predicts what it has not seen, and how probable it is.

    Writes compare.json. Without --lfo the verdict is provisional.
    Exit status 1 if a check of a fit failed; all files are written.
    """
    from bayesdense.cli.progress import Reporter

    if any(text.partition("=")[0].strip() == "trend" for text in overrides or ()):
        raise typer.BadParameter("--set trend=... : what is compared is named in --trends")
    with Reporter(quiet=quiet) as progress:
        progress.stage(f"comparing trends on {dataset}")
        from bayesdense.comparison.rivals import compare as compare_trends
        from bayesdense.dataset import load_dataset
        from bayesdense.studies.power_result import read_power
        from bayesdense.studies.refits import default_folder

        data = load_dataset(dataset)
        folder = out or default_folder("compare", dataset)
        found = compare_trends(
            dataset,
            [name.strip() for name in trends.split(",") if name.strip()],
            spec=read_model(model, overrides, data),
            lfo=lfo,
            check_evidence=check_evidence,
            draws=draws,
            tune=tune,
            chains=chains,
            seed=seed,
            out=folder,
            executor=executor,
            workers=jobs,
            resume=resume,
            power=None if power is None else read_power(power, data),
            progress=progress.jobs,
        )
    payload = found.to_dict()
    rows = [flat({k: v for k, v in one.items() if k != "checks"}) for one in payload["hypotheses"]]
    emit(Answer(payload, rows, tuple(_body(payload, folder))), form)
    if any(one["checks"]["status"] == "fail" for one in payload["hypotheses"]):
        raise typer.Exit(1)


def _body(payload: Mapping[str, Any], folder: Path) -> Iterator[RenderableType]:
    """Say the verdict first, then what it rests on, and what failed."""
    hypotheses: Sequence[Mapping[str, Any]] = payload["hypotheses"]
    yield f"{payload['verdict']}."
    data = payload["dataset"]
    yield (
        f"{data['name']}: {counted(data['n_llms'], 'LLM')} of "
        f"{counted(data['n_families'], 'family')}, {data['window'][0]} to {data['window'][1]}; "
        f"seed {payload['seed']}."
    )
    yield columns_or_stack(_COLUMNS, [_cells(one) for one in hypotheses], right=_COLUMNS[1:])
    for pair in payload["differences"]:
        yield _difference(pair)
    if not all(pair["decisive"] or pair.get("provisional") for pair in payload["differences"]):
        yield "Weights among trends that no difference tells apart are arbitrary, and no finding."
    for one in hypotheses:
        checks = one["checks"]
        if checks["status"] != "pass":
            names = ", ".join(checks["not_passed"])
            yield f"{one['name']}: checks {checks['status']} (not passed: {names})"
        if (rhat := checks["max_rhat_refits"]) is not None and rhat > STUDY_RHAT:
            yield f"{one['name']}: R-hat of a refit {rhat:.3f}; draw more (--draws)"
        if longer := checks.get("n_longer"):
            fits = counted(longer, "fit")
            yield f"{one['name']}: {fits} made three times as long: chains did not agree at first"
        yield from (f"{one['name']}: failed: {text}" for text in checks["failures"])
    if payload["power"] is not None:
        from bayesdense.studies.power_result import RULES, statement

        for trend in payload["power"]["trends"]:
            yield from (f"Power: {statement(data['name'], trend, rule)}" for rule in RULES)
    yield study_ending(folder, "compare", "hypotheses")


#: Probabilities this near to 0 or 1 are told without their error.
_SMALL: Final = 0.01
_COLUMNS: Final = (
    *("trend", "family left out", "weight", "future left out", "weight ", "log evidence"),
    *("P", "doubling, months (95 %)"),
)


def _cells(one: Mapping[str, Any]) -> list[str | None]:
    """One row of the table of hypotheses."""
    return [
        one["name"],
        _with_error(one["elpd_loo"], one["elpd_loo_se"]),
        f"{one['weight_loo']:.2f}",
        _with_error(one["elpd_lfo"], one["elpd_lfo_se"]),
        None if one["weight_lfo"] is None else f"{one['weight_lfo']:.2f}",
        _with_error(one["log_ml"], one["log_ml_se"]),
        _chance(one["posterior_probability"], one.get("posterior_probability_se")),
        _months(one["doubling_time_days"]),
    ]


def _with_error(value: float | None, error: float | None) -> str | None:
    """Spell a log density with its standard error."""
    if value is None:
        return None
    return f"{value:.1f}" + ("" if error is None else f" \N{PLUS-MINUS SIGN} {error:.2g}")


def _chance(value: float | None, error: float | None) -> str | None:
    """Spell a posterior probability with its standard error."""
    if value is None:
        return None
    if not _SMALL <= value <= 1.0 - _SMALL or not error:
        return format_probability(value)
    return f"{value:.2f} \N{PLUS-MINUS SIGN} {error:.1g}"


def _months(doubling: Mapping[str, Any]) -> str | None:
    """Spell a doubling time in months."""
    if doubling["median"] is None:
        return None
    ends = [None if end is None else end / DAYS_PER_MONTH for end in doubling["eti95"]]
    return f"{format_number(doubling['median'] / DAYS_PER_MONTH)} ({interval(ends)})"


def _difference(pair: Mapping[str, Any]) -> str:
    """Say how two hypotheses differ."""
    later = _with_error(pair["elpd_diff_lfo"], pair["se_lfo"])
    factor = _with_error(pair["log_bayes_factor"], pair["log_bayes_factor_se"])
    return (
        f"{pair['a']} less {pair['b']}: "
        f"{_with_error(pair['elpd_diff'], pair['se'])} nats on families left out"
        + (f", {later} on the future" if later else "")
        + (f"; log Bayes factor {factor}" if factor else "")
        + (" (decisive)" if pair["decisive"] else "")
        + (" (decisive as far as is known)" if pair.get("provisional") else "")
    )
