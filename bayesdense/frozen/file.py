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
from bayesdense.files import read_json, write_text_atomic
from bayesdense.names import BENCHMARK, CHAIN, DRAW, FAMILY, LLM, SCHEMA_VERSION
from bayesdense.newcomers import require_laws
from bayesdense.results import Fit
from bayesdense.spec import spec_from_dict
from bayesdense.summary import strict
from bayesdense.wording import json_text, printable, told

_KIND: Final = "bayesdense-forecast"
_DRAWS: Final = 400
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
        The file is there already or cannot be written, or the fit knows no laws.
    """
    require_laws(fit, "forecast")
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
    where, content = printable(str(path)), read_json(path)
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise BayesdenseError(f"{where}: is no frozen forecast; write one with forecast --freeze")
    if content.get("schema") != SCHEMA_VERSION:
        raise BayesdenseError(
            f"{where}: schema {told(content.get('schema'))}, this version reads {SCHEMA_VERSION}"
        )
    digest = content.pop("digest", None)
    if digest != _digest(content):
        raise BayesdenseError(
            f"{where}: its content is not what its digest says: altered since it was frozen"
        )
    attributes = content["attributes"]
    tree = xr.DataTree.from_dict(
        {f"/{name}": xr.Dataset.from_dict(content[name]) for name in ("posterior", "constant_data")}
    )
    tree.attrs.update(attributes)
    spec = spec_from_dict(json.loads(attributes["spec"]), where="the forecast's specification")
    return FrozenForecast(Fit(tree, spec), str(content["frozen_at"]), str(digest))


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
