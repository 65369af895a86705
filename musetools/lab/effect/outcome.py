"""What a model makes of a recipe's chunks: how well it predicts, how late, and where it differs from training."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from musetools.lab.effect.delay import Delay, measure_delay
from musetools.lab.effect.mouth import Model
from musetools.lab.speech import Talker
from musetools.recipes.profile import WindowLag, lag_statistics

__all__ = ["EDGE_S", "Agreement", "Outcome"]

EDGE_S = 1.0  # the first and last second, measured apart from the rest


@dataclass(frozen=True)
class Outcome:
    """What a model predicts from chunks of the held-out speech, frame by frame.

    Attributes
    ----------
    recipe : str
        What made the chunks.
    fps : float or Fraction
        Frame rate.
    model : Model
        What predicts.
    times_s, prediction, lag_ms : ndarray of float64, shape (n_frames,)
        Of each frame that begins within the speech: when, what, and its chunk's lag by the index matrix (NaN at an
        edge).
    talker : Talker
        The held-out speech.
    """

    recipe: str
    fps: float | Fraction
    model: Model
    times_s: np.ndarray
    prediction: np.ndarray
    lag_ms: np.ndarray
    talker: Talker

    @cached_property
    def truth(self) -> np.ndarray:
        """The true opening of each frame."""
        return self.talker.at(self.times_s)

    @cached_property
    def interior(self) -> np.ndarray:
        """Which frames lie a second or more from both ends."""
        return (self.times_s >= EDGE_S) & (self.times_s < self.talker.duration_s - EDGE_S)

    @property
    def r2(self) -> float:
        """Share of the openings' variance that is explained, in the interior; below 0: worse than their mean."""
        wrong = np.square(self.prediction - self.truth)[self.interior]
        return float(1 - wrong.mean() / self.truth[self.interior].var())

    @property
    def error(self) -> float:
        """Root mean square error in the interior; openings are 0 … 1."""
        return self._error(self.interior)

    @property
    def bias(self) -> float:
        """How far predictions lie above the truth on average, in the interior."""
        return float((self.prediction - self.truth)[self.interior].mean())

    @property
    def first_error(self) -> float:
        """The same in the first second."""
        return self._error(self.times_s < EDGE_S)

    @property
    def last_error(self) -> float:
        """The same in the last second; of the last frames that there are, if they end before it."""
        return self._error(self.times_s >= min(self.talker.duration_s, self.times_s[-1]) - EDGE_S)

    @cached_property
    def delay(self) -> Delay:
        """Delay of the interior's frames against the truth, measured."""
        return measure_delay(self.prediction[self.placed], self.times_s[self.placed], self.talker.at)

    @property
    def expected_ms(self) -> float:
        """Delay of the same frames by the index matrix: lag with the opposite sign."""
        return -self._lag.mean_ms

    @property
    def expected_drift_ms_s(self) -> float:
        """Its growth, in ms per second of clip."""
        return -self._lag.drift_ms_s

    @cached_property
    def placed(self) -> np.ndarray:
        """Which frames of the interior have a lag."""
        return self.interior & ~np.isnan(self.lag_ms)

    @cached_property
    def _lag(self) -> WindowLag:
        return lag_statistics(self.lag_ms[self.placed], self.times_s[self.placed])

    def _error(self, frames: np.ndarray) -> float:
        return float(np.sqrt(np.square(self.prediction - self.truth)[frames].mean()))


@dataclass(frozen=True)
class Agreement:
    """Predictions from training's and from inference's chunks of the same speech at 25 fps.

    Attributes
    ----------
    interior, equal : int
        Frames whose chunk is at no edge, on either side; and how many of them get the same prediction bit for bit.
    edges : int
        Frames at an edge that training keeps too.
    interior_change, edge_change : float
        Largest difference of two predictions of one frame, inside and at the edges; 0 where there is none.
    """

    interior: int
    equal: int
    edges: int
    interior_change: float
    edge_change: float
