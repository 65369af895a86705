"""Small stores of made-up rows, whose values tell clip and place, and processes that write to them."""

import multiprocessing
import os
import resource
import signal
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import distributed
from torch.utils.data import ConcatDataset, DataLoader
from torch.utils.data.distributed import DistributedSampler

from musetools import ChunkDataset, EncoderWindow, FeatureSpec, FeatureStore, OutputError, StoreError, extract
from musetools.features.encoder import Encoder, load_encoder

SHAPE = 2, 64  # of a row, as the fixture `small` makes them
QUICK = FeatureSpec(window=EncoderWindow(0, 30, 0, None))  # nothing is filled, so that a second costs a second

# processes start from a server that has imported the store already, so that dozens of them take no time
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["av", "musetools.train.corpus", "musetools.train.dataset"])


def rows_of(clip: str, n_rows: int = 60, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Rows that are the same wherever they are asked for, and others for every clip."""
    return np.random.default_rng(crc32(clip.encode())).standard_normal((n_rows, *shape), np.float32)


def make_store(root: Path, encoder: Encoder, clips: Iterable[str] = (), n_rows: int = 60, **how: Any) -> FeatureStore:
    store = FeatureStore.create(root, "musetools", encoder, **how)
    add_all(root, clips, n_rows, store=store)
    return store


def add_all(root: Path, clips: Iterable[str], n_rows: int = 60, store: FeatureStore | None = None) -> None:
    """Add the clips that are missing."""
    store = FeatureStore.open(root) if store is None else store  # an empty store is false
    for clip in clips:
        if clip not in store:
            store.add_rows(clip, rows_of(clip, n_rows), fps=25)


def add_marked(root: Path, names: Iterable[str], mark: int, replace: bool) -> list[str]:
    """Add clips that are the same number throughout; tell which of them were taken."""
    store, taken = FeatureStore.open(root), []
    for name in names:
        try:
            store.add_rows(name, np.full((40, *SHAPE), mark, np.float32), replace=replace)
        except StoreError:
            taken.append(name)
    return taken


def add_within(root: Path, limit: int, clip: str, n_rows: int, replace: bool) -> str:
    """Add a clip where no file may grow beyond a limit; give the error's words."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        FeatureStore.open(root).add_rows(clip, rows_of("z", n_rows), replace=replace)
    except OutputError as error:
        return str(error)
    return "it was written"


def replace_a(root: Path) -> None:
    FeatureStore.open(root).add_rows("a", rows_of("z"), replace=True)


def merge_into(root: Path, other: Path) -> None:
    FeatureStore.open(root).merge(FeatureStore.open(other))


def repair(root: Path) -> None:
    FeatureStore.open(root).verify(repair=True)


def extract_all(folder: Path, root: Path, weights: Path) -> None:
    extract([folder], FeatureStore.open(root), load_encoder(weights, device="cpu"), progress=False)


def extract_counts(folder: Path, root: Path, weights: Path) -> tuple[int, int, dict[str, str]]:
    """Extract a folder in this process; return how many clips were added and there already, and what failed."""
    torch.set_num_threads(1)
    report = extract([folder], FeatureStore.open(root), load_encoder(weights, device="cpu"), progress=False)
    return len(report.added), len(report.skipped), report.failed


def replace_again_and_again(root: Path, clip: str, times: int) -> None:
    """Replace a clip many times."""
    store = FeatureStore.open(root)
    for number in range(times):
        store.add_rows(clip, np.full((400, *SHAPE), number % 7, np.float32), replace=True)


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

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, deadly(getattr(os, name)))


def killed_at(step: int, function: Callable, *given: Any) -> bool:
    """Run a function in a process that dies at its n-th step; tell whether it got that far."""
    process = CONTEXT.Process(target=_run_to_death, args=(step, function, given))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _run_to_death(step: int, function: Callable, given: tuple) -> None:
    torch.set_num_threads(1)
    die_at(step)
    function(*given)


# --- loaders


class Together(ConcatDataset):
    """Several datasets of which each batch takes one, so that it is read as a batch."""

    def batches(self, size: int) -> list[list[int]]:
        ranges = [range(*bounds) for bounds in pairwise([0, *self.cumulative_sizes])]
        return [list(each[start : start + size]) for each in ranges for start in range(0, len(each), size)]

    def __getitems__(self, indices: list[int]) -> Sequence:
        number = bisect_right(self.cumulative_sizes, indices[0])
        start = [0, *self.cumulative_sizes][number]
        return self.datasets[number].__getitems__([index - start for index in indices])


def frames_seen(loader: Iterable) -> list[tuple[str, int]]:
    return [
        (clip, frame) for batch in loader for clip, frame in zip(batch["clip"], batch["frame"].tolist(), strict=True)
    ]


def rank_share(rank: int, root: Path, out: Path) -> None:
    """Be one of two processes: keep what it gets, and what all of them together make of a sum."""
    distributed.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=2)
    dataset = ChunkDataset(FeatureStore.open(root))
    sampler = DistributedSampler(dataset, seed=3)
    shares = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        shares.append(frames_seen(DataLoader(dataset, 8, sampler=sampler)))
    count = torch.tensor(len(shares[0]))
    distributed.all_reduce(count)
    torch.save((shares, int(count)), out / f"{rank}.pt")
    distributed.destroy_process_group()


def epoch_growth(root: Path) -> float:
    """Go through a store once, shuffled; give the MiB by which this process grew at most."""
    batches = iter(DataLoader(ChunkDataset(FeatureStore.open(root)), 64, shuffle=True))
    next(batches)  # what torch imports for the first one is no part of the store
    before = resident_mib()
    return max(resident_mib() for _ in batches) - before


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
