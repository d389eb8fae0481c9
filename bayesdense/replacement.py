"""Files of a fit that change as one: all of them, or none, whenever the process is killed.

New files are written under temporary names. Then one manifest, renamed into its place, says both
what the fit is now and which temporary file still has to take which name; whoever opens the folder
next does what is left of that.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bayesdense.errors import FitFolderError
from bayesdense.files import TEMPORARY, flush, temporary_name
from bayesdense.interrupts import noticing_interrupts
from bayesdense.locks import sole_use
from bayesdense.manifest import Staged, read_manifest, read_staged, record_of, write_manifest

#: Seconds that a reader waits for a run that is putting its files in place.
_WAIT: Final = 30.0

#: Writes a file under the name that it is given.
type Writer = Callable[[Path], object]


def replace_files(
    folder: Path, writers: Mapping[str, Writer], *, keep: bool, retired: tuple[str, ...] = ()
) -> None:
    """Write files of a fit, and its manifest, so that readers see all of them or none.

    The folder's lock is held by the caller.

    Parameters
    ----------
    folder
        Folder of the fit.
    writers
        What writes each file, by name.
    keep
        Whether the other files that the manifest lists are still the fit's.
    retired
        Files that are none of the fit's any more, and are removed.

    Raises
    ------
    OSError
        Something could not be written: what was there is as it was.
    KeyboardInterrupt
        After Ctrl-C, either before anything has changed or when all is in place.
    """
    staged = {name: temporary_name(folder / name) for name in writers}
    try:
        for name, write in writers.items():
            write(staged[name])
            flush(staged[name])
        records = {name: record_of(temporary) for name, temporary in staged.items()}
        if keep:
            records = {**read_manifest(folder), **records}
        moves: Staged = {name: temporary.name for name, temporary in staged.items()}
        with noticing_interrupts() as interrupted:
            write_manifest(folder, records, {**moves, **dict.fromkeys(retired)})
            with contextlib.suppress(OSError):  # the fit is there: the next to open it goes on
                _put_in_place(folder)
        if interrupted():
            raise KeyboardInterrupt
    finally:
        remove_left(folder)


def finish_replacement(folder: Path) -> None:
    """Put those files in their places that a run which was killed had still to move.

    Raises
    ------
    FitFolderError
        The folder cannot be written, or is in use for long.
    """
    if not read_staged(folder):
        return
    with sole_use(folder, FitFolderError, wait=_WAIT, reentrant=True):
        try:
            _put_in_place(folder)
        except OSError as err:
            raise FitFolderError(
                f"{folder}: a run ended while it put this fit's files in place, and that cannot be "
                f"finished: {err.strerror or err}; make the folder writable, or copy it elsewhere"
            ) from err


def remove_left(folder: Path) -> None:
    """Remove temporary files that belong to nothing: their run was killed, or has failed."""
    kept: set[str | None] = set()
    with contextlib.suppress(FitFolderError):
        kept = set(read_staged(folder).values())
    for left in folder.glob(TEMPORARY):
        if left.name not in kept:
            with contextlib.suppress(OSError):
                left.unlink()


def _put_in_place(folder: Path) -> None:
    """Rename what the manifest says is still to be renamed, then write one that says no more."""
    staged = read_staged(folder)
    for name, temporary in staged.items():
        if temporary is None:
            (folder / name).unlink(missing_ok=True)
        elif (folder / temporary).exists():  # or it was renamed before the run was killed
            os.replace(folder / temporary, folder / name)
    if staged:
        write_manifest(folder, read_manifest(folder))
