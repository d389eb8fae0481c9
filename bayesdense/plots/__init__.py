"""Figures of a fit on matplotlib axes, each with its data as a table.

Functions `plot_*` draw on the axes they are given, or on new ones, and return them; those of priors
and chains are ArviZ's own and return its `PlotCollection`. `figure` draws the figures of the
command line and of the report, `figure_table` tabulates their data.
"""

from bayesdense.plots.calibration import plot_calibration
from bayesdense.plots.growth import plot_doubling_time, plot_growth_rate
from bayesdense.plots.kinds import figure, figure_table
from bayesdense.plots.loss_law import plot_loss_law, plot_loss_residuals
from bayesdense.plots.predictive import plot_predictive
from bayesdense.plots.sampling import plot_energy, plot_ess, plot_prior_posterior, plot_rank
from bayesdense.plots.score_map import plot_score_map
from bayesdense.plots.sizes import plot_densities, plot_sizes
from bayesdense.plots.sweep import plot_sweep
from bayesdense.plots.trend import plot_trend

__all__ = [
    "figure",
    "figure_table",
    "plot_calibration",
    "plot_densities",
    "plot_doubling_time",
    "plot_energy",
    "plot_ess",
    "plot_growth_rate",
    "plot_loss_law",
    "plot_loss_residuals",
    "plot_predictive",
    "plot_prior_posterior",
    "plot_rank",
    "plot_score_map",
    "plot_sizes",
    "plot_sweep",
    "plot_trend",
]
