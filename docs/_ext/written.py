"""Figures of the gallery: what a script writes is what its page shows."""

from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst


def figures(_block: object, variables: dict[str, Any], gallery: dict[str, Any]) -> str:
    """Move the pictures that a block has written to the site; they are none of pyplot's."""
    shown: list[str] = []
    for picture in sorted(Path(variables["src_file"]).parent.glob("*.png")):
        shown.append(next(variables["image_path_iterator"]))
        picture.replace(shown[-1])
    return str(figure_rst(shown, gallery["src_dir"]))
