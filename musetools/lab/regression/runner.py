"""Runs a notebook through papermill so that its status is reliable and no good result is lost.

Each run is a process of its own with a time limit, in a temporary folder. Parameters are checked before it starts. Its
output replaces an earlier one in one step, once it is whole and good. The status comes from what was raised and from
the record in the last cell, never from papermill's metadata, which calls cells of a killed kernel completed.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import find_kernel_specs

from musetools.errors import MusetoolsError, ParameterError
from musetools.files import write_whole
from musetools.lab.record import read_results
from musetools.lab.regression.execute import EXECUTED, FAULT, JOB, RUN_VARIABLE, end_run
from musetools.lab.regression.parameters import checked_parameters, read_notebook
from musetools.table import ShownAsText

__all__ = ["COULD_NOT_RUN", "FAILED", "PASSED", "Judged", "NotebookRun", "checked_notebook", "message_of"]
__all__ += ["run_notebook"]

PASSED, FAILED, COULD_NOT_RUN = "passed", "failed", "could not run"
LOG = "log"


class Judged:
    """What has a status."""

    status: str  # "passed", "failed", or "could not run": no kernel was started

    @property
    def ok(self) -> bool:
        """Whether it passed."""
        return self.status == PASSED


@dataclass(frozen=True, repr=False)
class NotebookRun(Judged, ShownAsText):
    """What became of a run."""

    notebook: Path
    status: str
    message: str  # why
    output: Path | None  # the executed notebook; of a failed run, what there is of it, NAME.failed.ipynb
    results: dict[str, Any]  # what its last cell recorded, arrays included; empty if the run failed
    seconds: float

    def __repr__(self) -> str:
        left = f" ({self.output})" if self.output else ""
        return f"{self.notebook.name} {self.status} in {self.seconds:.1f} s: {self.message}{left}"


def run_notebook(
    notebook: str | os.PathLike,
    output: str | os.PathLike,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = 600,
    threads: int | None = None,
    env: Mapping[str, str] | None = None,
) -> NotebookRun:
    """Execute a notebook; return whether it ran to its end, and its results.

    Parameters
    ----------
    notebook : path
        A notebook with a cell tagged ``parameters``, whose last cell calls `record`.
    output : path
        The executed copy, ``NAME.ipynb``, which holds the results, see `read_results`. It is replaced only by a run
        that passes; one that fails leaves ``NAME.failed.ipynb``.
    parameters : dict, optional
        What differs from the notebook's own defaults.
    timeout_s : float, default 600
        Seconds after which the run is ended.
    threads : int, optional
        Threads that torch and numpy compute with.
    env : dict of str to str, optional
        What is added to the environment of the kernel, which works in the notebook's folder, as in Jupyter.

    Returns
    -------
    NotebookRun
        Nothing is raised: whatever goes wrong is a status with a message.
    """
    notebook, output, started = Path(notebook).absolute(), Path(output).absolute(), time.monotonic()
    status, results, left = COULD_NOT_RUN, {}, None
    try:
        if output.suffix != ".ipynb":
            raise ParameterError(f"the output must be named NAME.ipynb; got {output}")
        failed = output.with_suffix(".failed.ipynb")
        if notebook.resolve() in (output.resolve(), failed.resolve()):
            raise ParameterError(f"a run to {output} would replace or remove its own notebook. Name another output")
        if not 0 < timeout_s <= threading.TIMEOUT_MAX:
            raise ParameterError(f"timeout_s must be a number of seconds above 0; got {timeout_s!r:.80}")
        given = checked_notebook(notebook, parameters or {})
        job = {"notebook": str(notebook), "parameters": given, "runner": os.getpid()}
        tempfile.TemporaryFile(dir=output.parent).close()  # a folder that cannot be written to raises now
        with tempfile.TemporaryDirectory(prefix="musetools-", ignore_cleanup_errors=True) as folder:
            folder, status = Path(folder), FAILED
            try:
                _execute(folder, job, timeout_s, _environment(folder, threads, env or {}))
                results = read_results(nbformat.read(folder / EXECUTED, as_version=4))
                write_whole(output, (folder / EXECUTED).read_bytes())
                failed.unlink(missing_ok=True)
                status, left, message = PASSED, output, f"{len(results)} results recorded"
            except Exception as error:
                left, last = _keep(folder / EXECUTED, failed)
                results, message = {}, f"{message_of(error)}{last}"
    except Exception as error:
        message = message_of(error)
    return NotebookRun(notebook, status, message, left, results, time.monotonic() - started)


def message_of(error: Exception) -> str:
    """Write what went wrong; the kind of an error that is not ours belongs to it."""
    return str(error) if isinstance(error, MusetoolsError) else f"{type(error).__name__}: {error}"


def checked_notebook(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters for a notebook on disk; raise unless it can be run with them."""
    book = read_notebook(notebook)
    kernel, there = book.metadata.get("kernelspec", {}).get("name"), find_kernel_specs()
    if str(kernel).lower() not in there:
        raise ParameterError(
            f"{notebook} asks for the kernel {kernel!r}; here are {', '.join(there) or 'none'}. Choose one in Jupyter"
        )
    return checked_parameters(book, parameters)


def _environment(folder: Path, threads: int | None, more: Mapping[str, str]) -> dict[str, str]:
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    temporary = {"TMPDIR": str(folder)}  # what a killed kernel leaves goes with the folder
    return {**os.environ, **temporary, **(limits if threads else {}), **more, RUN_VARIABLE: str(folder)}


def _execute(folder: Path, job: dict[str, Any], timeout_s: float, env: dict[str, str]) -> None:
    """Execute in a process of its own; raise what went wrong."""
    (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "musetools.lab.regression.execute", str(folder)]  # not of the working folder
    try:
        with open(folder / LOG, "wb") as log:
            done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise MusetoolsError(f"still running after {timeout_s:g} s, so it was ended. Give it more time") from None
    finally:
        end_run(folder)  # the kernel outlives that process, and what it started outlives the kernel
    if (folder / FAULT).exists():
        raise MusetoolsError((folder / FAULT).read_text(encoding="utf-8"))
    if done.returncode:
        last = (folder / LOG).read_text(errors="replace").strip().splitlines()[-1:]
        raise MusetoolsError(f"the process that ran it ended with code {done.returncode}: {' '.join(last)}")


def _keep(executed: Path, failed: Path) -> tuple[Path | None, str]:
    """Keep what there is of a failed run's notebook; return where, and words for the last cell that was started."""
    left, last = None, ""
    with suppress(OSError, ValueError, LookupError, AttributeError, TypeError, MusetoolsError):
        content = executed.read_bytes()
        cells = json.loads(content)["cells"]
        write_whole(failed, content)
        left = failed
        started = [cell["id"] for cell in cells if cell["metadata"].get("papermill", {}).get("start_time")]
        last = f" (the last cell that started: {started[-1]!r})"
    return left, last
