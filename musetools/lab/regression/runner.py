"""Runs a notebook through papermill so that its verdict can be believed and nothing good is lost.

Each run is a process of its own with a time limit. Parameters are checked before it starts; its output appears under
its name only when it is whole and good; the verdict comes from what was raised and from the record that the last cell
leaves, never from papermill's metadata, which calls cells of a killed kernel completed.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import nbformat

from musetools.errors import MusetoolsError, ParameterError
from musetools.lab.record import FOLDER_VARIABLE, RESULT_MIME, RESULTS, read_results
from musetools.lab.regression.execute import EXECUTED, OUTCOME
from musetools.lab.regression.parameters import checked_parameters
from musetools.lab.regression.processes import end_family
from musetools.lab.regression.workplace import keep_failed, mark, publish, working

__all__ = ["COULD_NOT_RUN", "FAILED", "PASSED", "NotebookRun", "run_notebook"]

PASSED, FAILED, COULD_NOT_RUN = "passed", "failed", "could not run"
START_S = 120  # seconds that a kernel may take to start


@dataclass(frozen=True)
class NotebookRun:
    """What became of a run.

    Attributes
    ----------
    notebook : Path
        What was run.
    verdict : str
        "passed", "failed", or "could not run": no kernel was started.
    sentence : str
        Why.
    output : Path or None
        The executed notebook; of a failed run, what there is of it, ``NAME.failed.ipynb``.
    results : dict
        What its last cell recorded, arrays included; empty if the run failed.
    seconds : float
        How long it took.
    """

    notebook: Path
    verdict: str
    sentence: str
    output: Path | None
    results: dict[str, Any]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it passed."""
        return self.verdict == PASSED

    def __repr__(self) -> str:
        left = f" ({self.output})" if self.output else ""
        return f"{self.notebook.name} {self.verdict} in {self.seconds:.1f} s: {self.sentence}{left}"

    def _repr_html_(self) -> str:
        return f"<b>{escape(self.verdict)}</b>: <code>{escape(self.notebook.name)}</code> {escape(self.sentence)}"


class _RunError(MusetoolsError):
    """A run that went wrong after its kernel was asked for."""


def run_notebook(
    notebook: str | os.PathLike,
    output: str | os.PathLike,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = 600,
    threads: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike | None = None,
) -> NotebookRun:
    """Execute a notebook and say whether it did what it should.

    Parameters
    ----------
    notebook : path
        A notebook with a cell tagged ``parameters``, whose last cell calls `record`.
    output : path
        The executed copy, ``NAME.ipynb``; beside it come ``NAME.results/results.json`` and the recorded arrays. They
        are replaced only by a run that passes; one that fails leaves ``NAME.failed.ipynb``.
    parameters : dict, optional
        What differs from the notebook's own defaults.
    timeout_s : float, default 600
        Seconds after which the run is ended.
    threads : int, optional
        Threads that torch and numpy compute with.
    env : dict of str to str, optional
        What the kernel finds in its environment besides.
    cwd : path, optional
        Working folder of the kernel; by default the notebook's own, as in Jupyter.

    Returns
    -------
    NotebookRun
        Its verdict never has to be caught: whatever goes wrong is a failed one with a sentence.
    """
    notebook, output, started = Path(notebook).absolute(), Path(output).absolute(), time.monotonic()
    verdict, sentence, left, results = COULD_NOT_RUN, "", None, {}
    try:
        _check_call(output, timeout_s)
        given = _given(notebook, parameters or {})
        with working(output) as folder:
            verdict = FAILED
            try:
                outcome = _run(folder, _job(notebook, given, cwd), timeout_s, _environment(folder, threads, env or {}))
                results = _checked(folder, outcome)
                left = publish(folder, output)
                verdict, sentence = PASSED, f"{len(results)} results recorded"
            except MusetoolsError as error:
                sentence, results = str(error), {}
                left = keep_failed(folder, output)
    except MusetoolsError as error:
        sentence = str(error)
    return NotebookRun(notebook, verdict, sentence, left, results, time.monotonic() - started)


def _check_call(output: Path, timeout_s: float) -> None:
    if output.suffix != ".ipynb":
        raise ParameterError(f"the output must be named NAME.ipynb, since others are made of its name; got {output}")
    number = isinstance(timeout_s, (int, float)) and not isinstance(timeout_s, bool)
    if not number or not math.isfinite(timeout_s) or timeout_s <= 0:
        raise ParameterError(f"timeout_s must be a number of seconds above 0; got {timeout_s!r}")


def _given(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters for a notebook on disk, both of them checked."""
    book = _read(notebook)
    try:
        nbformat.validate(book)
    except nbformat.ValidationError as error:
        raise ParameterError(f"{notebook} is no notebook that can be read: {str(error).splitlines()[0]}") from None
    return checked_parameters(book, parameters)


def _read(notebook: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(notebook, as_version=4)
    except Exception as error:  # nbformat raises whatever foreign JSON makes it stumble over
        raise ParameterError(f"{notebook} is no notebook that can be read: {str(error)[:300]}") from None


def _job(notebook: Path, parameters: dict[str, Any], cwd: str | os.PathLike | None) -> dict[str, Any]:
    where = str(Path(cwd).absolute() if cwd else notebook.parent)
    return {"notebook": str(notebook), "parameters": parameters, "cwd": where, "start_s": START_S}


def _environment(folder: Path, threads: int | None, more: Mapping[str, str]) -> dict[str, str]:
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {**os.environ, **(limits if threads else {}), **more, FOLDER_VARIABLE: str(folder / "results")}


def _run(folder: Path, job: dict[str, Any], timeout_s: float, env: dict[str, str]) -> dict[str, Any] | None:
    """Execute in a process of its own; return what it says was raised."""
    os.mkdir(folder / "results")
    whose = {"folder": str(folder), "runner": os.getpid(), "mark": mark(folder)}
    (folder / "job.json").write_text(json.dumps({**job, **whose}), encoding="utf-8")
    command = [sys.executable, "-m", "musetools.lab.regression.execute", str(folder / "job.json")]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            cell = _cell_under_way(folder)
            raise _RunError(f"still running after {timeout_s:g} s{cell}, so it was ended. Give it more time") from None
        finally:
            # the kernel would outlive whoever started it, and what it started would outlive the kernel
            end_family(mark(folder), process.pid if process.poll() is None else None)
            process.wait()
    try:
        return json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        last = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
        said = f": {last[0]}" if last else ""
        raise _RunError(f"the process that ran it ended with code {process.returncode}{said}") from None


def _checked(folder: Path, outcome: dict[str, Any] | None) -> dict[str, Any]:
    """Return the results of a run, or raise for whatever says that it was not a good one."""
    where = _cell_under_way(folder)
    if outcome:
        told = {
            "kernel died": f"its kernel died{where}: it was killed, or memory ran out",
            "not executed": f"it could not be executed{where}: {outcome['message']}",
        }
        raise _RunError(told.get(outcome["kind"], f"it stopped{where}: {outcome['message']}"))
    cells = _read(folder / EXECUTED).cells
    shown = [o.data[RESULT_MIME] for o in cells[-1].get("outputs", []) if RESULT_MIME in o.get("data", {})]
    if not shown:
        raise _RunError(f"it ended early{where}, or its last cell records nothing: no results are there")
    results = read_results(folder / "results")
    if shown[-1] != json.loads((folder / "results" / RESULTS).read_text(encoding="utf-8")):
        raise _RunError("the results shown in its last cell are not those that were written")
    return results


def _cell_under_way(folder: Path) -> str:
    """Name the cell at which a run stopped, where the partial notebook shows it."""
    try:
        cells = [cell for cell in nbformat.read(folder / EXECUTED, as_version=4).cells if cell.cell_type == "code"]
    except (OSError, ValueError, AttributeError):
        return ""
    states = [(cell, cell.metadata.get("papermill", {})) for cell in cells]
    stopped = [cell for cell, state in states if state.get("exception") or state.get("status") == "running"]
    # a cell in which the kernel died is called completed; but those after it were never started
    started = [cell for cell, state in states if state.get("start_time")]
    return next((f" in cell {cell.get('id', '?')!r}" for cell in (*stopped, *started[::-1])), "")
