"""The simulator: the generative story in NumPy, and whole datasets with known truth."""

from bayesdense.simulate.datasets import Simulated, replicated_observations, simulate_dataset
from bayesdense.simulate.folder import write_dataset
from bayesdense.simulate.story import replicate, replicate_densities
from bayesdense.simulate.truth import Truth, read_truth

__all__ = [
    "Simulated",
    "Truth",
    "read_truth",
    "replicate",
    "replicate_densities",
    "replicated_observations",
    "simulate_dataset",
    "write_dataset",
]
