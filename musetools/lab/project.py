"""Where the project's own files are."""

import os
from pathlib import Path

from musetools.errors import ParameterError

__all__ = ["project_file"]


def project_file(path: str | os.PathLike) -> Path:
    """Find a file named from the working folder or from any folder above it.

    A notebook runs in ``notebooks/`` under Jupyter and anywhere under papermill; ``data/speech.flac`` means the bundled
    clip in either case.

    Parameters
    ----------
    path : path
        Relative or absolute.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    ParameterError
        If there is no such file.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (found := folder / path).exists():
            return found.resolve()
    raise ParameterError(f"no {path} in {Path.cwd()} or any folder above it: give an absolute path")
