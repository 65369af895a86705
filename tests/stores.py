"""Small stores of made-up rows, whose values tell clip and place, and processes that write to them."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from musetools import FeatureStore
from musetools.encoder import Encoder

SHAPE = 2, 64  # of a row, as the fixture `small` makes them

# processes start from a server that has imported the store already, so that dozens of them take no time
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["musetools.train.dataset"])


def rows_of(clip: str, n_rows: int = 60, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Rows that are the same wherever they are asked for, and others for every clip."""
    return np.random.default_rng(crc32(clip.encode())).standard_normal((n_rows, *shape), np.float32)


def make_store(root: Path, encoder: Encoder, clips: Iterable[str] = (), n_rows: int = 60, **how: Any) -> FeatureStore:
    store = FeatureStore.create(root, "musetools", encoder, **how)
    add_all(root, clips, n_rows, store=store)
    return store


def add_all(
    root: Path,
    clips: Iterable[str],
    n_rows: int = 60,
    told: Connection | None = None,
    store: FeatureStore | None = None,
) -> None:
    """Add the clips that are missing, telling of each when it is there."""
    store = FeatureStore.open(root) if store is None else store  # an empty store is false
    for clip in clips:
        if clip not in store:
            store.add_rows(clip, rows_of(clip, n_rows), fps=25)
        if told:
            told.send(clip)


def contents(root: Path) -> dict[str, bytes]:
    """Everything in a store that must not depend on how it came about."""
    files = [root / "manifest.jsonl", *(root / "clips").iterdir()]
    return {path.name: path.read_bytes() for path in files}


def in_child(function: Callable, *given: Any) -> Any:
    """Call a function in a process of its own; what it raises is raised here."""
    with ProcessPoolExecutor(1, CONTEXT) as pool:
        return pool.submit(function, *given).result()


def die_at(step: int) -> None:
    """Let this process be killed when it comes to its n-th step on the disk."""
    left = [step]

    def deadly(function: Callable) -> Callable:
        def call(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        return call

    for name in ("fsync", "replace", "chmod", "unlink"):
        setattr(os, name, deadly(getattr(os, name)))


def killed_at(step: int, function: Callable, *given: Any) -> bool:
    """Run a function in a process that dies at its n-th step; tell whether it got that far."""
    process = CONTEXT.Process(target=_run_to_death, args=(step, function, given))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _run_to_death(step: int, function: Callable, given: tuple) -> None:
    die_at(step)
    function(*given)
