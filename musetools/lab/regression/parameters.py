"""A notebook's parameters, read from its own ``parameters`` cell, and what is given for them, checked against it."""

import ast
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode

from musetools.errors import ParameterError
from musetools.lab.record import check_plain

__all__ = ["checked_parameters", "declared"]

TAG = "parameters"


def declared(notebook: NotebookNode) -> dict[str, Any]:
    """Return the names and defaults of a notebook's parameters.

    Raises
    ------
    ParameterError
        If there is no cell tagged ``parameters``, or a default is no literal.
    """
    import papermill  # a second, which only who runs notebooks pays

    cells = [c for c in notebook.cells if c.cell_type == "code" and TAG in (c.metadata.get("tags") or [])]
    if len(cells) != 1:
        raise ParameterError(f"a notebook has one code cell tagged {TAG!r}; this one has {len(cells)}")
    defaults = {}
    for name, found in papermill.inspect_notebook(notebook).items():
        try:
            defaults[name] = ast.literal_eval(found["default"])
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            default = found["default"][:80]
            raise ParameterError(
                f"the {TAG!r} cell must have lines of name = literal, without # in a text; got {name} = {default}"
            ) from None
    return defaults


def checked_parameters(notebook: NotebookNode, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters to run a notebook with: those given, of the names and types that it declares.

    Parameters
    ----------
    notebook : NotebookNode
        The notebook.
    given : dict of str to plain value
        What differs from its defaults. A whole number will do for a float.

    Raises
    ------
    ParameterError
        If a name is not declared, a value is of another type than its default, or is not finite.
    """
    defaults = declared(notebook)
    for name, value in given.items():
        if name not in defaults:
            raise ParameterError(f"no parameter {str(name)[:80]!r}: this notebook has {', '.join(defaults) or 'none'}")
        check_plain(f"parameter {name!r}", value)
        if fault := _mismatch(value, defaults[name]):
            raise ParameterError(
                f"parameter {name!r} {fault}; its default is {defaults[name]!r}, got {repr(value)[:80]}"
            )
    return dict(given)


def _mismatch(value: Any, default: Any) -> str:
    """Say that a value is of another type than the default, if so."""
    if default is None or (type(default) is float and type(value) is int):
        return ""
    if type(value) is not type(default):
        return f"must be of type {type(default).__name__}, not {type(value).__name__}"
    items = value if isinstance(value, list) and default else ()
    return next((fault for item in items if (fault := _mismatch(item, default[0]))), "")
