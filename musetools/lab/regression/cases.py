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
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := told.keys() - {"case"}:
            raise ValueError(f"unknown key {', '.join(sorted(unknown))}; a suite is made of [[case]] tables")
        tables = told["case"]
        cases = tuple(case for table in tables for case in _cases(path.parent, table))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error if isinstance(error, (OSError, ValueError)) else f"{error!r} is missing or of another type"
        raise ParameterError(f"{path} is no suite that can be read: {reason}") from None
    if not cases:
        raise ParameterError(f"{path} has no case: write a [[case]] table")
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"{path}: two cases are named {', '.join(twice)}. Name one otherwise")
    return cases


def _check_types(table: Mapping[str, Any]) -> None:
    """Raise where text would be taken for a list of letters, or a number of seconds is none."""
    lists = {"ignore": table.get("ignore", []), **table.get("grid", {})}
    for key, value in lists.items():
        if not isinstance(value, list) or (key == "ignore" and not all(isinstance(one, str) for one in value)):
            raise ValueError(f"{key} must be a list{' of texts' if key == 'ignore' else ''}; got {value!r}")
    seconds = table.get("timeout_s", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
        raise ValueError(f"timeout_s must be a number of seconds above 0; got {seconds!r}")
    if not isinstance(table.get("why", ""), str):
        raise ValueError(f"why must be a text; got {table['why']!r}")
    if twice := table.get("grid", {}).keys() & table.get("parameters", {}).keys():
        raise ValueError(f"{', '.join(sorted(twice))} stands in both parameters and grid")


def _cases(folder: Path, table: Mapping[str, Any]) -> Iterator[Case]:
    if unknown := table.keys() - KEYS:
        raise ValueError(f"unknown key {', '.join(sorted(unknown))} in a case; known are {', '.join(sorted(KEYS))}")
    _check_types(table)
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
