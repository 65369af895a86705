"""One quantity against its baseline: what counts as equal, and how much difference is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from musetools.errors import ParameterError

__all__ = ["Deviation", "Quantity", "compared"]

NOISES = 10  # tolerance over measured noise
ROUNDING = 1e-5  # least tolerance of a number that was computed in float32, as a share of its size
SWALLOWS = 0.1  # a tolerance of this share of the signal would hide it


@dataclass(frozen=True)
class Deviation:
    """How far one quantity is from its baseline."""

    quantity: str
    error: float  # largest difference; infinite where the two cannot be subtracted
    tolerance: float  # what is allowed
    fault: str = ""  # what is wrong; empty if nothing is

    @property
    def ok(self) -> bool:
        """Whether it is within its tolerance."""
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
        return self.error / self.tolerance if self.tolerance else inf


@dataclass(frozen=True)
class Quantity:
    """One baseline value."""

    value: Any  # array, number, text, bool, list or None
    tolerance: float = 0.0  # largest difference that is allowed; 0 for what must be equal
    noise: float = 0.0  # largest difference over the runs that were made to measure it

    @classmethod
    def measured(cls, name: str, values: Sequence[Any]) -> "Quantity":
        """Set a tolerance from the values of several runs.

        Raises
        ------
        ParameterError
            If what must be equal differs between runs, or noise would swallow the signal.
        """
        first, real = values[0], _is_float(values[0])
        found = [compared(name, cls(first, inf if real else 0.0), value) for value in values[1:]]
        if fault := next((one.fault for one in found if one.fault), ""):
            raise ParameterError(f"{name} differs between runs: {fault}. Mend it, or let the case ignore it")
        noise = max((one.error for one in found), default=0.0)
        return cls(first, max(NOISES * noise, ROUNDING * _size(first)) if real else 0.0, noise).checked(name)

    def checked(self, name: str) -> "Quantity":
        """Return it, if one can test against it.

        Raises
        ------
        ParameterError
            If it is not finite, or its tolerance is no number or would swallow the signal.
        """
        if _is_number(self.value) and not np.isfinite(self.value).all():
            raise ParameterError(f"the baseline of {name} holds NaN or infinity: it would hide any fault. Make it anew")
        largest = SWALLOWS * _size(self.value) if _is_float(self.value) else 0.0
        if not isinstance(self.tolerance, (int, float)) or not 0 <= self.tolerance <= largest:
            raise ParameterError(
                f"the tolerance {self.tolerance!r} of {name} would swallow its signal of size {_size(self.value):.3g}: "
                f"at most a tenth of it is allowed, and 0 where it must be equal. Measure anew, or let the case ignore "
                f"{name}"
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
    if fault := _unlike(wanted.value, got):
        return Deviation(name, inf, wanted.tolerance, fault)
    error = 0.0
    if _is_number(got):  # ints are subtracted as what they are: as floats, large ones would be rounded
        kind = np.float64 if _is_float(got) else object
        ours, theirs = (np.asarray(value).astype(kind) for value in (got, wanted.value))
        error = float(np.max(np.abs(ours - theirs), initial=0))
    fault = f"is off by {error:.3g}, allowed is {wanted.tolerance:.3g}" if error > wanted.tolerance else ""
    return Deviation(name, error, wanted.tolerance, fault)


def _unlike(value: Any, got: Any) -> str:
    """Say why two values cannot be subtracted, if so."""
    if not _is_number(value) or not _is_number(got):
        return "" if type(value) is type(got) and value == got else f"is {_short(got)}, was {_short(value)}"
    ours, theirs = np.asarray(got), np.asarray(value)
    if ours.dtype != theirs.dtype:
        return f"is {ours.dtype}, was {theirs.dtype}"
    if ours.shape != theirs.shape:
        return f"has shape {ours.shape}, had {theirs.shape}"
    return "" if np.isfinite(ours).all() else "holds NaN or infinity"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
