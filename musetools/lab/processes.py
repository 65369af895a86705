"""Processes that start others: ended together with all that they started."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

__all__ = ["end_family"]


def end_family(process: subprocess.Popen) -> None:
    """Kill a process and whatever descends from it.

    A Jupyter kernel starts a session of its own, so that killing a process group would miss it. Where there is no
    ``/proc``, kernels are left to find out for themselves that their parent is gone.
    """
    if process.poll() is None:  # else its number may be another's by now
        for pid in (process.pid, *_descendants(process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            # the name in parentheses may hold anything; state and parent follow it
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(pid, []))
    for child in found:
        found.extend(children.get(child, []))
    return found
