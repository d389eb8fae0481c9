"""The model of a fit in formulas, as MathML, and in words; its priors as a table."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from latex2mathml.converter import convert
from markupsafe import Markup

from bayesdense.names import LABELS
from bayesdense.priors import Prior, hyper_name
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec
from bayesdense.statements import format_count
from bayesdense.trends import trend_named
from bayesdense.wording import counted


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the generative story.

    Attributes
    ----------
    title
        What it is of.
    formulas
        MathML, one per formula.
    words
        The same in words, with what the letters mean.
    """

    title: str
    formulas: tuple[Markup, ...]
    words: str


@dataclass(frozen=True, slots=True)
class PriorRow:
    """One prior as the model's file has it."""

    variable: str
    letter: str
    distribution: str
    scale: str
    reason: str


#: LaTeX and words of every kind of every component. The formulas themselves live in `laws`,
#: `residuals` and `trends`; letters are those of docs/explanation/notation.md.
_LOSS_LAW: Final[Mapping[str, tuple[tuple[str, ...], str]]] = MappingProxyType(
    {
        "chinchilla": (
            (r"L_j(N, D) = E_j + a_j (N / N_c)^{-\alpha_j} + b_j (D / D_c)^{-\beta_j}",),
            "The loss of a run of N parameters and D tokens on benchmark j: a floor E, what finite "
            "size costs and what finite data cost. N_c and D_c are the centre of the reference "
            "runs, so that a and b are losses there.",
        ),
        "additive": (
            (r"L_j(N, D) = a_j (N / N_c)^{-\alpha_j} + b_j (D / D_c)^{-\beta_j}",),
            "The loss of a run of N parameters and D tokens on benchmark j: what finite size costs "
            "and what finite data cost, without a floor. N_c and D_c are the centre of the "
            "reference runs, so that a and b are losses there.",
        ),
    }
)
_LOSS_NOISE: Final[Mapping[str, tuple[tuple[str, ...], str]]] = MappingProxyType(
    {
        "clustered": (
            (
                r"\log L_{rj} = \log L_j(N_r, D_r) + s_{j, N_r} + \tau_j v_r + e_{rj}",
                r"s_{j, N} \sim \operatorname{Normal}(0, \omega_j^2), \quad"
                r" v_r \sim \operatorname{Normal}(0, 1), \quad"
                r" e_{rj} \sim \operatorname{Normal}(0, \sigma_j^2)",
            ),
            "Runs deviate from the law by an effect of their size (sd \u03c9, size_effect_sd), "
            "shared by the runs of one size on one benchmark; by luck of the run (\u03c4, "
            "run_effect_sd), shared by its benchmarks; and by noise (\u03c3, loss_noise_sd).",
        ),
        "independent": (
            (
                r"\log L_{rj} = \log L_j(N_r, D_r) + e_{rj}, \quad"
                r" e_{rj} \sim \operatorname{Normal}(0, \sigma_j^2)",
            ),
            "Runs deviate from the law by independent noise (\u03c3, loss_noise_sd).",
        ),
    }
)
_SCORE_MAP: Final[Mapping[str, tuple[tuple[str, ...], str]]] = MappingProxyType(
    {
        "logistic": (
            (
                r"S_j(L) = d_j + \frac{c_j - d_j}{1 + \exp(\gamma_j (L - l_j))}",
                r"\operatorname{logit} S_{pj} \sim \operatorname{Normal}("
                r"\operatorname{logit} S_j(L_{pj}), \; m_j^2 + 1 / (n_{pj} S (1 - S)))",
            ),
            "A loss gives a score between a floor d and a ceiling c, half way at the loss l and "
            "with the slope \u03b3. Calibration points scatter about it on the logit (m, "
            "map_noise_sd) and by their number of items; where hits or misses are few they are "
            "counts.",
        )
    }
)
_SCORE_NOISE: Final[Mapping[str, tuple[tuple[str, ...], str]]] = MappingProxyType(
    {
        "protocol": (
            (
                r"\operatorname{logit} y_{ij} \sim \operatorname{Normal}("
                r"\operatorname{logit} S_j(L_j(\hat N_i, D_0)), \;"
                r" \delta_j^2 + \pi_j^2 / r_{ij} + 1 / (n_{ij} S (1 - S)))",
            ),
            "An LLM of effective size N\u0302 is expected to score as a reference run of that size "
            "on D0 tokens. Its score deviates by a discrepancy (\u03b4, discrepancy_sd: its skill "
            "beyond its one size), by protocol noise (\u03c0, protocol_sd, divided by the number r "
            "of independent reports) and by the number of items. Where no report is replicated the "
            "first two are one, cell_sd; scores under another protocol than the map's get an "
            "offset.",
        ),
        "cell": (
            (
                r"\operatorname{logit} y_{ij} \sim \operatorname{Normal}("
                r"\operatorname{logit} S_j(L_j(\hat N_i, D_0)), \;"
                r" \kappa_j^2 + 1 / (n_{ij} S (1 - S)))",
            ),
            "An LLM of effective size N\u0302 is expected to score as a reference run of that size "
            "on D0 tokens. Its score deviates by discrepancy and protocol together (\u03ba, "
            "cell_sd) and by the number of items.",
        ),
    }
)
_RESIDUAL: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "symmetric": (
            r"\varepsilon_i \sim \operatorname{Normal}(0, \sigma^2)",
            "The residual is normal (\u03c3, residual_sd).",
        ),
        "student_t": (
            r"\varepsilon_i \sim \operatorname{StudentT}(\nu, 0, \sigma)",
            "The residual is a Student-t of scale \u03c3 (residual_sd) and \u03bd degrees of "
            "freedom (residual_df).",
        ),
        "composed": (
            r"\varepsilon_i = v_i - u_i, \quad v_i \sim \operatorname{Normal}(0, \sigma^2), \quad"
            r" u_i \sim \operatorname{Exponential}(1/s)",
            "The residual is normal (\u03c3, residual_sd) minus how far an LLM falls short of its "
            "family's frontier (mean s, one_sided_sd): the trend is that of the frontier of an "
            "average family.",
        ),
    }
)
_TREND: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "exponential": (
            r"\eta(t) = \eta_0 + g t, \qquad T_2 = \frac{\ln 2}{g}",
            "Log density grows by g a year (growth_rate) from \u03b7\u2080 (trend_intercept); "
            "density doubles in ln 2 / g.",
        ),
        "flat": (r"\eta(t) = \eta_0", "Log density does not change (trend_intercept)."),
    }
)


def terms(fit: Fit) -> list[Term]:
    """Say the terms of a fit's model in the order of the story."""
    spec = fit.spec
    found = []
    if spec.is_joint:
        for title, component, known in (
            ("Loss law", "loss_law", _LOSS_LAW),
            ("Reference runs", "loss_noise", _LOSS_NOISE),
            ("Score map", "score_map", _SCORE_MAP),
            ("Scores of LLMs", "score_noise", _SCORE_NOISE),
        ):
            latex, words = known[_kind(fit, component)]
            found.append(Term(title, tuple(map(mathml, latex)), words))
    return [*found, _density(spec), _trend(fit)]


def mathml(latex: str) -> Markup:
    """A formula as MathML, by latex2mathml; to be given LaTeX of this module only."""
    return Markup(convert(latex, display="block"))


def prior_rows(fit: Fit) -> list[PriorRow]:
    """Priors of the variables that a fit has sampled, those within priors after their variable."""
    return [
        row
        for component in fit.spec.components.values()
        for name, prior in fit.spec.used_priors(component.name).items()
        if name in fit.posterior
        for row in _rows(name, prior)
    ]


def definition(fit: Fit) -> str:
    """Say what the fit is of and what its choices are."""
    spec, options = fit.spec, fit.spec.options
    parts = [f"Model {spec.name}: {spec.title}."]
    if spec.is_joint:
        learnt = "with" if options.feedback == "joint" else "without"
        parts.append(
            f"D0 = {format_count(options.reference_tokens)} tokens; loss law and score map learnt "
            f"{learnt} the LLMs' scores; sizes "
            + (
                "integrated out by quadrature and drawn back."
                if options.implementation == "marginal"
                else "sampled as parameters."
            )
        )
    families = counted(int(fit.dataset_info["n_families"]), "family")
    kind = spec.component("family").kind
    parts.append(f"Family effects: {families}." if kind != "none" else "No family effects.")
    return " ".join(parts)


def _kind(fit: Fit, component: str) -> str:
    """Kind of a component as it could be fitted: independent noise where nothing is replicated."""
    kind = fit.spec.component(component).kind
    if component == "loss_noise" and "run_effect_sd" not in fit.posterior:
        return "independent"
    return "cell" if component == "score_noise" and "cell_sd" in fit.posterior else kind


def _density(spec: ModelSpec) -> Term:
    """How densities lie about the trend."""
    residual, words = _RESIDUAL[spec.residual]
    has_family = spec.component("family").kind != "none"
    sum_of = r"\eta(t_i) + f_{k(i)} + \varepsilon_i" if has_family else r"\eta(t_i) + \varepsilon_i"
    left = r"\log \rho_i = \log \hat N_i - \log N_i = " if spec.is_joint else r"\log \rho_i = "
    formulas = [left + sum_of, residual]
    if has_family:
        formulas.insert(1, r"f_k \sim \operatorname{Normal}(0, \phi^2)")
        words = f"LLMs of a family share an effect (\u03c6, family_sd). {words}"
    if spec.options.scale_trend:
        words += " Its scale changes log-linearly in time (residual_log_sd_slope)."
    start = (
        "Density \u03c1 is effective size over size"
        if spec.is_joint
        else "Densities \u03c1 are given"
    )
    return Term("Density", tuple(map(mathml, formulas)), f"{start}. {words}")


def _trend(fit: Fit) -> Term:
    """The trend hypothesis; one without LaTeX here is said as its own formula says it."""
    kind = fit.spec.trend
    if kind in _TREND:
        latex, words = _TREND[kind]
        formulas: tuple[Markup, ...] = (mathml(latex),)
    else:
        formulas = ()
        words = f"{kind}: {inspect.getdoc(trend_named(kind).eta) or ''}"
    origin = f" Time t counts in years of 365.25 days from {fit.time_origin}."
    return Term("Trend", formulas, words + origin)


def _rows(name: str, prior: Prior) -> Iterator[PriorRow]:
    """A prior and the priors of its parameters."""
    yield PriorRow(
        variable=f"{name} [{prior.dims}]" if prior.dims else name,
        letter=LABELS.get(name, ""),
        distribution=_without_inner(name, prior),
        scale=prior.scale_meaning,
        reason=prior.reason,
    )
    for kwarg, inner in prior.inner.items():
        yield from _rows(hyper_name(name, kwarg), inner)


def _without_inner(name: str, prior: Prior) -> str:
    """A distribution whose hyperparameters are named, not spelt out."""
    named = {kwarg: hyper_name(name, kwarg) for kwarg in prior.inner}
    inner = ", ".join(
        f"{kwarg}={named[kwarg]}"
        if kwarg in named
        else f"{kwarg}={value:.6g}"
        if isinstance(value, float)
        else f"{kwarg}={value}"
        for kwarg, value in prior.kwargs.items()
    )
    return f"{prior.dist}({inner})"
