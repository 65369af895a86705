"""How things are timed on a machine that others use: in turns, in time of the processor on one thread.

Wall time counts whatever else runs. Time of the processor does not, but a busy neighbour still takes caches and clock
speed, so what is compared runs in turns, and a ratio is stated with its spread over the rounds.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

__all__ = ["PRODUCT_FLOPS", "Race", "matrix_peak", "peak_mib", "race", "start_times"]

SIDE = 1536  # of the matrices whose product is timed: 9 MB each in float32
PRODUCT_FLOPS = 2 * SIDE**3
PEAKS = """
import sys
from pathlib import Path
from musetools import audio2feat, load_encoder
encoder = load_encoder(sys.argv[1], device="cpu")
for path in sys.argv[2:]:
    audio2feat(path, encoder, out=path + ".npy")
    print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
STARTS = {
    "Python alone": ["-c", "pass"],
    "import musetools": ["-c", "import musetools"],
    "musetools --help": ["-m", "musetools", "--help"],
    "musetools' audio2feat, with torch": ["-c", "from musetools import audio2feat"],
}


@dataclass(frozen=True, eq=False)
class Race:
    """What runs took that were timed in turns."""

    seconds: dict[str, np.ndarray]  # (n_rounds,) of each

    def best(self, name: str) -> float:
        """Seconds of the fastest round."""
        return float(self.seconds[name].min())

    def ratio(self, slow: str, fast: str) -> tuple[float, float, float]:
        """Return how many times as long one run takes as another, round by round: median, least and most."""
        ratios = self.seconds[slow] / self.seconds[fast]
        return float(np.median(ratios)), float(ratios.min()), float(ratios.max())


def race(
    runs: Mapping[str, Callable[[], object]], rounds: int, *, clock: Callable[[], float] = time.process_time
) -> Race:
    """Time runs in turns, `rounds` times each after one round to warm up.

    The clock gives seconds: `time.perf_counter` where threads wait for each other.
    """
    seconds = {name: np.empty(rounds) for name in runs}
    for number in range(-1, rounds):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name][number] = clock() - start  # the round to warm up, -1, is written over by the last one
    return Race(seconds)


def matrix_peak(dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """Return a product of two matrices of 1536 · 1536, 7.2 GFLOP, to be timed: nothing on this machine is faster."""
    one, other = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    return lambda: one @ other


def peak_mib(encoder: str, paths: list[str]) -> list[float]:
    """Extract files one after the other in a process of its own; return its peak memory in MiB after each (Linux)."""
    done = subprocess.run([sys.executable, "-c", PEAKS, encoder, *paths], capture_output=True, text=True, check=True)
    return [int(kib) / 1024 for kib in done.stdout.split()]


def start_times(rounds: int) -> dict[str, float]:
    """Return what starting takes, in seconds of the processor, the least of some rounds."""
    start = partial(subprocess.run, stdout=subprocess.DEVNULL, check=True)
    runs = {name: partial(start, [sys.executable, *arguments]) for name, arguments in STARTS.items()}
    raced = race(runs, rounds, clock=_children_s)
    return {name: raced.best(name) for name in runs}


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system
