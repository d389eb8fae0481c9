"""Files that are whole or absent: written beside their place, flushed, then renamed into it."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bayesdense.errors import BayesdenseError
from bayesdense.wording import printable

#: Names of what `temporary_beside` leaves where a process is killed while it writes.
TEMPORARY: Final = f".*.{'[0-9a-f]' * 12}.tmp"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(text: str | bytes) -> object:
    """Return what JSON text says that may come from anywhere.

    Raises
    ------
    ValueError
        Not JSON, not Unicode, nested too deeply, or with a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: str | Path) -> object:
    """Return what a JSON file says that a user has named.

    Raises
    ------
    BayesdenseError
        It cannot be read, or is no JSON.
    """
    where = printable(str(path))
    try:
        return parse_json(Path(path).read_bytes())
    except OSError as err:
        raise BayesdenseError(f"{where}: cannot be read: {err.strerror or err}") from err
    except ValueError as err:
        raise BayesdenseError(f"{where}: is no JSON: {err}") from err


def commit(temporary: Path, path: Path) -> None:
    """Flush a finished temporary file to disk and rename it to its place, replacing what is there.

    `os.replace` is atomic on every platform as long as both lie in one folder.
    """
    flush(temporary)
    os.replace(temporary, path)


def flush(path: Path) -> None:
    """Have the system write a file to disk."""
    with path.open("rb+") as file:  # Windows flushes only through a handle that may write
        os.fsync(file.fileno())


def temporary_name(path: Path) -> Path:
    """Give a free temporary name in the folder of `path`; nothing is made."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Give a free temporary name in the folder of `path`; whatever is left under it is removed.

    Unlike `tempfile`, it does not create the file, so that the result has the user's usual
    permissions rather than owner-only ones.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def probe_writable(folder: Path) -> None:
    """Make a folder and a file in it as a later write would, then take away what was made.

    Permissions alone do not tell: root passes every test of them, and a read-only or full file
    system, or a name that is too long, shows only when something is made.

    Raises
    ------
    OSError
        What making them raised, such as a read-only file system.
    """
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_beside(folder / "probe") as temporary:
            temporary.touch(exist_ok=False)
    finally:
        with contextlib.suppress(OSError):  # never made, or somebody else's files are there by now
            for path in absent:
                path.rmdir()


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write a file so that readers see its old content or all of the new one, never a part.

    Parameters
    ----------
    path
        Where the file shall lie; its folder exists.
    content
        All of its bytes.

    Raises
    ------
    OSError
        The disk is full, the folder is not writable, ...; the old file is then untouched.
    """
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)
        commit(temporary, path)


def write_text_atomic(path: Path, text: str) -> None:
    """Write text as UTF-8 with the line ends it has, as `write_bytes_atomic` does."""
    write_bytes_atomic(path, text.encode("utf-8"))
