"""A notebook's parameters, read from its own ``parameters`` cell, and what is given for them, checked against it."""

import ast
import math
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode

from musetools.errors import ParameterError

__all__ = ["checked_parameters", "declared"]

TAG = "parameters"


def declared(notebook: NotebookNode) -> dict[str, Any]:
    """Return the names and defaults of a notebook's parameters.

    Raises
    ------
    ParameterError
        If there is no cell tagged ``parameters``, or a line of it is no ``name = literal``.
    """
    cells = [c for c in notebook.cells if c.cell_type == "code" and TAG in (c.metadata.get("tags") or [])]
    if len(cells) != 1:
        raise ParameterError(f"a notebook has one code cell tagged {TAG!r}; this one has {len(cells)}")
    try:
        return dict(_assigned(line) for line in ast.parse(cells[0].source).body)
    except (SyntaxError, ValueError) as error:
        raise ParameterError(f"the {TAG!r} cell must hold nothing but lines of name = literal: {error}") from None


def _assigned(line: ast.stmt) -> tuple[str, Any]:
    if not isinstance(line, ast.Assign) or len(line.targets) != 1 or not isinstance(line.targets[0], ast.Name):
        raise ValueError(f"line {line.lineno} is something else")
    return line.targets[0].id, ast.literal_eval(line.value)


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
        If a name is not declared, a value is of another type than its default, or no plain finite value.
    """
    defaults = declared(notebook)
    for name, value in given.items():
        if name not in defaults:
            raise ParameterError(f"no parameter {str(name)[:80]!r}: this notebook has {', '.join(defaults) or 'none'}")
        try:
            fault = _fault(value) or _mismatch(value, defaults[name])
            told = repr(value)[:80]
        except (RecursionError, ValueError) as error:  # a list that holds itself, a number that is too long for a text
            fault, told = "cannot be written", f"{type(value).__name__}: {error}"
        if fault:
            raise ParameterError(f"parameter {name!r} {fault}; its default is {defaults[name]!r}, got {told}")
    return dict(given)


def _fault(value: Any) -> str:
    """Say why a value cannot be handed to a notebook as it is, if so."""
    if value is None or type(value) in (bool, int, str):
        repr(value)
        return ""
    if type(value) is float:
        return "" if math.isfinite(value) else "must be finite"
    if type(value) is list:
        return next((fault for item in value if (fault := _fault(item))), "")
    return f"must be a plain number, text, bool, None or a list of them, not a {type(value).__name__}"


def _mismatch(value: Any, default: Any) -> str:
    """Say that a value is of another type than the default, if so."""
    if default is None or type(value) is type(default):
        if not isinstance(value, list) or not default:
            return ""
        return next((fault for item in value if (fault := _mismatch(item, default[0]))), "")
    if type(default) is float and type(value) is int:
        return ""
    return f"must be of type {type(default).__name__}"
