"""What a comparison of trends says: its values, its table and its JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bayesdense.comparison import lfo as future
from bayesdense.comparison.verdict import Pair, Scores, probability_errors
from bayesdense.names import SCHEMA_VERSION
from bayesdense.spec import ModelSpec
from bayesdense.summary import strict
from bayesdense.wording import json_text

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A log marginal likelihood at a width of the trend's priors.

    Attributes
    ----------
    value, se
        Nats; None where it failed.
    how
        "bridge"; "importance", by weights of the draws at width 1; or "refit", by bridge sampling
        of a fit at this width, where weights fail.
    """

    value: float | None
    se: float | None
    how: str


@dataclass(frozen=True, slots=True, eq=False)
class Hypothesis:
    """What is known of one trend.

    Attributes
    ----------
    name
        Kind of the trend.
    scores
        Predictive densities: families, LLMs and blocks of time left out.
    evidence
        Log marginal likelihood by factor of the priors' widths (`widths.WIDTHS`).
    smc
        Second opinion on the log marginal likelihood: value (None where chains disagree), se and
        spread; None where it was not asked for or is not offered.
    model_digest
        `posterior_digest` of its specification.
    growth, doubling_time
        Sections of the fit's summary.
    trend
        Its log density at dates over the window: `dates`, `median`, `eti50`, `eti95`.
    checks
        Of the fit, of the refits, and what failed.
    lfo_mcse
        Monte Carlo error of leave-future-out.
    """

    name: str
    model_digest: str
    scores: Scores
    evidence: Mapping[float, Evidence]
    smc: Mapping[str, Any] | None
    growth: Mapping[str, Any]
    doubling_time: Mapping[str, Any]
    trend: Mapping[str, Any]
    checks: Mapping[str, Any]
    lfo_mcse: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Rival trends about one dataset.

    Attributes
    ----------
    dataset
        Name, digest and counts.
    model
        Specification that all share but for the trend.
    hypotheses
        In the order in which they were named.
    pairs
        Every two of them.
    weights_family, weights_lfo
        Stacking weight by name, on families left out and on the future left out; the second is
        empty where that was not done, or failed for one of them.
    probabilities
        Posterior probability by factor of the priors' widths and by name, all hypotheses equally
        probable before; None where a marginal likelihood failed.
    verdict
        The sentence of `verdict.verdict`.
    blocks
        Of leave-future-out; none without.
    power
        What this dataset could tell at all: from the study `power`, if there is one.
    seed
        Root of all random numbers.
    """

    dataset: Mapping[str, Any]
    model: ModelSpec
    hypotheses: tuple[Hypothesis, ...]
    pairs: tuple[Pair, ...]
    weights_family: Mapping[str, float]
    weights_lfo: Mapping[str, float]
    probabilities: Mapping[float, Mapping[str, float | None]]
    verdict: str
    blocks: tuple[future.Block, ...]
    power: Mapping[str, Any] | None
    seed: int

    def to_dict(self) -> Json:
        """What `compare --format json` prints, as `compare.schema.json` says."""
        content = {
            "schema": SCHEMA_VERSION,
            "dataset": dict(self.dataset),
            "model": {
                "name": self.model.name,
                "residual": self.model.residual,
                "reference_tokens": self.model.options.reference_tokens
                if self.model.is_joint
                else None,
            },
            "hypotheses": [_hypothesis_json(one, self) for one in self.hypotheses],
            "differences": [_pair_json(pair) for pair in self.pairs],
            "verdict": self.verdict,
            "power": None if self.power is None else dict(self.power),
            "blocks": [
                {
                    "start": block.start,
                    "end": block.end,
                    "n_llms": len(block.llms),
                    "n_llms_before": block.n_llms_before,
                    "n_families_before": block.n_families_before,
                }
                for block in self.blocks
            ],
            "seed": self.seed,
        }
        plain: Json = strict(content)
        return plain

    def to_json(self) -> str:
        """Strict JSON with a final newline."""
        return json_text(self.to_dict()) + "\n"

    @property
    def probability_errors(self) -> dict[str, float | None]:
        """Monte Carlo errors of the posterior probabilities at the priors as they are."""
        errors = {one.name: one.evidence[1.0].se for one in self.hypotheses}
        return probability_errors(self.probabilities[1.0], errors)

    @property
    def table(self) -> pd.DataFrame:
        """One row a hypothesis, best predictor of unseen families first."""
        rows = self.to_dict()["hypotheses"]
        columns = (
            *("name", "elpd_loo", "elpd_loo_se", "weight_loo", "elpd_lfo", "elpd_lfo_se"),
            *("weight_lfo", "log_ml", "log_ml_se", "log_ml_smc", "posterior_probability"),
        )
        frame = pd.DataFrame([{name: row[name] for name in columns} for row in rows])
        return frame.sort_values("elpd_loo", ascending=False, ignore_index=True)

    def __repr__(self) -> str:
        """Verdict and table."""
        return f"{self.verdict}\n{self.table.round(2).to_string(index=False, na_rep='-')}"


def _hypothesis_json(one: Hypothesis, among: Comparison) -> Json:
    """One entry of `hypotheses`."""
    scores, smc = one.scores, one.smc
    log_ml, log_ml_se = scores.log_ml or (None, None)
    doubling = {key: value for key, value in one.doubling_time.items() if key != "statement"}
    return {
        "name": one.name,
        "model_digest": one.model_digest,
        "elpd_loo": scores.family.total,
        "elpd_loo_se": scores.family.se,
        "elpd_loo_llm": scores.llm.total,
        "elpd_loo_llm_se": scores.llm.se,
        "elpd_lfo": None if scores.lfo is None else scores.lfo.total,
        "elpd_lfo_se": None if scores.lfo is None else scores.lfo.se,
        "elpd_lfo_mcse": one.lfo_mcse,
        "weight_loo": among.weights_family[one.name],
        "weight_lfo": among.weights_lfo.get(one.name),
        "log_ml": log_ml,
        "log_ml_se": log_ml_se,
        "log_ml_smc": None if smc is None else smc["value"],
        "log_ml_smc_se": None if smc is None else smc["se"],
        "posterior_probability": among.probabilities[1.0][one.name],
        "posterior_probability_se": among.probability_errors[one.name],
        "prior_widths": [
            {
                "factor": factor,
                "log_ml": found.value,
                "log_ml_se": found.se,
                "how": found.how,
                "posterior_probability": among.probabilities[factor][one.name],
            }
            for factor, found in one.evidence.items()
        ],
        "growth_rate_per_year": dict(one.growth),
        "doubling_time_days": doubling,
        "trend_log_density": dict(one.trend),
        "checks": dict(one.checks),
    }


def _pair_json(pair: Pair) -> Json:
    """One entry of `differences`."""
    lfo, log_ml, nested = pair.lfo, pair.log_ml, pair.nested
    return {
        "a": pair.a,
        "b": pair.b,
        "elpd_diff": pair.family.elpd_diff,
        "se": pair.family.se,
        "elpd_diff_llm": pair.llm.elpd_diff,
        "se_llm": pair.llm.se,
        "elpd_diff_lfo": None if lfo is None else lfo.elpd_diff,
        "se_lfo": None if lfo is None else lfo.se,
        "log_bayes_factor": None if log_ml is None else log_ml.elpd_diff,
        "log_bayes_factor_se": None if log_ml is None else log_ml.se,
        "log_bayes_factor_savage_dickey": None if nested is None else nested.elpd_diff,
        "log_bayes_factor_savage_dickey_se": None if nested is None else nested.se,
        "decisive": pair.decisive,
        "provisional": pair.provisional,
    }
