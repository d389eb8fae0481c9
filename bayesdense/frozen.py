"""Forecasts that are written down before what they speak of, and scored after it."""

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from scipy import special

from bayesdense import derive
from bayesdense._version import __version__
from bayesdense.arrays import Floats
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.files import read_json, write_text_atomic
from bayesdense.laws import expit
from bayesdense.names import BENCHMARK, CHAIN, DRAW, FAMILY, LLM, SCHEMA_VERSION
from bayesdense.newcomers import (
    Cell,
    Newcomers,
    NewLLM,
    benchmarks_of,
    observe_newcomers,
    require_laws,
    with_families,
)
from bayesdense.observations import JointObservations, observe
from bayesdense.proper_scores import clustered_mean, crps
from bayesdense.results import Fit
from bayesdense.simulate.story import draw_log_density, score_moments
from bayesdense.spec import spec_from_dict
from bayesdense.summary import strict
from bayesdense.wording import json_text, printable, told

_KIND: Final = "bayesdense-forecast"
_DRAWS: Final = 400
#: New families and residuals for each draw that was frozen.
_REPLICATES: Final = 10
_STREAM: Final = 0xF0CB
_COVERAGES: Final = (0.5, 0.8, 0.95)
#: What a fit's constant data hold that predictions read; the rest is about its own LLMs.
_CONSTANTS: Final = (
    "n_params",
    "n_items",
    "log_params_centre",
    "log_tokens_centre",
    "reference_max_params",
    "reference_max_tokens",
    "score_benchmark_idx",
    "score_other_protocol",
)


@dataclass(frozen=True, slots=True, eq=False)
class FrozenForecast:
    """A forecast as it was written: thinned draws of all that predicts scores, and its date.

    Attributes
    ----------
    fit
        The draws as a fit, without what is not needed to predict.
    frozen_at
        When it was written, ISO, UTC.
    digest
        SHA-256 of its content.
    """

    fit: Fit
    frozen_at: str
    digest: str


def freeze_forecast(
    fit: Fit,
    path: str | Path,
    *,
    n_draws: int = _DRAWS,
    answer: Mapping[str, Any] | None = None,
) -> str:
    """Write a dated, hashed forecast of the scores of LLMs that are not yet there.

    It holds draws of laws, maps, noise, trend, families and residual, from which follows the
    predictive distribution of the scores of any LLM of given parameters, date and family
    (`score_forecast`): nothing has to be known of later LLMs when it is written.

    Parameters
    ----------
    fit
        A fit of a joint model.
    path
        A file that does not exist: a forecast is not replaced.
    n_draws
        Draws that are kept, at equal distances over all chains.
    answer
        What `forecast` said, to be kept beside them.

    Returns
    -------
    str
        The digest: whoever publishes it can prove later what the file said.

    Raises
    ------
    BayesdenseError
        The file is there already or cannot be written, or the fit knows no laws.
    """
    require_laws(fit, "forecast")
    target = Path(path)
    if target.exists():
        raise BayesdenseError(
            f"{target}: is there already, and no forecast is replaced; name another"
        )
    content: dict[str, object] = {
        "schema": SCHEMA_VERSION,
        "kind": _KIND,
        "frozen_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "bayesdense_version": __version__,
        "attributes": {str(key): value for key, value in strict(fit.tree.attrs).items()},
        "posterior": _thinned(fit, n_draws).to_dict(),
        "constant_data": _constants(fit).to_dict(),
        "answer": answer,
    }
    content = strict(content)
    digest = _digest(content)
    try:
        write_text_atomic(target, json_text({**content, "digest": digest}) + "\n")
    except OSError as err:
        raise BayesdenseError(f"{target}: cannot be written: {err.strerror or err}") from err
    return digest


def load_forecast(path: str | Path) -> FrozenForecast:
    """Read a frozen forecast.

    Parameters
    ----------
    path
        A file that `freeze_forecast` or ``bayesdense forecast --freeze`` wrote.

    Returns
    -------
    FrozenForecast
        The draws that predict scores, and when they were frozen.

    Raises
    ------
    BayesdenseError
        No such file, no forecast, of another schema, or altered since it was written.
    """
    where, content = printable(str(path)), read_json(path)
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise BayesdenseError(f"{where}: is no frozen forecast; write one with forecast --freeze")
    if content.get("schema") != SCHEMA_VERSION:
        raise BayesdenseError(
            f"{where}: schema {told(content.get('schema'))}, this version reads {SCHEMA_VERSION}"
        )
    digest = content.pop("digest", None)
    if digest != _digest(content):
        raise BayesdenseError(
            f"{where}: its content is not what its digest says: altered since it was frozen"
        )
    attributes = content["attributes"]
    tree = xr.DataTree.from_dict(
        {f"/{name}": xr.Dataset.from_dict(content[name]) for name in ("posterior", "constant_data")}
    )
    tree.attrs.update(attributes)
    spec = spec_from_dict(json.loads(attributes["spec"]), where="the forecast's specification")
    return FrozenForecast(Fit(tree, spec), str(content["frozen_at"]), str(digest))


def score_forecast(
    forecast: FrozenForecast | str | Path, dataset: Dataset, *, seed: int | None = None
) -> dict[str, Any]:
    """Score a frozen forecast by the LLMs that came after it.

    Outcomes are the observed scores of LLMs of the dataset that were released after the last
    release that the forecast had seen, given their parameters, dates and families. A family that
    the forecast knows has its draws, any other a new effect. Per score: log predictive density of
    its logit (nats, the mixture over draws), CRPS of the fraction, and whether the 50, 80 and 95 %
    intervals hold it. The scores of an LLM share its size; `log_score_joint` is of all of them.

    Parameters
    ----------
    forecast
        A frozen forecast, or its file.
    dataset
        With later LLMs; it may hold the earlier ones as well.
    seed
        Of new families and residuals; by default the fit's.

    Returns
    -------
    dict
        As `forecast_score.schema.json`: strict JSON; `scores` and `llms`, means by benchmark and in
        all, each with a standard error clustered by family (null for one family).

    Raises
    ------
    BayesdenseError
        Nothing in the dataset is later, or nothing of it is on the forecast's benchmarks.

    References
    ----------
    Gneiting and Raftery 2007 (scoring rules).
    """
    frozen = forecast if isinstance(forecast, FrozenForecast) else load_forecast(forecast)
    fit = frozen.fit
    newcomers = _later(fit, dataset)
    data, warnings = observe_newcomers(fit, newcomers)
    means, variances = _moments(fit, data, fit.seed if seed is None else seed)
    scores = data.scores
    families = [data.llms.families[k] for k in data.llms.family_idx]
    known = {str(name) for name in fit.posterior.get(FAMILY, xr.DataArray([])).values.tolist()}
    log_density = _normal_log_density(scores.logit_score, means, variances)
    rng = np.random.default_rng([fit.seed if seed is None else seed, _STREAM, 1])
    drawn = expit(means + np.sqrt(variances) * rng.normal(size=means.shape))
    distances = crps(drawn, scores.score)
    rows = [
        {
            "llm": data.llms.names[i],
            "release_date": data.llms.release_dates[i],
            "family": families[i],
            "family_is_known": families[i] in known,
            "benchmark": data.benchmarks.names[j],
            "score": scores.score[c],
            "median": float(np.median(drawn[:, c])),
            **{f"eti{100 * p:.0f}": np.quantile(drawn[:, c], tails(p)) for p in _COVERAGES},
            "log_score": _log_mean_exp(log_density[:, c]),
            "crps": distances[c],
        }
        for c, (i, j) in enumerate(zip(scores.llm_idx, scores.benchmark_idx, strict=True))
    ]
    found: dict[str, Any] = strict(
        {
            "schema": SCHEMA_VERSION,
            "digest": frozen.digest,
            "frozen_at": frozen.frozen_at,
            "forecast_of": {
                "dataset": fit.dataset_info["name"],
                "dataset_digest": fit.dataset_info["digest"],
                "last_release": derive.last_release(fit),
            },
            "dataset": {"name": dataset.name, "digest": dataset.digest},
            "n_llms": len(data.llms.names),
            "n_families": len(data.llms.families),
            "n_scores": len(rows),
            "n_released_before_freezing": sum(
                date < frozen.frozen_at[:10] for date in data.llms.release_dates
            ),
            "overall": _means(rows),
            "benchmarks": [
                {"benchmark": name, **_means([row for row in rows if row["benchmark"] == name])}
                for name in data.benchmarks.names
                if any(row["benchmark"] == name for row in rows)
            ],
            "llms": [
                {
                    "llm": name,
                    "family": families[i],
                    "log_score_joint": _log_mean_exp(
                        log_density[:, scores.first[i] : scores.first[i + 1]].sum(axis=1)
                    ),
                }
                for i, name in enumerate(data.llms.names)
            ],
            "scores": rows,
            "warnings": [*newcomers.warnings, *warnings],
        }
    )
    return found


def _thinned(fit: Fit, n_draws: int) -> xr.Dataset:
    """Draws at equal distances over all chains, as one chain, of what predicts scores."""
    if n_draws < 1:
        raise BayesdenseError(f"n_draws = {n_draws}, allowed: 1 or more")
    kept = [
        name
        for name, drawn in fit.posterior.data_vars.items()
        if not {LLM, "run"} & set(drawn.dims)
    ]
    every = fit.posterior[kept].stack(sample=(CHAIN, DRAW), create_index=False)
    size = every.sizes["sample"]
    rows = ((np.arange(min(n_draws, size)) + 0.5) * size / min(n_draws, size)).astype(int)
    chosen = every.isel(sample=rows).drop_vars([CHAIN, DRAW, LLM, "run"], errors="ignore")
    chosen = chosen.rename(sample=DRAW).expand_dims(CHAIN).transpose(CHAIN, DRAW, ...)
    names = [name for name in chosen.coords if name not in (BENCHMARK, FAMILY)]
    return chosen.drop_vars(names).assign_coords({CHAIN: [0], DRAW: np.arange(len(rows))})


def _constants(fit: Fit) -> xr.Dataset:
    """Constant data that predictions read; names and dates of the LLMs among them."""
    group = fit.group("constant_data")
    kept = group[[name for name in _CONSTANTS if name in group]]
    needed = (LLM, "release_date", BENCHMARK)
    return kept.drop_vars([name for name in kept.coords if name not in needed])


def _digest(content: Mapping[str, object]) -> str:
    """SHA-256 of canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _later(fit: Fit, dataset: Dataset) -> Newcomers:
    """LLMs of a dataset that the forecast has not seen, with their scores on its benchmarks."""
    observed = observe(fit.spec, dataset)
    last, data = derive.last_release(fit), observed.joint
    names = benchmarks_of(fit)
    cells = tuple(_cells(data, names))
    scored = {cell.llm for cell in cells}
    llms = tuple(
        _llm(data, i)
        for i, name in enumerate(data.llms.names)
        if data.llms.release_dates[i] > last and name in scored
    )
    if not llms:
        raise BayesdenseError(
            f"{dataset.name}: no LLM released after {last}, the last release that the forecast "
            f"had seen, with a score on its benchmarks ({', '.join(names)})"
        )
    kept = {llm.name for llm in llms}
    used = tuple(cell for cell in cells if cell.llm in kept)
    return Newcomers(llms, used, tuple(_convention_warning(fit, data)))


def _llm(data: JointObservations, i: int) -> NewLLM:
    """LLM of a dataset as a newcomer."""
    llms, count = data.llms, float(np.exp(data.llms.log_params[i]))
    return NewLLM(
        llms.names[i],
        dt.date.fromisoformat(llms.release_dates[i]),
        {llms.params_used: count, "total": count},
        llms.families[llms.family_idx[i]],
        is_base=True,
    )


def _cells(data: JointObservations, benchmarks: Sequence[str]) -> Iterator[Cell]:
    """Scores of a dataset on these benchmarks."""
    scores = data.scores
    for c, (i, j) in enumerate(zip(scores.llm_idx, scores.benchmark_idx, strict=True)):
        if data.benchmarks.names[j] in benchmarks:
            yield Cell(
                data.llms.names[i],
                data.benchmarks.names[j],
                float(scores.score[c]),
                float(scores.n_items[c]),
                float(scores.n_reports[c]),
                float(scores.other_protocol[c]),
            )


def _convention_warning(fit: Fit, data: JointObservations) -> Iterator[str]:
    """Say where the two count parameters differently."""
    ours, theirs = derive.params_convention(fit), data.llms.params_used
    if ours != theirs:
        yield f"The forecast counts {ours} parameters, the dataset {theirs}."


def _moments(fit: Fit, data: JointObservations, seed: int) -> tuple[Floats, Floats]:
    """Mean and variance of the logit of every score, (draws x replicates, scores)."""
    posterior = fit.posterior
    again = np.repeat(np.arange(posterior.sizes[DRAW]), _REPLICATES)
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(
        posterior.isel({DRAW: again}).assign_coords({DRAW: np.arange(len(again))})
    )
    theta, _ = with_families(Fit(tree, fit.spec), data, given_scores=False, seed=seed)
    theta = theta.transpose(CHAIN, DRAW, ...).drop_vars([str(name) for name in theta.coords])
    rng = np.random.default_rng([seed, _STREAM])
    drawn = draw_log_density(theta, fit.spec, data.llms, rng, new_families=False)
    sizes = drawn + xr.DataArray(data.llms.log_params, dims=LLM)
    mean, var, _ = score_moments(theta, fit.spec, data, sizes)
    last = mean.dims[-1]
    return tuple(  # type: ignore[return-value]
        values.transpose(CHAIN, DRAW, last).to_numpy().reshape(-1, values.sizes[last])
        for values in (mean, var)
    )


def _normal_log_density(y: Floats, mean: Floats, var: Floats) -> Floats:
    """Log density of Normal(mean, var) at y."""
    return np.asarray(-0.5 * ((y - mean) ** 2 / var + np.log(2 * math.pi * var)))


def _log_mean_exp(log_values: Floats) -> float:
    """Log of the mean of exponentials."""
    return float(special.logsumexp(log_values)) - math.log(len(log_values))


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Mean scores with errors clustered by family, and coverage."""
    families = [str(row["family"]) for row in rows]
    covered = {
        f"coverage{100 * p:.0f}": float(
            np.mean([_within(row[f"eti{100 * p:.0f}"], row["score"]) for row in rows])
        )
        for p in _COVERAGES
    }
    return {
        "n_scores": len(rows),
        "n_families": len(set(families)),
        **{
            name: {"mean": found.mean, "se": found.se}
            for name in ("log_score", "crps")
            for found in [clustered_mean(np.array([row[name] for row in rows]), families)]
        },
        **covered,
    }


def _within(interval: Sequence[float], value: float) -> bool:
    """Whether an interval holds a value."""
    return bool(interval[0] <= value <= interval[1])
