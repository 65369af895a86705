"""A small model that predicts how far a mouth is open from one frame's chunk: ridge regression."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve

from musetools.recipes.recipe import add_positions

__all__ = ["Model", "ridge"]

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the ridge, as shares of the mean squared length of a chunk
HELD_BACK = 4  # one in so many of the training frames, the last ones, chooses among them


@dataclass(frozen=True, eq=False)
class Model:
    """A linear model: one frame's mouth opening from its chunk."""

    side: str  # the training side whose chunks it learned from, one of `SIDES`
    positional_encoding: bool  # whether MuseTalk's was added to them
    weights: np.ndarray  # (rows_per_chunk · n_layers · width,)
    bias: float
    strength: float  # of the ridge, as chosen

    @property
    def name(self) -> str:
        """What it was trained on."""
        return f"{self.side}, {'with' if self.positional_encoding else 'no'} positions"

    def predict(self, batches: Iterable[np.ndarray], positional_encoding: bool) -> np.ndarray:
        """Predict openings; that of a chunk does not depend on the chunks around it, to the last bit."""
        place = np.empty_like(self.weights)  # always the same memory: at another alignment sums may round otherwise
        openings = []
        for batch in batches:
            for chunk in add_positions(batch) if positional_encoding else batch:
                place[:] = chunk.reshape(-1)
                openings.append(self.bias + float(np.einsum("i,i->", place, self.weights)))
        return np.array(openings)


def ridge(chunks: np.ndarray, openings: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Fit a linear model to standardised chunks.

    The strength that does best on the last quarter of the frames, fitted to the others, is taken for the fit to all.

    Parameters
    ----------
    chunks : ndarray of float, shape (n_frames, rows · layers, width)
        In the order of time.
    openings : ndarray of float, shape (n_frames,)
        What is to be learned.

    Returns
    -------
    weights : ndarray of float64, shape (rows · layers · width,)
    bias, strength : float
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

    strength = min(STRENGTHS, key=loss)
    weights = x.T @ fit(len(x), strength) / spread
    return weights, float(openings.mean() - mean @ weights), strength
