"""Executes one notebook in this process, for `run_notebook`, which starts it and watches: ``python -m`` this, JOB."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from musetools.files import write_whole
from musetools.lab.regression.processes import end_family

__all__ = ["EXECUTED", "OUTCOME", "main"]

EXECUTED, OUTCOME = "notebook.ipynb", "outcome.json"
SCHEME = "whole://"
WATCH_S = 0.5


def main(job_path: str) -> None:
    """Execute what the job says, in its folder, and leave there what became of it."""
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    threading.Thread(target=_end_with, args=(job["runner"], job["mark"]), daemon=True).start()
    os.chdir(Path(job_path).parent)  # so that no character of a user's path gets into papermill's templates
    error = None
    try:
        _execute(job)
    except BaseException as raised:
        error = _told(raised)
    Path(OUTCOME).write_text(json.dumps(error), encoding="utf-8")


def _end_with(runner: int, mark: str) -> None:
    """End this process and all that it started as soon as the one that waits for it is gone: nobody else would."""
    while os.getppid() == runner:
        time.sleep(WATCH_S)
    end_family(mark)
    os.kill(os.getpid(), signal.SIGKILL)


def _execute(job: dict[str, Any]) -> None:
    import nbformat
    import papermill
    from papermill.iorw import LocalHandler, papermill_io

    class Whole(LocalHandler):
        """Lets papermill save after every cell without ever leaving half a notebook."""

        def write(self, buf: str, path: str) -> None:
            write_whole(Path(job["folder"]) / path.removeprefix(SCHEME), buf.encode())

    papermill_io.register(SCHEME, Whole())
    notebook = nbformat.read(job["notebook"], as_version=4)
    papermill.execute_notebook(
        notebook, SCHEME + EXECUTED, job["parameters"], cwd=job["cwd"], progress_bar=False, start_timeout=job["start_s"]
    )


def _told(raised: BaseException) -> dict[str, Any]:
    """Say what was raised in plain values."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(raised, PapermillExecutionError):
        return {"kind": "cell", "message": f"{raised.ename}: {raised.evalue}", "traceback": "\n".join(raised.traceback)}
    kind = "kernel died" if isinstance(raised, DeadKernelError) else "not executed"
    return {"kind": kind, "message": f"{type(raised).__name__}: {raised}"}


if __name__ == "__main__":
    main(sys.argv[1])
