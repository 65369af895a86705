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

from musetools.errors import ParameterError
from musetools.schema import TEXT, Schema, exactly, list_of

__all__ = ["Case", "read_cases"]

# a run that fails leaves NAME.failed.ipynb, and the page of all cases is report.html
NAME = re.compile(r"(?!report$)[A-Za-z0-9][A-Za-z0-9._=+-]{0,79}(?<!\.failed)")
_GRID = {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}}
_LIMIT = {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1e6}
_OPTIONAL = {"parameters": {"type": "object"}, "grid": _GRID, "ignore": list_of(TEXT), "timeout_s": _LIMIT, "why": TEXT}
SUITE = Schema(exactly(case={**list_of(exactly(*_OPTIONAL, name=TEXT, notebook=TEXT, **_OPTIONAL)), "minItems": 1}))


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
        suite = SUITE.check(tomllib.loads(path.read_text(encoding="utf-8")))
        cases = tuple(case for table in suite["case"] for case in _cases(path.parent, table))
        if twice := [name for name, n in Counter(case.name for case in cases).items() if n > 1]:
            raise ValueError(f"two cases are named {', '.join(twice)}")
    except (OSError, ValueError, RecursionError) as error:
        raise ParameterError(f"{path} is no suite that can be read: {error}. Correct it, or name another") from None
    return cases


def _cases(folder: Path, table: Mapping[str, Any]) -> Iterator[Case]:
    case = {"parameters": {}, **table, "notebook": folder / table["notebook"], "ignore": tuple(table.get("ignore", ()))}
    grid, shared = case.pop("grid", {}), case["parameters"]
    if twice := grid.keys() & shared.keys():
        raise ValueError(f"{', '.join(sorted(twice))} is in both parameters and grid")
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        name = "-".join([table["name"], *(f"{key}={value}" for key, value in chosen.items())])
        if not NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name of a case: letters, digits and ._=+- expected, 80 at most; not report or X.failed"
            )
        yield Case(**case | {"name": name, "parameters": shared | chosen})
