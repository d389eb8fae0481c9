"""Noise of an LLM's score on the logit: discrepancy, protocol, items, and a protocol's offset."""

from collections.abc import Mapping
from typing import NamedTuple

import pymc as pm
import pytensor.tensor as pt

from bayesdense.arrays import Floats
from bayesdense.components.priors import random_variable, variables
from bayesdense.components.tensor import Tensor
from bayesdense.observations import JointObservations, ReportData
from bayesdense.spec import ModelSpec


class ScoreNoise(NamedTuple):
    """Sds on the logit, vectors over benchmarks, and the offset of the other protocol."""

    discrepancy_sd: Tensor
    protocol_sd: Tensor
    protocol_offset: Tensor

    def variance(self, benchmark_idx: object, n_reports: object) -> Tensor:
        """Variance beyond item noise: discrepancy^2 + protocol^2 / reports."""
        return (
            self.discrepancy_sd[benchmark_idx] ** 2
            + self.protocol_sd[benchmark_idx] ** 2 / n_reports
        )


def score_noise(
    spec: ModelSpec, scales: Mapping[str, Floats], data: JointObservations
) -> ScoreNoise:
    """Add the noise's parameters; without replicated reports only `cell_sd`, the sum."""
    zeros = pt.zeros(len(data.benchmarks.names))
    if data.reports is None:
        cell = variables(spec, "score_noise", scales, "cell_sd")
        sds = {"discrepancy_sd": cell["cell_sd"], "protocol_sd": zeros}
    else:
        sds = variables(spec, "score_noise", scales, "discrepancy_sd", "protocol_sd")
    if not data.has_offset.any():
        return ScoreNoise(**sds, protocol_offset=zeros)
    offset = random_variable(
        "protocol_offset", spec.prior("score_noise", "protocol_offset"), scales
    )
    return ScoreNoise(**sds, protocol_offset=offset * data.has_offset)


def observe_reports(noise: ScoreNoise, data: ReportData) -> None:
    """Add the replicated reports.

    Within a cell the reports are Normal(cell, protocol_sd^2), so that the sum of squares about
    the cells' means over k degrees is protocol_sd^2 chi-square(k), a Gamma(k/2, 1/2 protocol_sd^2).
    """
    pm.Gamma(
        "score_reports",
        alpha=data.degrees / 2,
        beta=1 / (2 * noise.protocol_sd[data.benchmark_idx] ** 2),
        observed=data.sum_of_squares,
        dims="report_benchmark",
    )
