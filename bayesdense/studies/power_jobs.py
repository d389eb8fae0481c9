"""Jobs of the study `power`: made-up datasets in closed form, placebo breaks, and full fits."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bayesdense.arrays import Floats
from bayesdense.comparison.pointwise import clustered_error, difference, leave_one_out
from bayesdense.comparison.verdict import is_clear
from bayesdense.growth_breaks import CLAIM
from bayesdense.inference import counts_of, fit_observations
from bayesdense.jobs import Job, job_function
from bayesdense.jobs.seeds import seeds_of
from bayesdense.spec import ModelSpec, spec_from_dict
from bayesdense.studies.normal_trends import Densities, Found, Sds, examine, sds_about
from bayesdense.studies.readings import densities_of, from_json, sds_from, sds_of, world
from bayesdense.studies.refits import observed_by
from bayesdense.trends import TrendOn, form_of, trend_named

EXPONENTIAL: Final = "exponential"
#: Parameter of each rival that says whether growth changes.
CHANGES: Final = {
    "break_known": "growth_change",
    "break_free": "growth_change",
    "quadratic": "growth_slope",
}
#: P(change > 0) outside of these is the claim of a change.
CLAIMED: Final = (CLAIM, 1.0 - CLAIM)


def change_of(trend: str) -> str:
    """Name of the parameter that says whether growth changes."""
    return CHANGES[form_of(trend)]


def share_before(densities: Densities, trend: str) -> float:
    """Share of the window that lies before a known break."""
    data = densities.trend_data
    date = data.year_of(trend.partition("@")[2])
    return (date - data.first) / (data.last - data.first)


def world_trend(densities: Densities, trend: str, growth: float, change: float) -> dict[str, float]:
    """Growth parameters of a world whose average growth over the window is `growth`.

    `change` is growth at the end of the window less growth at its start, 1/year.
    """
    data = densities.trend_data
    if form_of(trend) == "quadratic":
        slope = change / (data.last - data.first)
        middle = 0.5 * (data.first + data.last)
        return {"growth_rate": growth - slope * middle, "growth_slope": slope}
    # growth_rate is the mean of both rates, the average over the window weighs them by time
    mean = growth - change * (0.5 - share_before(densities, trend))
    return {"growth_rate": mean, "growth_change": change}


@job_function
def simulated(job: Job) -> dict[str, object]:
    """Datasets without and with a change, examined under the rival and the exponential trend.

    The same families, residuals and errors at every size of change, so that they differ in that
    alone.
    """
    params = job.params
    spec = spec_from_dict(job.spec, where="the job's specification")
    densities, sds = from_json(params["densities"]), sds_from(spec, params["draws"])
    rng = np.random.default_rng(seeds_of(job))
    n, changes = params["n"], params["changes"]
    noise, growth = _noise(densities, params["draws"], n, rng)
    made = [
        noise
        + np.stack([_eta(densities, params["world"], float(g), change) for g in growth], axis=1)
        for change in changes
    ]
    found = told(spec, params["trend"], densities, np.concatenate(made, axis=1), sds,
                 params["n_before"])  # fmt: skip
    return {
        name: [[_short(value) for value in row] for row in values.reshape(len(changes), n)]
        for name, values in found.items()
    }


def _noise(
    densities: Densities, draws: dict[str, Any], n: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Families, residuals and errors of datasets, (LLMs, n); growth of each, (n,)."""
    residual = np.array(draws["residual_sd"])
    rows = rng.integers(len(residual), size=n)
    index = densities.trend_data.family_idx
    out = residual[rows] * rng.normal(size=(len(index), n))
    out += np.sqrt(densities.var)[:, None] * rng.normal(size=out.shape)
    if draws["family_sd"] is not None:
        sd = np.array(draws["family_sd"])[rows]
        out += (sd * rng.normal(size=(int(index.max()) + 1, n)))[index]
    return out, np.array(draws["growth_rate"])[rows]


def _eta(densities: Densities, trend: str, growth: float, change: float) -> Floats:
    """Log density that a world's trend gives each LLM; 0 at the origin of time."""
    theta = world_trend(densities, trend, growth, change) | {"trend_intercept": 0.0}
    on = TrendOn(trend_named(trend), densities.trend_data)
    return np.asarray(on.eta(densities.trend_data.years, theta))


def told(
    spec: ModelSpec, trend: str, densities: Densities, made: Floats, sds: Sds, n_before: int
) -> dict[str, Floats]:
    """What the two rules read of a rival and the exponential trend, one entry a dataset."""
    parts = [
        examine(
            spec, kind, densities, made, sds,
            parameter=change_of(trend) if kind == trend else "growth_rate", n_before=n_before,
        )
        for kind in (trend, EXPONENTIAL)
    ]  # fmt: skip
    rival, plain = parts
    return {
        "p_change": rival.p_positive,
        "mean": rival.mean,
        "sd": rival.sd,
        **_differences(rival, plain),
        "lfo_diff": rival.since - plain.since,
    }


def _differences(rival: Found, plain: Found) -> dict[str, Floats]:
    """Leave-one-family-out: difference and its clustered error."""
    apart = rival.family - plain.family
    names = tuple(str(k) for k in range(len(apart)))
    return {
        "elpd_diff": apart.sum(axis=0),
        "se": np.array([clustered_error(column, names) for column in apart.T]),
    }


def rival_wins(found: Mapping[str, Floats], sign: float = 1.0) -> NDArray[np.bool_]:
    """Whether the rival beats the exponential trend decisively; with the sign -1: is beaten."""
    agree = (sign * found["elpd_diff"] > 0) & (sign * found["lfo_diff"] > 0)
    return np.asarray(is_clear(found["elpd_diff"], found["se"]) & agree)


def is_claimed(p_change: Floats) -> NDArray[np.bool_]:
    """Whether a change is claimed from its posterior probability."""
    return np.asarray((p_change < CLAIMED[0]) | (p_change > CLAIMED[1]))


@job_function
def placebo(job: Job) -> dict[str, object]:
    """Breaks at dates of which nobody has said anything: real data, and worlds without a break."""
    params = job.params
    spec = spec_from_dict(job.spec, where="the job's specification")
    densities, sds = from_json(params["densities"]), sds_from(spec, params["draws"])
    rng = np.random.default_rng(seeds_of(job))
    noise, growth = _noise(densities, params["draws"], params["n"], rng)
    years = densities.trend_data.years
    made = np.concatenate([densities.mean[:, None], noise + np.outer(years, growth)], axis=1)
    rows, clear, claimed = [], np.zeros(made.shape[1], bool), np.zeros(made.shape[1], bool)
    for date in params["dates"]:
        found = told(spec, f"break_known@{date}", densities, made, sds, params["n_before"])
        decided, is_told = rival_wins(found), is_claimed(found["p_change"])
        clear |= decided
        claimed |= is_told
        real = {name: _short(values[0]) for name, values in found.items()}
        rows.append(
            {"date": date, **real, "decisive": bool(decided[0]), "claimed": bool(is_told[0])}
        )
    return {"dates": rows, "clear": clear[1:].tolist(), "claimed": claimed[1:].tolist()}


@job_function
def full(job: Job) -> dict[str, object]:
    """One made-up dataset of all that is observed: full fits, and the closed form on the same.

    The closed form reads the full exponential fit, as the study reads that of the real data.
    """
    params = job.params
    spec, dataset, data = observed_by(job)
    kinds = {kind: spec.with_options(trend=kind) for kind in (params["trend"], EXPONENTIAL)}
    sequence = seeds_of(job)
    rng = np.random.default_rng(sequence.spawn(1)[0])
    shape = from_json(params["densities"])
    growth = float(params["truth"]["growth_rate"]["values"])
    there = world_trend(shape, params["world"], growth, params["change"])
    made = world(params["truth"], spec.with_options(trend=params["world"]), data, there, rng)
    fits = {
        kind: fit_observations(
            one,
            made,
            about=dataset.summary() | counts_of(made),
            seed=int(sequence.generate_state(1)[0]),
            cores=1,
            **params["length"],
        )
        for kind, one in kinds.items()
    }
    rival, plain = fits[params["trend"]], fits[EXPONENTIAL]
    families = [leave_one_out(fitted, "family") for fitted in (rival, plain)]
    apart = difference(*families)
    change = np.ravel(rival.posterior[change_of(params["trend"])].to_numpy())
    densities = densities_of(plain, made)
    closed = told(
        plain.spec, params["trend"], densities, densities.mean[:, None],
        sds_about(plain.spec, *sds_of(plain)), params["n_before"],
    )  # fmt: skip
    return {
        "full": {
            "p_change": float((change > 0).mean()),
            "mean": float(change.mean()),
            "sd": float(change.std()),
            "elpd_diff": apart.elpd_diff,
            "se": apart.se,
            "n_failed_families": len(set(families[0].failed) | set(families[1].failed)),
        },
        "closed": {name: _short(values[0]) for name, values in closed.items()},
    }


def _short(value: float) -> float:
    """Five significant digits."""
    return float(f"{value:.5g}")
