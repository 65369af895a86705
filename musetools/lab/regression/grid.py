"""One notebook for every combination of some parameters: all checked before a kernel starts, then run, in one table."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from musetools.errors import ParameterError
from musetools.files import make_folder
from musetools.lab.record import flat
from musetools.lab.regression.cases import Case
from musetools.lab.regression.outcome import Outcome
from musetools.lab.regression.parameters import from_texts
from musetools.lab.regression.runner import NotebookRun, checked_notebook, run_notebook
from musetools.lab.regression.suite import UNKNOWN_S, run_all
from musetools.table import Table

__all__ = ["GridReport", "run_grid"]

LONGEST = 200  # bytes of a file's name; file systems take 255, with what is added while it is written


@dataclass(frozen=True, repr=False)
class GridReport(Outcome):
    """What became of the runs."""

    cases: tuple[NotebookRun, ...]
    given: tuple[dict[str, Any], ...]  # of each run, the values of the parameters that differ between runs
    shown: tuple[str, ...]  # names of the results that the table shows
    seconds: float

    def table(self) -> Table:
        """Return a table row a run: what it was given, what became of it, the results that were asked for."""
        head = [*self.given[0], "status", "time", *self.shown, "notebook, or what was wrong"]
        return Table(head, list(map(self._row, self.cases, self.given)), self.summary)

    def _row(self, run: NotebookRun, given: dict[str, Any]) -> list[str]:
        results = dict(flat(run.results))
        left = _from_here(str(run.output)) if run.ok else run.message
        shown = [str(results.get(name, "–")) for name in self.shown]
        return [*map(_from_here, given.values()), run.status, f"{run.seconds:.0f} s", *shown, left]


def run_grid(
    notebook: str | os.PathLike,
    parameters: Mapping[str, str],
    over: Mapping[str, Sequence[str]],
    *,
    out: str | os.PathLike = "runs",
    jobs: int | None = None,
    timeout_s: float = 600,
    show: Sequence[str] = (),
    progress: bool = False,
) -> GridReport:
    """Run a notebook with some values for all runs, and once for every combination of the values `over` others.

    Values are as they are written on a command line, see `from_texts`; `show` names the recorded results that the table
    shows; the rest is as in `run_suite` and `run_notebook`. A notebook works in its own folder, but modules that it
    imports may lie in the working folder, too. ParameterError if a parameter cannot be used in any of the
    runs: then nothing was started. OutputError if the folder of executed notebooks cannot be made.
    """
    notebook, out = Path(notebook).absolute(), Path(out).absolute()
    if twice := parameters.keys() & over.keys():
        raise ParameterError(f"{', '.join(sorted(twice))} has one value for all runs and several: leave one out")
    given = [from_texts(notebook, dict(zip(over, values, strict=True))) for values in product(*over.values())]
    shared = from_texts(notebook, parameters)
    for values in given:
        checked_notebook(notebook, shared | values)
    make_folder(out)
    here = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.getcwd()]))
    cases = [Case(n, notebook, shared | v) for n, v in zip(_names(notebook.stem, given), given, strict=True)]

    def run(case: Case, threads: int) -> NotebookRun:
        output = out / f"{case.name}.ipynb"
        how = {"timeout_s": timeout_s, "threads": threads, "env": {"PYTHONPATH": here}}
        return run_notebook(notebook, output, case.parameters, **how)

    runs, seconds = run_all(run, dict.fromkeys(cases, UNKNOWN_S), jobs, progress)
    return GridReport(runs, tuple(given), tuple(show), seconds)


def _names(stem: str, given: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each run by what it was given; those by a number whose name is too long, or not theirs alone."""
    names = ["-".join([stem, *(f"{key}={Path(str(value)).name}" for key, value in one.items())]) for one in given]
    count = Counter(names)
    fits = {name: count[name] == 1 and len(os.fsencode(name)) <= LONGEST for name in names}
    return [name if fits[name] else f"{stem}-{i}" for i, name in enumerate(names, 1)]


def _from_here(value: Any) -> str:
    """Write a value; a path as it is named from the working folder."""
    text = str(value)
    near = os.path.relpath(text) if os.path.isabs(text) else text
    return text if near.startswith(os.pardir) else near
