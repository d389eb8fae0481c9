"""A fit: the posterior with everything that belongs to it, in memory and as a folder.

The folder holds `fit.nc` (the DataTree), `summary.json`, perhaps `report.html`, and
`manifest.json`, which decides: a folder without it, or that differs from it, is no fit.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import xarray as xr

from bayesdense.companions import makers
from bayesdense.errors import BayesdenseError, FitFolderError
from bayesdense.files import probe_writable
from bayesdense.fit_attributes import attribute, written
from bayesdense.fit_file import ENGINE, TREE_NAME, read_tree, spec_of
from bayesdense.locks import sole_use
from bayesdense.manifest import (
    MANIFEST_NAME,
    REMEDY,
    REPORT_NAME,
    read_manifest,
    verify_folder,
)
from bayesdense.names import CHAIN, DRAW
from bayesdense.replacement import Writer, finish_replacement, remove_left, replace_files
from bayesdense.result_files import read_result
from bayesdense.spec import ModelSpec
from bayesdense.trends import trend_named

SUMMARY_NAME: Final = "summary.json"
#: Files without which a folder is no fit; a report is not always made.
_NEEDED_FILES: Final = (TREE_NAME, SUMMARY_NAME)
_OWN_FILES: Final = (TREE_NAME, SUMMARY_NAME, REPORT_NAME, MANIFEST_NAME)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The posterior of one model on one dataset.

    Parameters
    ----------
    tree : xarray.DataTree
        Groups `posterior`, `sample_stats`, `log_likelihood`, ... as ArviZ knows them, whose
        functions take it. What was fitted, with what, from which seed stands in the
        attributes of its root.
    spec : ModelSpec
        The model, with every option and prior written out.
    """

    tree: xr.DataTree
    spec: ModelSpec

    def __repr__(self) -> str:
        """Name the model, the dataset and the number of draws."""
        sizes = self.posterior.sizes
        return (
            f"Fit(model {self.spec.name!r}, dataset {self.dataset_info.get('name')!r}, "
            f"{sizes[CHAIN]} chains x {sizes[DRAW]} draws, seed {self.seed})"
        )

    @property
    def posterior(self) -> xr.Dataset:
        """The posterior draws as a Dataset (a tree's node lacks some of a Dataset's methods)."""
        return self.group("posterior")

    def group(self, name: str) -> xr.Dataset:
        """Return one group of the tree as a Dataset; without the group, an empty Dataset."""
        return self.tree[name].to_dataset() if name in self.tree.children else xr.Dataset()

    def variable(self, group: str, name: str) -> xr.DataArray:
        """Return a variable of a group, or raise naming it."""
        found = self.group(group)
        if name not in found:
            raise BayesdenseError(f"this fit's {group} has no {name!r}: was its tree replaced?")
        return found[name]

    @property
    def dataset_info(self) -> dict[str, Any]:
        """Name, digest, counts and window of the dataset that was fitted."""
        return dict(attribute(self.tree, "dataset"))

    @property
    def dataset_warnings(self) -> tuple[str, ...]:
        """Warnings about the dataset: of its validation, and of the model that read it."""
        return tuple(attribute(self.tree, "dataset_warnings"))

    @property
    def seed(self) -> int:
        """Seed from which all random numbers of the fit follow."""
        return int(attribute(self.tree, "seed"))

    @property
    def versions(self) -> dict[str, str]:
        """Versions of bayesdense, Python and the main libraries that made the fit."""
        return dict(attribute(self.tree, "versions"))

    @property
    def timings(self) -> dict[str, float]:
        """Wall seconds of the fit's stages."""
        return dict(attribute(self.tree, "timings_s"))

    @property
    def command_line(self) -> str | None:
        """Command line that made the fit; None where it was made from Python."""
        command = written(self.tree, "command_line")
        return command if isinstance(command, str) else None

    @property
    def time_origin(self) -> str:
        """ISO date from which the trend's years count."""
        return str(attribute(self.tree, "time_origin"))

    def save(
        self,
        folder: str | Path,
        *,
        force: bool = False,
        files: Mapping[str, bytes] | None = None,
    ) -> Path:
        """Write the fit as a folder and return its path.

        Parameters
        ----------
        folder
            Made if need be, with its parents. Files in it that are not the fit's stay.
        force
            Replace the fit that is there. Everything new is written and flushed before the old
            fit goes, so that a full disk or a crash costs the new fit only.
        files
            Further files of the fit by name, such as ``{"report.html": ...}``. A
            ``"summary.json"`` given here saves computing it.

        Raises
        ------
        FitFolderError
            There is a fit and `force` is false, another run is writing one, or the folder cannot
            be written.
        """
        path = Path(folder)
        _refuse_folders(path, files or {})
        content = dict(files or {})
        content |= {name: make(self) for name, make in makers().items() if name not in content}
        with writing(path, force=force):
            try:
                _write_folder(path, self.tree, content)
            except (OSError, ValueError) as err:
                reason = getattr(err, "strerror", None) or err
                raise FitFolderError(
                    f"{path}: the fit could not be written: {reason}; mend that, or give another "
                    "folder with --out"
                ) from err
        return path


@contextmanager
def writing(folder: str | Path, *, force: bool = False) -> Iterator[None]:
    """Keep a folder for one run from before a fit is made until it is saved.

    Parameters
    ----------
    folder
        Made if need be; what was made goes again if nothing is written.
    force
        As for `ensure_writable`.

    Raises
    ------
    FitFolderError
        As `ensure_writable`, or another run is writing a fit there.
    """
    ensure_writable(folder, force=force)
    path = Path(folder)
    absent = [place for place in (path, *path.parents) if not place.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with sole_use(path, FitFolderError, reentrant=True) as is_first:
            if is_first:
                with contextlib.suppress(FitFolderError):  # a broken old fit, or none
                    finish_replacement(path)
                remove_left(path)
                ensure_writable(path, force=force)  # by now another run may have come and gone
            yield
    finally:
        with contextlib.suppress(OSError):  # the fit is there
            for place in absent:
                place.rmdir()


def ensure_writable(folder: str | Path, *, force: bool = False) -> None:
    """Refuse a folder in which a fit would be in the way; to be called before any work.

    Raises
    ------
    FitFolderError
        The folder or one above it is a file, it cannot be written, a folder lies where a file of
        the fit shall, or it holds (parts of) a fit and not `force`.
    """
    path = Path(folder)
    # os.path answers False where a name is one that no file system takes; Path raises.
    blocked = next((p for p in (path, *path.parents) if os.path.exists(p)), None)
    if blocked is not None and not blocked.is_dir():
        raise FitFolderError(f"{path}: {blocked} is a file; give another folder with --out")
    _refuse_folders(path, _OWN_FILES)
    present = [name for name in _OWN_FILES if os.path.exists(path / name)]
    if present and not force:
        raise FitFolderError(
            f"{path}: already holds a fit ({', '.join(present)}); replace it with --force "
            "(force=True in Python) or write to another folder with --out"
        )
    try:
        probe_writable(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FitFolderError(
            f"{path}: cannot be written: {reason}; give another folder with --out"
        ) from error


def _refuse_folders(folder: Path, names: Iterable[str]) -> None:
    """Raise where a folder has the name of a file that would be renamed into its place."""
    for name in names:
        if os.path.isdir(folder / name):
            raise FitFolderError(
                f"{folder / name}: a folder, where the fit's file {name} shall lie; move it away, "
                "or give another folder with --out"
            )


def load_fit(folder: str | Path) -> Fit:
    """Read a fit that `Fit.save` or ``bayesdense fit`` has written.

    Parameters
    ----------
    folder
        The folder of the fit.

    Returns
    -------
    Fit
        With all groups in memory; the file is closed.

    Raises
    ------
    FitFolderError
        No manifest, a file that is missing or differs from it, a netCDF file that cannot be
        read or lacks a group or an attribute, another schema. The message names the file and
        says what to do.
    """
    path = Path(folder)
    finish_replacement(path)
    listed = verify_folder(path)
    for name in _NEEDED_FILES:
        if name not in listed:
            raise FitFolderError(
                f"{path / MANIFEST_NAME}: does not list {name}, which every fit holds; {REMEDY}"
            )
    file = path / TREE_NAME
    tree = read_tree(file)
    try:
        spec = spec_of(tree)
    except FitFolderError as err:
        raise FitFolderError(f"{file}: {err}") from err
    for name in (*trend_named(spec.trend).drawn, "log_density"):
        if name not in tree["posterior"].data_vars:
            raise FitFolderError(f"{file}: the group 'posterior' has no {name!r}; {REMEDY}")
    return Fit(tree, spec)


def read_summary(folder: str | Path) -> dict[str, Any]:
    """Read the `summary.json` of a saved fit.

    Raises
    ------
    FitFolderError
        As `load_fit`.
    BayesdenseError
        It is not as `schemas/summary.schema.json` describes it.
    """
    path = Path(folder)
    finish_replacement(path)
    verify_folder(path)
    return read_result(path / SUMMARY_NAME, "summary", "summary of a fit")


@contextmanager
def changing(folder: str | Path) -> Iterator[None]:
    """Keep a saved fit for one run from before it is read until something is added to it.

    Raises
    ------
    FitFolderError
        No fit there, another run is writing to the folder, or it cannot be written.
    """
    path = Path(folder)
    finish_replacement(path)
    with sole_use(path, FitFolderError, reentrant=True):
        yield


def add_file(folder: str | Path, name: str, content: bytes) -> Path:
    """Put a further file into the folder of a saved fit, in place of the fit's older one.

    The fit is whole at every moment, with its old file or with the new one.

    Parameters
    ----------
    folder
        Folder of a fit.
    name, content
        File name and all of its bytes.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    FitFolderError
        No fit there, a file of that name which is not the fit's, another run is writing to the
        folder, or it cannot be written.
    """
    path = Path(folder)
    with changing(path):
        listed = verify_folder(path)
        _refuse_folders(path, [name])
        file = path / name
        if name not in listed and file.exists():
            raise FitFolderError(
                f"{file}: is there, and is none of the fit's files; move it away, or write to "
                "another file with --out"
            )
        try:
            replace_files(path, {name: _bytes(content)}, keep=True)
        except OSError as err:
            raise FitFolderError(
                f"{file}: cannot be written: {err.strerror or err}; the fit is as it "
                "was: mend that, or write to another file with --out"
            ) from err
    return file


def _write_folder(folder: Path, tree: xr.DataTree, content: Mapping[str, bytes]) -> None:
    """Write all files of a fit; an older report that no new one replaces goes."""
    old: Iterable[str] = ()
    with contextlib.suppress(FitFolderError):  # a broken old manifest lists nothing to remove
        old = read_manifest(folder)
    # By way of memory: HDF5 ends the process where it cannot write to a full disk.
    whole = bytes(tree.to_netcdf(engine=ENGINE))
    writers = {name: _bytes(raw) for name, raw in {TREE_NAME: whole, **content}.items()}
    retired = (REPORT_NAME,) if REPORT_NAME in old and REPORT_NAME not in writers else ()
    replace_files(folder, writers, keep=False, retired=retired)


def _bytes(content: bytes) -> Writer:
    """Writer of a file whose bytes are known."""
    return lambda path: path.write_bytes(content)
