"""Shipped datasets and models by name; a path works wherever a name does (standard library)."""

from pathlib import Path
from typing import Final

from bayesdense.card import CARD
from bayesdense.errors import DatasetError, SpecError
from bayesdense.wording import nearest, printable

_PACKAGE: Final = Path(__file__).resolve().parent


def shipped_root() -> Path:
    """Folder of `data/` and `models/`: inside the wheel, else the root of the repository."""
    shipped = _PACKAGE / "_shipped"
    return shipped if shipped.is_dir() else _PACKAGE.parent


def dataset_names() -> tuple[str, ...]:
    """Name the shipped datasets, in alphabetical order.

    Returns
    -------
    tuple of str
        What `load_dataset` takes; it takes the path of a folder as well.

    Examples
    --------
    >>> "densing" in dataset_names()
    True
    """
    folder = shipped_root() / "data"
    return tuple(sorted(card.parent.name for card in folder.glob(f"*/{CARD}")))


def model_names() -> tuple[str, ...]:
    """Name the shipped models, in alphabetical order.

    Returns
    -------
    tuple of str
        What `load_spec` takes; it takes the path of a TOML file as well.

    Examples
    --------
    >>> "joint" in model_names()
    True
    """
    return tuple(sorted(path.stem for path in (shipped_root() / "models").glob("*.toml")))


def dataset_path(name: str) -> Path:
    """Folder of a shipped dataset; raises `DatasetError` with the nearest name."""
    if name in dataset_names():
        return shipped_root() / "data" / name
    raise DatasetError(printable(name), [_unknown("dataset", name, dataset_names())])


def model_path(name: str) -> Path:
    """File of a shipped model; raises `SpecError` with the nearest name."""
    if name in model_names():
        return shipped_root() / "models" / f"{name}.toml"
    raise SpecError(f"{printable(name)}: {_unknown('model', name, model_names())}")


def resolve_dataset(name_or_path: str | Path) -> Path:
    """Folder of a dataset given by shipped name or by path.

    A shipped name wins over a folder of that name in the working directory (write `./densing`
    for the folder); a `Path` is always a path first.

    Raises
    ------
    DatasetError
        Where there is neither; the message names the nearest shipped dataset.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and text in dataset_names():
        return dataset_path(text)
    path = Path(text)
    problem = _path_problem(path, text)
    if problem is None:
        return path
    if text in dataset_names():
        return dataset_path(text)
    raise DatasetError(printable(text) or "''", [problem])


def _path_problem(path: Path, text: str) -> str | None:
    """Why there is no dataset at this path, or None where there is a folder."""
    try:
        if not text.strip():
            return f"no name and no path given; shipped are {', '.join(dataset_names())}"
        if path.is_dir():
            return None
        if path.exists():
            here = path.parent / CARD
            hint = (
                f": did you mean its folder {printable(str(path.parent))}?" if here.exists() else ""
            )
            return f"a file, allowed a folder with {CARD} and CSV tables{hint}"
    except (OSError, ValueError) as error:
        return f"cannot be read: {printable(str(getattr(error, 'strerror', None) or error))}"
    return _unknown("dataset", text, dataset_names())


def _unknown(what: str, name: str, names: tuple[str, ...]) -> str:
    guess = nearest(Path(name).name, names)
    hint = f"did you mean {guess!r}? " if guess else ""
    where = "no such folder and no shipped dataset" if what == "dataset" else f"no shipped {what}"
    return f"{where}: {hint}Shipped: {', '.join(names) or 'none'}"
