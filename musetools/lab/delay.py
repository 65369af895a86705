"""The delay, and its growth, at which one series matches another best: shared by alignment and effect.

The correlation of two series has many local maxima over delays, so each room first tries a grid of delays, in its own
way, and then climbs from the best of these.
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
    """Return instants later by a delay that holds at their mean, and grows by `drift` seconds a second."""
    return times_s + delay_s + drift * (times_s - times_s.mean())


def best_match(
    match: Callable[[np.ndarray], float], start: Sequence[float], steps: Sequence[float], *, rounds: int = 1, **options
) -> tuple[np.ndarray, float]:
    """Climb from a first guess to the nearest maximum, with Nelder and Mead's simplex.

    Parameters
    ----------
    match : callable
        How well a guess matches, such as the correlation at a delay and a drift.
    start : sequence of float, length n
        First guess.
    steps : sequence of float, length n
        First step along each of its parameters.
    rounds : int, default 1
        How often the search starts again, with these steps, from where it ended.
    **options
        For `scipy.optimize.minimize`, such as ``xatol``.

    Returns
    -------
    best : ndarray of float64, shape (n,)
    match : float
        The match there.
    """
    best = np.asarray(start, np.float64)
    for _ in range(rounds):
        simplex = np.vstack([best, best + np.diag(steps)])
        options["initial_simplex"] = simplex
        found = minimize(lambda guess: -match(guess), best, method="Nelder-Mead", options=options)
        best = found.x
    return best, -float(found.fun)
