"""Time, exactly: the rates everything is counted in, and frame rates as fractions.

A waveform has 16 000 samples a second, a log-mel spectrogram 100 frames, features 50 rows. Nothing here is a float:
29.97 fps is 30000/1001, so frame 200 000 is where it belongs.
"""

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Rational, Real

import numpy as np

from musetools.errors import ParameterError

__all__ = ["exact_fps", "floor_product", "frame_count", "frame_start", "meant_rate"]

SAMPLE_RATE = 16_000  # samples a second of every waveform
MEL_HOP = 160  # samples a mel frame: 10 ms
MEL_PER_ROW = 2  # the stride of the encoder's second convolution
ROW_SAMPLES = MEL_HOP * MEL_PER_ROW  # samples a feature row: 20 ms
ROW_RATE = SAMPLE_RATE // ROW_SAMPLES  # feature rows a second: 50
ROW_MS = 1000 // ROW_RATE
COMMON_FPS = (24, 25, 29.97, 30)
LEAST_FPS, MOST_FPS = 1, 1000  # frame rates of videos

_NTSC = [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]
_NTSC_TOLERANCE = 0.005  # fps; 29.97 is meant as 30000/1001, 29.98 is a rate of its own


def exact_fps(fps: float | Fraction) -> Fraction:
    """Return a frame rate as the fraction that is meant.

    Parameters
    ----------
    fps : int, float, Fraction or Decimal
        Frames per second, 1 … 1000. A float within 0.005 of N·1000/1001 for N = 24, 30, 48, 60, 120 is taken for
        that fraction, any other float for its decimal value.

    Returns
    -------
    Fraction
        Frames per second.

    Raises
    ------
    ParameterError
        If `fps` is text, not finite, or out of this range.

    Examples
    --------
    >>> exact_fps(29.97)
    Fraction(30000, 1001)
    >>> exact_fps(24.97)
    Fraction(2497, 100)
    """
    number = isinstance(fps, (Real, Decimal)) and not isinstance(fps, bool)
    if not number or not _finite(fps) or not LEAST_FPS <= fps <= MOST_FPS:
        raise ParameterError(
            f"fps must be a number of frames per second, {LEAST_FPS} … {MOST_FPS}, such as 25, 29.97 or "
            f"Fraction(30000, 1001); got {fps!r:.60}"
        )
    return meant_rate(fps)


def meant_rate(fps: Real | Decimal) -> Fraction:
    """Return the fraction that is meant by any rate above zero, such as one that a file was measured to have."""
    if isinstance(fps, Rational):
        return Fraction(int(fps.numerator), int(fps.denominator))  # numpy's integers would overflow
    if isinstance(fps, Decimal):
        return Fraction(fps)
    near = min(_NTSC, key=lambda rate: abs(rate - float(fps)))
    return near if abs(float(near) - float(fps)) <= _NTSC_TOLERANCE else Fraction(str(fps))


def _finite(fps: Real | Decimal) -> bool:
    # math.isfinite would turn an integer, however large, into a float first
    return fps.is_finite() if isinstance(fps, Decimal) else isinstance(fps, Rational) or math.isfinite(fps)


def frame_count(n_samples: int, fps: float | Fraction) -> int:
    """Count the whole video frames in a waveform: ``floor(n_samples · fps / 16000)`` in integer arithmetic."""
    return int(int(n_samples) * exact_fps(fps) // SAMPLE_RATE)


def frame_start(frame: int | range | np.ndarray, fps: float | Fraction, rate: int) -> np.ndarray:
    """Find the sample (or row) at which a frame starts: ``floor(i · rate / fps)``.

    Parameters
    ----------
    frame : int, range or ndarray of int
        Numbers of frames.
    fps : float or Fraction
        Video frames per second.
    rate : int
        Samples (or rows) a second.

    Returns
    -------
    ndarray of int64
        One number for each frame, in the shape of `frame`.
    """
    return floor_product(frame, rate / exact_fps(fps))


def floor_product(numbers: int | range | np.ndarray, factor: Fraction) -> np.ndarray:
    """Return ``floor(n · factor)`` of whole numbers, int64, exact however large the terms of the fraction are."""
    numbers = np.asarray(numbers, np.int64)
    largest = int(np.abs(numbers).max(initial=1))
    if largest * max(factor.as_integer_ratio()) >= 2**63:
        numbers = numbers.astype(object)
    return np.asarray(numbers * factor.numerator // factor.denominator, np.int64)
