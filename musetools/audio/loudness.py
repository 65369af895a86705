"""Loudness of each video frame, of a whole waveform or of one that comes in blocks."""

from fractions import Fraction

import numpy as np

from musetools.audio.buffer import Ring
from musetools.audio.resample import BLOCK_S
from musetools.errors import ParameterError, as_array
from musetools.timing import SAMPLE_RATE, exact_fps, frame_count, frame_start

__all__ = ["LoudnessMeter", "loudness"]

SILENCE_DBFS = -120.0


def loudness(waveform: np.ndarray, fps: float | Fraction) -> np.ndarray:
    """Measure the loudness of each video frame.

    Parameters
    ----------
    waveform : ndarray of float, shape (n_samples,)
        Mono, 16 kHz, full scale at 1.
    fps : float or Fraction
        Video frames per second.

    Returns
    -------
    ndarray of float32, shape (n_frames,)
        Root mean square of the samples from each frame's start to the next frame's, in dBFS, for every whole frame;
        not below -120.

    Raises
    ------
    ParameterError
        If `fps` is no frame rate, or the waveform is of integers or has another shape.
    """
    waveform = as_array(waveform)
    if waveform.ndim != 1 or waveform.dtype.kind != "f":
        got = f"{waveform.dtype} {waveform.shape}"
        raise ParameterError(f"a waveform is floats (n_samples,); got {got}. Use load_audio((array, sample_rate))")
    meter, step = LoudnessMeter(fps), BLOCK_S * SAMPLE_RATE
    return np.concatenate([meter.push(waveform[i : i + step]) for i in range(0, len(waveform) + 1, step)])


class LoudnessMeter:
    """Measures the loudness of each video frame of a waveform that comes in pieces; see `loudness`.

    Parameters
    ----------
    fps : float or Fraction
        Video frames per second.
    """

    def __init__(self, fps: float | Fraction):
        self._fps, self._samples, self._n_frames = exact_fps(fps), Ring(), 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples; return the loudness of the frames that they complete."""
        self._samples.append(samples)
        frames = range(self._n_frames, frame_count(self._samples.stop, self._fps))
        if not frames:
            return np.empty(0, np.float32)
        self._n_frames = frames.stop
        starts = frame_start(range(frames.start, frames.stop + 1), self._fps, SAMPLE_RATE)
        energy = np.square(self._samples[int(starts[0]) : int(starts[-1])], dtype=np.float64)
        self._samples.drop(int(starts[-1]))
        mean = np.add.reduceat(energy, starts[:-1] - starts[0]) / np.diff(starts)
        return (10 * np.log10(np.maximum(mean, 10 ** (SILENCE_DBFS / 10)))).astype(np.float32)
