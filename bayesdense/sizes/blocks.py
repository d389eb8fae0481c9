"""Blocks of draws as the compiled loops of `normal` read them."""

import math

import numpy as np

from bayesdense.arrays import Ints
from bayesdense.kernel import Grid
from bayesdense.names import LAW_PARAMETERS, MAP_PARAMETERS
from bayesdense.observations import LLMData
from bayesdense.sizes.normal import Block, Cells, Families, Rule
from bayesdense.sizes.terms import LEAST_SD, NOISE, Posterior


def block_of(posterior: Posterior, draws: Ints, *, families: bool = False) -> Block:
    """Parameters of these draws; with `families` the locations hold their family effects."""
    theta, llms = posterior.rows(draws), posterior.data.llms
    location = llms.log_params + posterior.trend.eta(llms.years, theta)
    if families and "family_effect" in theta:
        location = location + theta["family_effect"][:, llms.family_idx]
    laws, maps, noise = (
        np.stack([theta[name] for name in names], axis=2)
        for names in (LAW_PARAMETERS, MAP_PARAMETERS, NOISE)
    )
    sd, family_sd = posterior.residual_sd(theta), theta["family_sd"][:, 0]
    return Block(laws, maps, noise, location, sd, np.ascontiguousarray(family_sd))


def cells_of(posterior: Posterior) -> Cells:
    """Scores, and what a law needs beside parameters."""
    cells, losses = posterior.cells, posterior.data.losses
    log_tokens = math.log(posterior.spec.options.reference_tokens)
    return Cells(
        cells.logit_score,
        np.asarray(cells.benchmark_idx, dtype=np.int64),
        np.asarray(cells.noise_idx, dtype=np.int64),
        np.asarray(cells.first, dtype=np.int64),
        np.ascontiguousarray(posterior.kinds, dtype=float),
        float(losses.log_params_centre),
        log_tokens - float(losses.log_tokens_centre),
        LEAST_SD,
    )


def rule_of(grid: Grid) -> Rule:
    """Nodes and widths of a grid."""
    widths = np.concatenate([[0.0], np.exp(grid.log_widths), [0.0]])
    return Rule(grid.nodes, grid.log_widths, widths)


def families_of(llms: LLMData) -> Families:
    """LLMs sorted by family."""
    order, first = members_of(llms.family_idx, len(llms.families))
    return Families(order, first)


def members_of(group: Ints, n_groups: int) -> tuple[Ints, Ints]:
    """Positions sorted by group, and where each group starts."""
    counts = np.bincount(group, minlength=n_groups)
    first = np.concatenate([[0], np.cumsum(counts)])
    return np.argsort(group, kind="stable").astype(np.int64), first.astype(np.int64)
