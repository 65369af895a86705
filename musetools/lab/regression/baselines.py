"""Baselines on disk: what a case should give, with a tolerance a quantity, and the noise that it was set from."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from musetools.errors import ParameterError
from musetools.files import write_whole
from musetools.lab.record import flat, npy_bytes, npy_record, read_npy
from musetools.lab.regression.quantities import Deviation, Quantity, compared

__all__ = ["Baseline"]

FORMAT = 1
INLINE = 64  # numbers up to which an array stands in the JSON itself


@dataclass(frozen=True)
class Baseline:
    """What a case should give.

    Attributes
    ----------
    quantities : dict of str to Quantity
        By flat name, see `musetools.lab.record.flat`.
    measured : str
        Over what runs the noise was measured.
    seconds : float
        How long a run took then.
    """

    quantities: dict[str, Quantity]
    measured: str
    seconds: float

    @classmethod
    def of_runs(cls, runs: Sequence[Mapping[str, Any]], ignore: Sequence[str], measured: str, seconds: float):
        """Make a baseline of the results of several runs of one case."""
        told = [dict(_kept(results, ignore)) for results in runs]
        for other in told[1:]:
            if other.keys() != told[0].keys():
                names = ", ".join(sorted(other.keys() ^ told[0].keys()))
                raise ParameterError(f"runs record different quantities: {names}. Mend it, or let the case ignore them")
        made = {name: Quantity.measured(name, [one[name] for one in told]) for name in told[0]}
        return cls(made, measured, seconds)

    def compare(self, results: Mapping[str, Any], ignore: Sequence[str]) -> tuple[Deviation, ...]:
        """Compare results with this baseline, those of a name in `ignore` left out."""
        got, far = dict(_kept(results, ignore)), float("inf")
        found = [
            compared(name, wanted, got[name]) if name in got else Deviation(name, far, wanted.tolerance, "is missing")
            for name, wanted in self.quantities.items()
        ]
        new = [name for name in got if name not in self.quantities]
        return (*found, *(Deviation(name, far, 0.0, "is new: it has no baseline") for name in new))

    def save(self, path: Path) -> None:
        """Write it: a JSON, and an ``.npy`` for each large array."""
        files = [array_file(path, name) for name in self.quantities]
        if len(set(files)) < len(files):
            raise ParameterError(f"two quantities of {path.stem} would be kept in one file: name one otherwise")
        plain = {name: self._plain(path, name, quantity) for name, quantity in self.quantities.items()}
        head = {"format": FORMAT, "measured": self.measured, "seconds": round(self.seconds, 1)}
        text = json.dumps({**head, "quantities": plain}, indent=1, allow_nan=False, ensure_ascii=False)
        write_whole(path, text.encode())

    @staticmethod
    def _plain(path: Path, name: str, quantity: Quantity) -> dict[str, Any]:
        told = {"tolerance": quantity.tolerance, "noise": quantity.noise}
        value = quantity.value
        if not isinstance(value, np.ndarray):
            return {"value": value, **told}
        if value.size <= INLINE:
            return {"value": value.tolist(), "dtype": str(value.dtype), "shape": list(value.shape), **told}
        content = npy_bytes(name, value)
        kept = npy_record(array_file(path, name), value, content)
        write_whole(path.with_name(kept["npy"]), content)
        return {**kept, **told}

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Baseline":
        """Read a baseline.

        Raises
        ------
        ParameterError
            If there is none, it cannot be read, or one cannot test against it: see `Quantity.checked`.
        """
        path = Path(path)
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            if plain["format"] != FORMAT:
                raise ValueError(f"format {plain['format']}, this version reads {FORMAT}")
            quantities = {
                name: Quantity(_value(path, told), told["tolerance"], told["noise"]).checked(name)
                for name, told in plain["quantities"].items()
            }
            return cls(quantities, plain["measured"], float(plain["seconds"]))
        except FileNotFoundError as error:
            missing = Path(error.filename).name
            raise ParameterError(
                f"no baseline {missing} in {path.parent}: musetools regress --update makes it"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, ParameterError):
                raise ParameterError(f"{path.name}: {error}") from None
            raise ParameterError(f"{path} cannot be read: {error!r}. Restore it, or --update") from None


def array_file(path: Path, name: str) -> str:
    """Name the file of a large array, which no other quantity of any case shares."""
    return f"{path.stem}.{name.replace('/', '.')}.npy"


def _value(path: Path, told: Mapping[str, Any]) -> Any:
    if "npy" in told:
        value = read_npy(path.parent, told, known="the baseline was made with")
    elif "dtype" in told:
        value = np.array(told["value"], told["dtype"])
    else:
        return told["value"]
    if str(value.dtype) != told["dtype"] or list(value.shape) != told["shape"]:
        raise ValueError(f"{value.dtype} {value.shape} instead of {told['dtype']} {told['shape']}")
    return value


def _kept(results: Mapping[str, Any], ignore: Sequence[str]):
    return ((name, value) for name, value in flat(results) if not any(fnmatchcase(name, one) for one in ignore))
