"""How late a predicted mouth moves, and whether that grows: its correlation with a truth known at any time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from musetools.errors import ParameterError

__all__ = ["Delay", "measure_delay"]

WINDOW_S = 6.0  # stretches in which every delay is tried
STEP_S = 0.02  # from one delay to the next
REACH_S, DRIFT_REACH = 3.0, 0.06  # s, s/s: how far either side is looked for at least, and for which drifts
NEAR_S = 0.3  # how far from the line through all stretches a single one's delay may lie
SIMPLEX = (0.02, 0.002)  # s, s/s: first steps of the search over the whole clip
SHORTEST_S = 2.0
Truth = Callable[[np.ndarray], np.ndarray]  # openings at any times


@dataclass(frozen=True)
class Delay:
    """How late a prediction comes."""

    ms: float  # at the mean time of the frames: positive where the mouth moves late, the opposite sign of lag
    drift_ms_s: float  # growth, in ms per second of clip; 0 for a clip of less than two stretches of 6 s
    correlation: float  # of prediction and truth at that delay
    windows_s: np.ndarray  # (n,): middle of each stretch of 6 s
    windows_ms: np.ndarray  # (n,): delay in it


def measure_delay(prediction: np.ndarray, times_s: np.ndarray, truth: Truth) -> Delay:
    """Find the delay, and its growth, at which a prediction correlates best with the truth.

    No expected delay enters: all delays up to 3 s either side, and more in long clips, are tried in stretches of
    6 s; the straight line along which the stretches match best is where the search over the whole clip starts.

    Prediction and times, ascending, are one of each frame, (n_frames,). The truth is a function of any times, so that
    precision does not end at whole frames.
    """
    covered = float(np.ptp(times_s)) if len(times_s) else 0.0
    if covered < SHORTEST_S or np.ptp(prediction) == 0:
        raise ParameterError(
            f"a delay needs {SHORTEST_S:g} s or more of a prediction that moves; got {covered:.2f} s. Take more"
        )
    middle = times_s.mean()
    shifts, places, match = _curves(prediction, times_s, truth)
    start = _line(shifts, places - middle, match)

    def loss(guess: np.ndarray) -> float:
        delay, drift = np.append(guess, 0.0)[:2]  # a single stretch has no drift
        return -_correlation(prediction, truth(times_s - delay - drift * (times_s - middle)))

    simplex = np.vstack([start, start + np.diag(SIMPLEX[: len(start)])])
    options = {"initial_simplex": simplex, "xatol": 1e-5, "fatol": 1e-8}
    best = minimize(loss, start, method="Nelder-Mead", options=options)
    delay, drift = np.append(best.x, 0.0)[:2]
    found = [_peak(shifts, m, delay + drift * (place - middle)) for place, m in zip(places, match, strict=True)]
    return Delay(1000 * float(delay), 1000 * float(drift), -float(best.fun), places, 1000 * np.array(found))


def _curves(prediction: np.ndarray, times_s: np.ndarray, truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlate each stretch at every delay: delays, middles, (stretches, delays)."""
    covered = float(np.ptp(times_s))
    furthest = round(max(REACH_S, DRIFT_REACH * covered) / STEP_S)
    shifts = np.arange(-furthest, furthest + 1) * STEP_S
    edges = np.linspace(times_s[0], times_s[-1], max(1, int(covered / WINDOW_S)) + 1)[1:-1]
    places, match = [], []
    for stretch in np.split(np.arange(len(times_s)), np.searchsorted(times_s, edges)):
        part, times = prediction[stretch], times_s[stretch]
        places.append(times.mean())
        match.append([_correlation(part, series) for series in truth(times - shifts[:, None])])
    return shifts, np.array(places), np.array(match)


def _line(shifts: np.ndarray, places: np.ndarray, match: np.ndarray) -> np.ndarray:
    """Find delay and drift of the straight line along which all stretches together match best; one has no drift."""
    if len(places) == 1:
        return shifts[[int(match[0].argmax())]]
    n_slopes = 2 * round(DRIFT_REACH * np.ptp(places) / STEP_S) + 1
    slopes = np.linspace(-DRIFT_REACH, DRIFT_REACH, n_slopes)
    along = [sum(np.interp(shifts + s * x, shifts, m) for x, m in zip(places, match, strict=True)) for s in slopes]
    steepest, at = np.unravel_index(np.argmax(along), np.shape(along))
    return np.array([shifts[at], slopes[steepest]])


def _peak(shifts: np.ndarray, match: np.ndarray, expected: float) -> float:
    """Find the largest of a curve near a place, between its points: on the parabola through the best three."""
    near = np.where(np.abs(shifts - expected) <= NEAR_S, match, -np.inf)
    at = int(np.clip(np.argmax(near), 1, len(match) - 2))
    before, here, after = match[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(shifts[at] + (STEP_S * (before - after) / (2 * bend) if bend < 0 else 0.0))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two series; 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0
