"""Replicated reports of simulated scores, such that the scores are the makers' own figures."""

import numpy as np
import pandas as pd
import xarray as xr

from bayesdense.arrays import Floats
from bayesdense.elementary import expit
from bayesdense.observations import JointObservations
from bayesdense.simulate.story import score_moments
from bayesdense.spec import ModelSpec


def simulate_reports(
    reports: pd.DataFrame,
    theta: xr.Dataset,
    spec: ModelSpec,
    data: JointObservations,
    logit_score: Floats,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw the reports behind given scores.

    A score is the mean, on the logit, of the cell's r used reports (the maker's own, where there
    are any): cell + mean noise. Given the score, that mean noise is normal, with
    w = (protocol_sd^2 / r) / var(score) of the score's deviation as its mean and
    (1 - w) protocol_sd^2 / r as its variance; the used reports scatter about the score, the
    others about the cell. So the reports within a cell are Normal(cell, protocol_sd^2), and their
    sums of squares have the model's distribution.

    Parameters
    ----------
    reports
        The reports of the dataset that is copied: which cells, how many, whose. Copies of one
        figure are one report.
    theta
        One draw of the parameters, without sample dims.
    spec, data
        The model and what it sees.
    logit_score
        (n_scores,): the simulated scores.
    rng
        Source of the random numbers.

    Returns
    -------
    pandas.DataFrame
        llm, benchmark, score, reported_by, own_report.
    """
    table = _distinct(reports)
    row_of_cell = {
        (data.llms.names[i], data.benchmarks.names[j]): k
        for k, (i, j) in enumerate(zip(data.scores.llm_idx, data.scores.benchmark_idx, strict=True))
    }
    cells = zip(table["llm"], table["benchmark"], strict=True)
    row = np.array([row_of_cell.get(cell, -1) for cell in cells])
    table, row = table[row >= 0].reset_index(drop=True), row[row >= 0]
    mean, var, protocol = (
        moment.to_numpy()
        for moment in score_moments(theta, spec, data, theta["log_effective_params"])
    )
    weight = protocol / var
    mean_noise = weight * (logit_score - mean)
    mean_noise += np.sqrt((1 - weight) * protocol) * rng.normal(size=len(mean))
    sd = np.sqrt(protocol * data.scores.n_reports)
    noise = sd[row] * rng.normal(size=len(row))
    used = _used(table)
    own_mean = pd.Series(noise).where(used).groupby(row).transform("mean").to_numpy()
    about_score, about_cell = logit_score[row] - own_mean, (logit_score - mean_noise)[row]
    table["score"] = expit(np.where(used, about_score, about_cell) + noise)
    return table


def _distinct(reports: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and figure; where a maker repeats another's figure, the maker's."""
    own = reports["own_report"] if "own_report" in reports else pd.Series(False, reports.index)
    table = reports.assign(own_report=own).sort_values("own_report", ascending=False, kind="stable")
    table = table.drop_duplicates(["llm", "benchmark", "score"]).sort_index()
    table = table.assign(reported_by="simulated").reset_index(drop=True)
    return table[["llm", "benchmark", "score", "reported_by", "own_report"]]


def _used(table: pd.DataFrame) -> "pd.Series[bool]":
    """Whether a report enters its cell's score: the maker's own where there is one, else all."""
    own = table["own_report"]
    has_own = own.groupby([table["llm"], table["benchmark"]]).transform("any")
    return own | ~has_own
