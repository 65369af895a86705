"""A small model of mouth openings, and what it makes of a recipe's chunks: how well it predicts, how late."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from scipy.linalg import solve

from musetools.lab.effect.delay import Delay, measure_delay
from musetools.lab.speech import Talker
from musetools.recipes.profile import WindowLag, lag_statistics
from musetools.recipes.recipe import sinusoids
from musetools.table import minus

__all__ = ["EDGE_S", "Agreement", "Model", "Outcome", "ridge"]

EDGE_S = 1.0  # the first and last second, measured apart from the rest
STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the ridge, as shares of the mean squared length of a chunk
HELD_BACK = 4  # one in so many of the training frames, the last ones, chooses among them


@dataclass(frozen=True, eq=False)
class Model:
    """A linear model: one frame's mouth opening from its chunk."""

    side: str  # the training side whose chunks it learned from, one of `SIDES`
    positional_encoding: bool  # whether MuseTalk's was added to them
    weights: np.ndarray  # (rows_per_chunk · n_layers · width,)
    bias: float

    @property
    def name(self) -> str:
        """What it was trained on."""
        return f"{self.side}, {'with' if self.positional_encoding else 'no'} positions"

    def predict(self, chunks: Sequence[np.ndarray], positional_encoding: bool) -> np.ndarray:
        """Predict openings; that of a chunk does not depend on the chunks around it, to the last bit."""
        added = sinusoids(*chunks[0].shape) if positional_encoding else 0
        place = np.empty_like(self.weights)  # always the same memory: at another alignment sums may round otherwise
        openings = []
        for chunk in chunks:
            place[:] = (chunk + added).reshape(-1)
            openings.append(self.bias + float(np.einsum("i,i->", place, self.weights)))
        return np.array(openings)


def ridge(chunks: np.ndarray, openings: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a linear model to standardised chunks, (n_frames, rows · layers, width) in the order of time.

    The strength that does best on the last quarter of the frames, fitted to the others, is taken for the fit to all.
    Returns weights, float64 (rows · layers · width,), and bias.
    """
    x = chunks.reshape(len(chunks), -1).astype(np.float64)
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    x -= mean
    x /= spread
    products, first = x @ x.T, len(x) - len(x) // HELD_BACK

    def fit(n: int, strength: float) -> np.ndarray:
        damped = products[:n, :n] + strength * products.diagonal().mean() * np.eye(n)
        return solve(damped, openings[:n] - openings[:n].mean(), assume_a="pos")

    def loss(strength: float) -> float:
        guess = openings[:first].mean() + products[first:, :first] @ fit(first, strength)
        return float(np.square(guess - openings[first:]).mean())

    weights = x.T @ fit(len(x), min(STRENGTHS, key=loss)) / spread
    return weights, float(openings.mean() - mean @ weights)


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
