"""Effective sizes after sampling: draws, log likelihoods, bounds, accuracy, leave-one-out checks.

Everything is computed draw by draw on the grid of `kernel`, the family effect treated exactly.
"""

from bayesdense.sizes.accuracy import fine_spacing, quadrature_error
from bayesdense.sizes.bounds import llm_bounds
from bayesdense.sizes.drawing import draw_log_sizes
from bayesdense.sizes.effects import draw_family_effects
from bayesdense.sizes.likelihoods import (
    family_log_likelihood,
    log_likelihoods,
    log_likelihoods_and_slopes,
)
from bayesdense.sizes.pit import loo_pit

__all__ = [
    "draw_family_effects",
    "draw_log_sizes",
    "family_log_likelihood",
    "fine_spacing",
    "llm_bounds",
    "log_likelihoods",
    "log_likelihoods_and_slopes",
    "loo_pit",
    "quadrature_error",
]
