"""The file `fit.nc`: what it has to be, and how one of somebody else is read without harm."""

from pathlib import Path
from typing import Final

import h5py
import xarray as xr

from bayesdense.errors import BayesdenseError, FitFolderError
from bayesdense.fit_attributes import ATTRIBUTES, attribute, is_count, written
from bayesdense.manifest import REMEDY
from bayesdense.names import CHAIN, DRAW, SCHEMA_VERSION
from bayesdense.spec import ModelSpec, spec_from_dict
from bayesdense.wording import told

TREE_NAME: Final = "fit.nc"
# h5netcdf is named, not left to xarray: it alone is declared, and it reads every platform's files.
ENGINE: Final = "h5netcdf"
#: Declared bytes over those of the file; below 1 in what is written here, without compression.
_MOST_EXPANSION: Final = 4
#: Levels of groups that are looked at; a fit has one.
_DEEPEST: Final = 3
#: Groups that every fit holds and answers are read from. The others hang on model and options: a
#: cut fit has no `log_likelihood`, one of densities no `llm_bounds`.
_NEEDED_GROUPS: Final = (
    "posterior",
    "sample_stats",
    "prior",
    "posterior_predictive",
    "predictive_mean",
    "observed_data",
    "constant_data",
)


def read_tree(path: Path) -> xr.DataTree:
    """Read the tree of a fit into memory, and close its file.

    Parameters
    ----------
    path
        `fit.nc`, or a file that says it is one.

    Raises
    ------
    FitFolderError
        It is no netCDF file, declares far more data than it holds, or is of another schema, or a
        group, an attribute or the draws are not those of a fit. The message names the file.
    """
    _refuse_expansion(path)
    tree = _loaded(path)
    _check_schema(tree, path)
    try:
        _check_content(tree)
    except FitFolderError as err:
        raise FitFolderError(f"{path}: {err}; {REMEDY}") from err
    return tree


def _loaded(path: Path) -> xr.DataTree:
    """Read a DataTree into memory and close its file."""
    try:
        # Times stay as written (ISO strings): units such as "days" must not turn into time types.
        with xr.open_datatree(
            path, engine=ENGINE, decode_times=False, decode_timedelta=False
        ) as tree:
            return tree.load()
    except (MemoryError, ImportError):  # the fault of the machine, not of the file
        raise
    except Exception as err:  # a file of other content makes the libraries raise anything
        raise FitFolderError(f"{path}: not readable as netCDF ({err}); {REMEDY}") from err


def _refuse_expansion(path: Path) -> None:
    """Refuse a file that declares far more data than it has bytes, or leads to other files.

    A fit is written without compression. Compressed or never written values of another file may
    be a thousand times what lies on the disk.
    """
    try:
        size = path.stat().st_size
        with h5py.File(path, "r") as file:
            declared = _declared(file, _DEEPEST)
    except (MemoryError, ImportError):
        raise
    except Exception as err:  # a file of other content makes the library raise anything
        raise FitFolderError(f"{path}: not readable as netCDF ({err}); {REMEDY}") from err
    if declared > _MOST_EXPANSION * size:
        raise FitFolderError(
            f"{path}: declares {declared / 1e6:.3g} MB of data in {size / 1e6:.3g} MB, which no "
            f"fit does; {REMEDY}"
        )


def _declared(group: h5py.Group, depth: int) -> int:
    """Count the declared bytes under a group, as often as they would be read."""
    if depth < 0:
        raise ValueError("groups are nested too deeply for a fit")
    total = 0
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{told(name)} leads elsewhere")
        node = group[name]
        if isinstance(node, h5py.Group):
            total += _declared(node, depth - 1)
        elif isinstance(node, h5py.Dataset):
            if node.external or node.is_virtual:
                raise ValueError(f"the values of {told(name)} lie elsewhere")
            total += node.nbytes
    return total


def _check_schema(tree: xr.DataTree, path: Path) -> None:
    """Refuse a tree of another schema: what it has to hold is not known here."""
    schema = written(tree, "schema")
    if not is_count(schema) or schema != SCHEMA_VERSION:
        raise FitFolderError(
            f"{path}: schema {told(schema)}, this version of bayesdense reads {SCHEMA_VERSION}; "
            "load the fit with the version that wrote it, or fit again with --force"
        )


def _check_content(tree: xr.DataTree) -> None:
    """Raise unless a tree has the groups and attributes of a fit, so that none fails later."""
    for name in _NEEDED_GROUPS:
        if name not in tree.children:
            raise FitFolderError(f"this fit has no group {name!r}")
    check_draws(tree["posterior"].to_dataset())
    for name in ATTRIBUTES:
        attribute(tree, name)


def check_draws(posterior: xr.Dataset) -> None:
    """Raise unless there are draws, and every variable is of numbers by chain and draw."""
    if not posterior.data_vars:
        raise FitFolderError("the group 'posterior' of this fit is empty")
    for name, draws in posterior.data_vars.items():
        by_draw = {CHAIN, DRAW} <= set(draws.dims) and draws.size > 0
        if not by_draw or draws.dtype.kind not in "fiu":
            raise FitFolderError(
                f"{told(name)} in the group 'posterior' of this fit holds no draws of numbers"
            )


def spec_of(tree: xr.DataTree) -> ModelSpec:
    """Return the model that a tree was fitted with, after checking its digest."""
    try:
        spec = spec_from_dict(attribute(tree, "spec"), where="the fit's specification")
    except BayesdenseError as err:
        raise FitFolderError(f"its model specification cannot be read: {err}") from err
    recorded = attribute(tree, "spec_digest")
    if spec.digest != recorded:
        raise FitFolderError(
            f"its model specification reads differently here (digest {spec.digest[:12]}, "
            f"written {told(recorded[:12])}); load the fit with bayesdense "
            f"{attribute(tree, 'bayesdense_version')}, or fit again with --force"
        )
    return spec
