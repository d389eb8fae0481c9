"""Figures of the report: drawn, written as SVG or PNG into the page, described in words."""

import base64
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError, ReportError
from bayesdense.names import PLOT_KINDS
from bayesdense.plots import style
from bayesdense.plots.kinds import Drawn, draw
from bayesdense.results import Fit

#: Bytes of an SVG above which a figure is a PNG instead.
_MOST_SVG: Final = 400_000
_DPI: Final = 160
#: What colours become on a dark ground; figures are drawn for a white one.
DARK: Final[Mapping[str, str]] = {
    style.INK: "#ededea",
    style.MUTED: "#a3a39d",
    style.GRID: "#3a3a37",
    style.PAPER: "#1a1a19",
    style.BLUE: "#5ab4ec",
    style.VERMILLION: "#ff8a3d",
    style.GREEN: "#2fc79a",
}
#: Coordinates have digits that nobody sees; scales, which are below 1, need all of theirs.
_LONG_NUMBER: Final = re.compile(r"(?<![\d.])([1-9]\d*\.\d\d)\d+")
_COLOUR: Final = re.compile(r"(?:fill|stroke): (#[0-9a-f]{6})")
#: Least contrast of marks with their ground (WCAG 2, success criterion 1.4.11).
_CONTRAST: Final = 3.0
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
#: What neither a quoted attribute nor the address of data misreads; the rest is escaped.
_SAFE: Final = " /:;,=.()-_+*!?@$'[]{}|^~"
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Image:
    """A figure as the page shows it.

    Attributes
    ----------
    kind, title
        Which figure it is, and what it shows.
    uri
        The image itself, as data; safe within a quoted attribute.
    alt
        What it shows in words.
    width, height
        In pixels of 96 to the inch.
    is_vector
        Whether it is an SVG, which follows the page's light or dark ground.
    table
        Its data.
    """

    kind: str
    title: str
    uri: Markup
    alt: str
    width: int
    height: int
    is_vector: bool
    table: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Absent:
    """A figure that this fit does not hold what it takes for."""

    kind: str
    title: str
    reason: str


def image_of(
    fit: Fit, kind: str, dataset: Dataset | None = None, table: pd.DataFrame | None = None
) -> Image | Absent:
    """Draw one figure.

    Raises
    ------
    ReportError
        It could not be drawn, for a reason that is not the fit's; names the figure.
    """
    return image_drawn_by(
        lambda: draw(fit, kind, dataset=dataset, table=table), kind, PLOT_KINDS[kind]
    )


def image_drawn_by(make: Callable[[], Drawn], kind: str, title: str) -> Image | Absent:
    """Draw one figure, of a fit or of a study.

    Raises
    ------
    ReportError
        As `image_of`.
    """
    try:
        drawn = make()
        uri, is_vector = _uri(drawn.figure)
    except BayesdenseError as error:
        return Absent(kind, title, str(error))
    except Exception as error:
        raise ReportError(
            f"the figure {kind!r} could not be drawn: {type(error).__name__}: {error}"
        ) from error
    width, height = (round(96 * inches) for inches in drawn.figure.get_size_inches())
    return Image(kind, title, uri, drawn.description, width, height, is_vector, drawn.table)


def _uri(figure: Figure) -> tuple[Markup, bool]:
    """A figure as the address of its own data, and whether it is an SVG."""
    with style.styled():
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
        svg = _lean(content.getvalue().decode("utf-8"))
        if len(svg) <= _MOST_SVG:
            return Markup(f"data:image/svg+xml,{quote(svg, safe=_SAFE)}"), True
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=_DPI)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return Markup(f"data:image/png;base64,{encoded}"), False


def _lean(svg: str) -> str:
    """An SVG without metadata, comments and digits that nobody sees, and with dark colours."""
    body = svg[svg.index("<svg") :]
    for pattern, by in ((_METADATA, ""), (_COMMENT, ""), (_LONG_NUMBER, r"\1"), (_SPACE, " ")):
        body = pattern.sub(by, body)
    return body.replace("</style>", f"{_dark_rules(body)}</style>", 1)


def _lifted(colour: str) -> str:
    """Mix a colour with white until it stands out from the dark ground."""
    rgb, ground = np.array(to_rgb(colour)), _luminance(to_rgb(DARK[style.PAPER]))
    for white in np.linspace(0.0, 1.0, 21):
        mixed = rgb + white * (1.0 - rgb)
        if (_luminance(mixed) + 0.05) / (ground + 0.05) >= _CONTRAST:
            return to_hex(tuple(mixed)) if white else colour
    return to_hex((1.0, 1.0, 1.0))


def _luminance(rgb: ArrayLike) -> float:
    """Relative luminance of a colour, as WCAG 2 defines it."""
    part = np.asarray(rgb, dtype=float)
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _dark_rules(svg: str) -> str:
    """Rules that exchange colours where the page is dark: known ones, and those too near to it."""
    others = {one for one in _COLOUR.findall(svg) if one not in DARK}
    known = {**DARK, **{one: _lifted(one) for one in sorted(others)}}
    rules = "".join(
        f"[style*='{paint}: {light}']{{{paint}:{dark} !important}}"
        for light, dark in known.items()
        if light != dark
        for paint in ("fill", "stroke")
    )
    # what has no colour of its own is black
    return f"@media (prefers-color-scheme: dark){{svg{{fill:{DARK[style.INK]}}}{rules}}}"
