"""How cost and memory grow with the number of LLMs: `python benchmarks/scale.py --llms 10000`."""

import argparse
import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from measures import machine

from bayesdense import load_dataset, load_spec
from bayesdense.dataset import Dataset
from bayesdense.engine.joint import sample_joint
from bayesdense.engine.runs import Settings, as_dataset, target_of
from bayesdense.engine.sample import find_whitening
from bayesdense.observations import observe
from bayesdense.simulate import simulate_dataset
from bayesdense.spec import ModelSpec

#: Truth near the posterior on `densing`, so that sizes are neither all unknown nor all pinned.
_TRUTH = {"growth_rate": 2.1, "residual_sd": 0.5, "family_sd": 0.7}


def tiled(dataset: Dataset, n_llms: int) -> Dataset:
    """A dataset of so many LLMs: copies of its LLMs, in families of their own."""
    base = dataset.base_only()
    if base.llms is None or base.scores is None:
        raise ValueError("a dataset with scores is needed")
    copies = -(-n_llms // len(base.llms))
    llms, scores = [], []
    for k in range(copies):
        llms.append(_renamed(base.llms, k, "llm", "family"))
        scores.append(_renamed(base.scores, k, "llm"))
    kept = pd.concat(llms, ignore_index=True).iloc[:n_llms]
    table = pd.concat(scores, ignore_index=True)
    table = table[table["llm"].isin(set(kept["llm"]))].reset_index(drop=True)
    reports = base.score_reports  # of the first copies only: protocol noise is learnt from them
    if reports is not None:
        reports = _renamed(reports, 0, "llm")
        reports = reports[reports["llm"].isin(set(kept["llm"]))].reset_index(drop=True)
    return replace(base, llms=kept, scores=table, score_reports=reports)


def from_leaderboard(file: Path) -> Dataset:
    """Read a saved Open LLM Leaderboard (v1) as LLMs of `olmo-ladder`, for their number only.

    A family is what one organization submitted. Fine-tunes and merges are among them, and dates
    are those of submission: what comes out says nothing about density.
    """
    ladder = load_dataset("olmo-ladder")
    if ladder.scores is None:
        raise ValueError("olmo-ladder has scores")
    rows = pd.read_csv(file).drop_duplicates("model")
    rows = rows[(rows["n_params_b"] > 0) & rows["submission_date"].notna()]
    llms = pd.DataFrame(
        {
            "llm": rows["model"],
            "release_date": pd.to_datetime(rows["submission_date"]),
            "n_params": 1e9 * rows["n_params_b"],
            "family": rows["model"].str.split("/").str[0],
            "is_base": True,
        }
    )
    protocols = ladder.scores.groupby("benchmark")[["n_items", "protocol"]].first()
    long = rows.melt(
        "model", ["ARC", "HellaSwag"], var_name="benchmark", value_name="score"
    ).dropna()
    long["benchmark"] = long["benchmark"].replace({"ARC": "ARC-C"})
    scores = long.rename(columns={"model": "llm"}).join(protocols, on="benchmark")
    llms = llms[llms["llm"].isin(set(scores["llm"]))].reset_index(drop=True)
    return replace(ladder, llms=llms, scores=scores.reset_index(drop=True), score_reports=None)


def _renamed(table: pd.DataFrame, copy: int, *columns: str) -> pd.DataFrame:
    return table.assign(
        **{c: table[c].astype(str) + f" #{copy}" for c in columns if c in table.columns}
    )


def simulated(n_llms: int, seed: int) -> Dataset:
    """A dataset of so many LLMs, simulated from the default model."""
    like = tiled(load_dataset("densing"), n_llms)
    spec = load_spec("joint")
    return simulate_dataset(spec, like=like, seed=seed, truth=_TRUTH, anonymous=True).dataset


def measure(
    spec: ModelSpec, dataset: Dataset, *, draws: int, tune: int, chains: int, seed: int
) -> dict[str, object]:
    """Sample, and say what it cost."""
    import arviz as az

    began = time.perf_counter()
    data = observe(spec, dataset)
    target = target_of(spec, data)
    density = target.whitened(find_whitening(target), target.nothing_given)
    built = time.perf_counter() - began
    zeta = np.zeros(target.coordinates.size)
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < 1.0:
        density(zeta)
        calls += 1
    per_gradient = (time.perf_counter() - began) / calls
    began = time.perf_counter()
    settings = Settings(draws, tune, chains, None, np.random.SeedSequence(seed), None)
    drawn = sample_joint(spec, data, settings)
    sampled = time.perf_counter() - began
    values = {name: value for name, value in drawn.values.items() if name != "family_effect"}
    posterior = as_dataset(spec, data, values)
    rhat, ess = az.rhat(posterior), az.ess(posterior)
    return {
        "n_llms": len(data.llms.names),
        "n_families": len(data.llms.families),
        "n_scores": len(data.joint.scores.logit_score),
        "parameters": target.coordinates.size,
        "first_build_seconds": built,
        "gradient_microseconds": 1e6 * per_gradient,
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "seed": seed,
        "sample_seconds": sampled,
        "max_rhat": max(float(value.max()) for value in rhat.values()),
        "min_ess_bulk": min(float(value.min()) for value in ess.values()),
        "growth_ess_bulk": float(ess["growth_rate"]),
        "divergences": int(drawn.stats["diverging"].sum()),
        "steps_per_draw": float(drawn.stats["n_steps"].mean()),
        "growth_rate_mean": float(posterior["growth_rate"].mean()),
        "growth_rate_sd": float(posterior["growth_rate"].std()),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "machine": machine(),
    }


def main() -> None:
    """Print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--llms", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--leaderboard", type=Path, help="a CSV file of the leaderboard's rows")
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--tune", type=int, default=150)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    length = {name: getattr(given, name) for name in ("draws", "tune", "chains", "seed")}
    spec = load_spec("joint")
    if given.leaderboard:
        # Total parameters are the only ones that the leaderboard has
        told = spec.with_options(params="total")
        _tell(measure(told, from_leaderboard(given.leaderboard), **length))
        return
    for n_llms in given.llms:
        row = measure(spec, simulated(n_llms, given.seed), **length)
        _tell(row | {"growth_rate_truth": _TRUTH["growth_rate"]})


def _tell(row: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
