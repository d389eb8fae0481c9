"""Which variables a model samples on a dataset, with their dims and labels, without PyMC."""

from bayesdense.names import BENCHMARK, FAMILY, LLM
from bayesdense.observations import JointObservations, Observations, trend_on
from bayesdense.prior_draws import used_priors
from bayesdense.priors import Prior, hyper_name
from bayesdense.spec import ModelSpec


def sampled_variables(
    spec: ModelSpec, data: Observations | JointObservations
) -> dict[str, tuple[str, ...]]:
    """Free variables of the `pm.Model` of a specification, and their dims.

    Parameters
    ----------
    spec
        The model.
    data
        What it sees of a dataset.

    Returns
    -------
    dict
        Name -> dims, those that others hang on first.
    """
    found: dict[str, tuple[str, ...]] = {}

    def add(name: str, prior: Prior) -> None:
        for key, inner in prior.inner.items():
            add(hyper_name(name, key), inner)
        found[name] = (prior.dims,) if prior.dims else ()

    for name, prior in used_priors(spec, data):
        add(name, prior)
    if spec.component("family").kind != "none":
        found["family_effect"] = (FAMILY,)
    if spec.is_joint and spec.options.implementation == "latent":
        found["log_effective_params"] = (LLM,)
    densities = data.densities if isinstance(data, Observations) else None
    if densities is not None and densities.known_var.any():
        found["density_error"] = (LLM,)
    return found


def labels_of(
    spec: ModelSpec, data: Observations | JointObservations
) -> dict[str, tuple[str, ...]]:
    """Labels of the dims of sampled variables."""
    return {
        BENCHMARK: data.benchmarks.names if data.benchmarks else (),
        FAMILY: data.llms.families,
        LLM: data.llms.names,
        **trend_on(spec, data.llms).labels,
    }
