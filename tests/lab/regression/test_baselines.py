"""Baselines: tolerances from measured noise, and none that hides a fault."""

import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musetools import ParameterError
from musetools.lab.regression.baselines import Baseline, Deviation, Quantity, compared

EXACT = {
    "an int": 3,
    "a bool": True,
    "a text": "é",
    "none": None,
    "texts": ["a", ["b"]],
    "ints": np.arange(4),
    "empty": [],
}
FLOATS = {
    "float": 0.5,
    "negative": -1e-12,
    "float32": np.linspace(-1, 1, 9, dtype=np.float32),
    "float16": np.ones(3, np.float16),
}


# --- one quantity


@pytest.mark.parametrize("value", [*EXACT.values(), *FLOATS.values(), np.zeros((0, 3)), 0.0])
def test_what_is_equal_passes(value):
    wanted = Quantity.measured("x", [value, value])
    found = compared("x", wanted, value)
    assert replace(found, measured="", expected="") == Deviation("x", 0.0, wanted.tolerance)
    assert found.measured == found.expected
    assert wanted.noise == 0


@pytest.mark.parametrize("value", FLOATS.values(), ids=FLOATS)
def test_a_float_without_noise_may_be_off_by_rounding_and_no_more(value):
    wanted = Quantity.measured("x", [value])
    size = np.abs(np.asarray(value, np.float64)).max()
    assert wanted.tolerance == pytest.approx(1e-5 * size)
    assert not compared("x", wanted, value + value * 0.01).ok


@given(st.floats(1, 2), st.floats(1e-6, 9e-3))
def test_the_tolerance_is_ten_times_the_noise(value, noise):
    wanted = Quantity.measured("x", [value, value + noise, value - noise / 2])
    assert wanted.noise == pytest.approx(noise, rel=1e-6)
    assert wanted.tolerance == pytest.approx(max(10 * noise, 1e-5 * value), rel=1e-6)
    assert compared("x", wanted, value + 0.99 * wanted.tolerance).ok
    far = compared("x", wanted, value + 1.01 * wanted.tolerance)
    assert not far.ok
    assert "is off by" in far.fault
    assert far.share == pytest.approx(1.01)


OTHERS = {
    "float for int": (3, 3.0, "is float64, was int64"),
    "int for float": (3.0, 3, "is int64, was float64"),
    "bool for int": (1, True, "is bool, was int64"),
    "float64 for float32": (np.ones(2, np.float32), np.ones(2), r"is float64 \(2,\), was float32"),
    "float16 for float32": (np.ones(2, np.float32), np.ones(2, np.float16), r"is float16 \(2,\), was float32"),
    "another shape": (np.ones((2, 3)), np.ones((3, 2)), r"is float64 \(3, 2\), was float64 \(2, 3\)"),
    "a broadcast shape": (np.ones((2, 3)), np.ones(3), r"is float64 \(3,\), was float64 \(2, 3\)"),
    "a number for one in a list": (np.ones(1), 1.0, r"is float64, was float64 \(1,\)"),
    "a longer one": (np.ones(2), np.ones(3), r"is float64 \(3,\), was float64 \(2,\)"),
    "NaN": (1.0, float("nan"), "holds NaN or infinity"),
    "one NaN in many": (np.ones(3), np.array([1, np.nan, 1]), "holds NaN or infinity"),
    "infinity": (1.0, float("inf"), "holds NaN or infinity"),
    "text for number": (1.0, "1.0", "is '1.0', was 1.0"),
    "None for number": (1.0, None, "is None, was 1.0"),
    "another text": ("a", "b", "is 'b', was 'a'"),
    "an int that is off by one": (3, 4, "is off by 1"),
    "a bool": (True, False, "is off by 1"),
    "one bool in many": (np.array([True, True]), np.array([True, False]), "is off by 1"),
    "one int in many": (np.arange(5), np.array([0, 1, 2, 3, 5]), "is off by 1"),
    "a large int that is off by one": (2**60, 2**60 + 1, "is off by 1"),
    "large ints that are off by one": (np.array([2**62]), np.array([2**62 + 1]), "is off by 1"),
    "an int beyond 64 bits": (2**70, 2**70 + 1, "is 118"),
    "unsigned ints": (np.array([0], np.uint64), np.array([1], np.uint64), "is off by 1"),
}


@pytest.mark.parametrize(("was", "now", "fault"), OTHERS.values(), ids=OTHERS)
def test_what_differs_is_a_fault(was, now, fault):
    deviation = compared("x", Quantity.measured("x", [was, was]), now)
    assert not deviation.ok
    assert re.search(fault, deviation.fault), deviation.fault
    assert deviation.share > 1


def test_a_long_value_is_shortened():
    assert len(compared("x", Quantity("a" * 5000), "b" * 5000).fault) < 200


UNFIT = {
    "NaN": Quantity(float("nan")),
    "an array with NaN": Quantity(np.array([1, np.nan])),
    "infinity": Quantity(float("inf"), 1.0),
    "a tolerance that is NaN": Quantity(1.0, float("nan")),
    "a tolerance that is infinite": Quantity(1.0, float("inf")),
    "a negative tolerance": Quantity(1.0, -0.1),
    "a tolerance as large as the signal": Quantity(1.0, 1.0),
    "a tolerance of a fifth": Quantity(np.array([0.0, -1.0]), 0.2),
    "a tolerance over zero": Quantity(0.0, 1e-9),
    "a tolerance over nothing": Quantity(np.zeros(0), 1e-9),
    "a tolerance over text": Quantity("a", 0.1),
    "a tolerance over an int": Quantity(3, 1),
    "a tolerance over a bool": Quantity(True, 1),
}


@pytest.mark.parametrize("quantity", UNFIT.values(), ids=UNFIT)
def test_a_baseline_that_would_hide_a_fault_is_refused(quantity):
    with pytest.raises(ParameterError, match=r"x .*(NaN or infinity|would hide)"):
        quantity.checked("x")


def test_noise_as_large_as_the_signal_is_refused():
    with pytest.raises(ParameterError, match=r"would hide faults.*let the case ignore it"):
        Quantity.measured("x", [1.0, 1.02])


@pytest.mark.parametrize(
    ("first", "second"), [(1, 2), ("a", "b"), (True, False), (np.arange(2), np.arange(3)), (1.0, "a")]
)
def test_what_must_be_equal_differs_between_runs(first, second):
    with pytest.raises(ParameterError, match="x differs between runs"):
        Quantity.measured("x", [first, second])


# --- a baseline

RESULTS = {
    "n": 3,
    "verdict": "same",
    "lag": {"live": [0.5, -1.0], "text": "a"},
    "chunk": np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32),
    "small": np.arange(6, dtype=np.int16).reshape(2, 3),
    "took_s": 1.0,
}


@pytest.fixture
def saved(tmp_path):
    """A baseline on disk, made of two runs that differ in what is ignored."""
    path = tmp_path / "case-fps=29.97.json"
    made = Baseline.of_runs([RESULTS, RESULTS | {"took_s": 2.0}], ["took_*"], "over two runs", 12.34)
    made.save(path)
    return path


def faults(path, results, ignore=("took_*",)) -> dict[str, str]:
    return {d.quantity: d.fault for d in Baseline.load(path).compare(results, ignore) if not d.ok}


def test_a_saved_baseline_is_the_same_when_it_is_loaded(saved):
    back = Baseline.load(saved)
    assert (back.measured, back.seconds) == ("over two runs", 12.3)
    assert list(back.quantities) == ["n", "verdict", "lag/live", "lag/text", "chunk", "small"]
    np.testing.assert_array_equal(back.quantities["chunk"].value, RESULTS["chunk"])
    assert back.quantities["small"].value.dtype == np.int16
    assert faults(saved, RESULTS) == {}
    assert sorted(path.name for path in saved.parent.iterdir()) == ["case-fps=29.97.chunk.npy", saved.name]


def test_each_large_array_has_a_file_of_its_own(tmp_path):
    results = {"x": {"a": {"b": [*range(99)]}, "a.b": [*range(100)], "a%2Fb": [*range(101)]}}
    Baseline.of_runs([results], [], "", 1.0).save(tmp_path / "case.json")
    assert all(one.ok for one in Baseline.load(tmp_path / "case.json").compare(results, []))


CHANGES = {
    "a quantity that is missing": ({"n": ...}, {"n": "is missing"}),
    "a quantity that is new": ({"more": 1}, {"more": "is new: it has no baseline"}),
    "one that was renamed": (
        {"verdict": ..., "category": "same"},
        {"verdict": "is missing", "category": "is new: it has no baseline"},
    ),
    "a part that is missing": ({"lag": {"text": "a"}}, {"lag/live": "is missing"}),
    "another type": ({"n": "3"}, {"n": "is '3', was 3"}),
    "another dtype": (
        {"chunk": RESULTS["chunk"].astype(np.float16)},
        {"chunk": "is float16 (4, 50), was float32 (4, 50)"},
    ),
    "another value": ({"small": RESULTS["small"] + np.int16(1)}, {"small": "is off by 1, allowed is 0"}),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_a_fault(saved, change, expected):
    assert faults(saved, {name: value for name, value in (RESULTS | change).items() if value is not ...}) == expected


def test_what_is_ignored_may_be_anything(saved):
    assert faults(saved, RESULTS | {"took_s": "long", "took_more": float("nan")}) == {}
    assert faults(saved, RESULTS, ignore=()) == {"took_s": "is new: it has no baseline"}
    # what a baseline still holds is asked for, though the case ignores it by now
    assert faults(saved, RESULTS, ignore=("took_*", "lag/*")) == {"lag/live": "is missing", "lag/text": "is missing"}


def test_runs_that_record_different_quantities():
    with pytest.raises(ParameterError, match="different quantities: b"):
        Baseline.of_runs([{"a": 1}, {"a": 1, "b": 2}], [], "", 1.0)
    assert list(Baseline.of_runs([{"a": 1}, {"a": 1, "b": 2}], ["b"], "", 1.0).quantities) == ["a"]


@pytest.mark.parametrize("runs", [[{"a": float("nan")}], [{"a": float("nan")}] * 2, [{"a": [1.0, float("inf")]}] * 2])
def test_runs_with_nan(runs):
    with pytest.raises(ParameterError, match=r"a .*NaN or infinity"):
        Baseline.of_runs(runs, [], "", 1.0)


def edited(path, change) -> None:
    plain = json.loads(path.read_text(encoding="utf-8"))
    change(plain)
    path.write_text(json.dumps(plain), encoding="utf-8")


def setting(name, **values):
    return lambda plain: plain["quantities"][name].update(values)


EDITS = {
    "another format": (lambda plain: plain.update(format=2), "format is not what is expected: 2"),
    "no quantities": (lambda plain: plain.pop("quantities"), "'quantities' is missing"),
    "quantities of another type": (lambda plain: plain.update(quantities=[1]), "quantities is not what is expected"),
    "no tolerance": (lambda plain: plain["quantities"]["n"].pop("tolerance"), "quantities.n is not"),
    "NaN": (setting("lag/live", value=[float("nan"), 1.0]), "NaN is no JSON"),
    "a tolerance that is NaN": (setting("lag/live", tolerance=float("nan")), "NaN is no JSON"),
    "a tolerance that hides": (setting("chunk", tolerance=1.0), "of chunk would hide"),
    "a tolerance that is text": (setting("chunk", tolerance="0.1"), "quantities.chunk is not"),
    "a tolerance that is null": (setting("chunk", tolerance=None), "quantities.chunk is not"),
    "another dtype": (setting("chunk", dtype="float64"), "float32.*instead of float64"),
    "another shape": (setting("small", shape=[4, 2]), "cannot reshape"),
    "values of another type": (setting("lag/live", dtype="int64"), "its values are no int64"),
    "a time that is text": (lambda plain: plain.update(seconds="9"), "seconds is not"),
    "another hash": (setting("chunk", sha256="0" * 64), "is not the array that the baseline was made with"),
    "a file that is not there": (setting("chunk", npy="gone.npy"), "gone.npy"),
    "a file elsewhere": (setting("chunk", npy="../../gone.npy"), "gone.npy"),
}


@pytest.mark.parametrize(("edit", "sentence"), EDITS.values(), ids=EDITS)
def test_a_baseline_that_was_edited_or_damaged(saved, edit, sentence):
    edited(saved, edit)
    with pytest.raises(ParameterError, match=sentence):
        Baseline.load(saved)


@pytest.mark.parametrize("content", ["", "[]", "null", "5", '{"format": 1', '"a"'])
def test_a_file_that_is_no_baseline(tmp_path, content):
    (tmp_path / "case.json").write_text(content)
    with pytest.raises(ParameterError, match=r"no baseline .*case\.json that can be used.*--update"):
        Baseline.load(tmp_path / "case.json")


def test_no_baseline(tmp_path):
    with pytest.raises(
        ParameterError, match=r"no baseline .*case\.json .*FileNotFoundError.*musetools regress --update makes it"
    ):
        Baseline.load(tmp_path / "case.json")


def test_an_array_with_a_pickle_in_it(saved):
    array = saved.with_name("case-fps=29.97.chunk.npy")
    np.save(array, np.array([None]), allow_pickle=True)
    edited(saved, setting("chunk", sha256=hashlib.sha256(array.read_bytes()).hexdigest()))
    with pytest.raises(ParameterError, match="array cannot be read"):
        Baseline.load(saved)
