"""What a recipe does to a clip, read off its index matrix: frames, lag, drift, edges, zeros; no weights needed."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from musetools.chunks.rows import ZERO_ROW, chunk_offsets, row_lag_ms
from musetools.errors import RecipeError
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.table import signed
from musetools.timing import ROW_MS, SAMPLE_RATE, exact_fps

__all__ = ["Profile", "WindowLag", "lag_statistics", "profile", "window_lag"]

DRIFTS_MS_S = 1.0  # a slope below this over a minute is the staircase of whole rows, no drift
STAIRCASE_MS = 1.5 * ROW_MS  # a straight slope through part of that staircase climbs no more than this in all
STRAIGHT_MS = 40.0  # farther from a straight line than two rows, lag does something else than drift
MINUTE_S = 60


@dataclass(frozen=True)
class WindowLag:
    """Lag of a clip's frames: how far their chunks lie in the future; NaN where no frame has one."""

    mean_ms: float
    min_ms: float
    max_ms: float
    drift_ms_s: float  # slope of the line that fits best, in ms per second of clip; 0 for fewer than two frames


def lag_statistics(lag_ms: np.ndarray, times_s: np.ndarray) -> WindowLag:
    """Return mean, range and drift of frames' lag, NaN at edges: the one meaning that these have everywhere."""
    inside = ~np.isnan(lag_ms)
    lag, times = lag_ms[inside], times_s[inside]
    if not len(lag):
        return WindowLag(np.nan, np.nan, np.nan, 0.0)
    drift = float(np.polyfit(times, lag, 1)[0]) if len(lag) > 1 else 0.0
    return WindowLag(float(lag.mean()), float(lag.min()), float(lag.max()), drift)


@dataclass(frozen=True)
class Profile:
    """A recipe's index matrix for one clip, and what can be read off it."""

    recipe: Recipe
    fps: float | Fraction  # as it was passed to the pipeline
    rows: np.ndarray  # int64, (n_frames, rows_per_chunk): the index matrix; empty where the pipeline stops
    first_frame: int  # number of the frame of the matrix's first index
    stops: str = ""  # why the pipeline stops on this input; empty where it runs

    @property
    def frames(self) -> range:
        """Numbers of the frames that get a chunk."""
        return range(self.first_frame, self.first_frame + len(self.rows))

    @cached_property
    def lag_ms(self) -> np.ndarray:
        """Each frame's lag in ms, NaN at an edge."""
        return row_lag_ms(self.rows, self.fps, first_frame=self.first_frame)

    @cached_property
    def interior(self) -> np.ndarray:
        """Indices of the matrix that are at no edge: their rows follow each other, none is zeros."""
        return np.flatnonzero(~np.isnan(self.lag_ms))

    @property
    def edge_frames(self) -> int:
        """How many frames take repeated rows or zeros."""
        return len(self.rows) - len(self.interior)

    @property
    def zero_rows(self) -> int:
        """How many rows of zeros there are in all chunks together."""
        return int((self.rows == ZERO_ROW).sum())

    @cached_property
    def lag(self) -> WindowLag:
        """Mean, range and drift of the lag."""
        return lag_statistics(self.lag_ms, np.array(self.frames) / float(exact_fps(self.fps)))

    @property
    def drifts(self) -> bool:
        """Whether the lag grows along a straight line, by more than the rounding to whole rows can."""
        times, slope = self._time_s, self.lag.drift_ms_s
        climbs = len(times) and abs(slope) * np.ptp(times) > STAIRCASE_MS and abs(slope) >= DRIFTS_MS_S
        return bool(climbs and np.ptp(self.lag_ms[self.interior] - slope * times) < STRAIGHT_MS)

    @property
    def start_lag_ms(self) -> float | None:
        """Lag at the start of the clip, less drift and the staircase of whole rows; None if no frame has one."""
        if not len(self.interior):
            return None
        drift = self.lag.drift_ms_s if self.drifts else 0.0
        return float((self.lag_ms[self.interior] - drift * self._time_s).max())

    @property
    def _time_s(self) -> np.ndarray:
        return (self.first_frame + self.interior) / float(exact_fps(self.fps))

    def lag_text(self) -> str:
        """Say lag and drift in a few characters, the number nearest to 0 first."""
        if self.stops:
            return "stops"
        if not len(self.interior):
            return "–"
        if self.drifts:
            return f"{signed(self.start_lag_ms)}, drift {signed(self.lag.drift_ms_s)} ms/s"
        low, high = sorted((self.lag.min_ms, self.lag.max_ms), key=abs)
        return signed(low) if abs(high - low) < 1 else f"{signed(low)}…{signed(high)}"


def profile(
    recipe: str | Recipe, n_samples: int = MINUTE_S * SAMPLE_RATE, fps: float | Fraction = 25, context: tuple = (2, 2)
) -> Profile:
    """Read off a recipe's index matrix what it does to a clip, by default of a minute.

    Parameters
    ----------
    recipe : Recipe or str
        The pipeline.
    n_samples, fps, context
        As in `Recipe.chunk_rows`.

    Returns
    -------
    Profile
        With `stops` set where the pipeline stops on this input.

    Raises
    ------
    ParameterError
        If there is no such recipe, or an argument is out of range.
    """
    recipe = recipe_of(recipe)
    try:
        first_frame, rows = recipe.first_frame_and_rows(n_samples, fps, context)
    except RecipeError as error:
        return Profile(recipe, fps, np.empty((0, len(chunk_offsets(context))), np.int64), 0, stops=str(error))
    return Profile(recipe, fps, rows, first_frame)


def window_lag(rows: np.ndarray, fps: float | Fraction, *, first_frame: int = 0) -> WindowLag:
    """Read lag and drift off an index matrix.

    Parameters
    ----------
    rows : ndarray of int, shape (n_frames, rows_per_chunk)
        The matrix.
    fps : float or Fraction
        Video frames per second.
    first_frame : int, default 0
        Number of the frame of its first index.

    Returns
    -------
    WindowLag
    """
    lag_ms = row_lag_ms(rows, fps, first_frame=first_frame)
    return lag_statistics(lag_ms, (first_frame + np.arange(len(lag_ms))) / float(exact_fps(fps)))
