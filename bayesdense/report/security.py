"""A page that can ask nobody for anything: its policy, and text that no script can break out of."""

import base64
import hashlib
import json
from collections.abc import Iterable

from markupsafe import Markup


def policy(scripts: Iterable[str]) -> str:
    """Content-Security-Policy of a page whose only scripts are these.

    Nothing may be fetched from anywhere: images and fonts are data within the page, scripts are
    known by their SHA-256. Styles are inline, as the interactive figure sets its own; they can load
    nothing either.
    """
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {hashes}" if hashes else "script-src 'none'",
            "style-src 'unsafe-inline'",
            "img-src data:",
            "font-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(script: str) -> str:
    """SHA-256 of a script as a browser takes it: its UTF-8 bytes, in base64."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def script(text: str) -> Markup:
    """A script of this package or of a library, to stand within a script element.

    Raises
    ------
    ValueError
        It would end the element, or is not the text that a browser would hash.
    """
    if "</script" in text.lower() or "<!--" in text or "\r" in text:
        raise ValueError("a script that would not stay within its element")
    return Markup(text)


def data_block(value: object) -> Markup:
    """JSON to stand within a script element of data: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(safe)
