"""record: results in the last cell and on disk, whole, finite, and the same when they are read back."""

import hashlib
import json

import numpy as np
import pytest

from musetools import MusetoolsError, OutputError, ParameterError
from musetools.lab import record as results
from musetools.lab.record import FOLDER_VARIABLE, RESULT_MIME, flat, read_results, record


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in which a run wants its results."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "a {b} é"))
    (tmp_path / "a {b} é").mkdir()
    return tmp_path / "a {b} é"


@pytest.fixture
def shown(monkeypatch) -> list:
    """What is displayed."""
    every = []
    monkeypatch.setattr(results, "display", lambda data, raw: every.append(data))
    return every


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


def test_what_is_recorded_is_read_back(folder, shown):
    record(**PLAIN, **ARRAYS)
    back = read_results(folder)
    assert list(back) == [*PLAIN, *ARRAYS]
    assert {name: back[name] for name in PLAIN} == PLAIN
    assert [type(back[name]) for name in PLAIN] == [type(value) for value in PLAIN.values()]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape


def test_what_is_shown_is_what_is_written(folder, shown):
    record(n=3, rows=np.arange(4.0))
    (data,) = shown
    written = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert data[RESULT_MIME] == written
    assert "n: 3" in data["text/plain"]
    content = (folder / "rows.npy").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert written["rows"] == {"npy": "rows.npy", "sha256": digest, "dtype": "float64", "shape": [4]}


def test_without_a_run_nothing_is_written(tmp_path, monkeypatch, shown):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    record(n=3, rows=np.arange(4.0))
    assert shown
    assert not list(tmp_path.iterdir())


REFUSED = {
    "NaN": float("nan"),
    "infinity": -float("inf"),
    "NaN in a list": [1, [float("nan")]],
    "NaN in a dict": {"a": {"b": float("nan")}},
    "NaN in an array": np.array([0, np.nan], np.float32),
    "infinity in float16": np.array([70_000]).astype(np.float64) * np.array([np.inf]),
    "complex": np.array([1j]),
    "objects": np.array([None]),
    "texts": np.array(["a"]),
    "dates": np.array(["2026-01-01"], "datetime64[D]"),
    "numpy scalar": np.float32(1),
    "array in a dict": {"a": np.arange(3)},
    "set": {1},
    "bytes": b"a",
    "half a letter": "\ud800",
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_a_value_that_is_refused_is_named_and_leaves_the_old_results(folder, shown, value):
    record(ours=1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ParameterError, match=r"'bad'.*finite"):
        record(ours=2, rows=np.arange(3), bad=value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len(shown) == 1


def test_a_list_that_holds_itself(folder, shown):
    endless = []
    endless.append(endless)
    with pytest.raises(ParameterError, match="'bad'"):
        record(bad=endless)


@pytest.mark.parametrize("name", ["../escaped", "a/b", "/tmp/escaped", "a\0b", "x" * 300, "", "é"])
def test_a_name_that_is_none(folder, shown, name):
    with pytest.raises(ParameterError, match="named by letters"):
        record(**{name: np.arange(3)})
    assert not list(folder.iterdir())
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_folder_that_is_gone(folder, shown):
    folder.rmdir()
    with pytest.raises(OutputError, match="does not exist"):
        record(n=3)
    assert not shown


@pytest.fixture
def written(folder, shown):
    """The folder of a record with an array."""
    record(n=3, rows=np.arange(4.0))
    return folder


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def pickled(path) -> None:
    np.save(path, np.array([None]), allow_pickle=True)


DAMAGE = {
    "no record": ("results.json", lambda path: path.unlink()),
    "half a record": ("results.json", truncate),
    "a list": ("results.json", lambda path: path.write_text("[1]")),
    "no array": ("rows.npy", lambda path: path.unlink()),
    "half an array": ("rows.npy", truncate),
    "a pickle": ("rows.npy", pickled),
    "another array": ("rows.npy", lambda path: np.save(path, np.ones(4))),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_refused(written, name, damage):
    damage(written / name)
    with pytest.raises(MusetoolsError, match=r"cannot be read.*Run the notebook again"):
        read_results(written)


def test_an_array_outside_of_the_folder_is_not_read(written):
    told = json.loads((written / "results.json").read_text())
    (written / "rows.npy").rename(written.parent / "rows.npy")
    told["rows"]["npy"] = "../rows.npy"
    (written / "results.json").write_text(json.dumps(told))
    with pytest.raises(ParameterError, match="cannot be read"):
        read_results(written)


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
