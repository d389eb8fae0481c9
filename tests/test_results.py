"""A fit as a folder: round trips, tampering, force, and failures half way."""

import errno
import importlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import jsonschema
import numpy as np
import pytest
import xarray as xr
from fake_fit import fake_fit

import bayesdense
from bayesdense import companions
from bayesdense.companions import makers
from bayesdense.errors import FitFolderError
from bayesdense.files import sha256_of, write_bytes_atomic
from bayesdense.manifest import record_of, write_manifest
from bayesdense.results import Fit, add_file, ensure_writable, load_fit, writing
from bayesdense.spec import ModelSpec, load_spec

FILES = ("fit.nc", "manifest.json", "summary.json")
SUMMARY = {"summary.json": b"{}\n"}
MANIFEST_SCHEMA = Path(bayesdense.__file__).parent / "schemas" / "manifest.schema.json"
HOSTILE = (
    "a\nb",
    "näme 🦙 模型",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    " spaces ",
    "",
    'q"uo,te\t;',
    "x" * 300,
    "\x1b[31mred",
    "=1+1",
)


@pytest.fixture(scope="module")
def fit() -> Fit:
    return fake_fit(draws=50)


@pytest.fixture(scope="module")
def saved(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit.save(tmp_path_factory.mktemp("saved") / "fits" / "fake", files=SUMMARY)


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "fit"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_round_trip_keeps_every_group_and_attribute(fit: Fit, folder: Path) -> None:
    again = load_fit(folder)
    assert again.tree.identical(fit.tree)
    assert again.spec == fit.spec
    assert again.spec.digest == fit.spec.digest
    assert (again.seed, again.versions, again.timings) == (fit.seed, fit.versions, fit.timings)
    assert again.dataset_info == fit.dataset_info
    assert again.dataset_warnings == ("few LLMs: 8 of 5 families",)
    assert isinstance(again.seed, int)


def test_loaded_types_are_those_saved(folder: Path) -> None:
    tree = load_fit(folder).tree
    assert tree["sample_stats"]["diverging"].dtype == bool
    assert tree["constant_data"]["family_idx"].dtype.kind == "i"
    assert tree["posterior"]["growth_rate"].attrs["units"] == "1/year"


def test_units_of_time_stay_numbers(fit: Fit, tmp_path: Path) -> None:
    tree = fit.tree.copy()
    days = xr.Dataset({"t": ("llm", np.arange(3.0), {"units": "days"})})
    years = xr.Dataset({"t": ("llm", np.arange(3.0), {"units": "years since 2024-01-01"})})
    tree["days"], tree["years"] = xr.DataTree(days), xr.DataTree(years)
    Fit(tree, fit.spec).save(tmp_path / "f", files=SUMMARY)
    loaded = load_fit(tmp_path / "f").tree
    for group in ("days", "years"):
        np.testing.assert_array_equal(loaded[group]["t"].values, np.arange(3.0))


def test_hostile_names_survive(tmp_path: Path) -> None:
    fake_fit(draws=20, llms=HOSTILE).save(tmp_path / "f", files=SUMMARY)
    assert tuple(load_fit(tmp_path / "f").posterior["llm"].values.tolist()) == HOSTILE


def test_a_name_that_netcdf_cannot_hold_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FitFolderError, match="could not be written"):
        fake_fit(draws=20, llms=["nul\0nul", "b"]).save(tmp_path / "f", files=SUMMARY)
    assert list(tmp_path.iterdir()) == []


def test_repr_names_model_and_dataset(fit: Fit) -> None:
    assert repr(fit) == "Fit(model 'joint', dataset 'fake', 4 chains x 50 draws, seed 7)"


def test_fit_is_frozen(fit: Fit) -> None:
    with pytest.raises(AttributeError):
        fit.spec = load_spec("joint")  # type: ignore[misc]


def test_a_missing_attribute_is_named(fit: Fit) -> None:
    with pytest.raises(FitFolderError, match="'seed'"):
        _ = Fit(xr.DataTree(), fit.spec).seed


def test_a_missing_group_is_empty(fit: Fit) -> None:
    assert not fit.group("warmup").data_vars


def test_manifest_lists_sizes_and_digests(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, json.loads(MANIFEST_SCHEMA.read_text(encoding="utf-8")))
    assert set(content["files"]) == {"fit.nc", "summary.json"}
    for name, record in content["files"].items():
        assert record["size"] == (folder / name).stat().st_size
        assert record["sha256"] == sha256_of(folder / name)


def test_no_temporary_files_stay(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["fit.nc", "manifest.json", "summary.json"]


def flip_a_bit(folder: Path) -> str:
    path = folder / "fit.nc"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    return r"fit\.nc: its SHA-256 differs"


def truncate(folder: Path) -> str:
    path = folder / "fit.nc"
    path.write_bytes(path.read_bytes()[:-1])
    return r"fit\.nc: holds \d+ bytes, manifest\.json says \d+"


def remove_tree(folder: Path) -> str:
    (folder / "fit.nc").unlink()
    return r"fit\.nc: missing"


def remove_summary(folder: Path) -> str:
    (folder / "summary.json").unlink()
    return r"summary\.json: missing"


def edit_summary(folder: Path) -> str:
    (folder / "summary.json").write_bytes(b"[]\n")
    return r"summary\.json: its SHA-256 differs"


def remove_manifest(folder: Path) -> str:
    (folder / "manifest.json").unlink()
    return r"no manifest\.json.*never finished"


def break_manifest(folder: Path) -> str:
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    return r"manifest\.json: not readable as JSON"


def binary_manifest(folder: Path) -> str:
    (folder / "manifest.json").write_bytes(b"\xff\xfe\x00")
    return r"manifest\.json: not readable as JSON"


def nest_manifest(folder: Path) -> str:
    (folder / "manifest.json").write_text("[" * 100_000, encoding="utf-8")
    return r"manifest\.json: not readable as JSON \(nested too deeply\); restore"


def change_manifest(change: Callable[[dict], object], message: str) -> Callable[[Path], str]:
    def tamper(folder: Path) -> str:
        path = folder / "manifest.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
        return message

    return tamper


def nest_tree(folder: Path) -> str:
    (folder / "fit.nc").unlink()
    (folder / "fit.nc").mkdir()
    return r"fit\.nc: (cannot be read|holds)"


TAMPERINGS = [
    flip_a_bit,
    truncate,
    remove_tree,
    remove_summary,
    edit_summary,
    remove_manifest,
    break_manifest,
    binary_manifest,
    nest_manifest,
    nest_tree,
    change_manifest(lambda c: c.update(schema=2), "schema 2, this version of bayesdense reads 1"),
    change_manifest(lambda c: c.update(schema=True), "schema True, this version of bayesdense"),
    change_manifest(lambda c: c.update(schema=1.0), r"schema 1\.0, this version of bayesdense"),
    change_manifest(lambda c: c.pop("schema"), "schema None"),
    change_manifest(lambda c: c.update(files={}), "lists no files"),
    change_manifest(lambda c: c.update(files=[]), "lists no files"),
    change_manifest(lambda c: c["files"].pop("fit.nc"), r"does not list fit\.nc"),
    change_manifest(
        lambda c: c["files"].pop("summary.json"),
        r"manifest\.json: does not list summary\.json, which every fit holds; restore",
    ),
    change_manifest(lambda c: c["files"].update({"../x": {}}), r"'\.\./x' is not a file's"),
    change_manifest(lambda c: c["files"].update({"x": {"size": 1}}), "'x' is not a file's record"),
    change_manifest(lambda c: c["files"].update({"x": 3}), "'x' is not a file's record"),
    change_manifest(lambda c: c["files"]["fit.nc"].update(size=True), r"'fit\.nc' is not a file's"),
    change_manifest(lambda c: c["files"]["fit.nc"].update(sha256=3), r"'fit\.nc' is not a file's"),
    change_manifest(
        lambda c: c["files"].update({"\ud800": c["files"]["fit.nc"]}), "cannot be read .*surrogate"
    ),
]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=range(len(TAMPERINGS)))
def test_a_fit_that_differs_from_its_manifest_is_not_loaded(
    folder: Path, tamper: Callable[[Path], str]
) -> None:
    message = tamper(folder)
    with pytest.raises(FitFolderError, match=message):
        load_fit(folder)


def reseal(folder: Path) -> None:
    """Make a manifest that agrees with whatever lies in the folder."""
    add_or = {p.name: record_of(p) for p in folder.iterdir() if p.name != "manifest.json"}
    write_manifest(folder, add_or)


def test_unreadable_netcdf_says_so(folder: Path) -> None:
    (folder / "fit.nc").write_bytes(b"no HDF5 here")
    reseal(folder)
    with pytest.raises(FitFolderError, match=r"fit\.nc: not readable as netCDF"):
        load_fit(folder)


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("schema", 2, "schema 2, this version"),
        ("schema", [1, 1], "schema array.*, this version"),
        ("spec", '{"schema": 1}', "specification cannot be read"),
        ("spec_digest", "f" * 64, "reads differently here"),
    ],
)
def test_a_tree_from_another_version_is_refused(
    fit: Fit, tmp_path: Path, attribute: str, value: object, message: str
) -> None:
    tree = fit.tree.copy()
    tree.attrs[attribute] = value
    Fit(tree, fit.spec).save(tmp_path / "f", files=SUMMARY)
    with pytest.raises(FitFolderError, match=message):
        load_fit(tmp_path / "f")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", "[1]"),
        ("dataset_warnings", "{}"),
        ("time_origin", "x"),
        ("seed", "x"),
        ("seed", None),
        ("versions", "[]"),
        ("timings_s", "x"),
        ("timings_s", None),
        ("spec", "{"),
        ("spec", "[1]"),
        ("spec_digest", [1, 2]),
        ("bayesdense_version", 3),
        ("sampler", 3),
    ],
)
def test_a_wrong_attribute_is_found_on_loading(folder: Path, name: str, value: object) -> None:
    with h5py.File(folder / "fit.nc", "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    reseal(folder)
    with pytest.raises(FitFolderError, match=rf"fit\.nc: .*attribute '{name}'.*; restore"):
        load_fit(folder)


@pytest.mark.parametrize(
    ("read", "name", "values"),
    [
        ("dataset_info", "dataset", ("[1]", "x", "", 3, "[" * 100_000, "null")),
        ("dataset_warnings", "dataset_warnings", ("{}", "[1]", '"x"')),
        ("time_origin", "time_origin", ("x", "2024-13-01", 20240405)),
        ("seed", "seed", ("x", 1.5, -1, True, np.int64(-1), np.array([1, 2]))),
        ("versions", "versions", ("[]", '{"numpy": 2}')),
        ("timings", "timings_s", ("x", "[]", '{"build": "1"}', '{"build": true}')),
    ],
)
def test_a_wrong_attribute_is_named_in_memory_too(
    fit: Fit, read: str, name: str, values: tuple[object, ...]
) -> None:
    tree = fit.tree.copy()
    for value in values:
        tree.attrs[name] = value
        with pytest.raises(FitFolderError, match=rf"attribute '{name}' of this fit is .*allowed"):
            getattr(Fit(tree, fit.spec), read)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("name", value) for value in (None, 3)),
        *(("window", value) for value in (None, [], ["2024-01-01"], ["2024-01-01", "x"])),
        *(("n_llms", value) for value in (None, "8", True, -8, 8.0)),
        ("reference_params", 3),
    ],
)
def test_the_dataset_is_checked_key_by_key(fit: Fit, key: str, value: object) -> None:
    tree = fit.tree.copy()
    tree.attrs["dataset"] = json.dumps({**fit.dataset_info, key: value})
    with pytest.raises(FitFolderError, match=r"attribute 'dataset'.*allowed: JSON of an object"):
        _ = Fit(tree, fit.spec).dataset_info


@pytest.mark.parametrize("group", ["posterior", "sample_stats", "posterior_predictive"])
def test_a_missing_group_is_found_on_loading(folder: Path, group: str) -> None:
    with h5py.File(folder / "fit.nc", "r+") as file:
        del file[group]
    reseal(folder)
    with pytest.raises(FitFolderError, match=rf"fit\.nc: this fit has no group '{group}'; restore"):
        load_fit(folder)


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (xr.Dataset(), "'posterior' of this fit is empty"),
        (xr.Dataset({"a": ("llm", [1.0])}), "'a' in the group 'posterior'.* no draws of numbers"),
        (xr.Dataset({"a": (("chain", "draw"), [["x"]])}), "'a' in .* no draws of numbers"),
        (xr.Dataset({"a": (("chain", "draw"), np.empty((4, 0)))}), "'a' in .* no draws of numbers"),
    ],
)
def test_a_posterior_is_draws(fit: Fit, tmp_path: Path, draws: xr.Dataset, message: str) -> None:
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(draws)
    Fit(tree, fit.spec).save(tmp_path / "f", files=SUMMARY)
    with pytest.raises(FitFolderError, match=message):
        load_fit(tmp_path / "f")


@pytest.mark.parametrize("name", ["trend_intercept", "growth_rate", "log_density"])
def test_what_every_answer_reads_is_there(fit: Fit, tmp_path: Path, name: str) -> None:
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(fit.posterior.drop_vars(name))
    Fit(tree, fit.spec).save(tmp_path / "f", files=SUMMARY)
    with pytest.raises(FitFolderError, match=rf"fit\.nc: the group 'posterior' has no '{name}'"):
        load_fit(tmp_path / "f")


@pytest.mark.parametrize("wanted", [{"options": {"feedback": "cut"}}, {"densities_only": True}])
def test_groups_that_hang_on_the_model_may_be_absent(tmp_path: Path, wanted: dict) -> None:
    made = fake_fit(draws=20, **wanted)
    tree = made.tree.filter(lambda node: node.name not in ("log_likelihood", "log_prior"))
    Fit(tree, made.spec).save(tmp_path / "f", files=SUMMARY)
    assert not load_fit(tmp_path / "f").group("log_likelihood").data_vars


def test_whatever_reading_a_tree_raises_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file got as far as an AttributeError in h5netcdf."""

    def stumble(*_: object, **__: object) -> None:
        raise AttributeError("'NoneType' object has no attribute 'split'")

    monkeypatch.setattr(xr, "open_datatree", stumble)
    with pytest.raises(FitFolderError, match=r"fit\.nc: not readable as netCDF"):
        load_fit(folder)


def test_a_foreign_file_is_left_alone(fit: Fit, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    load_fit(folder)
    fit.save(folder, files=SUMMARY, force=True)
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such folder"),
        (lambda p: p.mkdir(), r"no manifest\.json"),
        (lambda p: p.write_text("x", encoding="utf-8"), "a file; a fit is a folder"),
    ],
)
def test_what_is_no_fit_is_named(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "x")
    with pytest.raises(FitFolderError, match=message):
        load_fit(tmp_path / "x")


def test_an_existing_fit_is_never_touched_without_force(fit: Fit, folder: Path) -> None:
    before = snapshot(folder)
    for refuse in (ensure_writable, lambda path: fit.save(path, files=SUMMARY)):
        with pytest.raises(FitFolderError, match=r"already holds a fit.*--force.*--out"):
            refuse(folder)
    assert snapshot(folder) == before


@pytest.mark.parametrize("name", ["fit.nc", "manifest.json", "summary.json", "report.html"])
def test_parts_of_a_fit_are_in_the_way_too(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x", encoding="utf-8")
    with pytest.raises(FitFolderError, match=name):
        ensure_writable(tmp_path)
    ensure_writable(tmp_path, force=True)


def test_a_file_in_the_way_is_refused_even_with_force(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x", encoding="utf-8")
    for path in (tmp_path / "x", tmp_path / "x" / "y" / "z"):
        with pytest.raises(FitFolderError, match=r"is a file.*--out"):
            ensure_writable(path, force=True)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["fit.nc", "manifest.json", "summary.json", "report.html"])
def test_a_folder_in_place_of_a_file_is_refused_before_any_work(
    tmp_path: Path, name: str, force: bool
) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(FitFolderError, match=rf"{name}: a folder, where .*--out"):
        ensure_writable(tmp_path, force=force)


def test_a_folder_in_place_of_a_further_file_costs_nothing(fit: Fit, folder: Path) -> None:
    (folder / "notes").mkdir()
    with pytest.raises(FitFolderError, match="notes: a folder"):
        fit.save(folder, files={**SUMMARY, "notes": b""}, force=True)
    assert load_fit(folder).seed == fit.seed


def test_force_replaces_a_fit_with_any_manifest(fit: Fit, folder: Path) -> None:
    nest_manifest(folder)
    fit.save(folder, files=SUMMARY, force=True)
    assert load_fit(folder).seed == fit.seed


def test_ensure_writable_makes_nothing(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_found_by_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FitFolderError, match=r"cannot be written: .*--out"):
        ensure_writable(tmp_path / ("x" * 300))

    def read_only(path: Path, **_: object) -> None:  # root may write anywhere else
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(FitFolderError, match="cannot be written: Read-only file system"):
        ensure_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_the_fit_and_its_old_report(fit: Fit, folder: Path) -> None:
    fit.save(folder, files={**SUMMARY, "report.html": b"<p>old</p>"}, force=True)
    assert (folder / "report.html").exists()
    other = fake_fit(draws=20, seed=8)
    other.save(folder, files=SUMMARY, force=True)
    assert load_fit(folder).seed == 8
    assert not (folder / "report.html").exists()


def test_force_keeps_a_report_that_is_not_the_fits(fit: Fit, folder: Path) -> None:
    (folder / "report.html").write_text("mine", encoding="utf-8")
    fit.save(folder, files=SUMMARY, force=True)
    assert (folder / "report.html").exists()


def test_a_failed_write_leaves_the_old_fit_whole(
    fit: Fit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(folder)

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", full_disk)
    with pytest.raises(FitFolderError, match="No space left"):
        fit.save(folder, files=SUMMARY, force=True)
    assert snapshot(folder) == before


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], list[Path]]:
    """Copies of a folder as a kill would leave it before and after every change of a name."""
    copies: list[Path] = []

    def watch(folder: Path) -> list[Path]:
        def copied(change: Callable[..., object]) -> Callable[..., object]:
            def copying(*arguments: object, **options: object) -> object:
                copies.append(shutil.copytree(folder, tmp_path / f"killed-{len(copies)}"))
                done = change(*arguments, **options)
                copies.append(shutil.copytree(folder, tmp_path / f"killed-{len(copies)}"))
                return done

            return copying

        for module, name in ((os, "replace"), (os, "fsync"), (Path, "unlink")):
            monkeypatch.setattr(module, name, copied(getattr(module, name)))
        return copies

    return watch


def test_a_run_that_is_killed_leaves_the_old_fit_or_the_new_one(
    fit: Fit, folder: Path, kills: Callable[[Path], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit.save(folder, files={**SUMMARY, "report.html": b"old"}, force=True)
    copies = kills(folder)
    fake_fit(draws=20, seed=8).save(folder, files=SUMMARY, force=True)
    monkeypatch.undo()
    seeds = []
    for copy in copies:
        seeds.append(load_fit(copy).seed)
        assert (copy / "report.html").exists() == (seeds[-1] == 7)
    assert seeds == sorted(seeds) and set(seeds) == {7, 8}
    fit.save(copies[0], files=SUMMARY, force=True)
    assert {path.name for path in copies[0].iterdir()} == {*FILES}


def test_a_first_fit_that_is_killed_is_absent_or_whole(
    fit: Fit, tmp_path: Path, kills: Callable[[Path], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = kills(tmp_path / "f")
    fit.save(tmp_path / "f", files=SUMMARY)
    monkeypatch.undo()
    found = []
    for copy in copies:
        try:
            found.append(load_fit(copy).seed)
        except FitFolderError as refused:
            assert "never finished" in str(refused)
            found.append(0)
    assert found == sorted(found) and set(found) == {0, 7}


def test_a_report_that_is_killed_leaves_the_old_one_or_the_new_one(
    folder: Path, kills: Callable[[Path], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_file(folder, "report.html", b"1")
    copies = kills(folder)
    add_file(folder, "report.html", b"2")
    monkeypatch.undo()
    found = []
    for copy in copies:
        load_fit(copy)
        found.append((copy / "report.html").read_bytes())
        add_file(copy, "report.html", b"3")
    assert found == sorted(found) and set(found) == {b"1", b"2"}


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_ctrl_c_at_a_rename_costs_the_new_fit_or_nothing(
    fit: Fit, folder: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    calls = []

    def crash(source: object, target: object, *, real: Callable = os.replace) -> None:
        calls.append(target)
        if len(calls) == step:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            fake_fit(draws=20, seed=8).save(folder, files=SUMMARY, force=True)
    assert load_fit(folder).seed == (7 if step == 1 else 8)
    assert {path.name for path in folder.iterdir()} == {*FILES}


def test_the_manifest_decides(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append(Path(b).name), real(a, b))[1])
    fit.save(tmp_path / "f", files=SUMMARY)
    assert order == ["manifest.json", "fit.nc", "summary.json", "manifest.json"]


@pytest.mark.parametrize(
    "staged",
    [
        [],
        {"fit.nc": "notes.txt"},
        {"fit.nc": "../.fit.nc.0123456789ab.tmp"},
        {"notes.txt": ".notes.txt.0123456789ab.tmp"},
        {"fit.nc": None},
        {"notes.txt": None},
        {"fit.nc": 3},
    ],
)
def test_a_manifest_moves_and_removes_nothing_but_the_fits_files(
    folder: Path, staged: object
) -> None:
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    change_manifest(lambda c: c.update(staged=staged), "")(folder)
    before = snapshot(folder)
    with pytest.raises(FitFolderError, match=r"'staged'.*; restore the folder"):
        load_fit(folder)
    assert snapshot(folder) == before


def test_a_replacement_that_cannot_be_finished_says_so(
    fit: Fit, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    real = os.replace
    moved: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda a, b: real(a, b) if not moved else read_only())
        patch.setattr(
            "bayesdense.replacement.write_manifest",
            lambda *parts: (write_manifest(*parts), moved.append(parts)),
        )
        fit.save(folder, files=SUMMARY, force=True)
        with pytest.raises(FitFolderError, match=r"cannot be finished: Read-only.*copy it elsew"):
            load_fit(folder)
    assert load_fit(folder).seed == 7


def test_a_folder_is_for_one_run_at_a_time(fit: Fit, tmp_path: Path) -> None:
    folder = tmp_path / "fits" / "f"
    with writing(folder), ThreadPoolExecutor(1) as other:
        for attempt in (lambda: fit.save(folder, files=SUMMARY), lambda: fit.save(folder)):
            with pytest.raises(FitFolderError, match=r"another run is using it \(process \d+ on"):
                other.submit(attempt).result()
        fit.save(folder, files=SUMMARY)
    assert {path.name for path in folder.iterdir()} == {*FILES}


def test_a_folder_that_nothing_was_written_to_goes_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "fits" / "f"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_write_bytes_atomic_keeps_the_old_content_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_bytes_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda handle: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_bytes_atomic(path, b"new")
    assert snapshot(tmp_path) == {"x": b"old"}


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_bytes_atomic(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_spec_round_trips_as_the_folder_needs(fit: Fit) -> None:
    assert ModelSpec.from_json(fit.spec.to_json()) == fit.spec


# ---------------------------------------------------------------- what a fit is saved with


def test_a_fit_is_saved_with_what_the_package_adds(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fits stand below their summary: who can make it has said so to `companions`."""
    assert set(makers()) == {"summary.json"}
    monkeypatch.setattr(companions, "_MAKERS", {})
    companions.saved_with_fits("summary.json", lambda made: repr(made).encode())
    folder = fit.save(tmp_path / "f")
    assert (folder / "summary.json").read_bytes() == repr(fit).encode()
    assert load_fit(fit.save(tmp_path / "given", files=SUMMARY)).seed == fit.seed
    assert (tmp_path / "given" / "summary.json").read_bytes() == SUMMARY["summary.json"]


def test_the_package_can_be_reloaded() -> None:
    assert importlib.reload(bayesdense) is bayesdense
    assert set(makers()) == {"summary.json"}
