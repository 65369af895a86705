"""Lag measured with clicks is that of the index matrix, and does not come from it."""

from dataclasses import replace

import numpy as np
import pytest

from musetools import RECIPES, ParameterError, audio2feat
from musetools.lab.alignment import MeasuredLag, lag, measure_lags
from musetools.recipes.profile import profile, window_lag

RATE = 16_000
FPS = (24, 25, 29.97)


@pytest.fixture(scope="module")
def encoded_once():
    """Encode each waveform once a spec: frame rates and most recipes differ in their chunks alone."""
    kept = {}

    def remembered(source, encoder, *, spec):
        key = source[0].tobytes(), spec
        if key not in kept:
            kept[key] = audio2feat(source, encoder, spec=spec)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lag, "audio2feat", remembered)
        yield


@pytest.mark.parametrize("fps", FPS)
@pytest.mark.parametrize("name", RECIPES)
def test_clicks_are_found_where_the_matrix_says(encoded_once, encoder, name, fps):
    seconds = 7 if name.startswith(("livetalking", "openavatarchat")) else 12
    found = measure_lags(encoder, fps, [name], seconds=seconds)
    if profile(name, seconds * RATE, fps).stops:
        assert not found
        return
    measured = found[name]
    first, rows = RECIPES[name].first_frame(seconds * RATE, fps), RECIPES[name].chunk_rows(seconds * RATE, fps)
    expected = [window_lag(rows[i - first][None], fps, first_frame=i).mean_ms for i in measured.frames]
    assert len(measured.frames) >= seconds - 2
    np.testing.assert_allclose(measured.expected_ms, expected)
    assert measured.mean_ms == pytest.approx(np.mean(expected), abs=10)
    assert measured.error_ms < 10


def test_features_are_made_once_for_each_way_to_make_them(monkeypatch, encoder):
    calls = []
    monkeypatch.setattr(lag, "audio2feat", lambda *a, **k: calls.append(k["spec"]) or audio2feat(*a, **k))
    measured = measure_lags(encoder, 29.97, seconds=4)
    assert list(measured) == [name for name in RECIPES if not profile(name, fps=29.97).stops]
    assert len(calls) == 2 * len(set(calls)) <= 10
    alone = measure_lags(encoder, 29.97, ["latentsync"], seconds=4)["latentsync"]
    np.testing.assert_array_equal(measured["latentsync"].lag_ms, alone.lag_ms)


def test_clicks_show_drift(encoded_once, encoder):
    (measured,) = measure_lags(encoder, 29.97, ["musetalk-v1.5-infer"]).values()
    slope = np.polyfit(measured.frames / 29.97, measured.lag_ms, 1)[0]
    assert slope == pytest.approx(33.4, abs=2)


def test_clicks_do_not_use_the_matrix(monkeypatch, encoder):
    """Features that come two rows late are 40 ms late, whatever the matrix says."""
    monkeypatch.setattr(lag, "audio2feat", lambda *a, **k: np.roll(audio2feat(*a, **k), 2, axis=0))
    (measured,) = measure_lags(encoder, 25, ["musetools"], seconds=6).values()
    assert measured.expected_ms.tolist() == [0] * len(measured.frames)
    assert measured.mean_ms == pytest.approx(-40, abs=3)
    assert measured.error_ms == pytest.approx(40, abs=3)


def test_a_recipe_of_ones_own(encoder):
    rows = 2 * np.arange(1, 140)[:, None] + np.arange(10) - 1  # three rows later than the published window
    early = replace(RECIPES["musetools"], name="early", cut=lambda n_samples, fps, context: (1, rows))
    assert measure_lags(encoder, 25, [early], seconds=6)["early"].mean_ms == pytest.approx(60, abs=3)


def test_clicks_that_cannot_be_found(encoder):
    with pytest.raises(ParameterError, match="no click found again in the chunks of musetools"):
        measure_lags(encoder, 25, ["musetools"], seconds=2)
    with pytest.raises(ParameterError, match="no recipe"):
        measure_lags(encoder, 25, ["nonesuch"])
    with pytest.raises(ParameterError, match="fps"):
        measure_lags(encoder, 0, ["musetools"], seconds=2)


def test_numbers_of_a_measurement():
    measured = MeasuredLag(np.array([3, 9]), np.array([1.0, -4.0]), np.array([0.0, 1.0]))
    assert (measured.mean_ms, measured.error_ms) == (-1.5, 5)
