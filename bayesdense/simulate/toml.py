"""TOML as text, for cards and truths: what the standard library reads but does not write."""

from collections.abc import Mapping

import tomli_w


def toml_text(content: Mapping[str, object]) -> str:
    """Return TOML that `tomllib` reads back to `content`.

    Parameters
    ----------
    content
        Whatever `tomllib` returns: texts, numbers (NaN and infinities too), booleans, dates and
        times, lists, tables, and lists of tables.
    """
    return tomli_w.dumps(content)
