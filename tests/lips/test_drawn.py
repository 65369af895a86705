"""Drawn mouths, which follow loudness: an offset right to ten milliseconds, or none at all."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from musetools import load_audio
from musetools.lips import LipSync, MouthSeries, lip_sync, read_mouth

DATA = Path(__file__).resolve().parents[2] / "data"
RATE = 16_000
STRETCH = 0.001


@cache
def audio_of(clip: str) -> np.ndarray:
    return load_audio(next(path for path in DATA.glob(f"{clip}.*") if path.suffix != ".csv"))


@cache
def mouth_of(clip: str) -> MouthSeries:
    return read_mouth(DATA / f"{clip}.csv")


def moved(values: np.ndarray) -> MouthSeries:
    """Return the mouth of talker_25 with other values."""
    return replace(mouth_of("talker_25"), values=values)


def delayed(audio: np.ndarray, ms: float, stretch: float = 0) -> np.ndarray:
    """Let audio come late, or early, and run slower."""
    if stretch:
        at = np.arange(round(len(audio) * (1 + stretch))) / (1 + stretch)
        audio = np.interp(at, np.arange(len(audio)), audio).astype(np.float32)
    n = round(ms * RATE / 1000)
    return np.concatenate([np.zeros(n, np.float32), audio]) if n >= 0 else audio[-n:]


@pytest.mark.parametrize("stretch", [0, STRETCH])
@pytest.mark.parametrize("shift_ms", [-200, 0, 40])
@pytest.mark.parametrize("clip", ["talker_25", "talker_2997", "voice_a"])
def test_a_shift_and_a_stretch_are_estimated(clip, shift_ms, stretch):
    mouth = mouth_of(clip)
    found = lip_sync(mouth, delayed(audio_of(clip), shift_ms, stretch), None)
    assert found.offset_ms == pytest.approx(shift_ms + 500 * stretch * mouth.times_s[-1], abs=10)
    assert found.drift_ms_s == pytest.approx(1000 * stretch, abs=0.7)
    assert found.correlation > 0.9
    assert found.method == "loudness"


@pytest.mark.parametrize("gain", [0.01, 30])
def test_neither_gain_nor_unit_matters(gain):
    plain = lip_sync(mouth_of("talker_25"), audio_of("talker_25"), None)
    found = lip_sync(moved(5 + 40 * mouth_of("talker_25").values), gain * audio_of("talker_25"), None)
    assert found.offset_ms == pytest.approx(plain.offset_ms, abs=2)


def test_a_mouth_that_was_measured_badly():
    """A detector jitters: a fifth of its range."""
    values = mouth_of("talker_25").values
    found = lip_sync(
        moved(values + np.random.default_rng(0).normal(0, 0.2, values.shape)),
        delayed(audio_of("talker_25"), 120),
        None,
    )
    assert found.offset_ms == pytest.approx(120, abs=10)


# --- no confidence, no number


def none_of(found: LipSync) -> None:
    assert found.offset_ms is None, found
    assert (found.drift_ms_s, found.interval_ms) == (None, None)
    assert repr(found).startswith("cannot tell: ")
    assert np.isfinite([found.correlation, found.confidence]).all()


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_offset(seed):
    rng, mouth, audio = np.random.default_rng(seed), mouth_of("talker_25"), audio_of("talker_25")
    none_of(lip_sync(moved(rng.random(mouth.values.shape)), audio, None))
    none_of(lip_sync(mouth, rng.normal(0, 0.1, len(audio)).astype(np.float32), None))


def test_the_speech_of_another_has_no_offset():
    """1 in 200 is allowed by chance; of these 15 a second one would be none."""
    mouth = mouth_of("talker_25")
    starts = [(voice, start_s * RATE) for voice in ("voice_a", "voice_b", "voice_c") for start_s in range(1, 11, 2)]
    sounds = [audio_of(voice)[start : start + round(mouth.times_s[-1] * RATE)] for voice, start in starts]
    found = [lip_sync(mouth, sound, None) for sound in sounds]
    assert sum(one.offset_ms is not None for one in found) <= 1


def test_what_does_not_move_has_no_offset():
    mouth, audio = mouth_of("talker_25"), audio_of("talker_25")
    none_of(lip_sync(mouth, np.zeros_like(audio), None))
    none_of(lip_sync(mouth, np.full_like(audio, 0.1), None))


def test_an_offset_out_of_reach_is_none():
    none_of(lip_sync(mouth_of("talker_25"), delayed(audio_of("talker_25"), 3000), None))
