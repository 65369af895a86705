"""Notebook runs: where their data lie, and what they leave behind."""

import json
import os
from pathlib import Path

from IPython.display import display

from musetools.errors import ParameterError

__all__ = ["RESULT_MIME", "project_file", "record"]

RESULT_MIME = "application/vnd.musetools.result+json"


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


def record(**quantities: float | int | str | bool | list) -> None:
    """Leave a notebook's results in its last cell, for people and programs to read.

    Parameters
    ----------
    **quantities
        Plain JSON values: numbers, texts, lists of them.

    Raises
    ------
    ParameterError
        If a value is NaN, infinite or no JSON.
    """
    try:
        lines = [
            f"{name}: {json.dumps(value, allow_nan=False, ensure_ascii=False)}" for name, value in quantities.items()
        ]
    except (TypeError, ValueError) as error:
        raise ParameterError(f"results must be plain finite JSON values: {error}. Got {quantities}") from None
    display({RESULT_MIME: quantities, "text/plain": "\n".join(lines)}, raw=True)
