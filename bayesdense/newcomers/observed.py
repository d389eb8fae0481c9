"""New LLMs as a fit observes its own: counts, times, logits, protocols, families."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import xarray as xr

from bayesdense import derive, sizes
from bayesdense.arrays import Floats
from bayesdense.errors import BayesdenseError, SpecError
from bayesdense.items import logit_of_score
from bayesdense.names import BENCHMARK, CHAIN, DAYS_PER_YEAR, DRAW, FAMILY, TREND_DIMS
from bayesdense.newcomers.tables import Newcomers, NewLLM
from bayesdense.observations import (
    Benchmarks,
    CalibrationData,
    JointObservations,
    LLMData,
    LossData,
    ReportData,
    ScoreData,
    trend_on,
)
from bayesdense.prior_draws import lengthened
from bayesdense.results import Fit
from bayesdense.trends import trend_named
from bayesdense.wording import listing, printable, slip_of

#: Keeps the effects of new families apart from other uses of a fit's seed.
_STREAM: Final = 0x5C0E


def require_laws(fit: Fit, verb: str) -> None:
    """Refuse a fit of published densities, which knows neither law nor map."""
    if "param_coef" not in fit.posterior:
        raise BayesdenseError(
            f"{verb}: this fit has no loss law (it was made from published densities); "
            "fit a dataset with reference runs"
        )


def benchmarks_of(fit: Fit) -> tuple[str, ...]:
    """Names of the benchmarks that a fit has a law and a map for."""
    return tuple(str(name) for name in fit.posterior["param_coef"][BENCHMARK].values)


def shared_parameters(fit: Fit) -> xr.Dataset:
    """Draws of the parameters that are of no LLM, family or run."""
    kept = [
        name
        for name, drawn in fit.posterior.data_vars.items()
        if set(drawn.dims) <= {CHAIN, DRAW, BENCHMARK, *TREND_DIMS}
    ]
    return fit.posterior[kept]


def require_trend(fit: Fit, llms: LLMData) -> None:
    """Refuse LLMs of which the fit's trend says nothing.

    Raises
    ------
    SpecError
        The trend asks for a group, or a covariate, that is not known of them, or it may have become
        infinite by their dates.
    """
    trend = trend_named(fit.spec.trend)
    if trend.group_by is not None and llms.group_idx is None:
        raise SpecError(
            f"trend {trend.kind}: the group of a new LLM is not known here; allowed a fit of "
            "another trend, such as exponential"
        )
    if trend.covariate is not None and llms.covariate is None:
        raise SpecError(
            f"trend {trend.kind}: {trend.covariate} of a new LLM is not known here; allowed a fit "
            "of another trend, such as exponential, or of covariate@log_params"
        )
    last = max(llms.release_dates)
    chance = derive.p_singular(fit, last)
    if chance is not None and chance.value > 0.0:
        raise SpecError(
            f"trend {trend.kind}: density is infinite by {last} with probability {chance}; allowed "
            "LLMs of earlier dates, or a fit of another trend, such as exponential"
        )


def observe_newcomers(fit: Fit, newcomers: Newcomers) -> tuple[JointObservations, tuple[str, ...]]:
    """Observe new LLMs as the fit observed its own: counts, times, logits, protocols.

    Parameters with the fit's convention divide; where an LLM lacks non-embedding parameters its
    total is taken and a warning says so. Times count from the fit's origin, and the trend keeps the
    fit's window; what it asks beside dates (`require_trend`) stays open where nobody knows it. A
    score on few items is treated as in the fit. Scores are taken for one report each, made under
    the protocol of the fit's own LLMs on that benchmark (of most of them, where they differ).

    Raises
    ------
    SpecError
        `params = active` and an LLM without active parameters.
    BayesdenseError
        The fit was made by a version that did not keep the protocols, and has an offset for them.
    """
    llms, warnings = _llm_data(fit, newcomers.llms)
    benchmarks = _benchmarks(fit)
    scores = _scores(newcomers, llms, benchmarks, _other_protocol(fit, len(benchmarks.names)))
    reports = _no_reports() if "discrepancy_sd" in fit.posterior else None
    observed = JointObservations(llms, benchmarks, _no_losses(fit), _no_points(), reports, scores)
    return observed, (*warnings, *_family_warnings(fit, newcomers.llms))


def with_families(
    fit: Fit, data: JointObservations, *, given_scores: bool, seed: int
) -> tuple[xr.Dataset, tuple[bool, ...]]:
    """Parameters of a fit for new LLMs: its draws, with an effect for each of their families.

    A family that the fit knows keeps its draws. A new one is drawn given the scores of its LLMs,
    or, without `given_scores`, from Normal(0, family_sd): what can be said before they are seen.

    Returns
    -------
    tuple
        Posterior with dims chain, draw, benchmark and family; and of each family of `data` whether
        the fit knows it (no family is known where the model has no families).
    """
    trend = trend_on(fit.spec, data.llms)
    posterior = lengthened(shared_parameters(fit), fit.spec, trend, fit.seed)
    families = data.llms.families
    if fit.spec.component("family").kind == "none":
        return posterior, (False,) * len(families)
    effects = fit.posterior["family_effect"]
    known = {str(name) for name in effects[FAMILY].values}
    new = [name for name in families if name not in known]
    drawn = effects.sel({FAMILY: [name for name in families if name in known]})
    if new:
        entropy = [seed, _STREAM]
        if given_scores:
            state = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
            fresh = sizes.draw_family_effects(posterior, fit.spec, data, new, seed=state)
        else:
            fresh = _prior_effects(posterior["family_sd"], new, np.random.default_rng(entropy))
        fresh = fresh.assign_coords({dim: posterior[dim] for dim in (CHAIN, DRAW)})
        drawn = xr.concat([drawn, fresh], dim=FAMILY, join="exact", coords="minimal")
    ordered = drawn.sel({FAMILY: list(families)}).transpose(CHAIN, DRAW, FAMILY)
    return posterior.assign(family_effect=ordered), tuple(name in known for name in families)


def _prior_effects(
    family_sd: xr.DataArray, names: Sequence[str], rng: np.random.Generator
) -> xr.DataArray:
    """Draw effects of families of which nothing is known."""
    shape = (*family_sd.transpose(CHAIN, DRAW).shape, len(names))
    standard = xr.DataArray(
        rng.normal(size=shape), dims=(CHAIN, DRAW, FAMILY), coords={FAMILY: list(names)}
    )
    return family_sd.drop_vars((CHAIN, DRAW), errors="ignore") * standard


def _llm_data(fit: Fit, llms: Sequence[NewLLM]) -> tuple[LLMData, tuple[str, ...]]:
    """LLMs with families, times and the count that divides."""
    convention = derive.params_convention(fit)
    warnings: tuple[str, ...] = ()
    lacking = [llm.name for llm in llms if convention not in llm.counts]
    if lacking and convention == "active":
        raise SpecError(
            f"the fit divides by active parameters: n_params_active is blank for {listing(lacking)}"
        )
    if lacking:
        warnings = (
            f"The fit divides by non-embedding parameters: {listing(lacking)} without "
            "n_params_non_embedding divided by the total, which lowers the density.",
        )
    counts = [llm.counts.get(convention, llm.counts["total"]) for llm in llms]
    taken = _known_families(fit) | {llm.family for llm in llms if llm.family}
    own = [llm.family or _own_family(llm.name, taken) for llm in llms]
    families = tuple(dict.fromkeys(own))
    origin = dt.date.fromisoformat(fit.time_origin)
    days = np.array([(llm.release_date - origin).days for llm in llms], dtype=float)
    years = days / DAYS_PER_YEAR
    log_params = np.log(np.array(counts))
    covariate, covariate_mean = _covariate(fit, log_params)
    data = LLMData(
        names=tuple(llm.name for llm in llms),
        families=families,
        family_idx=np.array([families.index(name) for name in own], dtype=np.int64),
        release_dates=tuple(llm.release_date.isoformat() for llm in llms),
        years=years,
        time_origin=fit.time_origin,
        log_params=log_params,
        params_used=convention,
        covariate=covariate,
        covariate_mean=covariate_mean,
        window=derive.trend_window(fit, float(years.max(initial=-np.inf))),
    )
    return data, warnings


def _covariate(fit: Fit, log_params: Floats) -> tuple[Floats | None, float]:
    """Covariate of new LLMs about the mean over the fit's; None where it is not known."""
    if trend_named(fit.spec.trend).covariate != "log_params":
        return None, 0.0
    mean = float(np.log(fit.variable("constant_data", "n_params").to_numpy()).mean())
    return log_params - mean, mean


def _known_families(fit: Fit) -> set[str]:
    """Names of the fit's families."""
    if "family_effect" not in fit.posterior:
        return set()
    return {str(name) for name in fit.posterior["family_effect"][FAMILY].values}


def _own_family(name: str, taken: set[str]) -> str:
    """Family of an LLM that names none: its own, under a name that no family has."""
    return name if name not in taken else f"{name} (alone)"


def _family_warnings(fit: Fit, llms: Sequence[NewLLM]) -> Iterator[str]:
    """Families that may be misspelt, LLMs that the fit has, LLMs that its trend is not about."""
    known = _known_families(fit)
    for family in sorted({llm.family for llm in llms if llm.family} - known):
        meant = slip_of(family, known)
        if meant:
            yield f"Family {printable(family)!r} is new to the fit; did you mean {meant!r}?"
    present = {str(name) for name in derive.release_dates(fit)["llm"].values}
    if again := [llm.name for llm in llms if llm.name in present]:
        yield f"The fit has learnt from {listing(again)} already: its scores count twice here."
    chat = [llm.name for llm in llms if not llm.is_base]
    if chat and fit.spec.options.base_only:
        yield f"The trend is of base LLMs; {listing(chat)} is not one (is_base)."


def _benchmarks(fit: Fit) -> Benchmarks:
    """Benchmarks of a fit; what only priors read is not known."""
    names = benchmarks_of(fit)
    unknown = np.full(len(names), np.nan)
    n_items = fit.variable("constant_data", "n_items").to_numpy()
    return Benchmarks(names, n_items, unknown, unknown, ("",) * len(names))


def _no_losses(fit: Fit) -> LossData:
    """No reference runs, about the fit's centre."""
    numbers, indices = np.empty(0), np.empty(0, dtype=np.int64)
    return LossData(
        runs=(),
        benchmark_idx=indices,
        run_idx=indices,
        cluster_idx=indices,
        n_clusters=0,
        log_params_ratio=numbers,
        log_tokens_ratio=numbers,
        log_loss=numbers,
        known_var=numbers,
        log_params_centre=float(fit.variable("constant_data", "log_params_centre")),
        log_tokens_centre=float(fit.variable("constant_data", "log_tokens_centre")),
        max_params=derive.largest_reference(fit),
        max_tokens=float(fit.group("constant_data").get("reference_max_tokens", np.nan)),
        clustered=False,
    )


def _no_points() -> CalibrationData:
    """No calibration points."""
    numbers = np.empty(0)
    indices = np.empty(0, dtype=np.int64)
    return CalibrationData(indices, numbers, numbers, numbers, numbers, np.empty(0, dtype=bool))


def _no_reports() -> ReportData:
    """No replicated reports, but a model that tells protocol noise from discrepancy."""
    return ReportData(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))


def _other_protocol(fit: Fit, n_benchmarks: int) -> Floats:
    """1 for benchmarks on which the fit's LLMs were scored under another protocol than the map."""
    out = np.zeros(n_benchmarks)
    if "protocol_offset" not in fit.posterior:
        return out
    group = fit.group("constant_data")
    if "score_other_protocol" not in group:
        raise BayesdenseError(
            "this fit has protocol offsets but does not say of which scores (an earlier version "
            "made it); fit again with --force"
        )
    of_cell = group["score_benchmark_idx"].to_numpy()
    other = group["score_other_protocol"].to_numpy()
    for j in np.unique(of_cell):
        out[j] = float(other[of_cell == j].mean() > 0.5)
    return out


def _scores(
    newcomers: Newcomers, llms: LLMData, benchmarks: Benchmarks, other_protocol: Floats
) -> ScoreData:
    """Scores sorted by LLM and benchmark."""
    place = {name: i for i, name in enumerate(llms.names)}
    number = {name: j for j, name in enumerate(benchmarks.names)}
    cells = sorted(newcomers.cells, key=lambda cell: (place[cell.llm], number[cell.benchmark]))
    llm_idx = np.array([place[cell.llm] for cell in cells], dtype=np.int64)
    benchmark_idx = np.array([number[cell.benchmark] for cell in cells], dtype=np.int64)
    score = np.array([cell.score for cell in cells], dtype=float)
    n_items = _or_else([cell.n_items for cell in cells], benchmarks.n_items[benchmark_idx])
    counts = np.bincount(llm_idx, minlength=len(llms.names))
    return ScoreData(
        llm_idx=llm_idx,
        benchmark_idx=benchmark_idx,
        score=score,
        logit_score=logit_of_score(score, n_items),
        n_items=n_items,
        n_reports=np.array([cell.n_reports for cell in cells], dtype=float),
        other_protocol=_or_else(
            [cell.other_protocol for cell in cells], other_protocol[benchmark_idx]
        ),
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def _or_else(values: Sequence[float | None], default: Floats) -> Floats:
    """Return the values, and defaults where there are none."""
    given = np.array([np.nan if value is None else value for value in values], dtype=float)
    return np.where(np.isnan(given), default, given)
