"""Figures of a fit and of studies on matplotlib axes, each with its data as a table.

Functions `plot_*` draw on the axes they are given, or on new ones, and return them; those of priors
and chains are ArviZ's own and return its `PlotCollection`. `figure` draws the figures of the
command line and of the report, `figure_table` tabulates their data.
"""

from bayesdense.plots.backtest import plot_backtest
from bayesdense.plots.calibration import plot_calibration
from bayesdense.plots.decomposition import plot_decomposition
from bayesdense.plots.growth import plot_doubling_time, plot_growth_rate
from bayesdense.plots.hypotheses import plot_hypotheses
from bayesdense.plots.kinds import figure, figure_table
from bayesdense.plots.loss_law import plot_loss_law, plot_loss_residuals
from bayesdense.plots.power import plot_power
from bayesdense.plots.predictive import plot_predictive
from bayesdense.plots.readings import plot_readings
from bayesdense.plots.sampling import plot_energy, plot_ess, plot_prior_posterior, plot_rank
from bayesdense.plots.score_map import plot_score_map
from bayesdense.plots.sizes import plot_densities, plot_sizes
from bayesdense.plots.sweep import plot_sweep
from bayesdense.plots.trend import plot_trend

__all__ = [
    "figure",
    "figure_table",
    "plot_backtest",
    "plot_calibration",
    "plot_decomposition",
    "plot_densities",
    "plot_doubling_time",
    "plot_energy",
    "plot_ess",
    "plot_growth_rate",
    "plot_hypotheses",
    "plot_loss_law",
    "plot_loss_residuals",
    "plot_power",
    "plot_predictive",
    "plot_prior_posterior",
    "plot_rank",
    "plot_readings",
    "plot_score_map",
    "plot_sizes",
    "plot_sweep",
    "plot_trend",
]
