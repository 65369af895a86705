"""How far features vary with what is said: the scale on which every other difference is measured.

A row holds what is said and where in the encoder's window it is said. To tell them apart, the audio is repeated to a
minute, and that minute is turned in steps of 7.5 s: eight windows of 30 s, in which every row of sound stands at four
places, and every place holds eight different sounds. *Content* is what remains when the mean of each place is removed.
"""

from dataclasses import dataclass

import numpy as np

from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.timing import ROW_RATE, ROW_SAMPLES, SAMPLE_RATE

__all__ = ["Content", "Gap", "Seam", "gap_of", "looped", "measure_content"]

LOOP_S = 60
WINDOW, STEP = 30 * ROW_RATE, 375  # rows
HALF = WINDOW // 2  # rows: the same sound half a window later
MIDDLE = slice(WINDOW // 4, WINDOW // 2 - 125)  # places that, as those half a window later, are far from both ends
SMOOTH = 5  # rows: 100 ms
SEEN = 1.5  # times what rows in the middle differ by


@dataclass(frozen=True)
class Gap:
    """How far features differ, in standard deviations of the content."""

    rms: np.ndarray  # (n_layers,)
    worst: float  # the largest difference of a single value
    worst_layer: int


@dataclass(frozen=True)
class Seam:
    """What a segment boundary does to the rows next to it, beyond what another place in the window does."""

    by_row: np.ndarray  # (n, n_layers): rms by distance from the boundary, in standard deviations of the content
    middle: np.ndarray  # (n_layers,): the same for rows in the middle of both windows
    reach: int  # rows on each side of the boundary that differ visibly more than those in the middle, in most layers
    gap: Gap  # of these rows; where there are none, of the first


@dataclass(frozen=True)
class Content:
    """How far features vary with what is said, and what depends on the place in the encoder's window alone."""

    std: np.ndarray  # (n_layers,): standard deviation of the features when the mean of each place is removed
    neighbours: np.ndarray  # (n_layers,): what rows 20 ms apart differ by, in that unit
    moved: Gap  # the same sound, half a window later
    seam: Seam


def looped(waveform: np.ndarray, seconds: float = LOOP_S) -> np.ndarray:
    """Repeat a waveform to a length."""
    return np.resize(waveform, round(seconds * SAMPLE_RATE))


def gap_of(difference: np.ndarray, std: np.ndarray) -> Gap:
    """Measure a difference of features.

    Parameters
    ----------
    difference : ndarray of float, shape (..., n_layers, width)
        What features differ by, row by row.
    std : ndarray of float, shape (n_layers,)
        The unit.

    Returns
    -------
    Gap
    """
    layers = np.moveaxis(difference, -2, 0).reshape(len(std), -1)
    rms = np.array([np.sqrt(np.vdot(layer, layer) / layer.size) for layer in layers]) / std
    worst = np.abs(layers).max(axis=1) / std
    return Gap(rms, float(worst.max()), int(worst.argmax()))


def measure_content(waveform: np.ndarray, encoder: Encoder, spec: str | FeatureSpec) -> Content:
    """Measure how far the features of a waveform vary with what is said.

    Parameters
    ----------
    waveform : ndarray of float32, shape (n_samples,)
        Mono, 16 kHz; repeated or cut to a minute.
    encoder : Encoder
        The weights.
    spec : FeatureSpec or str
        How features are made, in windows of 30 s.

    Returns
    -------
    Content
    """
    loop, n_turns = looped(waveform), WINDOW // STEP
    turned = (np.roll(loop, -turn * STEP * ROW_SAMPLES) for turn in range(n_turns))
    made = np.stack([audio2feat((samples, SAMPLE_RATE), encoder, spec=spec) for samples in turned])
    # window w starts 7.5·w s into the loop: turn w % 4, first or second half of its minute
    windows = made.reshape(n_turns, 2, WINDOW, *made.shape[2:]).swapaxes(0, 1).reshape(-1, WINDOW, *made.shape[2:])
    beside, moved = np.diff(windows[:2], axis=1), _half_later(windows, slice(0, HALF))
    windows -= windows.mean(axis=0)
    # a mean of eight takes an eighth of the variance with it
    std = gap_of(windows, np.ones(windows.shape[2])).rms * np.sqrt(len(windows) / (len(windows) - 1))
    return Content(std, gap_of(beside, std).rms, gap_of(moved, std), _seam(windows, std))


def _half_later(windows: np.ndarray, places: slice) -> np.ndarray:
    """Return by how much the same sounds differ at some places and half a window later, (n_windows, n, ...)."""
    earlier = np.roll(windows, HALF // STEP, axis=0)  # the window that starts half a window before each
    return windows[:, places] - earlier[:, places.start + HALF : places.stop + HALF]


def _seam(windows: np.ndarray, std: np.ndarray) -> Seam:
    """Compare rows near a window's ends with the same sound in the middle of another window.

    The mean of each place is removed from `windows`, so that places alone make no difference.
    """
    start = _half_later(windows, slice(0, STEP))
    end = np.roll(_half_later(windows, slice(HALF - STEP, HALF)), -HALF // STEP, axis=0)[:, ::-1]
    near = np.concatenate([start, end])  # by distance from a boundary, after it and before it
    by_row = np.sqrt(np.square(near).mean(axis=(0, 3))) / std
    middle = gap_of(_half_later(windows, MIDDLE), std).rms
    # layer 0 attends to nothing: what other layers see of a boundary says how far it reaches
    ratio = np.median(by_row[:, 1:] / middle[1:], axis=1)
    smooth = np.convolve(ratio, np.ones(SMOOTH) / SMOOTH, "valid")
    reach = int(np.argmin(np.append(smooth > SEEN, False)))
    return Seam(by_row, middle, reach, gap_of(near[:, : max(1, reach)], std))
