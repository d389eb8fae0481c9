"""The simulator: the generative story in NumPy, and whole datasets with known truth."""

from bayesdense.simulate.datasets import (
    Replicate,
    Simulated,
    replicated_observations,
    simulate_dataset,
    simulate_observations,
)
from bayesdense.simulate.folder import write_dataset
from bayesdense.simulate.story import replicate, replicate_densities
from bayesdense.simulate.truth import Truth, read_truth

__all__ = [
    "Replicate",
    "Simulated",
    "Truth",
    "read_truth",
    "replicate",
    "replicate_densities",
    "replicated_observations",
    "simulate_dataset",
    "simulate_observations",
    "write_dataset",
]
