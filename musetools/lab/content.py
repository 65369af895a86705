"""How far features vary with what is said: the scale on which other differences are measured.

A row holds what is said and where in the encoder's window it is said. To tell them apart, the audio is repeated to a
minute, and that minute is turned in steps of 7.5 s: eight windows of 30 s, in which every row of sound stands at four
places, and every place holds eight different sounds. *Content* is what remains when the mean of each place is removed.
"""

from dataclasses import dataclass

import numpy as np

from musetools.errors import ParameterError
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.timing import ROW_RATE, ROW_SAMPLES, SAMPLE_RATE

__all__ = ["STEP", "WINDOW", "Content", "Gap", "content_of", "gap_of", "looped", "measure_content", "turned_windows"]

LOOP_S = 60
WINDOW, STEP = 30 * ROW_RATE, 375  # rows
APART_S = 0.5  # at least, between the eight sounds of one place


@dataclass(frozen=True)
class Gap:
    """How far features differ, in standard deviations of the content."""

    rms: np.ndarray  # (n_layers,)
    worst: float  # the largest difference of a single value
    worst_layer: int


@dataclass(frozen=True)
class Content:
    """How far features vary with what is said."""

    std: np.ndarray  # (n_layers,): standard deviation of the features when the mean of each place is removed
    neighbours: np.ndarray  # (n_layers,): what rows 20 ms apart differ by, in that unit


def looped(waveform: np.ndarray, seconds: float = LOOP_S) -> np.ndarray:
    """Repeat a waveform to a length; where eight windows would hold the same sound twice, without its last moments."""
    starts, period = np.arange(2 * WINDOW // STEP) * STEP * ROW_SAMPLES, len(waveform)
    while 5 < period / SAMPLE_RATE < seconds:
        turned = np.sort(starts % period)
        if np.diff(turned, append=turned[0] + period).min() >= APART_S * SAMPLE_RATE:
            break
        period -= SAMPLE_RATE // 4
    return np.resize(waveform[:period], round(seconds * SAMPLE_RATE))


def gap_of(difference: np.ndarray, std: np.ndarray) -> Gap:
    """Measure a difference of features, (..., n_layers, width), in the unit `std`, (n_layers,)."""
    layers = np.moveaxis(difference, -2, 0).reshape(len(std), -1)
    # in float64: a float32 sum of a million squares is off by 1e-5, by how much depends on the machine
    rms = np.sqrt([np.square(layer).mean(dtype=np.float64) for layer in layers]) / std
    worst = np.abs(layers).max(axis=1) / std
    return Gap(rms, float(worst.max()), int(worst.argmax()))


def measure_content(waveform: np.ndarray, encoder: Encoder) -> Content:
    """Measure how far the features of a waveform, (n_samples,) at 16 kHz, vary with what is said.

    It is repeated or cut to a minute. ParameterError if nothing varies: silence has no content.
    """
    return content_of(turned_windows(waveform, encoder, "musetools"))


def turned_windows(waveform: np.ndarray, encoder: Encoder, spec: str | FeatureSpec) -> np.ndarray:
    """Return features of eight windows, each of which starts 7.5 s later in the loop, (8, 1500, n_layers, width)."""
    loop, n_turns = looped(waveform), WINDOW // STEP
    turned = (np.roll(loop, -turn * STEP * ROW_SAMPLES) for turn in range(n_turns))
    made = np.stack([audio2feat((samples, SAMPLE_RATE), encoder, spec=spec) for samples in turned])
    # window w: turn w % 4, first or second half of its minute
    return made.reshape(n_turns, 2, WINDOW, *made.shape[2:]).swapaxes(0, 1).reshape(-1, WINDOW, *made.shape[2:])


def content_of(windows: np.ndarray) -> Content:
    """Measure the content of `turned_windows`; ParameterError if nothing varies."""
    n_windows, ones = len(windows), np.ones(windows.shape[2])
    # a mean of eight takes an eighth of the variance with it
    std = gap_of(windows - windows.mean(axis=0), ones).rms * np.sqrt(n_windows / (n_windows - 1))
    if (std <= 1e-6 * gap_of(windows, ones).rms).any():  # rounding
        raise ParameterError("nothing varies in these features: distances need speech, not silence")
    return Content(std, gap_of(np.diff(windows[:2], axis=1), std).rms)
