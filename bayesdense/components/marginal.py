"""Scores of LLMs with every effective size integrated out: `kernel.marginal_sum` inside PyMC."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import (
    default_hash_key_from_props,
    numba_njit,
    register_funcify_and_cache_key,
)

from bayesdense import kernel
from bayesdense.components.density import Residual
from bayesdense.components.loss_law import LossLaw
from bayesdense.components.score_map import ScoreMap
from bayesdense.components.score_noise import ScoreNoise
from bayesdense.components.tensor import Tensor
from bayesdense.items import item_variance
from bayesdense.names import SCORE_OBS
from bayesdense.observations import JointObservations


class MarginalSum(Op):  # type: ignore[misc]
    """`kernel.marginal_sum` as an operation: the sum, and its gradient as further outputs.

    With `mixed` it is `kernel.marginal_mixture`, over a first axis of the log weights.
    """

    __props__ = ("mixed",)

    def __init__(self, *, mixed: bool = False) -> None:
        self.mixed = mixed

    def make_node(self, *inputs: Tensor) -> Apply:
        """Three matrices that carry gradients, then observed logits and integer indices."""
        variables = [pt.as_tensor_variable(value) for value in inputs]
        matrices, rest = variables[:3], variables[3:]
        matrices = [value.astype("float64") for value in matrices]
        weights = pt.dtensor3() if self.mixed else pt.dmatrix()
        outputs = [pt.dscalar(), pt.dmatrix(), pt.dmatrix(), weights]
        return Apply(self, [*matrices, *rest], outputs)

    def infer_shape(self, node: Apply, shapes: Sequence[Any]) -> list[Any]:
        """A scalar, and gradients shaped like what they are gradients of."""
        return [(), *shapes[:3]]

    def perform(
        self, node: Apply, inputs: Sequence[np.ndarray], outputs: Sequence[list[Any]]
    ) -> None:
        """Evaluate by NumPy: the reference of what is compiled."""
        mean, var, log_weight, y = inputs[:4]
        row, kind, first = (np.asarray(index, dtype=np.int64) for index in inputs[4:])
        reference = (
            kernel.marginal_mixture_reference if self.mixed else kernel.marginal_sum_reference
        )
        found = reference(mean, var, log_weight, y, row, kind, first)
        for storage, value in zip(outputs, found, strict=True):
            storage[0] = np.asarray(value)

    def pullback(
        self, inputs: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any]
    ) -> list[Any]:
        """Gradient of the sum; the gradient outputs themselves have none."""
        scale = cotangents[0]
        return [
            *(scale * gradient for gradient in outputs[1:]),
            *(DisconnectedType()() for _ in inputs[3:]),
        ]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Only the sum depends, differentiably, on the three matrices."""
        return [[index < 3, False, False, False] for index in range(len(node.inputs))]


@register_funcify_and_cache_key(MarginalSum)  # type: ignore[untyped-decorator]
def _numba_marginal_sum(op: MarginalSum, node: Apply, **_: object) -> tuple[Any, str]:
    """Call the kernel from PyTensor's numba backend."""
    compiled = kernel.marginal_mixture if op.mixed else kernel.marginal_sum

    @numba_njit
    def marginal(mean, var, log_weight, y, benchmark_idx, noise_idx, first):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        total, d_mean, d_var, d_log_weight = compiled(
            mean, var, log_weight, y, benchmark_idx, noise_idx, first
        )
        return np.asarray(total), d_mean, d_var, d_log_weight

    # PyTensor keeps compiled code on disk under this key: other code must have another key.
    source = b"".join(Path(file).read_bytes() for file in (kernel.__file__, __file__))
    return marginal, default_hash_key_from_props(op, source=sha256(source).hexdigest())


_marginal_sum, _marginal_mixture = MarginalSum(), MarginalSum(mixed=True)


class GridTerms(NamedTuple):
    """What the kernel integrates: rows of benchmarks, of kinds of cells, and of LLMs.

    Log weights of a mixture have its values as their first axis.
    """

    mean: Tensor
    var: Tensor
    log_weight: Tensor


def observe_scores(
    law: LossLaw,
    curve: ScoreMap,
    noise: ScoreNoise,
    residual: Residual,
    log_density: Tensor,
    data: JointObservations,
    *,
    reference_tokens: float,
    spacing: float,
) -> None:
    """Add the LLMs' scores, their sizes integrated out given everything else.

    And a mixture's values, if the locations have them as their first axis.
    """
    grid = kernel.grid_over(data.llms.log_params, spacing)
    kinds, noise_idx = data.scores.kinds()
    location = pt.as_tensor(data.llms.log_params) + log_density
    terms = GridTerms(
        mean=_mean_on_grid(law, curve, data, grid, reference_tokens),
        var=pt.zeros(()),
        log_weight=_log_weight(residual, location, grid),
    )
    terms = terms._replace(var=_var_on_grid(noise, terms.mean, kinds))
    # An offset of the protocol is the same for all cells of a benchmark that have it: it moves
    # the mean, as a second set of rows.
    if data.has_offset.any():
        shifted = terms.mean + noise.protocol_offset[:, None]
        terms = terms._replace(mean=pt.concatenate([terms.mean, shifted]))
    pm.CustomDist(
        "score",
        *terms,
        data.scores.rows(len(data.benchmarks.names)),
        noise_idx,
        data.scores.first,
        logp=_logp,
        random=_draw_scores,
        signature=f"(j,g),(u,g),({'p,' if location.ndim == 2 else ''}n,g),(c),(c),(m)->(c)",
        observed=np.asarray(data.scores.logit_score),
        dims=SCORE_OBS,
    )


def _mean_on_grid(
    law: LossLaw,
    curve: ScoreMap,
    data: JointObservations,
    grid: kernel.Grid,
    reference_tokens: float,
) -> Tensor:
    """Logit of every benchmark's score at every node."""
    log_params_ratio = grid.nodes - data.losses.log_params_centre
    log_tokens_ratio = np.log(reference_tokens) - data.losses.log_tokens_centre
    return curve.logit_score(law.loss(log_params_ratio[None, :], log_tokens_ratio))


def _var_on_grid(noise: ScoreNoise, mean: Tensor, kinds: np.ndarray) -> Tensor:
    """Variance of every kind of cell at every node."""
    benchmark = kinds[:, 0].astype(int)
    shifted = mean[benchmark] + (noise.protocol_offset[benchmark] * kinds[:, 3])[:, None]
    beyond_items = noise.variance(benchmark, kinds[:, 2])
    return beyond_items[:, None] + item_variance(shifted, kinds[:, 1][:, None])


def _log_weight(residual: Residual, location: Tensor, grid: kernel.Grid) -> Tensor:
    """Log weight of every node for every LLM: residual density times width, tails at the ends."""
    per_llm = residual._replace(sd=residual.sd[:, None]) if residual.sd.ndim else residual
    centre = location[..., None]
    inner = per_llm.log_density(grid.nodes[1:-1] - centre) + grid.log_widths
    below, above = per_llm.log_tails(centre - grid.nodes[0], grid.nodes[-1] - centre)
    return pt.concatenate([below, inner, above], axis=-1)


def _logp(value: Tensor, mean: Tensor, var: Tensor, log_weight: Tensor, *indices: Tensor) -> Tensor:
    """Sum over LLMs of the marginal log likelihood; of a mixture, log of the mean of its exp."""
    operation = _marginal_mixture if log_weight.ndim > 2 else _marginal_sum
    return operation(mean, var, log_weight, value, *indices)[0]


def _draw_scores(
    mean: np.ndarray,
    var: np.ndarray,
    log_weight: np.ndarray,
    benchmark_idx: np.ndarray,
    noise_idx: np.ndarray,
    first: np.ndarray,
    rng: np.random.Generator,
    size: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Draw logits of scores, each LLM's size at a node of the grid."""
    if size:
        raise NotImplementedError("draw one set of scores at a time")
    if log_weight.ndim > 2:
        log_weight = log_weight[rng.integers(len(log_weight))]
    gumbel = rng.gumbel(size=log_weight.shape)
    node = np.argmax(log_weight + gumbel, axis=1)
    of_cell = np.repeat(node, np.diff(first.astype(int)))
    noise_sd = np.sqrt(var[noise_idx.astype(int), of_cell])
    return np.asarray(rng.normal(mean[benchmark_idx.astype(int), of_cell], noise_sd))
