"""Delay and drift of a prediction are found, whatever they are."""

import math

import numpy as np
import pytest

from musetools import ParameterError
from musetools.lab.effect.delay import measure_delay


def truth_at(times_s: np.ndarray) -> np.ndarray:
    """Something that moves like a mouth, at any instant."""
    rng = np.random.default_rng(3)
    waves = [np.sin(2 * math.pi * (rate * times_s + phase)) for rate, phase in rng.uniform(0.3, 6, (12, 2))]
    return np.sum(waves, axis=0)


@pytest.mark.parametrize(
    ("delay_ms", "drift"), [(-1500, -40), (-80, 0), (-3.3, 33), (0, 1), (7.7, 0), (200, 33), (2000, -40)]
)
def test_delay_and_drift_are_found(delay_ms, drift):
    times = np.arange(1500) / 25
    moved = times - delay_ms / 1000 - drift / 1000 * (times - times.mean())
    noise = np.random.default_rng(4).normal(0, 1, len(times))
    found = measure_delay(truth_at(moved) + noise, times, truth_at)
    assert found.ms == pytest.approx(delay_ms, abs=4)
    assert found.drift_ms_s == pytest.approx(drift, abs=0.3)
    assert found.correlation > 0.8
    line = delay_ms + drift * (found.windows_s - times.mean())
    assert np.median(np.abs(found.windows_ms - line)) < 5 + 2 * abs(drift)  # a stretch of 6 s drifts within itself


def test_a_short_clip_has_a_delay_but_no_drift():
    times = np.arange(100) / 25
    found = measure_delay(truth_at(times - 0.06), times, truth_at)
    assert (round(found.ms), found.drift_ms_s) == (60, 0)


STILL, RISING = np.zeros(100), np.arange(100.0)


@pytest.mark.parametrize(
    ("prediction", "times"),
    [(STILL, RISING / 25), (RISING[:10], RISING[:10] / 25), (RISING[:0], RISING[:0])],
    ids=["still", "short", "empty"],
)
def test_what_has_no_delay(prediction, times):
    with pytest.raises(ParameterError, match="2 s or more"):
        measure_delay(prediction, times, truth_at)
