"""Baselines: what a case should give, with a tolerance a quantity and the noise that it was set from, as JSON."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from musetools.errors import ParameterError
from musetools.files import write_whole
from musetools.lab.record import array_from_npy, flat, npy_bytes
from musetools.schema import COUNT, NUMBER, SECONDS, SHA256, TEXT, Schema, either, exactly, list_of

__all__ = ["Baseline", "Deviation", "Quantity", "compared", "unit_of"]

NOISES = 10  # tolerance over measured noise
ROUNDING = 1e-5  # least tolerance of a number that was computed in float32, as a share of its size
LARGEST = 0.1  # a tolerance above this share of the signal would hide it
UNITS = {
    "_ms_s": "ms per s",
    "_ms": "ms",
    "_s": "s",
    "_percent": "%",
    "_mib": "MiB",
    "fps": "fps",
}  # of names that end so
UNITS |= dict.fromkeys(("distance", "difference_inside", "difference_at_edges", "float16_error"), "std")

FORMAT = 1
INLINE = 64  # numbers up to which an array is part of the JSON file
_LIMITS = {name: {**NUMBER, "minimum": 0} for name in ("tolerance", "noise")}
_ARRAY = {"dtype": {"type": "string", "pattern": r"^(bool|u?int|float)[0-9]*\Z"}, "shape": list_of(COUNT), **_LIMITS}
_QUANTITY = either(
    exactly(value={}, **_LIMITS), exactly(value={}, **_ARRAY), exactly(npy=TEXT, sha256=SHA256, **_ARRAY)
)
_QUANTITIES = {"type": "object", "additionalProperties": _QUANTITY}
BASELINE = Schema(exactly(format={"enum": [FORMAT]}, measured=TEXT, seconds=SECONDS, quantities=_QUANTITIES))


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
        size = cls(values[0]).size
        found = [compared(name, cls(values[0], inf if size else 0.0), value) for value in values[1:]]
        if fault := next((one.fault for one in found if one.fault), ""):
            raise ParameterError(f"{name} differs between runs: {fault}. Correct that, or let the case ignore it")
        noise = max((one.error for one in found), default=0.0)
        return cls(values[0], max(NOISES * noise, ROUNDING * size), noise).checked(name)

    @property
    def size(self) -> float:
        """The largest magnitude of a float or an array of floats; 0 for what must be equal."""
        array = _numbers(self.value)
        is_float = array is not None and array.dtype.kind == "f"
        return float(np.abs(array.astype(np.float64)).max(initial=0)) if is_float else 0.0

    def checked(self, name: str) -> "Quantity":
        """Return it; ParameterError if it is not finite, or its tolerance would hide the signal."""
        if not 0 <= self.tolerance <= LARGEST * self.size < inf:
            raise ParameterError(
                f"the baseline of {name} would hide faults: its size is {self.size:.3g}, its tolerance "
                f"{self.tolerance:.3g}. It may not hold NaN or infinity, nor allow more than a tenth of its size, or "
                "anything where it must be equal. Measure again, or let the case ignore it"
            )
        return self


def compared(name: str, wanted: Quantity, got: Any) -> Deviation:
    """Compare a result with its baseline: type, shape, finiteness, value."""
    ours, theirs = _numbers(got), _numbers(wanted.value)
    error, fault, place = 0.0, "", ()
    if ours is None or theirs is None:
        if type(got) is not type(wanted.value) or got != wanted.value:
            fault = f"is {got!r:.80}, was {wanted.value!r:.80}"
    elif (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        fault = f"is {_form(ours)}, was {_form(theirs)}"
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
    return Deviation(name, error, wanted.tolerance, fault, _shown(name, got, place), _shown(name, wanted.value, place))


def _shown(name: str, value: Any, place: tuple[int, ...] = ()) -> str:
    """Write a recorded value for people, with its unit; of an array one value and its place, or its form."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{_shown(name, value[place])} at {[int(index) for index in place]}" if place else _form(value)
    is_number = isinstance(value, (int, float, np.ndarray, np.number)) and not isinstance(value, bool)
    return f"{value:.6g}{unit_of(name)}" if is_number else f"{value!s:.80}"


def _form(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape or ''}".rstrip()


def unit_of(name: str) -> str:
    """Return the unit of a recorded quantity after a space; "" where it has none."""
    return next((f" {unit}" for ending, unit in UNITS.items() if name.split("/")[0].endswith(ending)), "")


def _numbers(value: Any) -> np.ndarray | None:
    """Return a number or an array of numbers as an array; None for all else, whole numbers beyond 64 bits too."""
    array = np.asarray(value) if isinstance(value, (int, float, np.ndarray)) else None
    return None if array is None or array.dtype == object else array


@dataclass(frozen=True)
class Baseline:
    """What a case should give."""

    quantities: dict[str, Quantity]  # by flat name, see `musetools.lab.record.flat`
    measured: str  # over what runs the noise was measured
    seconds: float  # how long a run took then

    @classmethod
    def of_runs(
        cls, runs: Sequence[Mapping[str, Any]], ignore: Sequence[str], measured: str, seconds: float
    ) -> "Baseline":
        """Make a baseline of the results of several runs of one case."""
        kept = [_kept(results, ignore) for results in runs]
        if differing := set().union(*kept) - set(kept[0]).intersection(*kept):
            names = ", ".join(sorted(differing))
            raise ParameterError(f"runs record different quantities: {names}. Correct that, or let the case ignore it")
        return cls({n: Quantity.measured(n, [one[n] for one in kept]) for n in kept[0]}, measured, seconds)

    def compare(self, results: Mapping[str, Any], ignore: Sequence[str]) -> tuple[Deviation, ...]:
        """Compare results with this baseline, those of a name in `ignore` left out."""
        got = _kept(results, ignore)
        found = [
            compared(name, wanted, got[name])
            if name in got
            else Deviation(name, inf, wanted.tolerance, "is missing", expected=_shown(name, wanted.value))
            for name, wanted in self.quantities.items()
        ]
        new = {name: _shown(name, value) for name, value in got.items() if name not in self.quantities}
        return (*found, *(Deviation(n, inf, 0.0, "is new: it has no baseline", text) for n, text in new.items()))

    def save(self, path: Path) -> None:
        """Write a JSON file, and an ``.npy`` file for each large array."""
        plain = {name: _stored(path, name, quantity) for name, quantity in self.quantities.items()}
        head = {"format": FORMAT, "measured": self.measured, "seconds": round(self.seconds, 1)}
        text = json.dumps({**head, "quantities": plain}, indent=1, allow_nan=False, ensure_ascii=False)
        write_whole(path, text.encode())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Baseline":
        """Read a baseline; ParameterError if it is missing or damaged, or would hide a fault."""
        path = Path(path)
        try:
            plain = BASELINE.parse(path.read_bytes())
            quantities = {
                name: Quantity(_value(path, kept), kept["tolerance"], kept["noise"]).checked(name)
                for name, kept in plain["quantities"].items()
            }
            return cls(quantities, plain["measured"], plain["seconds"])
        except Exception as error:  # a damaged file can raise anything
            reason = f"{type(error).__name__}: {error}"
            raise ParameterError(
                f"no baseline {path} that can be used: {reason}. musetools regress --update makes it"
            ) from None


def _stored(path: Path, name: str, quantity: Quantity) -> dict[str, Any]:
    """Return a quantity as the JSON file holds it; write a large array to a file of its own."""
    value, limits = quantity.value, {"tolerance": quantity.tolerance, "noise": quantity.noise}
    if not isinstance(value, np.ndarray):
        return {"value": value, **limits}
    form = {"dtype": str(value.dtype), "shape": list(value.shape)}
    if value.size <= INLINE:
        return {"value": value.tolist(), **form, **limits}
    plain = name.replace("%", "%25").replace("/", "%2F")  # as a dot, a/b would take the file of "a.b"
    content, file = npy_bytes(name, value), path.with_name(f"{path.stem}.{plain}.npy")
    write_whole(file, content)
    return {"npy": file.name, "sha256": hashlib.sha256(content).hexdigest(), **form, **limits}


def _value(path: Path, kept: Mapping[str, Any]) -> Any:
    """Return the value that `_stored` stored."""
    if "npy" in kept:
        content = path.with_name(Path(kept["npy"]).name).read_bytes()
        if hashlib.sha256(content).hexdigest() != kept["sha256"]:
            raise ValueError(f"{kept['npy']} is not the array that the baseline was made with")
        return array_from_npy(content, kept["dtype"], kept["shape"])
    if "dtype" not in kept:
        return kept["value"]
    array = np.array(kept["value"], kept["dtype"]).reshape(kept["shape"])
    if array.tolist() != kept["value"]:
        raise ValueError(f"its values are no {kept['dtype']} of shape {kept['shape']}")
    return array


def _kept(results: Mapping[str, Any], ignore: Sequence[str]) -> dict[str, Any]:
    """Return the quantities by flat name, without those that are ignored."""
    return {name: value for name, value in flat(results) if not any(fnmatchcase(name, one) for one in ignore)}
