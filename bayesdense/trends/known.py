"""Which trend hypotheses there are, by name: those that ship, and those that a user adds."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np

from bayesdense.elementary import Array
from bayesdense.errors import SpecError
from bayesdense.trends.base import Trend, TrendData, TrendOn
from bayesdense.trends.breaks import BREAK_FREE, break_known
from bayesdense.trends.covariate import COVARIATES, covariate
from bayesdense.trends.exponential import EXPONENTIAL
from bayesdense.trends.flat import FLAT
from bayesdense.trends.gompertz import GOMPERTZ
from bayesdense.trends.gp import GP
from bayesdense.trends.groups import groups
from bayesdense.trends.hyperbolic import HYPERBOLIC
from bayesdense.trends.linear import LINEAR
from bayesdense.trends.logistic import LOGISTIC
from bayesdense.trends.power import POWER
from bayesdense.trends.quadratic import QUADRATIC
from bayesdense.trends.random_walk import RANDOM_WALK
from bayesdense.trends.staircase import STAIRCASE
from bayesdense.wording import nearest_of, told

#: Separates a trend's name from its argument.
ARGUMENT: Final = "@"

#: A date that stands for any, so that all trends have an example.
_ANY_DATE: Final = "2024-04-01"
#: Trends that ship by name; of those that take an argument, an example.
TRENDS: Mapping[str, Trend] = MappingProxyType(
    {
        trend.kind.partition(ARGUMENT)[0]: trend
        for trend in (
            EXPONENTIAL,
            FLAT,
            break_known(_ANY_DATE),
            BREAK_FREE,
            QUADRATIC,
            HYPERBOLIC,
            LOGISTIC,
            GOMPERTZ,
            POWER,
            LINEAR,
            RANDOM_WALK,
            GP,
            groups(),
            covariate(),
            STAIRCASE,
        )
    }
)
#: Trends that take an argument: how it is told, and what makes the trend from it.
_WITH_ARGUMENT: Mapping[str, tuple[str, Callable[[str], Trend]]] = MappingProxyType(
    {
        "break_known": ("DATE", break_known),
        "groups": ("COLUMN", groups),
        "covariate": ("|".join(COVARIATES), covariate),
    }
)
_NEEDS_ARGUMENT: Final = ("break_known",)
#: Trends that a user has added in this process.
_ADDED: Final[dict[str, Trend]] = {}


def trend_named(kind: str) -> Trend:
    """Return the trend of a name, such as `exponential` or `break_known@2024-04-01`.

    Raises
    ------
    SpecError
        There is none, or its argument is missing, or none of its.
    """
    name, sign, argument = kind.partition(ARGUMENT)
    if name in _WITH_ARGUMENT and argument:
        return _WITH_ARGUMENT[name][1](argument)
    if name in TRENDS and name not in _WITH_ARGUMENT and sign:
        raise SpecError(f"trend {name} takes no argument: write it as {name}")
    if name in _NEEDS_ARGUMENT or (name in _WITH_ARGUMENT and sign):
        shown = f"{name}{ARGUMENT}{_WITH_ARGUMENT[name][0]}"
        raise SpecError(f"trend {name}: write it as {shown}, {TRENDS[name].kind}")
    found = known_trends().get(kind)
    if found is None:
        raise SpecError(f"no trend {told(kind)}{nearest_of(kind, trend_forms())}")
    return found


def known_trends() -> dict[str, Trend]:
    """Trends by name, arguments left out: those that ship, then those that a user has added."""
    return {**TRENDS, **_ADDED}


def trend_forms() -> list[str]:
    """How every trend is written, arguments in capitals."""
    return [
        f"{name}{ARGUMENT}{_WITH_ARGUMENT[name][0]}" if name in _NEEDS_ARGUMENT else name
        for name in known_trends()
    ]


def form_of(kind: str) -> str:
    """Name of a trend without its argument."""
    return kind.partition(ARGUMENT)[0]


def add_trend(trend: Trend) -> Trend:
    """Make a trend of your own known by its name, in this process.

    Parameters
    ----------
    trend
        Its `priors` hold a prior for each parameter that no shipped trend has; models take them
        over where they have none of their own.

    Returns
    -------
    Trend
        The same.

    Raises
    ------
    SpecError
        Its name is a shipped trend's, or its functions do not do what a trend's have to: a message
        says which.
    """
    if form_of(trend.kind) in TRENDS or ARGUMENT in trend.kind or not trend.kind.isidentifier():
        raise SpecError(
            f"trend {told(trend.kind)}: allowed a word that is no shipped trend's name "
            f"({', '.join(TRENDS)})"
        )
    _check(trend)
    _ADDED[trend.kind] = trend
    return trend


def _check(trend: Trend) -> None:
    """Refuse functions that give no numbers of the times' shape, or are not linear as claimed."""
    t = np.array([-1.0, -0.3, 0.4, 1.2])
    years = np.array([-1.3, -0.5, 0.5, 1.6])
    data = TrendData("2024-04-01", years, np.arange(4), ("one", "other"), (t > 0, t <= 0), t)
    whole = TrendOn(trend, data)
    rng = np.random.default_rng(1)
    sizes = {name: (len(data.labels(dim)),) for name, dim in trend.dims.items()}
    theta = {name: 0.5 + rng.random(sizes.get(name, ())) for name in trend.drawn}
    for name, curve in (("eta", whole.eta), ("growth_rate", whole.growth_rate)):
        values = _called(trend, name, partial(curve, t, theta))
        if np.shape(values) not in ((), (1,), t.shape) or not np.isfinite(values).all():
            raise SpecError(
                f"trend {trend.kind!r}: {name} gave {told(values)} at {t.size} times, allowed as "
                "many finite numbers"
            )
    slope = (whole.eta(t + 1e-4, theta) - whole.eta(t - 1e-4, theta)) / 2e-4
    if not np.allclose(whole.growth_rate(t, theta) + 0.0 * t, slope, rtol=1e-4, atol=1e-4):
        raise SpecError(f"trend {trend.kind!r}: growth_rate is not the slope of eta")
    if trend.is_linear:
        flat = np.concatenate([np.ravel(theta[name]) for name in trend.parameters])
        value = None if trend.mixture is None else float(theta[trend.mixture.name])
        if not np.allclose(whole.basis(t, value=value) @ flat, whole.eta(t, theta)):
            raise SpecError(
                f"trend {trend.kind!r}: eta is not linear in its parameters; leave out is_linear"
            )


def _called(trend: Trend, name: str, call: Callable[[], Array]) -> Array:
    """Call a user's function; what it raises is said with its name."""
    try:
        return call()
    except Exception as error:
        raise SpecError(
            f"trend {trend.kind!r}: {name} failed with {type(error).__name__}: {error}"
        ) from error
