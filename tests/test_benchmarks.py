"""The race of `benchmarks/`: its model is bayesdense's, its arithmetic right; no sampling."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pymc as pm
import pytest
import xarray as xr

from bayesdense import load_dataset, load_spec
from bayesdense.build import build_from_observations

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
#: Terms whose latents the textbook has and bayesdense integrates out.
INTEGRATED = ("loss", "loss_score_count")


def module(name: str) -> ModuleType:
    """A module of the folder, which is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def textbook() -> ModuleType:
    return module("textbook")


@pytest.fixture(scope="module")
def measures() -> ModuleType:
    return module("measures")


@pytest.fixture(scope="module")
def observations(textbook: ModuleType):
    return textbook.load("densing")


@pytest.fixture(scope="module")
def ours(observations) -> pm.Model:
    spec = load_spec("joint").with_options(implementation="latent")
    return build_from_observations(spec, observations)


def log_densities(model: pm.Model, names: list[str], point: dict) -> list[np.ndarray]:
    terms = model.logp(vars=[model[name] for name in names], jacobian=False, sum=False)
    compiled = model.compile_fn(
        terms, inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )
    return compiled({value.name: point[value.name] for value in model.value_vars})


@pytest.mark.parametrize("version", ["centred", "non_centred"])
def test_textbook_has_every_global_and_starts_finite(textbook, observations, version) -> None:
    model = textbook.build(observations, version)
    assert set(textbook.GLOBALS) <= set(model.named_vars)
    assert {"run_effect", "size_effect", "family_effect", "count_logit"} <= set(model.named_vars)
    assert model["log_effective_params"].eval().shape == (112,)
    assert all(np.isfinite(value) for value in model.point_logps(round_vals=4).values())


def test_globals_are_all_of_bayesdense_but_effects_and_sizes(textbook, ours) -> None:
    free = {variable.name for variable in ours.free_RVs}
    assert free - set(textbook.GLOBALS) == {"family_effect", "log_effective_params"}
    assert set(textbook.GLOBALS) <= free


def test_terms_of_the_textbook_are_those_of_bayesdense(textbook, observations, ours) -> None:
    theirs = textbook.build(observations, "centred")
    rng = np.random.default_rng(1)
    point = {
        name: value + 0.1 * rng.normal(size=np.shape(value))
        for model in (theirs, ours)
        for name, value in model.initial_point().items()
    }
    names = [term.name for term in ours.basic_RVs if term.name not in INTEGRATED]
    pairs = zip(
        names, log_densities(ours, names, point), log_densities(theirs, names, point), strict=True
    )
    for name, one, other in pairs:
        np.testing.assert_allclose(other, one, rtol=3e-6, atol=3e-6, err_msg=name)


def test_losses_of_the_textbook_integrate_to_those_of_bayesdense(
    textbook, observations, ours
) -> None:
    """Given everything else the losses are normal: their covariance follows from the effects."""
    model = textbook.build(observations, "non_centred")
    latents = [model["run_effect"], model["size_effect_offset"]]
    point = model.initial_point()
    (mean_rv, sd_rv) = model["loss"].owner.op.dist_params(model["loss"].owner)
    inputs = [model.rvs_to_values[variable] for variable in latents]
    mean, sd = model.replace_rvs_by_values([mean_rv, sd_rv])
    compiled = model.compile_fn(
        [mean, sd], inputs=model.value_vars, mode="FAST_COMPILE", on_unused_input="ignore"
    )

    def mean_at(effects: np.ndarray) -> np.ndarray:
        n_runs = len(observations.losses.runs)
        parts = dict(
            zip((v.name for v in inputs), (effects[:n_runs], effects[n_runs:]), strict=True)
        )
        return compiled(point | parts)[0]

    n_effects = len(observations.losses.runs) + observations.losses.n_clusters
    base = mean_at(np.zeros(n_effects))
    design = np.stack([mean_at(unit) - base for unit in np.eye(n_effects)], axis=1)
    covariance = np.diag(compiled(point)[1] ** 2) + design @ design.T
    error = observations.losses.log_loss - base
    expected = -0.5 * (
        error @ np.linalg.solve(covariance, error)
        + np.linalg.slogdet(covariance)[1]
        + len(error) * np.log(2 * np.pi)
    )
    start = dict(ours.initial_point())
    for name in ("param_exponent", "token_exponent"):  # offsets of 0: the medians
        start[f"{name}_log__"] = np.full(5, point[f"{name}_mean"])
    (found,) = log_densities(ours, ["loss"], start)
    assert np.sum(found) == pytest.approx(expected, rel=1e-6)


def test_tiling_repeats_llms_and_scores(observations) -> None:
    tiled = module("gradients").tiled(observations, 3)
    n_llms, n_scores = len(observations.llms.names), len(observations.scores.score)
    assert len(set(tiled.llms.names)) == len(tiled.llms.years) == 3 * n_llms
    assert tiled.scores.first[-1] == len(tiled.scores.score) == 3 * n_scores
    np.testing.assert_array_equal(
        np.repeat(np.arange(3 * n_llms), np.diff(tiled.scores.first)), tiled.scores.llm_idx
    )


def test_help_names_every_option() -> None:
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = ("--quick", "--format", "--seeds", "--out", "--dataset", "--only")
    assert all(option in said for option in options)


def a_run(measures: ModuleType, setting: str, seed: int, ess: float, seconds: float):
    return measures.Run(
        setting=setting,
        seed=seed,
        chains=2,
        draws=1000,
        sample_s=seconds,
        compile_s=None,
        worst="loss_floor[MMLU]",
        worst_ess=ess,
        growth_ess=2 * ess,
        max_rhat=1.005,
        divergences=0,
        steps_per_draw=15.0,
        load=1.0,
    )


def settings_of(measures: ModuleType, **speeds: list[float]) -> dict:
    return {
        name: measures.summary(
            [a_run(measures, name, seed, 10 * speed, 10.0) for seed, speed in enumerate(values)]
        )
        for name, values in speeds.items()
    }


def test_ratios_take_medians_and_the_better_version(measures) -> None:
    settings = settings_of(
        measures, ours=[90, 100, 300], centred=[1, 2, 50], other=[4, 5, 6], tuned=[10, 20, 30]
    )
    found = measures.ratios(
        settings, ours="ours", textbook=["centred", "other"], tuned=["tuned", "not raced"]
    )
    assert found == {
        "ess_per_second_ratio_vs_textbook_pymc": pytest.approx(100 / 5),
        "ess_per_second_ratio_vs_best_tuned": pytest.approx(100 / 20),
        "growth_ess_per_second_ratio": pytest.approx(100 / 5),
    }


def test_ratios_without_a_side_are_none(measures) -> None:
    found = measures.ratios(
        settings_of(measures, ours=[1.0]), ours="ours", textbook=["centred"], tuned=[]
    )
    assert set(found.values()) == {None}


def test_summary_gives_median_and_range_as_json(measures) -> None:
    said = settings_of(measures, ours=[1.0, 2.0, 4.0])["ours"]
    assert said["ess_per_second"] == {"median": 2.0, "min": 1.0, "max": 4.0}
    assert "compile_s" not in said
    assert json.loads(json.dumps(said)) == said


def test_table_has_a_row_for_every_setting(measures) -> None:
    lines = measures.table(settings_of(measures, ours=[1.0, 2.0], other=[3.0])).splitlines()
    assert [line.split()[0] for line in lines] == ["setting", "ours", "other"]
    assert "1.5 (1-2)" in lines[1]


def test_json_holds_no_nan() -> None:
    said = module("speed").plain({"a": [np.float64(1.5), np.nan], 112: {"b": None, "c": True}})
    assert said == {"a": [1.5, None], "112": {"b": None, "c": True}}


def test_extrapolation_counts_what_comes_before_sampling(measures) -> None:
    run = a_run(measures, "ours", 1, 100.0, 3.0)
    assert measures.extrapolated(run, before=7.0) == pytest.approx(37.0)
    assert measures.draws_to_converge(run) == 12_000


def test_agreement_is_in_units_of_monte_carlo_error(measures) -> None:
    rng = np.random.default_rng(3)

    def draws(shift: float) -> xr.Dataset:
        values = rng.normal(size=(4, 500))
        floors = rng.normal([0.0, shift], size=(4, 500, 2))
        return xr.Dataset(
            {
                "growth_rate": (("chain", "draw"), values),
                "loss_floor": (("chain", "draw", "benchmark"), floors),
            },
            coords={"benchmark": ["A", "B"]},
        )

    same, apart = (measures.agreement(draws(0.0), draws(shift)) for shift in (0.0, 0.5))
    assert abs(same["worst_z"]) < 4
    assert same["n_parameters"] == 3
    assert apart["worst"] == "loss_floor[B]"
    assert apart["worst_z"] < -8


def test_compiled_code_is_kept_in_one_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = module("processes").empty_caches(tmp_path)
    subprocess.run([sys.executable, "-c", "import bayesdense"], env=environment, check=True)
    assert len(list((tmp_path / "python").rglob("bayesdense/__init__.*.pyc"))) == 1


def test_a_quick_race_says_all_that_is_asked(measures, monkeypatch) -> None:
    """The whole of --quick but sampling, processes and gradients, which are made up."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    speed, contenders, processes = map(module, ("speed", "contenders", "processes"))
    process = processes.Process(20.0, 0.5, 0, {"sample": 5.0})
    monkeypatch.setattr(processes, "run_fit", lambda *_, **__: process)
    monkeypatch.setattr(processes, "run_textbook", lambda *_, **__: process)
    monkeypatch.setattr(speed, "gradients", lambda _: {"gradient_microseconds": 50.0})

    def racing(seconds: float):
        def run(seed: int):
            rng = np.random.default_rng(seed)
            draws = {
                name: (("chain", "draw"), rng.normal(size=(2, 200)))
                for name in ("growth_rate", "family_sd")
            }
            stats = {
                name: (("chain", "draw"), np.ones((2, 200))) for name in ("n_steps", "diverging")
            }
            return contenders.Drawn(xr.Dataset(draws), xr.Dataset(stats), seconds, None)

        return run

    names = {contenders.OURS: 1.0, contenders.CHOSEN: 8.0}
    names |= dict.fromkeys(contenders.DEFAULTS.values(), 10.0)
    found = [contenders.Contender(name, racing(seconds)) for name, seconds in names.items()]
    monkeypatch.setattr(
        contenders, "contenders", lambda _: [one for one in found if one.name != contenders.CHOSEN]
    )
    monkeypatch.setattr(
        contenders, "tuned", lambda _: [one for one in found if one.name == contenders.CHOSEN]
    )
    result = speed.plain(speed.race(speed.parser().parse_args(["--quick"])))
    assert result["ess_per_second_ratio_vs_textbook_pymc"] == pytest.approx(10.0)
    assert result["ess_per_second_ratio_vs_best_tuned"] == pytest.approx(8.0)
    assert result["growth_ess_per_second_ratio"] == pytest.approx(10.0)
    assert result["warm_seconds"] == result["cold_seconds"] == 20.0
    assert result["seconds_to_converged_ratio"] > 1
    assert result["seconds_to_converged"]["textbook"]["extrapolated"]
    assert result["gradient_microseconds"] == 50.0
    assert result["seeds"] == [1, 2]
    assert result["agreement"]["n_parameters"] == 2
    assert contenders.OURS in speed.as_text(result)


def test_a_tiled_dataset_has_families_and_llms_of_its_own() -> None:
    dataset = load_dataset("densing").base_only()
    big = module("scale").tiled(load_dataset("densing"), 250)
    assert dataset.llms is not None and big.llms is not None and big.scores is not None
    assert len(big.llms) == big.llms["llm"].nunique() == 250
    assert big.llms["family"].nunique() > 2 * dataset.llms["family"].nunique()
    assert set(big.scores["llm"]) == set(big.llms["llm"])
    assert not big.scores.duplicated(["llm", "benchmark"]).any()
