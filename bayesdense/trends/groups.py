"""A line of its own for each group of LLMs, drawn together as far as the groups are alike.

References
----------
Gelman and Hill 2007, Data analysis using regression and multilevel models, ch. 13 (varying
intercepts and slopes).
"""

from bayesdense.elementary import Array
from bayesdense.errors import SpecError
from bayesdense.names import GROUP
from bayesdense.trends.base import Theta, Trend, TrendData
from bayesdense.wording import told

#: Groups that need no column of their own: whether an LLM is a mixture of experts.
MIXTURE_OF_EXPERTS = "moe"


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + a_k + (g + b_k) t for an LLM of group k.

    a_k ~ Normal(0, group_level_sd), b_k ~ Normal(0, group_growth_sd). At a mere date, the mean
    over groups, each by its share of the families.
    """
    line = theta["trend_intercept"] + theta["growth_rate"] * t
    vectors = (theta["group_level"], theta["group_growth"])
    for weight, level, growth in zip(data.weights, *vectors, strict=True):
        line = line + weight * (level + growth * t)
    return line


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth g + b_k: at a mere date their mean with the groups' shares as they are."""
    growth = theta["growth_rate"] + 0.0 * t
    for weight, own in zip(data.weights, theta["group_growth"], strict=True):
        growth = growth + weight * own
    return growth


def _require(data: TrendData) -> None:
    """Refuse a single group."""
    if len(data.groups) < 2:
        names = ", ".join(map(told, data.groups)) or "none"
        raise SpecError(
            f"trend groups: all LLMs are of one group ({names}); allowed two groups or more: "
            "group by another column, or use exponential"
        )


def groups(column: str = MIXTURE_OF_EXPERTS) -> Trend:
    """Trend with a level and a growth rate for each group.

    Parameters
    ----------
    column
        Column of `llms.csv` (or `densities.csv`) whose words are the groups; `moe`: mixtures of
        experts, by fewer active than total parameters, and dense LLMs.
    """
    return Trend(
        kind="groups" if column == MIXTURE_OF_EXPERTS else f"groups@{column}",
        parameters=("trend_intercept", "growth_rate", "group_level", "group_growth"),
        eta=_eta,
        growth_rate=_growth_rate,
        is_linear=True,
        dims={"group_level": GROUP, "group_growth": GROUP},
        pinned=("group_level", "group_growth"),
        formula="eta0 + a_k + (g + b_k) t for group k",
        outside="each group's growth goes on, at their present shares of the families",
        group_by=column,
        require=_require,
    )
