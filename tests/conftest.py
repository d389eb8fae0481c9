"""Options of the tests, and fits that several files read."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bayesdense.results import Fit


# The same examples on every machine: what passes here passes there.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--run-slow",
        action="store_true",
        help="also run the slow statistical tests (hours)",
    )
    parser.addoption(
        "--studies",
        metavar="DIR",
        help="folder of the slow studies' finished jobs (docs/evidence), judged as they are, and "
        "of those still to do; without it every job is run, as finished ones pass whatever the "
        "code does",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests out unless asked for."""
    if config.getoption("--run-slow"):
        return
    slow = [item for item in items if "slow" in item.keywords]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if "slow" not in item.keywords]


@pytest.fixture(scope="session")
def studies(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the slow studies' jobs."""
    given = request.config.getoption("--studies")
    if given and not Path(given).is_dir():
        raise pytest.UsageError(f"--studies {given}: no such folder")
    return Path(given) if given else tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="session")
def marginal_fit() -> "Fit":
    """A small fit of real data, by the default implementation."""
    return _small_fit("marginal", seed=3)


@pytest.fixture(scope="session")
def latent_fit() -> "Fit":
    """The same data and model with every size a parameter."""
    return _small_fit("latent", seed=4)


def _small_fit(implementation: str, seed: int) -> "Fit":
    """Twenty LLMs on two benchmarks."""
    from modelling import small_joint  # which takes seconds to import

    from bayesdense.inference import fit

    spec, dataset = small_joint()
    spec = spec.with_options(implementation=implementation)
    return fit(spec, dataset, draws=500, tune=200, chains=2, seed=seed)


@pytest.fixture
def minding_ctrl_c() -> Iterator[None]:
    """Where tests run in the background SIGINT is ignored, and programs started from there too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
