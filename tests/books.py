"""Small notebooks made for tests, and what may be left of a run: no process, no temporary folder, no half file."""

import os
from pathlib import Path

import nbformat
import psutil

RECORD = "from musetools.lab.record import record"


def notebook(path: Path, *cells: str, parameters: str | None = "", kernel: str = "python3") -> Path:
    """Write a notebook of code cells named c0, c1, …, after a parameters cell unless that is None."""
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    made = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
    if parameters is not None:
        made.cells.append(nbformat.v4.new_code_cell(parameters, id="p", metadata={"tags": ["parameters"]}))
    made.cells += [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(cells)]
    nbformat.write(made, path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file under a folder but the locks, which may stay."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def temporary(folder: Path) -> list[str]:
    """Name half-written files, which a run must not leave."""
    return [path.name for path in folder.rglob(".*.part")]


def family(folder: Path) -> dict[int, str]:
    """Find the living processes of runs whose notebook or kernel works in a folder, by their command and folder."""
    found = {}
    for process in psutil.process_iter():
        try:
            of_run = "MUSETOOLS_RUN" in process.environ() and process.status() != psutil.STATUS_ZOMBIE
            if of_run and process.cwd() == str(folder):
                found[process.pid] = " ".join(process.cmdline())
        except psutil.Error:
            continue
    return found


def end(pids) -> None:
    """Kill processes of ours that a failing test left behind."""
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
