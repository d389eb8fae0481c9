"""What a fit says of dates: density of typical and of new LLMs, when a goal is reached."""

from bayesdense.forecasting.ahead import Ahead
from bayesdense.forecasting.dates import (
    HARDWARE_DOUBLING_YEARS,
    about_fit,
    asked_dates,
    forecast,
    told_ahead,
)
from bayesdense.forecasting.goals import first_reached

__all__ = [
    "HARDWARE_DOUBLING_YEARS",
    "Ahead",
    "about_fit",
    "asked_dates",
    "first_reached",
    "forecast",
    "told_ahead",
]
