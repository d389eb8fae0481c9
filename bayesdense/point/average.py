"""The paper's AVERAGE panel: one law and one map for a weighted mean of its five benchmarks."""

from typing import Final

import numpy as np
import pandas as pd

from bayesdense.catalog import dataset_path
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.wording import listing

AVERAGE: Final = "AVERAGE"
#: Weights of the scores: the mean of four fields, the two code benchmarks sharing one.
SCORE_WEIGHTS: Final = {"MMLU": 0.25, "BBH": 0.25, "MATH": 0.25, "HumanEval": 0.125, "MBPP": 0.125}
#: The panel's losses are the plain mean of these; HumanEval is left out (as read off the figure).
LOSS_BENCHMARKS: Final = ("MMLU", "BBH", "MATH", "MBPP")
#: Digitised losses differ from their mean by up to 1.5e-5.
_LOSS_TOLERANCE: Final = 1e-3


def average_panel() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the AVERAGE panel that ships with `densing`: its runs and its loss-score points.

    Returns
    -------
    tuple of pandas.DataFrame
        Columns as `runs.csv` and `loss_scores.csv`; the one benchmark is called AVERAGE.

    Notes
    -----
    The two axes are on different loss scales: the scores average all five benchmarks, the losses
    of the runs leave HumanEval out (the 0.8B run at 60 tokens per parameter has .2977 on one and
    .2734 on the other). Inverting through both is what the paper does.
    """
    folder = dataset_path("densing") / "paper"
    return (
        pd.read_csv(folder / "average_runs.csv"),
        pd.read_csv(folder / "average_loss_scores.csv"),
    )


def average_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Weighted mean score of each LLM that has all five, as rows of benchmark AVERAGE.

    Parameters
    ----------
    scores
        Columns llm, benchmark, score; one row per LLM and benchmark.

    Returns
    -------
    pandas.DataFrame
        The same columns, complete LLMs only, in order of name.
    """
    wide = scores.pivot(index="llm", columns="benchmark", values="score")
    complete = wide.reindex(columns=list(SCORE_WEIGHTS)).dropna()
    mean = complete.to_numpy() @ np.array(list(SCORE_WEIGHTS.values()))
    return pd.DataFrame({"llm": complete.index, "benchmark": AVERAGE, "score": mean})


def check_average_applies(dataset: Dataset) -> None:
    """Raise `BayesdenseError` unless the dataset's ladder is the one of the AVERAGE panel."""
    runs = dataset.runs
    names = set() if runs is None else set(runs["benchmark"])
    missing = [name for name in SCORE_WEIGHTS if name not in names]
    if runs is None or missing:
        problem = f"{dataset.name} has no runs of {listing(missing)}"
    elif not _is_panels_ladder(runs):
        problem = f"the runs of {dataset.name} are not the panel's"
    else:
        return
    raise BayesdenseError(
        f"aggregate = 'average': {problem}; it rests on the paper's AVERAGE panel, read off its"
        " figure for the reference runs of densing. Use aggregate = 'median'"
    )


def _is_panels_ladder(runs: pd.DataFrame) -> bool:
    """Whether the panel's losses are the mean of these runs' losses."""
    panel, _ = average_panel()
    sizes = ["n_params", "n_tokens"]
    mean = runs[runs["benchmark"].isin(LOSS_BENCHMARKS)].groupby(sizes)["loss"].mean()
    panel_loss = panel.set_index(sizes)["loss"]
    both = pd.concat([mean, panel_loss], axis=1, keys=["mean", "panel"])
    return bool(np.allclose(both["mean"], both["panel"], rtol=0.0, atol=_LOSS_TOLERANCE))
