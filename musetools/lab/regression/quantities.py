"""One quantity against its baseline: what counts as equal, and how much difference is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from musetools.errors import ParameterError

__all__ = ["Deviation", "Quantity", "compared", "shown", "unit_of"]

NOISES = 10  # tolerance over measured noise
ROUNDING = 1e-5  # least tolerance of a number that was computed in float32, as a share of its size
LARGEST = 0.1  # a tolerance above this share of the signal would hide it
UNITS = {  # by how the name of a recorded result ends
    "_ms_s": "ms per s",
    "_ms": "ms",
    "_s": "s",
    "_percent": "%",
    "_mib": "MiB",
    "fps": "fps",
    "distance": "std",
    "difference_inside": "std",
    "difference_at_edges": "std",
    "float16_error": "std",
}


@dataclass(frozen=True)
class Deviation:
    """How far one quantity is from its baseline."""

    quantity: str
    error: float  # largest difference; infinite where the two cannot be subtracted
    tolerance: float  # what is allowed
    fault: str = ""  # what is wrong; empty if nothing is
    measured: str = ""  # the value for people; of an array the one that is farthest off, and its place
    expected: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is within its tolerance."""
        return not self.fault

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
        """Set a tolerance from the values of several runs; errors as `checked`, or if what must be equal differs."""
        first, size = values[0], _size(values[0])
        found = [compared(name, cls(first, inf if size is not None else 0.0), value) for value in values[1:]]
        if fault := next((one.fault for one in found if one.fault), ""):
            raise ParameterError(f"{name} differs between runs: {fault}. Correct that, or let the case ignore it")
        noise = max((one.error for one in found), default=0.0)
        return cls(first, max(NOISES * noise, ROUNDING * (size or 0)), noise).checked(name)

    def checked(self, name: str) -> "Quantity":
        """Return it; ParameterError if it is not finite, or its tolerance would hide the signal."""
        array, size = _numbers(self.value), _size(self.value) or 0.0
        if array is not None and not np.isfinite(array).all():
            raise ParameterError(f"the baseline of {name} holds NaN or infinity, which hides any fault. Make a new one")
        if not 0 <= self.tolerance <= LARGEST * size:
            raise ParameterError(
                f"the tolerance {self.tolerance!r} of {name} would hide its signal of size {size:.3g}: a tenth of it "
                "is the most, and 0 where it must be equal. Measure again, or let the case ignore it"
            )
        return self


def compared(name: str, wanted: Quantity, got: Any) -> Deviation:
    """Compare a result with its baseline: type, shape, finiteness, value."""
    ours, theirs = _numbers(got), _numbers(wanted.value)
    error, fault, place = 0.0, "", ()
    if ours is None or theirs is None:
        if type(got) is not type(wanted.value) or got != wanted.value:
            fault = f"is {got!r:.80}, was {wanted.value!r:.80}"
    elif ours.dtype != theirs.dtype:
        fault = f"is {ours.dtype}, was {theirs.dtype}"
    elif ours.shape != theirs.shape:
        fault = f"has shape {ours.shape}, had {theirs.shape}"
    elif not np.isfinite(ours).all():
        fault = "holds NaN or infinity"
    else:  # whole numbers are subtracted as what they are: as floats, large ones would be rounded
        kind = np.float64 if ours.dtype.kind == "f" else object
        gap = np.abs(ours.astype(kind) - theirs.astype(kind)).astype(float)
        place = np.unravel_index(gap.argmax(), gap.shape) if gap.size else ()
        error = float(gap.max(initial=0))
    if fault:
        error = inf
    elif error > wanted.tolerance:
        fault = f"is off by {error:.3g}, allowed is {wanted.tolerance:.3g}"
    return Deviation(name, error, wanted.tolerance, fault, shown(name, got, place), shown(name, wanted.value, place))


def shown(name: str, value: Any, place: tuple[int, ...] = ()) -> str:
    """Write a recorded value for people, with its unit; of an array one value and its place, or the shape."""
    unit = unit_of(name)
    if isinstance(value, np.ndarray) and value.ndim:
        if not place:
            return f"{value.dtype} {value.shape}"
        return f"{value[place]:.6g}{unit} at {[int(index) for index in place]}"
    is_number = isinstance(value, (int, float, np.ndarray)) and not isinstance(value, bool)
    return f"{value:.6g}{unit}" if is_number else f"{value!s:.80}"


def unit_of(name: str) -> str:
    """Return the unit of a recorded quantity after a space; "" where it has none."""
    return next((f" {unit}" for ending, unit in UNITS.items() if name.split("/")[0].endswith(ending)), "")


def _numbers(value: Any) -> np.ndarray | None:
    """Return a number or an array of numbers as an array; None for all else, whole numbers beyond 64 bits too."""
    array = np.asarray(value) if isinstance(value, (int, float, np.ndarray)) else None
    return None if array is None or array.dtype == object else array


def _size(value: Any) -> float | None:
    """Return the largest magnitude of a float or an array of floats; None for what must be equal."""
    array = _numbers(value)
    is_float = array is not None and array.dtype.kind == "f"
    return float(np.abs(array.astype(np.float64)).max(initial=0)) if is_float else None
