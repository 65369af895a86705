"""Memory and threads of the process that measures."""

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

__all__ = ["one_thread", "resident_mib"]


def resident_mib() -> float:
    """Return the memory that this process has resident, in MiB."""
    return psutil.Process().memory_info().rss / 2**20


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: short steps gain nothing from more, and long ones would seem cheaper."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
