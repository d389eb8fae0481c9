"""The manifest of a fit folder: which files belong to the fit, and what bytes they held.

One flipped bit in a netCDF file loads without complaint and with other numbers, so a folder is
trusted only while every listed file has the size and SHA-256 it had when it was written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bayesdense.errors import FitFolderError
from bayesdense.files import sha256_of, write_text_atomic
from bayesdense.names import SCHEMA_VERSION

MANIFEST_NAME: Final = "manifest.json"
_REMEDY: Final = "restore the folder from a copy, or fit again with --force"
_FIELDS: Final = frozenset({"sha256", "size"})

type FileRecord = dict[str, object]


def record_of(path: Path) -> FileRecord:
    """Return what the manifest says of one file: its SHA-256 (hex) and its size (bytes)."""
    return {"sha256": sha256_of(path), "size": path.stat().st_size}


def write_manifest(folder: Path, records: Mapping[str, FileRecord]) -> None:
    """Write the manifest of files by name; the last step of every change to a fit folder."""
    content = {"schema": SCHEMA_VERSION, "files": {name: records[name] for name in sorted(records)}}
    write_text_atomic(folder / MANIFEST_NAME, json.dumps(content, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, FileRecord]:
    """Return the records of a folder's manifest by file name.

    Raises
    ------
    FitFolderError
        No folder, no manifest, not JSON, another schema, or a record of an unknown shape.
    """
    path = folder / MANIFEST_NAME
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as err:
        raise FitFolderError(_why_no_manifest(folder)) from err
    except (OSError, ValueError) as err:
        raise FitFolderError(f"{path}: not readable as JSON ({err}); {_REMEDY}") from err
    return _checked_records(path, content)


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
        found = record_of(path)
    except FileNotFoundError as err:
        raise FitFolderError(
            f"{path}: missing, though {MANIFEST_NAME} lists it; {_REMEDY}"
        ) from err
    except OSError as err:
        raise FitFolderError(f"{path}: cannot be read ({err}); {_REMEDY}") from err
    if found["size"] != record["size"]:
        raise FitFolderError(
            f"{path}: holds {found['size']} bytes, {MANIFEST_NAME} says {record['size']}: "
            f"cut short or replaced since the fit; {_REMEDY}"
        )
    if found["sha256"] != record["sha256"]:
        raise FitFolderError(
            f"{path}: its SHA-256 differs from the one in {MANIFEST_NAME}: altered or damaged "
            f"since the fit; {_REMEDY}"
        )


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
    if schema != SCHEMA_VERSION:
        raise FitFolderError(
            f"{path}: schema {schema!r}, this version of bayesdense reads {SCHEMA_VERSION}; "
            "load the fit with the version that wrote it, or fit again with --force"
        )
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files:
        raise FitFolderError(f"{path}: lists no files; {_REMEDY}")
    for name, record in files.items():
        if not _is_plain_name(name) or not isinstance(record, dict) or _FIELDS - set(record):
            raise FitFolderError(f"{path}: the entry {name!r} is not a file's record; {_REMEDY}")
    return files


def _is_plain_name(name: str) -> bool:
    """Whether a name stays inside the folder: a manifest from elsewhere must not point outside."""
    return name not in {"", ".", ".."} and not set(name) & set("/\\:\0")
