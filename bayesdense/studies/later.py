"""What a fit says of the scores of LLMs that came after those it saw, given their N and date."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesdense.arrays import Floats, Ints
from bayesdense.elementary import expit
from bayesdense.errors import SpecError
from bayesdense.names import CHAIN, DAYS_PER_YEAR, DRAW, FAMILY, LLM
from bayesdense.newcomers import require_trend
from bayesdense.observations import JointObservations, LLMData, Observations, trend_on
from bayesdense.prior_draws import lengthened
from bayesdense.proper_scores import mixture_log_score
from bayesdense.results import Fit
from bayesdense.simulate.story import draw_log_density, replicate, score_moments
from bayesdense.spec import ModelSpec
from bayesdense.studies.readings import readings_of
from bayesdense.wording import listing


@dataclass(frozen=True, slots=True, eq=False)
class LaterScores:
    """Predictive distributions of scores, one column a score; logits unless said.

    Attributes
    ----------
    mean, var
        Mean and variance of each logit in each draw, (n_draws, n).
    drawn
        Logits drawn from these, (n_draws, n): the scores of an LLM share its size, those of a
        family its effect.
    observed
        Logits that were observed, (n,).
    n_items
        Items of each score.
    llm_idx, benchmark_idx
        Into `llms.names` and the model's benchmarks.
    llms
        All LLMs of the dataset, those seen by the fit too.
    known_family
        Whether the fit saw an LLM of the family.
    """

    mean: Floats
    var: Floats
    drawn: Floats
    observed: Floats
    n_items: Floats
    llm_idx: Ints
    benchmark_idx: Ints
    llms: LLMData
    known_family: NDArray[np.bool_]

    @property
    def score_draws(self) -> Floats:
        """Fractions drawn, (n_draws, n)."""
        return np.asarray(expit(self.drawn))

    @property
    def scores(self) -> Floats:
        """Fractions observed, 0 and 1 moved by half an item, (n,)."""
        return np.asarray(expit(self.observed))

    @property
    def families(self) -> list[str]:
        """Family of each score's LLM."""
        return [self.llms.families[k] for k in self.llms.family_idx[self.llm_idx]]

    @property
    def log_score(self) -> Floats:
        """Log predictive density of each logit, nats, (n,)."""
        return mixture_log_score(self.observed, self.mean, self.var)


def later_scores(
    fit: Fit, seen: Observations, everything: Observations, rng: np.random.Generator
) -> LaterScores:
    """Predict the scores of the LLMs that a fit has not seen.

    A later LLM's log density is the trend's at its date, plus its family's effect (from the
    posterior if the fit knows the family, else one new draw for all LLMs of that family), plus a
    new residual; its scores follow by law and map, discrepancy, protocol and items.

    Parameters
    ----------
    fit
        Made from `seen`.
    seen, everything
        What the model sees of the earlier LLMs, and of all.
    rng
        Source of the random numbers.

    Raises
    ------
    SpecError
        The two count parameters differently, later scores need a parameter that the fit lacks, or
        the trend says nothing of later LLMs.
    """
    data = _placed(fit.spec, seen, everything)
    require_trend(fit, data.llms)
    scores = data.scores
    known = set(seen.llms.names)
    is_later = np.array([name not in known for name in data.llms.names])[scores.llm_idx]
    if bool((scores.other_protocol[is_later] > 0).any()) and "protocol_offset" not in fit.posterior:
        raise SpecError(
            "later scores are of another protocol than the map's, and no earlier one is: their "
            "offset is unknown; choose a later origin"
        )
    theta = _with_families(fit, data.llms, rng)
    drawn = replicate(theta, fit.spec, data, rng, new_sizes=True, new_families=False)
    plain = theta.transpose(CHAIN, DRAW, ...).drop_vars([str(name) for name in theta.coords])
    sizes = drawn["log_effective_params"].drop_vars(LLM)
    mean, var, _ = (_flat(values, is_later) for values in _moments(plain, fit, data, sizes))
    return LaterScores(
        mean=mean,
        var=var,
        drawn=mean + np.sqrt(var) * rng.normal(size=mean.shape),
        observed=scores.logit_score[is_later],
        n_items=scores.n_items[is_later],
        llm_idx=scores.llm_idx[is_later],
        benchmark_idx=scores.benchmark_idx[is_later],
        llms=data.llms,
        known_family=np.array([name in set(seen.llms.families) for name in data.llms.families])[
            data.llms.family_idx[scores.llm_idx[is_later]]
        ],
    )


@dataclass(frozen=True, slots=True, eq=False)
class LaterDensities:
    """Later LLMs' log densities as a fit reads them off their scores, and as it foretold them.

    Attributes
    ----------
    names, families
        Of each LLM.
    observed
        (n,): readings under the fit's law and map, nats.
    drawn
        (n_draws, n): what the fit foretells of such readings, their normal error among it.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    observed: Floats
    drawn: Floats


def later_densities(
    fit: Fit, seen: Observations, everything: Observations, rng: np.random.Generator
) -> LaterDensities | None:
    """Read the densities of the LLMs that a fit has not seen with its own law and map.

    Only a second reading of a forecast: an outcome that the fit itself has had to compute is no
    outcome, and a law that is wrong where later LLMs are is wrong on both sides.

    Parameters
    ----------
    fit, seen, everything, rng
        As in `later_scores`.

    Returns
    -------
    LaterDensities or None
        None under a residual that is not normal with one sd.
    """
    if fit.spec.residual != "symmetric" or fit.spec.options.scale_trend:
        return None
    data, known = _placed(fit.spec, seen, everything), set(seen.llms.names)
    later = np.flatnonzero([name not in known for name in data.llms.names])
    theta = _with_families(fit, data.llms, rng)
    mean, var = readings_of(theta, fit.spec, data)
    drawn = draw_log_density(theta, fit.spec, data.llms, rng, new_families=False)
    plain = drawn.transpose(CHAIN, DRAW, LLM).to_numpy().reshape(-1, len(data.llms.names))
    error = np.sqrt(var[later]) * rng.normal(size=(len(plain), len(later)))
    return LaterDensities(
        names=tuple(data.llms.names[i] for i in later),
        families=tuple(data.llms.families[data.llms.family_idx[i]] for i in later),
        observed=mean[later],
        drawn=plain[:, later] + error,
    )


def _placed(spec: ModelSpec, seen: Observations, everything: Observations) -> JointObservations:
    """All LLMs and scores, on the time axis and with the ladder of the earlier ones."""
    if seen.llms.params_used != everything.llms.params_used:
        raise SpecError(
            f"earlier LLMs count {seen.llms.params_used} parameters, all of them "
            f"{everything.llms.params_used}: choose --set params=total"
        )
    origins = (pd.Timestamp(data.llms.time_origin) for data in (seen, everything))
    earlier, own = origins
    years = everything.llms.years + (own - earlier) / pd.Timedelta(days=DAYS_PER_YEAR)
    trend = trend_on(spec, seen.llms).until(float(years.max()))
    placed = replace(
        everything.llms,
        years=years,
        time_origin=seen.llms.time_origin,
        window=(trend.data.first, trend.data.last),
    )
    llms = _of_groups(_about_mean(placed, seen.llms), seen.llms)
    return replace(seen.joint, llms=llms, scores=everything.joint.scores)


def _about_mean(llms: LLMData, seen: LLMData) -> LLMData:
    """Covariates about the mean of the LLMs that were seen."""
    if llms.covariate is None:
        return llms
    moved = llms.covariate + llms.covariate_mean - seen.covariate_mean
    return replace(llms, covariate=moved, covariate_mean=seen.covariate_mean)


def _of_groups(llms: LLMData, seen: LLMData) -> LLMData:
    """Groups by the numbers that the fit gave them."""
    if llms.group_idx is None:
        return llms
    if new := [name for name in llms.groups if name not in seen.groups]:
        raise SpecError(
            f"later LLMs are of groups that no earlier one is of ({listing(new)}): their level and "
            "growth are unknown; choose a later origin, or a trend without groups"
        )
    number = np.array([seen.groups.index(name) for name in llms.groups])
    return replace(llms, groups=seen.groups, group_idx=number[llms.group_idx])


def _with_families(fit: Fit, llms: LLMData, rng: np.random.Generator) -> xr.Dataset:
    """Parameters for all LLMs: an effect for every family, the trend as far as they reach.

    A family's effect is its own if the fit knows it, else a new one.
    """
    posterior = fit.posterior
    of_llms = [name for name in posterior if LLM in posterior[name].dims]
    theta = posterior.drop_vars([*of_llms, LLM])
    theta = lengthened(theta, fit.spec, trend_on(fit.spec, llms), fit.seed)
    if "family_effect" not in theta:
        return theta
    known, names = theta["family_effect"], list(llms.families)
    shape = (posterior.sizes[CHAIN], posterior.sizes[DRAW], len(names))
    sd = posterior["family_sd"].transpose(CHAIN, DRAW)
    new = xr.DataArray(
        sd.values[..., None] * rng.normal(size=shape),
        dims=(CHAIN, DRAW, FAMILY),
        coords={CHAIN: posterior[CHAIN], DRAW: posterior[DRAW], FAMILY: names},
    )
    effect = known.reindex({FAMILY: names}).fillna(new)
    return theta.drop_vars(["family_effect", FAMILY]).assign(family_effect=effect)


def _moments(
    theta: xr.Dataset, fit: Fit, data: JointObservations, sizes: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Mean and variance of every score's logit."""
    free = sizes.transpose(CHAIN, DRAW, ...).drop_vars([str(name) for name in sizes.coords])
    return score_moments(theta, fit.spec, data, free)


def _flat(values: xr.DataArray, kept: NDArray[np.bool_]) -> Floats:
    """Rows of draws, columns of the scores that are kept."""
    plain = values.transpose(CHAIN, DRAW, ...).to_numpy()
    return np.asarray(plain.reshape(-1, plain.shape[-1])[:, kept])
