"""ArviZ's own figures of priors and chains, for what the answer rests on, with their data."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import arviz_plots as azp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.sampling_diagnostics import ess
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import rankdata

from bayesdense.errors import BayesdenseError
from bayesdense.estimates import tails
from bayesdense.names import CHAIN, CI_PROB, DRAW, FAMILY, LLM, RUN
from bayesdense.plots.style import PANEL, styled
from bayesdense.residuals import SHAPES
from bayesdense.results import Fit
from bayesdense.statements import format_number
from bayesdense.trends import trend_named
from bayesdense.wording import counted, listing, nearest_of, told

#: ArviZ's collection of the panels of a figure; it has no annotations.
type PlotCollection = Any

_ess: Callable[..., Any] = ess
_COLUMNS: Final = 4
_POINTS: Final = 101
#: Draws of a chain without which ArviZ gives no effective sample size.
_LEAST_DRAWS: Final = 4
#: Share of a prior's interval above which the data have said little.
_LITTLE: Final = 0.8
#: Quantiles at which ArviZ gives the effective sample size.
_QUANTILES: Final = np.linspace(0.05, 0.95, 20)
#: Effects of single units: too many for a figure, and each has a table of its own.
_UNITS: Final = {LLM, FAMILY, RUN}


def answer_variables(fit: Fit) -> list[str]:
    """Parameters that a fit's answer rests on first: those of trend, family and residual."""
    wanted = (
        *trend_named(fit.spec.trend).parameters,
        "family_sd",
        "residual_sd",
        "residual_log_sd_slope",
        *SHAPES.values(),
    )
    posterior = fit.posterior
    return [name for name in wanted if name in posterior and not _is_constant(posterior[name])]


def scalar_variables(fit: Fit) -> list[str]:
    """Parameters of one number each that the fit holds prior draws of."""
    prior, posterior = fit.group("prior"), fit.posterior
    return [
        str(name)
        for name, draws in posterior.items()
        if set(draws.dims) == {CHAIN, DRAW} and name in prior and not _is_constant(draws)
    ]


def plot_prior_posterior(fit: Fit, *, var_names: Sequence[str] | None = None) -> PlotCollection:
    """Draw priors and posteriors as `arviz.plot_prior_posterior` does.

    Parameters
    ----------
    fit
        A fit.
    var_names
        Variables of the posterior; by default all parameters of one number.

    Returns
    -------
    arviz.PlotCollection
        With the panels.
    """
    names = _named(fit, var_names, scalar_variables(fit))
    with styled():
        return azp.plot_prior_posterior(
            _tree(fit, names, "prior"), **_layout(len(_panels(fit, names)))
        )


def plot_rank(fit: Fit, *, var_names: Sequence[str] | None = None) -> PlotCollection:
    """Compare the ranks of chains as `arviz.plot_rank` does.

    Parameters
    ----------
    fit
        A fit of two chains at least.
    var_names
        Variables of the posterior; by default those of trend, family and residual.

    Returns
    -------
    arviz.PlotCollection
        With the panels.
    """
    names = _named(fit, var_names, answer_variables(fit))
    _require_chains(fit)
    with styled():
        return azp.plot_rank(_tree(fit, names), **_layout(len(_panels(fit, names))))


def plot_ess(fit: Fit, *, var_names: Sequence[str] | None = None) -> PlotCollection:
    """Draw the effective sample size of quantiles as `arviz.plot_ess` does.

    Parameters
    ----------
    fit
        A fit.
    var_names
        Variables of the posterior; by default those of trend, family and residual.

    Returns
    -------
    arviz.PlotCollection
        With the panels.
    """
    names = _named(fit, var_names, answer_variables(fit))
    _require_draws(fit)
    with styled():
        return azp.plot_ess(_tree(fit, names), kind="quantile", **_layout(len(_panels(fit, names))))


def plot_energy(fit: Fit) -> PlotCollection:
    """Compare energies and their steps as `arviz.plot_energy` does.

    Parameters
    ----------
    fit
        A fit whose sampler kept the energy.

    Returns
    -------
    arviz.PlotCollection
        With the panels.
    """
    _energy(fit)
    with styled():
        return azp.plot_energy(
            xr.DataTree.from_dict({"/sample_stats": fit.group("sample_stats")}),
            backend="matplotlib",
            figure_kwargs={"figsize": (7.2, 2.6), "layout": "constrained"},
        )


def prior_posterior_table(fit: Fit) -> pd.DataFrame:
    """Tabulate prior and posterior of every parameter, those of benchmarks one by one.

    Returns
    -------
    pandas.DataFrame
        `variable`, `unit`, and `prior_median`, `prior_eti95_lower`, `prior_eti95_upper`,
        `posterior_median`, `posterior_eti95_lower`, `posterior_eti95_upper`.
    """
    prior, posterior = fit.group("prior"), fit.posterior
    rows = [
        {
            "variable": label,
            "unit": str(posterior[name].attrs.get("units", "1")),
            **_quantiles("prior", prior[name].sel(at)),
            **_quantiles("posterior", posterior[name].sel(at)),
        }
        for name in map(str, posterior.data_vars)
        if name in prior and not set(posterior[name].dims) & _UNITS
        for label, at in _entries(posterior[name])
    ]
    return pd.DataFrame(rows)


def rank_table(fit: Fit) -> pd.DataFrame:
    """Tabulate how the ranks of every chain's draws depart from uniform ones.

    Returns
    -------
    pandas.DataFrame
        `variable`, `chain`, `rank` (fractional, among the draws of all chains) and `difference`
        (share of the chain's draws at or below the rank, minus the rank).
    """
    _require_chains(fit)
    grid = np.linspace(0.0, 1.0, _POINTS)
    rows = []
    for label, draws in _panels(fit, answer_variables(fit)):
        values = draws.transpose(CHAIN, DRAW).values
        ranks = (rankdata(values).reshape(values.shape) - 0.5) / values.size
        for chain, own in zip(draws[CHAIN].values, np.sort(ranks, axis=1), strict=True):
            share = np.searchsorted(own, grid, side="right") / own.size
            rows.append(
                pd.DataFrame(
                    {"variable": label, "chain": chain, "rank": grid, "difference": share - grid}
                )
            )
    return pd.concat(rows, ignore_index=True)


def ess_table(fit: Fit) -> pd.DataFrame:
    """Tabulate the effective sample size of quantiles.

    Returns
    -------
    pandas.DataFrame
        `variable`, `quantile` and `ess` (draws).
    """
    _require_draws(fit)
    rows = [
        {
            "variable": label,
            "quantile": prob,
            "ess": float(_ess(draws, method="quantile", prob=prob)),
        }
        for label, draws in _panels(fit, answer_variables(fit))
        for prob in _QUANTILES
    ]
    return pd.DataFrame(rows)


def energy_table(fit: Fit) -> pd.DataFrame:
    """Tabulate the energy of every draw.

    Returns
    -------
    pandas.DataFrame
        `chain`, `draw`, `marginal` (energy about its mean) and `transition` (step from the draw
        before; nan at the first).
    """
    energy = _energy(fit).transpose(CHAIN, DRAW)
    steps = energy.diff(DRAW).reindex({DRAW: energy[DRAW]})
    frame = xr.Dataset({"marginal": energy - energy.mean(), "transition": steps}).to_dataframe()
    return frame.reset_index()[[CHAIN, DRAW, "marginal", "transition"]]


def describe_prior_posterior(table: pd.DataFrame) -> str:
    """Say in words what the figure of priors and posteriors shows."""
    wide, narrow = (
        table[f"{group}_eti95_upper"] - table[f"{group}_eti95_lower"]
        for group in ("prior", "posterior")
    )
    little = table.loc[narrow > _LITTLE * wide, "variable"]
    which = f": {listing(little)}" if len(little) else ""
    return (
        "Prior and posterior densities of the parameters of one number. Of all "
        f"{counted(len(table), 'parameter')}, {len(little)} have a 95 % interval of more than "
        f"{_LITTLE:g} of the prior's{which}."
    )


def describe_rank(table: pd.DataFrame) -> str:
    """Say in words what the figure of ranks shows."""
    worst = table.iloc[int(np.argmax(table["difference"].abs()))]
    return (
        f"Ranks of {table['chain'].nunique()} chains against uniform ranks for "
        f"{listing(dict.fromkeys(table['variable']), limit=8)}: the largest difference is "
        f"{format_number(worst['difference'], digits=2)} ({worst['variable']})."
    )


def describe_ess(table: pd.DataFrame) -> str:
    """Say in words what the figure of effective sample sizes shows."""
    worst = table.iloc[int(np.argmin(table["ess"]))]
    return (
        "Effective sample size of quantiles for "
        f"{listing(dict.fromkeys(table['variable']), limit=8)}: at least "
        f"{format_number(worst['ess'])} ({worst['variable']}, {worst['quantile']:.0%} quantile)."
    )


def describe_energy(table: pd.DataFrame) -> str:
    """Say in words what the figure of energies shows."""
    by_chain = table.groupby("chain")
    ratio = by_chain["transition"].apply(lambda steps: float((steps**2).mean())) / by_chain[
        "marginal"
    ].var(ddof=0)
    return (
        "Distribution of energies and of their steps; the energy fraction (BFMI) of the "
        f"{len(ratio)} chains is at least {format_number(float(ratio.min()), digits=2)}."
    )


def figure_of(collection: PlotCollection) -> Figure:
    """The matplotlib figure of a collection, which pyplot no longer keeps."""
    figure: Figure = collection.viz["figure"].item()
    plt.close(figure)
    for ax in figure.axes:
        if ax.get_ylabel() == "Chain":
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _layout(panels: int) -> dict[str, Any]:
    """Four panels in a row, each of the size of this package's."""
    columns = min(panels, _COLUMNS)
    rows = -(-panels // _COLUMNS)
    size = (max(7.2, 0.75 * PANEL[0] * columns), 0.75 * PANEL[1] * rows)
    return {
        "backend": "matplotlib",
        "col_wrap": _COLUMNS,
        "figure_kwargs": {"figsize": size, "layout": "constrained"},
    }


def _named(fit: Fit, wanted: Sequence[str] | None, default: list[str]) -> list[str]:
    """Variables to draw, or an error naming the one that is not there."""
    names = default if wanted is None else list(wanted)
    for name in names:
        if name not in fit.posterior:
            known = list(map(str, fit.posterior.data_vars))
            raise BayesdenseError(
                f"var_names: {told(name)} is no variable of this fit{nearest_of(name, known)}"
            )
    if not names:
        raise BayesdenseError("this fit has no such variable to draw")
    return names


def _tree(fit: Fit, names: Sequence[str], *groups: str) -> xr.DataTree:
    """A tree with the variables that are drawn and nothing else."""
    found = {f"/{name}": fit.group(name)[list(names)] for name in ("posterior", *groups)}
    return xr.DataTree.from_dict(found)


def _panels(fit: Fit, names: Sequence[str]) -> list[tuple[str, xr.DataArray]]:
    """Draws of every entry of variables, with its label."""
    return [
        (label, fit.posterior[name].sel(at))
        for name in names
        for label, at in _entries(fit.posterior[name])
    ]


def _entries(draws: xr.DataArray) -> list[tuple[str, dict[str, object]]]:
    """Every entry of a variable beside its draws: `alpha[MMLU]`, and where it stands."""
    others = [str(dim) for dim in draws.dims if dim not in (CHAIN, DRAW)]
    if not others:
        return [(str(draws.name), {})]
    stacked = draws.isel({CHAIN: 0, DRAW: 0}, drop=True).stack(at=others)
    keys = [key if isinstance(key, tuple) else (key,) for key in stacked["at"].values]
    return [
        (f"{draws.name}[{', '.join(map(str, key))}]", dict(zip(others, key, strict=True)))
        for key in keys
    ]


def _quantiles(group: str, draws: xr.DataArray) -> dict[str, float]:
    """Median and 95 % equal-tailed interval of a parameter's draws."""
    low, high = tails(CI_PROB)
    values = np.quantile(draws.values, [0.5, low, high])
    names = ("median", "eti95_lower", "eti95_upper")
    return {f"{group}_{name}": float(value) for name, value in zip(names, values, strict=True)}


def _energy(fit: Fit) -> xr.DataArray:
    """Energies of the draws, or an error where the sampler kept none."""
    stats = fit.group("sample_stats")
    if "energy" not in stats:
        raise BayesdenseError("this fit's sampler kept no energies to draw")
    return stats["energy"]


def _is_constant(draws: xr.DataArray) -> bool:
    """Whether all draws are one value: no density, no rank, no effective sample size."""
    return bool((draws.max((CHAIN, DRAW)) == draws.min((CHAIN, DRAW))).all())


def _require_chains(fit: Fit) -> None:
    """Refuse to compare one chain with itself."""
    if fit.posterior.sizes[CHAIN] < 2:
        raise BayesdenseError("ranks compare chains, and this fit has one")


def _require_draws(fit: Fit) -> None:
    """Refuse chains too short for quantiles."""
    if fit.posterior.sizes[DRAW] < _LEAST_DRAWS:
        raise BayesdenseError(f"effective sample sizes take {_LEAST_DRAWS} draws of a chain")
