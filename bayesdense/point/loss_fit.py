"""Least squares loss law of one benchmark's reference runs, with every local optimum found."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from scipy.optimize import nnls

from bayesdense import laws
from bayesdense.arrays import Floats
from bayesdense.errors import BayesdenseError
from bayesdense.point.descent import descend

type LawKind = Literal["additive", "chinchilla"]
type Mode = Literal["best", "params_steeper", "tokens_steeper"]

#: Exponents at the starts: 7 x 7 = 49 starts, the coefficients of each by linear least squares.
_START_EXPONENTS = np.geomspace(0.03, 1.2, 7)
_EXPONENT_BOUNDS = (0.005, 5.0)
#: Two ends are one optimum when no log parameter differs by more.
_SAME_OPTIMUM = 1e-3


@dataclass(frozen=True, slots=True)
class LossLaw:
    """L = E + a N^-alpha + b D^-beta of RAW counts (N_c = D_c = 1), as the paper prints it."""

    loss_floor: float
    param_coef: float
    param_exponent: float
    token_coef: float
    token_exponent: float

    @property
    def _shape(self) -> tuple[float, float, float, float, float]:
        """Parameters in the order of `laws.chinchilla_loss`."""
        return (
            self.loss_floor,
            self.param_coef,
            self.param_exponent,
            self.token_coef,
            self.token_exponent,
        )

    @property
    def mode(self) -> Mode:
        """Which term is steeper; the two may swap where tokens are a near multiple of size."""
        return "params_steeper" if self.param_exponent > self.token_exponent else "tokens_steeper"

    def loss(self, log_params: Floats | float, log_tokens: Floats | float) -> Floats:
        """Loss at these log counts (log size +inf: what no size goes below)."""
        return np.asarray(laws.chinchilla_loss(log_params, log_tokens, *self._shape))

    def log_params(self, loss: Floats | float, log_tokens: Floats | float) -> Floats:
        """Log size that has this loss; +inf where none has."""
        return np.asarray(laws.chinchilla_log_params(loss, log_tokens, *self._shape))


@dataclass(frozen=True, slots=True)
class LossOptimum:
    """One local optimum of the sum of squares."""

    law: LossLaw
    rms: float
    n_starts: int
    at_bound: bool

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the output of `point`."""
        law = self.law
        return {
            "mode": law.mode,
            "loss_floor": law.loss_floor,
            "param_coef": law.param_coef,
            "param_exponent": law.param_exponent,
            "token_coef": law.token_coef,
            "token_exponent": law.token_exponent,
            "rms": self.rms,
            "n_starts": self.n_starts,
            "at_bound": self.at_bound,
        }


@dataclass(frozen=True, slots=True)
class LossFit:
    """All optima of one benchmark's law, best first."""

    kind: LawKind
    optima: tuple[LossOptimum, ...]

    def choose(self, mode: Mode) -> LossOptimum | None:
        """Return the best optimum, or the best of a mode; None where the law has no such mode."""
        fitting = (o for o in self.optima if mode == "best" or o.law.mode == mode)
        return next(fitting, None)


@dataclass(frozen=True, slots=True)
class _Problem:
    """Sum of squares in (log a, log alpha, log b, log beta[, E]) about the centre of the runs."""

    log_params: Floats
    log_tokens: Floats
    loss: Floats
    has_floor: bool

    def residuals(self, theta: Floats) -> Floats:
        param_part, token_part = self._parts(theta)
        floor = theta[4] if self.has_floor else 0.0
        return floor + param_part + token_part - self.loss

    def jacobian(self, theta: Floats) -> Floats:
        (param_part, token_part), (alpha, beta) = self._parts(theta), np.exp(theta[[1, 3]])
        columns = [
            param_part,
            -param_part * alpha * self.log_params,
            token_part,
            -token_part * beta * self.log_tokens,
        ]
        return np.column_stack([*columns, np.ones_like(self.loss)] if self.has_floor else columns)

    def start(self, alpha: float, beta: float) -> Floats:
        """Best non-negative coefficients for these exponents, kept off zero."""
        columns = [np.exp(-alpha * self.log_params), np.exp(-beta * self.log_tokens)]
        if self.has_floor:
            columns.append(np.ones_like(self.loss))
        size = np.maximum(nnls(np.column_stack(columns), self.loss)[0], 1e-3 * self.loss.mean())
        theta = [np.log(size[0]), np.log(alpha), np.log(size[1]), np.log(beta)]
        return np.array([*theta, min(size[2], 0.99 * self.loss.min())] if self.has_floor else theta)

    def bounds(self) -> tuple[Floats, Floats]:
        # At the centre each term is a loss: no more than the largest, and not nothing.
        coef_low, coef_high = np.log([1e-6 * self.loss.min(), 3.0 * self.loss.max()])
        low, high = np.log(_EXPONENT_BOUNDS)
        lower, upper = [coef_low, low] * 2, [coef_high, high] * 2
        if self.has_floor:
            lower, upper = [*lower, 0.0], [*upper, float(self.loss.min())]
        return np.array(lower), np.array(upper)

    def _parts(self, theta: Floats) -> tuple[Floats, Floats]:
        alpha, beta = np.exp(theta[[1, 3]])
        return np.exp(theta[0] - alpha * self.log_params), np.exp(theta[2] - beta * self.log_tokens)


def fit_loss_law(
    n_params: Floats, n_tokens: Floats, loss: Floats, *, kind: LawKind = "additive"
) -> LossFit:
    """Unweighted least squares of the loss on L = [E +] a N^-alpha + b D^-beta.

    Without the floor the sum of squares has two optima on most of the paper's panels: tokens are
    10 to 60 times the size there, so that the two terms nearly swap. Each optimum is reported,
    named by its steeper term; the paper drew the `tokens_steeper` one everywhere, also where it
    fits worse.

    Parameters
    ----------
    n_params, n_tokens
        N and D of each run, raw counts, shape (n_runs,).
    loss
        Loss of each run, shape (n_runs,), in the benchmark's unit.
    kind
        `additive` (E = 0, the paper's) or `chinchilla` (E >= 0 fitted).

    Returns
    -------
    LossFit
        Distinct local optima from 49 fixed starts (a grid of exponents, coefficients by linear
        least squares), best first, with the number of starts that ended in each.

    Raises
    ------
    BayesdenseError
        The search converged from no start.

    References
    ----------
    Xiao et al. 2025, eq. 2; unweighted least squares is what reproduces its drawn curves.
    """
    log_params, log_tokens = np.log(n_params), np.log(n_tokens)
    centre = log_params.mean(), log_tokens.mean()
    problem = _Problem(log_params - centre[0], log_tokens - centre[1], loss, kind == "chinchilla")
    ends: list[list[Floats]] = []
    for alpha, beta in product(_START_EXPONENTS, repeat=2):
        end = _descend(problem, float(alpha), float(beta))
        if end is None:
            continue
        same = [group for group in ends if np.allclose(end, group[0], rtol=0, atol=_SAME_OPTIMUM)]
        same[0].append(end) if same else ends.append([end])
    if not ends:
        raise BayesdenseError(
            f"the loss law fits none of the {loss.size} reference losses ({loss.min():g} to "
            f"{loss.max():g}): least squares converged from no start; are the losses in one unit?"
        )
    optima = (_optimum(problem, group, *centre) for group in ends)
    return LossFit(kind, tuple(sorted(optima, key=lambda optimum: optimum.rms)))


def _descend(problem: _Problem, alpha: float, beta: float) -> Floats | None:
    """Local optimum reached from exponents; None where the search did not converge."""
    try:
        # Losses near the ends of the floats overflow in squares: then nothing converges.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            start, bounds = problem.start(alpha, beta), problem.bounds()
        result = descend(problem.residuals, problem.jacobian, start, bounds)
    except (ValueError, RuntimeError, np.linalg.LinAlgError):
        return None
    return np.asarray(result.x) if result.success else None


def _optimum(
    problem: _Problem, ends: list[Floats], centre_params: float, centre_tokens: float
) -> LossOptimum:
    """Optimum in raw counts; ends of several starts agree, the best is taken."""
    theta = min(ends, key=lambda end: float(np.sum(problem.residuals(end) ** 2)))
    alpha, beta = (float(exponent) for exponent in np.exp(theta[[1, 3]]))
    law = LossLaw(
        loss_floor=float(theta[4]) if problem.has_floor else 0.0,
        param_coef=float(np.exp(theta[0] + alpha * centre_params)),
        param_exponent=alpha,
        token_coef=float(np.exp(theta[2] + beta * centre_tokens)),
        token_exponent=beta,
    )
    rms = float(np.sqrt(np.mean(problem.residuals(theta) ** 2)))
    lower, upper = problem.bounds()
    at_bound = bool(np.any((theta - lower < 1e-6) | (upper - theta < 1e-6)))
    return LossOptimum(law, rms, len(ends), at_bound)
