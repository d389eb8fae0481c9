"""Bayesian inference of the Densing Law: how fast the capability density of language models grows.

    import bayesdense as bd

    fit = bd.fit(bd.load_spec("joint"), bd.load_dataset("densing"), seed=1)
    bd.doubling_time(fit)

Names are imported when first used (PEP 562), so that `import bayesdense` costs nothing.
"""

import importlib
import logging
from typing import TYPE_CHECKING

from bayesdense._version import __version__
from bayesdense.companions import saved_with_fits

if TYPE_CHECKING:
    from bayesdense.approximation import Preview as Preview
    from bayesdense.approximation import preview as preview
    from bayesdense.build import build_model as build_model
    from bayesdense.catalog import dataset_names as dataset_names
    from bayesdense.catalog import model_names as model_names
    from bayesdense.checks import Checks as Checks
    from bayesdense.checks import check as check
    from bayesdense.checks.influence import influence as influence
    from bayesdense.checks.sensitivity import Sensitivity as Sensitivity
    from bayesdense.checks.sensitivity import sensitivity as sensitivity
    from bayesdense.comparison import Comparison as Comparison
    from bayesdense.comparison import compare as compare
    from bayesdense.dataset import Dataset as Dataset
    from bayesdense.dataset import load_dataset as load_dataset
    from bayesdense.derive import benchmark_parameters as benchmark_parameters
    from bayesdense.derive import benchmark_table as benchmark_table
    from bayesdense.derive import density as density
    from bayesdense.derive import doubling_time as doubling_time
    from bayesdense.derive import effective_params as effective_params
    from bayesdense.derive import growth_rate as growth_rate
    from bayesdense.difference import diff as diff
    from bayesdense.errors import BayesdenseError as BayesdenseError
    from bayesdense.errors import CheckFailure as CheckFailure
    from bayesdense.errors import DatasetError as DatasetError
    from bayesdense.errors import FitFolderError as FitFolderError
    from bayesdense.errors import ReportError as ReportError
    from bayesdense.errors import SpecError as SpecError
    from bayesdense.estimates import DoublingTime as DoublingTime
    from bayesdense.estimates import Estimate as Estimate
    from bayesdense.forecasting import forecast as forecast
    from bayesdense.frontier import frontier_readings as frontier_readings
    from bayesdense.frozen import FrozenForecast as FrozenForecast
    from bayesdense.frozen import freeze_forecast as freeze_forecast
    from bayesdense.frozen import load_forecast as load_forecast
    from bayesdense.frozen import score_forecast as score_forecast
    from bayesdense.growth_breaks import GrowthBreak as GrowthBreak
    from bayesdense.growth_breaks import growth_break as growth_break
    from bayesdense.growth_priors import PriorGrowth as PriorGrowth
    from bayesdense.growth_priors import prior_growth as prior_growth
    from bayesdense.inference import fit as fit
    from bayesdense.inference import prepare as prepare
    from bayesdense.plots import figure as figure
    from bayesdense.plots import figure_table as figure_table
    from bayesdense.plots import plot_backtest as plot_backtest
    from bayesdense.plots import plot_calibration as plot_calibration
    from bayesdense.plots import plot_decomposition as plot_decomposition
    from bayesdense.plots import plot_densities as plot_densities
    from bayesdense.plots import plot_doubling_time as plot_doubling_time
    from bayesdense.plots import plot_energy as plot_energy
    from bayesdense.plots import plot_ess as plot_ess
    from bayesdense.plots import plot_growth_rate as plot_growth_rate
    from bayesdense.plots import plot_hypotheses as plot_hypotheses
    from bayesdense.plots import plot_loss_law as plot_loss_law
    from bayesdense.plots import plot_loss_residuals as plot_loss_residuals
    from bayesdense.plots import plot_power as plot_power
    from bayesdense.plots import plot_predictive as plot_predictive
    from bayesdense.plots import plot_prior_posterior as plot_prior_posterior
    from bayesdense.plots import plot_rank as plot_rank
    from bayesdense.plots import plot_readings as plot_readings
    from bayesdense.plots import plot_score_map as plot_score_map
    from bayesdense.plots import plot_sizes as plot_sizes
    from bayesdense.plots import plot_sweep as plot_sweep
    from bayesdense.plots import plot_trend as plot_trend
    from bayesdense.point import point_estimate as point_estimate
    from bayesdense.prediction import predict as predict
    from bayesdense.report import report_html as report_html
    from bayesdense.report import write_report as write_report
    from bayesdense.results import Fit as Fit
    from bayesdense.results import load_fit as load_fit
    from bayesdense.scoring import score as score
    from bayesdense.simulate import Truth as Truth
    from bayesdense.simulate import simulate_dataset as simulate_dataset
    from bayesdense.simulate import write_dataset as write_dataset
    from bayesdense.spec import ModelSpec as ModelSpec
    from bayesdense.spec import load_spec as load_spec
    from bayesdense.stacking import read_weights as read_weights
    from bayesdense.stacking import stacked_forecast as stacked_forecast
    from bayesdense.studies.backtest import backtest as backtest
    from bayesdense.studies.backtest_result import Backtest as Backtest
    from bayesdense.studies.calibrate import calibrate as calibrate
    from bayesdense.studies.calibrate_result import Calibration as Calibration
    from bayesdense.studies.power import power as power
    from bayesdense.studies.power_result import Power as Power
    from bayesdense.studies.sweep import Sweep as Sweep
    from bayesdense.studies.sweep import sweep as sweep
    from bayesdense.study_files import StudyFile as StudyFile
    from bayesdense.study_files import read_study as read_study
    from bayesdense.summary import summarize as summarize
    from bayesdense.trends import Trend as Trend
    from bayesdense.trends import TrendData as TrendData
    from bayesdense.trends import add_trend as add_trend


#: Where each public name lives; a test holds it equal to the imports above.
_HOMES = {
    "Backtest": "studies.backtest_result",
    "BayesdenseError": "errors",
    "Calibration": "studies.calibrate_result",
    "CheckFailure": "errors",
    "Checks": "checks",
    "Comparison": "comparison",
    "Dataset": "dataset",
    "DatasetError": "errors",
    "DoublingTime": "estimates",
    "Estimate": "estimates",
    "Fit": "results",
    "FitFolderError": "errors",
    "FrozenForecast": "frozen",
    "GrowthBreak": "growth_breaks",
    "ModelSpec": "spec",
    "Power": "studies.power_result",
    "Preview": "approximation",
    "PriorGrowth": "growth_priors",
    "ReportError": "errors",
    "Sensitivity": "checks.sensitivity",
    "SpecError": "errors",
    "StudyFile": "study_files",
    "Sweep": "studies.sweep",
    "Trend": "trends",
    "TrendData": "trends",
    "Truth": "simulate",
    "add_trend": "trends",
    "backtest": "studies.backtest",
    "benchmark_parameters": "derive",
    "benchmark_table": "derive",
    "build_model": "build",
    "calibrate": "studies.calibrate",
    "check": "checks",
    "compare": "comparison",
    "dataset_names": "catalog",
    "density": "derive",
    "diff": "difference",
    "doubling_time": "derive",
    "effective_params": "derive",
    "figure": "plots",
    "figure_table": "plots",
    "fit": "inference",
    "forecast": "forecasting",
    "freeze_forecast": "frozen",
    "frontier_readings": "frontier",
    "growth_break": "growth_breaks",
    "growth_rate": "derive",
    "influence": "checks.influence",
    "load_dataset": "dataset",
    "load_fit": "results",
    "load_forecast": "frozen",
    "load_spec": "spec",
    "model_names": "catalog",
    "plot_backtest": "plots",
    "plot_calibration": "plots",
    "plot_decomposition": "plots",
    "plot_densities": "plots",
    "plot_doubling_time": "plots",
    "plot_energy": "plots",
    "plot_ess": "plots",
    "plot_growth_rate": "plots",
    "plot_hypotheses": "plots",
    "plot_loss_law": "plots",
    "plot_loss_residuals": "plots",
    "plot_power": "plots",
    "plot_predictive": "plots",
    "plot_prior_posterior": "plots",
    "plot_rank": "plots",
    "plot_readings": "plots",
    "plot_score_map": "plots",
    "plot_sizes": "plots",
    "plot_sweep": "plots",
    "plot_trend": "plots",
    "point_estimate": "point",
    "power": "studies.power",
    "predict": "prediction",
    "prepare": "inference",
    "preview": "approximation",
    "prior_growth": "growth_priors",
    "read_study": "study_files",
    "read_weights": "stacking",
    "report_html": "report",
    "score": "scoring",
    "score_forecast": "frozen",
    "sensitivity": "checks.sensitivity",
    "simulate_dataset": "simulate",
    "stacked_forecast": "stacking",
    "summarize": "summary",
    "sweep": "studies.sweep",
    "write_dataset": "simulate",
    "write_report": "report",
}

__all__ = ["__version__", *sorted(_HOMES)]

# A library stays silent until its user asks (bayesdense.logs does it for the command line).
logging.getLogger(__name__).addHandler(logging.NullHandler())


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used, and keep it."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})


def _summary_file(fit: "Fit") -> bytes:
    """Content of summary.json: a fit saved from Python holds what one of the command line does."""
    from bayesdense.checks import check
    from bayesdense.summary import summarize, to_json

    return to_json(summarize(fit, check(fit))).encode("utf-8")


saved_with_fits("summary.json", _summary_file)
