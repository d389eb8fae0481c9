"""A linear model whose marginal likelihood is known, and draws of its posterior."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import gammaln


@dataclass(frozen=True, slots=True)
class Conjugate:
    """y ~ Normal(x b, sigma), b ~ Normal(0, sigma width), sigma^2 ~ inverse gamma(a, rate).

    Coordinates are b and log sigma^2.
    """

    x: np.ndarray
    y: np.ndarray
    width: np.ndarray
    a: float = 2.0
    rate: float = 1.0

    @property
    def dim(self) -> int:
        return self.x.shape[1] + 1

    def posterior(self) -> tuple[np.ndarray, np.ndarray, float, float]:
        """Mean and precision (over sigma^2) of b, and the inverse gamma's a and rate."""
        precision = np.diag(self.width**-2) + self.x.T @ self.x
        mean = np.linalg.solve(precision, self.x.T @ self.y)
        rate = self.rate + 0.5 * (self.y @ self.y - mean @ precision @ mean)
        return mean, precision, self.a + len(self.y) / 2, float(rate)

    @property
    def log_ml(self) -> float:
        """Analytic log marginal likelihood."""
        _, precision, a, rate = self.posterior()
        out = -0.5 * len(self.y) * math.log(2 * math.pi) - np.log(self.width).sum()
        out -= 0.5 * np.linalg.slogdet(precision).logabsdet
        out += self.a * math.log(self.rate) - gammaln(self.a)
        return float(out - a * math.log(rate) + gammaln(a))

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Log of likelihood, prior and Jacobian of points, (n, dim)."""
        b, log_var = points[:, :-1], points[:, -1]
        sd = np.exp(0.5 * log_var)[:, None]
        out = stats.norm.logpdf(self.y, b @ self.x.T, sd).sum(axis=1)
        out += stats.norm.logpdf(b, 0, sd * self.width).sum(axis=1)
        return out + stats.invgamma.logpdf(np.exp(log_var), self.a, scale=self.rate) + log_var

    def draws(
        self, rng: np.random.Generator, *, chains: int = 4, n: int = 1000, rho: float = 0.0
    ) -> np.ndarray:
        """Posterior draws (chain, draw, dim); with rho every coordinate's normals are AR(1)."""
        u = rng.standard_normal((chains, n, self.dim))
        for t in range(1, n):
            u[:, t] = rho * u[:, t - 1] + math.sqrt(1 - rho**2) * u[:, t]
        mean, precision, a, rate = self.posterior()
        upper = u[..., -1] > 0  # by the nearer tail, as far tails have no digits left
        tail = stats.norm.sf(np.abs(u[..., -1]))
        log_var = np.log(
            np.where(
                upper,
                stats.invgamma.isf(tail, a, scale=rate),
                stats.invgamma.ppf(tail, a, scale=rate),
            )
        )
        root = np.linalg.inv(np.linalg.cholesky(precision))
        b = mean + np.exp(0.5 * log_var)[..., None] * (u[..., :-1] @ root)
        return np.concatenate([b, log_var[..., None]], axis=-1)


def regression(n: int = 100, slope: float = 1.0, *, seed: int = 5) -> Conjugate:
    """A line with a quadratic term that is not there."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-1, 1, n)
    x = np.column_stack([np.ones(n), t, t**2])
    y = 0.5 + slope * t + 0.7 * rng.standard_normal(n)
    return Conjugate(x, y, np.array([2.0, 2.0, 1.0]))
