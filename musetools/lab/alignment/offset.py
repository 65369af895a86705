"""Audio-visual offset from any per-frame mouth series: how late the sound comes, and whether that drifts."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.ndimage import gaussian_filter1d

from musetools.errors import ParameterError
from musetools.lab.delay import best_match, correlation, delayed
from musetools.timing import SAMPLE_RATE, exact_fps

__all__ = ["OffsetEstimate", "estimate_offset"]

CURVE_RATE = 200  # points a second of the loudness curve
SMOOTH_S = 0.025  # sigma of the window that loudness is measured under
QUIET_DB, LOUD_DB = -34.0, -7.0  # below the loudest moment: first guess of where a mouth is shut and wide open
STEPS = (0.02, 0.001, 4.0, 4.0)  # s, s/s, dB, dB: first steps of the search
REACH_S = 0.5  # offsets that are looked for
CLEAR = 4.5  # how many standard deviations a match must stand above chance
STRONG = 0.35  # and how well it must correlate at all


@dataclass(frozen=True)
class OffsetEstimate:
    """How late the sound of a clip comes.

    Attributes
    ----------
    offset_ms : float or None
        Sound minus picture, in the middle of the clip: positive where the sound comes late. None without confidence.
    drift_ms_s : float or None
        Growth of the offset, in ms per second of clip.
    correlation : float
        Of mouth and loudness where they match best.
    confidence : float
        How far that stands above chance, in standard deviations of the correlation at offsets out of reach.
    """

    offset_ms: float | None
    drift_ms_s: float | None
    correlation: float
    confidence: float

    def __repr__(self) -> str:
        match = f"correlation {self.correlation:.2f}, {self.confidence:.1f} standard deviations above chance"
        if self.offset_ms is None:
            return f"no offset can be estimated: {match}"
        side = "late" if self.offset_ms > 0 else "early"
        return f"sound {abs(self.offset_ms):.1f} ms {side}, drift {self.drift_ms_s:+.2f} ms/s ({match})"


def _level_db(waveform: np.ndarray) -> np.ndarray:
    """Return loudness over time below its largest, in dB, 200 points a second, point k at 5·k ms."""
    power = gaussian_filter1d(
        np.square(waveform, dtype=np.float64), SMOOTH_S * SAMPLE_RATE, truncate=3, mode="constant"
    )
    level = 10 * np.log10(power[:: SAMPLE_RATE // CURVE_RATE] + 1e-12)
    return level - level.max()


def estimate_offset(mouth_opening: np.ndarray, waveform: np.ndarray, fps: float | Fraction) -> OffsetEstimate:
    """Estimate how late the sound comes from how the mouth moves.

    Parameters
    ----------
    mouth_opening : ndarray of float, shape (n_frames,)
        Any measure of it, at the instant i/fps of each frame: lip distance, area, a drawn talker's truth.
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz.
    fps : float or Fraction
        Video frames per second.

    Returns
    -------
    OffsetEstimate
        Without a number where mouth and sound do not match better than chance.

    Raises
    ------
    ParameterError
        If there are fewer than two seconds of either, or openings or samples are not finite.
    """
    mouth, rate = np.asarray(mouth_opening, np.float64), float(exact_fps(fps))
    waveform = np.asarray(waveform)
    seconds = min(mouth.size / rate, waveform.size / SAMPLE_RATE)
    flat = mouth.ndim == waveform.ndim == 1
    if not flat or not np.isfinite(mouth).all() or not np.isfinite(waveform).all() or seconds < 2:
        raise ParameterError(
            f"at least 2 s of finite openings and mono sound are needed; got openings {mouth.shape}, sound "
            f"{waveform.shape}, {seconds:.2f} s of both"
        )
    times, level = np.arange(len(mouth)) / rate, _level_db(waveform)
    grid = np.arange(-REACH_S, REACH_S, 1 / CURVE_RATE)
    start = (grid[int(np.argmax([_match((o, 0, 0, 0), mouth, times, level) for o in grid]))], 0.0, 0.0, 0.0)
    found, best = best_match(lambda guess: _match(guess, mouth, times, level), start, STEPS, rounds=2)
    confidence = _confidence(found, mouth, times, level)
    if best < STRONG or confidence < CLEAR:
        return OffsetEstimate(None, None, best, confidence)
    return OffsetEstimate(1000 * float(found[0]), 1000 * float(found[1]), best, confidence)


def _match(guess: np.ndarray, mouth: np.ndarray, times: np.ndarray, level: np.ndarray) -> float:
    """Correlate a mouth with loudness, late by an offset that drifts; shut and wide open are at guessed levels."""
    offset_s, drift, quieter_db, louder_db = guess
    sounding = delayed(times, offset_s, drift)
    db = np.interp(sounding * CURVE_RATE, np.arange(len(level)), level, left=level.min(), right=level.min())
    shut = QUIET_DB + quieter_db
    return correlation(mouth, np.clip((db - shut) / max(LOUD_DB + louder_db - shut, 1.0), 0, 1))


def _confidence(best: np.ndarray, mouth: np.ndarray, times: np.ndarray, level: np.ndarray) -> float:
    """Compare a match with those at offsets out of reach, the clip taken for a circle."""
    half = len(level) // 2
    reach = min(int(2 * REACH_S * CURVE_RATE), half // 2)
    shifts = range(reach, len(level) - reach, max(1, (len(level) - 2 * reach) // 150))
    chance = [_match(best, mouth, times, np.roll(level, shift)) for shift in shifts]
    spread = np.std(chance)
    return float((_match(best, mouth, times, level) - np.mean(chance)) / spread) if spread > 1e-6 else 0.0
