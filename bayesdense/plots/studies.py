"""Figures of studies: which study has which, its table, how it is drawn, what it shows in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure

from bayesdense.errors import BayesdenseError
from bayesdense.names import STUDY_PLOT_KINDS
from bayesdense.plots import backtest, calibration, decomposition, hypotheses, power, sweep
from bayesdense.plots.kinds import Drawn
from bayesdense.plots.style import styled
from bayesdense.results import Fit
from bayesdense.study_files import StudyFile, sweep_table
from bayesdense.wording import nearest_of, printable, told


@dataclass(frozen=True, slots=True)
class StudyKind:
    """A kind of figure of a study.

    Attributes
    ----------
    verb
        What makes such studies.
    table
        From what was found, and a fit of the same data where it is at hand, to the figure's data.
    draw
        From the table to the figure.
    describe
        From the table to a sentence, for who cannot see the figure.
    """

    verb: str
    table: Callable[[Mapping[str, Any], Fit | None], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]
    describe: Callable[[pd.DataFrame], str]


STUDY_KINDS: Final[Mapping[str, StudyKind]] = MappingProxyType(
    {
        "hypotheses": StudyKind(
            "compare",
            lambda found, fit: hypotheses.hypotheses_table(found, fit=fit),
            hypotheses.hypotheses_figure,
            hypotheses.describe_hypotheses,
        ),
        "sweep": StudyKind(
            "sweep",
            lambda found, _: sweep_table(found),
            sweep.sweep_figure,
            sweep.describe_sweep,
        ),
        "decomposition": StudyKind(
            "sweep",
            lambda found, _: decomposition.decomposition_table(found),
            decomposition.decomposition_figure,
            decomposition.describe_decomposition,
        ),
        "backtest_coverage": StudyKind(
            "backtest",
            lambda found, _: backtest.coverage_table(found),
            backtest.coverage_figure,
            backtest.describe_coverage,
        ),
        "backtest_crps": StudyKind(
            "backtest",
            lambda found, _: backtest.crps_table(found),
            backtest.crps_figure,
            backtest.describe_crps,
        ),
        "power": StudyKind(
            "power",
            lambda found, _: power.power_table(found),
            power.power_figure,
            power.describe_power,
        ),
        "calibration_ranks": StudyKind(
            "calibrate",
            lambda found, _: calibration.ranks_table(found),
            calibration.ranks_figure,
            calibration.describe_ranks,
        ),
        "calibration_coverage": StudyKind(
            "calibrate",
            lambda found, _: calibration.coverage_rows(found),
            calibration.coverage_figure,
            calibration.describe_coverage,
        ),
    }
)


def kinds_of(verb: str) -> list[str]:
    """Figures that a study made by a verb has."""
    return [name for name, kind in STUDY_KINDS.items() if kind.verb == verb]


def draw_study(study: StudyFile, kind: str, *, fit: Fit | None = None) -> Drawn:
    """Draw a figure of a study, and say what it shows.

    Raises
    ------
    BayesdenseError
        The study has no such figure, did not find what it takes, or is not as its schema says.
    """
    known = kinds_of(study.verb)
    if kind not in known:
        raise BayesdenseError(
            f"kind = {told(kind)}: {study.verb} has no such figure{nearest_of(kind, known)}"
        )
    chosen = STUDY_KINDS[kind]
    try:
        table = chosen.table(study.content, fit)
        with styled():
            drawn = chosen.draw(table)
        words = chosen.describe(table)
    except (KeyError, TypeError, IndexError) as error:
        raise BayesdenseError(
            f"{printable(str(study.path))}: is not as {study.verb}.schema.json says: "
            f"{type(error).__name__}: {error}"
        ) from error
    title = f"{printable(str(study.content['dataset']['name']))}: {STUDY_PLOT_KINDS[kind]}"
    return Drawn(kind, title, drawn, table, words)
