"""Where the project's own files are: notebooks and sample media, in a checkout or as they were installed."""

import os
import shutil
import sysconfig
from pathlib import Path

import musetools
from musetools.errors import OutputError, ParameterError

__all__ = ["copy_notebooks", "project_file"]

FOLDERS = ("notebooks", "data")


def project_file(path: str | os.PathLike) -> Path:
    """Find a file by its path from the working folder or from any folder above it.

    So ``data/speech.flac`` is the bundled clip both in Jupyter, which runs a notebook in ``notebooks/``, and in
    papermill.

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


def copy_notebooks(folder: str | os.PathLike) -> Path:
    """Copy the notebooks, their sample media and baselines to a new folder, in which all of them run; return it.

    OutputError if the folder has something in it, or cannot be written.
    """
    folder, sources = Path(folder), [_installed() / name for name in FOLDERS]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is not empty: name a new folder, so that nothing in it is overwritten")
    if any(folder.resolve().is_relative_to(source.resolve()) for source in sources):
        raise OutputError(f"{folder} lies in what is copied: name a folder elsewhere")
    try:
        for source in sources:
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    except OSError as error:
        raise OutputError(f"cannot copy the notebooks to {folder}: {error}. Name a folder that is writable") from None
    return folder


def _installed() -> Path:
    """Return the folder of notebooks and data: the checkout, or ``share`` where a wheel installs them."""
    checkout = Path(musetools.__file__).parents[1]
    shared = Path(sysconfig.get_path("data"), "share", "musetools")
    return checkout if (checkout / FOLDERS[0] / "regression.toml").is_file() else shared
