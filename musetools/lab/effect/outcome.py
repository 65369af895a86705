"""What a model makes of a recipe's chunks: how well it predicts, how late, and where it differs from training."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from musetools.lab.effect.delay import Delay, measure_delay
from musetools.lab.effect.model import Model
from musetools.lab.speech import Talker
from musetools.recipes.profile import WindowLag, lag_statistics
from musetools.table import minus

__all__ = ["EDGE_S", "Agreement", "Outcome"]

EDGE_S = 1.0  # the first and last second, measured apart from the rest


@dataclass(frozen=True)
class Outcome:
    """What a model predicts from chunks of the held-out speech, for each frame that starts within it."""

    recipe: str  # what made the chunks
    fps: float | Fraction
    model: Model
    times_s: np.ndarray  # (n_frames,): when each frame starts
    prediction: np.ndarray  # (n_frames,)
    lag_ms: np.ndarray  # (n_frames,): by the index matrix, NaN at an edge
    talker: Talker  # the held-out speech

    @property
    def title(self) -> str:
        """Recipe and frame rate."""
        return f"{self.recipe} at {float(self.fps):g} fps"

    @cached_property
    def truth(self) -> np.ndarray:
        """The true opening of each frame."""
        return self.talker.at(self.times_s)

    @cached_property
    def interior(self) -> np.ndarray:
        """Which frames are a second or more from both ends."""
        return (self.times_s >= EDGE_S) & (self.times_s < self.talker.duration_s - EDGE_S)

    @property
    def r2(self) -> float:
        """Share of the openings' variance that is explained, in the interior; below 0: worse than their mean."""
        return 1 - self.error**2 / float(self.truth[self.interior].var())

    @property
    def r2_text(self) -> str:
        """R² with three places."""
        return minus(f"{self.r2:.3f}")

    @property
    def error(self) -> float:
        """Root mean square error in the interior, in the talker's unit."""
        return self._error(self.interior)

    @property
    def first_error(self) -> float:
        """The same in the first second."""
        return self._error(self.times_s < EDGE_S)

    @property
    def last_error(self) -> float:
        """The same in the last second; of the last frames that there are, if they end before it."""
        return self._error(self.times_s >= min(self.talker.duration_s, self.times_s[-1]) - EDGE_S)

    def _error(self, frames: np.ndarray) -> float:
        return float(np.sqrt(np.square(self.prediction - self.truth)[frames].mean()))

    @property
    def bias(self) -> float:
        """How far predictions are above the truth on average, in the interior."""
        return float((self.prediction - self.truth)[self.interior].mean())

    @cached_property
    def placed(self) -> np.ndarray:
        """Which frames of the interior have a lag."""
        return self.interior & ~np.isnan(self.lag_ms)

    @cached_property
    def delay(self) -> Delay:
        """Delay of the frames that have a lag, measured against the truth."""
        return measure_delay(self.prediction[self.placed], self.times_s[self.placed], self.talker.at)

    @cached_property
    def expected(self) -> WindowLag:
        """Delay of the same frames by the index matrix: lag with the opposite sign."""
        return lag_statistics(-self.lag_ms[self.placed], self.times_s[self.placed])


@dataclass(frozen=True)
class Agreement:
    """Predictions from training's and from inference's chunks of the same speech at 25 fps."""

    interior: int  # frames whose chunk is at no edge, on either side
    equal: int  # how many of these get the same prediction bit for bit
    edges: int  # frames at an edge that training keeps too
    interior_change: float  # largest difference of two predictions of one frame; 0 where there is none
    edge_change: float
