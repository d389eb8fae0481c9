"""Files that are whole or absent: written beside their place, flushed, then renamed into it."""

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Never

#: Bytes of JSON that are read: draws of a frozen forecast of 10,000 LLMs are half of it.
MOST_JSON: Final = 100_000_000
#: Bytes of TOML that are read, fifty times the longest shipped: its parser reads 1 MB a second.
MOST_TOML: Final = 500_000
#: Points in one line of TOML: the parser's time goes with the square of the parts of a dotted key.
_MOST_POINTS: Final = 100


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to read its bytes.

    A pipe would be waited for, and a device may have no end.

    Raises
    ------
    OSError
        It cannot be opened, or is no regular file.
    ValueError
        A name that no file system can spell.
    """
    with open(path, "rb", opener=_opened) as file:
        yield file


def _opened(path: str, flags: int) -> int:
    """Open without waiting for a pipe's other end, and look at what was opened."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor


def read_regular(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file of at most so many.

    Raises
    ------
    OSError
        As `open_regular`, or it is larger.
    ValueError
        A name that no file system can spell.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""
    if size > most or len(content) > most:
        large = f"{max(size, len(content)) / 1e6:.3g} MB, allowed up to {most / 1e6:.3g} MB"
        raise OSError(errno.EFBIG, large, str(path))
    return content


#: Names of what `temporary_beside` leaves where a process is killed while it writes.
TEMPORARY: Final = f".*.{'[0-9a-f]' * 12}.tmp"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a regular file's bytes, in hex, read in blocks."""
    with open_regular(path) as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def parse_json(text: str | bytes) -> object:
    """Return what strict JSON text says that may come from anywhere.

    Raises
    ------
    ValueError
        Not JSON, not Unicode, nested too deeply, or with a number that is not finite or has
        thousands of digits.
    """
    try:
        return json.loads(text, parse_constant=_refuse_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_number(text: str) -> Never:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    """Read a number; one beyond the largest float would be infinite."""
    number = float(text)
    return number if math.isfinite(number) else _refuse_number(text[:60])


def parse_toml(content: bytes) -> dict[str, Any]:
    """Return what TOML says that may come from anywhere, in UTF-8 with or without a mark.

    Raises
    ------
    ValueError
        Not TOML, not UTF-8 (`UnicodeDecodeError`), nested too deeply, a number of thousands of
        digits, or keys of so many parts that reading them would take long.
    """
    text = content.decode("utf-8-sig")
    for row, line in enumerate(text.splitlines(), 1):
        if (points := line.count(".")) > _MOST_POINTS:
            raise ValueError(f"{points} points in line {row}, allowed up to {_MOST_POINTS}")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


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
