"""Published densities under another D0: how the doubling time hangs on that definition."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.point.average import average_panel
from bayesdense.point.loss_fit import LossLaw, Mode, fit_loss_law
from bayesdense.point.options import DEFAULT_REFERENCE_TOKENS
from bayesdense.point.records import fit_line, running_records

REFERENCE_TOKENS: Final = (1e12, 2e12, 5e12, 1e13, 2e13)


def average_law(mode: Mode = "tokens_steeper") -> LossLaw:
    """Least squares law of the paper's AVERAGE panel; by default the optimum that it drew."""
    runs, _ = average_panel()
    columns = (runs[column].to_numpy(float) for column in ("n_params", "n_tokens", "loss"))
    optimum = fit_loss_law(*columns).choose(mode)
    if optimum is None:
        raise BayesdenseError(f"mode = {mode!r}: the AVERAGE law has no such optimum")
    return optimum.law


def reference_tokens_table(
    dataset: Dataset,
    reference_tokens: Sequence[float] = REFERENCE_TOKENS,
    *,
    law: LossLaw | None = None,
    published_law: LossLaw | None = None,
    published_tokens: float = DEFAULT_REFERENCE_TOKENS,
) -> pd.DataFrame:
    """Doubling time of published densities as a function of D0.

    Each density times its LLM's size is an effective size at the D0 of the publication; the law
    turns it into a loss there, and the same loss into a size at another D0. Records and line are
    taken anew.

    Parameters
    ----------
    dataset
        Published densities with `n_params`.
    reference_tokens
        Values of D0 (tokens).
    law
        Loss law of the reference LLMs; `published_law` by default.
    published_law, published_tokens
        Law and D0 of the publication: by default the paper's AVERAGE law and 5e12.

    Returns
    -------
    pandas.DataFrame
        One row per D0: reference_tokens, n_records, n_not_invertible (no size reaches the loss
        with so few tokens), slope_per_day, doubling_time_days.

    Raises
    ------
    BayesdenseError
        Not a dataset of densities, or without sizes.
    """
    published = dataset.densities
    if published is None or "n_params" not in published or published["n_params"].isna().any():
        raise BayesdenseError(
            f"{dataset.name}: a table of densities with n_params in every row is needed to take"
            " them to another D0"
        )
    published_law = published_law or average_law()
    law = law or published_law
    log_params = np.log(published["n_params"].to_numpy(float))
    log_size = log_params + np.log(published["density"].to_numpy(float))
    loss = published_law.loss(log_size, np.log(published_tokens))
    dates = published["release_date"]
    days = (dates - dates.min()).dt.days.to_numpy(np.int64)
    rows = []
    for tokens in reference_tokens:
        log_density = law.log_params(loss, np.log(tokens)) - log_params
        finite = np.isfinite(log_density)
        records = np.flatnonzero(finite)[running_records(days[finite], log_density[finite])]
        line = fit_line(days[records], log_density[records])
        rows.append(
            {
                "reference_tokens": float(tokens),
                "n_records": line.n_records,
                "n_not_invertible": int(np.sum(~finite)),
                "slope_per_day": line.slope_per_day,
                "doubling_time_days": line.doubling_time_days,
            }
        )
    return pd.DataFrame(rows)
