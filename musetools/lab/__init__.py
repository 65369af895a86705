"""A room for each question, and so for each notebook; needs the extra ``musetools[lab]``."""

import sys
from importlib.util import find_spec

from musetools.errors import MissingExtraError

NEEDED = ("IPython", "ipywidgets", "jinja2", "jupyterlab", "matplotlib", "papermill", "psutil")  # of the extra
if sys.version_info < (3, 11):
    raise MissingExtraError(f"musetools.lab needs Python 3.11 or newer; this is {sys.version.split()[0]}")
if missing := [name for name in NEEDED if find_spec(name) is None]:
    raise MissingExtraError(
        f"musetools.lab needs {', '.join(missing)}, which are not installed: pip install 'musetools[lab]'"
    )
