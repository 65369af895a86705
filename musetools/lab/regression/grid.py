"""One notebook for every combination of some parameters: all checked before a kernel starts, then run, in one table."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from musetools.files import make_folder
from musetools.lab.record import flat
from musetools.lab.regression.cases import Case
from musetools.lab.regression.outcome import EXIT_CODES, status_of, summary_of
from musetools.lab.regression.parameters import from_texts
from musetools.lab.regression.runner import NotebookRun, checked_notebook, run_notebook
from musetools.lab.regression.suite import UNKNOWN_S, run_all
from musetools.table import Table

__all__ = ["run_grid"]

LONGEST = 200  # bytes of a file's name; file systems take 255, with what is added while it is written


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
) -> tuple[Table, int]:
    """Run a notebook with some values for all runs, and once for every combination of the values `over` others.

    Values are as they are written on a command line, see `from_texts`; `show` names the recorded results that the table
    shows; the rest is as in `run_suite` and `run_notebook`. A notebook works in its own folder, but modules that it
    imports may lie in the working folder, too. Returned are the table of all runs and the exit code. ParameterError if
    a parameter cannot be used in any of the runs: then nothing was started. OutputError if the folder of executed
    notebooks cannot be made.
    """
    notebook, out = Path(notebook).absolute(), Path(out).absolute()
    shared = from_texts(notebook, parameters)
    given = [from_texts(notebook, dict(zip(over, values, strict=True))) for values in product(*over.values())]
    for values in given:
        checked_notebook(notebook, shared | values)
    make_folder(out)
    here = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.getcwd()]))
    options = {"timeout_s": timeout_s, "env": {"PYTHONPATH": here}}

    def run(case: Case, threads: int) -> NotebookRun:
        return run_notebook(notebook, out / f"{case.name}.ipynb", case.parameters, threads=threads, **options)

    cases = [Case(n, notebook, shared | v) for n, v in zip(_names(notebook.stem, given), given, strict=True)]
    runs, seconds = run_all(run, dict.fromkeys(cases, UNKNOWN_S), jobs, progress)
    head = [*over, "status", "time", *show, "notebook, or what was wrong"]
    rows = [[*map(_from_here, values.values()), *_cells(one, show)] for one, values in zip(runs, given, strict=True)]
    return Table(head, rows, summary_of(runs, seconds)), EXIT_CODES[status_of(runs)]


def _cells(run: NotebookRun, show: Sequence[str]) -> list[str]:
    results, left = dict(flat(run.results)), _from_here(run.output) if run.ok else run.message
    return [run.status, f"{run.seconds:.0f} s", *(str(results.get(name, "–")) for name in show), left]


def _names(stem: str, given: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each run by what it was given; those by a number whose name is too long, or not theirs alone."""
    names = ["-".join([stem, *(f"{key}={Path(str(value)).name}" for key, value in one.items())]) for one in given]
    numbered = {name for name, n in Counter(names).items() if n > 1 or len(os.fsencode(name)) > LONGEST}
    return [f"{stem}-{i}" if name in numbered else name for i, name in enumerate(names, 1)]


def _from_here(value: Any) -> str:
    """Write a value; a path as it is named from the working folder."""
    text = str(value)
    near = os.path.relpath(text) if os.path.isabs(text) else text
    return text if near.startswith(os.pardir) else near
