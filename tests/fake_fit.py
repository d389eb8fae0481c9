"""A fit as the modelling branch writes it, made from random numbers alone: no sampler, no PyMC."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesdense.items import item_variance
from bayesdense.names import UNITS
from bayesdense.options import options_of
from bayesdense.results import Fit
from bayesdense.score_maps import logistic_logit_score
from bayesdense.spec import ModelSpec, load_spec, spec_from_dict

BENCHMARKS = ("MMLU", "BBH")
DATES = (
    "2023-02-24", "2023-07-18", "2023-09-27", "2023-12-12",
    "2024-02-21", "2024-06-27", "2025-01-20", "2025-04-28",
)  # fmt: skip
SIZES = (6.5e9, 6.6e9, 7.0e9, 2.5e9, 7.8e9, 8.3e9, 3.8e9, 3.1e9)
FAMILIES = ("Llama", "Llama", "Mistral", "Phi", "Gemma", "Gemma", "Phi", "Qwen")
WINDOW = (DATES[0], DATES[-1])
REFERENCE_SIZES = 4  # runs of three token counts each
RUNS = 12
POINTS = 12  # of calibration, per benchmark
POINT_ITEMS = 2000.0
ORIGIN = "2024-03-27"


@dataclass(frozen=True, slots=True)
class FakeChecks:
    """What `summarize` needs of checks."""

    content: Mapping[str, object]

    def to_dict(self) -> dict[str, object]:
        return dict(self.content)


def fake_checks(status: str = "pass", **changes: object) -> FakeChecks:
    item = {"name": "r_hat", "status": status, "value": 1.004, "threshold": 1.01, "advice": ""}
    base = {
        "status": status,
        "max_rhat": 1.004,
        "min_ess_bulk": 1890.0,
        "min_ess_tail": 1702.0,
        "divergences": 0,
        "items": [item],
    }
    return FakeChecks({**base, **changes})


def fake_fit(
    *,
    growth: float = 1.9,
    growth_sd: float = 0.25,
    growth_draws: np.ndarray | None = None,
    chains: int = 4,
    draws: int = 250,
    llms: Sequence[str] | None = None,
    densities_only: bool = False,
    trend: str = "exponential",
    residual: str = "symmetric",
    lower_bounds: int = 2,
    seed: int = 7,
    options: Mapping[str, object] | None = None,
) -> Fit:
    """Build a fit whose growth rate is about `growth`, or exactly `growth_draws` (chain, draw).

    Its replicates are drawn as its data are, so that every check passes but for chance.
    """
    rng = np.random.default_rng(seed)
    if (options or {}).get("feedback") == "cut":
        chains = 1  # pooled draws of many refits are one row
    names = [f"llm-{k}" for k in range(len(DATES))] if llms is None else list(llms)
    n = len(names)
    posterior = _posterior(rng, names, chains, draws)
    if growth_draws is None:
        growth_draws = rng.normal(growth, growth_sd, (chains, draws))
    posterior["growth_rate"] = (("chain", "draw"), np.asarray(growth_draws, dtype=float))
    _add_sizes(rng, posterior, n)
    if residual == "composed":
        one_sided = np.abs(rng.normal(0.0, 0.2, (chains, draws)))
        posterior["one_sided_sd"] = (("chain", "draw"), one_sided)
    spec = _spec(densities_only, {"trend": trend, "residual": residual, **(options or {})})
    if trend == "flat":
        posterior = posterior.drop_vars("growth_rate")
    if densities_only:
        kept = ["trend_intercept", "growth_rate", "family_sd", "family_effect", "residual_sd"]
        posterior = posterior[[*kept, "log_density"]].drop_vars("benchmark", errors="ignore")
    for name in posterior.data_vars:
        posterior[name].attrs["units"] = UNITS.get(str(name), "1")
    groups = {
        "posterior": posterior,
        "sample_stats": _sample_stats(rng, chains, draws),
        "log_prior": posterior[["trend_intercept"]].map(np.negative),
        "prior": _prior(rng, trend),
        "constant_data": _constant_data(names, densities_only),
        **_likelihoods(rng, posterior, chains, draws),
    }
    if densities_only:
        groups |= _density_predictive(rng, names, chains, draws)
    else:
        groups |= _predictive(np.random.default_rng(seed + 1), n, chains, draws)
        groups |= _diagnostic_groups(np.random.default_rng(seed + 2), spec, n, chains, draws)
        _add_reference_likelihoods(np.random.default_rng(seed + 4), groups)
        _add_points(np.random.default_rng(seed + 3), groups)
        groups["llm_bounds"] = _llm_bounds(posterior, names, lower_bounds)
    tree = xr.DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
    tree.attrs.update(_attributes(spec, n, densities_only, seed))
    return Fit(tree, spec)


def _coords(names: Sequence[str]) -> dict[str, object]:
    n = len(names)
    return {
        "llm": list(names),
        "family": sorted({FAMILIES[k % len(FAMILIES)] for k in range(n)}),
        "benchmark": list(BENCHMARKS),
        "run": [f"run-{k}" for k in range(RUNS)],
        "release_date": ("llm", [DATES[k % len(DATES)] for k in range(n)]),
    }


def _years(n: int) -> np.ndarray:
    dates = np.array([DATES[k % len(DATES)] for k in range(n)], dtype="datetime64[D]")
    return (dates - np.datetime64(ORIGIN)).astype(float) / 365.25


def _sizes(n: int) -> np.ndarray:
    return np.array([SIZES[k % len(SIZES)] for k in range(n)])


def _family_idx(n: int) -> np.ndarray:
    families = sorted({FAMILIES[k % len(FAMILIES)] for k in range(n)})
    return np.array([families.index(FAMILIES[k % len(FAMILIES)]) for k in range(n)])


def _posterior(
    rng: np.random.Generator, names: Sequence[str], chains: int, draws: int
) -> xr.Dataset:
    coords = {**_coords(names), "chain": np.arange(chains), "draw": np.arange(draws)}
    sizes = {"benchmark": len(BENCHMARKS), "run": REFERENCE_SIZES, "family": len(coords["family"])}
    centres = {
        "loss_floor": (0.1, 0.02, "benchmark"), "param_coef": (0.2, 0.02, "benchmark"),
        "token_coef": (0.15, 0.02, "benchmark"), "param_exponent": (0.34, 0.04, "benchmark"),
        "token_exponent": (0.30, 0.04, "benchmark"), "param_exponent_mean": (-1.08, 0.1, None),
        "param_exponent_sd": (0.2, 0.02, None), "token_exponent_mean": (-1.2, 0.1, None),
        "token_exponent_sd": (0.2, 0.02, None), "loss_noise_sd": (0.01, 1e-3, "benchmark"),
        "run_effect_sd": (0.01, 1e-3, "benchmark"), "size_effect_sd": (0.01, 1e-3, "benchmark"),
        "run_effect": (0.0, 0.01, "run"), "score_floor": (0.25, 0.002, "benchmark"),
        "score_ceiling": (0.94, 0.003, "benchmark"), "score_slope": (20.0, 0.3, "benchmark"),
        "loss_midpoint": (0.18, 0.001, "benchmark"), "map_noise_sd": (0.15, 0.02, "benchmark"),
        "discrepancy_sd": (0.3, 0.03, "benchmark"), "protocol_sd": (0.15, 0.02, "benchmark"),
        "trend_intercept": (-0.5, 0.2, None), "family_sd": (0.7, 0.1, None),
        "family_effect": (0.0, 0.5, "family"), "residual_sd": (0.8, 0.08, None),
    }  # fmt: skip
    data = {}
    for name, (mean, sd, dim) in centres.items():
        dims = ("chain", "draw", dim) if dim else ("chain", "draw")
        shape = (chains, draws, sizes[dim]) if dim else (chains, draws)
        data[name] = (dims, rng.normal(mean, sd, shape))
    dims, by_size = data["run_effect"]
    data["run_effect"] = (dims, np.repeat(by_size, RUNS // REFERENCE_SIZES, axis=-1))
    return xr.Dataset(data, coords=coords)


def _add_sizes(rng: np.random.Generator, posterior: xr.Dataset, n: int) -> None:
    years = xr.DataArray(_years(n), dims="llm")
    effect = posterior["family_effect"].isel(family=xr.DataArray(_family_idx(n), dims="llm"))
    chain, draw = posterior.sizes["chain"], posterior.sizes["draw"]
    noise = xr.DataArray(rng.normal(0.0, 0.3, (chain, draw, n)), dims=("chain", "draw", "llm"))
    line = posterior["trend_intercept"] + posterior["growth_rate"] * years
    density = (line + effect + noise).drop_vars("family", errors="ignore")
    posterior["log_density"] = density.transpose("chain", "draw", "llm")
    posterior["log_effective_params"] = posterior["log_density"] + np.log(_sizes(n))


def _sample_stats(rng: np.random.Generator, chains: int, draws: int) -> xr.Dataset:
    dims, shape = ("chain", "draw"), (chains, draws)
    return xr.Dataset(
        {
            "diverging": (dims, np.zeros(shape, dtype=bool)),
            "depth": (dims, np.full(shape, 4)),
            "n_steps": (dims, np.full(shape, 15)),
            "energy": (dims, rng.normal(100.0, 5.0, shape)),
            "step_size": (dims, np.full(shape, 0.4)),
        },
        coords={"chain": np.arange(chains), "draw": np.arange(draws)},
    )


def _prior(rng: np.random.Generator, trend: str) -> xr.Dataset:
    dims, coords = ("chain", "draw"), {"chain": [0], "draw": np.arange(500)}
    data = {"trend_intercept": (dims, rng.normal(0.0, 1.5, (1, 500)))}
    if trend != "flat":
        data["growth_rate"] = (dims, rng.normal(0.0, 2.0, (1, 500)))
    data["one_sided_sd"] = (dims, np.abs(rng.normal(0.0, 1.0, (1, 500))))
    return xr.Dataset(data, coords=coords)


def _likelihoods(
    rng: np.random.Generator, posterior: xr.Dataset, chains: int, draws: int
) -> dict[str, xr.Dataset]:
    # A variable of several dims that is named like one of them silently becomes a coordinate in
    # xarray, and its group holds no data: so the dims are `llm_obs` and `family_obs`.
    data = {
        dim: (
            ("chain", "draw", f"{dim}_obs"),
            rng.normal(-1.5, 0.2, (chains, draws, posterior.sizes[dim])),
        )
        for dim in ("llm", "family")
    }
    coords = {
        **{name: posterior[name].values for name in ("chain", "draw")},
        **{f"{dim}_obs": posterior[dim].values for dim in ("llm", "family")},
    }
    return {"log_likelihood": xr.Dataset(data, coords=coords)}


def _add_reference_likelihoods(rng: np.random.Generator, groups: dict[str, xr.Dataset]) -> None:
    """Log likelihoods of losses by size, and of calibration points."""
    kept = groups["log_likelihood"]
    counts = {
        ("loss", "loss_cluster"): REFERENCE_SIZES * len(BENCHMARKS),
        ("loss_score", "point_obs"): POINTS * len(BENCHMARKS),
    }
    for (name, dim), count in counts.items():
        shape = (kept.sizes["chain"], kept.sizes["draw"], count)
        kept[name] = (("chain", "draw", dim), rng.normal(-1.5, 0.2, shape))
        kept.coords[dim] = [f"{name} {k}" for k in range(count)]
    kept["losses"] = kept["loss"].sum("loss_cluster")


def _predictive(rng: np.random.Generator, n: int, chains: int, draws: int) -> dict[str, xr.Dataset]:
    """Logits of scores, log losses and logits of calibration points, with their replicates."""
    shape, cells = (chains, draws), len(BENCHMARKS)
    llm, size = np.repeat(np.arange(n), cells), _loss_cluster_idx()
    size_sd, cell_sd = 0.5, 0.3
    expected = rng.uniform(-0.5, 1.0, n * cells)
    deviation = rng.normal(0.0, size_sd, n)
    law = np.tile(np.linspace(-0.8, -1.4, RUNS), cells)

    def losses(*lead: int) -> np.ndarray:
        by_size = rng.normal(0.0, 0.01, (*lead, REFERENCE_SIZES * cells))
        return law + by_size[..., size] + rng.normal(0.0, 0.01, (*lead, law.size))

    observed = {
        "score": expected + deviation[llm] + rng.normal(0.0, cell_sd, llm.size),
        "loss": losses(),
    }
    # the sizes that were drawn for a posterior draw are known to .1, sizes anew to their scatter
    given = deviation[llm] + rng.normal(0.0, 0.1, (*shape, n))[..., llm]
    anew = rng.normal(0.0, size_sd, (*shape, n))[..., llm]
    replicated = {
        "score": expected + given + rng.normal(0.0, cell_sd, (*shape, llm.size)),
        "score_new": expected + anew + rng.normal(0.0, cell_sd, (*shape, llm.size)),
        "loss": losses(*shape),
    }
    dims = {"score": "score_obs", "score_new": "score_obs", "loss": "loss_obs"}
    coords = {"chain": np.arange(chains), "draw": np.arange(draws)}
    after = xr.Dataset(
        {name: (("chain", "draw", dims[name]), values) for name, values in replicated.items()},
        coords=coords,
    )
    means = {"score": expected, "loss": law}
    return {
        "observed_data": xr.Dataset(
            {name: (dims[name], values) for name, values in observed.items()}
        ),
        "posterior_predictive": after,
        "prior_predictive": after.isel(chain=[0]),
        "predictive_mean": xr.Dataset(
            {
                name: (("chain", "draw", dims[name]), np.broadcast_to(mean, (*shape, mean.size)))
                for name, mean in means.items()
            },
            coords=coords,
        ),
    }


def _add_points(rng: np.random.Generator, groups: dict[str, xr.Dataset]) -> None:
    """Calibration points and their replicates, each from one draw's score map."""
    j = np.repeat(np.arange(len(BENCHMARKS)), POINTS)
    theta = groups["posterior"].isel(benchmark=xr.DataArray(j, dims="point_obs"))
    loss = xr.DataArray(np.tile(np.linspace(0.1, 0.3, POINTS), len(BENCHMARKS)), dims="point_obs")
    curve = ("score_floor", "score_ceiling", "score_slope", "loss_midpoint")
    mean = logistic_logit_score(loss, *(theta[name] for name in curve))
    var = theta["map_noise_sd"] ** 2 + item_variance(mean, POINT_ITEMS)
    drawn = (mean + var**0.5 * rng.normal(size=mean.shape)).drop_vars("benchmark")
    truth = mean + var**0.5 * rng.normal(size=j.size)
    groups["posterior_predictive"]["loss_score"] = drawn
    groups["predictive_mean"]["loss_score"] = mean.drop_vars("benchmark")
    groups["observed_data"]["loss_score"] = ("point_obs", truth.values[0, 3])
    groups["constant_data"]["point_loss"] = loss
    groups["constant_data"]["point_n_items"] = ("point_obs", np.full(j.size, POINT_ITEMS))
    groups["constant_data"]["n_items"] = ("benchmark", np.full(len(BENCHMARKS), POINT_ITEMS))


def _density_predictive(
    rng: np.random.Generator, names: Sequence[str], chains: int, draws: int
) -> dict[str, xr.Dataset]:
    dims, n = ("chain", "draw", "llm"), len(names)
    expected = rng.normal(0.0, 1.0, n)
    observed = expected + rng.normal(0.0, 0.8, n)
    replicated = expected + rng.normal(0.0, 0.8, (chains, draws, n))
    coords = {"llm": list(names)}
    return {
        "observed_data": xr.Dataset({"log_density": ("llm", observed)}, coords=coords),
        "posterior_predictive": xr.Dataset(
            {"log_density": (dims, replicated), "log_density_new": (dims, replicated)},
            coords={**coords, "chain": np.arange(chains), "draw": np.arange(draws)},
        ),
        "predictive_mean": xr.Dataset(
            {"log_density": (dims, np.broadcast_to(expected, (chains, draws, n)))},
            coords={**coords, "chain": np.arange(chains), "draw": np.arange(draws)},
        ),
    }


def _diagnostic_groups(
    rng: np.random.Generator, spec: ModelSpec, n: int, chains: int, draws: int
) -> dict[str, xr.Dataset]:
    """What inference measures for the checks: quadrature, LOO-PIT, held-out points, stages."""
    options = spec.options
    rows = n * len(BENCHMARKS)
    groups = {"loo_pit": xr.Dataset({"loo_pit": ("score_obs", rng.uniform(size=rows))})}
    if options.implementation == "marginal":
        errors = {"sd_difference": 2e-4, "growth_shift": 1e-3, "tail_error": 1e-9}
        groups["quadrature"] = xr.Dataset({name: ((), value) for name, value in errors.items()})
    if options.calibration == "fit":
        points = rng.normal(0.0, 0.2, 10)
        replicated = rng.normal(0.0, 0.2, (chains, draws, 10))
        groups["heldout"] = xr.Dataset(
            {
                "loss": ("heldout_obs", np.tile(np.linspace(0.1, 0.3, 5), 2)),
                "logit_score": ("heldout_obs", points),
                "logit_score_rep": (("chain", "draw", "heldout_obs"), replicated),
                "benchmark_idx": ("heldout_obs", np.repeat(np.arange(2), 5)),
            }
        )
    if options.feedback != "cut":
        shape = (chains, draws)
        derivatives = {"score": rng.normal(1.0, 5.0, shape), "information": np.full(shape, 60.0)}
        groups["size_slope"] = xr.Dataset(
            {name: (("chain", "draw"), values) for name, values in derivatives.items()},
            coords={"chain": np.arange(chains), "draw": np.arange(draws)},
        )
    if options.feedback == "cut":
        groups["stages"] = xr.Dataset(
            {
                "max_rhat": ("stage", [1.004, 1.03]),
                "min_ess_bulk": ("stage", [1720.0, 160.0]),
                "min_ess_tail": ("stage", [1650.0, 140.0]),
                "divergences": ("stage", [0, 0]),
                "n_draws": ("stage", [4000, 20_000]),
            },
            coords={"stage": ["reference", "trend"]},
        )
    return groups


def _ladder() -> tuple[np.ndarray, np.ndarray]:
    """Sizes and tokens of the reference runs, each size with some of its own."""
    sizes = np.repeat(np.geomspace(5e6, 8e8, REFERENCE_SIZES), RUNS // REFERENCE_SIZES)
    return sizes, sizes * np.tile(np.linspace(10, 60, RUNS // REFERENCE_SIZES), REFERENCE_SIZES)


def _loss_cluster_idx() -> np.ndarray:
    """Runs of one size on one benchmark, as the rows of losses go: benchmark by benchmark."""
    size = np.repeat(np.arange(REFERENCE_SIZES), RUNS // REFERENCE_SIZES)
    return np.concatenate([size + REFERENCE_SIZES * j for j in range(len(BENCHMARKS))])


def _constant_data(names: Sequence[str], densities_only: bool) -> xr.Dataset:
    n = len(names)
    coords = {key: value for key, value in _coords(names).items() if key in ("llm", "release_date")}
    data: dict[str, object] = {
        "n_params": ("llm", _sizes(n), {"units": "parameters", "convention": "non_embedding"}),
        "release_year": ("llm", _years(n)),
        "family_idx": ("llm", _family_idx(n)),
    }
    if not densities_only:
        data["score_llm_idx"] = ("score_obs", np.repeat(np.arange(n), len(BENCHMARKS)))
        data["score_benchmark_idx"] = ("score_obs", np.tile(np.arange(len(BENCHMARKS)), n))
        data["loss_benchmark_idx"] = ("loss_obs", np.repeat(np.arange(len(BENCHMARKS)), RUNS))
        data["loss_run_idx"] = ("loss_obs", np.tile(np.arange(RUNS), len(BENCHMARKS)))
        data["loss_cluster_idx"] = ("loss_obs", _loss_cluster_idx())
        data["point_benchmark_idx"] = ("point_obs", np.repeat(np.arange(len(BENCHMARKS)), POINTS))
        sizes, tokens = _ladder()
        for what, counts in (("params", sizes), ("tokens", tokens)):
            ratio = np.log(counts) - np.log(counts).mean()
            data[f"loss_log_{what}_ratio"] = ("loss_obs", np.tile(ratio, len(BENCHMARKS)))
            data[f"log_{what}_centre"] = ((), np.log(counts).mean())
        coords |= {name: _coords(names)[name] for name in ("benchmark", "family", "run")}
        data["loss_unit"] = ("benchmark", ["nats/token"] * len(BENCHMARKS))
        data["log_params_centre"] = ((), float(np.log(1.5e8)))
        data["log_tokens_centre"] = ((), float(np.log(5e9)))
        data["reference_max_params"] = ((), 828_225_024.0)
        data["reference_max_tokens"] = ((), 49_693_501_440.0)
    return xr.Dataset(data, coords=coords)


def _llm_bounds(posterior: xr.Dataset, names: Sequence[str], lower_bounds: int) -> xr.Dataset:
    n = len(names)
    below = np.arange(n) >= n - lower_bounds
    median = np.exp(posterior["log_effective_params"].median(("chain", "draw")).values)
    return xr.Dataset(
        {
            "lower_bound_only": ("llm", below),
            "upper_bound_only": ("llm", np.arange(n) < 1),
            "data_lower_bound": ("llm", np.where(below, 0.6 * median, np.nan)),
        },
        coords={"llm": list(names)},
    )


def _spec(densities_only: bool, options: Mapping[str, object]) -> ModelSpec:
    spec = load_spec("joint").with_options(**options)
    if not densities_only:
        return spec
    raw = spec.to_dict()
    raw["options"] = {name: raw["options"][name] for name in options_of(joint=False)}
    kept = (
        "schema",
        "title",
        "description",
        "references",
        "options",
        "family",
        "residual",
        "trend",
    )
    return spec_from_dict({**{k: raw[k] for k in kept}, "name": "trend_only"}, where="fake")


def _attributes(spec: ModelSpec, n: int, densities_only: bool, seed: int) -> dict[str, object]:
    dataset = {
        "name": "fake",
        "digest": "0" * 64,
        "n_llms": n,
        "n_families": len({FAMILIES[k % len(FAMILIES)] for k in range(n)}),
        "n_runs": None if densities_only else RUNS,
        "n_scores": None if densities_only else n * len(BENCHMARKS),
        "window": [DATES[0], max(DATES[k % len(DATES)] for k in range(n))],
        "reference_params": None if densities_only else "non_embedding",
    }
    return {
        "schema": 1,
        "bayesdense_version": "0.1.0",
        "dataset": json.dumps(dataset),
        "dataset_warnings": json.dumps(["few LLMs: 8 of 5 families"]),
        "spec": spec.to_json(),
        "spec_digest": spec.digest,
        "time_origin": ORIGIN,
        "seed": seed,
        "versions": json.dumps({"bayesdense": "0.1.0", "pymc": "6.4.0"}),
        "timings_s": json.dumps({"import": 6.1, "build": 1.2, "compile": 14.0, "sample": 31.5}),
        "sampler": "nutpie",
        "command_line": "bayesdense fit fake",
    }
