"""The frame rate that time stamps show."""

from collections.abc import Iterable
from fractions import Fraction
from statistics import median  # numpy's would import numpy.ma

import numpy as np

from musetools.timing import meant_rate

__all__ = ["shown_rate"]

UNEVEN = 0.1  # frames whose distance is off by more than this share of a frame make a rate variable
ON_FILM = (1, 1001)  # denominators of the frame rates that cameras have


def shown_rate(times: np.ndarray, base: Fraction, declared: Iterable[Fraction | None]) -> tuple[Fraction | None, bool]:
    """Return the frame rate that time stamps show, and whether they lie unevenly."""
    if len(times) < 2 or times[-1] == times[0]:
        return None, False
    steps, span = np.diff(times), int(times[-1] - times[0]) * base
    rate = len(steps) / span
    # a container that counts in milliseconds cannot but round: what it declares may be exact
    near = (r for r in declared if r and r.denominator in ON_FILM and abs(len(steps) / r - span) <= base)
    exact = next(near, None) or (meant_rate(float(round(rate, 5))) if rate > 1e-4 else rate)
    ticks = float(1 / (rate * base))  # a frame
    slack = max(UNEVEN * ticks, 1.0 if ticks > 2 else 0.0)
    return exact, bool(np.abs(steps - median(steps.tolist())).max() > slack)
