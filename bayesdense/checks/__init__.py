"""Verdict on a fit: convergence, precision, numerical error, misfit, and what it leans on.

`check` never looks at more than the fit itself and imports no PyMC. A threshold that is missed
gives REVIEW where it is news about the data or the model, FAIL where the numbers cannot be used.
"""

from bayesdense.checks.patterns import patterns
from bayesdense.checks.predictive import predictive
from bayesdense.checks.quadrature import quadrature
from bayesdense.checks.sampling import Sampling, finite, sampling
from bayesdense.checks.sensitivity import psense
from bayesdense.checks.stages import is_cut, stages
from bayesdense.checks.structure import structure
from bayesdense.checks.thresholds import THRESHOLDS, Status, Thresholds
from bayesdense.checks.verdict import CheckResult, Checks
from bayesdense.results import Fit

__all__ = ["THRESHOLDS", "CheckResult", "Checks", "Status", "Thresholds", "check"]


def check(fit: Fit) -> Checks:
    """Check a fit against fixed thresholds.

    Parameters
    ----------
    fit
        From `bayesdense.fit` or `load_fit`. A check whose group the fit lacks (no scores in a
        fit of densities, no held-out points) is absent.

    Returns
    -------
    Checks
        `status` is the worst of all `items`; every check made is there, also those that passed.

    Examples
    --------
    ``check(fit).raise_for_failure()``; ``print(check(fit))`` shows the table.
    """
    found = _sampled(fit)
    whole = finite(fit.posterior)
    # What is computed from draws that are no numbers would only repeat that they are none.
    rest = () if whole.status == "fail" else _beyond_sampling(fit)
    return Checks(
        items=(whole, *found.items, *rest),
        max_rhat=found.max_rhat,
        min_ess_bulk=found.min_ess_bulk,
        min_ess_tail=found.min_ess_tail,
        divergences=found.divergences,
    )


def failures(fit: Fit) -> tuple[str, ...]:
    """Name the checks of a fit that say that its numbers cannot be used.

    They are those of the sampling and of numerical error; no other fails, and none takes long.

    Parameters
    ----------
    fit
        From `bayesdense.fit` or `load_fit`.
    """
    items = (finite(fit.posterior), *_sampled(fit).items, *quadrature(fit))
    return tuple(item.name for item in items if item.status == "fail")


def _sampled(fit: Fit) -> Sampling:
    """Checks of the sampling: of a cut fit, stage by stage."""
    return stages(fit) if is_cut(fit) else sampling(fit)


def _beyond_sampling(fit: Fit) -> tuple[CheckResult, ...]:
    """Numerical error, misfit, and what the answer leans on."""
    return (*quadrature(fit), *predictive(fit), *patterns(fit), *structure(fit), *psense(fit))
