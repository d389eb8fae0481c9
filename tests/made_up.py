"""A small joint problem with made-up parameters: observations, and posterior draws near them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import xarray as xr

from bayesdense.dataset import load_dataset
from bayesdense.observations import JointObservations, LLMData, ScoreData, observe
from bayesdense.spec import ModelSpec, load_spec

#: (family, years, parameters, scores by benchmark): four sizes of family, one LLM above every
#: ceiling, one at every floor, one with a single score.
LLMS: tuple[tuple[str, float, float, dict[int, float]], ...] = (
    ("alone", -1.2, 7e9, {0: 0.35, 1: 0.33, 2: 0.06, 3: 0.12, 4: 0.18}),
    ("ceiling", 1.1, 70e9, {0: 0.985, 1: 0.97, 2: 0.96, 3: 0.988}),
    ("floor", -1.3, 1e9, {0: 0.26, 1: 0.22, 3: 0.004}),
    ("single", 0.0, 3e9, {2: 0.3}),
    ("pair", -0.5, 7e9, {0: 0.46, 1: 0.39, 4: 0.3}),
    ("pair", -0.5, 13e9, {0: 0.55, 1: 0.4}),
    ("four", 0.7, 2e9, {0: 0.52, 2: 0.2, 3: 0.3}),
    ("four", 0.7, 9e9, {0: 0.7, 1: 0.71, 2: 0.5, 3: 0.54, 4: 0.6}),
    ("four", 0.8, 27e9, {0: 0.75, 1: 0.76, 4: 0.62}),
    ("four", 1.2, 27e9, {1: 0.93}),
)


@cache
def densing() -> JointObservations:
    return observe(load_spec("joint"), load_dataset("densing")).joint


def small_data(
    rows: Sequence[tuple[str, float, float, Mapping[int, float]]] = LLMS,
    other_protocol: Sequence[int] = (),
) -> JointObservations:
    """Observations of these LLMs; scores of the benchmarks `other_protocol` are under another."""
    full = densing()
    families = tuple(dict.fromkeys(row[0] for row in rows))
    llms = LLMData(
        names=tuple(f"{row[0]}-{i}" for i, row in enumerate(rows)),
        families=families,
        family_idx=np.array([families.index(row[0]) for row in rows]),
        release_dates=tuple("2024-01-01" for _ in rows),
        years=np.array([row[1] for row in rows]),
        time_origin="2024-01-01",
        log_params=np.log([row[2] for row in rows]),
        params_used="total",
    )
    cells = [(i, j, score) for i, row in enumerate(rows) for j, score in sorted(row[3].items())]
    llm_idx, benchmark_idx = (np.array([cell[k] for cell in cells]) for k in (0, 1))
    score = np.array([cell[2] for cell in cells])
    scores = ScoreData(
        llm_idx=llm_idx,
        benchmark_idx=benchmark_idx,
        score=score,
        logit_score=np.log(score / (1 - score)),
        n_items=full.benchmarks.n_items[benchmark_idx],
        n_reports=1.0 + llm_idx % 2,
        other_protocol=np.isin(benchmark_idx, other_protocol).astype(float),
        first=np.searchsorted(llm_idx, np.arange(len(rows) + 1)).astype(np.int64),
    )
    return replace(full, llms=llms, scores=scores)


def made_up_posterior(
    spec: ModelSpec,
    data: JointObservations,
    *,
    shape: tuple[int, int] = (2, 3),
    spread: float = 0.05,
    seed: int = 1,
    **changes: float,
) -> xr.Dataset:
    """Draws about plausible parameters; `changes` replace values of scalars."""
    rng = np.random.default_rng(seed)
    centre, n = data.benchmarks.loss_centre, len(data.benchmarks.names)
    by_benchmark = {
        "loss_floor": 0.3 * centre,
        "param_coef": 0.33 * centre,
        "token_coef": 0.33 * centre,
        "param_exponent": np.full(n, 0.34),
        "token_exponent": np.full(n, 0.3),
        "score_floor": data.benchmarks.chance + 0.02,
        "score_ceiling": np.full(n, 0.95),
        "score_slope": 8 / centre,
        "loss_midpoint": 0.6 * centre,
        "map_noise_sd": np.full(n, 0.2),
        "loss_noise_sd": np.full(n, 0.02),
        "run_effect_sd": np.full(n, 0.015),
        "size_effect_sd": np.full(n, 0.01),
        "discrepancy_sd": np.full(n, 0.25),
        "protocol_sd": np.full(n, 0.2),
        "cell_sd": np.full(n, 0.3),
        "protocol_offset": np.linspace(-0.3, 0.4, n),
    }
    if spec.component("loss_law").kind == "additive":
        del by_benchmark["loss_floor"]
    for absent in ["discrepancy_sd", "protocol_sd"] if _only_sum(spec) else ["cell_sd"]:
        del by_benchmark[absent]
    scalars = {
        "trend_intercept": 0.1,
        "growth_rate": 1.5,
        "residual_sd": 1.0,
        "family_sd": 0.7,
        "residual_log_sd_slope": 0.3,
        "one_sided_sd": 0.8,
        "residual_df": 4.0,
        **changes,
    }
    for name, kind in (("one_sided_sd", "composed"), ("residual_df", "student_t")):
        if spec.residual != kind:
            del scalars[name]
    values = {
        name: (("chain", "draw", "benchmark"), _near(value, shape, spread, rng))
        for name, value in by_benchmark.items()
    } | {
        name: (("chain", "draw"), _near(np.asarray(value), shape, spread, rng))
        for name, value in scalars.items()
    }
    values["score_ceiling"] = (values["score_ceiling"][0], 0.95 + 0 * values["score_ceiling"][1])
    if spec.component("family").kind == "normal":
        effect = rng.normal(0, scalars["family_sd"], (*shape, len(data.llms.families)))
        values["family_effect"] = (("chain", "draw", "family"), effect)
    return xr.Dataset(values)


def _only_sum(spec: ModelSpec) -> bool:
    return spec.component("score_noise").kind == "cell"


def _near(value: np.ndarray, shape: tuple[int, int], spread: float, rng: np.random.Generator):
    return value * np.exp(spread * rng.normal(size=(*shape, *value.shape)))
