"""Sampling of a cut fit: each stage by itself, as no R-hat means anything on pooled chains."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from bayesdense.checks.sampling import Sampling, precision_items
from bayesdense.checks.verdict import CheckResult, judged, unmeasured
from bayesdense.results import Fit

_STAGE = "stage"
#: Variable of the group `stages` -> check of the first stage, check of the refits after it.
_MEASURES = (
    ("max_rhat", "r_hat", "r_hat_refits"),
    ("min_ess_bulk", "ess_bulk", "ess_refits"),
    ("min_ess_tail", "ess_tail", "ess_refits"),
)


def is_cut(fit: Fit) -> bool:
    """Whether law and map of a fit learnt from the reference data alone."""
    return fit.spec.is_joint and fit.spec.options.feedback == "cut"


def stages(fit: Fit) -> Sampling:
    """Check the stages of a cut fit by the diagnostics that were kept of each."""
    group = fit.group("stages")
    if not group.data_vars:
        missing = unmeasured("r_hat", "the stages of this cut fit kept no diagnostics: fit again")
        return Sampling((missing, *precision_items(fit)), None, None, None, None)
    return Sampling(
        (*_items(group), *precision_items(fit)),
        float(group["max_rhat"].max(skipna=False)),
        float(group["min_ess_bulk"].min(skipna=False)),
        float(group["min_ess_tail"].min(skipna=False)),
        int(group["divergences"].sum()),
    )


def _items(group: xr.Dataset) -> Iterator[CheckResult]:
    """Items of every stage; the first is sampled once, the later ones many times."""
    for k, stage in enumerate(group[_STAGE].values):
        row = group.isel({_STAGE: k})
        for variable, first, later in _MEASURES:
            yield _diagnostic(row, variable, later if k else first, str(stage))
        count, draws = int(row["divergences"]), int(row["n_draws"])
        yield judged(
            "divergences",
            count / max(draws, 1),
            f"{count} of {draws:,} draws",
            "sample this stage longer, or choose tighter priors",
            of=str(stage),
        )


def _diagnostic(row: xr.Dataset, variable: str, check: str, stage: str) -> CheckResult:
    """Judge one diagnostic of one stage; bulk and tail of refits share a check."""
    of = f"{stage} {variable[-4:]}" if check == "ess_refits" else stage
    value = float(row[variable])
    remedy = "sample this stage longer (--tune and --draws)"
    if check.endswith("_refits"):
        remedy = "refits grow longer from 50,000 draws of all chains on (--draws, --chains)"
    return judged(check, value, "" if np.isfinite(value) else "not a number", remedy, of=of)
