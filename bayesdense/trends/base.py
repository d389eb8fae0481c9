"""The form that every trend hypothesis has, a user's own as well."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bayesdense.arrays import Floats
from bayesdense.laws import Array

#: Values of a trend's parameters by name, all broadcastable against the times.
type Theta = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Trend:
    """A hypothesis about eta(t), the log density of a typical new LLM at time t.

    Attributes
    ----------
    kind
        Its name in `[trend] kind`.
    parameters
        Names of its parameters; each has a prior in the model's TOML.
    eta
        (t, theta) -> log density; t in years of 365.25 days since the time origin.
    growth_rate
        (t, theta) -> d eta / dt, in 1/year.
    is_linear
        Whether eta is linear in the parameters; others are sampled more slowly.
    """

    kind: str
    parameters: tuple[str, ...]
    eta: Callable[[Array, Theta], Array]
    growth_rate: Callable[[Array, Theta], Array]
    is_linear: bool = False

    def basis(self, t: Floats) -> Floats:
        """Matrix that takes the parameters of a linear trend to eta at these times.

        Its columns are eta where one parameter is 1 and the others 0, (n, parameters).
        """
        columns = [
            self.eta(t, {name: float(name == chosen) for name in self.parameters})
            for chosen in self.parameters
        ]
        return np.stack([column + 0.0 * t for column in columns], axis=1)
