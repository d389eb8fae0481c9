"""Whether integrating sizes out on a grid was exact enough; `inference` measures it."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from bayesdense.checks.verdict import CheckResult, informed, judged, unmeasured
from bayesdense.results import Fit

_REMEDY: Final = "refine the grid: --set options.quadrature_spacing=0.125"
#: Variable of the group `quadrature` -> check, what it is, what to do.
_MEASURES: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "sd_difference": (
            "quadrature_log_likelihood",
            "nats (sd over draws of the difference to a 4x finer grid)",
            _REMEDY,
        ),
        "growth_shift": (
            "quadrature_growth",
            "posterior sds by which the finer grid moves growth",
            _REMEDY,
        ),
        "tail_error": (
            "quadrature_tails",
            "nats by which a likelihood still changes at the grid's ends",
            "the law is not yet flat there: report this fit, the grid should be wider",
        ),
    }
)


def quadrature(fit: Fit) -> Iterator[CheckResult]:
    """Check the quadrature error of a fit; without quadrature, say that there is none."""
    group = fit.group("quadrature")
    if not group.data_vars:
        yield _absent(fit)
    for variable, (check, found, remedy) in _MEASURES.items():
        if variable in group:
            # a shift can go either way
            yield judged(check, abs(float(group[variable])), found, remedy)


def _absent(fit: Fit) -> CheckResult:
    """Say why there is no quadrature error, or that it was not measured."""
    name = "quadrature_log_likelihood"
    if not fit.spec.is_joint:
        return informed(name, None, "no size is integrated: densities are given")
    if fit.spec.options.implementation == "latent":
        return informed(name, None, "no size is integrated: each is a parameter")
    return unmeasured(name, "the error of the quadrature was not measured: fit again")
