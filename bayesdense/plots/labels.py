"""Names beside points, so placed that none covers another: those without room are left out."""

from collections.abc import Sequence
from functools import cache
from typing import Final, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from bayesdense.arrays import Floats
from bayesdense.plots.style import FONT, INK, PAPER
from bayesdense.wording import printable

type _Across = Literal["left", "center", "right"]
type _Along = Literal["bottom", "center", "top"]

#: Where a name may stand about its point: distance in points of print, and how it is aligned.
_PLACES: Final[tuple[tuple[float, float, _Across, _Along], ...]] = (
    (6, 0, "left", "center"),
    (-6, 0, "right", "center"),
    (4, 4, "left", "bottom"),
    (-4, 4, "right", "bottom"),
    (4, -4, "left", "top"),
    (-4, -4, "right", "top"),
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
)
#: Longest name that is shown whole.
_LONGEST: Final = 28


def label_points(
    ax: Axes,
    x: Sequence[object],
    y: Floats,
    names: Sequence[str],
    *,
    order: Sequence[int],
    most: int = 14,
) -> list[Text]:
    """Write names beside points, in order of their importance, until there is no room.

    To be called last: the layout of the figure is settled here, and the names take no part in it.

    Parameters
    ----------
    x, y, names
        Every point of the figure; names stay off all of them.
    order
        Positions of the points to name, the most important first.
    most
        Names at most.

    Returns
    -------
    list of matplotlib.text.Text
        The names that found room.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("axes without a figure")
    figure.draw_without_rendering()
    numbers = np.asarray(ax.convert_xunits(list(x)), dtype=float)
    points = ax.transData.transform(np.column_stack([numbers, np.asarray(y, dtype=float)]))
    taken = _occupied(ax)
    placed: list[Text] = []
    for k in order:
        if len(placed) == most:
            break
        if not np.isfinite(points[k]).all():
            continue
        text = _name(ax, x[k], y[k], names[k])
        box = _place(text, ax.get_window_extent(), taken, points)
        if box is None:
            text.remove()
        else:
            placed.append(text)
            taken.append(box)
    return placed


def short(name: str) -> str:
    """A name as a figure shows it: escaped where the font has no sign, and not too long."""
    text = "".join(
        sign if ord(sign) in _signs() else sign.encode("unicode_escape").decode()
        for sign in printable(name)
    )
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


@cache
def _signs() -> frozenset[int]:
    """Code points of the font of figures."""
    return frozenset(get_font(findfont(FONT)).get_charmap())


def _occupied(ax: Axes) -> list[Bbox]:
    """Where no name may stand: the legend, and texts that are there."""
    legend = ax.get_legend()
    boxes = [text.get_window_extent() for text in ax.texts]
    return boxes if legend is None else [legend.get_window_extent(), *boxes]


def _name(ax: Axes, x: object, y: float, name: str) -> Text:
    """A name at its point, to be moved."""
    text = ax.annotate(
        short(name),
        (x, y),
        xytext=(0, 0),
        textcoords="offset points",
        fontsize=7.0,
        color=INK,
        annotation_clip=True,
        bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0.0, "pad": 0.6},
    )
    text.set_in_layout(False)
    return text


def _place(text: Text, room: Bbox, taken: Sequence[Bbox], points: Floats) -> Bbox | None:
    """Move a name to the first place where it covers nothing; None where there is none."""
    for right, up, across, along in _PLACES:
        text.set_position((right, up))
        text.set_horizontalalignment(across)
        text.set_verticalalignment(along)
        box = text.get_window_extent().padded(1.0)
        inside = room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1
        if inside and not any(box.overlaps(other) for other in taken):
            covered = (points > box.min).all(axis=1) & (points < box.max).all(axis=1)
            if not covered.any():
                return box
    return None
