"""record: results in the last cell, whole, finite, and the same when they are read back."""

import base64
import json

import nbformat
import numpy as np
import pytest

from musetools import ParameterError
from musetools.lab import record as results
from musetools.lab.record import RESULT_MIME, flat, npy_bytes, read_results, record


@pytest.fixture
def shown(monkeypatch) -> list:
    """What is displayed."""
    every = []
    monkeypatch.setattr(results, "display", lambda data, raw: every.append(data))
    return every


def executed(*records, error: bool = False) -> nbformat.NotebookNode:
    """Make a notebook whose last cell shows these records."""
    outputs = [nbformat.v4.new_output("display_data", {RESULT_MIME: one, "text/plain": ""}) for one in records]
    if error:
        outputs.append(nbformat.v4.new_output("error", ename="SystemExit", evalue="0", traceback=[]))
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("record()", outputs=outputs)])


PLAIN = {
    "n": 3,
    "x": 0.1 + 0.2,
    "text": "é\n{}",
    "yes": True,
    "none": None,
    "many": [1, 2.5, [3]],
    "by": {"a/b": {"c": -0.0}},
}
ARRAYS = {
    "float32": np.linspace(0, 1, 7, dtype=np.float32),
    "float16": np.ones((2, 0, 3), np.float16),
    "big_endian": np.arange(5, dtype=">i4"),
    "bools": np.array([True, False]),
    "scalar": np.array(2.5),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every_second": np.arange(10)[::2],
    "unsigned": np.array([2**64 - 1], np.uint64),
}


@pytest.mark.parametrize("as_path", [True, False])
def test_what_is_recorded_is_read_back(tmp_path, shown, as_path):
    record(**PLAIN, **ARRAYS)
    book = executed(shown[0][RESULT_MIME])
    nbformat.write(book, tmp_path / "a {b} é.ipynb")
    back = read_results(tmp_path / "a {b} é.ipynb" if as_path else book)
    assert back.keys() == {*PLAIN, *ARRAYS}
    assert {name: back[name] for name in PLAIN} == PLAIN
    assert [type(back[name]) for name in PLAIN] == [type(value) for value in PLAIN.values()]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape


def test_what_people_read_has_no_base64(shown):
    record(n=3, rows=np.arange(4.0), verdict="über", passed=True)
    (data,) = shown
    lines = ["n: 3", "rows: array of float64, shape (4,)", 'verdict: "über"', "passed: true"]
    assert data["text/plain"].splitlines() == lines
    assert data[RESULT_MIME]["rows"].keys() == {"npy", "dtype", "shape"}


REFUSED = {
    "infinity": -float("inf"),
    "NaN in a list in a dict": {"a": [1, [float("nan")]]},
    "NaN in an array": np.array([0, np.nan], np.float32),
    "complex": np.array([1j]),
    "objects": np.array([None]),
    "numpy scalar": np.float32(1),
    "array in a dict": {"a": np.arange(3)},
    "half a letter": "\ud800",
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_a_value_that_is_refused_is_named_and_nothing_is_shown(shown, value):
    with pytest.raises(ParameterError, match="'bad'"):
        record(ours=2, rows=np.arange(3), bad=value)
    assert not shown


@pytest.mark.parametrize("name", ["../escaped", "a\0b", "x" * 300, "", "é"])
def test_a_name_that_is_none(shown, name):
    with pytest.raises(ParameterError):
        record(**{name: np.arange(3)})
    assert not shown


def stored(content: bytes, dtype: str = "float64", shape: object = (4,)) -> dict:
    npy = base64.b64encode(content).decode()
    return {"rows": {"npy": npy, "dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape}}


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00v\x00" + text.encode().ljust(117) + b"\n"


GOOD = npy_bytes("rows", np.arange(4.0))
FORGED = {
    "half an array": stored(GOOD[:-3]),
    "an empty array": stored(b""),
    "a pickle": stored(header("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }") + b"cos\nsystem\n"),
    "an archive": stored(b"PK\x03\x04" + bytes(60)),
    "a deep header": stored(header("(" * 110)),
    "10**12 numbers": stored(header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }")),
    "another type": stored(GOOD, dtype="float32"),
    "another shape": stored(GOOD, shape=(2, 2)),
    "no shape": stored(GOOD, shape=None),
    "NaN in an array": stored(GOOD[:-8] + np.array(np.nan).tobytes()),
    "no base64": {"rows": {"npy": "§", "dtype": "float64", "shape": [4]}},
    "a number for base64": {"rows": {"npy": 5, "dtype": "float64", "shape": [4]}},
    "NaN": {"x": float("nan")},
    "a list": [1],
    "a name with a path": {"../x": 1},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_record_is_refused(forged):
    with pytest.raises(ParameterError):
        read_results({"cells": [{"outputs": [{"output_type": "display_data", "data": {RESULT_MIME: forged}}]}]})


def test_two_results_of_one_flat_name_are_refused():
    with pytest.raises(ParameterError, match="two results would be called 'lag/a/b'"):
        record(lag={"a/b": 1, "a": {"b": 2}})


def test_a_result_with_the_keys_of_an_array_is_refused():
    with pytest.raises(ParameterError, match="has the keys of an array"):
        record(a={"npy": "x", "dtype": "y", "shape": [1]})


def test_a_last_cell_that_stopped_after_its_record():
    assert read_results(executed({"n": 1}, {"n": 2})) == {"n": 2}
    with pytest.raises(ParameterError):
        read_results(executed({"n": 1}, error=True))


HALF = json.dumps(executed({"n": 1}))[:-5]
NO_RESULTS = ["", HALF, "[]", '{"cells": []}', '{"cells": [5]}', '{"cells": [{}]}', "\xff", None]


@pytest.mark.parametrize("content", NO_RESULTS, ids=range(len(NO_RESULTS)))  # cells have random ids
def test_a_file_without_results(tmp_path, content):
    if content is not None:
        (tmp_path / "n.ipynb").write_bytes(content.encode("latin-1"))
    with pytest.raises(ParameterError, match=r"n\.ipynb"):
        read_results(tmp_path / "n.ipynb")


def test_flat_names():
    given = {
        "a": {"b": {"c": 1}, "d": [1, 2]},
        "e": [[1.0, 2], [3, 4]],
        "f": [[1], [2, 3]],
        "g": ["x"],
        "h": [],
        "i": {},
    }
    found = dict(flat(given))
    assert list(found) == ["a/b/c", "a/d", "e", "f/0", "f/1", "g", "h"]
    np.testing.assert_array_equal(found["a/d"], [1, 2])
    assert found["e"].dtype == np.float64
    np.testing.assert_array_equal(found["f/1"], [2, 3])
    assert (found["g"], found["h"]) == (["x"], [])
