"""The documentation as a site: `uv run sphinx-build -W -b html docs docs/_build`.

Nothing is fetched while it is built or read: no inventories of other projects, formulas as MathML,
fonts of the reader's system. The figures are drawn by the scripts of `gallery/` from the fits that
`fits.py` makes when the code or the data have changed.
"""

import logging
import sys
from pathlib import Path

from sphinx.application import Sphinx

for talkative in ("arviz", "pytensor"):  # at INFO, of each option and each import
    logging.getLogger(talkative).setLevel(logging.WARNING)

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "_ext"), str(HERE.parent)]

import fits  # noqa: E402  (found beside this file, wherever the build is started)

import bayesdense  # noqa: E402

project = "bayesdense"
author = "The bayesdense developers"
copyright = "2026, the bayesdense developers"
release = version = bayesdense.__version__
language = "en"

extensions = [
    "mathml",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "evidence", "gallery", "_ext"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4  # those that GitHub makes, so that links work in both places

html_math_renderer = "mathml"
default_role = "py:obj"
autodoc_typehints = "signature"  # types are said once, in annotations
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
autosummary_generate = False  # groups on pages of their own, in reference/api
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "figures",
    "filename_pattern": r"\.py$",
    "run_stale_examples": True,  # a script's figure changes with the fit, too
    "abort_on_example_error": True,
    "download_all_examples": False,
    "image_scrapers": ("written.figures",),
    "reset_modules": (),
    "within_subsection_order": "written.AsListed",
    "notebook_extensions": set(),
    "min_reported_time": 3600,  # seconds: of no interest
    "copyfile_regex": r"$^",
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "matplotlib_animations": False,
    "write_computation_times": False,
}

html_theme = "furo"
html_title = "bayesdense"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path: list[str] = []
html_show_sphinx = False
html_copy_source = False


def make_fits(app: Sphinx, _config: object) -> None:
    """Make the fits that pages and figures read, before anything else, and say what made them."""
    made = fits.make()["densing"]
    app.config.rst_epilog = f".. |command| replace:: ``{made['command']}``\n" + (
        f".. |commit| replace:: ``{made['commit']}``\n"
    )


def setup(app: Sphinx) -> None:
    """Run `fits.py` before the gallery's scripts."""
    app.connect("config-inited", make_fits, priority=1)
