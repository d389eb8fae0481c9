"""The Bayesian Analysis Reporting Guidelines, item by item: what this fit reports, and what not.

Items after Kruschke, Bayesian analysis reporting guidelines, Nature Human Behaviour 5:1282-1291
(2021), in words of our own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from bayesdense.checks.sensitivity import why_not
from bayesdense.names import CHAIN, DRAW
from bayesdense.results import Fit

type Status = Literal["reported", "partly", "not done", "not applicable"]


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the guidelines.

    Attributes
    ----------
    step
        Number and letter of the guidelines.
    asked
        What they ask for.
    status
        Whether the report has it.
    found
        What there is, and where; or what is missing.
    """

    step: str
    asked: str
    status: Status
    found: str


def checklist(
    fit: Fit, summary: Mapping[str, Any], *, has_point: bool, has_rivals: bool = False
) -> list[Item]:
    """Fill in every item of the guidelines from what a fit holds."""
    return [
        *_preamble(),
        *_model(fit),
        *_computation(fit, summary["checks"]),
        *_posterior(fit, has_rivals=has_rivals),
        *_decisions(),
        *_sensitivity(fit, has_point=has_point, has_rivals=has_rivals),
        *_reproducible(fit),
    ]


def _preamble() -> list[Item]:
    return [
        Item(
            "0.A",
            "Why Bayesian",
            "reported",
            "Law, map, sizes and trend are unknown together; a joint posterior carries the "
            "uncertainty of each into the doubling time, and keeps LLMs whose scores bound their "
            "size on one side only.",
        ),
        Item(
            "0.B",
            "Goals of the analysis",
            "reported",
            "To estimate how fast the density of LLMs grows, with intervals, and the density of "
            "every LLM. No hypothesis is tested here.",
        ),
    ]


def _model(fit: Fit) -> list[Item]:
    has_prior_data = bool(fit.group("prior_predictive").data_vars)
    about = fit.dataset_info
    data = (
        f"{about['n_scores']} scores of {about['n_llms']} LLMs, {about['n_runs']} reference losses "
        "and the calibration points of the score maps"
        if fit.spec.is_joint
        else f"{about['n_llms']} given densities"
    )
    return [
        Item("1.A", "Data variables", "reported", f"{data}: see Data."),
        Item(
            "1.B", "Likelihood and parameters", "reported", "See Model: formulas, words, letters."
        ),
        Item(
            "1.C",
            "Priors and their reasons",
            "reported",
            "See Priors: every prior as written in the model's file, with its reason.",
        ),
        Item("1.D", "Formal specification", "reported", "See Model; the file is printed whole by "
             f"`bayesdense show {fit.spec.name}`."),
        Item(
            "1.E",
            "Prior predictive check",
            "partly" if has_prior_data else "not done",
            "The fit holds data drawn from the priors (group prior_predictive) and the prior of "
            "growth is drawn beside its posterior; no statistic of them is judged."
            if has_prior_data
            else "The fit holds no data drawn from the priors.",
        ),
    ]  # fmt: skip


def _computation(fit: Fit, checks: Mapping[str, Any]) -> list[Item]:
    sizes, sampler = fit.posterior.sizes, fit.tree.attrs.get("sampler", "?")
    is_cut = fit.spec.options.feedback == "cut"
    rhat, ess = checks["max_rhat"], checks["min_ess_bulk"]
    return [
        Item(
            "2.A",
            "Software",
            "reported",
            f"NUTS of {sampler}, {sizes[CHAIN]} chains of {sizes[DRAW]:,} draws; versions at the "
            "end.",
        ),
        Item(
            "2.B",
            "Convergence of every parameter and derived value",
            "not done" if rhat is None else "reported",
            "No chains to compare."
            if rhat is None
            else f"R-hat up to {rhat:.4f} over global parameters, family effects and growth"
            f"{' (of the refits of the cut)' if is_cut else ''}; sizes have a check of their own; "
            f"{checks['divergences'] or 'no'} divergences. See Diagnostics.",
        ),
        Item(
            "2.C",
            "Resolution (effective sample size)",
            "not done" if ess is None else "reported",
            "No effective sample size."
            if ess is None
            else f"Bulk ESS from {ess:,.0f}, tail ESS from {checks['min_ess_tail']:,.0f}; numbers "
            "are printed with no more digits than their Monte Carlo errors bear.",
        ),
        Item(
            "2.D",
            "Other approximations",
            "reported",
            "Sizes are integrated out by quadrature, whose error is measured: see the checks "
            "quadrature_*."
            if "quadrature" in fit.tree.children
            else "None: all unknowns are sampled.",
        ),
    ]


def _posterior(fit: Fit, *, has_rivals: bool) -> list[Item]:
    return [
        Item(
            "3.A",
            "Posterior predictive check",
            "reported",
            "p-values of several statistics in the checks ppc_*, and figures of data against "
            "replicates: see Posterior predictive.",
        ),
        Item(
            "3.B",
            "Posterior summarised: centre, interval and its kind, whole distributions of key ones",
            "reported",
            "Medians and equal-tailed 50 % and 95 % intervals; whole posteriors of growth and "
            "doubling time; every LLM in the table.",
        ),
        Item(
            "3.C",
            "Bayes factors and model probabilities",
            "reported" if has_rivals else "not applicable",
            "Marginal likelihoods and posterior probabilities of rival trends, beside what each "
            "foretells: see What would change the answer."
            if has_rivals
            else f"One model ({fit.spec.name}, trend {fit.spec.trend}) was fitted; models are not "
            "compared here.",
        ),
    ]


def _decisions() -> list[Item]:
    return [
        Item(
            "4.A-E",
            "Decisions, their loss, region of practical equivalence, thresholds",
            "not applicable",
            "No decision is made. P(growing) and P(faster than the paper) are reported as they "
            "are; the checks have fixed thresholds, printed with each.",
        )
    ]


def _sensitivity(fit: Fit, *, has_point: bool, has_rivals: bool) -> list[Item]:
    return [
        Item(
            "5.A-C",
            "Sensitivity to broader, to informed and to default priors",
            "not done" if why_not(fit) else "reported",
            why_not(fit)
            or "Every prior made stronger and weaker by power scaling: see What would change the "
            "answer. Fits at other widths: `bayesdense sweep --axes width@ENTRY`.",
        ),
        Item(
            "5.D-E",
            "Sensitivity of Bayes factors and of decisions",
            "reported" if has_rivals else "not applicable",
            "compare.json holds probabilities at five widths of the priors; no verdict hangs on "
            "them."
            if has_rivals
            else "There are none.",
        ),
        Item(
            "5.F",
            "Another estimator",
            "reported" if has_point else "not done",
            "The paper's point pipeline stands beside the posterior."
            if has_point
            else "The dataset was not at hand for the paper's point pipeline.",
        ),
    ]


def _reproducible(fit: Fit) -> list[Item]:
    return [
        Item(
            "6.A",
            "Software and how to install it",
            "reported",
            "bayesdense with pinned versions in its pyproject.toml; versions at the end.",
        ),
        Item(
            "6.B-C",
            "Script and data, readable",
            "reported",
            "The command line, and the dataset's card with source and licence: see Data and "
            "Provenance.",
        ),
        Item(
            "6.D-E",
            "Runs as posted; seeds",
            "reported",
            f"Seed {fit.seed}; the same seed, machine and versions give the same draws.",
        ),
        Item(
            "6.F",
            "All draws, and figures in high resolution",
            "reported",
            "fit.nc beside this page holds every draw; figures are vector graphics, and "
            "`bayesdense plot` writes each at any size.",
        ),
    ]


#: Words of a status for who cannot see its colour.
SIGNS: Final[Mapping[Status, str]] = {
    "reported": "\u2713",
    "partly": "~",
    "not done": "\u2717",
    "not applicable": "\u2013",
}
