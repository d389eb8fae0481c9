"""What a fit says of the data that it is of: dates, years, counts of parameters, reference runs."""

import datetime as dt
import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayesdense.errors import BayesdenseError
from bayesdense.names import DAYS_PER_YEAR
from bayesdense.results import Fit


def params_convention(fit: Fit) -> str:
    """How the parameters of the LLMs were counted: total, active or non_embedding.

    The fit's `n_params` says it where the dataset did not have what the model asked for.
    """
    constant = fit.group("constant_data")
    asked = fit.spec.options.params
    return (
        str(constant["n_params"].attrs.get("convention", asked))
        if "n_params" in constant
        else asked
    )


def largest_reference(fit: Fit) -> float:
    """Parameters of the largest reference run; nan without any."""
    return scalar(fit, "reference_max_params")


def release_dates(fit: Fit) -> xr.DataArray:
    """ISO release date of each LLM, dims (llm)."""
    constant = fit.group("constant_data")
    if "release_date" not in constant.coords:
        raise BayesdenseError("this fit has no release dates; was its tree replaced?")
    return constant["release_date"]


def tokens_beyond(fit: Fit) -> float:
    """How many times D0 is the longest training among the reference runs; nan without any."""
    return fit.spec.options.reference_tokens / scalar(fit, "reference_max_tokens")


def window(fit: Fit) -> tuple[str, str]:
    """ISO dates of the first and last release in the dataset."""
    first, last = fit.dataset_info["window"]
    return str(first), str(last)


def dates_over_window(fit: Fit, count: int) -> list[str]:
    """ISO dates evenly spread from the first to the last release, each once."""
    first, last = (dt.date.fromisoformat(day) for day in window(fit))
    days = np.unique(np.linspace(0, (last - first).days, count).round().astype(int))
    return [(first + dt.timedelta(days=int(day))).isoformat() for day in days]


def last_release(fit: Fit) -> str:
    """ISO date of the last release in the dataset, at which growth is read unless said."""
    return window(fit)[1]


def years_since_origin(fit: Fit, dates: Sequence[str]) -> np.ndarray:
    """Years of 365.25 days from the fit's time origin to ISO dates."""
    origin = dt.date.fromisoformat(fit.time_origin)
    days = [(dt.date.fromisoformat(iso_date(date)) - origin).days for date in dates]
    return np.asarray(days, dtype=float) / DAYS_PER_YEAR


def date_at(fit: Fit, years: float) -> str:
    """ISO date, to the nearest day, of years of 365.25 days since the fit's time origin."""
    origin = dt.date.fromisoformat(fit.time_origin)
    return (origin + dt.timedelta(days=round(years * DAYS_PER_YEAR))).isoformat()


def scalar(fit: Fit, name: str) -> float:
    """Return a scalar of the constant data; nan where there is none."""
    constant = fit.group("constant_data")
    return float(constant[name]) if name in constant else math.nan


def iso_date(text: str) -> str:
    """Return an ISO date, or raise saying how it is written."""
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError as err:
        raise BayesdenseError(f"{text!r} is not a date; write it as 2025-08-05") from err
