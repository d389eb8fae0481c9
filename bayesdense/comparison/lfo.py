"""Leave-future-out: how well each hypothesis foretold LLMs that were released later.

Blocks of 91 days are laid before anything is fitted. For each, the model is fitted to all reference
runs and to the LLMs released strictly before it, and the joint density of the block's LLMs is the
product over families of their densities, averaged over the posterior (`hiding.foretold`). The sum
over blocks is the log density of all later LLMs, each block given those before it.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from bayesdense.arrays import Floats
from bayesdense.comparison.hiding import hide, log_gains
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.observations import LLMData, Observations, observe
from bayesdense.spec import ModelSpec

BLOCK_DAYS: Final = 91
#: Families that have to be known before the first origin.
LEAST_FAMILIES: Final = 20


@dataclass(frozen=True, slots=True)
class Block:
    """LLMs released from `start` on and before `end`, ISO dates.

    Attributes
    ----------
    origin
        Start of the first of all blocks.
    start, end
        The first is the origin of this block's forecast.
    llms
        Names, in the order of their release.
    n_llms_before, n_families_before
        What was released strictly before.
    """

    origin: str
    start: str
    end: str
    llms: tuple[str, ...]
    n_llms_before: int
    n_families_before: int


def blocks(
    llms: LLMData, *, days: int = BLOCK_DAYS, families: int = LEAST_FAMILIES
) -> tuple[Block, ...]:
    """Lay out the blocks of a dataset; those without LLMs are left out.

    Parameters
    ----------
    llms
        What a model sees of the dataset.
    days
        Length of a block.
    families
        The first origin is the first date before which so many families are known.

    Raises
    ------
    BayesdenseError
        There are not so many families before the last release.

    Examples
    --------
    >>> from bayesdense.dataset import load_dataset
    >>> from bayesdense.observations import observe
    >>> from bayesdense.spec import load_spec
    >>> found = blocks(observe(load_spec("joint"), load_dataset("densing")).llms)
    >>> found[0].start, len(found)
    ('2024-01-19', 7)
    """
    dates = np.array([dt.date.fromisoformat(date) for date in llms.release_dates])
    first_of_family = sorted(dates[llms.family_idx == k].min() for k in range(len(llms.families)))
    if len(first_of_family) < families or first_of_family[families - 1] >= dates.max():
        raise BayesdenseError(
            f"leave-future-out needs {families} families before the last release; there are "
            f"{sum(first < dates.max() for first in first_of_family)}"
        )
    origin = start = first_of_family[families - 1] + dt.timedelta(days=1)
    out = []
    while start <= dates.max():
        end = start + dt.timedelta(days=days)
        if ((start <= dates) & (dates < end)).any():
            out.append(_block(llms, dates, (origin, start, end)))
        start = end
    return tuple(out)


def _block(llms: LLMData, dates: np.ndarray, when: tuple[dt.date, dt.date, dt.date]) -> Block:
    """One block, of the first origin, its start and its end."""
    origin, start, end = when
    inside = np.flatnonzero((start <= dates) & (dates < end))
    inside = inside[np.argsort(dates[inside], kind="stable")]
    before = dates < start
    return Block(
        origin.isoformat(),
        start.isoformat(),
        end.isoformat(),
        tuple(llms.names[i] for i in inside),
        int(before.sum()),
        len(np.unique(llms.family_idx[before])),
    )


def edges(laid: Sequence[Block]) -> tuple[str, ...]:
    """Dates between blocks, ISO: what is released before each is seen by one more fit."""
    return (*(block.start for block in laid), laid[-1].end)


def released_from(llms: LLMData, date: str) -> tuple[str, ...]:
    """Names of the LLMs released on a date or later."""
    return tuple(
        name
        for name, released in zip(llms.names, llms.release_dates, strict=True)
        if released >= date
    )


def seen_before(spec: ModelSpec, dataset: Dataset, date: str, origin: str) -> Observations:
    """Observe a dataset as a forecast made at a date sees it.

    LLMs released from then on have no scores. Replicated reports are those of LLMs released before
    the first origin, at every date: they tell of the protocol's noise, not of the trend, and were
    they to grow, two fits would differ in more than the scores that one of them foretells.

    Parameters
    ----------
    spec, dataset
        The model and the whole dataset.
    date, origin
        ISO dates: of the forecast, and of the first of all forecasts.
    """
    llms = observe(spec, dataset).llms
    return hide(spec, dataset, released_from(llms, date), released_from(llms, origin))


def families_in(llms: LLMData, block: Block) -> tuple[str, ...]:
    """Families with LLMs in a block, in the order of their first release there."""
    family_of = dict(zip(llms.names, (llms.families[k] for k in llms.family_idx), strict=True))
    return tuple(dict.fromkeys(family_of[name] for name in block.llms))


def block_gains(
    posterior: xr.Dataset,
    spec: ModelSpec,
    before: Observations,
    after: Observations,
    block: Block,
) -> Floats:
    """Log densities of a block's families at posterior draws, (chain, draw, families).

    Each is that of the family's LLMs in the block given the parameters and the family's LLMs
    before it, the family's effect integrated over its posterior, or over Normal(0, family_sd) where
    there are none before.

    Parameters
    ----------
    posterior
        Draws of any fit of the model to (part of) the dataset.
    spec
        The model.
    before, after
        What is seen at the start and at the end of the block, as by `seen_before`.
    block
        From `blocks`; the order of the families is that of `families_in`.
    """
    gains = log_gains(posterior, spec, before, after)
    families = list(families_in(after.llms, block))
    return np.asarray(gains.sel(family_obs=families).to_numpy())
