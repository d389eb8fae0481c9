"""How often made-up datasets show a change, and where that is often enough."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from bayesdense.arrays import Floats
from bayesdense.comparison.verdict import is_clear
from bayesdense.jobs import Job, Results
from bayesdense.names import CI_PROB
from bayesdense.studies.power_jobs import is_claimed, rival_wins

#: Share of the made-up datasets that a change has to show in.
POWER: Final = 0.8


def found_in(values: Mapping[str, Floats], *, has_lfo: bool) -> dict[str, NDArray[np.bool_] | None]:
    """Whether each rule finds a change, (sizes, datasets); a wrong direction is no find."""
    right = values["p_change"] > 0.5
    right[0] = True  # where nothing changes either direction is a false alarm
    return {
        "verdict": rival_wins(values) & right if has_lfo else None,
        "probability": is_claimed(values["p_change"]) & right,
    }


def share_of(hits: int, n: int) -> dict[str, Any]:
    """Share of datasets with its 95 % interval (Jeffreys)."""
    low, high = beta.interval(CI_PROB, hits + 0.5, n - hits + 0.5)
    ends = [0.0 if hits == 0 else float(low), 1.0 if hits == n else float(high)]
    return {"hits": hits, "n": n, "share": hits / n, "eti95": ends}


def crossing(sizes: Floats, shares: Floats) -> float | None:
    """Smallest size from which on a share stays at or above `POWER`, by linear interpolation.

    Examples
    --------
    >>> crossing(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.6, 1.0]))
    1.5
    """
    below = np.flatnonzero(shares < POWER)
    if len(below) == 0:
        return float(sizes[0])
    k = int(below[-1])
    if k == len(sizes) - 1:
        return None
    part = (POWER - shares[k]) / (shares[k + 1] - shares[k])
    return float(sizes[k] + part * (sizes[k + 1] - sizes[k]))


def placebo_breaks(result: Mapping[str, Any]) -> dict[str, Any]:
    """Placebo breaks on the real data, and how often worlds without a break show one somewhere."""
    return {
        "dates": result["dates"],
        "n_decisive": sum(row["decisive"] for row in result["dates"]),
        "n_claimed": sum(row["claimed"] for row in result["dates"]),
        "anywhere": {
            "verdict": share_of(int(sum(result["clear"])), len(result["clear"])),
            "probability": share_of(int(sum(result["claimed"])), len(result["claimed"])),
        },
    }


def checked(jobs: Sequence[Job], results: Results) -> dict[str, Any]:
    """Full fits and closed form on the same datasets."""
    done = [results[job.key] for job in jobs]
    pairs = [outcome.result for outcome in done if outcome.is_done]
    failed = [f"{o.failure.type}: {o.failure.message}" for o in done if o.failure is not None]
    params = jobs[0].params
    out: dict[str, Any] = {
        "trend": params["trend"],
        "difference_per_year": params["change"],
        "n": len(pairs),
        "failed": failed,
        "datasets": pairs,
    }
    if not pairs:
        return out
    full, closed = (
        {name: np.array([pair[side][name] for pair in pairs]) for name in pairs[0][side]}
        for side in ("full", "closed")
    )
    z_full, z_closed = (_z(side["p_change"]) for side in (full, closed))
    claims = [is_claimed(side["p_change"]) for side in (full, closed)]
    clear = [is_clear(side["elpd_diff"], side["se"]) for side in (full, closed)]
    return out | {
        "claimed_full": int(claims[0].sum()),
        "claimed_closed_form": int(claims[1].sum()),
        "claims_agree": int((claims[0] == claims[1]).sum()),
        "clear_full": int(clear[0].sum()),
        "clear_closed_form": int(clear[1].sum()),
        "clear_agree": int((clear[0] == clear[1]).sum()),
        "mean_z_difference": float((z_full - z_closed).mean()),
        "rms_z_difference": float(np.sqrt(((z_full - z_closed) ** 2).mean())),
        "mean_sd_ratio": float((full["sd"] / closed["sd"]).mean()),
        "mean_elpd_difference": float((full["elpd_diff"] - closed["elpd_diff"]).mean()),
    }


def _z(p: Floats) -> Floats:
    """Normal quantile of a probability, held within what a few thousand draws can tell."""
    return np.asarray(norm.ppf(np.clip(p, 5e-4, 1 - 5e-4)))
