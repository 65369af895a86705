"""One quantity against its baseline: what counts as equal, and how much difference is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from musetools.errors import ParameterError

__all__ = ["Deviation", "Quantity", "compared"]

NOISES = 10  # tolerance over measured noise
ROUNDING = 1e-5  # least tolerance of a number that was computed in float32, as a share of its size
SWALLOWS = 0.1  # a tolerance of this share of the signal would hide it


@dataclass(frozen=True)
class Deviation:
    """How far one quantity is from its baseline.

    Attributes
    ----------
    quantity : str
        Its name.
    error, tolerance : float
        Largest difference, and what is allowed; infinite where the two cannot be subtracted.
    fault : str
        What is wrong; empty if nothing is.
    """

    quantity: str
    error: float
    tolerance: float
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return not self.fault

    @property
    def equal(self) -> bool:
        """Whether there is no difference at all."""
        return self.ok and not self.error

    @property
    def share(self) -> float:
        """Error as a share of the tolerance: above 1 is too much."""
        if self.error == 0:
            return 0.0
        return self.error / self.tolerance if self.tolerance else float("inf")


@dataclass(frozen=True)
class Quantity:
    """One baseline value.

    Attributes
    ----------
    value : ndarray, number, text, bool, list or None
        What it should be.
    tolerance : float
        Largest difference that is allowed; 0 for what must be equal.
    noise : float
        Largest difference over the runs that were made to measure it.
    """

    value: Any
    tolerance: float = 0.0
    noise: float = 0.0

    @classmethod
    def measured(cls, name: str, values: Sequence[Any]) -> "Quantity":
        """Set a tolerance from the values of several runs.

        Raises
        ------
        ParameterError
            If what must be equal differs between runs, or noise would swallow the signal.
        """
        first = values[0]
        others = [compared(name, cls(first, tolerance=float("inf")), value) for value in values[1:]]
        if fault := next((other.fault for other in others if other.fault), ""):
            raise ParameterError(f"{name} differs between runs: {fault}. Mend it, or let the case ignore it")
        noise = max((other.error for other in others), default=0.0)
        size = _size(first)
        tolerance = max(NOISES * noise, ROUNDING * size) if _is_float(first) else 0.0
        return cls(first, tolerance, noise).checked(name)

    def checked(self, name: str) -> "Quantity":
        """Return it, if one can test against it.

        Raises
        ------
        ParameterError
            If it is not finite, or its tolerance is no number or would swallow the signal.
        """
        number = isinstance(self.tolerance, (int, float)) and np.isfinite(self.tolerance) and self.tolerance >= 0
        if _is_number(self.value) and not np.isfinite(self.value).all():
            raise ParameterError(f"the baseline of {name} holds NaN or infinity: it would hide any fault. Make it anew")
        if not number or self.tolerance > SWALLOWS * _size(self.value):
            raise ParameterError(
                f"the tolerance {self.tolerance!r} of {name} would swallow its signal of size {_size(self.value):.3g}: "
                f"at most a tenth of it is allowed. Measure anew, or let the case ignore {name}"
            )
        return self


def _is_number(value: Any) -> bool:
    small = type(value) is int and -(2**63) <= value < 2**63  # what is longer is compared as it is
    return isinstance(value, np.ndarray) or small or type(value) in (bool, float)


def _is_float(value: Any) -> bool:
    return _is_number(value) and np.asarray(value).dtype.kind == "f"


def _size(value: Any) -> float:
    """Return the largest magnitude of a number or array of numbers, else 0."""
    return float(np.abs(np.asarray(value, np.float64)).max(initial=0)) if _is_number(value) else 0.0


def compared(name: str, wanted: Quantity, got: Any) -> Deviation:
    """Compare a result with its baseline: type, shape, finiteness, value."""
    value, far = wanted.value, float("inf")
    if not _is_number(value) or not _is_number(got):
        same = type(value) is type(got) and value == got
        return Deviation(name, 0.0 if same else far, 0.0, "" if same else f"is {_short(got)}, was {_short(value)}")
    ours, theirs = np.asarray(got), np.asarray(value)
    if ours.dtype != theirs.dtype:
        return Deviation(name, far, wanted.tolerance, f"is {ours.dtype}, was {theirs.dtype}")
    if ours.shape != theirs.shape:
        return Deviation(name, far, wanted.tolerance, f"has shape {ours.shape}, had {theirs.shape}")
    if not np.isfinite(ours).all():
        return Deviation(name, far, wanted.tolerance, "holds NaN or infinity")
    if not _is_float(value):  # compared as what they are: as floats, large whole numbers would be rounded
        error = float(np.abs(ours.astype(object) - theirs.astype(object)).max(initial=0))
        allowed = 0.0 if np.isinf(wanted.tolerance) else wanted.tolerance
        fault = f"is off by {error:.3g}, allowed is {allowed:.3g}" if error > allowed else ""
        return Deviation(name, error, allowed, fault)
    error = float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0))
    if np.isinf(wanted.tolerance):  # noise is being measured
        return Deviation(name, error, error)
    try:
        np.testing.assert_allclose(ours.astype(np.float64), theirs, rtol=0, atol=wanted.tolerance)
    except AssertionError:
        fault = f"is off by {error:.3g}, allowed is {wanted.tolerance:.3g}"
        return Deviation(name, error, wanted.tolerance, fault)
    return Deviation(name, error, wanted.tolerance)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
