"""What every computation after sampling starts from: one draw's laws on a grid of log sizes.

`Posterior` holds the parameters of all draws as NumPy arrays, and `Posterior.terms` turns one draw
into means, variances, locations and sds, from the formulas of `laws` alone. The model states the
same in PyTensor (`components`); a test holds the two together.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesdense import residuals
from bayesdense.arrays import Floats, Ints
from bayesdense.elementary import logit
from bayesdense.items import item_variance
from bayesdense.kernel import SIZE_MARGIN, Cells, Grid, grid_over
from bayesdense.laws import chinchilla_loss
from bayesdense.names import (
    BENCHMARK,
    CHAIN,
    DRAW,
    FAMILY,
    LAW_PARAMETERS,
    MAP_PARAMETERS,
    RUN,
    TREND_DIMS,
)
from bayesdense.observations import JointObservations, trend_on
from bayesdense.score_maps import logistic_logit_score
from bayesdense.spec import ModelSpec
from bayesdense.trends import TrendOn, trend_named

LAW, MAP = LAW_PARAMETERS, MAP_PARAMETERS  # short: they stand in many lines
NOISE = ("discrepancy_sd", "protocol_sd", "protocol_offset")
#: Residual sds below this are resolved as if they were this: the scores blur sizes by more.
LEAST_SD = 0.05

#: Draws whose locations are held at once.
_BLOCK = 256

type Values = Mapping[str, Floats]


class Terms(NamedTuple):
    """One draw. R rows: benchmarks, then once more with the protocol's offset where any is.

    Attributes
    ----------
    mean
        (R, G) logit of the score at every node.
    var
        (U, G) variance of every kind of cell at every node.
    location
        (n_llms,) log size expected without the family effect.
    family_sd
        0 where the model has no families.
    residual_sd
        (n_llms,) sd, or scale, of the residual.
    shape
        One-sided sd or degrees of freedom; 1 where the residual has none.
    """

    mean: Floats
    var: Floats
    location: Floats
    family_sd: float
    residual_sd: Floats
    shape: float


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Parameters of all draws, chains one after another, with what they are read against.

    Attributes
    ----------
    values
        Name -> (draws, ...) array, with the neutral value of what the model lacks.
    n_chains, n_draws
        Chains, and draws of each.
    spec, data
        The model and its observations.
    kinds
        (U, 4) distinct benchmark, items, reports and protocol of the cells.
    cells
        Observed scores as the kernels read them.
    """

    values: Values
    n_chains: int
    n_draws: int
    spec: ModelSpec
    data: JointObservations
    kinds: Floats
    cells: Cells

    @property
    def trend(self) -> TrendOn:
        """Trend, to be read at the LLMs."""
        return trend_on(self.spec, self.data.llms)

    @property
    def size(self) -> int:
        """Number of draws of all chains."""
        return self.n_chains * self.n_draws

    def at(self, draw: int) -> dict[str, Floats]:
        """Parameters of one draw."""
        return {name: value[draw] for name, value in self.values.items()}

    def rows(self, draws: Ints) -> dict[str, Floats]:
        """Parameters of some draws, those of one number as columns that broadcast with LLMs."""
        return {
            name: value[draws][:, None] if value.ndim == 1 else value[draws]
            for name, value in self.values.items()
        }

    def terms(self, draw: int, nodes: Floats) -> Terms:
        """Means, variances, locations and sds of one draw at these log sizes."""
        theta, llms = self.at(draw), self.data.llms
        mean = self._logit_score(theta, nodes)
        return Terms(
            mean=self._with_offset(theta, mean),
            var=self._variance(theta, mean),
            location=llms.log_params + self.trend.eta(llms.years, theta),
            family_sd=float(theta["family_sd"]),
            residual_sd=self.residual_sd(theta),
            shape=float(theta["shape"]),
        )

    def limits(self, draw: int) -> tuple[Floats, Floats]:
        """Mean and variance as in `terms` at N -> 0 and N -> infinity, the two columns."""
        theta = self.at(draw)
        mean = np.column_stack(
            [logit(theta["score_floor"]), self._logit_score(theta, np.array([np.inf]))[:, 0]]
        )
        return self._with_offset(theta, mean), self._variance(theta, mean)

    def family_effect(self, draw: int) -> Floats:
        """Effect of each LLM's family in a draw; 0 where the model has no families."""
        if "family_effect" not in self.values:
            return np.zeros(len(self.data.llms.names))
        return np.asarray(self.values["family_effect"][draw][self.data.llms.family_idx])

    def data_array(self, values: Floats, dim: str, labels: object) -> xr.DataArray:
        """Arrange rows of all draws by chain and draw."""
        shaped = values.reshape(self.n_chains, self.n_draws, -1)
        return xr.DataArray(shaped, dims=(CHAIN, DRAW, dim), coords={dim: labels})

    def thinned(self, n_draws: int, offset: float = 0.5) -> Ints:
        """Every k-th draw of all chains, about `n_draws` of them: a systematic sample."""
        n_draws = min(n_draws, self.size)
        return np.asarray((np.arange(n_draws) + offset) * self.size / n_draws, dtype=np.int64)

    def residual_sd(self, theta: Values) -> Floats:
        """Sd of every LLM's residual in a draw, or in some of `rows`."""
        years = self.data.llms.years
        sd = residuals.sd_at(theta, years, scale_trend=self.spec.options.scale_trend)
        return np.asarray(sd * np.ones(len(years)))

    def _logit_score(self, theta: Values, nodes: Floats) -> Floats:
        """Logit of every benchmark's score at these log sizes, (J, G)."""
        losses = self.data.losses
        loss = chinchilla_loss(
            (nodes - losses.log_params_centre)[None, :],
            math.log(self.spec.options.reference_tokens) - losses.log_tokens_centre,
            *(theta[name][:, None] for name in LAW),
        )
        return np.asarray(logistic_logit_score(loss, *(theta[name][:, None] for name in MAP)))

    def _variance(self, theta: Values, mean: Floats) -> Floats:
        """Discrepancy, protocol and item variance of every kind of cell."""
        j = self.kinds[:, 0].astype(np.int64)
        _, n_items, n_reports, other_protocol = self.kinds.T[:, :, None]
        discrepancy, protocol, offset = (theta[name][j][:, None] for name in NOISE)
        items = item_variance(mean[j] + offset * other_protocol, n_items)
        return np.asarray(discrepancy**2 + protocol**2 / n_reports + items)

    def _with_offset(self, theta: Values, mean: Floats) -> Floats:
        """Append the benchmarks' rows under the other protocol, where a cell has it."""
        if not self.kinds[:, 3].any():
            return mean
        return np.concatenate([mean, mean + theta["protocol_offset"][:, None]])


def read_posterior(posterior: xr.Dataset, spec: ModelSpec, data: JointObservations) -> Posterior:
    """Read the parameters that laws, noise, trend and residual need.

    Parameters
    ----------
    posterior
        Natural parameters, dims chain, draw and their own.
    spec, data
        The model and the observations that were fitted.

    Raises
    ------
    KeyError
        Where the posterior lacks a parameter of the model.
    """
    n_chains, n_draws = posterior.sizes[CHAIN], posterior.sizes[DRAW]
    found = {
        str(name): _rows(variable)
        for name, variable in posterior.data_vars.items()
        if {CHAIN, DRAW} <= set(variable.dims) <= {CHAIN, DRAW, BENCHMARK, FAMILY, RUN, *TREND_DIMS}
    }
    zeros = np.zeros((n_chains * n_draws, len(data.benchmarks.names)))
    ones = np.ones(len(zeros))
    absent = {
        "loss_floor": zeros,
        "discrepancy_sd": found.get("cell_sd", zeros),
        "protocol_sd": zeros,
        "protocol_offset": zeros,
        "family_sd": 0.0 * ones,
        "shape": found.get(residuals.SHAPES.get(spec.residual, ""), ones),
    }
    values = {**absent, **found}
    if spec.component("family").kind == "none":
        values["family_sd"] = 0.0 * ones
        values.pop("family_effect", None)
    values["protocol_offset"] = values["protocol_offset"] * data.has_offset
    needed = {*LAW, *MAP, *NOISE, "residual_sd", *trend_named(spec.trend).drawn}
    if missing := sorted(needed - set(values)):
        raise KeyError(f"posterior lacks {', '.join(missing)}, parameters of model {spec.name!r}")
    kinds, cells = _cells(data)
    return Posterior(values, n_chains, n_draws, spec, data, kinds, cells)


def _cells(data: JointObservations) -> tuple[Floats, Cells]:
    """Distinct kinds of cells, and the cells as the kernels read them."""
    scores = data.scores
    kinds, index = scores.kinds()
    row = scores.rows(len(data.benchmarks.names))
    return kinds, Cells(scores.logit_score, row, index, scores.first)


def _rows(variable: xr.DataArray) -> Floats:
    """Draws of all chains as rows."""
    rest = [dim for dim in variable.dims if dim not in (CHAIN, DRAW)]
    ordered = variable.transpose(CHAIN, DRAW, *rest).to_numpy()
    return np.ascontiguousarray(ordered.reshape(-1, *ordered.shape[2:]), dtype=float)


class Grids:
    """Grids by spacing and margin; few differ, so that each is laid once."""

    def __init__(self, posterior: Posterior) -> None:
        self._log_params = posterior.data.llms.log_params
        self._laid: dict[tuple[float, float], Grid] = {}

    def get(self, spacing: float, margin: float = SIZE_MARGIN) -> Grid:
        """Grid from `margin` below the smallest LLM to `margin` above the largest."""
        key = spacing, margin
        if key not in self._laid:
            self._laid[key] = grid_over(self._log_params, spacing, margin)
        return self._laid[key]

    def resolving(self, posterior: Posterior, draw: int, widest: float, per_sd: float) -> Grid:
        """Grid for a draw: `per_sd` nodes a residual sd, and wide enough for its families.

        The spacing is `widest` over a whole number, and the margin a multiple of four, so that few
        grids are laid in all.
        """
        ((grid, _),) = self.groups(posterior, np.array([draw]), widest, per_sd)
        return grid

    def groups(
        self, posterior: Posterior, draws: Ints, widest: float, per_sd: float
    ) -> Iterator[tuple[Grid, Ints]]:
        """Grids that resolve these draws, as in `resolving`, and the positions of each one's."""
        keys = np.concatenate(
            [
                _spacing_and_margin(posterior, draws[first : first + _BLOCK], widest, per_sd)
                for first in range(0, len(draws), _BLOCK)
            ]
        )
        kinds, kind = np.unique(keys, axis=0, return_inverse=True)
        for k, (spacing, margin) in enumerate(kinds.tolist()):
            yield self.get(spacing, margin), np.flatnonzero(kind.ravel() == k)


def _spacing_and_margin(posterior: Posterior, draws: Ints, widest: float, per_sd: float) -> Floats:
    """Spacing and margin that `Grids.resolving` takes for each of these draws, (B, 2)."""
    theta, years = posterior.rows(draws), posterior.data.llms.years
    eta = np.abs(posterior.trend.eta(years, theta)).max(axis=1)
    sd = posterior.residual_sd(theta)
    parts = np.ceil(widest * per_sd / np.maximum(sd.min(axis=1), LEAST_SD) - 1e-9)
    reach = eta + 5 * theta["family_sd"][:, 0] + 4 * sd.max(axis=1)
    margin = np.maximum(SIZE_MARGIN, 4.0 * np.ceil(reach / 4))
    keys = np.stack([widest / np.maximum(parts, 1), margin], axis=1)
    return np.where(np.isfinite(keys), keys, (widest, SIZE_MARGIN))  # draws that are no numbers
