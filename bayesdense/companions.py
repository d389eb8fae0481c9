"""Files that every saved fit holds beside its posterior, each with the function that makes it.

A fit stands below its summary, so that it cannot import what writes one. Whoever stands above both
says here, once, how such a file is made: the package itself does so as it is imported.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

#: From a `bayesdense.results.Fit`, which stands above this module, to the content of a file.
type Maker = Callable[[Any], bytes]

_MAKERS: dict[str, Maker] = {}


def saved_with_fits(name: str, make: Maker) -> None:
    """Let every fit that is saved hold a file of this name; said again, the last maker counts."""
    _MAKERS[name] = make


def makers() -> Mapping[str, Maker]:
    """Maker of each file, by name."""
    return MappingProxyType(_MAKERS)
