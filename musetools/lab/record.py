"""A notebook's results: shown in its last cell, and read back from there. They are stored nowhere else."""

import base64
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import display

from musetools.errors import ParameterError
from musetools.files import read_npy

__all__ = ["RESULT_MIME", "array_from_npy", "as_plain", "flat", "npy_bytes", "read_results", "record"]

RESULT_MIME = "application/vnd.musetools.result+json"
NAME = re.compile(r"\w{1,80}", re.ASCII)  # a baseline names a file after a result
ARRAY_KEYS = {"npy", "dtype", "shape"}  # of the dict that is recorded for an array


def record(**quantities: Any) -> None:
    """Leave a notebook's results in its last cell, for people and programs to read.

    They are shown as ``application/vnd.musetools.result+json``, folded away on a page. An array is recorded as the
    base64 text of its ``.npy`` file, with its type and shape.

    Parameters
    ----------
    **quantities
        Numbers, texts, lists and dicts of them, None, and numpy arrays of numbers.

    Raises
    ------
    ParameterError
        If a value is NaN, infinite or of another type.
    """
    plain = {name: _plain(name, value) for name, value in quantities.items()}
    if twice := [name for name, n in Counter(name for name, _ in flat(plain)).items() if n > 1]:
        raise ParameterError(f"two results would be called {twice[0]!r}: rename one")
    text = "\n".join(map(_line, plain, plain.values()))
    folded = f"<details><summary>{len(plain)} results recorded</summary><pre>{escape(text)}</pre></details>"
    display({RESULT_MIME: plain, "text/plain": text, "text/html": folded}, raw=True)


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if not NAME.fullmatch(name):
        raise ParameterError(f"a result is named by letters, digits and _, 80 at most; got {name[:100]!r}")
    if isinstance(value, np.ndarray):
        npy = base64.b64encode(npy_bytes(name, value)).decode()
        return {"npy": npy, "dtype": str(value.dtype), "shape": list(value.shape)}
    plain = as_plain(f"the result {name!r}", value)
    if _is_array(plain):
        raise ParameterError(f"the result {name!r} has the keys of an array, {', '.join(plain)}: rename one")
    return plain


def _line(name: str, plain: Any) -> str:
    """Write a recorded value for people."""
    if _is_array(plain):
        return f"{name}: array of {plain['dtype']}, shape {tuple(plain['shape'])}"
    return f"{name}: {json.dumps(plain, ensure_ascii=False)}"


def _is_array(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == ARRAY_KEYS


def as_plain(what: str, value: Any) -> Any:
    """Return a value as JSON holds it; ParameterError if it cannot."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"{what} must be of finite numbers, texts, lists and dicts: {error}") from None


def npy_bytes(name: str, array: np.ndarray) -> bytes:
    """Return an array as a ``.npy`` file; ParameterError unless it is of finite numbers."""
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ParameterError(
            f"the result {name!r} must be of finite numbers; got {array.dtype} {array.shape}. Record what is finite"
        )
    file = io.BytesIO()
    np.save(file, np.asarray(array, order="C"), allow_pickle=False)  # ascontiguousarray makes a list of a scalar
    return file.getvalue()


def array_from_npy(content: bytes, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """Return the array of a ``.npy`` file, of the type and shape that are expected; ValueError otherwise."""
    array = read_npy(io.BytesIO(content))
    if [str(array.dtype), list(array.shape)] != [dtype, list(shape)]:
        raise ValueError(f"an array is {array.dtype} {array.shape} instead of {dtype} {shape}")
    return array


def read_results(notebook: str | os.PathLike | Mapping[str, Any]) -> dict[str, Any]:
    """Read the results of an executed notebook from its last cell, with its arrays.

    Parameters
    ----------
    notebook : path or notebook node
        The executed notebook.

    Returns
    -------
    dict
        What `record` was given.

    Raises
    ------
    ParameterError
        If it is no notebook, its last cell was left early or recorded nothing, or the record is damaged.
    """
    where = "the notebook" if isinstance(notebook, Mapping) else str(notebook)
    try:
        if not isinstance(notebook, Mapping):
            notebook = json.loads(Path(notebook).read_text(encoding="utf-8"))
        outputs = notebook["cells"][-1].get("outputs", [])
        if any(output["output_type"] == "error" for output in outputs):
            raise ValueError("its last cell stopped before its end")
        shown = [o["data"][RESULT_MIME] for o in outputs if RESULT_MIME in o.get("data", {})]
        if not shown:
            raise ValueError("its last cell records nothing")
        # plain dicts, whatever kind the notebook is made of; NaN is refused
        plain = json.loads(json.dumps(shown[-1], allow_nan=False))
        return {name: _restored(name, value) for name, value in plain.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ParameterError(f"{where} has no results that can be read: {error}. Run the notebook again") from None


def _restored(name: str, value: Any) -> Any:
    """Return a recorded value; ValueError if `record` cannot have left it."""
    if _is_array(value):
        value = array_from_npy(base64.b64decode(value["npy"], validate=True), value["dtype"], value["shape"])
    _plain(name, value)
    return value


def flat(results: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each quantity under one name, ``distance/live`` or ``findings/0/2``; lists of numbers as arrays."""
    for name, value in results.items():
        value = _numbers(value)
        if isinstance(value, list) and any(isinstance(item, (float, list, dict)) for item in value):
            value = {str(place): item for place, item in enumerate(value)}
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _numbers(value: Any) -> Any:
    """Return a list of equal-sized lists of numbers as an array, anything else as it is."""
    if not isinstance(value, list) or not value:
        return value
    try:
        array = np.array(value)
    except ValueError:  # lists of unequal length
        return value
    return array if array.dtype.kind in "biuf" else value
