"""Baselines on disk: what a case should give, with a tolerance a quantity, and the noise that it was set from."""

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
from musetools.lab.regression.quantities import Deviation, Quantity, compared, shown
from musetools.schema import COUNT, NUMBER, SECONDS, SHA256, TEXT, Schema, either, exactly, list_of

__all__ = ["Baseline"]

FORMAT = 1
INLINE = 64  # numbers up to which an array is part of the JSON file
_DTYPE = {"type": "string", "pattern": r"^(bool|u?int|float)[0-9]*\Z"}
_LIMITS = {"tolerance": {**NUMBER, "minimum": 0}, "noise": {**NUMBER, "minimum": 0}}
_ARRAY = {"dtype": _DTYPE, "shape": list_of(COUNT), **_LIMITS}
_QUANTITY = either(
    exactly(value={}, **_LIMITS), exactly(value={}, **_ARRAY), exactly(npy=TEXT, sha256=SHA256, **_ARRAY)
)
BASELINE = Schema(
    exactly(
        format={"enum": [FORMAT]},
        measured=TEXT,
        seconds=SECONDS,
        quantities={"type": "object", "additionalProperties": _QUANTITY},
    )
)


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
            raise ParameterError(
                f"runs record different quantities: {names}. Correct that, or let the case ignore them"
            )
        return cls({n: Quantity.measured(n, [one[n] for one in kept]) for n in kept[0]}, measured, seconds)

    def compare(self, results: Mapping[str, Any], ignore: Sequence[str]) -> tuple[Deviation, ...]:
        """Compare results with this baseline, those of a name in `ignore` left out."""
        got = _kept(results, ignore)
        found = [
            compared(name, wanted, got[name])
            if name in got
            else Deviation(name, inf, wanted.tolerance, "is missing", expected=shown(name, wanted.value))
            for name, wanted in self.quantities.items()
        ]
        new = {name: shown(name, value) for name, value in got.items() if name not in self.quantities}
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
