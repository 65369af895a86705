"""Memory and threads of the process that measures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

__all__ = ["one_thread", "resident_mib"]


def resident_mib() -> float:
    """Return the memory that this process has resident, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: short steps gain nothing from more, and long ones would seem cheaper."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
