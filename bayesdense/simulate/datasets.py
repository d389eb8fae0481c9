"""Whole datasets with known truth, in the shape of a dataset that is there."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from bayesdense.arrays import Floats
from bayesdense.dataset import Dataset, load_dataset
from bayesdense.errors import BayesdenseError
from bayesdense.laws import chinchilla_loss
from bayesdense.names import (
    CHAIN,
    DRAW,
    LAW_PARAMETERS,
    LOSS_OBS,
    MAP_PARAMETERS,
    POINT_OBS,
    SCORE_OBS,
)
from bayesdense.observations import CalibrationData, JointObservations, Observations, observe
from bayesdense.prior_draws import draw_priors
from bayesdense.score_maps import logistic_logit_score
from bayesdense.simulate.folder import Tables, write_dataset
from bayesdense.simulate.reports import simulate_reports
from bayesdense.simulate.story import HELDOUT_OBS, replicate
from bayesdense.simulate.truth import Truth
from bayesdense.spec import ModelSpec, load_spec

_MAX_DRAWS = 2000
#: A loss this factor away from the copied benchmark's is absurd.
_ABSURD_LOSS = 20.0
#: On at least half of the benchmarks: least range of calibration scores, highest rank correlation
#: of them with the losses, least sd of LLMs' scores.
_LEAST_RANGE = 0.1
_HIGHEST_CORRELATION = -0.5
_LEAST_SD = 0.03
#: The best calibration LLM, in sizes and tokens of the largest reference run.
_BEST_PARAMS, _BEST_TOKENS = 12.0, 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A simulated dataset with its truth."""

    dataset: Dataset
    truth: Truth


def simulate_dataset(
    spec: ModelSpec | None = None,
    *,
    like: str | Path | Dataset = "densing",
    seed: int = 1,
    truth: Mapping[str, ArrayLike] | None = None,
    name: str = "synthetic",
    n_above_ceiling: int = 0,
    anonymous: bool = False,
    digits: int | None = None,
) -> Simulated:
    """Draw a truth from the model's priors and a dataset from the truth.

    The dataset has the shape of `like`: its runs, sizes and tokens, its LLMs with their sizes,
    dates and families, and a score exactly where it has one. Simulated are losses, scores of
    calibration points, scores of LLMs and the reports behind them. Only LLMs that the model reads
    are kept (base LLMs).

    The losses of the calibration points are given in the model, not drawn. Each keeps its place
    on the log scale between three losses of its benchmark: that of the worst and that of the best
    reference run, and that of the best point. The best point's new place is the new law's loss at
    12 times the parameters and 100 times the tokens of the largest run (for `densing` 10 B and
    5 T), so that every point lies where the new law can reach.

    A draw is rejected for what its data look like, never for its parameters, so that the truths
    of many simulations are draws of the prior given usable data: a loss more than a factor 20
    from `like`'s; or, on more than half of the benchmarks, calibration scores that span less than
    .1 or do not fall with the loss (rank correlation above -.5), or LLMs' scores with an sd below
    .03.

    Parameters
    ----------
    spec
        The model, by default `joint`.
    like
        Dataset (name, path or loaded) with scores.
    seed
        Seed of everything that is drawn.
    truth
        Values that are not drawn, by variable (see `draw_priors`).
    name
        Name of the dataset.
    n_above_ceiling
        Reject also draws in which fewer LLMs than this have more than half of their scores above
        what endless size reaches at the reference tokens. This looks at the truth: not for
        studies of calibration.
    anonymous
        Whether LLMs and families are numbered rather than named.
    digits
        Significant digits of simulated losses and scores; None keeps all.

    Returns
    -------
    Simulated
        The dataset, as `load_dataset` reads it, and its truth.

    Raises
    ------
    SpecError
        Model and dataset do not fit each other, or `truth` and the model.
    BayesdenseError
        No usable data in 2000 draws.
    """
    spec = spec or load_spec("joint")
    source = like if isinstance(like, Dataset) else load_dataset(like)
    used = source.base_only() if spec.options.base_only else source
    used = _without_names(used) if anonymous else used
    data = observe(spec, used).joint
    rng = np.random.default_rng(seed)
    found = _first_usable(spec, data, rng, truth or {}, n_above_ceiling)
    tables = _tables(spec, used, found, rng, digits, seed)
    known = Truth(
        parameters=found.parameters,
        seed=seed,
        model=spec.name,
        spec_digest=spec.digest,
        like=source.name,
        like_digest=source.digest,
        reference_tokens=float(spec.options.reference_tokens),
        time_origin=data.llms.time_origin,
        n_rejected=found.n_rejected,
        n_above_ceiling=found.n_above_ceiling,
    )
    return Simulated(_checked(tables, name), known)


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """One truth, and data drawn from it."""

    parameters: xr.Dataset
    data: JointObservations  # with the calibration losses of this truth
    drawn: xr.Dataset
    n_rejected: int
    n_above_ceiling: int


def _first_usable(
    spec: ModelSpec,
    data: JointObservations,
    rng: np.random.Generator,
    truth: Mapping[str, ArrayLike],
    least_above: int,
) -> _Draw:
    """Draw until the data look like some that one would analyse."""
    for n_rejected in range(_MAX_DRAWS):
        parameters = draw_priors(spec, data, rng, 1, fixed=truth)
        parameters = parameters.isel({CHAIN: 0, DRAW: 0}, drop=True)
        placed = replace(data, calibration=_placed_points(parameters, data))
        drawn = replicate(parameters, spec, placed, rng, new_sizes=False, new_families=False)
        above = count_above_ceiling(parameters, spec, data, drawn["logit_score"].to_numpy())
        if above >= least_above and _is_usable(drawn, placed):
            return _Draw(parameters, placed, drawn, n_rejected, above)
    raise BayesdenseError(
        f"simulate: no usable data in {_MAX_DRAWS} draws of the priors; loosen the truth that was "
        "given, or narrow the priors"
    )


def _law(parameters: xr.Dataset, j: int) -> tuple[float, ...]:
    """Loss law of one benchmark."""
    return tuple(float(parameters[n][j]) if n in parameters else 0.0 for n in LAW_PARAMETERS)


def _placed_points(parameters: xr.Dataset, data: JointObservations) -> CalibrationData:
    """Calibration points with losses in places of the new law that match their old ones."""
    losses, points = data.losses, data.calibration
    new = points.loss.copy()
    for j in range(len(data.benchmarks.names)):
        mine, runs = points.benchmark_idx == j, losses.benchmark_idx == j
        if not mine.any():
            continue
        law = _law(parameters, j)
        at_runs = np.log(
            chinchilla_loss(losses.log_params_ratio[runs], losses.log_tokens_ratio[runs], *law)
        )
        best = np.log(
            chinchilla_loss(
                np.log(_BEST_PARAMS * losses.max_params) - losses.log_params_centre,
                np.log(_BEST_TOKENS * losses.max_tokens) - losses.log_tokens_centre,
                *law,
            )
        )
        old_runs, old = losses.log_loss[runs], np.log(points.loss[mine])
        knots = np.array([old.min(), old_runs.min(), old_runs.max()])
        images = np.array([best, at_runs.min(), at_runs.max()])
        first = int(knots[0] > knots[1] - 0.05)  # 1 where no point is better than the runs
        new[mine] = np.exp(np.interp(old, knots[first:], images[first:]))
    return replace(points, loss=new)


def _is_usable(drawn: xr.Dataset, data: JointObservations) -> bool:
    """Whether losses are near the copied ones, and scores tell something on half the benchmarks."""
    centre = np.log(data.benchmarks.loss_centre)[data.losses.benchmark_idx]
    if np.abs(drawn["log_loss"].to_numpy() - centre).max() > np.log(_ABSURD_LOSS):
        return False
    points = pd.DataFrame(
        {"loss": data.calibration.loss, "score": _all_points(drawn, data, "loss_score")}
    ).groupby(data.calibration.benchmark_idx)
    spread = points["score"].max() - points["score"].min()
    ranks = points.rank().groupby(data.calibration.benchmark_idx)
    falls = ranks.apply(lambda rank: rank["score"].corr(rank["loss"])) <= _HIGHEST_CORRELATION
    scores = pd.Series(drawn["score"].to_numpy()).groupby(data.scores.benchmark_idx)
    varies = scores.std(ddof=0) >= _LEAST_SD
    return bool((falls & (spread >= _LEAST_RANGE)).mean() >= 0.5 and varies.mean() >= 0.5)


def looks_usable(data: JointObservations) -> bool:
    """Whether observations look like some that one would analyse, as those of `simulate_dataset`.

    Parameters
    ----------
    data
        Replicated observations: `benchmarks` holds the centres of the losses that were copied.
    """
    points = data.calibration
    shown = {
        "log_loss": (LOSS_OBS, data.losses.log_loss),
        "loss_score": (POINT_OBS, points.score[points.is_fit]),
        "heldout_loss_score": (HELDOUT_OBS, points.score[~points.is_fit]),
        "score": (SCORE_OBS, data.scores.score),
    }
    return _is_usable(xr.Dataset(shown), data)


def _all_points(drawn: xr.Dataset, data: JointObservations, name: str) -> Floats:
    """Scores of all calibration points, those held out of the fit in their places."""
    is_fit = data.calibration.is_fit
    out = np.empty(len(is_fit))
    out[is_fit] = drawn[name].transpose(POINT_OBS)
    if not is_fit.all():
        held_out = name.replace("loss_score", "heldout_loss_score")
        out[~is_fit] = drawn[held_out].transpose(HELDOUT_OBS)
    return out


def count_above_ceiling(
    parameters: xr.Dataset, spec: ModelSpec, data: JointObservations, logit_score: Floats
) -> int:
    """Count LLMs of whose scores more than half lie above what endless size reaches.

    Parameters
    ----------
    parameters
        One truth, without sample dims.
    spec, data
        The model (its reference tokens) and the cells.
    logit_score
        (n_scores,): logits of the scores.
    """
    log_tokens = np.log(spec.options.reference_tokens) - data.losses.log_tokens_centre
    reach = [
        logistic_logit_score(
            chinchilla_loss(np.inf, log_tokens, *_law(parameters, j)),
            *(float(parameters[name][j]) for name in MAP_PARAMETERS),
        )
        for j in range(len(data.benchmarks.names))
    ]
    above = logit_score > np.array(reach)[data.scores.benchmark_idx]
    share = np.bincount(data.scores.llm_idx, above) / np.bincount(data.scores.llm_idx)
    return int((share > 0.5).sum())


def replicated_observations(data: JointObservations, drawn: xr.Dataset) -> JointObservations:
    """Put one draw of `replicate` in the place of what was observed.

    Data scales of priors, centres, cells and calibration losses stay, so that a model built from
    the result has exactly the priors of `data`: what studies of calibration need, many times over
    and without a folder.

    Parameters
    ----------
    data
        The observations that were replicated.
    drawn
        One draw, without sample dims.
    """
    points, scores = data.calibration, data.scores
    reports = data.reports
    if reports is not None:
        reports = replace(reports, sum_of_squares=drawn["score_reports"].to_numpy())
    return replace(
        data,
        losses=replace(data.losses, log_loss=drawn["log_loss"].to_numpy()),
        calibration=replace(
            points,
            logit_score=_all_points(drawn, data, "logit_loss_score"),
            score=_all_points(drawn, data, "loss_score"),
        ),
        reports=reports,
        scores=replace(
            scores,
            logit_score=drawn["logit_score"].to_numpy(),
            score=drawn["score"].to_numpy(),
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Replicate:
    """A truth, and the observations that the model itself makes of it."""

    parameters: xr.Dataset
    observations: Observations
    n_rejected: int
    n_above_ceiling: int


def simulate_observations(
    spec: ModelSpec,
    data: Observations,
    *,
    seed: int,
    truth: Mapping[str, ArrayLike] | None = None,
) -> Replicate:
    """Draw a truth from the priors and everything that is observed from the truth.

    For studies of calibration, which ask whether the model recovers what it itself has made: in
    contrast to `simulate_dataset`, calibration losses stay those of `data`, priors keep its
    scales, and logits are as the model draws them. Draws are rejected as there, for what the data
    look like alone.
    """
    rng = np.random.default_rng(seed)
    joint = data.joint
    for n_rejected in range(_MAX_DRAWS):
        parameters = draw_priors(spec, data, rng, 1, fixed=truth or {})
        parameters = parameters.isel({CHAIN: 0, DRAW: 0}, drop=True)
        drawn = replicate(parameters, spec, joint, rng, new_sizes=False, new_families=False)
        if _is_usable(drawn, joint):
            made = replicated_observations(joint, drawn)
            above = count_above_ceiling(parameters, spec, joint, made.scores.logit_score)
            observations = replace(
                data,
                losses=made.losses,
                calibration=made.calibration,
                reports=made.reports,
                scores=made.scores,
            )
            return Replicate(parameters, observations, n_rejected, above)
    raise BayesdenseError(f"simulate: no usable data in {_MAX_DRAWS} draws of the priors")


def _without_names(dataset: Dataset) -> Dataset:
    """Replace the names of LLMs and families by numbers, in the order of the table."""
    if dataset.llms is None:
        return dataset
    llms = _numbered(dataset.llms["llm"], "LLM")
    families = _numbered(dataset.llms["family"], "family")
    shown = dataset.llms.drop(columns=["maker", "derived_from"], errors="ignore")
    shown = shown.assign(llm=shown["llm"].map(llms), family=shown["family"].map(families))
    scores, reports = (
        None if table is None else table.assign(llm=table["llm"].map(llms))
        for table in (dataset.scores, dataset.score_reports)
    )
    return replace(dataset, llms=shown, scores=scores, score_reports=reports)


def _numbered(names: "pd.Series[str]", word: str) -> dict[str, str]:
    distinct = list(dict.fromkeys(names))
    width = len(str(len(distinct)))
    return {name: f"{word}-{k:0{width}}" for k, name in enumerate(distinct, start=1)}


def _tables(
    spec: ModelSpec,
    used: Dataset,
    found: _Draw,
    rng: np.random.Generator,
    digits: int | None,
    seed: int,
) -> Tables:
    """Tables of the copied dataset with simulated values in the place of its own."""
    data, drawn = found.data, found.drawn
    benchmarks, runs, points, llms = (
        pd.DataFrame() if table is None else table.copy()
        for table in (used.benchmarks, used.runs, used.loss_scores, used.llms)
    )
    names = set(data.benchmarks.names)
    loss = drawn["loss"].to_numpy()
    if "loss_sd" in runs:
        runs["loss_sd"] = _rounded(runs["loss_sd"] * loss / runs["loss"], digits)
    runs["loss"] = _rounded(loss, digits)
    points = points[points["benchmark"].isin(names)].reset_index(drop=True)
    points["loss"] = _rounded(data.calibration.loss, digits)
    points["score"] = _rounded(_all_points(drawn, data, "loss_score"), digits)
    frames = {
        "benchmarks": benchmarks[benchmarks["benchmark"].isin(names)],
        "runs": runs,
        "loss_scores": points,
        "llms": llms,
        "scores": _score_table(used, data, _rounded(drawn["score"].to_numpy(), digits)),
    }
    if used.score_reports is not None and data.reports is not None:
        logit_score = drawn["logit_score"].to_numpy()
        reports = simulate_reports(
            used.score_reports, found.parameters, spec, data, logit_score, rng
        )
        frames["score_reports"] = reports.assign(score=_rounded(reports["score"], digits))
    return Tables(_card(spec, used, seed), frames)


def _score_table(used: Dataset, data: JointObservations, score: Floats) -> pd.DataFrame:
    """Make the table of simulated scores, with the items and protocols of the copied ones."""
    cells = pd.DataFrame(
        {
            "llm": [data.llms.names[i] for i in data.scores.llm_idx],
            "benchmark": [data.benchmarks.names[j] for j in data.scores.benchmark_idx],
            "score": score,
        }
    )
    own = pd.DataFrame() if used.scores is None else used.scores
    kept = [name for name in ("llm", "benchmark", "n_items", "protocol") if name in own]
    return cells.merge(own[kept], on=["llm", "benchmark"], how="left", validate="1:1")


def _rounded(values: ArrayLike, digits: int | None) -> Floats:
    """Values to so many significant digits."""
    numbers = np.asarray(values, dtype=float)
    if digits is None:
        return numbers
    return np.array([float(f"{number:.{digits}g}") for number in numbers])


def _card(spec: ModelSpec, used: Dataset, seed: int) -> dict[str, object]:
    """Card of a simulated dataset."""
    card: dict[str, object] = {
        "title": f"Simulated: one draw of the model {spec.name}, in the shape of {used.name}",
        "description": "Every loss and score is drawn from the model; truth.toml holds what from.",
        "source": f"bayesdense simulate, seed {seed}; sizes, tokens, dates: dataset {used.name}",
        "known_problems": ["Simulated: no loss and no score here was ever observed."],
    }
    if "reference_params" in used.card:
        card["reference_params"] = used.card["reference_params"]
    return card


def _checked(tables: Tables, name: str) -> Dataset:
    """Read the tables as a dataset by way of a folder: validated, normalised, digested."""
    with tempfile.TemporaryDirectory() as scratch:
        return load_dataset(write_dataset(tables, Path(scratch) / name))
