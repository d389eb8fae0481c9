"""Every kind of file that the package reads: a valid one, how it is spoilt, and who reads it.

A kind writes one spoilt case into an empty folder and returns how it is read and what then holds.
`try_case` judges: it is refused with a `BayesdenseError` whose message may be printed, or what it
says holds; within `SECONDS` and without more memory than `BYTES`.
"""

import copy
import csv
import hashlib
import io
import json
import random
import re
import resource
import signal
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import fuzz_holds as holds
import h5py
import xarray as xr
from datasets import CARD, densities, tables, tiny_dataset, tiny_densities
from fake_fit import BENCHMARKS, fake_checks, fake_fit
from fuzz_mutations import (
    NASTY,
    json_bytes,
    mutated_bytes,
    mutated_csv,
    mutated_tree,
    toml_bytes,
)

from bayesdense.catalog import model_path
from bayesdense.cli.trends import add_from_file
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError
from bayesdense.frozen import freeze_forecast, load_forecast
from bayesdense.jobs import Job
from bayesdense.jobs.outcomes import Outcome, read_outcomes, write_outcome
from bayesdense.jobs.trials import normals
from bayesdense.manifest import record_of, write_manifest
from bayesdense.newcomers import read_newcomers
from bayesdense.results import Fit, load_fit
from bayesdense.simulate import read_truth
from bayesdense.spec import ModelSpec, load_spec
from bayesdense.stacking import read_weights
from bayesdense.studies.calibrate_result import outside_before
from bayesdense.studies.power_result import read_power
from bayesdense.summary import summarize
from bayesdense.wording import json_text

ROOT = Path(__file__).parents[1]
EVIDENCE = ROOT / "docs" / "evidence"
#: Of the process itself; on the wall four times as much, as other programs run beside.
SECONDS = 5.0
BYTES = 1 << 30

#: Reads a case, and checks what was read.
type Case = tuple[Callable[[], object], Callable[[Any], None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file; `slow` and `quick` are numbers of cases."""

    name: str
    make: Callable[[Path, random.Random], Case]
    slow: int
    quick: int = 12


class Hang(BaseException):
    """A case that takes too long; no `Exception`, so that nothing catches it."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise `Hang` after so many seconds on the wall."""

    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def try_case(kind: Kind, folder: Path, seed: int) -> tuple[str, float]:
    """Judge one case: `refused` or `accepted`, and its seconds; raises AssertionError."""
    load, check = kind.make(folder, random.Random(f"{kind.name} {seed}"))
    return judged(f"{kind.name} {seed}", load, check)


def judged(
    name: str, load: Callable[[], object], check: Callable[[Any], None]
) -> tuple[str, float]:
    """Read a case and judge what comes of it."""
    began, peak = time.process_time(), _peak()
    verdict, found = "accepted", None
    try:
        with alarm(4 * SECONDS):
            found = load()
    except BayesdenseError as error:
        verdict = "refused"
        assert holds.is_message(str(error)), f"{name}: {str(error)[:300]!r}"
    except Hang:
        raise AssertionError(f"{name}: hangs") from None
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__}: {str(error)[:300]}") from error
    seconds = time.process_time() - began
    assert seconds < SECONDS, f"{name}: {seconds:.1f} s"
    assert _peak() - peak < BYTES, f"{name}: {(_peak() - peak) / 1e6:.0f} MB"
    if verdict == "accepted":
        try:
            check(found)
        except Exception as error:
            raise AssertionError(f"{name}: accepted wrongly: {error!r}"[:600]) from error
    return verdict, seconds


def _peak() -> int:
    """Most memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# --- datasets ---------------------------------------------------------------------------------


def _dataset(folder: Path, rng: random.Random, file: str, spoil: Callable[[bytes], bytes]) -> Case:
    """A tiny dataset with one file spoilt, sometimes in a folder of a hostile name."""
    parent = folder / rng.choice(("plain", "plain", "plain", "\x1b[31m<b>&\u202e\n"))
    place = tiny_densities(parent) if file == "densities.csv" else tiny_dataset(parent)
    path = place / file
    path.write_bytes(spoil(path.read_bytes()))
    return lambda: load_dataset(place), lambda found: holds.dataset_holds(found, place)


def _card(folder: Path, rng: random.Random) -> Case:
    tree = tomllib.loads((ROOT / "data" / "densing" / "card.toml").read_text(encoding="utf-8"))
    tree["retrieved"] = str(tree.get("retrieved", ""))
    if rng.random() < 0.5:
        return _dataset(folder, rng, "card.toml", lambda _: toml_bytes(mutated_tree(tree, rng)))
    content = rng.choice((CARD.encode(), toml_bytes(tree)))
    return _dataset(folder, rng, "card.toml", lambda _: mutated_bytes(content, rng))


def _table(name: str) -> Callable[[Path, random.Random], Case]:
    def make(folder: Path, rng: random.Random) -> Case:
        rows = densities() if name == "densities" else tables()[name]
        if rng.random() < 0.3:
            return _dataset(folder, rng, f"{name}.csv", lambda raw: mutated_bytes(raw, rng))
        return _dataset(folder, rng, f"{name}.csv", lambda _: mutated_csv(rows, rng))

    return make


# --- models -----------------------------------------------------------------------------------


@cache
def _models() -> tuple[bytes, ...]:
    return tuple(model_path(name).read_bytes() for name in ("joint", "trend_only"))


def _model(folder: Path, rng: random.Random) -> Case:
    content = rng.choice(_models())
    path = folder / "model.toml"
    if rng.random() < 0.6:
        content = toml_bytes(mutated_tree(tomllib.loads(content.decode()), rng))
    else:
        content = mutated_bytes(content, rng)
    path.write_bytes(content)
    tree = lambda: tomllib.loads(content.decode("utf-8-sig"))  # noqa: E731
    return lambda: load_spec(path), lambda found: holds.spec_holds(found, tree())


_KEYS = (
    "trend", "residual", "options.reference_tokens", "feedback", "family.priors.family_sd",
    "trend.priors.growth_rate.kwargs.mu", "loss_law.kind", "name", "title", "references", "schema",
    "quadrature_spacing", "score_map.priors.score_slope.kwargs.mu.kwargs.sigma",
)  # fmt: skip
_SETTINGS = (
    "5e12", "1e400", "nan", "-1", "0", "true", "[]", "{}", "'x'", '"', "[" * 5000, "9" * 5000,
    "a.b.c", "{dist='Normal',kwargs={mu=0,sigma=1}}", "{a." + "a." * 5000 + "b=1}", "cut", "joint",
    "break_known@2024-01-01", "break_known@2024-13-01", "break_known@\x1b[31m", "groups@x",
)  # fmt: skip


def _setting(folder: Path, rng: random.Random) -> Case:
    key = rng.choice((*_KEYS, rng.choice(NASTY)[:1000], ".".join(["a"] * 300)))
    value = rng.choice((*_SETTINGS, *NASTY))
    sign = rng.choice(("=", "=", "=", "", "=="))
    spec = load_spec(rng.choice(("joint", "trend_only")))
    return (
        lambda: spec.with_overrides([f"{key}{sign}{value}"]),
        lambda found: holds.spec_holds(found, json.loads(found.to_json())),
    )


# --- new LLMs ---------------------------------------------------------------------------------

NEWCOMERS = [
    ["llm", "release_date", "n_params", "family", "is_base", *BENCHMARKS],
    ["Omega-7B", "2025-05-01", "7e9", "Omega", "true", "0.61", "0.52"],
    ["Omega-1B", "2025-05-02", "1e9", "Omega", "true", "0.41", ""],
    ["Psi-3B", "2025-06-01", "3000000000", "", "", "", "0.38"],
]
SCORES = [
    ["llm", "benchmark", "score", "n_items"],
    ["Psi-3B", "MMLU", "0.5", "1000"],
    ["Omega-1B", "BBH", "0.3", ""],
]


def _newcomers(folder: Path, rng: random.Random) -> Case:
    models, scores = folder / "new.csv", folder / "scores.csv"
    which = rng.random()
    models.write_bytes(mutated_csv(NEWCOMERS, rng) if which < 0.7 else csv_bytes(NEWCOMERS))
    scores.write_bytes(mutated_csv(SCORES, rng) if which >= 0.5 else csv_bytes(SCORES))
    given = scores if which >= 0.4 else None
    return (
        lambda: read_newcomers(models, given, BENCHMARKS),
        lambda found: holds.newcomers_hold(found, models),
    )


def csv_bytes(rows: list[list[str]]) -> bytes:
    """A table as it is."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()


# --- fits -------------------------------------------------------------------------------------


@cache
def small_fit() -> Fit:
    """A fit of densities, of as few groups and draws as one may have."""
    whole = fake_fit(chains=1, draws=6, densities_only=True)
    kept = (
        "posterior", "sample_stats", "prior", "posterior_predictive", "predictive_mean",
        "observed_data", "constant_data",
    )  # fmt: skip
    tree = xr.DataTree.from_dict({f"/{name}": whole.group(name) for name in kept})
    tree.attrs.update(whole.tree.attrs)
    return Fit(tree, whole.spec)


_FILES = ("fit.nc", "summary.json", "manifest.json")


def _saved(fit: Fit) -> dict[str, bytes]:
    """Files of a saved fit, by name; its summary is of a fit that has one."""
    summary = summarize(fake_fit(chains=2, draws=20), fake_checks())
    with tempfile.TemporaryDirectory() as folder:
        fit.save(folder, files={"summary.json": json_text(summary).encode()})
        return {name: (Path(folder) / name).read_bytes() for name in _FILES}


@cache
def _fit_files() -> dict[str, bytes]:
    return _saved(small_fit())


@cache
def _joint_files() -> dict[str, bytes]:
    return _saved(fake_fit(chains=2, draws=20))


def fit_files() -> dict[str, bytes]:
    """Files of a valid fit, by name."""
    return dict(_fit_files())


def joint_files() -> dict[str, bytes]:
    """Files of a valid fit of a joint model, by name."""
    return dict(_joint_files())


def write_fit(folder: Path, files: dict[str, bytes], *, seal: bool = False) -> Path:
    """Write files of a fit; with `seal`, a manifest that says what they are."""
    place = folder / "fit"
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    if seal:
        names = [name for name in files if name != "manifest.json"]
        write_manifest(place, {name: record_of(place / name) for name in names})
    return place


def _fit_case(place: Path) -> Case:
    return lambda: load_fit(place), lambda found: holds.fit_holds(found, place)


_ELSEWHERE = ("../fit.nc", "/etc/passwd", "a/b", "..", ".", "\x00", "\x1b[2J", "C:x")


def _manifest(folder: Path, rng: random.Random) -> Case:
    files = fit_files()
    raw = files["manifest.json"]
    if rng.random() < 0.6:
        tree = mutated_tree(json.loads(raw), rng)
        if rng.random() < 0.3 and isinstance(tree.get("files"), dict):
            name = rng.choice(
                ("../fit.nc", "/etc/passwd", "a/b", "..", ".", "\x00", "\x1b[2J", "C:x")
            )
            tree["files"][name] = next(iter(json.loads(raw)["files"].values()))
        files["manifest.json"] = json_bytes(tree)
    else:
        files["manifest.json"] = mutated_bytes(raw, rng)
    return _fit_case(write_fit(folder, files))


def _altered_fit(folder: Path, rng: random.Random) -> Case:
    """Files that are not what the manifest says: none may be read."""
    files = fit_files()
    name = rng.choice(("fit.nc", "fit.nc", "fit.nc", "summary.json"))
    raw = files[name]
    files[name] = mutated_bytes(raw, rng)
    place = write_fit(folder, files)

    def nothing_changed(_: Fit) -> None:
        assert files[name] == raw

    return lambda: load_fit(place), nothing_changed


_JSON_ATTRIBUTES = ("dataset", "dataset_warnings", "spec", "versions", "timings_s")


def _edited_fit(folder: Path, rng: random.Random) -> Case:
    """Other attributes, variables or groups, and a manifest that agrees."""
    return _fit_case(edited_fit(folder, fit_files(), rng))


def edited_fit(folder: Path, files: dict[str, bytes], rng: random.Random) -> Path:
    """Write a fit with a tree that is another, and a manifest that agrees."""
    path = folder / "edited.nc"
    path.write_bytes(files["fit.nc"])
    with h5py.File(path, "r+") as file:
        for _ in range(rng.choice((1, 1, 2))):
            _edit(file, rng)
    return write_fit(folder, {**files, "fit.nc": path.read_bytes()}, seal=True)


def _edit(file: h5py.File, rng: random.Random) -> None:
    groups = sorted(name for name in file if isinstance(file[name], h5py.Group))
    if not groups:
        return
    group = file[rng.choice(groups)]
    names = sorted(name for name in group if isinstance(group[name], h5py.Dataset))
    own = sorted(name for name in file.attrs if not name.startswith("_"))
    match rng.randrange(8):
        case 0 if own:
            del file.attrs[rng.choice(own)]
        case 1 if own:
            plain = [text for text in NASTY if "\x00" not in text and len(text) < 1000]
            file.attrs[rng.choice(own)] = rng.choice((*plain, -1, 2**62, 1.5, [1, 2]))
        case 2 | 3:
            name = rng.choice(_JSON_ATTRIBUTES)
            if isinstance(old := file.attrs.get(name), str) and old.startswith(("{", "[")):
                spoilt = json_bytes(mutated_tree(_json_or_empty(old), rng))
                file.attrs[name] = spoilt.decode("utf-8", "replace")[:50_000].replace("\x00", "")
        case 4 if names:
            del group[rng.choice(names)]
        case 5 if names:
            data = group[rng.choice(names)]
            if data.dtype.kind in "fi" and data.size:
                data[...] = rng.choice((0, -1, 100))
        case 6 if names:
            name = rng.choice(names)
            del group[name]
            group[name] = rng.choice((b"text", 1.0, [1, 2, 3], ["a", "\x1b[31m"]))
        case _:
            del file[group.name]


def _json_or_empty(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


# --- results of studies, forecasts --------------------------------------------------------------


@cache
def evidence(name: str) -> Any:
    """A result of a study of this repository."""
    return json.loads((EVIDENCE / f"{name}.json").read_bytes())


@dataclass(frozen=True, slots=True)
class About:
    """As much of a dataset or fit as readers of studies ask for."""

    digest: str
    name: str = "densing"
    spec: ModelSpec = field(default_factory=lambda: load_spec("joint"))

    @property
    def dataset_info(self) -> dict[str, str]:
        return {"digest": self.digest}


def _spoilt_json(path: Path, tree: Any, rng: random.Random) -> None:
    if rng.random() < 0.75:
        path.write_bytes(json_bytes(mutated_tree(tree, rng)))
    else:
        path.write_bytes(mutated_bytes(json.dumps(tree).encode(), rng))


def small_power() -> Any:
    """A result of `power`, with few of its dates."""
    tree = copy.deepcopy(evidence("power-densing"))
    tree["placebo"]["dates"] = tree["placebo"]["dates"][:2]
    return tree


def _power(folder: Path, rng: random.Random) -> Case:
    path, tree = folder / "power.json", small_power()
    _spoilt_json(path, tree, rng)
    about = About(tree["dataset"]["digest"])

    def power_holds(found: Any) -> None:
        from bayesdense.studies.power_result import RULES, statement

        for trend in found["trends"]:
            assert all(holds.is_message(statement("densing", trend, rule)) for rule in RULES)

    return lambda: read_power(path, about), power_holds  # type: ignore[arg-type]


def comparison() -> Any:
    """A result of `compare` with the future left out."""
    tree = copy.deepcopy(evidence("compare-densing")["compare"])
    n = len(tree["hypotheses"])
    for one in tree["hypotheses"]:
        one["weight_lfo"] = 1.0 / n
    return tree


def _weights(folder: Path, rng: random.Random) -> Case:
    path, tree = folder / "compare.json", comparison()
    _spoilt_json(path, tree, rng)
    fits = [About(tree["dataset"]["digest"])]
    return lambda: read_weights(path, fits), holds.weights_hold  # type: ignore[arg-type]


def ranks() -> Any:
    """A result of `calibrate`, with few of its worlds and quantities."""
    tree = copy.deepcopy(evidence("calibrate-densing"))
    tree["worlds"] = tree["worlds"][:1]
    for name in ("quantities", "bands"):
        tree["ranks"][name] = dict(list(tree["ranks"][name].items())[:2])
    return tree


def _ranks(folder: Path, rng: random.Random) -> Case:
    path, tree = folder / "calibrate.json", ranks()
    _spoilt_json(path, tree, rng)
    digest = tree["dataset"]["digest"]

    def names_hold(found: list[str]) -> None:
        assert all(isinstance(name, str) for name in found)

    return lambda: outside_before(path, digest, seed=1), names_hold


@cache
def forecast_bytes() -> bytes:
    """A valid frozen forecast."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forecast.json"
        freeze_forecast(fake_fit(chains=1, draws=4), path, n_draws=3)
        return path.read_bytes()


def sealed_forecast(tree: dict[str, Any]) -> bytes:
    """A forecast with the digest of its content."""
    content = {key: value for key, value in tree.items() if key != "digest"}
    plain = json.loads(json_bytes(content))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return json_bytes({**content, "digest": hashlib.sha256(text.encode()).hexdigest()})


def _frozen(folder: Path, rng: random.Random) -> Case:
    path, raw = folder / "forecast.json", forecast_bytes()
    which = rng.random()
    if which < 0.25:
        path.write_bytes(mutated_bytes(raw, rng))
    elif which < 0.4:
        path.write_bytes(json_bytes(mutated_tree(json.loads(raw), rng)))
    else:
        tree = json.loads(raw)
        spoilt = mutated_tree(tree, rng)
        if rng.random() < 0.3 and isinstance(spoilt.get("attributes"), dict):
            spec = mutated_tree(json.loads(tree["attributes"]["spec"]), rng)
            spoilt["attributes"]["spec"] = json_bytes(spec).decode("utf-8", "replace")
        try:
            path.write_bytes(sealed_forecast(spoilt))
        except (ValueError, RecursionError):  # nothing that has a digest
            path.write_bytes(json_bytes(spoilt))
    return lambda: load_forecast(path), lambda found: holds.forecast_holds(found, path)


# --- jobs, truths, summaries, trends ------------------------------------------------------------

JOB = Job.of(normals, {"n": 3}, seed=5)


def _outcome(folder: Path, rng: random.Random) -> Case:
    result = {"draws": [0.5, -1.0, 2.0], "mean": 0.5}
    write_outcome(folder, Outcome(JOB, result, None, 1, 0.25, {"numpy": "2.1"}))
    path = folder / f"{JOB.key}.json"
    raw = path.read_bytes()
    if rng.random() < 0.3:
        path.write_bytes(mutated_bytes(raw, rng))
    else:
        tree = json.loads(raw)
        del tree["sha256"]
        body = json_bytes(mutated_tree(tree, rng))[:-1]
        checksum = hashlib.sha256(body).hexdigest().encode()
        path.write_bytes(body + b',\n"sha256":"' + checksum + b'"}\n')
    return (
        lambda: read_outcomes(folder, [JOB]).get(JOB.key),
        lambda found: holds.outcome_holds(found, path),
    )


def _truth(folder: Path, rng: random.Random) -> Case:
    raw = (ROOT / "data" / "synthetic" / "truth.toml").read_bytes()
    path = folder / "truth.toml"
    if rng.random() < 0.6:
        path.write_bytes(toml_bytes(mutated_tree(tomllib.loads(raw.decode()), rng)))
    else:
        path.write_bytes(mutated_bytes(raw, rng))

    def truth_holds(found: Any) -> None:
        for value in found.parameters.data_vars.values():
            assert value.dtype.kind == "f"
        assert type(found.seed) is int
        assert isinstance(found.model, str)
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", found.time_origin)
        assert repr(found).isprintable()

    return lambda: read_truth(folder), truth_holds


def _summary(folder: Path, rng: random.Random) -> Case:
    from bayesdense.results import read_summary

    files = fit_files()
    tree = json.loads(files["summary.json"])
    path = folder / "summary.json"
    _spoilt_json(path, tree, rng)
    place = write_fit(folder, {**files, "summary.json": path.read_bytes()}, seal=True)

    def summary_holds(found: Any) -> None:
        assert found["checks"]["status"] in ("pass", "review", "fail")
        assert isinstance(found["timings_s"], dict)
        assert all({"name", "status", "advice"} <= set(item) for item in found["checks"]["items"])

    return lambda: read_summary(place), summary_holds


_PLACES = (
    "{0}:TREND", "{0}", "{0}:", "{0}:no such", "{0}:__class__", "{0}.txt:TREND", ":TREND", "",
    "{0}:TREND:TREND", "../../{0}:TREND", "/dev/null:TREND", "{0}/:TREND", "\x00.py:TREND",
    "https://example.org/x.py:TREND", "os:system", "\x1b[31m.py:TREND",
)  # fmt: skip
_CODE = b"""from bayesdense.trends import TRENDS
TREND = TRENDS["exponential"]
NUMBER = 5
"""


def _trend_file(folder: Path, rng: random.Random) -> Case:
    """A user's own code: whatever it raises, or fails to define, is told."""
    path = folder / "own.py"
    path.write_bytes(mutated_bytes(_CODE, rng) if rng.random() < 0.7 else _CODE)
    place = rng.choice(_PLACES).format(path) if rng.random() < 0.6 else f"{path}:NUMBER"
    return lambda: add_from_file(place), lambda _: None


KINDS = (
    Kind("card.toml", _card, 700, 20),
    *(Kind(f"{name}.csv", _table(name), 500, 10) for name in (*tables(), "densities")),
    Kind("model.toml", _model, 4500, 20),
    Kind("--set", _setting, 3000, 20),
    Kind("new LLMs", _newcomers, 3500, 15),
    Kind("manifest.json", _manifest, 500, 8),
    Kind("fit.nc, altered", _altered_fit, 600, 8),
    Kind("fit.nc, resealed", _edited_fit, 120, 4),
    Kind("summary.json", _summary, 700, 8),
    Kind("frozen forecast", _frozen, 1000, 15),
    Kind("power.json", _power, 300, 10),
    Kind("compare.json", _weights, 500, 10),
    Kind("calibrate.json", _ranks, 150, 4),
    Kind("job files", _outcome, 3500, 15),
    Kind("truth.toml", _truth, 400, 8),
    Kind("trend file", _trend_file, 200, 6),
)


def kind_named(name: str) -> Kind:
    """The kind of that name."""
    return next(kind for kind in KINDS if kind.name == name)
