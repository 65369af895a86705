"""Processes that start others: ended together with all that they started."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["end_family"]

ROUNDS, PAUSE_S = 200, 0.02  # a process that is being killed may just have started another


def end_family(mark: str, pid: int | None = None) -> None:
    """Kill a process, whatever descends from it, and whatever else was started with `mark` in its environment.

    A Jupyter kernel starts a session of its own, so that killing a process group would miss it; and what outlives its
    own parent descends from nobody, but it keeps the environment. Where there is no ``/proc``, kernels are left to find
    out for themselves that their parent is gone. The caller itself is spared.

    Parameters
    ----------
    mark : str
        ``NAME=value``, of this family alone.
    pid : int, optional
        The process, where it is known to run.
    """
    if pid:
        _kill(pid)
    for _ in range(ROUNDS):
        family = _family(mark.encode(), pid)
        if not family:
            return
        for one in family:
            _kill(one)
        time.sleep(PAUSE_S)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _family(mark: bytes, pid: int | None) -> set[int]:
    """List the living processes that carry the mark, and those that descend from one of them or from `pid`."""
    children: dict[int, list[int]] = {}
    found = {pid} if pid else set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            # the name in parentheses may hold anything; state and parent follow it
            state, parent = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state in "ZX" or int(process.name) == os.getpid():
                continue
            children.setdefault(int(parent), []).append(int(process.name))
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
    waiting = list(found)
    while waiting:
        new = [child for child in children.get(waiting.pop(), []) if child not in found]
        found.update(new)
        waiting += new
    return found & {child for line in children.values() for child in line}
