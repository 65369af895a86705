"""A notebook's parameters, read from its own ``parameters`` cell, and what is given for them, checked against it."""

import ast
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from musetools.errors import ParameterError
from musetools.lab.record import as_plain

__all__ = ["checked_parameters", "declared", "from_texts", "read_notebook"]


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook from disk; ParameterError if it is none."""
    try:
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
    except Exception as error:  # nbformat raises what its parser happens to
        reason = str(error).strip().splitlines()[:1]
        raise ParameterError(f"{path} is no notebook that can be read: {' '.join(reason)}. Name another") from None
    return book


def declared(notebook: NotebookNode) -> dict[str, Any]:
    """Return names and defaults of a notebook's parameters; ParameterError unless one cell declares them plainly."""
    import papermill  # takes a second, and only the runner needs it

    n_cells = sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    if n_cells != 1:
        raise ParameterError(f"a notebook has one cell tagged 'parameters'; this one has {n_cells}. Tag one")
    try:
        inspected = papermill.inspect_notebook(notebook)
    except Exception as error:  # papermill raises many kinds, of a notebook that names no kernel, say
        raise ParameterError(f"its parameters cannot be read: {error}. Save it again from Jupyter") from None
    defaults = {}
    for name, found in inspected.items():
        try:
            defaults[name] = ast.literal_eval(found["default"])
        except Exception:  # what is no literal raises many kinds
            raise ParameterError(
                "the 'parameters' cell must have lines of name = literal, without # in a text; got "
                f"{name} = {found['default']:.80}"
            ) from None
    return defaults


def checked_parameters(notebook: NotebookNode, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters to run a notebook with: those given, of the names and types that it declares.

    A whole number will do for a float. ParameterError if a name is not declared, or a value is of another type than its
    default, or not finite.
    """
    defaults = declared(notebook)
    for name, value in given.items():
        if name not in defaults:
            raise ParameterError(
                f"no parameter {name!r:.80}: this notebook has {', '.join(defaults) or 'none'}. Name one of these"
            )
        as_plain(f"parameter {name!r}", value)
        if fault := _mismatch(value, defaults[name]):
            raise ParameterError(f"parameter {name!r} {fault}; its default is {defaults[name]!r}, got {value!r:.80}")
    return dict(given)


def _mismatch(value: Any, default: Any) -> str:
    """Say that a value is of another type than the default, if so."""
    if default is None or (type(default) is float and type(value) is int):
        return ""
    if type(value) is not type(default):
        return f"must be of type {type(default).__name__}, not {type(value).__name__}"
    items = value if isinstance(value, list) and default else ()
    return next((fault for item in items if (fault := _mismatch(item, default[0]))), "")


def from_texts(path: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what texts on a command line stand for, as parameters of a notebook on disk.

    For a parameter whose default is a text, the text; if it is the path of a file or folder, in full, since a notebook
    works in its own folder. For others a Python literal: 29.97, true, [0.2, 1.0]. What is neither stays text, and
    `checked_parameters` refuses it.
    """
    defaults = declared(read_notebook(path))
    return {name: _from_text(text, defaults.get(name, "")) for name, text in texts.items()}


def _from_text(text: str, default: Any) -> Any:
    if isinstance(default, str):
        is_path = os.path.isfile(text) or (os.sep in text and os.path.isdir(text))
        return os.path.abspath(text) if is_path else text
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    return text
