"""Fits that have not seen some LLMs' scores, and what they say of them.

The LLMs themselves stay, with their dates, sizes and families: without a score an LLM is
integrated out and tells nothing. Of a dataset of densities they are left out, and the window of
time stays. So every refit has the same trend with the same priors, also where its form hangs on
the window, and differs in what it was told alone.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp

from bayesdense.arrays import Floats, Ints
from bayesdense.comparison.bridge import effective_number, from_ratios
from bayesdense.dataset import Dataset
from bayesdense.densities import log_likelihoods
from bayesdense.errors import SpecError
from bayesdense.names import CHAIN, DRAW
from bayesdense.observations import Observations, ScoreData, observe
from bayesdense.sizes import family_log_likelihood
from bayesdense.spec import ModelSpec
from bayesdense.variables import sampled_variables

_FAMILY_OBS = "family_obs"


def hide(
    spec: ModelSpec, dataset: Dataset, llms: Collection[str], reports_of: Collection[str] = ()
) -> Observations:
    """Observe a dataset without the scores, or the densities, of some LLMs.

    Parameters
    ----------
    spec, dataset
        A model and its dataset.
    llms
        Names of the LLMs whose scores are hidden. Of a dataset of densities they are left out
        whole, but time has the same origin and window, and groups and covariates their meaning.
    reports_of
        Names of the LLMs whose replicated reports, which tell of the protocol's noise, are hidden.

    Raises
    ------
    SpecError
        What is left has other parameters than the whole: nobody else informs them.
    """
    hidden, whole = set(llms), observe(spec, dataset)
    if whole.densities is not None:
        return _of_llms(whole, np.flatnonzero(~np.isin(whole.llms.names, list(hidden))))
    part = without_scores(whole, hidden)
    if reports_of:
        kept = _without(dataset.score_reports, set(reports_of))
        part = replace(part, reports=observe(spec, replace(dataset, score_reports=kept)).reports)
    _check_same(spec, whole, part)
    return part


def without_scores(data: Observations, llms: Collection[str]) -> Observations:
    """Observations of the same LLMs, some of them without a score.

    Parameters
    ----------
    data
        Observations with scores.
    llms
        Names of the LLMs whose scores are hidden.
    """
    scores, is_hidden = data.joint.scores, np.isin(data.llms.names, list(llms))
    rows = np.flatnonzero(~is_hidden[scores.llm_idx])
    return replace(data, scores=_rows(scores, rows, scores.llm_idx[rows], len(is_hidden)))


def _of_llms(data: Observations, kept: Ints) -> Observations:
    """Observations of some LLMs alone, in the window of all."""
    llms = data.llms
    families = tuple(dict.fromkeys(llms.families[k] for k in llms.family_idx[kept]))
    place = {name: k for k, name in enumerate(families)}
    fewer = replace(
        llms,
        names=tuple(llms.names[i] for i in kept),
        families=families,
        family_idx=np.array([place[llms.families[k]] for k in llms.family_idx[kept]], dtype=int),
        release_dates=tuple(llms.release_dates[i] for i in kept),
        years=llms.years[kept],
        log_params=llms.log_params[kept],
        derived_from=tuple(llms.derived_from[i] for i in kept) if llms.derived_from else (),
        group_idx=None if llms.group_idx is None else llms.group_idx[kept],
        covariate=None if llms.covariate is None else llms.covariate[kept],
        window=(llms.trend_data.first, llms.trend_data.last),
    )
    if data.densities is not None:
        known = data.densities
        left = replace(known, log_density=known.log_density[kept], known_var=known.known_var[kept])
        return replace(data, llms=fewer, densities=left)
    scores = data.joint.scores
    rows = np.flatnonzero(np.isin(scores.llm_idx, kept))
    number = np.full(len(llms.names), -1)
    number[kept] = np.arange(len(kept))
    part = _rows(scores, rows, number[scores.llm_idx[rows]], len(kept))
    return replace(data, llms=fewer, scores=part)


def _rows(scores: ScoreData, rows: Ints, llm_idx: Ints, n_llms: int) -> ScoreData:
    """Some of the scores, of LLMs that are numbered anew."""
    columns = {
        field.name: getattr(scores, field.name)[rows]
        for field in fields(scores)
        if field.name not in ("first", "llm_idx")
    }
    counts = np.bincount(llm_idx, minlength=n_llms)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(scores, **columns, llm_idx=llm_idx, first=first)


def _without(table: pd.DataFrame | None, llms: set[str]) -> pd.DataFrame | None:
    """Rows of other LLMs."""
    return None if table is None else table[~table["llm"].isin(llms)].reset_index(drop=True)


def _check_same(spec: ModelSpec, whole: Observations, part: Observations) -> None:
    """Raise where hiding scores takes parameters away."""
    before, after = sampled_variables(spec, whole), sampled_variables(spec, part)
    if missing := sorted(set(before) ^ set(after)):
        raise SpecError(
            f"without the hidden scores the model has other parameters ({', '.join(missing)}): "
            "only those scores inform them, so that they cannot be predicted"
        )


def log_gains(
    posterior: xr.Dataset, spec: ModelSpec, before: Observations, after: Observations
) -> xr.DataArray:
    """Log density of what `after` tells beyond `before`, per draw and family.

    log M_k(after) - log M_k(before), M_k the density of all that is known of a family, its effect
    integrated over Normal(0, family_sd): that of the new scores with the effect under its
    posterior given the family's old scores, under its prior where there are none.

    Parameters
    ----------
    posterior
        Draws of a fit to `before`.
    spec
        Its model.
    before, after
        Observations, the second with more scores.

    Returns
    -------
    xarray.DataArray
        (chain, draw, family_obs), over the families of `after`; 0 where nothing is new.
    """
    labels = list(after.llms.families)
    earlier, later = _n_told(before), _n_told(after)
    new = [name for name in labels if later[name] != earlier.get(name, 0)]
    gains = xr.DataArray(
        np.zeros((posterior.sizes[CHAIN], posterior.sizes[DRAW], len(labels))),
        dims=(CHAIN, DRAW, _FAMILY_OBS),
        coords={_FAMILY_OBS: labels},
    )
    for data, sign in ((after, 1.0), (before, -1.0)):  # of the others nothing is to be known
        kept = np.flatnonzero(np.isin(data.llms.families, new)[data.llms.family_idx])
        if len(kept):
            part = _of_llms(data, kept)
            of_part = _family_log_density(posterior, spec, part).transpose(CHAIN, DRAW, _FAMILY_OBS)
            at = [labels.index(name) for name in part.llms.families]
            gains[..., at] += sign * of_part.to_numpy()
    return gains


def _n_told(data: Observations) -> dict[str, int]:
    """Number of scores, or of densities, of every family."""
    llms = data.llms
    of_llms = llms.family_idx if data.scores is None else llms.family_idx[data.scores.llm_idx]
    counts = np.bincount(of_llms, minlength=len(llms.families))
    return dict(zip(llms.families, counts.tolist(), strict=True))


def _family_log_density(posterior: xr.Dataset, spec: ModelSpec, data: Observations) -> xr.DataArray:
    """Log M_k of every family, per draw."""
    if data.densities is not None:
        found: xr.DataArray = log_likelihoods(posterior, spec, data)["family"]
        return found
    return family_log_likelihood(posterior, spec, data.joint)


@dataclass(frozen=True, slots=True, eq=False)
class Foretold:
    """Log density of hidden scores, given what was not hidden.

    Attributes
    ----------
    parts
        (families,): log density of each family's scores given those of the families before it,
        nats.
    se
        Monte Carlo standard error of their sum.
    """

    parts: Floats
    se: float

    @property
    def log_density(self) -> float:
        """Log density of all of them together."""
        return float(self.parts.sum())


def foretold(before: Floats, after: Floats) -> Foretold:
    """Log density of hidden scores from draws of the fits without them and with them.

    The mean over the draws without them is ruled by its few best draws where many scores were
    hidden (a block of 20 LLMs: off by four nats). The ratio of both fits' marginal likelihoods is
    the same number, and draws of both bridge it (Bennett 1976; Meng and Wong 1996). What is in
    between, some of the parts told and others not, is weighed from both (Shirts and Chodera 2008).

    Parameters
    ----------
    before
        Log densities of the families' scores (`log_gains`) at draws of the fit without any of
        them, (chain, draw, families), in the order in which they are told.
    after
        The same at draws of the fit with all of them, and with nothing else more.

    Raises
    ------
    BayesdenseError
        The fits have nothing in common.

    References
    ----------
    Bennett 1976, J. Comput. Phys. 22:245; Shirts and Chodera 2008, J. Chem. Phys. 129:124105.
    """
    told, untold = np.cumsum(after, axis=2), np.cumsum(before, axis=2)
    n_after, n_before = (effective_number(each[:, :, -1]) for each in (told, untold))
    share = n_after / (n_after + n_before)
    whole = from_ratios(told[:, :, -1], untold[:, :, -1], share=share)
    running = _in_between(untold, math.log1p(-share), share, whole.log_ml)
    running = np.logaddexp(running, _in_between(told, math.log(share), share, whole.log_ml))
    return Foretold(np.diff(running, prepend=0.0), whole.se)


def _in_between(running: Floats, log_weight: float, share: float, log_ratio: float) -> Floats:
    """Weighted mean over draws of exp(running) / ((1 - share) + share exp(last - log_ratio))."""
    by_draw = running.reshape(-1, running.shape[2])
    both = np.logaddexp(math.log1p(-share), math.log(share) + by_draw[:, -1:] - log_ratio)
    terms = logsumexp(by_draw - both, axis=0)
    return np.asarray(log_weight - math.log(len(by_draw)) + terms)
