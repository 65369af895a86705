"""Memory and threads of the process that measures."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psutil
import torch

__all__ = ["one_thread", "resident_mib", "torch_threads"]


def resident_mib() -> float:
    """Return the memory that this process has resident, in MiB."""
    return psutil.Process().memory_info().rss / 2**20


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch compute on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


one_thread = partial(torch_threads, 1)  # short steps gain nothing from more, and long ones would seem cheaper
