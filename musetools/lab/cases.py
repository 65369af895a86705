"""The cases of a regression suite: notebook by parameter grid, read from a TOML file."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from musetools.errors import ParameterError

__all__ = ["Case", "read_cases"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,79}")
KEYS = {"name", "notebook", "parameters", "grid", "ignore", "timeout_s", "why"}


@dataclass(frozen=True)
class Case:
    """One run that is compared with its baseline.

    Attributes
    ----------
    name : str
        Its name, and that of its files.
    notebook : Path
        What is run.
    parameters : dict
        What differs from the notebook's defaults.
    ignore : tuple of str
        Quantities that no baseline can hold, since they are times or memory; ``*`` stands for anything.
    timeout_s : float
        Seconds after which a run is ended.
    why : str
        What the case guards.
    """

    name: str
    notebook: Path
    parameters: dict[str, Any] = field(hash=False)
    ignore: tuple[str, ...] = ()
    timeout_s: float = 600
    why: str = ""


def read_cases(path: str | os.PathLike) -> tuple[Case, ...]:
    """Read the cases of a suite.

    Parameters
    ----------
    path : path
        A TOML file of ``[[case]]`` tables: `name`, `notebook` (from the file's folder), and where wanted `parameters`,
        `grid` (a list of values for each of some parameters: a case for every combination), `ignore`, `timeout_s`,
        `why`.

    Raises
    ------
    ParameterError
        If it cannot be read, a table has an unknown key, or two cases have one name.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["case"]
        cases = tuple(case for table in tables for case in _cases(path.parent, table))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error if isinstance(error, (OSError, ValueError)) else f"{error!r} is missing or of another type"
        raise ParameterError(f"{path} is no suite that can be read: {reason}") from None
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"{path}: two cases are named {', '.join(twice)}. Name one otherwise")
    return cases


def _cases(folder: Path, table: Mapping[str, Any]) -> Iterator[Case]:
    if unknown := table.keys() - KEYS:
        raise ValueError(f"unknown key {', '.join(sorted(unknown))} in a case; known are {', '.join(sorted(KEYS))}")
    grid = table.get("grid", {})
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        name = "-".join([table["name"], *(f"{key}={value}" for key, value in chosen.items())])
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a case: letters, digits and ._=+- expected, 80 at most")
        yield Case(
            name,
            folder / table["notebook"],
            {**table.get("parameters", {}), **chosen},
            tuple(table.get("ignore", ())),
            table.get("timeout_s", Case.timeout_s),
            table.get("why", ""),
        )
