"""What is true of everything that is accepted, said anew from the documented formats.

Nothing here calls the package's own rules: the files are read once more, by other means.
"""

import csv
import datetime as dt
import hashlib
import io
import json
import math
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayesdense.dataset import Dataset
from bayesdense.jobs.outcomes import Outcome
from bayesdense.newcomers import Newcomers
from bayesdense.results import Fit
from bayesdense.spec import ModelSpec

TABLES = ("benchmarks", "runs", "loss_scores", "llms", "scores", "score_reports", "densities")
#: Bounds of columns of numbers, both ends allowed; `COUNTS` are whole.
BETWEEN: Mapping[str, tuple[float, float]] = {
    "score": (0, 1), "chance": (0, 1 - 1e-16), "n_items": (1, 1e9), "n_params": (1e5, 1e18),
    "n_params_active": (1e5, 1e18), "n_params_non_embedding": (1e5, 1e18),
    "n_tokens": (1e5, 1e18), "loss": (5e-324, 1.8e308), "density": (5e-324, 1.8e308),
    "loss_sd": (0, 1.8e308), "report_sd": (0, 1), "date_sd_days": (0, 1.8e308),
    "density_log_sd": (0, 1.8e308), "weight_bits": (5e-324, 64), "n_shots": (0, 1e9),
}  # fmt: skip
COUNTS = ("n_items", "n_shots")
KEYS: Mapping[str, tuple[str, ...]] = {
    "benchmarks": ("benchmark",), "runs": ("run", "benchmark"), "llms": ("llm",),
    "scores": ("llm", "benchmark"), "densities": ("llm",),
}  # fmt: skip
POSITIVE_KWARGS = ("sigma", "alpha", "beta")


def is_plain(text: str) -> bool:
    """Whether text has neither control characters nor what a terminal obeys."""
    return all(unicodedata.category(char)[0] != "C" for char in text)


def is_message(text: str) -> bool:
    """Whether a message may be printed as it is, and is short enough to be read."""
    return all(char.isprintable() or char == "\n" for char in text) and 0 < len(text) < 200_000


def records(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file that hold anything, by the names of its header."""
    text = path.read_bytes().decode("utf-8-sig")
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""))]
    header, *body = [row for row in rows if any(row)]
    return [dict(zip(header, row, strict=False)) for row in body]


def dataset_holds(found: Dataset, folder: Path) -> None:
    """Check every table against its file and against what the interface says."""
    card = tomllib.loads((folder / "card.toml").read_bytes().decode("utf-8-sig"))
    assert isinstance(card["title"], str)
    assert card["title"].strip()
    assert is_plain(found.name), found.name
    assert all(is_plain(text.replace("\n", "").replace("\t", "")) for text in leaves(card))
    assert len(found.digest) == 64
    frames = {name: getattr(found, name) for name in TABLES}
    there = {name: frame for name, frame in frames.items() if frame is not None}
    assert set(there) == {name for name in TABLES if (folder / f"{name}.csv").exists()}
    assert set(there) - {"score_reports"} in ({"densities"}, set(TABLES[:5]))
    for name, frame in there.items():
        table_holds(name, frame, records(folder / f"{name}.csv"))
    if found.densities is None:
        ids_hold(there)


def leaves(tree: Any) -> Iterable[str]:
    """Every text of a tree, and every key."""
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield key
            yield from leaves(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, str):
        yield tree


def table_holds(name: str, frame: pd.DataFrame, rows: list[dict[str, str]]) -> None:
    """Check that no row is lost, every number is the file's, and every value is allowed."""
    assert len(frame) == len(rows) > 0
    for column in map(str, frame.columns):
        values = frame[column]
        texts = [row.get(column, "") for row in rows]
        blank = [text in ("",) or text.casefold() == "nan" for text in texts]
        if column in BETWEEN:
            low, high = BETWEEN[column]
            for value, text, empty in zip(values, texts, blank, strict=True):
                assert math.isnan(value) if empty else value == float(text)
                assert empty or low <= value <= high, (name, column, value)
                assert empty or column not in COUNTS or value == int(value)
        elif column == "release_date":
            last = pd.Timestamp(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2))
            assert values.between(pd.Timestamp("2000-01-01"), last).all()
            assert [value.strftime("%Y-%m-%d") for value in values] == texts
        elif values.dtype == bool:
            for value, text, empty in zip(values, texts, blank, strict=True):
                assert empty or text.casefold() in (("true", "1") if value else ("false", "0"))
        else:
            for value, text, empty in zip(values, texts, blank, strict=True):
                assert is_plain(value), (name, column, value)
                assert len(value) <= 208
                assert empty or value == unicodedata.normalize("NFC", text)
    if key := KEYS.get(name):
        assert not frame.duplicated(list(key)).any()


def ids_hold(tables: Mapping[str, pd.DataFrame]) -> None:
    """Check that names refer to what is there, and that base LLMs have scores and references."""
    llms, scores = tables["llms"], tables["scores"]
    names, benchmarks = set(llms["llm"]), set(tables["benchmarks"]["benchmark"])
    assert set(scores["llm"]) <= names
    for name in ("runs", "loss_scores", "scores"):
        assert set(tables[name]["benchmark"]) <= benchmarks
    assert set(scores["benchmark"]) <= set(tables["runs"]["benchmark"])
    assert llms["is_base"].any()
    assert set(llms["llm"][llms["is_base"]]) <= set(scores["llm"])
    assert all(llms["family"])
    if "derived_from" in llms:
        parents = [parent for parent in llms["derived_from"] if parent]
        assert set(parents) <= names
        assert not (llms["derived_from"] == llms["llm"]).any()
    if "role" in tables["loss_scores"]:
        assert set(tables["loss_scores"]["role"]) <= {"fit", "heldout"}


def newcomers_hold(found: Newcomers, path: Path) -> None:
    """Check new LLMs against their table."""
    rows = records(path)
    names = [llm.name for llm in found.llms]
    assert len(set(names)) == len(names) == len(rows)
    assert all(map(is_plain, names))
    pairs = [(cell.llm, cell.benchmark) for cell in found.cells]
    assert len(set(pairs)) == len(pairs)
    assert all(0 <= cell.score <= 1 for cell in found.cells)
    assert {cell.llm for cell in found.cells} == set(names)
    assert all(1e5 <= count <= 1e18 for llm in found.llms for count in llm.counts.values())
    assert all(is_message(text) for text in found.warnings)


def spec_holds(found: ModelSpec, tree: Mapping[str, Any]) -> None:
    """Check a model against the tree that it was read from."""
    assert found.name == tree["name"]
    assert all(map(is_plain, (found.name, *found.references)))
    assert tree["schema"] == 1
    heads = {"schema", "name", "title", "description", "references", "options"}
    assert set(tree) - heads == set(found.components)
    for name, value in tree.get("options", {}).items():
        assert getattr(found.options, name) == value
    assert 1e6 <= found.options.reference_tokens <= 1e18
    for name, component in found.components.items():
        assert tree[name]["kind"] == component.kind or name == "trend"
        for variable, prior in tree[name].get("priors", {}).items():
            prior_holds(prior, component.priors[variable].to_dict())
    again = ModelSpec.from_json(found.to_json())
    assert again.digest == found.digest


def prior_holds(written: Mapping[str, Any], read: Mapping[str, Any]) -> None:
    """Check a prior's parameters: the file's, finite, and positive where they have to be."""
    assert written["dist"] == read["dist"]
    assert set(written["kwargs"]) == set(read["kwargs"])
    for name, value in written["kwargs"].items():
        if isinstance(value, Mapping):
            prior_holds(value, read["kwargs"][name])
        elif not isinstance(value, str):
            assert float(value) == read["kwargs"][name]
            assert math.isfinite(value)
            assert value > 0 or name not in POSITIVE_KWARGS


def fit_holds(found: Fit, folder: Path) -> None:
    """Check a fit's files against its manifest, and that it holds draws of what answers read."""
    listed = json.loads((folder / "manifest.json").read_bytes())["files"]
    assert {"fit.nc", "summary.json"} <= set(listed)
    for name, record in listed.items():
        content = (folder / name).read_bytes()
        assert len(content) == record["size"]
        assert hashlib.sha256(content).hexdigest() == record["sha256"]
        assert (folder / name).resolve().parent == folder.resolve()
    draws_hold(found)


def draws_hold(found: Fit) -> None:
    """Check that a posterior is of numbers by chain and draw, and says what it is of."""
    posterior = found.posterior
    assert posterior.sizes["chain"] * posterior.sizes["draw"] > 0
    for draws in posterior.data_vars.values():
        assert {"chain", "draw"} <= set(draws.dims)
        assert draws.dtype.kind in "fiu"
    assert found.seed >= 0
    first, last = map(dt.date.fromisoformat, found.dataset_info["window"])
    assert first <= last
    assert found.spec.digest == found.tree.attrs.get("spec_digest", found.spec.digest)


def forecast_holds(found: Any, path: Path) -> None:
    """Check a frozen forecast against its digest."""
    content = json.loads(path.read_bytes())
    digest = content.pop("digest")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert found.digest == digest == hashlib.sha256(text.encode()).hexdigest()
    dt.datetime.fromisoformat(found.frozen_at)
    draws_hold(found.fit)
    for draws in found.fit.posterior.data_vars.values():
        assert np.isfinite(draws.values).all()


def outcome_holds(found: Outcome | None, path: Path) -> None:
    """Check a finished job against the checksum of its file."""
    if found is None:  # counts as not finished: it is run again
        return
    body, _, checksum = path.read_bytes().rpartition(b',\n"sha256":"')
    assert checksum == hashlib.sha256(body).hexdigest().encode() + b'"}\n'
    content = json.loads(body + b"}")
    assert content["record"]["job"] == found.job.parts
    assert content["record"]["result"] == found.result
    assert type(found.attempts) is int
    assert found.attempts >= 1
    assert math.isfinite(found.seconds)
    assert found.seconds >= 0
    assert (found.failure is None) or found.result is None
    assert all(isinstance(v, str) for pair in found.versions.items() for v in pair)


def weights_hold(found: Mapping[str, float]) -> None:
    """Check weights of a comparison: of each trend one, none negative, 1 in all."""
    assert found
    assert all(math.isfinite(weight) and weight >= 0 for weight in found.values())
    assert math.isclose(sum(found.values()), 1.0, abs_tol=1e-6)
