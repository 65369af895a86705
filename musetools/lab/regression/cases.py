"""The cases of a regression suite: notebook by parameter grid, read from a TOML file."""

import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from musetools.errors import ParameterError

__all__ = ["Case", "read_cases"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,79}")
CASE = {
    "type": "object",
    "required": ["name", "notebook"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "notebook": {"type": "string"},
        "parameters": {"type": "object"},
        "grid": {"type": "object", "additionalProperties": {"type": "array"}},
        "ignore": {"type": "array", "items": {"type": "string"}},
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e6},
        "why": {"type": "string"},
    },
}
CASES = {"type": "array", "minItems": 1, "items": CASE}
SUITE = {"type": "object", "required": ["case"], "additionalProperties": False, "properties": {"case": CASES}}


@dataclass(frozen=True)
class Case:
    """One run that is compared with its baseline."""

    name: str  # also that of its files
    notebook: Path
    parameters: dict[str, Any] = field(hash=False)  # what differs from the notebook's defaults
    ignore: tuple[str, ...] = ()  # quantities that no baseline can hold: times or memory; * matches anything
    timeout_s: float = 600
    why: str = ""  # what the case guards


def read_cases(path: str | os.PathLike) -> tuple[Case, ...]:
    """Read the cases of a suite; ParameterError if that fails, a key is unknown, or two cases have one name.

    The TOML file has ``[[case]]`` tables: `name`, `notebook` (from the file's folder), and optionally `parameters`,
    `grid` (a list of values for each of some parameters: a case for every combination), `ignore`, `timeout_s`, `why`.
    """
    path = Path(path)
    try:
        suite = tomllib.loads(path.read_text(encoding="utf-8"))
        if fault := best_match(Draft202012Validator(SUITE).iter_errors(suite)):
            raise ValueError(f"{fault.json_path}: {fault.message}")
        cases = tuple(case for table in suite["case"] for case in _cases(path.parent, table))
        if twice := [name for name, n in Counter(case.name for case in cases).items() if n > 1]:
            raise ValueError(f"two cases are named {', '.join(twice)}")
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path} is no suite that can be read: {error}") from None
    return cases


def _cases(folder: Path, table: Mapping[str, Any]) -> Iterator[Case]:
    grid, parameters = table.get("grid", {}), table.get("parameters", {})
    if twice := grid.keys() & parameters.keys():
        raise ValueError(f"{', '.join(sorted(twice))} is in both parameters and grid")
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        name = "-".join([table["name"], *(f"{key}={value}" for key, value in chosen.items())])
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a case: letters, digits and ._=+- expected, 80 at most")
        rest = {key: table[key] for key in ("timeout_s", "why") if key in table}
        yield Case(name, folder / table["notebook"], parameters | chosen, tuple(table.get("ignore", ())), **rest)
