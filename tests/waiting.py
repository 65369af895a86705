"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable


def wait_for(happened: Callable[[], object], seconds: float = 30) -> None:
    """Ask again and again; fail if it does not happen."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, f"did not happen within {seconds} s"
        time.sleep(0.01)
