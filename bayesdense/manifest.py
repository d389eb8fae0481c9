"""The manifest of a fit folder: which files belong to the fit, and what bytes they held.

One flipped bit in a netCDF file loads without complaint and with other numbers, so a folder is
trusted only while every listed file has the size and SHA-256 it had when it was written.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bayesdense.errors import FitFolderError
from bayesdense.files import open_regular, parse_json, read_regular, sha256_of, write_text_atomic
from bayesdense.names import SCHEMA_VERSION
from bayesdense.wording import told

MANIFEST_NAME: Final = "manifest.json"
_MOST_BYTES: Final = 1_000_000
REPORT_NAME: Final = "report.html"
REMEDY: Final = "restore the folder from a copy, or fit again with --force"

type FileRecord = dict[str, object]
#: Temporary name of each file that is still to be renamed; None of one that is to be removed.
type Staged = dict[str, str | None]


def record_of(path: Path) -> FileRecord:
    """Return what the manifest says of one file: its SHA-256 (hex) and its size (bytes)."""
    return {"sha256": sha256_of(path), "size": path.stat().st_size}


def write_manifest(
    folder: Path, records: Mapping[str, FileRecord], staged: Mapping[str, str | None] | None = None
) -> None:
    """Write the manifest of files by name, and which of them have still to take their names."""
    files = {name: records[name] for name in sorted(records)}
    content: dict[str, object] = {"schema": SCHEMA_VERSION, "files": files}
    if staged:
        content["staged"] = dict(staged)
    write_text_atomic(folder / MANIFEST_NAME, json.dumps(content, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, FileRecord]:
    """Return the records of a folder's manifest by file name.

    Raises
    ------
    FitFolderError
        No folder, no manifest, not JSON, another schema, or a record of an unknown shape.
    """
    return _checked_records(folder / MANIFEST_NAME, _content(folder))


def read_staged(folder: Path) -> Staged:
    """Return which files of a folder have still to take their names, as its manifest says.

    Raises
    ------
    FitFolderError
        As `read_manifest`, or entries that no run of ours writes.
    """
    path = folder / MANIFEST_NAME
    content = _content(folder)
    records = _checked_records(path, content)
    staged = content.get("staged", {}) if isinstance(content, dict) else {}
    if not isinstance(staged, dict):
        raise FitFolderError(f"{path}: 'staged' is {told(staged)}, no object; {REMEDY}")
    for name, temporary in staged.items():
        if not _is_move(name, temporary, records):
            raise FitFolderError(
                f"{path}: the entry {told(name)} of 'staged' is no file of the fit with its "
                f"temporary name; {REMEDY}"
            )
    return staged


def verify_folder(folder: Path) -> dict[str, FileRecord]:
    """Check every file that the manifest lists, and return the records.

    Files that the manifest does not list are none of the fit's business and are ignored.

    Raises
    ------
    FitFolderError
        As `read_manifest`; or a listed file is missing or differs, named in the message.
    """
    records = read_manifest(folder)
    for name, record in records.items():
        _verify_file(folder / name, record)
    return records


def _verify_file(path: Path, record: FileRecord) -> None:
    """Raise unless the file has the recorded size and digest."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
        # the digest of a file of another size is not worth its reading
        digest = sha256_of(path) if size == record["size"] else None
    except FileNotFoundError as err:
        raise FitFolderError(f"{path}: missing, though {MANIFEST_NAME} lists it; {REMEDY}") from err
    except (OSError, ValueError) as err:  # a name that no file system can spell
        raise FitFolderError(f"{path}: cannot be read ({err}); {REMEDY}") from err
    if size != record["size"]:
        raise FitFolderError(
            f"{path}: holds {size} bytes, {MANIFEST_NAME} says {record['size']}: "
            f"cut short or replaced since the fit; {REMEDY}"
        )
    if digest != record["sha256"]:
        raise FitFolderError(
            f"{path}: its SHA-256 differs from the one in {MANIFEST_NAME}: altered or damaged "
            f"since the fit; {REMEDY}"
        )


def _content(folder: Path) -> object:
    """Return what the manifest of a folder says."""
    path = folder / MANIFEST_NAME
    try:
        return parse_json(read_regular(path, _MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError) as err:
        raise FitFolderError(_why_no_manifest(folder)) from err
    except (OSError, ValueError) as err:
        raise FitFolderError(f"{path}: not readable as JSON ({err}); {REMEDY}") from err


def _why_no_manifest(folder: Path) -> str:
    """Say why there is no manifest: no folder, a file in its place, or an unfinished fit."""
    if folder.is_file():
        return f"{folder}: a file; a fit is a folder, give the folder that holds fit.nc"
    if not folder.exists():
        return f"{folder}: no such folder; `bayesdense fit` writes to fits/<dataset> unless --out"
    return (
        f"{folder}: no {MANIFEST_NAME}: not a fit folder, or one that was never finished "
        "(the manifest is written last); fit again with --force"
    )


def _checked_records(path: Path, content: object) -> dict[str, FileRecord]:
    """Return the records of a manifest's content, or raise if it is not a manifest of ours."""
    schema = content.get("schema") if isinstance(content, dict) else None
    if type(schema) is not int or schema != SCHEMA_VERSION:  # True is 1, and 1.0 is
        raise FitFolderError(
            f"{path}: schema {told(schema)}, this version of bayesdense reads {SCHEMA_VERSION}; "
            "load the fit with the version that wrote it, or fit again with --force"
        )
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files:
        raise FitFolderError(f"{path}: lists no files; {REMEDY}")
    for name, record in files.items():
        if not _is_plain_name(name) or not _is_record(record):
            raise FitFolderError(f"{path}: the entry {told(name)} is not a file's record; {REMEDY}")
    return files


def _is_record(entry: object) -> bool:
    """Whether an entry says digest and size, each of the type that it is written with."""
    if not isinstance(entry, dict):
        return False
    return isinstance(entry.get("sha256"), str) and type(entry.get("size")) is int


def _is_move(name: str, temporary: object, records: Mapping[str, FileRecord]) -> bool:
    """Whether an entry renames a file of the fit, or removes its report: no other file."""
    if temporary is None:
        return name == REPORT_NAME and name not in records
    named = isinstance(temporary, str) and re.fullmatch(
        rf"\.{re.escape(name)}\.[0-9a-f]{{12}}\.tmp", temporary
    )
    return name in records and bool(named)


def _is_plain_name(name: str) -> bool:
    """Whether a name stays inside the folder: a manifest from elsewhere must not point outside."""
    return name not in {"", ".", ".."} and not set(name) & set("/\\:\0")
