"""What tests of the modelling branch share: densities of a `pm.Model` without a compiler."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pymc as pm
import xarray as xr
from made_up import small_data
from pymc.model.transform.conditioning import remove_value_transforms
from pytensor.compile.mode import get_mode
from pytensor.graph.traversal import explicit_graph_inputs

from bayesdense.dataset import Dataset, load_dataset
from bayesdense.observations import Observations, observe
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.studies.agreement import thinned

#: Plain Python: a graph that is called a few times is not worth a compiler.
PLAIN = get_mode("FAST_COMPILE").excluding("fusion", "elemwise_fusion")


def small_observations(
    spec: ModelSpec | None = None, *, other_protocol: Sequence[int] = (), replicated: bool = True
) -> Observations:
    """Ten LLMs in four families, on what a model sees of the ladder of `densing`."""
    small = small_data(other_protocol=other_protocol)
    seen = observe(spec or load_spec("joint"), load_dataset("densing"))
    seen = replace(seen, llms=small.llms, scores=small.scores)
    return seen if replicated else replace(seen, reports=None)


def natural_log_density(
    model: pm.Model, names: Sequence[str] | None = None
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """Log densities of variables, entry by entry, as a function of natural parameters."""
    plain = remove_value_transforms(model)
    counted = [plain[name] for name in names] if names else plain.basic_RVs
    densities = plain.logp(vars=counted, sum=False)
    values = [value for value in plain.value_vars if value in set(explicit_graph_inputs(densities))]
    compiled = pm.compile(values, densities, mode=PLAIN)
    needed = [value.name for value in values]
    return lambda natural: compiled(*(natural[name] for name in needed))


def at_draw(draws: xr.Dataset, draw: int) -> dict[str, np.ndarray]:
    """Natural parameters of one draw of the first chain."""
    return {str(name): np.asarray(value.values[0, draw]) for name, value in draws.items()}


def small_joint() -> tuple[ModelSpec, Dataset]:
    """Twenty LLMs of `densing` on two benchmarks, and a grid so fine that none is refined.

    A refined grid would compile the model twice.
    """
    spec = load_spec("joint").with_options(quadrature_spacing=0.125)
    return spec, thinned(load_dataset("densing"), 20, ("MMLU", "BBH"))


def missing_numbers(fit: Fit) -> list[str]:
    """Variables of a fit with entries that are no numbers; bounds of sizes may be infinite."""
    return [
        f"{group}/{name}"
        for group, node in fit.tree.children.items()
        for name, values in node.to_dataset().items()
        if values.dtype.kind == "f" and group != "llm_bounds" and not np.isfinite(values).all()
    ]
