"""JSON files of earlier work that a user names: read only if they are as their schema says."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from bayesdense.errors import BayesdenseError
from bayesdense.files import MOST_JSON, parse_json, read_regular
from bayesdense.names import SCHEMA_VERSION
from bayesdense.wording import printable, told

_SCHEMAS: Final = Path(__file__).parent / "schemas"


def read_result(path: str | Path, schema: str, what: str) -> dict[str, Any]:
    """Return the content of a file that is what one of the package's schemas describes.

    Parameters
    ----------
    path
        The file.
    schema
        Name of the schema in `bayesdense/schemas`, such as `power`.
    what
        What the file has to be, for messages: `result of power`.

    Raises
    ------
    BayesdenseError
        It cannot be read, is no strict JSON, or differs from the schema: where, and how.
    """
    content = read_object(path, what)
    if (why := _difference(content, schema)) is not None:
        raise BayesdenseError(f"{printable(str(path))}: is no {what}: {why}")
    return content


def read_object(path: str | Path, what: str) -> dict[str, Any]:
    """Return the JSON object that a file holds, of this version if it names one.

    Parameters
    ----------
    path, what
        As of `read_result`.

    Raises
    ------
    BayesdenseError
        It cannot be read, or is no strict JSON object of this version.
    """
    where = printable(str(path))
    try:
        content = parse_json(read_regular(Path(path), MOST_JSON))
    except OSError as err:
        raise BayesdenseError(f"{where}: cannot be read: {err.strerror or err}") from err
    except ValueError as err:
        raise BayesdenseError(f"{where}: is no JSON: {err}") from err
    if isinstance(content, dict) and content.get("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise BayesdenseError(
            f"{where}: schema {told(content['schema'])}, this version reads {SCHEMA_VERSION}"
        )
    if not isinstance(content, dict):
        raise BayesdenseError(f"{where}: is no {what}")
    return content


def _difference(content: Mapping[str, Any], schema: str) -> str | None:
    """Say where content differs most tellingly from a schema, and how; None where it does not.

    Entries that the schema does not know are no difference: a later version may add some.
    """
    try:
        found = [
            error
            for error in _validator(schema).iter_errors(content)
            if error.validator != "additionalProperties"
        ]
    except RecursionError:
        return "nested too deeply"
    error = best_match(found)
    if error is None:
        return None
    if error.validator == "required":
        return str(error.message)[:200]
    return f"{str(error.json_path)[:200]} is {told(error.instance)}"


@cache
def _validator(schema: str) -> Draft202012Validator:
    """Validator of a shipped schema."""
    content = json.loads((_SCHEMAS / f"{schema}.schema.json").read_bytes())
    return Draft202012Validator(content, format_checker=Draft202012Validator.FORMAT_CHECKER)
