"""Whitening, sampling and its interruption, on targets whose posterior is known."""

import signal
import threading
import time
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytensor.tensor as pt
import pytest
import xarray as xr
from scipy import stats

from bayesdense.engine import cut, joint
from bayesdense.engine import sample as sampling
from bayesdense.engine.coordinates import Coordinates
from bayesdense.engine.cut import _diagnostics
from bayesdense.engine.interrupts import noticing_interrupts
from bayesdense.engine.joint import whitening_of
from bayesdense.engine.runs import Settings, part_of
from bayesdense.engine.sample import Draws, find_whitening, sample_nuts
from bayesdense.engine.target import Target, compile_target
from bayesdense.engine.whiten import Whitening, whiten_at_mode

MEAN = np.array([3.0, -1.0, 0.5])
COVARIANCE = np.array([[4.0, 0.9, 0.0], [0.9, 0.25, 0.05], [0.0, 0.05, 0.1]])
PRECISION = np.linalg.inv(COVARIANCE)


def gaussian(z: np.ndarray) -> tuple[float, np.ndarray]:
    error = z - MEAN
    return -0.5 * error @ PRECISION @ error, -PRECISION @ error


def laid_out() -> Coordinates:
    """Normal(given, COVARIANCE); natural parameters are a vector and the exp of the last."""
    z, given = pt.dvector("z"), pt.dvector("given")
    error = z - given
    return Coordinates(
        z=z,
        given=given,
        given_names=("mean",),
        blocks=MappingProxyType({"place": slice(0, 2), "width_sd": slice(2, 3)}),
        natural=MappingProxyType({"place": z[:2], "width_sd": pt.exp(z[2])}),
        log_density=-0.5 * error @ pt.constant(PRECISION) @ error,
        start=np.zeros(3),
    )


@pytest.fixture(scope="module")
def target() -> Target:
    return compile_target(laid_out())


def drawn(target: Target, seed: int = 1, **changes: object) -> Draws:
    settings = {"draws": 500, "tune": 200, "chains": 2, "cores": 1, "given": MEAN} | changes
    whitening = settings.pop("whitening", Whitening(MEAN, np.linalg.cholesky(COVARIANCE)))
    return sample_nuts(target, whitening, seed=seed, **settings)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the target


def test_target_has_value_gradient_and_natural_parameters(target: Target) -> None:
    z = np.array([1.0, 2.0, 3.0])
    value, gradient = target.log_density(z, MEAN)
    expected, slope = gaussian(z)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(gradient, slope)
    points = np.arange(24.0).reshape(2, 4, 3) / 10
    natural = target.natural(points, MEAN)
    assert natural["place"].shape == (2, 4, 2) and natural["width_sd"].shape == (2, 4)
    np.testing.assert_allclose(natural["width_sd"], np.exp(points[..., 2]))
    assert target.compile_seconds > 0


def test_whitened_coordinates_are_the_chain_rule(target: Target) -> None:
    scale = np.array([[1.0, 0.2, 0.0], [0.0, 2.0, 0.1], [0.3, 0.0, 0.5]])
    zeta = np.array([0.4, -1.0, 2.0])
    value, gradient = target.whitened(zeta, MEAN, scale, MEAN)
    expected, slope = gaussian(MEAN + scale @ zeta)
    assert value == pytest.approx(expected)
    np.testing.assert_allclose(gradient, scale.T @ slope)
    np.testing.assert_allclose(Whitening(MEAN, scale).apply(zeta), MEAN + scale @ zeta)
    np.testing.assert_allclose(
        Whitening(MEAN, scale).apply(np.stack([zeta, 2 * zeta]))[1], MEAN + scale @ zeta * 2
    )


def test_chains_need_not_wait_for_one_another(target: Target) -> None:
    """Compiled here and kept in no cache, so that the option is what runs."""
    assert target.whitened.targetoptions["nogil"] is True  # type: ignore[attr-defined]


def test_scale_parameters_are_known_by_their_name() -> None:
    np.testing.assert_array_equal(laid_out().scale_parameters, [False, False, True])


# ---------------------------------------------------------------- whitening


def test_whitening_at_the_mode_makes_a_gaussian_round() -> None:
    found = whiten_at_mode(gaussian, np.zeros(3), np.zeros(3, dtype=bool))
    np.testing.assert_allclose(found.centre, MEAN, atol=1e-5)
    np.testing.assert_allclose(found.scale @ found.scale.T, COVARIANCE, rtol=1e-4, atol=1e-5)


def test_frozen_coordinates_stay_where_they_start() -> None:
    start, frozen = np.array([0.0, 0.0, 0.2]), np.array([False, False, True])
    found = whiten_at_mode(gaussian, start, frozen)
    assert found.centre[2] == 0.2
    np.testing.assert_allclose(found.scale[2], [0, 0, 0.5])
    # what is left is the Gaussian given the frozen coordinate
    shift = COVARIANCE[:2, 2] / COVARIANCE[2, 2] * (0.2 - MEAN[2])
    np.testing.assert_allclose(found.centre[:2], MEAN[:2] + shift, atol=1e-5)
    inner = found.scale[:2, :2]
    np.testing.assert_allclose(inner @ inner.T, np.linalg.inv(PRECISION[:2, :2]), rtol=1e-3)


def test_directions_that_data_leave_open_get_a_bounded_scale() -> None:
    def ridge(z: np.ndarray) -> tuple[float, np.ndarray]:
        return -0.5 * (z[0] + z[1]) ** 2, -np.array([z[0] + z[1], z[0] + z[1]])

    found = whiten_at_mode(ridge, np.array([1.0, 2.0]), np.zeros(2, dtype=bool))
    scales = np.linalg.svd(found.scale)[1]
    np.testing.assert_allclose(scales, [3.0, np.sqrt(0.5)], rtol=1e-3)


def test_a_search_that_leaves_the_domain_comes_back() -> None:
    def gamma(z: np.ndarray) -> tuple[float, np.ndarray]:
        if z[0] <= 0:
            return -np.inf, np.full(1, np.nan)
        return float(3 * np.log(z[0]) - z[0]), np.array([3 / z[0] - 1])

    found = whiten_at_mode(gamma, np.array([0.1]), np.zeros(1, dtype=bool))
    assert found.centre[0] == pytest.approx(3.0, rel=1e-3)
    assert found.scale[0, 0] == pytest.approx(np.sqrt(3.0), rel=1e-2)


def test_find_whitening_freezes_scales_and_takes_what_is_given(target: Target) -> None:
    found = find_whitening(target, MEAN)
    assert found.centre[2] == 0.0
    shift = COVARIANCE[:2, 2] / COVARIANCE[2, 2] * (0.0 - MEAN[2])
    np.testing.assert_allclose(found.centre[:2], MEAN[:2] + shift, atol=1e-4)


def test_whitening_by_draws() -> None:
    rng = np.random.default_rng(0)
    many = rng.multivariate_normal(MEAN, COVARIANCE, (4, 5000))
    found = whitening_of(many)
    np.testing.assert_allclose(found.centre, MEAN, atol=0.05)
    np.testing.assert_allclose(found.scale @ found.scale.T, COVARIANCE, rtol=0.1, atol=0.01)


def test_few_draws_are_shrunk_towards_independence() -> None:
    rng = np.random.default_rng(0)
    few = rng.normal(size=(1, 8, 20))  # their covariance has no inverse
    found = whitening_of(few)
    assert np.isfinite(found.scale).all()
    assert np.linalg.cond(found.scale) < 20


# ---------------------------------------------------------------- sampling


def test_nuts_recovers_a_known_normal(target: Target) -> None:
    z = drawn(target, draws=2000, tune=300, chains=2).z
    assert z.shape == (2, 2000, 3)
    points = z.reshape(-1, 3)
    sd = np.sqrt(np.diag(COVARIANCE))
    error = (points.mean(axis=0) - MEAN) / sd
    assert np.abs(error).max() < 5 / np.sqrt(1000), "four thousand draws, an ESS of 1,000 or more"
    ratio = np.cov(points.T) / np.outer(sd, sd) - COVARIANCE / np.outer(sd, sd)
    assert np.abs(ratio).max() < 0.15
    for k in range(3):
        quantile = stats.norm.cdf((points[:, k] - MEAN[k]) / sd[k])
        assert np.abs(np.quantile(quantile, [0.025, 0.25, 0.75, 0.975]) - [0.025, 0.25, 0.75, 0.975]
                      ).max() < 0.03  # fmt: skip


def test_a_poor_whitening_only_costs_time(target: Target) -> None:
    z = drawn(target, draws=1500, whitening=Whitening(np.zeros(3), np.eye(3))).z.reshape(-1, 3)
    sd = np.sqrt(np.diag(COVARIANCE))
    assert np.abs((z.mean(axis=0) - MEAN) / sd).max() < 0.25


def test_a_seed_gives_the_same_draws_bit_by_bit(target: Target) -> None:
    first, again, other = (drawn(target, seed).z for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] != first[1]).any(), "chains differ"
    many = drawn(target, 7, cores=2).z
    np.testing.assert_array_equal(first, many)


def test_statistics_are_those_that_the_checks_read(target: Target) -> None:
    found = drawn(target, draws=50, tune=50).stats
    assert {"diverging", "depth", "maxdepth_reached", "n_steps", "energy", "step_size"} <= set(
        found
    )
    assert dict(found.sizes) == {"chain": 2, "draw": 50}
    assert not found["diverging"].any()


def test_progress_counts_all_chains(target: Target) -> None:
    seen: list[tuple[int, int, int]] = []
    drawn(target, draws=3000, tune=100, progress=lambda *counts: seen.append(counts))
    assert seen
    assert all(done <= total == 2 * 3100 for done, total, _ in seen)
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


type Told = tuple[int, int, int]


def asked(seen: list[Told], draws: int = 1000) -> Settings:
    """Settings of a run that tells its progress to a list."""
    return Settings(
        draws, 200, 4, 1, np.random.SeedSequence(1), lambda *counts: seen.append(counts)
    )


def test_progress_of_parts_is_that_of_the_whole() -> None:
    seen: list[Told] = []
    part = part_of(asked(seen).progress, before=2400, total=7200, divergences=2)
    assert part is not None
    part(4800, 4800, 3)
    assert seen == [(7200, 7200, 5)]
    assert part_of(None, before=0, total=1) is None


def test_pilot_and_main_run_are_one_whole(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: object, __: object, *, draws: int, tune: int, chains: int, **more: object) -> Draws:
        total = chains * (draws + tune)
        more["progress"](0, total, 0)  # type: ignore[operator]
        more["progress"](total, total, 7)  # type: ignore[operator]
        return Draws(np.random.default_rng(0).normal(size=(chains, draws, 3)), xr.Dataset())

    seen: list[Told] = []
    monkeypatch.setattr(joint, "find_whitening", lambda _: None)
    monkeypatch.setattr(joint, "sample_nuts", run)
    joint.pilot_and_main(target, asked(seen))
    assert seen == [(0, 7200, 0), (2400, 7200, 0), (2400, 7200, 0), (7200, 7200, 7)]


def test_every_run_of_a_second_stage_is_told(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred short runs without a word would look like a program that hangs."""
    seen: list[Told] = []
    for name, value in (("_POINTS", 3), ("_TUNE", 50), ("_DRAWS", 30)):
        monkeypatch.setattr(cut, name, value)
    vectors = MEAN + np.arange(3)[:, None]
    runs = cut._second_stage(target, vectors, asked(seen, draws=20))
    assert [run.z.shape for run in runs] == [(2, 30, 3)] * 3
    assert {total for _, total, _ in seen} == {3 * 2 * 80}
    done = [count for count, _, _ in seen]
    assert done == sorted(done)
    for k in range(3):
        assert any(160 * k <= count <= 160 * (k + 1) for count in done), f"run {k} was silent"


def test_a_shortened_trace_is_an_error(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(sampler: object, interrupted: object) -> object:
        tree = finish(sampler, interrupted)
        return {
            "posterior": {"zeta": tree["posterior"]["zeta"][:, :10]},
            "sample_stats": tree["sample_stats"],
        }

    finish = sampling._finish
    monkeypatch.setattr(sampling, "_finish", half)
    with pytest.raises(RuntimeError, match=r"nutpie returned .* draws instead of \(2, 50\)"):
        drawn(target, draws=50, tune=50)


# ---------------------------------------------------------------- interruption


def test_ctrl_c_cancels_the_sampler_and_is_raised_again(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    samplers = []
    start = sampling.nutpie.sample

    def recording(*args: object, **kwargs: object) -> object:
        samplers.append(start(*args, **kwargs))
        return samplers[-1]

    def press(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling.nutpie, "sample", recording)
    monkeypatch.setattr(sampling.time, "sleep", press)
    with pytest.raises(KeyboardInterrupt):
        drawn(target, draws=5_000_000, tune=1000)
    monkeypatch.undo()
    (sampler,) = samplers
    threads = threading.active_count()
    time.sleep(0.3)
    assert threading.active_count() <= threads
    assert sampler.is_finished or sampler._sampler is None, "nothing goes on sampling"
    drawn(target, draws=20, tune=20)


def test_whatever_ends_the_wait_ends_the_sampling() -> None:
    for problem in (KeyboardInterrupt, SystemExit, RuntimeError):
        cancelled = []

        def wait(problem: type[BaseException] = problem) -> None:
            raise problem

        sampler = SimpleNamespace(
            is_finished=True, wait=wait, cancel=lambda done=cancelled: done.append(True)
        )
        with pytest.raises(problem):
            sampling._finish(sampler, lambda: False)
        assert cancelled == [True]


def test_a_lost_interrupt_is_noticed_while_polling() -> None:
    cancelled = []
    sampler = SimpleNamespace(is_finished=False, cancel=lambda: cancelled.append(True))
    with pytest.raises(KeyboardInterrupt):
        sampling._finish(sampler, lambda: True)
    assert cancelled == [True]


def test_a_late_answer_is_no_end() -> None:
    class Busy:
        asked = 0

        @property
        def is_finished(self) -> bool:
            self.asked += 1
            if self.asked < 3:
                raise TimeoutError
            return True

        def wait(self) -> str:
            return "tree"

    busy = Busy()
    assert sampling._finish(busy, lambda: False) == "tree"
    assert busy.asked == 3


@pytest.mark.usefixtures("minding_ctrl_c")
def test_a_first_interrupt_is_noted_and_a_second_acts_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with noticing_interrupts() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupted()
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def ask() -> None:
        with noticing_interrupts() as interrupted:
            seen.append((interrupted(), signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


# ---------------------------------------------------------------- diagnostics of stages


def test_diagnostics_are_the_worst_over_parameters() -> None:
    rng = np.random.default_rng(0)
    good = rng.normal(size=(4, 500))
    bad = good + np.arange(4)[:, None]
    rhat, bulk, tail = _diagnostics({"good": good, "pair": np.stack([good, bad], axis=-1)})
    assert rhat > 1.5 and bulk < 50 and tail < 1000
    rhat, bulk, _ = _diagnostics({"good": good})
    assert rhat < 1.02 and bulk > 1200
