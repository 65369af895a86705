"""Executes one notebook in this process, for `run_notebook`, which starts it and waits: ``python -m`` this, FOLDER."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

__all__ = ["EXECUTED", "JOB", "OUTCOME", "RUN_VARIABLE", "end_run", "main"]

JOB, EXECUTED, OUTCOME = "job.json", "notebook.ipynb", "outcome.json"
RUN_VARIABLE = "MUSETOOLS_RUN"  # environment of every process of a run: its temporary folder
START_S = 120  # seconds that a kernel may take to start
POLL_S = 0.5
ROUNDS, PAUSE_S = 200, 0.02  # a process that is being killed may just have started another


def main(folder: str) -> None:
    """Execute what the job says and leave in its folder what became of it."""
    job = json.loads((Path(folder) / JOB).read_text(encoding="utf-8"))
    watch = threading.Thread(target=_end_with, args=(job["runner"], folder), daemon=True)
    watch.start()
    outcome = {}
    try:
        _execute(job, str(Path(folder) / EXECUTED))
    except BaseException as error:
        outcome = _outcome(error)
    if os.getppid() != job["runner"]:
        watch.join()
    (Path(folder) / OUTCOME).write_text(json.dumps(outcome), encoding="utf-8")


def _end_with(runner: int, folder: str) -> None:
    """End this process and all that it started once the one that waits for it is gone: nobody else would."""
    while os.getppid() == runner:
        time.sleep(POLL_S)
    end_run(folder)
    while os.path.exists(folder):  # papermill may be saving
        shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _execute(job: dict[str, Any], output: str) -> None:
    import nbformat
    import papermill

    notebook = nbformat.read(job["notebook"], as_version=4)
    output = output.replace("{", "{{").replace("}", "}}")  # papermill takes a path for a template
    papermill.execute_notebook(
        notebook, output, job["parameters"], cwd=job["cwd"], progress_bar=False, start_timeout=START_S
    )


def _outcome(error: BaseException) -> dict[str, Any]:
    """Say what was raised, and whether a kernel had been started."""
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    what, why = "it could not be executed", f"{type(error).__name__}: {error}"
    if isinstance(error, PapermillExecutionError):
        what, why = "it stopped", f"{error.ename}: {error.evalue}"
    elif isinstance(error, DeadKernelError):
        what, why = "its kernel died", "it was killed, or memory ran out"
    return {"what": what, "why": why, "started": not isinstance(error, NoSuchKernel)}


def end_run(folder: str | os.PathLike) -> None:
    """Kill every process of a run, this one excepted: all with its folder in their environment, and what they started.

    A Jupyter kernel starts a session of its own, so that killing a process group would miss it; and what outlives its
    own parent has no ancestor in the run, but it keeps the environment.
    """
    for _ in range(ROUNDS):
        found = {process for process in psutil.process_iter() if _is_of(process, os.fspath(folder))}
        for process in list(found):
            with suppress(psutil.Error):
                found.update(process.children(recursive=True))
        found.discard(psutil.Process())
        if not found:
            return
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(PAUSE_S)


def _is_of(process: psutil.Process, folder: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(RUN_VARIABLE) == folder
    except psutil.Error:
        return False


if __name__ == "__main__":
    main(sys.argv[1])
