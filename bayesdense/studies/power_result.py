"""What the study `power` found: smallest changes of growth, in a table, in JSON and in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.names import SCHEMA_VERSION
from bayesdense.result_files import read_result
from bayesdense.statements import format_number
from bayesdense.studies.power_counts import POWER
from bayesdense.studies.power_jobs import CLAIMED
from bayesdense.studies.refits import Length
from bayesdense.summary import strict
from bayesdense.wording import printable, told

RESULT_NAME: Final = "power.json"
#: Rules by which a change is found: name -> what it says.
RULES: Final[Mapping[str, str]] = {
    "verdict": "leave-one-family-out differs by more than 4 nats and 2 clustered standard errors, "
    "and leave-future-out agrees in sign",
    "probability": f"P(change > 0) outside {CLAIMED[0]:g} to {CLAIMED[1]:g}",
}


@dataclass(frozen=True, slots=True, eq=False)
class Power:
    """What `power` returns.

    Attributes
    ----------
    dataset
        Name, digest and counts.
    model, model_digest, seed, length, n
        Of the fit about which worlds are made, the study's seed, and datasets of each size.
    reading
        That fit: growth, doubling time, checks; `closed_form` is growth by the closed form on the
        same data.
    trends
        One per rival: its sizes with how often each rule finds them, and the smallest change that
        is found in 80 %; see `power.schema.json`.
    placebo
        Breaks at dates of which nobody has said anything, on the real data.
    check
        Full fits beside the closed form; None if not asked for.
    """

    dataset: Mapping[str, Any]
    model: str
    model_digest: str
    seed: int
    length: Length
    n: int
    reading: Mapping[str, Any]
    trends: tuple[Mapping[str, Any], ...]
    placebo: Mapping[str, Any]
    check: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as `power.schema.json` describes it."""
        payload: dict[str, Any] = strict(
            {
                "schema": SCHEMA_VERSION,
                "dataset": dict(self.dataset),
                "model": self.model,
                "model_digest": self.model_digest,
                "seed": self.seed,
                **self.length.to_dict(),
                "n_simulations": self.n,
                "power": POWER,
                "rules": dict(RULES),
                "reading": dict(self.reading),
                "trends": [dict(trend) for trend in self.trends],
                "placebo": dict(self.placebo),
                "check": None if self.check is None else dict(self.check),
            }
        )
        return payload

    def table(self) -> pd.DataFrame:
        """Return one row per rival, size of change and rule."""
        return pd.DataFrame(
            [
                {
                    "trend": trend["trend"],
                    "factor": size["factor"],
                    "difference_per_year": size["difference_per_year"],
                    "rule": rule,
                    **{name: value for name, value in found.items() if name != "eti95"},
                    "share_low": found["eti95"][0],
                    "share_high": found["eti95"][1],
                }
                for trend in self.trends
                for size in trend["sizes"]
                for rule, found in size["rules"].items()
                if found is not None
            ]
        )

    def __repr__(self) -> str:
        """Say the smallest changes."""
        return "\n".join(
            statement(self.dataset["name"], trend, rule) for trend in self.trends for rule in RULES
        )


def statement(dataset: str, trend: Mapping[str, Any], rule: str) -> str:
    """Say what change a rule would find, in a sentence."""
    found = trend["smallest"][rule]
    if found is None:
        return f"{trend['trend']}, {rule}: {dataset} has too few families for this rule."
    if found["difference_per_year"] is None:
        largest = trend["sizes"][-1]
        most = _as_factor(largest["factor"]) or f"{largest['difference_per_year']:.2g} per year"
        held = largest["rules"][rule]
        low, high = held["eti95"]
        return (
            f"{trend['trend']}, {rule}: no change up to {most} is found in {POWER:.0%} of cases "
            f"(the largest in {held['share']:.0%}, 95 % interval {low:.0%} to {high:.0%})."
        )
    factor = _as_factor(found["factor"])
    said = f"{format_number(found['difference_per_year'])} per year" + (
        f" ({factor})" if factor else ""
    )
    return f"{trend['trend']}, {rule}: changes of {said} or more are found in {POWER:.0%} of cases."


def _as_factor(factor: float | None) -> str | None:
    """Spell a factor."""
    return None if factor is None else f"{factor:.3g}-fold"


def read_power(path: str | Path, dataset: Dataset) -> dict[str, Any]:
    """Read what a study of this dataset found: what `compare` shows beside its verdict.

    Returns
    -------
    dict
        `n_simulations`, `power`, `rules`, `trends` and `placebo` (without its dates) of the file.

    Raises
    ------
    BayesdenseError
        No such file, none of a study `power`, of another schema, or about other data.
    """
    where, what = printable(str(path)), f"result of power; its file is {RESULT_NAME}"
    content = read_result(path, "power", what)
    names = ("n_simulations", "power", "rules", "trends", "placebo")
    if (digest := content["dataset"].get("digest")) != dataset.digest:
        raise BayesdenseError(
            f"{where}: is about data with the digest {told(digest)}, not about {dataset.name}; run "
            "power on it"
        )
    kept = {name: content[name] for name in names}
    return kept | {"placebo": {k: v for k, v in content["placebo"].items() if k != "dates"}}
