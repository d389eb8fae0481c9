"""Dimensions, units, constants and labels, spelt once.

Names of variables are the field's words; Greek letters live only in `LABELS`.
"""

from types import MappingProxyType
from typing import Final

BENCHMARK: Final = "benchmark"
FAMILY: Final = "family"
LLM: Final = "llm"
RUN: Final = "run"
#: Dims of vectors of parameters that some trends have: bins of a quarter, dates between them,
#: waves of a smooth curve, groups of LLMs.
QUARTER: Final = "quarter"
KNOT: Final = "knot"
WAVE: Final = "wave"
GROUP: Final = "group"
TREND_DIMS: Final = (QUARTER, KNOT, WAVE, GROUP)
LOSS_OBS: Final = "loss_obs"
POINT_OBS: Final = "point_obs"
COUNT_OBS: Final = "count_obs"
SCORE_OBS: Final = "score_obs"
CHAIN: Final = "chain"
DRAW: Final = "draw"

DAYS_PER_YEAR: Final = 365.25
DAYS_PER_MONTH: Final = 30.4375
CI_PROB: Final = 0.95
INNER_CI_PROB: Final = 0.50
#: The paper's headline growth of log density per day (Xiao et al. 2025).
PAPER_SLOPE_PER_DAY: Final = 0.006529
SCHEMA_VERSION: Final = 1

#: A fit where nothing else is asked: draws so that the worst parameter of the joint model has a
#: bulk ESS near 1,000 on `densing`; the seed is recorded and printed.
DEFAULT_DRAWS: Final = 1000
DEFAULT_TUNE: Final = 250
DEFAULT_CHAINS: Final = 4
DEFAULT_SEED: Final = 20250901
#: Draws a chain where a study fits many times: medians to a fortieth of the interval's width.
STUDY_DRAWS: Final = 500
#: R-hat up to which a fit of a study is taken as it is; a longer one is made of what is above.
STUDY_RHAT: Final = 1.02
#: Least and most of what a fit may be asked for, and most draws of all chains together: every
#: posterior is known well enough by fewer, and memory holds them. NetCDF holds no larger seed.
MOST_DRAWS: Final = 100_000
ALLOWED_COUNTS: Final = MappingProxyType(
    {"draws": (4, MOST_DRAWS), "tune": (1, MOST_DRAWS), "chains": (1, 1000), "seed": (0, 2**63 - 1)}
)

#: Parameters of a benchmark, in the order of the arguments of `laws.chinchilla_loss` and of
#: `laws.logistic_logit_score`.
LAW_PARAMETERS: Final = (
    "loss_floor",
    "param_coef",
    "param_exponent",
    "token_coef",
    "token_exponent",
)
MAP_PARAMETERS: Final = ("score_floor", "score_ceiling", "score_slope", "loss_midpoint")

#: Units of the posterior's variables, written to `attrs["units"]`.
UNITS: Final[dict[str, str]] = {
    "loss_floor": "loss unit of the benchmark",
    "param_coef": "loss unit of the benchmark",
    "token_coef": "loss unit of the benchmark",
    "param_exponent": "1",
    "token_exponent": "1",
    "loss_noise_sd": "log loss",
    "run_effect_sd": "log loss",
    "size_effect_sd": "log loss",
    "score_floor": "fraction",
    "score_ceiling": "fraction",
    "score_slope": "1/loss unit",
    "loss_midpoint": "loss unit of the benchmark",
    "map_noise_sd": "logit score",
    "discrepancy_sd": "logit score",
    "protocol_sd": "logit score",
    "cell_sd": "logit score",
    "protocol_offset": "logit score",
    "trend_intercept": "log density",
    "growth_rate": "1/year",
    "growth_change": "1/year",
    "growth_slope": "1/year²",
    "growth_step": "1/year",
    "growth_step_sd": "1/year",
    "growth_wave": "1/year",
    "growth_wave_sd": "1/year",
    "group_level": "log density",
    "group_level_sd": "log density",
    "group_growth": "1/year",
    "group_growth_sd": "1/year",
    "covariate_slope": "1",
    "quarter_growth": "1/year",
    "quarter_growth_mean": "log of 1/year",
    "singular_gap": "years",
    "saturation_lag": "years",
    "growth_decay": "1/year",
    "growth_power": "1",
    "break_year": "years since the time origin",
    "growth_before": "1/year",
    "growth_after": "1/year",
    "family_sd": "log density",
    "family_effect": "log density",
    "residual_sd": "log density",
    "one_sided_sd": "log density",
    "log_effective_params": "log parameters",
    "log_density": "log density",
}

#: Letters of docs/explanation/notation.md, for labels of figures only.
LABELS: Final[dict[str, str]] = {
    "loss_floor": "E",
    "param_coef": "a",
    "param_exponent": "α",
    "token_coef": "b",
    "token_exponent": "β",
    "score_floor": "d",
    "score_ceiling": "c",
    "score_slope": "γ",
    "loss_midpoint": "l",
    "growth_rate": "g",
}

#: Kinds of figures that `bayesdense plot` draws, and what each shows.
PLOT_KINDS: Final = MappingProxyType(
    {
        "trend": "trend of density in time",
        "trend_linear": "trend of density in time, on a linear axis",
        "growth_rate": "growth rate, posterior and prior",
        "doubling_time": "doubling time, posterior and prior",
        "sizes": "effective against actual size of every LLM",
        "densities": "density of every LLM",
        "loss_law": "loss law of every benchmark",
        "loss_residuals": "what the loss laws leave over",
        "score_map": "score map of every benchmark",
        "predictive": "data against replicated data",
        "readings": "growth of the frontier in different readings",
        "prior_posterior": "priors against posteriors",
        "rank": "ranks of the chains",
        "ess": "effective sample size of quantiles",
        "energy": "energies of the sampler",
    }
)
#: Figures of studies, in the order in which a report shows them.
STUDY_PLOT_KINDS: Final = MappingProxyType(
    {
        "hypotheses": "rival trends, with their weights",
        "sweep": "growth under other definitions",
        "decomposition": "where the width of the interval comes from",
        "backtest_coverage": "coverage of later scores, foretold from earlier LLMs",
        "backtest_crps": "distance of later scores, beside baselines",
        "power": "how often a change of growth would be found",
        "calibration_ranks": "ranks of truths among draws, against their bands",
        "calibration_coverage": "coverage of growth, world by world",
    }
)
