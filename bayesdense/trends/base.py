"""The form that every trend hypothesis has, a user's own as well."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    """

    kind: str
    parameters: tuple[str, ...]
    eta: Callable[[Array, Theta], Array]
    growth_rate: Callable[[Array, Theta], Array]
