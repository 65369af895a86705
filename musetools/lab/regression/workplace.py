"""A run's own folder beside its output, and how what is good in it gets to its name while what was good stays."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat

from musetools.errors import OutputError
from musetools.lab.record import FOLDER_VARIABLE
from musetools.lab.regression.execute import EXECUTED
from musetools.lab.regression.processes import end_family

__all__ = ["keep_failed", "mark", "publish", "working"]

RUN, OLD = ".run", "old"  # a run's folder ends so; in it, the results that its own are to replace


@contextmanager
def working(output: Path) -> Iterator[Path]:
    """Lend a temporary folder beside the output, which no other run may write to meanwhile."""
    try:
        with open(output.parent / f".{output.stem}.lock", "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OutputError(f"another run is writing {output}: wait for it, or name another output") from None
            for dead in _left_behind(output):
                end_family(mark(dead))
                _restore(dead, output)
                shutil.rmtree(dead, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.stem}.", suffix=RUN))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"cannot write to {output.parent}: {error.strerror or error}. Name a folder that is there and writable"
        ) from None


def _left_behind(output: Path) -> list[Path]:
    """Find the folders of runs to this output that were killed; not of one whose name begins alike."""
    mine = re.compile(rf"\.{re.escape(output.stem)}\.[^.]+{re.escape(RUN)}")
    return [path for path in output.parent.iterdir() if mine.fullmatch(path.name)]


def mark(folder: Path) -> str:
    """Return what the environment of every process of a run holds, and of no other."""
    return f"{FOLDER_VARIABLE}={folder / 'results'}"


def publish(folder: Path, output: Path) -> Path:
    """Move a good run's results and notebook to their names."""
    results, old = output.with_suffix(".results"), folder / OLD
    try:
        if results.exists():
            os.replace(results, old)
        else:
            os.mkdir(old)  # stands for: there were none
        os.replace(folder / "results", results)
        os.replace(folder / EXECUTED, output)
        _failed_name(output).unlink(missing_ok=True)
    except OSError as error:
        _restore(folder, output)
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from None
    return output


def _restore(folder: Path, output: Path) -> None:
    """Put earlier results back in their place, if the notebook that goes with new ones did not get to its."""
    results, old = output.with_suffix(".results"), folder / OLD
    if old.exists() and (folder / EXECUTED).exists():
        with suppress(OSError):
            if results.exists():
                os.replace(results, folder / "unpublished")
            if any(old.iterdir()):
                os.replace(old, results)


def keep_failed(folder: Path, output: Path) -> Path | None:
    """Keep what there is of a failed run's notebook, if it can be read."""
    with suppress(OSError, ValueError, AttributeError):
        nbformat.read(folder / EXECUTED, as_version=4)
        os.replace(folder / EXECUTED, _failed_name(output))
        return _failed_name(output)
    return None


def _failed_name(output: Path) -> Path:
    return output.with_suffix(".failed.ipynb")
