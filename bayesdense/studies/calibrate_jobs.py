"""The unit of work of `calibrate`: a simulated dataset, its fit, and where the truth lies in it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from scipy.stats import norm
from scipy.stats import t as student_t

from bayesdense import derive
from bayesdense.arrays import Floats
from bayesdense.checks.patterns import patterns
from bayesdense.checks.predictive import predictive
from bayesdense.checks.sampling import Sampling, sampling
from bayesdense.conversions import doubling_time_days
from bayesdense.errors import BayesdenseError
from bayesdense.inference import counts_of, fit_observations
from bayesdense.jobs import Job, job_function
from bayesdense.jobs.seeds import seeds_of
from bayesdense.names import (
    CHAIN,
    CI_PROB,
    DAYS_PER_YEAR,
    DRAW,
    FAMILY,
    INNER_CI_PROB,
    LLM,
    LOSS_OBS,
    RUN,
    STUDY_RHAT,
)
from bayesdense.observations import Observations, trend_on
from bayesdense.point import PointEstimate, point_estimate
from bayesdense.results import Fit
from bayesdense.simulate.datasets import looks_usable
from bayesdense.simulate.story import expected, expected_densities, score_moments
from bayesdense.spec import ModelSpec, spec_from_dict
from bayesdense.studies.made_worlds import Made, drawn_llms, make, tables_of, world_named
from bayesdense.studies.pilots import learnt
from bayesdense.studies.ranks import LEAST_ESS, N_RANKED, rank_value, thinned
from bayesdense.studies.selection import dataset_of, people_of
from bayesdense.summary import strict
from bayesdense.trends.base import labelled
from bayesdense.trends.exponential import EXPONENTIAL

#: Probabilities of the intervals that are counted.
PROBS: Final = (INNER_CI_PROB, 0.8, CI_PROB)
#: Share of divergences among the draws above which the sampler has trouble.
MOST_DIVERGENT: Final = 0.001
#: How much longer the next fits are where one had trouble; of mere divergences, which length does
#: not mend, there are no more than the second number.
LONGER: Final = (1, 3, 9)
_DIVERGENCES: Final = "divergences"
_FITS_FOR_DIVERGENCES: Final = 2
#: The spacing of sizes that the pilot of nearly every simulation asks for: asked for at once.
_SPACING: Final = 0.125
_EFFECTS: Final = frozenset({LLM, FAMILY, RUN})
#: Quantities beside the model's own parameters.
GROWTH: Final = "growth at the last release"
DOUBLING_TIME: Final = "doubling_time"
LLM_SIZE: Final = "llm_size"
LLM_SIZES: Final = "log_effective_params"
FITS: Final = ("log_likelihood[losses]", "log_likelihood[scores]", "log_likelihood[densities]")
#: What a sampler or least squares may raise on data that nobody would give them.
_NUMERIC: Final = (ArithmeticError, RuntimeError, ValueError)


@job_function
def simulation(job: Job) -> dict[str, object]:
    """Make one dataset of a world, fit it until the chains agree, and compare with the truth.

    LLMs, truth and noise come from the study's seed and the simulation's number, so that worlds
    are compared on the same ones; the sampler's seeds come from the job.
    """
    params = job.params
    spec = spec_from_dict(job.spec, where="the job's specification")
    made = made_by(job)
    *of_fits, of_ranks = seeds_of(job).spawn(len(LONGER) + 1)
    fitted, attempts = _fitted(spec, made, params["length"], of_fits)
    rng = np.random.default_rng(of_ranks)
    counts = counts_of(made.data)
    found: dict[str, object] = strict(
        {
            "world": params["world"],
            "number": params["number"],
            **{name: counts[name] for name in ("n_llms", "n_families", "n_scores")},
            "looks_usable": None if made.data.scores is None else looks_usable(made.data.joint),
            "growth": growth_found(fitted, made),
            "point": point_found(made, spec.options.reference_tokens),
            "ranks": {
                name: float(f"{rank_value(draws, truth, rng):.7g}")
                for name, draws, truth in compared(fitted, made, rng)
            },
            "reviews": reviews_of(fitted),
            "attempts": attempts,
            "converged": not attempts[-1]["trouble"],
        }
    )
    return found


def made_by(job: Job) -> Made:
    """Dataset of a job, made anew."""
    params = job.params
    spec = spec_from_dict(job.spec, where="the job's specification")
    world = world_named(params["world"])
    dataset = dataset_of(job)
    dataset = dataset.base_only() if spec.options.base_only else dataset
    of_llms, *others = np.random.SeedSequence([job.seed, params["number"]]).spawn(4)
    wanted = params["n_llms"]
    if not world.takes_all and wanted is not None and wanted < len(people_of(dataset)):
        dataset = drawn_llms(dataset, wanted, np.random.default_rng(of_llms))
    return make(world, spec, dataset, others, truth_of(params["truth"]))


def truth_of(raw: Mapping[str, Any] | None) -> dict[str, xr.DataArray]:
    """Values that are not drawn from the priors: those of one of `readings.truths_of`."""
    return {
        name: xr.DataArray(np.asarray(one["values"], dtype=float), dims=one["dims"])
        for name, one in (raw or {}).items()
    }


def _fitted(
    spec: ModelSpec,
    made: Made,
    length: Mapping[str, int],
    sequences: Sequence[np.random.SeedSequence],
) -> tuple[Fit, list[dict[str, Any]]]:
    """Fit, longer where the sampler had trouble; the last fit counts whatever it says.

    A fit that raises is trouble as well; if none gives draws, the last one's error is the job's.
    """
    used = spec.with_options(quadrature_spacing=_SPACING) if spec.is_joint else spec
    about = {"name": made.dataset.name, "digest": made.dataset.digest, **counts_of(made.data)}
    attempts: list[dict[str, Any]] = []
    fitted, error = None, None
    for factor, sequence in zip(LONGER, sequences, strict=True):
        draws, tune = factor * length["draws"], factor * length["tune"]
        told: dict[str, Any] = {"draws": draws, "tune": tune}
        of_pilots, of_fit = sequence.spawn(2)
        try:
            fitted = fit_observations(
                used,
                made.data,
                about=about,
                draws=draws,
                tune=tune,
                chains=length["chains"],
                seed=int(of_fit.generate_state(1)[0]),
                cores=1,
                depth="without_likelihoods",
                prepared=learnt(used, made.data, chains=length["chains"], sequence=of_pilots),
            )
            told |= _told(sampling(fitted), draws * length["chains"])
        except _NUMERIC as raised:
            error = raised
            told["trouble"] = [f"{type(raised).__name__}: {raised}"]
        attempts.append(told)
        if _is_enough(told["trouble"], len(attempts)):
            break
    if fitted is None:
        raise RuntimeError(f"no fit of {len(LONGER)} gave draws: {error}") from error
    return fitted, attempts


def _is_enough(trouble: Sequence[str], n_fits: int) -> bool:
    """Whether another, longer fit is of no use."""
    return not set(trouble) - ({_DIVERGENCES} if n_fits >= _FITS_FOR_DIVERGENCES else set())


def _told(found: Sampling, n_draws: int) -> dict[str, Any]:
    """Numbers of the sampling, and names of what is wrong with it."""
    return {
        "max_rhat": found.max_rhat,
        "min_ess_bulk": found.min_ess_bulk,
        "divergences": found.divergences,
        "trouble": trouble_of(found.max_rhat, found.min_ess_bulk, found.divergences, n_draws),
    }


def trouble_of(
    rhat: float | None, least_ess: float | None, divergences: int | None, n_draws: int
) -> list[str]:
    """Names of what is wrong with the sampling; what is no number is wrong."""
    fine = {
        "rhat": rhat is not None and rhat <= STUDY_RHAT,
        "ess": least_ess is not None and least_ess >= LEAST_ESS,
        _DIVERGENCES: divergences is not None and divergences <= MOST_DIVERGENT * n_draws,
    }
    return [name for name, is_fine in fine.items() if not is_fine]


def reviews_of(fitted: Fit) -> list[str] | None:
    """Names of the checks of misfit that ask for a review; None where data are beyond them."""
    try:
        with np.errstate(all="ignore"):
            found = [*predictive(fitted), *patterns(fitted)]
    except _NUMERIC:
        return None
    return sorted({one.name.partition("[")[0] for one in found if one.status != "pass"})


# --- growth -------------------------------------------------------------------------------------


def true_growth(made: Made) -> float:
    """Growth of the truth at the last release that the model sees, 1/year."""
    llms = made.data.llms
    there = trend_on(made.spec, llms).at_dates()
    return float(there.growth_rate(float(llms.years.max()), made.truth, labelled))


def interval_name(prob: float) -> str:
    """`eti95`."""
    return f"eti{round(100 * prob)}"


def growth_found(fitted: Fit, made: Made) -> dict[str, Any]:
    """Growth of the truth, and what the posterior says of it."""
    growth = derive.growth_rate(fitted)
    return {
        "truth": true_growth(made),
        "median": growth.median,
        "sd": growth.sd,
        **{interval_name(prob): list(growth.interval(prob)) for prob in PROBS},
    }


def point_found(made: Made, reference_tokens: float) -> dict[str, Any]:
    """Growth by the paper's estimator, with the t intervals of its least squares line.

    They are what a reader of that line would compute; fewer than three records have none.
    """
    try:
        with np.errstate(all="ignore"):
            tables = tables_of(made)
            found = point_estimate(tables, reference_tokens=reference_tokens, n_permutations=1)
    except (BayesdenseError, *_NUMERIC) as error:
        return {"median": None, "n_records": None, "failed": f"{type(error).__name__}: {error}"}
    return {**line_found(found), "failed": None}


def line_found(found: PointEstimate) -> dict[str, Any]:
    """Slope of the line through records, 1/year, and its t intervals (none: null)."""
    line = found.line
    if line.slope_per_day is None:
        return {"median": None, "n_records": line.n_records}
    slope, free = DAYS_PER_YEAR * line.slope_per_day, line.n_records - 2
    out: dict[str, Any] = {"median": slope, "n_records": line.n_records}
    if line.r_squared:
        error = abs(slope) * math.sqrt(max(1 / line.r_squared - 1, 0.0) / free)
        for prob in PROBS:
            half = float(student_t.ppf(0.5 + prob / 2, free)) * error
            out[interval_name(prob)] = [slope - half, slope + half]
    return out


# --- what is ranked -----------------------------------------------------------------------------


def compared(
    fitted: Fit, made: Made, rng: np.random.Generator
) -> Iterator[tuple[str, Floats, float]]:
    """Yield name, nearly independent draws and truth of every quantity that is ranked.

    Every global parameter; growth, where it is none of them; doubling time, whose order is not that
    of growth, as it passes through infinity; the size of one LLM, chosen by chance; and how well
    losses and scores fit, quantities that look at the data: a posterior that had not, say the
    prior, passes all the others.

    References
    ----------
    Modrak et al. 2025, Simulation-based calibration checking for Bayesian computation: the choice
    of test quantities shapes sensitivity, Bayesian Analysis 20(2).
    """
    posterior, truth = fitted.posterior, made.truth
    for key, draws in posterior.items():
        name = str(key)
        if name in truth and not _EFFECTS & {str(dim) for dim in draws.dims}:
            yield from _entries(name, draws, truth[name])
    kept, true = _kept(derive.growth_rate(fitted).draws), true_growth(made)
    if fitted.spec.trend != EXPONENTIAL.kind:  # whose growth is a parameter
        yield GROWTH, kept, true
    yield DOUBLING_TIME, np.asarray(doubling_time_days(kept)), float(doubling_time_days(true))
    if LLM_SIZES in posterior:
        llm = str(rng.choice(posterior[LLM].values))
        size = posterior[LLM_SIZES].sel({LLM: llm})
        yield LLM_SIZE, _kept(size), float(truth[LLM_SIZES].sel({LLM: llm}))
    yield from how_well(fitted, made)


def _kept(draws: xr.DataArray) -> Floats:
    """Nearly independent draws, (n, ...)."""
    return thinned(draws.transpose(CHAIN, DRAW, ...).to_numpy(), N_RANKED)


def _entries(
    name: str, draws: xr.DataArray, truth: xr.DataArray
) -> Iterator[tuple[str, Floats, float]]:
    """A parameter, entry by entry."""
    kept, dims = _kept(draws), [str(dim) for dim in draws.dims if dim not in (CHAIN, DRAW)]
    if not dims:
        yield name, kept, float(truth)
        return
    (dim,) = dims
    labels = draws[dim].values
    values = (truth.sel({dim: labels}) if dim in truth.coords else truth).to_numpy()
    for k, label in enumerate(labels):
        yield f"{name}[{label}]", kept[:, k], float(values[k])


def how_well(fitted: Fit, made: Made) -> Iterator[tuple[str, Floats, float]]:
    """How well the data fit at the draws and at the truth, each entry taken by itself.

    That entries are not independent (effects of runs, sizes and families) does not matter: any
    function of parameters and data has uniform ranks, if it is the same function for all.
    """
    data, spec, posterior = made.data, fitted.spec, fitted.posterior
    draws = xr.Dataset(
        {
            name: (("sample", *(d for d in one.dims if d not in (CHAIN, DRAW))), _kept(one))
            for name, one in posterior.items()
        }
    )
    truth = made.truth.drop_vars(list(made.truth.coords))
    both = [_log_likelihoods(theta, spec, data) for theta in (draws, truth)]
    for name, values in both[0].items():
        yield name, np.asarray(values.to_numpy()), float(both[1][name])


def _log_likelihoods(
    theta: xr.Dataset, spec: ModelSpec, data: Observations
) -> dict[str, xr.DataArray]:
    """Sums of log densities of losses and scores, or of densities, draw by draw."""
    if data.densities is not None:
        of_llms = xr.DataArray(data.densities.log_density, dims=LLM)
        var = _var(theta, ("family_sd", "residual_sd"))
        var = var + xr.DataArray(data.densities.known_var, dims=LLM)
        mean = expected_densities(theta, spec, data)["log_density"].drop_vars(LLM)
        return {FITS[2]: _sum_log_normal(of_llms, mean, var, LLM)}
    joint = data.joint
    losses, scores = joint.losses, joint.scores
    var = _var(theta, ("loss_noise_sd", "run_effect_sd", "size_effect_sd"))
    var = var.isel(benchmark=xr.DataArray(losses.benchmark_idx, dims=LOSS_OBS))
    var = var + xr.DataArray(losses.known_var, dims=LOSS_OBS)
    law = expected(theta, spec, joint)["loss"].drop_vars(LOSS_OBS)
    mean, of_cells, _ = score_moments(theta, spec, joint, theta[LLM_SIZES])
    (cells,) = (str(dim) for dim in mean.dims if dim != "sample")
    observed = xr.DataArray(scores.logit_score, dims=cells)
    return {
        FITS[0]: _sum_log_normal(xr.DataArray(losses.log_loss, dims=LOSS_OBS), law, var, LOSS_OBS),
        FITS[1]: _sum_log_normal(observed, mean, of_cells, cells),
    }


def _var(theta: xr.Dataset, sds: Sequence[str]) -> xr.DataArray:
    """Sum of the squares of those sds that the model has."""
    squares = [theta[name] ** 2 for name in sds if name in theta]
    return xr.DataArray(sum(squares[1:], squares[0]))


def _sum_log_normal(
    observed: xr.DataArray, mean: xr.DataArray, var: xr.DataArray, dim: str
) -> xr.DataArray:
    """Sum over `dim` of log Normal(observed; mean, var)."""
    apart, scale = observed - mean, var**0.5
    density = xr.apply_ufunc(norm.logpdf, apart / scale) - np.log(scale)
    return xr.DataArray(density.sum(dim))
