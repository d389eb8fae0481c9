"""Worlds in which data arise as the model says, or as it does not: one small change each.

A world is made in two steps. `truth` changes what is not seen (sizes, families, the law's
parameters), then everything that is observed is drawn, then `shown` changes what is seen of it.
All worlds of one number have the LLMs, the truth and the noise in common, so that they differ in
the change alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesdense.arrays import Floats
from bayesdense.dataset import Dataset
from bayesdense.elementary import expit
from bayesdense.errors import BayesdenseError
from bayesdense.items import draw_score, item_variance, logit_of_score
from bayesdense.laws import kaplan_loss
from bayesdense.names import (
    BENCHMARK,
    CHAIN,
    DAYS_PER_MONTH,
    DAYS_PER_YEAR,
    DRAW,
    FAMILY,
    LAW_PARAMETERS,
    LLM,
    LOSS_OBS,
    MAP_PARAMETERS,
    POINT_OBS,
    SCORE_OBS,
)
from bayesdense.observations import JointObservations, Observations, ScoreData, observe
from bayesdense.point.records import running_records
from bayesdense.prior_draws import draw_priors
from bayesdense.score_maps import richards_logit_score
from bayesdense.simulate.datasets import replicated_observations
from bayesdense.simulate.story import law_at, map_at, replicate, score_moments, trend_at
from bayesdense.spec import ModelSpec
from bayesdense.studies.selection import people_of
from bayesdense.wording import nearest_of, told

#: Degrees of freedom of heavy tails; what a leak adds to logits in the end; the true D0 over that
#: of the model; asymmetry of a map; share of scores below expectation that go unreported.
_TAILS: Final = 3.0
_LEAKED: Final = 1.0
_TOKENS_RATIO: Final = 0.2
_ASYMMETRY: Final = 0.25
_UNREPORTED: Final = 0.5
#: Log size about the centre beyond which no law moves any more.
_FARTHEST: Final = 300.0


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A truth, and what is observed of it.

    Attributes
    ----------
    spec
        The model by which data arise, which need not be the one that is fitted.
    dataset
        The tables whose shape it has.
    data
        What the model sees; before anything is drawn: the shape alone counts.
    truth
        Natural parameters, effects, `log_density` and, of a joint model, `log_effective_params`.
    """

    spec: ModelSpec
    dataset: Dataset
    data: Observations
    truth: xr.Dataset


type Change = Callable[[Made, np.random.Generator], Made]


@dataclass(frozen=True, slots=True)
class World:
    """One way in which data arise.

    Attributes
    ----------
    name, what
        How it is called, and what is changed, in a sentence.
    truth, shown
        What changes before and after everything is drawn; None: nothing.
    needs_scores
        Whether it needs a dataset of scores.
    is_right
        Whether the model is right there, so that ranks have to be uniform.
    takes_all
        Whether it chooses its LLMs itself, out of all of the dataset.
    """

    name: str
    what: str
    truth: Change | None = None
    shown: Change | None = None
    needs_scores: bool = False
    is_right: bool = False
    takes_all: bool = False


def make(
    world: World,
    spec: ModelSpec,
    dataset: Dataset,
    seeds: Sequence[np.random.SeedSequence],
    fixed: Mapping[str, Any] | None = None,
) -> Made:
    """Draw a truth from the priors and everything that is observed from the truth.

    Nothing is rejected: where priors give scores that are all at floor or ceiling, so are the data.

    Parameters
    ----------
    world
        One of `WORLDS`.
    spec
        The model, from whose priors the truth is drawn.
    dataset
        The shape: reference runs, LLMs, dates, families, cells. Its losses give priors their data
        scales, and are not used else.
    seeds
        Of the truth, of what is observed, and of the world's own change.
    fixed
        Values that are not drawn, as in `draw_priors`.

    Returns
    -------
    Made
        Its observations keep the data scales of `dataset`: priors of simulation and fit are one.
    """
    of_truth, of_data, own = (np.random.default_rng(seed) for seed in seeds)
    data = observe(spec, dataset)
    truth = draw_priors(spec, data, of_truth, 1, fixed=fixed or {})
    made = Made(spec, dataset, data, truth.isel({CHAIN: 0, DRAW: 0}, drop=True))
    if world.truth is not None:
        made = world.truth(made, own)
    made = observed(made, of_data)
    return made if world.shown is None else world.shown(made, own)


def observed(made: Made, rng: np.random.Generator) -> Made:
    """Draw everything that is observed of a truth, in the model's own way."""
    data = made.data
    if data.densities is not None:
        error = np.sqrt(data.densities.known_var) * rng.normal(size=len(data.llms.names))
        log_density = made.truth["log_density"].to_numpy() + error
        return replace(
            made, data=replace(data, densities=replace(data.densities, log_density=log_density))
        )
    drawn = replicate(made.truth, made.spec, data.joint, rng, new_sizes=False, new_families=False)
    return _with_joint(made, replicated_observations(data.joint, drawn))


def _with_joint(made: Made, joint: JointObservations) -> Made:
    """The same with other observations of a joint model."""
    data = replace(
        made.data,
        llms=joint.llms,
        benchmarks=joint.benchmarks,
        losses=joint.losses,
        calibration=joint.calibration,
        reports=joint.reports,
        scores=joint.scores,
    )
    return replace(made, data=data)


def tables_of(made: Made) -> Dataset:
    """What is observed as tables, for the point pipeline."""
    data, dataset = made.data, made.dataset
    dates = pd.to_datetime(list(data.llms.release_dates))
    if data.densities is not None and dataset.densities is not None:
        density = np.exp(data.densities.log_density)
        return replace(
            dataset, densities=dataset.densities.assign(release_date=dates, density=density)
        )
    joint, names = data.joint, data.joint.benchmarks.names
    runs, points, llms = (
        pd.DataFrame() if table is None else table
        for table in (dataset.runs, dataset.loss_scores, dataset.llms)
    )
    points = points[points["benchmark"].isin(set(names))].reset_index(drop=True)
    llms = llms.set_index("llm").loc[list(data.llms.names)].reset_index()
    scores = pd.DataFrame(
        {
            "llm": [data.llms.names[i] for i in joint.scores.llm_idx],
            "benchmark": [names[j] for j in joint.scores.benchmark_idx],
            "score": joint.scores.score,
        }
    )
    return replace(
        dataset,
        runs=runs.assign(loss=np.exp(joint.losses.log_loss)),
        loss_scores=points.assign(score=joint.calibration.score),
        llms=llms.assign(release_date=dates),
        scores=scores,
        score_reports=None,
    )


# --- what is not seen ---------------------------------------------------------------------------


def _moved(made: Made, shift: Floats) -> Made:
    """Log densities, and sizes with them, moved by (n_llms,)."""
    by = xr.DataArray(shift, dims=LLM)
    sizes = [name for name in ("log_density", "log_effective_params") if name in made.truth]
    return replace(made, truth=made.truth.assign({name: made.truth[name] + by for name in sizes}))


def _family_effects(made: Made) -> Floats:
    """Family effect of each LLM; 0 in a model without families."""
    if "family_effect" not in made.truth:
        return np.zeros(len(made.data.llms.names))
    return np.asarray(made.truth["family_effect"].to_numpy()[made.data.llms.family_idx])


def heavy_tails(made: Made, rng: np.random.Generator) -> Made:
    """Draw residuals from a Student-t of 3 degrees of freedom, of the scale `residual_sd`."""
    location = trend_at(made.truth, made.spec, made.data.llms).to_numpy() + _family_effects(made)
    own = made.truth["log_density"].to_numpy() - location
    scale = float(made.truth["residual_sd"])
    return _moved(made, scale * rng.standard_t(_TAILS, size=len(own)) - own)


def no_family(made: Made, rng: np.random.Generator) -> Made:
    """Take the families' effects away."""
    del rng
    return _scaled_families(made, 0.0)


def strong_family(made: Made, rng: np.random.Generator) -> Made:
    """Double the families' effects."""
    del rng
    return _scaled_families(made, 2.0)


def _scaled_families(made: Made, factor: float) -> Made:
    """Families' effects times a factor."""
    if "family_effect" not in made.truth:
        raise BayesdenseError("this world needs a model with families; leave out family=none")
    moved = _moved(made, (factor - 1.0) * _family_effects(made))
    effects = factor * moved.truth["family_effect"]
    return replace(moved, truth=moved.truth.assign(family_effect=effects))


def no_floor(made: Made, rng: np.random.Generator) -> Made:
    """Let the loss fall to 0: the floor's share goes to the two terms, the centre stays."""
    del rng
    truth = made.truth
    if "loss_floor" not in truth:
        raise BayesdenseError("no_floor: the model's law has none to take away")
    terms = truth["param_coef"] + truth["token_coef"]
    grown = (truth["loss_floor"] + terms) / terms
    return replace(
        made,
        truth=truth.assign(
            loss_floor=0.0 * truth["loss_floor"],
            param_coef=grown * truth["param_coef"],
            token_coef=grown * truth["token_coef"],
        ),
    )


def wrong_reference_tokens(made: Made, rng: np.random.Generator) -> Made:
    """Let sizes be those of reference LLMs of a fifth of the tokens that the model takes."""
    del rng
    tokens = _TOKENS_RATIO * made.spec.options.reference_tokens
    return replace(made, spec=made.spec.with_options(reference_tokens=tokens))


def records_only(made: Made, rng: np.random.Generator) -> Made:
    """Publish an LLM only if it is denser than all before it."""
    del rng
    days = (DAYS_PER_YEAR * made.data.llms.years).round().astype(np.int64)
    rows = np.sort(running_records(days, made.truth["log_density"].to_numpy()))
    names = [made.data.llms.names[row] for row in rows]
    part = of_llms(made.dataset, names)
    data = observe(made.spec, part)
    kept = {LLM: names} | ({FAMILY: list(data.llms.families)} if FAMILY in made.truth.dims else {})
    return replace(made, dataset=part, data=data, truth=made.truth.sel(kept))


def of_llms(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The LLMs of these names, and what is known of them."""
    chosen = set(names)

    def kept(table: pd.DataFrame | None) -> pd.DataFrame | None:
        return None if table is None else table[table["llm"].isin(chosen)].reset_index(drop=True)

    return replace(
        dataset,
        llms=kept(dataset.llms),
        scores=kept(dataset.scores),
        score_reports=kept(dataset.score_reports),
        densities=kept(dataset.densities),
    )


def drawn_llms(dataset: Dataset, n_llms: int, rng: np.random.Generator) -> Dataset:
    """Whole families in random order, until there are `n_llms` LLMs or a few more."""
    people = people_of(dataset)
    families = people.groupby("family", sort=False)["llm"].agg(list)
    names: list[str] = []
    for k in rng.permutation(len(families)):
        if len(names) >= n_llms:
            break
        names += families.iloc[k]
    return of_llms(dataset, names)


# --- what is seen -------------------------------------------------------------------------------


def other_law(made: Made, rng: np.random.Generator) -> Made:
    """Let losses follow Kaplan's law (with the floor), of the same loss at the centre."""
    del rng
    theta, data = made.truth, made.data.joint
    if "loss_floor" not in theta:
        theta = theta.assign(loss_floor=0.0 * theta["param_coef"])
    laws = [theta[name] for name in LAW_PARAMETERS]
    centre = kaplan_loss(0.0, 0.0, 0.0, *laws[1:])
    grown = (theta["param_coef"] + theta["token_coef"]) / centre
    scaled = theta.assign(
        param_coef=grown * theta["param_coef"], token_coef=grown * theta["token_coef"]
    )

    def law(j: xr.DataArray, sizes: xr.DataArray, tokens: xr.DataArray | float) -> xr.DataArray:
        values = [scaled[name].isel({BENCHMARK: j}) for name in LAW_PARAMETERS]
        return xr.DataArray(kaplan_loss(sizes, tokens, *values))

    losses = data.losses
    j, sizes, tokens = (
        xr.DataArray(values, dims=LOSS_OBS)
        for values in (losses.benchmark_idx, losses.log_params_ratio, losses.log_tokens_ratio)
    )
    ratio = law(j, sizes, tokens) / law_at(theta, j, sizes, tokens)
    moved = replace(losses, log_loss=losses.log_loss + np.log(ratio.to_numpy()))
    made = _with_joint(made, replace(data, losses=moved))
    cells, at_cells, log_tokens = _cells(made)
    return _rescored(made, map_at(theta, cells, law(cells, at_cells, log_tokens)).to_numpy())


def asymmetric_map(made: Made, rng: np.random.Generator) -> Made:
    """Let scores follow Richards' curve of asymmetry 1/4."""
    theta, data = made.truth, made.data.joint

    def score(j: xr.DataArray, loss: xr.DataArray) -> Floats:
        floor, ceiling, slope, midpoint = (
            theta[name].isel({BENCHMARK: j}) for name in MAP_PARAMETERS
        )
        logits = richards_logit_score(loss, floor, ceiling, slope, midpoint, _ASYMMETRY)
        return np.asarray(logits)

    points = data.calibration
    j = xr.DataArray(points.benchmark_idx, dims=POINT_OBS)
    noise = theta["map_noise_sd"].isel({BENCHMARK: j}).to_numpy() * rng.normal(size=j.shape)
    drawn = draw_score(
        score(j, xr.DataArray(points.loss, dims=POINT_OBS)) + noise, points.n_items, rng
    )
    logits = logit_of_score(drawn, points.n_items)
    moved = replace(points, score=drawn, logit_score=logits)
    made = _with_joint(made, replace(data, calibration=moved))
    cells, at_cells, log_tokens = _cells(made)
    return _rescored(made, score(cells, law_at(theta, cells, at_cells, log_tokens)))


def _cells(made: Made) -> tuple[xr.DataArray, xr.DataArray, float]:
    """Benchmark and log size about the centre of every score, and log D0 about the centre."""
    data = made.data.joint
    sizes = made.truth["log_effective_params"].to_numpy()[data.scores.llm_idx]
    apart = np.clip(sizes - data.losses.log_params_centre, -_FARTHEST, _FARTHEST)
    log_tokens = float(np.log(made.spec.options.reference_tokens)) - data.losses.log_tokens_centre
    return (
        xr.DataArray(data.scores.benchmark_idx, dims=SCORE_OBS),
        xr.DataArray(apart, dims=SCORE_OBS),
        log_tokens,
    )


def _expected(made: Made) -> tuple[Floats, Floats]:
    """Mean and variance of every score's logit at the true sizes."""
    theta = made.truth.drop_vars([LLM, BENCHMARK], errors="ignore")
    sizes = theta["log_effective_params"]
    mean, var, _ = score_moments(theta, made.spec, made.data.joint, sizes)
    return mean.to_numpy(), var.to_numpy()


def _rescored(made: Made, mean: Floats) -> Made:
    """Scores of another mean, their noise as it is but for that of the items."""
    scores = made.data.joint.scores
    before, var = _expected(made)
    items = item_variance(mean, scores.n_items) - item_variance(before, scores.n_items)
    noise = (scores.logit_score - before) * np.sqrt((var + items) / var)
    return _with_logits(made, mean + noise)


def _with_logits(made: Made, logit_score: Floats) -> Made:
    """Scores of these logits."""
    joint = made.data.joint
    scores = replace(joint.scores, logit_score=logit_score, score=np.asarray(expit(logit_score)))
    return _with_joint(made, replace(joint, scores=scores))


def contaminated(made: Made, rng: np.random.Generator) -> Made:
    """Leak one benchmark: from the first release to the last its logits gain 0 to 1."""
    joint, years = made.data.joint, made.data.llms.years
    leaked = rng.choice(np.unique(joint.scores.benchmark_idx))
    window = np.ptp(years) or 1.0
    share = (years - years.min())[joint.scores.llm_idx] / window
    gain = np.where(joint.scores.benchmark_idx == leaked, _LEAKED * share, 0.0)
    return _with_logits(made, joint.scores.logit_score + gain)


def not_at_random(made: Made, rng: np.random.Generator) -> Made:
    """Leave out half of the scores that are below what their LLM's size leads one to expect."""
    scores = made.data.joint.scores
    mean, _ = _expected(made)
    apart = scores.logit_score - mean
    kept = (apart >= 0.0) | (rng.uniform(size=len(apart)) >= _UNREPORTED)
    for first, last in zip(scores.first[:-1], scores.first[1:], strict=True):
        if not kept[first:last].any():  # an LLM without scores would not be in the list
            kept[first + int(np.argmax(apart[first:last]))] = True
    return _with_joint(made, replace(made.data.joint, scores=kept_cells(scores, kept)))


def kept_cells(scores: ScoreData, kept: NDArray[np.bool_]) -> ScoreData:
    """Some of the scores."""
    llm_idx = scores.llm_idx[kept]
    return ScoreData(
        llm_idx=llm_idx,
        benchmark_idx=scores.benchmark_idx[kept],
        score=scores.score[kept],
        logit_score=scores.logit_score[kept],
        n_items=scores.n_items[kept],
        n_reports=scores.n_reports[kept],
        other_protocol=scores.other_protocol[kept],
        first=np.searchsorted(llm_idx, np.arange(len(scores.first))).astype(np.int64),
    )


def whole_percent(made: Made, rng: np.random.Generator) -> Made:
    """Round LLMs' scores to whole percents; 0 and 100 are read as 0 and 100 are."""
    del rng
    joint = made.data.joint
    score = np.round(joint.scores.score, 2)
    logits = logit_of_score(score, joint.scores.n_items)
    scores = replace(joint.scores, score=score, logit_score=logits)
    return _with_joint(made, replace(joint, scores=scores))


def dates_off(made: Made, rng: np.random.Generator) -> Made:
    """Show release dates that are off by a month (sd), each by its own error."""
    llms = made.data.llms
    days = np.round(DAYS_PER_MONTH * rng.normal(size=len(llms.names))).astype(int)
    dates = pd.to_datetime(list(llms.release_dates)) + pd.to_timedelta(days, unit="D")
    shown = replace(
        llms,
        years=llms.years + days / DAYS_PER_YEAR,
        release_dates=tuple(dates.strftime("%Y-%m-%d")),
    )
    return replace(made, data=replace(made.data, llms=shown))


def own_scales(made: Made, rng: np.random.Generator) -> Made:
    """Take the data scales of priors from the simulated losses, as a user's fit would."""
    del rng
    joint = made.data.joint
    losses, n = joint.losses, len(joint.benchmarks.names)
    sums = np.bincount(losses.benchmark_idx, losses.log_loss, n)
    centre = np.exp(sums / np.bincount(losses.benchmark_idx, minlength=n))
    return _with_joint(
        made, replace(joint, benchmarks=replace(joint.benchmarks, loss_centre=centre))
    )


WELL_SPECIFIED: Final = "well_specified"
_ALL: Final = (
    World(WELL_SPECIFIED, "data arise as the model says", is_right=True),
    World(
        "own_scales",
        "the fit takes the units of its priors from the simulated losses, as a user's fit does; "
        "the truth is drawn with those of the real ones",
        shown=own_scales,
        needs_scores=True,
    ),
    World(
        "heavy_tails",
        "residuals of log density are Student-t with 3 degrees of freedom",
        truth=heavy_tails,
    ),
    World("no_family", "families have no effect", truth=no_family),
    World("strong_family", "families' effects are twice as large", truth=strong_family),
    World(
        "no_floor",
        "the loss law has no floor; the same loss at the ladder's centre",
        truth=no_floor,
        needs_scores=True,
    ),
    World(
        "other_law",
        "Kaplan's law with a floor; the same loss at the ladder's centre",
        shown=other_law,
        needs_scores=True,
    ),
    World(
        "asymmetric_map",
        "Richards' curve of asymmetry 1/4 from loss to score",
        shown=asymmetric_map,
        needs_scores=True,
    ),
    World(
        "contaminated",
        "one benchmark leaks: its logits gain 0 at the first release to 1 at the last",
        shown=contaminated,
        needs_scores=True,
    ),
    World(
        "wrong_reference_tokens",
        "sizes are those of reference LLMs of a fifth of D0 tokens (1T for 5T)",
        truth=wrong_reference_tokens,
        needs_scores=True,
    ),
    World(
        "not_at_random",
        "half of the scores below what their LLM's size leads one to expect are not reported",
        shown=not_at_random,
        needs_scores=True,
    ),
    World(
        "whole_percent",
        "LLMs' scores are rounded to whole percents",
        shown=whole_percent,
        needs_scores=True,
    ),
    World("dates_off", "release dates are off by a month (sd)", shown=dates_off),
    World(
        "records_only",
        "of all LLMs of the dataset only those denser than all before are published",
        truth=records_only,
        takes_all=True,
    ),
)
#: Worlds by name, the one in which the model is right first.
WORLDS: Final[Mapping[str, World]] = MappingProxyType({world.name: world for world in _ALL})


def world_named(name: str) -> World:
    """World of a name."""
    if name not in WORLDS:
        raise BayesdenseError(f"calibrate: no world {told(name)}{nearest_of(name, tuple(WORLDS))}")
    return WORLDS[name]
