"""Every threshold of the checks, fixed, with the reason for it.

The fields of `Thresholds` are the names of the checks; docs/reference/checks.md shows them as a
table, and a test holds the two together.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

from bayesdense.statements import FAR

type Status = Literal["pass", "review", "fail"]
type Bound = float | tuple[float, float]


@dataclass(frozen=True, slots=True)
class AtMost:
    """Pass up to `good`, review up to `bad`, fail above (never, where `bad` is infinite)."""

    good: float
    bad: float
    reason: str

    @property
    def bound(self) -> Bound:
        """What a value must keep to pass."""
        return self.good

    def judge(self, value: float) -> Status:
        """Judge a value; one that is no number is worse than any."""
        known = math.inf if math.isnan(value) else value
        return "pass" if known <= self.good else "review" if known <= self.bad else "fail"

    def __str__(self) -> str:
        """Pass and review, as the documentation writes them."""
        return _text("<=", self.good, self.bad, never=math.inf)


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Pass from `good` on, review from `bad` on, fail below (never, where `bad` is -infinite)."""

    good: float
    bad: float
    reason: str

    @property
    def bound(self) -> Bound:
        """What a value must reach to pass."""
        return self.good

    def judge(self, value: float) -> Status:
        """Judge a value; one that is no number is worse than any."""
        known = -math.inf if math.isnan(value) else value
        return "pass" if known >= self.good else "review" if known >= self.bad else "fail"

    def __str__(self) -> str:
        """Pass and review, as the documentation writes them."""
        return _text(">=", self.good, self.bad, never=-math.inf)


@dataclass(frozen=True, slots=True)
class Within:
    """Pass from `low` to `high`, review outside: misfit is news, not a crash."""

    low: float
    high: float
    reason: str

    @property
    def bound(self) -> Bound:
        """Between what a value must lie to pass."""
        return self.low, self.high

    def judge(self, value: float) -> Status:
        """Judge a value; one that is no number lies outside."""
        return "pass" if self.low <= value <= self.high else "review"

    def __str__(self) -> str:
        """Pass and review, as the documentation writes them."""
        return f"{self.low:g} to {self.high:g} pass, else review"


@dataclass(frozen=True, slots=True)
class Note:
    """Always passes: a fact that shall be read."""

    at: float
    reason: str

    @property
    def bound(self) -> Bound:
        """Value from which on the fact is worth saying in the headline."""
        return self.at

    def judge(self, value: float) -> Status:
        """Pass."""
        return "pass"

    def __str__(self) -> str:
        """As the documentation writes it."""
        return f"always pass, said from {self.at:g} on"


type Limit = AtMost | AtLeast | Within | Note


def _text(sign: str, good: float, bad: float, *, never: float) -> str:
    """Write a one-sided limit."""
    first = f"{sign} {good:g} pass"
    if bad == never:
        return f"{first}, else review"
    return f"{first}, else fail" if bad == good else f"{first}, {sign} {bad:g} review, else fail"


_MISFIT: Final = Within(
    0.005,
    0.995,
    "one in a hundred by chance; a model that fits badly is news about the data, not a crash",
)


#: Of what can be too much, and never too little.
_PATTERN: Final = AtLeast(
    0.005,
    -math.inf,
    "one in two hundred by chance; a model that fits badly is news about the data, not a crash",
)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """One limit per check."""

    finite_draws: AtMost = AtMost(
        0, 0, "a draw that is no number makes every summary of it meaningless"
    )
    r_hat: AtMost = AtMost(
        1.01, 1.02, "Vehtari et al. 2021: above 1.01 the chains have not yet agreed"
    )
    r_hat_effects: AtMost = AtMost(
        1.02, 1.05, "the largest of many: a hundred good R-hats reach 1.01 by chance"
    )
    r_hat_sizes: AtMost = AtMost(
        1.02, 1.05, "the largest of many: a hundred good R-hats reach 1.01 by chance"
    )
    ess_bulk: AtLeast = AtLeast(
        400, 400, "Vehtari et al. 2021: with less, R-hat and the Monte Carlo errors are unreliable"
    )
    ess_tail: AtLeast = AtLeast(
        400, 400, "as for the bulk, at the 5 % and 95 % quantiles: the ends of intervals"
    )
    ess_sizes: AtLeast = AtLeast(
        400, 100, "one LLM's interval may be rougher than the answer, but not made up"
    )
    r_hat_refits: AtMost = AtMost(
        1.05, 1.1, "a cut fit's second stage: two short chains a refit, whose R-hat is itself rough"
    )
    ess_refits: AtLeast = AtLeast(
        50, 20, "a refit must have forgotten its start; precision comes from pooling a hundred"
    )
    divergences: AtMost = AtMost(
        0,
        0.001,
        "each says that the sampler met a curve too sharp for its step (Betancourt 2017); one in "
        "1,000 is borne, if its cause is known",
    )
    tree_depth: AtMost = AtMost(
        0.01,
        math.inf,
        "draws at the largest depth cost time, not validity",
    )
    e_bfmi: AtLeast = AtLeast(
        0.3, 0.2, "Betancourt 2016: below, the energy moves too slowly for the tails to be seen"
    )
    mcse_growth_rate: AtMost = AtMost(
        1.0,
        math.inf,
        "error of the median in units of its second digit: the headline shall have two digits",
    )
    mcse_doubling_time: AtMost = AtMost(
        1.0,
        math.inf,
        "error of the median in units of its second digit (months): the headline shall have two",
    )
    quadrature_log_likelihood: AtMost = AtMost(
        0.01, 0.05, "nats, sd over draws against a 4x finer grid: far below what one LLM says"
    )
    quadrature_growth: AtMost = AtMost(
        0.02, 0.1, "posterior sds by which the error moves growth: below the Monte Carlo error"
    )
    quadrature_tails: AtMost = AtMost(
        1e-6, 1e-3, "nats by which the likelihood still changes at the grid's ends; it must not"
    )
    loo_pit: AtMost = AtMost(
        0.0,
        math.inf,
        "distance by which the ECDF leaves its simultaneous band; the bands of all benchmarks "
        "together hold 95 %",
    )
    pareto_k: AtMost = AtMost(
        0.7, math.inf, "Vehtari et al. 2024: above, leaving the LLM out needs a refit"
    )
    pareto_k_reference: Note = Note(
        0.7, "as for LLMs; the ends of a ladder hold its law, and their k is high under any data"
    )
    influence: Note = Note(
        0.5, "posterior sds by which leaving one out moves the median of growth: a fact of the data"
    )
    psense: AtMost = AtMost(
        0.05,
        math.inf,
        "Kallioinen et al. 2024: above, twice the power of a prior moves growth by about a fifth "
        "of its sd or more",
    )
    ppc_score_mean: Within = _MISFIT
    ppc_score_sd: Within = _MISFIT
    ppc_score_largest: AtLeast = _PATTERN
    ppc_loss_mean: Within = _MISFIT
    ppc_loss_sd: Within = _MISFIT
    ppc_loss_largest: AtLeast = _PATTERN
    ppc_loss_between_sizes: Within = _MISFIT
    ppc_score_correlation: AtLeast = _PATTERN
    ppc_score_time: AtLeast = _PATTERN
    ppc_score_size: AtLeast = _PATTERN
    ppc_score_family: AtLeast = _PATTERN
    ppc_point_sd: Within = _MISFIT
    ppc_point_largest: AtLeast = _PATTERN
    ppc_point_pattern: AtLeast = _PATTERN
    ppc_density_sd: Within = _MISFIT
    ppc_density_largest: AtLeast = _PATTERN
    ppc_within_family: Within = _MISFIT
    heldout_coverage: AtLeast = AtLeast(
        0.025,
        -math.inf,
        "probability of so few held-out points inside their 95 % intervals, if these are right",
    )
    heldout_pit: AtMost = AtMost(
        0.0, math.inf, "distance by which the held-out points' ECDF leaves its 95 % band"
    )
    size_coefficient: Within = Within(
        0.025,
        0.975,
        "probability of the score test: outside, a slope of log density on log parameters fits "
        "significantly better than none, and the size scale is in doubt",
    )
    one_sided_term: AtMost = AtMost(
        0.8, math.inf, "overlap of posterior and prior: above, the data do not speak"
    )
    extrapolation_tokens: Note = Note(
        FAR, "D0 over the longest training of the reference runs: D0 is a definition"
    )
    extrapolation_sizes: Note = Note(
        FAR, "largest effective size (median) over the largest reference run: far is far, not wrong"
    )


THRESHOLDS: Final = Thresholds()
#: ESS to aim for: with 1,600 the worst R-hat of a hundred stays below 1.01 where chains agree.
AIMED_ESS: Final = 1600
