"""A forecast as a file: dated, hashed, and refused where it was altered."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesdense._version import __version__
from bayesdense.errors import BayesdenseError
from bayesdense.files import write_text_atomic
from bayesdense.fit_attributes import ATTRIBUTES, attribute
from bayesdense.fit_file import check_draws, spec_of
from bayesdense.names import (
    BENCHMARK,
    CHAIN,
    DRAW,
    FAMILY,
    LLM,
    MAP_PARAMETERS,
    SCHEMA_VERSION,
)
from bayesdense.newcomers import require_laws
from bayesdense.result_files import read_result
from bayesdense.results import Fit
from bayesdense.summary import strict
from bayesdense.trends import trend_named
from bayesdense.wording import json_text, printable

_KIND: Final = "bayesdense-forecast"
_DRAWS: Final = 400
#: Draws and constants without which no score can be predicted, whatever the law.
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "posterior": ("param_coef", "param_exponent", "token_coef", "token_exponent", *MAP_PARAMETERS),
    "constant_data": ("n_items", "log_params_centre", "log_tokens_centre"),
}
#: What a fit's constant data hold that predictions read; the rest is about its own LLMs.
_CONSTANTS: Final = (
    "n_params",
    "n_items",
    "log_params_centre",
    "log_tokens_centre",
    "reference_max_params",
    "reference_max_tokens",
    "score_benchmark_idx",
    "score_other_protocol",
)


@dataclass(frozen=True, slots=True, eq=False)
class FrozenForecast:
    """A forecast as it was written: thinned draws of all that predicts scores, and its date.

    Attributes
    ----------
    fit
        The draws as a fit, without what is not needed to predict.
    frozen_at
        When it was written, ISO, UTC.
    digest
        SHA-256 of its content.
    """

    fit: Fit
    frozen_at: str
    digest: str


def freeze_forecast(
    fit: Fit,
    path: str | Path,
    *,
    n_draws: int = _DRAWS,
    answer: Mapping[str, Any] | None = None,
) -> str:
    """Write a dated, hashed forecast of the scores of LLMs that are not yet there.

    It holds draws of laws, maps, noise, trend, families and residual, from which follows the
    predictive distribution of the scores of any LLM of given parameters, date and family
    (`score_forecast`): nothing has to be known of later LLMs when it is written.

    Parameters
    ----------
    fit
        A fit of a joint model.
    path
        A file that does not exist: a forecast is not replaced.
    n_draws
        Draws that are kept, at equal distances over all chains.
    answer
        What `forecast` said, to be kept beside them.

    Returns
    -------
    str
        The digest: whoever publishes it can prove later what the file said.

    Raises
    ------
    BayesdenseError
        The file is there already or cannot be written, the fit knows no laws, or its trend asks of
        LLMs what nobody will know of later ones.
    """
    require_laws(fit, "forecast")
    _require_dates_alone(fit)
    target = Path(path)
    if target.exists():
        raise BayesdenseError(
            f"{target}: is there already, and no forecast is replaced; name another"
        )
    content: dict[str, object] = {
        "schema": SCHEMA_VERSION,
        "kind": _KIND,
        "frozen_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "bayesdense_version": __version__,
        "attributes": {str(key): value for key, value in strict(fit.tree.attrs).items()},
        "posterior": _thinned(fit, n_draws).to_dict(),
        "constant_data": _constants(fit).to_dict(),
        "answer": answer,
    }
    content = strict(content)
    digest = _digest(content)
    try:
        write_text_atomic(target, json_text({**content, "digest": digest}) + "\n")
    except OSError as err:
        raise BayesdenseError(f"{target}: cannot be written: {err.strerror or err}") from err
    return digest


def _require_dates_alone(fit: Fit) -> None:
    """Refuse a trend that asks more of an LLM than its date and parameters."""
    trend = trend_named(fit.spec.trend)
    if trend.group_by is not None or trend.covariate not in (None, "log_params"):
        raise BayesdenseError(
            f"trend {trend.kind}: a frozen forecast is scored by the dates, parameters and "
            "families of later LLMs alone; freeze a fit of another trend, such as exponential"
        )


def load_forecast(path: str | Path) -> FrozenForecast:
    """Read a frozen forecast.

    Parameters
    ----------
    path
        A file that `freeze_forecast` or ``bayesdense forecast --freeze`` wrote.

    Returns
    -------
    FrozenForecast
        The draws that predict scores, and when they were frozen.

    Raises
    ------
    BayesdenseError
        No such file, no forecast, of another schema, or altered since it was written.
    """
    where, what = printable(str(path)), "frozen forecast; write one with forecast --freeze"
    content = read_result(path, "frozen_forecast", what)
    digest = content.pop("digest")
    if digest != _digest(content):
        raise BayesdenseError(
            f"{where}: its content is not what its digest says: altered since it was frozen"
        )
    try:
        dt.datetime.fromisoformat(content["frozen_at"])
        fit = _fit_of(content)
    except (BayesdenseError, ValueError) as err:
        raise BayesdenseError(f"{where}: {err}; write it anew with forecast --freeze") from err
    return FrozenForecast(fit, content["frozen_at"], digest)


def _fit_of(content: Mapping[str, Any]) -> Fit:
    """Draws of a forecast as a fit, or an error where they are not what predictions read."""
    groups = {}
    for name in ("posterior", "constant_data"):
        try:
            groups[f"/{name}"] = xr.Dataset.from_dict(content[name])
        except Exception as err:  # content of another shape makes xarray raise anything
            raise BayesdenseError(f"{name} is no dataset of xarray ({err})") from err
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(content["attributes"])
    check_draws(groups["/posterior"])
    for name in ATTRIBUTES:
        attribute(tree, name)
    fit = Fit(tree, spec_of(tree))
    require_laws(fit, "forecast")
    _require_dates_alone(fit)
    for group, names in _NEEDED.items():
        for name in names:
            fit.variable(group, name)
    for name in trend_named(fit.spec.trend).drawn:
        fit.variable("posterior", name)
    return fit


def _thinned(fit: Fit, n_draws: int) -> xr.Dataset:
    """Draws at equal distances over all chains, as one chain, of what predicts scores."""
    if n_draws < 1:
        raise BayesdenseError(f"n_draws = {n_draws}, allowed: 1 or more")
    kept = [
        name
        for name, drawn in fit.posterior.data_vars.items()
        if not {LLM, "run"} & set(drawn.dims)
    ]
    every = fit.posterior[kept].stack(sample=(CHAIN, DRAW), create_index=False)
    size = every.sizes["sample"]
    rows = ((np.arange(min(n_draws, size)) + 0.5) * size / min(n_draws, size)).astype(int)
    chosen = every.isel(sample=rows).drop_vars([CHAIN, DRAW, LLM, "run"], errors="ignore")
    chosen = chosen.rename(sample=DRAW).expand_dims(CHAIN).transpose(CHAIN, DRAW, ...)
    names = [name for name in chosen.coords if name not in (BENCHMARK, FAMILY)]
    return chosen.drop_vars(names).assign_coords({CHAIN: [0], DRAW: np.arange(len(rows))})


def _constants(fit: Fit) -> xr.Dataset:
    """Constant data that predictions read; names and dates of the LLMs among them."""
    group = fit.group("constant_data")
    kept = group[[name for name in _CONSTANTS if name in group]]
    needed = (LLM, "release_date", BENCHMARK)
    return kept.drop_vars([name for name in kept.coords if name not in needed])


def _digest(content: Mapping[str, object]) -> str:
    """SHA-256 of canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
