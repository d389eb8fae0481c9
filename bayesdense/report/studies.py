"""Studies of the same dataset and model in the report: what they found, or how to make them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bayesdense.commands import study_of_fit
from bayesdense.errors import BayesdenseError
from bayesdense.names import DAYS_PER_MONTH, STUDY_PLOT_KINDS
from bayesdense.plots.studies import draw_study, kinds_of
from bayesdense.report.images import Absent, Image, image_drawn_by
from bayesdense.report.sensitivity import Question
from bayesdense.results import Fit
from bayesdense.statements import format_number, format_probability
from bayesdense.study_files import VERBS, StudyFile, is_study, read_study
from bayesdense.wording import printable

type Content = Mapping[str, Any]

_TITLES: Final[Mapping[str, str]] = {
    "compare": "Another trend",
    "sweep": "Other definitions, and where the width comes from",
    "backtest": "What earlier fits said of later LLMs",
    "power": "What change of growth these data could show",
    "calibrate": "Whether intervals hold what they say",
}
_WHY: Final[Mapping[str, str]] = {
    "compare": "Growth that broke, bends or never was, by what each foretells of families and LLMs "
    "left out, and by its probability.",
    "sweep": "About thirty fits under other definitions of density, LLMs and model, and the width "
    "of the interval with one source at a time switched off or on.",
    "backtest": "Refits at earlier dates, scored by what came after, beside three baselines.",
}
#: Studies that every fit should have beside it, and what their command needs.
_ASKED: Final[Mapping[str, tuple[str, ...]]] = {
    "compare": ("--trends", "exponential,flat,break_free,quadratic"),
    "sweep": (),
    "backtest": (),
}
_PERCENT: Final = 100.0


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a study; the first cell of a row is its heading."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A study as the page shows it.

    Attributes
    ----------
    number
        By which its figures are told from those of another study made by the same verb.
    title, where
        What it asks, and the folder that it was read from.
    sentences, images, tables
        What it found.
    """

    number: int
    title: str
    where: str
    sentences: tuple[str, ...]
    images: tuple[Image | Absent, ...]
    tables: tuple[Table, ...]


def read_studies(fit: Fit, studies: Iterable[StudyFile | str | Path]) -> list[StudyFile]:
    """Read studies that have to be about a fit, in the order in which they are shown.

    Raises
    ------
    BayesdenseError
        A study that cannot be read, or is about another dataset or model.
    """
    found = [one if isinstance(one, StudyFile) else read_study(one) for one in studies]
    for one in found:
        if why := one.not_about(fit.dataset_info, fit.spec):
            raise BayesdenseError(f"study {printable(str(one.path.parent))}: {why}")
    return sorted(found, key=lambda one: VERBS.index(one.verb))


def studies_beside(fit: Fit, folder: Path) -> tuple[list[StudyFile], list[str]]:
    """Studies of a fit in the folder `studies` beside that of the fits, and why others are not.

    Studies of other datasets are no news; those of this one that cannot be shown are told.
    """
    whole = folder if len(folder.parts) > 1 and ".." not in folder.parts else folder.resolve()
    root = whole.parent.parent / "studies"
    found, others = [], []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if not is_study(path):
            continue
        try:
            one = read_study(path)
        except BayesdenseError as error:
            others.append(str(error))
            continue
        why = one.not_about(fit.dataset_info, fit.spec)
        if why is None:
            found.append(one)
        elif one.content["dataset"].get("name") == fit.dataset_info["name"]:
            others.append(f"{printable(str(path))}: {why}")
    return found, others


def shown_studies(fit: Fit, studies: Sequence[StudyFile]) -> list[Shown]:
    """What studies found, figures and tables."""
    return [
        Shown(
            number=k,
            title=_TITLES[one.verb],
            where=str(one.path.parent),
            sentences=tuple(_SENTENCES.get(one.verb, _nothing)(one.content)),
            images=tuple(
                image_drawn_by(
                    partial(draw_study, one, kind, fit=fit), kind, STUDY_PLOT_KINDS[kind]
                )
                for kind in kinds_of(one.verb)
            ),
            tables=tuple(_TABLES[one.verb](one.content)),
        )
        for k, one in enumerate(studies, start=1)
    ]


def answered(studies: Sequence[StudyFile]) -> set[str]:
    """Choices that studies have varied: axes of sweeps, and the trend of comparisons."""
    axes = {
        row["axis"]
        for one in studies
        if one.verb == "sweep"
        for row in one.content["rows"]
        if row["status"] == "done"
    }
    flat = any(
        hypothesis["name"] == "flat"
        for one in studies
        if one.verb == "compare"
        for hypothesis in one.content["hypotheses"]
    )
    return axes - {"trend"} | ({"trend"} if flat else set())


def open_studies(fit: Fit, studies: Sequence[StudyFile]) -> list[Question]:
    """Studies that are not at hand, with the command that makes them."""
    if fit.spec.options.feedback == "cut":
        return []  # neither evidence nor leaving one out has a meaning
    there = {one.verb for one in studies}
    asked = [verb for verb in _ASKED if verb not in there]
    return [
        Question(verb, _TITLES[verb], _WHY[verb], study_of_fit(fit, verb, *_ASKED[verb]))
        for verb in asked
        if fit.spec.is_joint or verb != "backtest"
    ]


def _nothing(_: Content) -> Iterator[str]:
    """No sentence."""
    yield from ()


def _verdict(found: Content) -> Iterator[str]:
    """Verdict of a comparison."""
    yield f"{found['verdict']}."


def _note(found: Content) -> Iterator[str]:
    """What widths are not."""
    if found["decomposition"] is not None:
        yield found["decomposition"]["note"]


def _units(found: Content) -> Iterator[str]:
    """What scores of predictions are in, and beside what they stand."""
    yield "CRPS is in units of the score, and smaller is better; the log score is of its logit."
    yield "; ".join(f"{name}: {what}" for name, what in found["baselines"].items()) + "."


def _status(found: Content) -> Iterator[str]:
    """Verdict of a calibration."""
    size = "all" if found["n_llms"] is None else str(found["n_llms"])
    yield (
        f"{found['n_fits']} simulated datasets of each world, {size} LLMs each, truths from the "
        f"{found['truths']}; checks: {found['status']}."
    )


_SENTENCES: Final[Mapping[str, Callable[[Content], Iterator[str]]]] = {
    "compare": _verdict,
    "sweep": _note,
    "backtest": _units,
    "calibrate": _status,
}


def _hypotheses(found: Content) -> Iterator[Table]:
    """Every trend with what speaks for it."""
    yield Table(
        "Log predictive densities (nats, standard errors over families), stacking weights, log "
        "marginal likelihood, posterior probability, doubling time (months)",
        ("trend", "families left out", "weight", "future left out", "weight",
         "log evidence", "P", "doubling time", "checks"),
        tuple(
            (
                one["name"],
                _with_error(one["elpd_loo"], one["elpd_loo_se"]),
                f"{one['weight_loo']:.2f}",
                _with_error(one["elpd_lfo"], one["elpd_lfo_se"]),
                "" if one["weight_lfo"] is None else f"{one['weight_lfo']:.2f}",
                _with_error(one["log_ml"], one["log_ml_se"]),
                _probability(one["posterior_probability"]),
                _months(one["doubling_time_days"]),
                one["checks"]["status"],
            )
            for one in found["hypotheses"]
        ),
    )  # fmt: skip


def _definitions(found: Content) -> Iterator[Table]:
    """Every definition, then every source of width."""
    yield Table(
        "Doubling time (months, 95 % interval) under every definition",
        ("definition", "LLMs", "doubling time", "P(growing)", "checks"),
        tuple(
            (
                f"{row['axis']}: {row['value']}",
                str(row["n_llms"]),
                _months(row["doubling_time_days"]),
                _probability(row["growth_rate_per_year"]["p_positive"]),
                row["checks"]["status"],
            )
            if row["status"] == "done"
            else (f"{row['axis']}: {row['value']}", "", "", "", f"{_said(row)}: {row['message']}")
            for row in found["rows"]
        ),
    )
    if found["decomposition"] is not None:
        yield Table(
            "Width of the 95 % interval of growth (1/year), one source at a time",
            ("source", "switched", "width", "of the headline's"),
            tuple(
                (
                    source["what"],
                    source["change"],
                    source["error"] or format_number(source["width_per_year"]),
                    "" if source["ratio"] is None else f"{source['ratio']:.2f}",
                )
                for source in found["decomposition"]["sources"]
            ),
        )


def _baselines(found: Content) -> Iterator[Table]:
    """Differences to the baselines over all origins."""
    yield Table(
        "Model less baseline over all origins, standard errors over families",
        ("baseline", "score", "difference", "scores", "families", "verdict"),
        tuple(
            (
                row["baseline"],
                row["score"],
                _with_error(row["difference"], row["se"], digits=4),
                str(row["n"]),
                str(row["n_families"]),
                row["verdict"],
            )
            for row in found["comparisons"]
            if row["origin"] is None
        ),
    )


def _smallest(found: Content) -> Iterator[Table]:
    """Smallest changes that each rule finds."""
    wanted = f"{found['power']:.0%}".replace("%", " %")
    yield Table(
        f"Smallest change of growth (1/year) that is found in {wanted} of {found['n_simulations']} "
        "simulated datasets",
        ("rival", *found["rules"]),
        tuple(
            (trend["trend"], *(_change(trend["smallest"][rule]) for rule in found["rules"]))
            for trend in found["trends"]
        ),
    )


def _worlds(found: Content) -> Iterator[Table]:
    """Coverage, bias and width in every world."""
    yield Table(
        "95 % intervals of growth that hold the truth (%), error of medians and median width "
        "(1/year)",
        ("world", "datasets", "held", "bias", "width", "held by the line through records"),
        tuple(
            (
                world["name"],
                str(world["n"]),
                _coverage(world["model"]),
                _with_error(world["model"]["bias"]["mean"], world["model"]["bias"]["se"], digits=2),
                _number(world["model"]["median_width"]),
                _coverage(world["point"]),
            )
            for world in found["worlds"]
        ),
    )


_TABLES: Final[Mapping[str, Callable[[Content], Iterator[Table]]]] = {
    "compare": _hypotheses,
    "sweep": _definitions,
    "backtest": _baselines,
    "power": _smallest,
    "calibrate": _worlds,
}


def _with_error(value: float | None, error: float | None, digits: int = 1) -> str:
    """A number with its standard error."""
    if value is None:
        return ""
    beside = "" if error is None else f" \N{PLUS-MINUS SIGN} {error:.{digits}f}"
    return f"{value:.{digits}f}{beside}"


def _number(value: float | None) -> str:
    """A number that may be absent."""
    return "" if value is None else format_number(value)


def _probability(value: float | None) -> str:
    """A probability that may be absent."""
    return "" if value is None else format_probability(value)


def _months(time: Mapping[str, Any]) -> str:
    """Median and interval of a doubling time."""
    median, low, high = (
        "unbounded" if days is None else format_number(days / DAYS_PER_MONTH)
        for days in (time["median"], *time["eti95"])
    )
    return f"{median} ({low} to {high})"


def _change(found: Mapping[str, Any] | None) -> str:
    """Smallest change that is found."""
    if found is None:
        return "too few families"
    if found["difference_per_year"] is None:
        return "none that was tried"
    factor = found["factor"]
    said = format_number(found["difference_per_year"])
    return said if factor is None else f"{said} ({factor:.3g}-fold)"


def _coverage(said: Mapping[str, Any]) -> str:
    """Coverage of the 95 % interval with its own interval."""
    held = said["coverage"]["eti95"]
    low, high = (_PERCENT * end for end in held["eti95"])
    return f"{_PERCENT * held['share']:.0f} ({low:.0f} to {high:.0f})"


def _said(row: Mapping[str, Any]) -> str:
    """Why there is no fit, in a word."""
    return str(row["status"]).replace("_", " ")
