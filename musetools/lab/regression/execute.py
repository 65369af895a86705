"""Executes one notebook in this process, for `run_notebook`, which starts it and waits: ``python -m`` this, FOLDER."""

import json
import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

__all__ = ["EXECUTED", "FAULT", "JOB", "RUN_VARIABLE", "end_run", "main"]

JOB, EXECUTED, FAULT = "job.json", "notebook.ipynb", "fault"
RUN_VARIABLE = "MUSETOOLS_RUN"  # environment of every process of a run: its temporary folder
START_S = 120  # seconds that a kernel may take to start
POLL_S = 0.5
ROUNDS, PAUSE_S = 200, 0.02  # a process that is being killed may just have started another


def main(folder: str) -> None:
    """Execute the job of a folder; end all of it should the process that waits be gone, for nobody else would."""
    job = json.loads(Path(folder, JOB).read_text(encoding="utf-8"))
    work = threading.Thread(target=_execute, args=(job, folder), daemon=True)
    work.start()
    while work.is_alive() and os.getppid() == job["runner"]:
        work.join(POLL_S)
    if os.getppid() != job["runner"]:
        end_run(folder)
        while os.path.exists(folder):  # papermill may be saving
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _execute(job: dict[str, Any], folder: str) -> None:
    """Execute a notebook; leave a message of what was raised, if anything was."""
    sys.modules["rfc3987_syntax"] = None  # jsonschema's check of addresses, unused here, takes 1.4 s to import
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError

    output = os.path.join(folder, EXECUTED).replace("{", "{{").replace("}", "}}")  # papermill takes it for a template
    options = {"cwd": os.path.dirname(job["notebook"]), "progress_bar": False, "start_timeout": START_S}
    try:
        notebook = nbformat.read(job["notebook"], as_version=4)
        papermill.execute_notebook(notebook, output, job["parameters"], **options)
        return
    except papermill.PapermillExecutionError as error:
        fault = f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        fault = "its kernel died: it was killed, or memory ran out"
    except BaseException as error:
        fault = f"{type(error).__name__}: {error}"
    Path(folder, FAULT).write_text(fault, encoding="utf-8", errors="backslashreplace")


def end_run(folder: str | os.PathLike) -> None:
    """Kill every process of a run but this one: all that have its folder in their environment, and what they started.

    A Jupyter kernel starts a session of its own, so that killing a process group would miss it; and what outlives its
    own parent has no ancestor in the run, but it keeps the environment.
    """
    for _ in range(ROUNDS):
        every = psutil.process_iter(["environ"])
        found = {process for process in every if (process.info["environ"] or {}).get(RUN_VARIABLE) == str(folder)}
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


if __name__ == "__main__":
    main(sys.argv[1])
