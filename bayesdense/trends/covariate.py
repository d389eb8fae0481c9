"""Growth at a fixed covariate: how much of it is the LLMs' being larger, or trained for longer.

A covariate through which progress acts (tokens per parameter) is a mediator: growth at its fixed
value is another quantity than growth, and not a better one.
"""

from typing import Final

from bayesdense.elementary import Array
from bayesdense.errors import SpecError
from bayesdense.trends.base import Theta, Trend, TrendData
from bayesdense.wording import told

#: Covariate -> what it is.
COVARIATES: Final = {
    "log_params": "log of the parameters N",
    "log_overtraining": "log of the training tokens per parameter D/N",
    "log_compute": "log of the training FLOP 6 N D",
}


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + g t + c (x - mean x), x the covariate of an LLM; at a mere date x = mean."""
    line = theta["trend_intercept"] + theta["growth_rate"] * t
    return line + theta["covariate_slope"] * data.covariate


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Partial growth g: of LLMs of the same covariate."""
    return theta["growth_rate"] + 0.0 * t


def _require(data: TrendData) -> None:
    """Refuse a covariate that does not vary."""
    if float(data.covariate.max() - data.covariate.min()) < 1e-9:
        raise SpecError(
            "trend covariate: it is the same for all LLMs; use another covariate, or exponential"
        )


def covariate(name: str = "log_params") -> Trend:
    """Exponential trend with a slope on a covariate.

    Parameters
    ----------
    name
        One of `COVARIATES`.

    Raises
    ------
    SpecError
        There is no such covariate.
    """
    if name not in COVARIATES:
        raise SpecError(f"trend covariate@{told(name)}: allowed {', '.join(COVARIATES)}")
    return Trend(
        kind="covariate" if name == "log_params" else f"covariate@{name}",
        parameters=("trend_intercept", "growth_rate", "covariate_slope"),
        eta=_eta,
        growth_rate=_growth_rate,
        is_linear=True,
        formula="eta0 + g t + c (x - mean x), x = log N, log(D/N) or log compute",
        outside="the same growth, at the covariate's mean",
        covariate=name,
        require=_require,
    )
