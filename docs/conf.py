"""Builds the pages: ``sphinx-build -W docs build/pages``, after ``musetools regress``, whose notebooks they show.

Nothing is run here. The folder of executed notebooks is the project's ``runs``, or what MUSETOOLS_RUNS names.
"""

import os
import sys
from pathlib import Path

from sphinx.errors import ConfigError

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from pages import write_api, write_gallery  # noqa: E402

import musetools  # noqa: E402

project, author, copyright = "musetools", "the authors of musetools", "the authors of musetools"
release = musetools.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

nb_execution_mode = "off"  # they were executed by the suite
nb_ipywidgets_js = {}  # would be loaded from a network
nb_merge_streams = True
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]  # what a notebook records has a type of its own

autodoc_typehints = "none"  # signatures stay readable; the docstrings name the types
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "musetools"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = html_copy_source = html_show_sourcelink = False

runs = Path(os.environ.get("MUSETOOLS_RUNS", DOCS.parent / "runs"))
try:
    write_gallery(runs, DOCS / "gallery")
except FileNotFoundError as error:
    raise ConfigError(f"{error}. Run `musetools regress` first: pages show what it executed") from None
write_api(DOCS / "gallery" / "api.md")
