"""Progress in steps: density rises where something is found, and rests in between.

Steps come at random, four a year on average, and are of exponentially distributed size: log
density is a compound Poisson process. Its increments over the quarters are independent, of mean m
and squared coefficient of variation 2 / (steps per quarter) = 2. They are taken as log-normal of
the same mean and variance (a log-sd of sqrt(log 3) = 1.05), each spread evenly over its quarter: a
density that no sampler meets a step in, proper, linear in the increments and normal on their log.
The compound Poisson variable itself has an atom at zero, and a gamma variable of that variation
piles up there, with a long tail on its log.

References
----------
Feller 1968, An introduction to probability theory I, ch. XII (compound Poisson); Barndorff-Nielsen
and Shephard 2001, J. R. Stat. Soc. B 63:167 (processes that only rise).
"""

from bayesdense.elementary import Array, positive_part
from bayesdense.names import QUARTER
from bayesdense.trends.base import Theta, Trend, TrendData, after, clamp


def _eta(t: Array, theta: Theta, data: TrendData) -> Array:
    """eta(t) = eta0 + sum over quarters of x_k (years of quarter k between the origin and t).

    x_k > 0 is the growth in a quarter. Before the quarters it is that of the first, after them
    their mean.
    """
    edges, growths = data.edges, theta["quarter_growth"]
    inside = clamp(t, edges[0], edges[-1])
    early, late = positive_part(edges[0] - t), positive_part(t - edges[-1])
    line = theta["trend_intercept"] - growths[0] * early + sum(growths) / len(growths) * late
    for start, end, growth in zip(edges[:-1], edges[1:], growths, strict=True):
        line = line + growth * (clamp(inside, start, end) - min(max(0.0, start), end))
    return line


def _growth_rate(t: Array, theta: Theta, data: TrendData) -> Array:
    """Growth x_k of the quarter."""
    edges, growths = data.edges, theta["quarter_growth"]
    mean = sum(growths) / len(growths)
    growth = growths[0] * (1.0 - after(t, edges[0])) + mean * after(t, edges[-1])
    for start, end, own in zip(edges[:-1], edges[1:], growths, strict=True):
        growth = growth + own * (after(t, start) - after(t, end))
    return growth


STAIRCASE = Trend(
    kind="staircase",
    parameters=("trend_intercept", "quarter_growth"),
    eta=_eta,
    growth_rate=_growth_rate,
    is_linear=True,
    dims={"quarter_growth": QUARTER},
    positive=("quarter_growth",),
    formula="eta0 + Σ x_k (years of quarter k up to t), x_k > 0 log-normal",
    outside="further quarters come after the last release; before the first, its own growth",
)
