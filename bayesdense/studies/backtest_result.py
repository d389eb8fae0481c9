"""What the study `backtest` found: scores of predictions, and comparisons with baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from bayesdense.names import SCHEMA_VERSION
from bayesdense.proper_scores import ClusteredMean, clustered_mean
from bayesdense.studies.baselines import BASELINES
from bayesdense.studies.refits import Length
from bayesdense.summary import strict

RESULT_NAME: Final = "backtest.json"
MODEL: Final = "model"
#: Scores of a prediction, and whether more of it is better.
SCORES: Final[Mapping[str, bool]] = {"crps": False, "log_score": True}


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """Predictions of later LLMs' scores at each origin, scored; what `backtest` returns.

    Attributes
    ----------
    dataset
        Name, digest and counts.
    model, model_digest, seed, length
        Of every fit.
    origins
        One per origin; see `backtest.schema.json`. A fit that failed has `status` `failed` and a
        `message`.
    scores
        One row per origin, LLM and benchmark: what was predicted and how it scored.
    """

    dataset: Mapping[str, Any]
    model: str
    model_digest: str
    seed: int
    length: Length
    origins: tuple[Mapping[str, Any], ...]
    scores: tuple[Mapping[str, Any], ...]

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """Paired differences to each baseline, at each origin and over all of them."""
        frame = self.table()
        if frame.empty:
            return []
        groups: list[tuple[str | None, pd.DataFrame]] = [
            *((str(origin), part) for origin, part in frame.groupby("origin", sort=False)),
            (None, frame),
        ]
        return [
            {"origin": origin, **row}
            for origin, part in groups
            for name in BASELINES
            for row in _compared(part, name)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return it as `backtest.schema.json` describes it."""
        payload: dict[str, Any] = strict(
            {
                "schema": SCHEMA_VERSION,
                "dataset": dict(self.dataset),
                "model": self.model,
                "model_digest": self.model_digest,
                "seed": self.seed,
                **self.length.to_dict(),
                "baselines": dict(BASELINES),
                "origins": [dict(origin) for origin in self.origins],
                "comparisons": self.comparisons,
                "scores": [dict(row) for row in self.scores],
            }
        )
        return payload

    def table(self) -> pd.DataFrame:
        """Return every score that was predicted, one row each."""
        return pd.DataFrame([dict(row) for row in self.scores])

    def __repr__(self) -> str:
        """Count origins and scores."""
        done = sum(origin["status"] == "done" for origin in self.origins)
        return (
            f"Backtest(dataset {self.dataset['name']!r}, {done} of {len(self.origins)} origins, "
            f"{len(self.scores)} scores)"
        )


def _compared(frame: pd.DataFrame, baseline: str) -> list[dict[str, Any]]:
    """Model less baseline on the scores that both predict, with errors over families."""
    rows = []
    for score, more_is_better in SCORES.items():
        name = f"{baseline}_{score}"
        there = frame[frame[name].notna()] if name in frame else frame.iloc[:0]
        if there.empty:
            continue
        difference = (there[f"{MODEL}_{score}"] - there[name]).to_numpy(float)
        found = clustered_mean(difference, there["family"].tolist())
        rows.append(
            {
                "baseline": baseline,
                "score": score,
                "difference": found.mean,
                "se": found.se,
                "n": found.n,
                "n_families": found.n_clusters,
                "verdict": _verdict(found, more_is_better=more_is_better),
            }
        )
    return rows


def _verdict(found: ClusteredMean, *, more_is_better: bool) -> str:
    """Say who is better, if the difference is beyond two errors."""
    sign = found.sign if more_is_better else -found.sign
    return {1: "model better", -1: "baseline better", 0: "not distinguishable"}[sign]
