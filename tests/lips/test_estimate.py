"""The offset between mouth and sound: of made-up mouths that are known to be late, of wrong sound, of real people."""

from dataclasses import replace

import numpy as np
import pytest

from musetools import ParameterError, load_audio, load_encoder
from musetools.lips import MouthModel, MouthSeries, expected_mouth, lip_sync
from musetools.lips.estimate import match
from musetools.timing import ROW_RATE

GUMBEL = {"mu": 0.46, "beta": 0.1}
SECONDS = 10


def mouth_at(times: np.ndarray, seed: int = 0) -> np.ndarray:
    """Give four measures that move as mouths do, some five times a second, at any time."""
    rng = np.random.default_rng(seed)
    rates, phases = rng.uniform(1.2, 6, (2, 24)), rng.uniform(0, 2 * np.pi, (4, 24))
    return np.stack([np.sin(2 * np.pi * rates[0] * times[:, None] + one).sum(axis=1) for one in phases], axis=1) / 5


def seen(times: np.ndarray | None = None, seed: int = 0) -> MouthSeries:
    """Give the mouth of a clip, at 25 fps or at the times of its frames."""
    times = np.arange(25 * SECONDS) / 25 if times is None else times
    return MouthSeries(times, mouth_at(times, seed))


def heard(seed: int = 0) -> np.ndarray:
    """Give the mouth expected at each row; noise, since no model is perfect."""
    rows = mouth_at(np.arange(ROW_RATE * SECONDS) / ROW_RATE, seed)
    return rows + np.random.default_rng(1).normal(size=rows.shape)


def late(ms: float) -> np.ndarray:
    """Give the mouth expected from sound that is late."""
    return mouth_at(np.arange(ROW_RATE * SECONDS) / ROW_RATE - ms / 1000)


@pytest.mark.parametrize("ms", [-333, -80, 0, 5, 40, 160, 480])
def test_sound_that_is_late_is_said_to_be(ms):
    told = match(seen(), late(ms), GUMBEL)
    assert told.offset_ms == pytest.approx(ms, abs=2)
    assert told.interval_ms[0] <= ms <= told.interval_ms[1]
    assert told.drift_ms_s == pytest.approx(0, abs=0.5)
    side = "late" if told.offset_ms > 0 else "early"
    assert f"sound {abs(told.offset_ms):.0f} ms {side}" in repr(told)


def test_a_rate_that_varies_moves_nothing():
    times = np.cumsum(np.random.default_rng(0).choice([1 / 30, 1 / 24, 1 / 15], 240))
    times = times[times < SECONDS] - times[0]
    assert match(seen(times=times), late(120), GUMBEL).offset_ms == pytest.approx(120, abs=5)


@pytest.mark.parametrize("drift", [-10, 10])
def test_drift(drift):
    grid = np.arange(ROW_RATE * SECONDS) / ROW_RATE
    sound = mouth_at(grid - drift / 1000 * (grid - SECONDS / 2))
    told = match(seen(), sound, GUMBEL)
    assert told.drift_ms_s == pytest.approx(drift, abs=1)
    assert told.offset_ms == pytest.approx(0, abs=5)


@pytest.mark.parametrize(("seconds", "drift"), [(120, 2), (300, -0.3), (700, 1.001), (300, 3)])
def test_drift_of_a_long_clip(seconds, drift):
    """29.97 fps taken for 30 is 1 ms/s. Where there is more than is tried, no offset is given."""
    frames, rows = np.arange(25 * seconds) / 25, np.arange(ROW_RATE * seconds) / ROW_RATE
    told = match(seen(frames), mouth_at(rows - 0.04 - drift / 1000 * (rows - seconds / 2)), GUMBEL)
    if drift > 2:
        assert told.offset_ms is None
        return
    assert told.drift_ms_s == pytest.approx(drift, abs=0.05)
    assert told.offset_ms == pytest.approx(40, abs=5)


def test_wrong_sound_gets_no_number():
    told = [match(seen(seed=i), heard(100 + i), GUMBEL) for i in range(40)]
    assert all(one.offset_ms is None and one.interval_ms is None for one in told)
    assert all("no better than wrong sound" in one.why for one in told)
    assert np.mean([one.correlation for one in told]) < 0.4


@pytest.mark.parametrize(
    ("mouth", "sound", "why"),
    [
        (replace(seen(), values=np.full((250, 4), np.nan)), heard(), "no face"),
        (seen(), 1e-3 * heard(), "no speech"),
        (seen(times=np.arange(50) / 25), heard(), "3 s are needed"),
        (seen(), heard()[:0], "no sound"),
    ],
)
def test_what_cannot_be_told_is_said(mouth, sound, why):
    told = match(mouth, sound, GUMBEL)
    assert told.offset_ms is None
    assert why in told.why
    assert told.to_json()["offset_ms"] is None


def test_a_longer_reach_finds_more_and_asks_for_more():
    near, far = (match(seen(), late(1500), GUMBEL, reach) for reach in (0.6, 3.0))
    assert near.correlation < 0.6 < far.correlation
    assert far.offset_ms == pytest.approx(1500, abs=5)
    assert match(seen(), late(0), GUMBEL, 3.0).confidence <= match(seen(), late(0), GUMBEL).confidence
    with pytest.raises(ParameterError, match="at most 3 s"):
        lip_sync(seen(), np.zeros(16000, np.float32), None, reach_s=4)


def test_a_few_measures_and_gaps_are_enough():
    mouth = seen()
    mouth.values[100:130] = np.nan
    mouth.values[:, 1:] = np.nan
    told = match(mouth, late(80), GUMBEL)
    assert told.offset_ms == pytest.approx(80, abs=5)
    assert told.seconds < 9


def test_the_model_is_bound_to_its_encoder(encoder):
    model = MouthModel.load()
    assert model.about["fingerprint"].startswith("5e55abdb5f20")
    assert len(model.to_bytes()) < 100_000
    with pytest.raises(ParameterError, match=r"tiny\.en"):
        expected_mouth((np.zeros(16000, np.float32), 16000), encoder, model)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"no")
    with pytest.raises(ParameterError, match="no model of mouths"):
        MouthModel.load(tmp_path / "x.npz")


@pytest.mark.trained
def test_one_recording_three_times(shared, trained):
    """st_aoc and vx_aoc are talk_d with sound 81 and 62 ms later; the shipped model knows all three."""
    pytest.importorskip("mediapipe")
    from musetools.lips import mouth_measures

    real, encoder = shared / "real", load_encoder("tiny.en")
    clips = [real / "talk_d.mp4", real / "faces" / "st_aoc.mp4", real / "faces" / "vx_aoc.mp4"]
    if not all(clip.is_file() for clip in clips):
        pytest.skip("the faces are not there")
    first, *rest = (lip_sync(mouth_measures(clip, cache=None), load_audio(clip), encoder).offset_ms for clip in clips)
    assert [ms - first for ms in rest] == pytest.approx([81, 62], abs=20)
