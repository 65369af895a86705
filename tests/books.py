"""Small notebooks made for tests, and what may be left of a run: no process, no temporary folder, no half file."""

import os
from pathlib import Path

import nbformat

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
    """Name what a run makes for itself and must remove."""
    return [path.name for path in folder.rglob(".*") if path.suffix in (".run", ".part")]


def family(folder: Path) -> dict[int, str]:
    """Find the processes of runs in a folder that are alive, by the environment they were started with."""
    mark, found = f"MUSETOOLS_RESULTS={folder}".encode(), {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            dead = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX"
            if not dead and mark in (process / "environ").read_bytes():
                found[int(process.name)] = (
                    (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def end(pids) -> None:
    """Kill processes of ours that a failing test left behind."""
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
