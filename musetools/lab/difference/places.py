"""What the place in the encoder's window does to features, and what a segment boundary does to the rows beside it."""

from dataclasses import dataclass

import numpy as np

from musetools.features.encoder import Encoder
from musetools.features.spec import FeatureSpec
from musetools.lab.content import STEP, WINDOW, Content, Gap, content_of, gap_of, turned_windows

__all__ = ["Boundary", "Places", "measure_places"]

HALF = WINDOW // 2  # rows: the same sound half a window later
MIDDLE = slice(WINDOW // 4, WINDOW // 2 - 125)  # places that, as those half a window later, are far from both ends
SMOOTH = 5  # rows: 100 ms
SEEN = 1.5  # times what rows in the middle differ by


@dataclass(frozen=True)
class Boundary:
    """What a segment boundary does to the rows next to it, beyond what another place in the window does."""

    by_row: np.ndarray  # (n, n_layers): rms by distance from the boundary, in standard deviations of the content
    middle: np.ndarray  # (n_layers,): the same for rows in the middle of both windows
    reach: int  # rows on each side of the boundary that differ visibly more than those in the middle, in most layers
    gap: Gap  # of these rows; where there are none, of the first


@dataclass(frozen=True)
class Places(Content):
    """The content of features, and what depends on the place in the encoder's window alone."""

    moved: Gap  # the same sound, half a window later
    boundary: Boundary


def measure_places(waveform: np.ndarray, encoder: Encoder, spec: str | FeatureSpec) -> Places:
    """Measure the content of a waveform's features, and what their place in the window does to them.

    Parameters
    ----------
    waveform, encoder, spec
        As in `musetools.lab.content.turned_windows`.

    Returns
    -------
    Places
    """
    windows = turned_windows(waveform, encoder, spec)
    content, moved = content_of(windows), _half_later(windows, slice(0, HALF))
    windows -= windows.mean(axis=0)
    std = content.std
    return Places(std, content.neighbours, gap_of(moved, std), _boundary(windows, std))


def _half_later(windows: np.ndarray, places: slice) -> np.ndarray:
    """Return by how much the same sounds differ at some places and half a window later, (n_windows, n, ...)."""
    earlier = np.roll(windows, HALF // STEP, axis=0)  # the window that starts half a window before each
    return windows[:, places] - earlier[:, places.start + HALF : places.stop + HALF]


def _boundary(windows: np.ndarray, std: np.ndarray) -> Boundary:
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
    return Boundary(by_row, middle, reach, gap_of(near[:, : max(1, reach)], std))
