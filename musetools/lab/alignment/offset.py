"""Audio-visual offset from any per-frame mouth series: how late the audio comes, and whether that drifts."""

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
    """How late the audio of a clip comes."""

    offset_ms: float | None  # audio minus video in the middle of the clip: positive where audio is late; None if unsure
    drift_ms_s: float | None  # growth of the offset, in ms per second of clip
    correlation: float  # of mouth and loudness at that offset
    confidence: float  # that correlation above those at offsets out of reach, in their standard deviations

    def __repr__(self) -> str:
        match = f"correlation {self.correlation:.2f}, {self.confidence:.1f} standard deviations above chance"
        if self.offset_ms is None:
            return f"no offset can be estimated: {match}"
        side = "late" if self.offset_ms > 0 else "early"
        return f"audio {abs(self.offset_ms):.1f} ms {side}, drift {self.drift_ms_s:+.2f} ms/s ({match})"


def estimate_offset(mouth_opening: np.ndarray, waveform: np.ndarray, fps: float | Fraction) -> OffsetEstimate:
    """Estimate how late the audio comes from how the mouth moves.

    Parameters
    ----------
    mouth_opening : ndarray of float, shape (n_frames,)
        Any measure of it, at the start i/fps of each frame: lip distance, area, the opening of a drawn talker.
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz.
    fps : float or Fraction
        Video frames per second.

    Returns
    -------
    OffsetEstimate
        Without a number where mouth and audio do not match better than chance.

    Raises
    ------
    ParameterError
        If there are fewer than two seconds of either, or openings or samples are not finite.
    """
    mouth, rate = np.asarray(mouth_opening, np.float64), float(exact_fps(fps))
    waveform = np.asarray(waveform)
    seconds = min(mouth.size / rate, waveform.size / SAMPLE_RATE)
    finite = all(series.ndim == 1 and np.isfinite(series).all() for series in (mouth, waveform))
    if not finite or seconds < 2:
        raise ParameterError(
            f"at least 2 s of finite openings and mono audio are needed; got openings {mouth.shape}, audio "
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


def _level_db(waveform: np.ndarray) -> np.ndarray:
    """Return loudness against its maximum, in dB, 200 points a second."""
    power = np.square(waveform, dtype=np.float64)
    power = gaussian_filter1d(power, SMOOTH_S * SAMPLE_RATE, truncate=3, mode="constant")
    level = 10 * np.log10(power[:: SAMPLE_RATE // CURVE_RATE] + 1e-12)
    return level - level.max()


def _match(guess: np.ndarray, mouth: np.ndarray, times: np.ndarray, level: np.ndarray) -> float:
    """Correlate a mouth with loudness at a guessed offset, drift, and levels of shut and wide open."""
    offset_s, drift, quieter_db, louder_db = guess
    places = delayed(times, offset_s, drift) * CURVE_RATE
    db = np.interp(places, np.arange(len(level)), level, left=level.min(), right=level.min())
    shut = QUIET_DB + quieter_db
    return correlation(mouth, np.clip((db - shut) / max(LOUD_DB + louder_db - shut, 1.0), 0, 1))


def _confidence(best: np.ndarray, mouth: np.ndarray, times: np.ndarray, level: np.ndarray) -> float:
    """Compare a match with those at offsets out of reach, the end of the clip followed by its start."""
    half = len(level) // 2
    reach = min(int(2 * REACH_S * CURVE_RATE), half // 2)
    shifts = range(reach, len(level) - reach, max(1, (len(level) - 2 * reach) // 150))
    chance = [_match(best, mouth, times, np.roll(level, shift)) for shift in shifts]
    spread = np.std(chance)
    return float((_match(best, mouth, times, level) - np.mean(chance)) / spread) if spread > 1e-6 else 0.0
