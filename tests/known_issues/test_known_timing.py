"""Known defects that put chunks at the wrong time, or miscount them; ids are those of FACTS section 3."""

import math

import numpy as np
import pytest

from musetools import RECIPES, RecipeError
from musetools.recipes.profile import profile

SECOND, MINUTE = 16_000, 60 * 16_000
OURS, V15 = RECIPES["musetools"], RECIPES["musetalk-v1.5-infer"]


@pytest.mark.parametrize(("fps", "drift"), [(29.97, 33.4), (23.976, 42.4), (24.97, 40.4)])
def test_k7_int_fps_drifts(fps, drift):
    published, ours = profile(V15, MINUTE, fps), profile(OURS, MINUTE, fps)
    assert published.lag.drift_ms_s == pytest.approx(drift, abs=0.1)
    assert published.lag.drift_ms_s == pytest.approx(1000 * (fps / int(fps) - 1), abs=0.2)
    assert not ours.drifts
    assert -20 < ours.lag.min_ms <= ours.lag.max_ms < 0.1


def test_k7_at_2997_audio_is_two_seconds_early_after_a_minute():
    published, ours = profile(V15, MINUTE, 29.97), profile(OURS, MINUTE, 29.97)
    assert 1900 < published.lag_ms[published.interior[-1]] < 1950
    assert len(published.rows) == 60 * 29
    assert len(ours.rows) == math.floor(60 * 30_000 / 1001)


def test_k7_at_5994_where_it_runs():
    """With the usual context it stops at 50 fps and above (K9); a frame more of look-ahead gets it past that."""
    assert profile(V15, MINUTE, 59.94, (2, 3)).lag.drift_ms_s == pytest.approx(1000 * (59.94 / 59 - 1), abs=0.2)
    assert not profile(OURS, MINUTE, 59.94, (2, 3)).drifts


@pytest.mark.parametrize(
    ("fps", "context", "shift_ms"),
    [
        *((fps, (2, 2), -80) for fps in (13, 15, 16)),
        *((fps, (2, 2), -40) for fps in (17, 20, 24)),
        *((fps, (2, 2), 0) for fps in (25, 30, 48, 49)),
        *((fps, (2, 3), 40) for fps in (50, 60)),  # K9 again
    ],
)
def test_k8_padding_shifts_the_chunk(fps, context, shift_ms):
    published, ours = (recipe.chunk_rows(10 * SECOND, fps, context) for recipe in (V15, OURS))
    lines = slice(20, -20)  # away from the edges
    np.testing.assert_array_equal(20 * (published[lines] - ours[lines]), shift_ms)
    assert shift_ms == 20 * (4 - 2 * math.ceil(50 / fps))
    assert profile(OURS, 10 * SECOND, fps).start_lag_ms == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("n_samples", "fps"), [(SECOND, 50), (MINUTE, 59.94), (MINUTE, 60), (640, 25), (959, 25)])
def test_k9_the_process_ends(n_samples, fps):
    with pytest.raises(RecipeError, match=r"musetalk-v1\.5-infer stops") as caught:
        V15.chunk_rows(n_samples, fps)
    assert caught.value.original is SystemExit
    assert len(OURS.chunk_rows(n_samples, fps)) == math.floor(n_samples * fps / SECOND)


def lost(step: int, rate: int, seconds: int) -> list[int]:
    """Lengths, of all that are a whole number of steps, of which floats lose the last."""
    lengths = range(step, seconds * SECOND + 1, step)
    return [n for n in lengths if math.floor((n / SECOND) * rate) < n // step]


def test_k10_floats_lose_a_row():
    of_a_thousand_seconds = lost(320, 50, 1000)
    assert of_a_thousand_seconds[0] == 9280
    assert len(of_a_thousand_seconds) / 50_000 == pytest.approx(0.046, abs=0.0005)
    for n in of_a_thousand_seconds[:30]:
        assert V15.chunk_rows(n, 25).max() == n // 320 - 2
        assert OURS.chunk_rows(n, 25).max() == n // 320 - 1


def test_k10_floats_lose_a_frame():
    of_two_minutes = lost(640, 25, 120)
    assert of_two_minutes[0] == 18560
    assert len(of_two_minutes) / 3000 == pytest.approx(0.048, abs=0.0005)
    for n in of_two_minutes[:30]:
        assert len(V15.chunk_rows(n, 25)) == n // 640 - 1
        assert len(OURS.chunk_rows(n, 25)) == n // 640


@pytest.mark.parametrize("n_samples", [640, 1280, 9280, SECOND, 30 * SECOND + 5, MINUTE])
def test_k11_v1_returns_two_chunks_too_many(n_samples):
    for name in ("musetalk-v1-infer", "latentsync"):
        assert len(RECIPES[name].chunk_rows(n_samples, 25)) == n_samples // 640 + 2
    assert len(OURS.chunk_rows(n_samples, 25)) == n_samples // 640


def test_k14_livetalking_looks_80_ms_ahead():
    ahead, later, ours = (profile(name, MINUTE, 25) for name in ("livetalking-0-5", "livetalking", "musetools"))
    assert (ahead.lag.min_ms, ahead.lag.max_ms) == pytest.approx((80, 80))
    assert (later.lag.min_ms, later.lag.max_ms) == pytest.approx((0, 0))
    assert (ours.lag.min_ms, ours.lag.max_ms) == pytest.approx((0, 0))
    np.testing.assert_array_equal(ahead.rows[20], np.arange(40, 50))  # no row before the frame's start
    np.testing.assert_array_equal(ours.rows[20], np.arange(36, 46))
