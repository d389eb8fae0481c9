"""The joint model as a PyMC user would write it: plain `pm.*` calls, every latent explicit.

From bayesdense come the data alone (`load_dataset`, and `observe` for indices, logs and logits),
so that both sides of the race provably see the same numbers. Priors and likelihood are those of
`models/joint.toml`; tests compare them term by term with `bayesdense.build_model`.

Run as a program it is what such a user waits for: import, build, compile and sample in one process.

    python benchmarks/textbook.py --version centred
"""

import argparse
import json
import time
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pymc as pm
import pytensor.tensor as pt

if TYPE_CHECKING:
    from bayesdense.observations import Observations

type Tensor = pt.TensorVariable
type Version = Literal["centred", "non_centred"]
VERSIONS: tuple[Version, ...] = get_args(Version.__value__)

#: Tokens that the reference LLM is trained on, D0.
REFERENCE_TOKENS = 5e12
#: What both sides are judged by: every law, map, noise and trend parameter, with the means and sds
#: of their hierarchies; not the families' effects and the LLMs' sizes.
GLOBALS = (
    *("loss_floor", "param_coef", "token_coef"),
    *("param_exponent_mean", "param_exponent_sd", "param_exponent"),
    *("token_exponent_mean", "token_exponent_sd", "token_exponent"),
    *("loss_noise_sd", "run_effect_sd", "size_effect_sd"),
    *("score_floor", "score_ceiling"),
    *("score_slope_mean", "score_slope_sd", "score_slope"),
    *("loss_midpoint_mean", "loss_midpoint_sd", "loss_midpoint"),
    *("map_noise_sd_mean", "map_noise_sd_sd", "map_noise_sd"),
    *("discrepancy_sd_mean", "discrepancy_sd_sd", "discrepancy_sd"),
    *("protocol_sd_mean", "protocol_sd_sd", "protocol_sd"),
    *("trend_intercept", "growth_rate", "family_sd", "residual_sd"),
)


def build(data: "Observations", version: Version) -> pm.Model:
    """Build the textbook model.

    Parameters
    ----------
    data
        What bayesdense's default model sees of a dataset (`bayesdense.observations.observe`).
    version
        `centred`: latents have their own location and scale; `non_centred`: latents are standard
        normals, scaled and shifted.

    Raises
    ------
    ValueError
        If the dataset calls for other components than `densing` does.
    """
    joint = data.joint
    if not joint.losses.clustered or joint.reports is None or joint.has_offset.any():
        raise ValueError(
            "the textbook model is written for a replicated ladder, replicated reports and one "
            "protocol, as in densing"
        )
    names, centre = joint.benchmarks.names, joint.benchmarks.loss_centre
    losses, points, scores = joint.losses, joint.calibration, joint.scores
    counted = points.is_count
    # the benchmark of each (size, benchmark) of the ladder
    size_benchmark = np.zeros(losses.n_clusters, dtype=int)
    size_benchmark[losses.cluster_idx] = losses.benchmark_idx
    coords = {
        "benchmark": names,
        "run": losses.runs,
        "size": np.arange(losses.n_clusters),
        "count": np.flatnonzero(counted),
        "family": joint.llms.families,
        "llm": joint.llms.names,
    }

    with pm.Model(coords=coords) as model:
        # Loss law: L = E + a (N/N_c)^-alpha + b (D/D_c)^-beta
        floor = pm.HalfNormal("loss_floor", 0.4 * centre, dims="benchmark")
        param_coef = pm.LogNormal("param_coef", -1.1 + np.log(centre), 0.7, dims="benchmark")
        token_coef = pm.LogNormal("token_coef", -1.1 + np.log(centre), 0.7, dims="benchmark")
        param_exponent = positive(
            "param_exponent",
            pm.Normal("param_exponent_mean", -1.08, 0.3),
            pm.LogNormal("param_exponent_sd", -1.6, 0.35),
            version,
        )
        token_exponent = positive(
            "token_exponent",
            pm.Normal("token_exponent_mean", -1.2, 0.3),
            pm.LogNormal("token_exponent_sd", -1.6, 0.35),
            version,
        )

        def loss_at(log_params_ratio: Tensor, log_tokens_ratio: Tensor, j: np.ndarray) -> Tensor:
            return (
                floor[j]
                + param_coef[j] * pt.exp(-param_exponent[j] * log_params_ratio)
                + token_coef[j] * pt.exp(-token_exponent[j] * log_tokens_ratio)
            )

        # Reference losses: effects of sizes (per benchmark) and of runs (shared by benchmarks)
        j = losses.benchmark_idx
        noise_sd = pm.LogNormal("loss_noise_sd", -4.6, 0.7, dims="benchmark")
        run_sd = pm.LogNormal("run_effect_sd", -4.6, 0.7, dims="benchmark")
        size_sd = pm.LogNormal("size_effect_sd", -4.6, 0.5, dims="benchmark")
        # One luck per run, times a scale per benchmark: it has no scale to be centred by.
        run_effect = pm.Normal("run_effect", 0, 1, dims="run")
        size_effect = normal("size_effect", 0, size_sd[size_benchmark], "size", version)
        law = pt.log(loss_at(losses.log_params_ratio, losses.log_tokens_ratio, j))
        pm.Normal(
            "loss",
            law + size_effect[losses.cluster_idx] + run_sd[j] * run_effect[losses.run_idx],
            pt.sqrt(noise_sd[j] ** 2 + losses.known_var),
            observed=losses.log_loss,
        )

        # Score map: S = d + (c - d) logistic(-gamma (L - l))
        guess = joint.benchmarks.chance + 0.02 * (1 - joint.benchmarks.chance)
        score_floor = pm.Beta("score_floor", 50 * guess, 50 * (1 - guess), dims="benchmark")
        score_ceiling = pm.Beta("score_ceiling", 30, 2, dims="benchmark")
        slope = positive(
            "score_slope",
            pm.Normal("score_slope_mean", 2.08, 0.5),
            pm.LogNormal("score_slope_sd", -1.2, 0.5),
            version,
            unit=1 / centre,
        )
        midpoint = positive(
            "loss_midpoint",
            pm.Normal("loss_midpoint_mean", -0.5, 0.3),
            pm.LogNormal("loss_midpoint_sd", -1.4, 0.5),
            version,
            unit=centre,
        )
        map_noise_sd = positive(
            "map_noise_sd",
            pm.Normal("map_noise_sd_mean", -1.9, 0.5),
            pm.LogNormal("map_noise_sd_sd", -0.9, 0.5),
            version,
        )

        def score_at(loss: Tensor, j: np.ndarray) -> Tensor:
            position = pm.math.sigmoid(-slope[j] * (loss - midpoint[j]))
            return score_floor[j] + (score_ceiling[j] - score_floor[j]) * position

        # Calibration points: normal on the logit, binomial where hits or misses are few
        at = points.is_fit & ~counted
        j, n_items = points.benchmark_idx[at], points.n_items[at]
        expected = score_at(points.loss[at], j)
        pm.Normal(
            "loss_score",
            pm.math.logit(expected),
            pt.sqrt(map_noise_sd[j] ** 2 + item_variance(expected, n_items)),
            observed=points.logit_score[at],
        )
        at = points.is_fit & counted
        j, n_items = points.benchmark_idx[at], points.n_items[at]
        if n_items.size:
            mean = pm.math.logit(score_at(points.loss[at], j))
            logit = normal("count_logit", mean, map_noise_sd[j], "count", version)
            hits = np.rint(n_items * points.score[at]).astype(int)
            pm.Binomial("loss_score_count", n=n_items.astype(int), logit_p=logit, observed=hits)

        # Noise of the LLMs' scores; replicated reports say what protocols make of one LLM
        discrepancy_sd = positive(
            "discrepancy_sd",
            pm.Normal("discrepancy_sd_mean", -1.2, 0.5),
            pm.LogNormal("discrepancy_sd_sd", -0.9, 0.5),
            version,
        )
        protocol_sd = positive(
            "protocol_sd",
            pm.Normal("protocol_sd_mean", -1.9, 0.5),
            pm.LogNormal("protocol_sd_sd", -0.5, 0.3),
            version,
        )
        reports = joint.reports
        pm.Gamma(
            "score_reports",
            alpha=reports.degrees / 2,
            beta=1 / (2 * protocol_sd[reports.benchmark_idx] ** 2),
            observed=reports.sum_of_squares,
        )

        # Density: trend, family, residual; then the scores given the effective sizes
        llms = joint.llms
        intercept = pm.Normal("trend_intercept", 0, 1.5)
        growth_rate = pm.Normal("growth_rate", 0, 2)
        family_sd = pm.HalfNormal("family_sd", 1.0)
        family_effect = normal("family_effect", 0, family_sd, "family", version)
        residual_sd = pm.LogNormal("residual_sd", -0.2, 0.5)
        log_density = intercept + growth_rate * llms.years + family_effect[llms.family_idx]
        log_size = normal(
            "log_effective_params", llms.log_params + log_density, residual_sd, "llm", version
        )
        j = scores.benchmark_idx
        loss = loss_at(
            log_size[scores.llm_idx] - losses.log_params_centre,
            np.log(REFERENCE_TOKENS) - losses.log_tokens_centre,
            j,
        )
        expected = score_at(loss, j)
        noise_var = discrepancy_sd[j] ** 2 + protocol_sd[j] ** 2 / scores.n_reports
        pm.Normal(
            "score",
            pm.math.logit(expected),
            pt.sqrt(noise_var + item_variance(expected, scores.n_items)),
            observed=scores.logit_score,
        )
    return model


def positive(
    name: str, mean: Tensor, sd: Tensor, version: Version, *, unit: np.ndarray | float = 1.0
) -> Tensor:
    """Positive parameter of every benchmark, its log normal about a common mean."""
    mu = mean + np.log(unit)
    if version == "centred":
        return pm.LogNormal(name, mu, sd, dims="benchmark")
    offset = pm.Normal(f"{name}_offset", 0, 1, dims="benchmark")
    return pm.Deterministic(name, pt.exp(mu + sd * offset), dims="benchmark")


def normal(name: str, mean: Tensor | float, sd: Tensor, dims: str, version: Version) -> Tensor:
    """Normal latent."""
    if version == "centred":
        return pm.Normal(name, mean, sd, dims=dims)
    offset = pm.Normal(f"{name}_offset", 0, 1, dims=dims)
    return pm.Deterministic(name, mean + sd * offset, dims=dims)


def item_variance(score: Tensor, n_items: np.ndarray) -> Tensor:
    """Variance of the logit of a share of n items, by the delta method."""
    return 1 / (n_items * score * (1 - score))


def load(dataset: str) -> "Observations":
    """What bayesdense's default model sees of a dataset."""
    from bayesdense import load_dataset, load_spec
    from bayesdense.observations import observe

    return observe(load_spec("joint"), load_dataset(dataset))


def main() -> None:
    """Build and sample once; print what it took as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="densing")
    parser.add_argument("--version", choices=VERSIONS, default="centred")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--tune", type=int, help="default: the sampler's own")
    parser.add_argument("--chains", type=int, help="default: pm.sample's own")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.perf_counter()
    model = build(load(arguments.dataset), arguments.version)
    built = time.perf_counter()
    with model:
        tree = pm.sample(
            arguments.draws,
            tune=arguments.tune,
            chains=arguments.chains,
            random_seed=arguments.seed,
            quiet=True,
            compute_convergence_checks=False,
        )
    sample = float(tree["posterior"].attrs["sampling_time"])
    compiled = time.perf_counter() - built - sample
    print(json.dumps({"build": built - began, "compile": compiled, "sample": sample}))


if __name__ == "__main__":
    main()
