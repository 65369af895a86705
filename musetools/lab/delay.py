"""The delay, and its growth, at which one series matches another best: shared by alignment and effect.

The correlation of two series has many local maxima over delays. So each room first tries a grid of delays, and then
searches from the best of these.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize

__all__ = ["best_match", "correlation", "delayed"]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two series; 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0


def delayed(times_s: np.ndarray, delay_s: float, drift: float) -> np.ndarray:
    """Return times later by `delay_s` at their mean; the delay grows by `drift` seconds a second."""
    return times_s + delay_s + drift * (times_s - times_s.mean())


def best_match(
    match: Callable[[np.ndarray], float], start: Sequence[float], steps: Sequence[float], *, rounds: int = 1, **options
) -> tuple[np.ndarray, float]:
    """Return the maximum of `match` near `start`, and the match there, by the Nelder-Mead simplex.

    The search takes these first `steps`, and starts again from where it ended in each further round; `options` are
    those of `scipy.optimize.minimize`, such as ``xatol``.
    """
    best = np.asarray(start, np.float64)
    for _ in range(rounds):
        options["initial_simplex"] = np.vstack([best, best + np.diag(steps)])
        found = minimize(lambda guess: -match(guess), best, method="Nelder-Mead", options=options)
        best = found.x
    return best, -float(found.fun)
