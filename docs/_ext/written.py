"""Figures of the gallery: what a script writes is what its page shows."""

from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

from bayesdense.names import PLOT_KINDS, STUDY_PLOT_KINDS


def figures(_block: object, variables: dict[str, Any], gallery: dict[str, Any]) -> str:
    """Move the pictures that a block has written to the site; they are none of pyplot's."""
    shown: list[str] = []
    for picture in sorted(Path(variables["src_file"]).parent.glob("*.png")):
        shown.append(next(variables["image_path_iterator"]))
        picture.replace(shown[-1])
    return str(figure_rst(shown, gallery["src_dir"]))


class AsListed:
    """Sort key of a gallery's scripts: that of `bayesdense plot --help`."""

    def __init__(self, _folder: str) -> None:
        self.kinds = [*PLOT_KINDS, *STUDY_PLOT_KINDS]

    def __call__(self, name: str) -> int:
        """Place of a script."""
        kind = Path(name).stem
        return self.kinds.index(kind) if kind in self.kinds else len(self.kinds)
