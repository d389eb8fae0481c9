"""No file that is read makes the package fail, hang, grow, or believe what is not so.

Here some hundred cases; `--run-slow` tries more than 20,000 and, with `--studies DIR`, writes what
came of them to `DIR/fuzz.json`.
"""

import json
import os
import shutil
import socket
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fuzz_cli
import fuzz_holds as holds
import fuzz_netcdf
import h5py
import numpy as np
import pytest
from datasets import tables, tiny_dataset, to_csv
from fake_fit import BENCHMARKS
from fuzz_kinds import (
    BYTES,
    JOB,
    KINDS,
    NEWCOMERS,
    SCORES,
    SECONDS,
    About,
    Kind,
    comparison,
    csv_bytes,
    fit_files,
    forecast_bytes,
    judged,
    ranks,
    small_power,
    try_case,
    write_fit,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayesdense.catalog import model_path
from bayesdense.dataset import load_dataset
from bayesdense.errors import BayesdenseError, FitFolderError, SpecError
from bayesdense.files import parse_json, parse_toml
from bayesdense.frozen import load_forecast
from bayesdense.jobs.outcomes import Outcome, read_outcomes, write_outcome
from bayesdense.manifest import record_of, write_manifest
from bayesdense.newcomers import read_newcomers
from bayesdense.results import load_fit, read_summary
from bayesdense.simulate import read_truth
from bayesdense.spec import load_spec
from bayesdense.stacking import read_weights
from bayesdense.studies.bookkeeping import made_with
from bayesdense.studies.calibrate_result import outside_before
from bayesdense.studies.power_result import read_power

pytestmark = pytest.mark.skipif(os.name == "nt", reason="alarms, pipes and devices are POSIX's")

ROOT = Path(__file__).parents[1]
#: Cases through the command line, and of damaged netCDF files with a manifest that agrees.
SLOW_CALLS, SLOW_DAMAGED = 100, 150
#: Libraries that read what is fuzzed.
READ_BY = ("h5netcdf", "h5py", "jsonschema", "pandas", "xarray")


# --- spoilt content -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_spoilt_file_is_refused_or_what_it_says_holds(kind: Kind, tmp_path: Path) -> None:
    for seed in range(kind.quick):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try_case(kind, folder, seed)


def test_a_spoilt_file_on_the_command_line_is_told(tmp_path: Path) -> None:
    for seed in range(8):
        folder = tmp_path / str(seed)
        folder.mkdir()
        fuzz_cli.try_arguments(folder, seed)


anything = st.text() | st.floats().map(repr) | st.integers().map(str) | st.dates().map(str)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
some = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@some
@given(data=st.data())
def test_any_text_in_any_cell(tmp_path: Path, data: st.DataObject) -> None:
    folder = _fresh(tmp_path)
    name = data.draw(st.sampled_from(sorted(tables())))
    rows = tables()[name]
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(rows[0]) - 1))
    rows[row][column] = data.draw(anything)
    content = to_csv(rows).encode("utf-8", "surrogatepass")
    place = tiny_dataset(folder, **{name: content})
    judged("a cell", lambda: load_dataset(place), lambda found: holds.dataset_holds(found, place))


@some
@given(data=st.data())
def test_any_value_of_any_entry_of_a_model(data: st.DataObject) -> None:
    spec = load_spec(data.draw(st.sampled_from(("joint", "trend_only"))))
    tree = spec.to_dict()
    node: Any = tree
    while True:
        key = data.draw(st.sampled_from(sorted(node)))
        if not isinstance(node[key], dict) or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(json_values)

    def read() -> object:
        from bayesdense.spec import spec_from_dict

        return spec_from_dict(tree, where="model")

    judged("an entry", read, lambda found: holds.spec_holds(found, tree))


@some
@given(value=json_values, key=st.text())
def test_any_entry_of_a_manifest(tmp_path: Path, value: object, key: str) -> None:
    folder = _fresh(tmp_path)
    files = fit_files()
    content = json.loads(files["manifest.json"])
    content["files"][key] = value
    files["manifest.json"] = json.dumps(content).encode()
    place = write_fit(folder, files)
    judged("manifest", lambda: load_fit(place), lambda found: holds.fit_holds(found, place))


def _fresh(parent: Path) -> Path:
    """A folder that no earlier example has used."""
    folder = parent / str(len(list(parent.iterdir())))
    folder.mkdir()
    return folder


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "[-1e400]"])
def test_json_is_strict(text: str) -> None:
    with pytest.raises(ValueError, match="no number of JSON"):
        parse_json(text)


@pytest.mark.parametrize(
    "content",
    [
        ".".join(["a"] * 20_000).encode() + b" = 1",
        b"[" + ".".join(["a"] * 20_000).encode() + b"]",
        b"x = { " + ".".join(["a"] * 20_000).encode() + b" = 1 }",
        b"x = " + b"[" * 200_000,
    ],
)
def test_toml_whose_reading_would_take_long_is_refused(content: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r"points in line 1|too deeply"):
        parse_toml(content)
    assert time.process_time() - began < 1.0


def test_a_table_of_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    names = ",".join(f"releas{k}" for k in range(200_000))
    place = tiny_dataset(tmp_path, llms=f"llm,{names}\n")
    verdict, _ = judged("columns", lambda: load_dataset(place), lambda _: None)
    assert verdict == "refused"


def test_messages_of_errors_are_printable(tmp_path: Path) -> None:
    error = BayesdenseError("\x1b[31mred\x07 \u202e name\nsecond line")
    assert str(error) == "\\x1b[31mred\\x07 \\u202e name\nsecond line"
    with pytest.raises(FitFolderError) as raised:
        load_fit(tmp_path / "\x1b[2J")
    assert holds.is_message(str(raised.value))


def test_words_of_a_model_have_no_control_characters() -> None:
    spec = load_spec("joint")
    for entry in ("name", "title", "description"):
        with pytest.raises(SpecError, match=entry):
            spec.with_overrides([f'{entry}="\\u001b[31m"'])


# --- other things in place of a file ---------------------------------------------------------

#: Makes a valid file in a folder; gives its path, and what reads it.
type Reader = Callable[[Path], tuple[Path, Callable[[], object]]]


def of_dataset(file: str) -> Reader:
    def make(folder: Path) -> tuple[Path, Callable[[], object]]:
        place = tiny_dataset(folder)
        return place / file, lambda: load_dataset(place)

    return make


def of_fit(file: str) -> Reader:
    def make(folder: Path) -> tuple[Path, Callable[[], object]]:
        place = write_fit(folder, fit_files())
        return place / file, lambda: (load_fit(place), read_summary(place))

    return make


def of_file(name: str, content: Callable[[], bytes], read: Callable[[Path], object]) -> Reader:
    def make(folder: Path) -> tuple[Path, Callable[[], object]]:
        path = folder / name
        path.write_bytes(content())
        return path, lambda: read(path)

    return make


def of_newcomers(spoilt: str) -> Reader:
    def make(folder: Path) -> tuple[Path, Callable[[], object]]:
        models, scores = folder / "new.csv", folder / "scores.csv"
        models.write_bytes(csv_bytes(NEWCOMERS))
        scores.write_bytes(csv_bytes(SCORES[:2]))
        return folder / spoilt, lambda: read_newcomers(models, scores, BENCHMARKS)

    return make


def of_job(folder: Path) -> tuple[Path, Callable[[], object]]:
    write_outcome(folder, Outcome(JOB, 1.0, None, 1, 0.25, {"numpy": "2.1"}))

    def read() -> object:
        found = read_outcomes(folder, [JOB])
        if not found:
            raise BayesdenseError("run again")
        return found

    return folder / f"{JOB.key}.json", read


def as_json(tree: Callable[[], Any]) -> Callable[[], bytes]:
    return lambda: json.dumps(tree()).encode()


READERS: dict[str, Reader] = {
    **{file: of_dataset(file) for file in ("card.toml", "llms.csv", "score_reports.csv")},
    **{file: of_fit(file) for file in ("manifest.json", "fit.nc", "summary.json")},
    "model": of_file("m.toml", model_path("joint").read_bytes, load_spec),
    "new LLMs": of_newcomers("new.csv"),
    "scores of new LLMs": of_newcomers("scores.csv"),
    "forecast": of_file("f.json", forecast_bytes, load_forecast),
    "power": of_file(
        "power.json",
        as_json(small_power),
        lambda path: read_power(path, About(small_power()["dataset"]["digest"])),  # type: ignore[arg-type]
    ),
    "compare": of_file(
        "compare.json",
        as_json(comparison),
        lambda path: read_weights(path, [About(comparison()["dataset"]["digest"])]),  # type: ignore[list-item]
    ),
    "calibrate": of_file(
        "calibrate.json",
        as_json(ranks),
        lambda path: outside_before(path, ranks()["dataset"]["digest"], 1),
    ),
    "truth": of_file(
        "truth.toml",
        (ROOT / "data" / "synthetic" / "truth.toml").read_bytes,
        lambda path: read_truth(path.parent),
    ),
    "job": of_job,
}


def a_link(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_socket(path: Path) -> None:
    path.unlink()
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


def a_terabyte(path: Path) -> None:
    os.truncate(path, 1 << 40)


def much_of_nothing(path: Path) -> None:
    path.write_bytes(b"")
    os.truncate(path, 90_000_000)


INTRUDERS: dict[str, Callable[[Path], None]] = {
    "nothing": Path.unlink,
    "a folder": a_folder,
    "a pipe": a_pipe,
    "a socket": a_socket,
    "a link to nothing": lambda path: a_link(path, "nowhere"),
    "a link to itself": lambda path: a_link(path, path.name),
    "a link to endless zeros": lambda path: a_link(path, "/dev/zero"),
    "a link to endless noise": lambda path: a_link(path, "/dev/urandom"),
    "a link to an empty device": lambda path: a_link(path, "/dev/null"),
    "a link to a foreign file": lambda path: a_link(path, "/etc/hostname"),
    "a link up to a folder": lambda path: a_link(path, "../.."),
    "a terabyte": a_terabyte,
    "much of nothing": much_of_nothing,
    "an empty file": lambda path: path.write_bytes(b"") and None,
}
#: A dataset may lack this table.
OPTIONAL = {("score_reports.csv", "nothing")}


@pytest.mark.parametrize("intruder", INTRUDERS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_such_file_is_refused(reader: str, intruder: str, tmp_path: Path) -> None:
    path, read = READERS[reader](tmp_path)
    INTRUDERS[intruder](path)
    verdict, _ = judged(f"{reader}, {intruder}", read, lambda _: None)
    assert verdict == ("accepted" if (reader, intruder) in OPTIONAL else "refused")


@pytest.mark.parametrize("reader", READERS)
def test_a_link_to_a_good_file_is_that_file(reader: str, tmp_path: Path) -> None:
    path, read = READERS[reader](tmp_path)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert judged(reader, read, lambda _: None)[0] == "accepted"


@pytest.mark.parametrize("name", ["../fit.nc", "/etc/passwd", "a/fit.nc", "..", "C:fit.nc"])
def test_a_manifest_does_not_point_out_of_its_folder(name: str, tmp_path: Path) -> None:
    place = write_fit(tmp_path, fit_files())
    content = json.loads((place / "manifest.json").read_bytes())
    content["files"][name] = content["files"]["fit.nc"]
    (place / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(FitFolderError, match="not a file's record"):
        load_fit(place)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    from bayesdense.files import write_text_atomic
    from bayesdense.jobs.folder import run_folder

    precious = tmp_path / "precious"
    precious.write_text("kept")
    link = tmp_path / "link"
    link.symlink_to(precious)
    write_text_atomic(link, "new")
    assert precious.read_text() == "kept"
    study = tmp_path / "study"
    (study / "jobs").mkdir(parents=True)
    (study / ".lock").symlink_to(precious)
    with pytest.raises(BayesdenseError, match="cannot be locked"), run_folder(study, resume=True):
        pass
    assert precious.read_text() == "kept"


# --- netCDF that expands -------------------------------------------------------------------------


def resealed(folder: Path, change: Callable[[h5py.File], None]) -> Path:
    """A fit with another tree and a manifest that says so."""
    place = write_fit(folder, fit_files())
    with h5py.File(place / "fit.nc", "r+") as file:
        change(file)
    names = ("fit.nc", "summary.json")
    write_manifest(place, {name: record_of(place / name) for name in names})
    return place


def zeros(file: h5py.File) -> None:
    """Fifty megabytes of zeros, compressed to some ten kilobytes."""
    made = file["posterior"].create_dataset(
        "bomb", shape=(1, 6, 1 << 20), chunks=(1, 6, 1 << 17), dtype="f8", compression="gzip"
    )
    made[...] = 0.0


def never_written(file: h5py.File) -> None:
    """An exabyte of which nothing was ever written."""
    file["posterior"].create_dataset(
        "bomb", shape=(1, 6, 1 << 54), chunks=(1, 1, 1 << 20), dtype="f8"
    )


def long_text(file: h5py.File) -> None:
    """Text of fixed length, the most of which is padding."""
    file.create_dataset("bomb", shape=(1 << 20,), dtype="S65536", chunks=(1024,), compression=9)


@pytest.mark.parametrize("bomb", [zeros, never_written, long_text])
def test_a_tree_that_expands_is_refused_before_it_is_read(
    bomb: Callable[[h5py.File], None], tmp_path: Path
) -> None:
    place = resealed(tmp_path, bomb)
    assert (place / "fit.nc").stat().st_size < 10_000_000
    with pytest.raises(FitFolderError, match=r"declares .* MB of data in"):
        load_fit(place)
    assert judged(bomb.__name__, lambda: load_fit(place), lambda _: None)[0] == "refused"


def linked_often(file: h5py.File) -> None:
    """Many names of the same values."""
    values = file["posterior"].create_dataset("bomb", data=np.zeros((1, 6, 1000)))
    for k in range(200):
        file["posterior"][f"bomb{k}"] = values


def linked_out(file: h5py.File) -> None:
    """A link to another file."""
    file["posterior"]["secret"] = h5py.ExternalLink("../../other.nc", "/x")


def linked_by_name(file: h5py.File) -> None:
    """A link by name, which may lead in a circle."""
    file["posterior"]["circle"] = h5py.SoftLink("/posterior")


def values_elsewhere(file: h5py.File) -> None:
    """Values that are the bytes of a foreign file."""
    external = [("/etc/hostname", 0, 8)]
    file["posterior"].create_dataset("secret", shape=(1,), dtype="f8", external=external)


def values_of_another_file(file: h5py.File) -> None:
    """Values that another netCDF file holds."""
    layout = h5py.VirtualLayout(shape=(6,), dtype="f8")
    layout[:] = h5py.VirtualSource("/other.nc", "x", shape=(6,))
    file["posterior"].create_virtual_dataset("secret", layout)


def groups_in_a_circle(file: h5py.File) -> None:
    """A group that holds itself."""
    file["posterior"]["circle"] = file["posterior"]


@pytest.mark.parametrize(
    "change",
    [
        *(linked_often, linked_out, linked_by_name),
        *(values_elsewhere, values_of_another_file, groups_in_a_circle),
    ],
)
def test_a_tree_does_not_lead_out_of_its_file(
    change: Callable[[h5py.File], None], tmp_path: Path
) -> None:
    place = resealed(tmp_path, change)
    with pytest.raises(FitFolderError, match=r"elsewhere|declares|too deeply"):
        load_fit(place)


def test_a_compressed_fit_of_usual_size_is_read(tmp_path: Path) -> None:
    def compress(file: h5py.File) -> None:
        old = file["posterior"]["log_density"]
        noise = np.random.default_rng(1).normal(size=old.shape)
        file["posterior"].create_dataset("noise", data=noise, compression="gzip")

    assert load_fit(resealed(tmp_path, compress)).posterior


def test_damaged_netcdf_with_a_manifest_that_agrees(tmp_path: Path) -> None:
    found, failures = fuzz_netcdf.outcomes(tmp_path, 3)
    assert not failures
    assert found.total() == 3


# --- the slow run ----------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_thousand_spoilt_files(studies: Path, tmp_path: Path) -> None:
    """Four minutes of one core; the record is written after every kind."""
    tries = [(kind.name, kind.slow, partial(try_case, kind)) for kind in KINDS]
    tries.append(("command line", SLOW_CALLS, _call))
    made = made_with()
    made["versions"] = {**made["versions"], **{name: version(name) for name in READ_BY}}  # type: ignore[dict-item]
    began = time.perf_counter(), time.process_time()
    rows: list[dict[str, Any]] = []
    for row in (*(partial(_tried, *one, tmp_path) for one in tries), partial(_damaged, tmp_path)):
        rows.append(row())
        print(rows[-1], flush=True)
        record = {
            "command": "pytest -n 0 --run-slow --studies DIR tests/test_fuzz_files.py -k twenty",
            "seeds": "0 to cases - 1 of each kind",
            "limits": {"cpu_seconds": SECONDS, "memory_bytes": BYTES},
            "n_cases": sum(row["cases"] for row in rows),
            "n_failed": sum(len(row["failed"]) for row in rows),
            "kinds": rows,
            "wall_seconds": round(time.perf_counter() - began[0], 1),
            "cpu_seconds": round(time.process_time() - began[1], 1),
            **made,
        }
        (studies / "fuzz.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    assert not [failure for row in rows for failure in row["failed"]]
    assert record["n_cases"] >= 20_000


def _damaged(parent: Path) -> dict[str, Any]:
    """Damaged netCDF with a manifest that agrees, each case in another process."""
    found, failures = fuzz_netcdf.outcomes(parent, SLOW_DAMAGED)
    return {
        "kind": "fit.nc, damaged and resealed",
        "cases": SLOW_DAMAGED,
        "refused": found["refused"],
        "accepted": found["accepted"],
        "failed": failures,
        "slowest_seconds": None,
    }


def _call(folder: Path, seed: int) -> tuple[str, float]:
    verdict = fuzz_cli.try_arguments(folder, seed)
    return ("accepted" if verdict == "answered" else verdict), 0.0


def _tried(
    name: str, cases: int, try_one: Callable[[Path, int], tuple[str, float]], parent: Path
) -> dict[str, Any]:
    """What came of so many cases of a kind."""
    verdicts: Counter[str] = Counter()
    failed, slowest = [], 0.0
    for seed in range(cases):
        folder = parent / "case"
        folder.mkdir()
        try:
            verdict, seconds = try_one(folder, seed)
            verdicts[verdict] += 1
            slowest = max(slowest, seconds)
        except AssertionError as failure:
            failed.append(str(failure)[:300])
        shutil.rmtree(folder)
    return {
        "kind": name,
        "cases": cases,
        "refused": verdicts["refused"],
        "accepted": verdicts["accepted"],
        "failed": failed,
        "slowest_seconds": round(slowest, 2),
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("seed = ", "seed = -"),
        lambda text: text.replace('time_origin = "2024', 'time_origin = "20x4'),
        lambda text: text.replace('model = "', 'model = "\\u001b[31m'),
        lambda text: text.replace("reference_tokens = ", "reference_tokens = -"),
    ],
)
def test_a_truth_of_wrong_types_is_refused(change: Callable[[str], str], tmp_path: Path) -> None:
    text = (ROOT / "data" / "synthetic" / "truth.toml").read_text(encoding="utf-8")
    assert change(text) != text
    (tmp_path / "truth.toml").write_text(change(text), encoding="utf-8")
    with pytest.raises(BayesdenseError, match="not a truth"):
        read_truth(tmp_path)
