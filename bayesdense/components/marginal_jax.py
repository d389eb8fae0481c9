"""`MarginalSum` for PyTensor's JAX backend; imported only where JAX is asked for."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.link.jax.dispatch import jax_funcify

from bayesdense.components.marginal import MarginalSum
from bayesdense.components.tensor import Tensor

_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


def _total(
    mean: Tensor,
    var: Tensor,
    log_weight: Tensor,
    logit_score: Tensor,
    benchmark_idx: Tensor,
    noise_idx: Tensor,
    first: Tensor,
) -> Tensor:
    """`kernel.marginal_sum` in JAX, cells summed within LLMs by segments."""
    error = logit_score[:, None] - mean[benchmark_idx]
    cell_var = var[noise_idx]
    per_cell = -0.5 * error**2 / cell_var - 0.5 * jnp.log(cell_var) - _HALF_LOG_2PI
    n_llms = log_weight.shape[0]
    llm = jnp.searchsorted(first, jnp.arange(logit_score.shape[0]), side="right") - 1
    per_llm = jax.ops.segment_sum(per_cell, llm, num_segments=n_llms)
    return jax.scipy.special.logsumexp(log_weight + per_llm, axis=1).sum()


def _mixture(mean: Tensor, var: Tensor, log_weight: Tensor, *rest: Tensor) -> Tensor:
    """`kernel.marginal_mixture` in JAX."""
    totals = jax.vmap(lambda weight: _total(mean, var, weight, *rest))(log_weight)
    return jax.scipy.special.logsumexp(totals) - jnp.log(log_weight.shape[0])


@jax_funcify.register(MarginalSum)  # type: ignore[untyped-decorator]
def _jax_marginal_sum(op: MarginalSum, **_: object) -> Callable[..., tuple[Tensor, ...]]:
    """Sum and gradient; XLA drops the gradient where nobody reads it."""
    value = _mixture if op.mixed else _total

    def marginal(*inputs: Tensor) -> tuple[Tensor, ...]:
        matrices, rest = inputs[:3], inputs[3:]
        total, pull = jax.vjp(lambda *values: value(*values, *rest), *matrices)
        return (total, *pull(jnp.ones_like(total)))

    return marginal
