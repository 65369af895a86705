"""How late audio comes, estimated from a mouth: right to ten milliseconds, or no number at all."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from musetools import ParameterError, load_audio
from musetools.lab.alignment.offset import OffsetEstimate, estimate_offset

DATA = Path(__file__).resolve().parents[3] / "data"
RATE = 16_000
CLIPS = {"talker_25": ("mp4", 25), "talker_2997": ("mp4", 29.97), "voice_a": ("m4a", 25)}
STRETCH = 0.001


@cache
def audio_of(clip: str) -> np.ndarray:
    return load_audio(next(path for path in DATA.glob(f"{clip}.*") if path.suffix != ".csv"))


@cache
def mouth_of(clip: str) -> np.ndarray:
    return np.genfromtxt(DATA / f"{clip}.csv", delimiter=",", names=True)["opening"]


def delayed(audio: np.ndarray, ms: float, stretch: float = 0) -> np.ndarray:
    """Let audio come late, or early, and run slower."""
    if stretch:
        at = np.arange(round(len(audio) * (1 + stretch))) / (1 + stretch)
        audio = np.interp(at, np.arange(len(audio)), audio).astype(np.float32)
    n = round(ms * RATE / 1000)
    return np.concatenate([np.zeros(n, np.float32), audio]) if n >= 0 else audio[-n:]


@pytest.mark.parametrize("stretch", [0, STRETCH])
@pytest.mark.parametrize("shift_ms", [-200, -80, 0, 40, 120])
@pytest.mark.parametrize("clip", ["talker_25", "talker_2997"])
def test_a_shift_and_a_stretch_are_estimated(clip, shift_ms, stretch):
    fps, mouth = CLIPS[clip][1], mouth_of(clip)
    found = estimate_offset(mouth, delayed(audio_of(clip), shift_ms, stretch), fps)
    middle_s = (len(mouth) - 1) / 2 / fps
    assert found.offset_ms == pytest.approx(shift_ms + 1000 * stretch * middle_s, abs=10)
    assert found.drift_ms_s == pytest.approx(1000 * stretch, abs=0.2)
    assert found.correlation > 0.9


@pytest.mark.parametrize(("shift_ms", "stretch"), [(-80, 0), (120, STRETCH)])
def test_half_a_minute(shift_ms, stretch):
    mouth = mouth_of("voice_a")
    found = estimate_offset(mouth, delayed(audio_of("voice_a"), shift_ms, stretch), 25)
    assert found.offset_ms == pytest.approx(shift_ms + 1000 * stretch * (len(mouth) - 1) / 50, abs=10)
    assert found.drift_ms_s == pytest.approx(1000 * stretch, abs=0.2)


@pytest.mark.parametrize("gain", [0.01, 30])
def test_neither_gain_nor_unit_matters(gain):
    plain = estimate_offset(mouth_of("talker_25"), audio_of("talker_25"), 25)
    found = estimate_offset(5 + 40 * mouth_of("talker_25"), gain * audio_of("talker_25"), 25)
    assert found.offset_ms == pytest.approx(plain.offset_ms, abs=2)


def test_a_mouth_that_was_measured_badly():
    """A detector jitters: a fifth of its range."""
    mouth = mouth_of("talker_25") + np.random.default_rng(0).normal(0, 0.2, len(mouth_of("talker_25")))
    assert estimate_offset(mouth, delayed(audio_of("talker_25"), 120), 25).offset_ms == pytest.approx(120, abs=10)


# --- no confidence, no number


def none_of(found: OffsetEstimate) -> None:
    assert found.offset_ms is None, found
    assert found.drift_ms_s is None
    assert repr(found).startswith("no offset can be estimated: correlation ")
    assert np.isfinite([found.correlation, found.confidence]).all()


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_offset(seed):
    rng, mouth, audio = np.random.default_rng(seed), mouth_of("talker_25"), audio_of("talker_25")
    none_of(estimate_offset(rng.random(len(mouth)), audio, 25))
    none_of(estimate_offset(mouth, rng.normal(0, 0.1, len(audio)).astype(np.float32), 25))


@pytest.mark.parametrize("voice", ["voice_a", "voice_b", "voice_c"])
@pytest.mark.parametrize("start_s", [0, 9, 18])
def test_the_speech_of_another_has_no_offset(voice, start_s):
    none_of(estimate_offset(mouth_of("talker_25"), audio_of(voice)[start_s * RATE :], 25))


def test_what_does_not_move_has_no_offset():
    mouth, audio = mouth_of("talker_25"), audio_of("talker_25")
    none_of(estimate_offset(np.full_like(mouth, 0.5), audio, 25))
    none_of(estimate_offset(mouth, np.zeros_like(audio), 25))
    none_of(estimate_offset(mouth, np.full_like(audio, 0.1), 25))


def test_an_offset_out_of_reach_is_none():
    none_of(estimate_offset(mouth_of("talker_25"), delayed(audio_of("talker_25"), 3000), 25))


# --- what cannot be used


@pytest.mark.parametrize(
    ("mouth", "n_samples", "why"),
    [
        (np.zeros(49), 5 * RATE, "1.96 s of both"),
        (np.zeros(100), 2 * RATE - 1, "2.00 s of both"),
        (np.zeros((100, 2)), 5 * RATE, r"openings \(100, 2\)"),
        (np.full(100, np.nan), 5 * RATE, "finite openings"),
        (np.empty(0), 0, "0.00 s of both"),
    ],
    ids=["mouth too short", "audio too short", "two mouths", "not finite", "nothing"],
)
def test_bad_input(mouth, n_samples, why):
    with pytest.raises(ParameterError, match=why):
        estimate_offset(mouth, np.zeros(n_samples, np.float32), 25)


@pytest.mark.parametrize(
    "audio", [np.zeros((5 * RATE, 1)), np.zeros((2, 5 * RATE)), np.append(np.zeros(5 * RATE), np.inf)], ids=np.shape
)
def test_sound_that_is_no_waveform(audio):
    with pytest.raises(ParameterError, match="mono audio"):
        estimate_offset(np.zeros(100), audio, 25)


def test_a_frame_rate_that_is_none():
    with pytest.raises(ParameterError, match="fps"):
        estimate_offset(np.zeros(100), np.zeros(5 * RATE), 0)


# --- what is shown


def test_shown_in_words():
    late, early = OffsetEstimate(40.04, -0.126, 0.987, 9.66), OffsetEstimate(-79.6, 0.0, 0.9, 5.0)
    assert all(text in repr(late) for text in ("40.0 ms late", "-0.13 ms/s", "correlation 0.99", "9.7 standard"))
    assert "79.6 ms early" in repr(early)
    unknown = repr(OffsetEstimate(None, None, 0.2, 1.0))
    assert all(text in unknown for text in ("no offset", "correlation 0.20", "1.0 standard"))
