"""Where the width of the headline's interval comes from: one source at a time switched off or on.

Sources inside the model are switched off: what they leave uncertain is held. Definitions, which
the headline holds, are switched on: their fits are mixed with equal weights. Widths do not add:
sources share data, and what one no longer explains another does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import xarray as xr
from arviz_stats.base.array import array_stats

from bayesdense.arrays import Floats
from bayesdense.engine.joint import Prepared, prepare_on
from bayesdense.engine.runs import Settings, target_of
from bayesdense.engine.sample import find_whitening, sample_nuts
from bayesdense.errors import SpecError
from bayesdense.estimates import Estimate, tails
from bayesdense.jobs import Job, job_function
from bayesdense.jobs.seeds import seeds_of
from bayesdense.names import CHAIN, CI_PROB, DRAW
from bayesdense.observations import Observations
from bayesdense.spec import ModelSpec
from bayesdense.studies.refits import growth_of, observed_by, sorted_draws
from bayesdense.variables import sampled_variables
from bayesdense.wording import told

#: Components whose parameters make up a source, and those of their observed variables that say
#: nothing more once they are held.
_COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "law_and_map": ("loss_law", "loss_noise", "score_map"),
    "score_noise": ("score_noise",),
}
_OBSERVED: Final = ("loss", "loss_score", "loss_score_count", "score_reports", "score")
_SPENT: Final[Mapping[str, tuple[str, ...]]] = {
    "law_and_map": ("loss", "loss_score", "loss_score_count"),
    "score_noise": ("score_reports",),
}
#: Items and sd on the logit at which a score has no noise of items, and reports none of protocol.
_ENDLESS_ITEMS, _NO_NOISE = 1e12, 1e-6

SOURCES: Final[Mapping[str, str]] = {
    "law_and_map": "loss law and score map at their median",
    "score_noise": "scores without item and protocol noise, discrepancies at their median",
    "family": "no family effects",
}
NOTE: Final = (
    "Widths do not add: sources share data, and what one no longer explains another takes over. A "
    "source switched off may widen the interval."
)


@job_function
def held(job: Job) -> dict[str, object]:
    """Sample with one source held at its median, and return growth.

    The median is that of the headline's posterior in sampling coordinates, in which the law's
    parameters are nearly independent: taken parameter by parameter in natural ones it would leave
    the ridge on which they lie.
    """
    spec, _, data = observed_by(job)
    _require_one_posterior(spec)
    source, length = job.params["source"], job.params["length"]
    settings = Settings(**length, cores=1, seed=seeds_of(job), progress=None)
    pilot, main, last = settings.seeds(3)
    ready = prepare_on(spec, data, settings, pilot)
    middle = _middle(ready, settings, main)
    names = _held_names(ready.spec, data, source)
    if source == "score_noise":
        data, middle = _without_noise(data, middle)
    return _growth_given(ready.spec, data, {n: middle[n] for n in names}, source, settings, last)


def _require_one_posterior(spec: ModelSpec) -> None:
    """Refuse a trend whose growth is not one parameter, and a model that is cut in two."""
    if spec.trend != "exponential":
        raise SpecError(f"decomposition: trend {told(spec.trend)}, allowed: exponential")
    if spec.options.feedback == "cut":
        raise SpecError('decomposition: feedback = "cut", allowed: "joint"')


def _middle(ready: Prepared, settings: Settings, seed: int) -> dict[str, Floats]:
    """Natural parameters at the posterior's median in sampling coordinates."""
    drawn = sample_nuts(
        ready.target,
        ready.whitening,
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        seed=seed,
        cores=1,
    )
    z = np.median(drawn.z.reshape(-1, drawn.z.shape[-1]), axis=0)
    natural = ready.target.coordinates.natural(z[None])
    return {name: value[0] for name, value in natural.items()}


def _held_names(spec: ModelSpec, data: Observations, source: str) -> list[str]:
    """Variables of a source, hyperparameters included."""
    stems = {name for part in _COMPONENTS[source] for name in spec.used_priors(part)}
    every = {stem + suffix for stem in stems for suffix in ("", "_mean", "_sd")}
    return [name for name in sampled_variables(spec, data) if name in every]


def _without_noise(
    data: Observations, middle: Mapping[str, Floats]
) -> tuple[Observations, dict[str, Floats]]:
    """Scores of endlessly many items and reports without noise."""
    if data.scores is None or "protocol_sd" not in middle:
        raise SpecError(
            "score_noise: protocol noise is no parameter of its own without replicated reports "
            "and score_noise = protocol"
        )
    scores = replace(data.scores, n_items=np.full_like(data.scores.n_items, _ENDLESS_ITEMS))
    quiet = np.full_like(middle["protocol_sd"], _NO_NOISE)
    return replace(data, scores=scores), {**middle, "protocol_sd": quiet}


def _growth_given(
    spec: ModelSpec,
    data: Observations,
    given: Mapping[str, Floats],
    source: str,
    settings: Settings,
    seed: int,
) -> dict[str, object]:
    """Growth given some parameters, all others sampled."""
    others = [name for name in sampled_variables(spec, data) if name not in given]
    observed = [name for name in _OBSERVED if name not in _SPENT[source]]
    target = target_of(spec, data, terms=[*others, *observed], given=list(given))
    fixed = target.coordinates.theta(given)
    drawn = sample_nuts(
        target,
        find_whitening(target, fixed),
        draws=settings.draws,
        tune=2 * settings.tune,  # no pilot run has been here
        chains=settings.chains,
        seed=seed,
        given=fixed,
        cores=1,
    )
    values = target.coordinates.natural(drawn.z, fixed)
    growth = xr.DataArray(values["growth_rate"], dims=(CHAIN, DRAW), attrs={"units": "1/year"})
    estimate = Estimate("growth rate", growth, max(data.llms.release_dates))
    checks = {"divergences": int(drawn.stats["diverging"].sum()), "max_rhat": _rhat(growth)}
    return {**growth_of(estimate), "draws": sorted_draws(estimate), "checks": checks}


def _rhat(draws: xr.DataArray) -> float | None:
    """R-hat of one number."""
    value = float(array_stats.rhat(draws.values, chain_axis=0, draw_axis=1))
    return value if np.isfinite(value) else None


def width(draws: Floats) -> float:
    """Width of the equal-tailed 95 % interval of growth, 1/year."""
    low, high = np.quantile(draws, tails(CI_PROB))
    return float(high - low)


@dataclass(frozen=True, slots=True)
class Source:
    """One row of a decomposition.

    Attributes
    ----------
    source, what
        Its name, and what is done.
    change
        `off`: the source is held in place of being inferred; `on`: a definition that the headline
        holds is left open.
    width
        Of the 95 % interval of growth then (1/year); None: not to be had.
    ratio
        Of that to the headline's.
    max_rhat
        Of the fit with the source off; None where there is none, or several.
    error
        Why it is not to be had.
    failed
        Whether that is because a fit failed, and not for want of the part.
    """

    source: str
    what: str
    change: str
    width: float | None = None
    ratio: float | None = None
    max_rhat: float | None = None
    error: str = ""
    failed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "source": self.source,
            "what": self.what,
            "change": self.change,
            "width_per_year": self.width,
            "ratio": self.ratio,
            "max_rhat": self.max_rhat,
            "error": self.error or None,
        }


def measured(source: Source, draws: Floats, headline: Floats, max_rhat: float | None) -> Source:
    """Row of a source, now that its draws are there."""
    wide = width(draws)
    return replace(source, width=wide, ratio=wide / width(headline), max_rhat=max_rhat)


def mixed(parts: Sequence[Floats]) -> Floats:
    """Mix draws with equal weights, whatever their numbers."""
    probs = (np.arange(2000) + 0.5) / 2000
    return np.concatenate([np.quantile(part, probs) for part in parts])
