"""Forecasts that are written down before what they speak of, and scored after it."""

from bayesdense.frozen.file import FrozenForecast, freeze_forecast, load_forecast
from bayesdense.frozen.scores import score_forecast

__all__ = [
    "FrozenForecast",
    "freeze_forecast",
    "load_forecast",
    "score_forecast",
]
