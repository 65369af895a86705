"""What a notebook leaves behind: its results, shown in its last cell and written where a run looks for them."""

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import display

from musetools.errors import ParameterError
from musetools.files import write_whole

__all__ = ["FOLDER_VARIABLE", "RESULTS", "RESULT_MIME", "flat", "read_results", "record"]
__all__ += ["npy_bytes", "npy_record", "read_npy"]

RESULT_MIME = "application/vnd.musetools.result+json"
RESULTS = "results.json"
FOLDER_VARIABLE = "MUSETOOLS_RESULTS"  # environment: the folder that a run wants results in
NAME = re.compile(r"\w{1,80}", re.ASCII)
ARRAY = "npy"  # key of what stands in the record for an array

Results = dict[str, Any]


def record(**quantities: Any) -> None:
    """Leave a notebook's results in its last cell, for people and programs to read.

    They are shown as ``application/vnd.musetools.result+json``. Where a run asks for them (see `run_notebook`), they
    are also written: ``results.json``, and one ``.npy`` an array, whose SHA-256 stands in the record.

    Parameters
    ----------
    **quantities
        Numbers, texts, lists and dicts of them, None, and numpy arrays of numbers.

    Raises
    ------
    ParameterError
        If a value is NaN, infinite or no such thing.
    OutputError
        If it cannot be written.
    """
    for name, value in quantities.items():
        if not NAME.fullmatch(name):  # an array gets a file of that name
            raise ParameterError(f"a result is named by letters, digits and _, 80 at most; got {name[:100]!r}")
        if not isinstance(value, np.ndarray):
            _json(name, value)
    arrays = {name: value for name, value in quantities.items() if isinstance(value, np.ndarray)}
    encoded = {name: npy_bytes(name, array) for name, array in arrays.items()}
    plain = quantities | {name: npy_record(f"{name}.npy", arrays[name], content) for name, content in encoded.items()}
    text = json.dumps(plain, allow_nan=False, ensure_ascii=False, indent=1)
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        for name, content in encoded.items():
            write_whole(Path(folder) / f"{name}.npy", content)
        write_whole(Path(folder) / RESULTS, text.encode())  # last: what it names is there
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in json.loads(text).items())
    display({RESULT_MIME: json.loads(text), "text/plain": "\n".join(lines)}, raw=True)


def _json(name: str, value: Any) -> None:
    """Raise unless a value is all that JSON holds, and will be read back from it."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"the result {name!r} must be of finite numbers, texts, lists, dicts, or an array: {error}"
        ) from None


def npy_bytes(name: str, array: np.ndarray) -> bytes:
    """Return an array as a ``.npy`` file; ParameterError unless it is of finite numbers."""
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ParameterError(f"the result {name!r} must be of finite numbers; got {array.dtype} {array.shape}")
    file = io.BytesIO()
    np.save(file, np.asarray(array, order="C"), allow_pickle=False)  # ascontiguousarray makes a list of a scalar
    return file.getvalue()


def npy_record(file_name: str, array: np.ndarray, content: bytes) -> Results:
    """Say what stands in a record for an array that is kept in a file."""
    digest = hashlib.sha256(content).hexdigest()
    return {ARRAY: file_name, "sha256": digest, "dtype": str(array.dtype), "shape": list(array.shape)}


def read_results(folder: str | os.PathLike) -> Results:
    """Read what `record` wrote, arrays in their places.

    Raises
    ------
    ParameterError
        If there is no record, or an array is not the one that was recorded.
    """
    path = Path(folder) / RESULTS
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return {name: read_npy(Path(folder), value) if _is_array(value) else value for name, value in plain.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ParameterError(f"{path} cannot be read: {error}. Run the notebook again") from None


def _is_array(value: Any) -> bool:
    return isinstance(value, dict) and ARRAY in value and "sha256" in value


def read_npy(folder: Path, told: Mapping[str, Any], known: str = "was recorded") -> np.ndarray:
    """Read the array that a record tells of; ValueError if it is not the one that is `known`."""
    path = folder / Path(told[ARRAY]).name
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != told["sha256"]:
        raise ValueError(f"{path.name} is not the array that {known}")
    return np.load(io.BytesIO(content), allow_pickle=False)


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
