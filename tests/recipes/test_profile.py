"""Lag and drift from index matrices, against a slow loop and against what is known (FACTS section 2)."""

import re
from dataclasses import astuple

import numpy as np
import pytest

from musetools import RECIPES
from musetools.recipes.profile import WindowLag, profile, window_lag
from musetools.timing import exact_fps

RATE = 16_000


def slow_lag(rows: np.ndarray, fps: float, first_frame: int) -> dict[float, float]:
    """Work out each interior frame's lag by its time in s, one row at a time, in exact numbers."""
    real = [[row for row in line if row != -1] for line in rows.tolist()]
    most = max(map(len, real))
    found = {}
    for frame, line in enumerate(real, first_frame):
        if len(line) == most and line == list(range(line[0], line[0] + most)):
            start = frame / exact_fps(fps)
            found[float(start)] = float(20 * sum(line) / exact_fps(most) - 1000 * start - 10)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_window_lag_is_that_of_its_rows(name):
    runs = [fps for fps in (15, 24, 25, 29.97, 30, 50, 60) if not profile(name, 13 * RATE, fps).stops]
    for fps in runs:
        first, rows = RECIPES[name].first_frame(13 * RATE, fps), RECIPES[name].chunk_rows(13 * RATE, fps)
        times, lags = map(np.array, zip(*slow_lag(rows, fps, first).items(), strict=True))
        away = times - times.mean()
        drift = (away * lags).sum() / (away**2).sum()
        found = astuple(window_lag(rows, fps, first_frame=first))
        np.testing.assert_allclose(found, [lags.mean(), lags.min(), lags.max(), drift], atol=1e-6)


def test_a_matrix_without_an_interior():
    for rows in (np.empty((0, 10), int), np.zeros((5, 10), int)):
        found = window_lag(rows, 25)
        assert np.isnan([found.mean_ms, found.min_ms, found.max_ms]).all()
        assert found.drift_ms_s == 0
    assert window_lag(np.arange(10)[None], 25, first_frame=2) == WindowLag(0, 0, 0, 0)


V1_LAG = {25: "0", 24: "0…−18", 23.976: "0…−20", 29.97: "0…−20", 30: "0…−13", 50: "0", 60: "0…−17", 20: "0…−10"}
LAGS = {
    "musetalk-v1-infer": V1_LAG | {15: "0…−13"},
    "latentsync": V1_LAG | {15: "0…−13"},
    "musetools": V1_LAG | {15: "0…−13"},
    "musetalk-v1.5-infer": {
        25: "0",
        24: "−40…−58",
        30: "0…−13",
        50: "stops",
        60: "stops",
        20: "−40…−50",
        15: "−80…−93",
    },
}


@pytest.mark.parametrize("name", LAGS)
def test_lags_are_those_of_the_table(name):
    for fps, text in LAGS[name].items():
        found = profile(name, fps=fps)
        assert found.lag_text() == text
        numbers = [int(n.replace("−", "-")) for n in re.findall(r"[+−]?\d+", text)]
        assert bool(found.stops) == (not numbers)
        if numbers:
            assert [found.lag.min_ms, found.lag.max_ms] == pytest.approx([min(numbers), max(numbers)], abs=0.6)
            assert not found.drifts


@pytest.mark.parametrize("fps", [*range(5, 50), 24.97, 29.97])
def test_v15s_constant_part_has_a_formula(fps):
    expected = 20 * (4 - 2 * -(-50 // int(fps)))
    assert profile("musetalk-v1.5-infer", fps=fps).start_lag_ms == pytest.approx(expected, abs=1)


def test_a_profile_with_zeros_in_every_chunk():
    """MuseTalkPlus never loads the last neighbour: the middle of what it loads is a row, 20 ms, earlier."""
    found = profile("musetalkplus-train")
    assert (found.lag.min_ms, found.lag.max_ms) == pytest.approx((-20, -20))
    assert not found.drifts
    assert found.lag_text() == "−20"


def test_a_profile_without_any_lag():
    """Two frames: training drops both."""
    found = profile("musetalk-v1-train", 1280)
    assert (found.stops, len(found.rows)) == ("", 0)
    assert np.isnan([found.lag.mean_ms, found.lag.min_ms, found.lag.max_ms]).all()
    assert found.start_lag_ms is None
    assert not found.drifts
    assert found.lag_text() == "–"


def test_a_profile_of_what_stops():
    found = profile("musetalk-v1.5-infer", fps=50)
    assert found.stops.startswith("musetalk-v1.5-infer stops")
    assert (len(found.rows), list(found.frames), found.edge_frames, found.zero_rows) == (0, [], 0, 0)
    assert np.isnan([found.lag.mean_ms, found.lag.min_ms, found.lag.max_ms]).all()
    assert found.start_lag_ms is None
    assert found.lag_text() == "stops"


@pytest.mark.parametrize("n_samples", [640, 1280, 3840, 4480])
def test_profiles_of_very_short_clips(n_samples):
    """No frame inside, one, or two: too few for a slope."""
    for name in RECIPES:
        found = profile(name, n_samples)
        assert not found.drifts
        assert found.lag_text()
        assert (found.start_lag_ms is None) == (len(found.interior) == 0)


def test_drift_is_no_staircase_and_no_jump():
    """Lag that steps by whole rows, or jumps by 30 s, does not drift."""
    assert not profile("musetools", fps=29.97).drifts
    assert not profile("musetalk-v1.5-train").drifts
    assert profile("musetalk-v1-train", fps=30).lag.drift_ms_s == pytest.approx(200, abs=0.1)
