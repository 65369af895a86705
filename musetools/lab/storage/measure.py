"""What features cost on disk and in a loader, layout by layout, measured on the spot."""

import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

from musetools import Encoder, FeatureSpec, FeatureStore, StoreError, feature2chunks, load_audio
from musetools.audio.container import chosen_audio, name_of, opened
from musetools.audio.decode import Source
from musetools.errors import at_least
from musetools.lab.answer import Answer
from musetools.lab.process import resident_mib
from musetools.lab.storage.layouts import BASELINE, make_layouts
from musetools.table import Table
from musetools.timing import SAMPLE_RATE
from musetools.train.layouts import export_frame_files

__all__ = ["StorageCosts", "clip_sizes", "evaluate", "float16_error", "loading_rate", "stale_refusals"]

SOURCE, PCM = "the media file's sound track", "16 kHz PCM, 16 bits"
FLOAT32, FLOAT16 = "one npy a clip, float32", "one npy a clip, float16"
FRAMES, CHUNKS = "one npy a frame, float32", "chunks, float32"
WORKERS, BATCH = (0, 1, 2), 64
AUDIBLE = 0.1  # standard deviations: an error of a single value below this is taken for none


@dataclass(frozen=True, eq=False, repr=False)
class StorageCosts(Answer):
    """What features cost."""

    duration_s: float  # of the clip that sizes were measured on
    hours: float  # of the corpus that sizes are scaled to
    sizes: dict[str, int]  # bytes of the clip on the disk, by layout
    errors: np.ndarray  # (n_layers,), largest error of float16 in standard deviations of each layer
    rates: dict[str, float]  # items per second without workers, by layout
    worker_rates: dict[int, float]  # items per second from a store in float32, by number of workers
    store_mib: float  # size of that store
    epoch_mib: float  # what reading all of it adds to the memory of the loading process

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        gb = self.hours * 3600 / self.duration_s / 1e9
        size, rates, base = self.sizes, self.rates, self.rates[BASELINE]
        return [
            f"Features are larger than their audio: {size[FLOAT32] / size[PCM]:.0f} times 16-bit PCM, "
            f"{size[FLOAT32] / size[SOURCE]:.0f} times the media file's sound track ({size[FLOAT32] * gb:,.0f} GB for "
            f"{self.hours:g} h).",
            f"One npy a clip, chunked while it is read, loads {rates['store, float32'] / base:.0f} times as fast "
            f"as one npy a frame, in float16 {rates['store, float16'] / base:.0f} times.",
            f"float16 changes a feature by {self.errors.max():.2g} standard deviations at most.",
            f"An epoch over {self.store_mib:.0f} MiB adds {self.epoch_mib:.0f} MiB to the process.",
        ]

    def headline(self) -> list[str]:
        """Return the sentences that answer the notebook's question: size, loading, float16."""
        return self.sentences()[:3]

    def table(self) -> Table:
        """Return each claim about stored features, what was measured, and whether it holds; the most costly first."""
        size, rates = self.sizes, self.rates
        best = max((n for n in self.worker_rates if n), key=self.worker_rates.get)
        chunks, frames = size[CHUNKS] / size[FLOAT32], size[FRAMES] / size[FLOAT32]
        chunking = rates[BASELINE] / rates["store, float32"]
        workers = self.worker_rates[best] / self.worker_rates[0]
        found = [  # claim, what is compared, factor, whether the claim holds
            ("features are smaller than audio", "float32 features over 16-bit PCM", size[FLOAT32] / size[PCM], "< 1"),
            ("features are smaller than chunks", "chunks over features: a row is in five", chunks, "> 1"),
            ("one file a frame costs no space", "one npy a frame over one a clip: headers, blocks", frames, "< 1.01"),
            ("float16 halves the size", "float16 over float32", size[FLOAT16] / size[FLOAT32], "< 0.51"),
            ("chunking while loading is slow", "rate of one npy a frame over a store's", chunking, "> 1"),
            ("more workers load faster", f"rate with {best} workers over none", workers, "> 1"),
            ("float16 loses quality", "largest error in standard deviations", self.errors.max(), f"> {AUDIBLE:g}"),
        ]
        found.sort(key=lambda line: -line[2])
        lines = [[claim, what, f"{factor:.2g}", bound, _holds(factor, bound)] for claim, what, factor, bound in found]
        return Table(["claim", "measured", "is", "would hold if", "holds?"], lines)


def _holds(factor: float, bound: str) -> str:
    sign, limit = bound.split()
    return "yes" if (factor < float(limit) if sign == "<" else factor > float(limit)) else "no"


def evaluate(
    store: FeatureStore,
    encoder: Encoder,
    folder: Path,
    *,
    hours: float = 100,
    n_clips: int = 8,
    seconds: float = 30,
    n_items: int = 4000,
) -> StorageCosts:
    """Measure size and loading of every layout on the first clip of a store: the answer of notebook 04.

    Parameters
    ----------
    store : FeatureStore
        In float32, with clips that were extracted from files.
    encoder : Encoder
        The store's.
    folder : Path
        Where layouts are written.
    hours : float, default 100
        Length of the corpus that sizes are scaled to.
    n_clips : int, default 8
        Clips in the loading experiment.
    seconds : float, default 30
        Length of each of them.
    n_items : int, default 4000
        Items loaded for each measurement.

    Raises
    ------
    ParameterError
        If a number is out of range: fewer than 500 items, say, take too short to be timed.
    """
    at_least("hours", hours, 0.01)
    at_least("n_clips", n_clips, 1)
    at_least("seconds", seconds, 1)
    at_least("n_items", n_items, 500)
    clip = store.clips[0]
    made = make_layouts(folder / "loading", store[clip], encoder, n_clips, seconds)
    epoch = made["store, float32"]
    sizes, errors = clip_sizes(store, clip, encoder, folder / "layouts"), float16_error(store[clip])
    rates = {name: loading_rate(dataset, n_items) for name, dataset in made.items()}
    worker_rates = {n: loading_rate(epoch, n_items, workers=n) for n in WORKERS}
    before = resident_mib()
    loading_rate(epoch, len(epoch))
    grown = resident_mib() - before
    duration_s = store.record(clip).duration_s
    return StorageCosts(duration_s, hours, sizes, errors, rates, worker_rates, epoch.store.size_mib(), grown)


def clip_sizes(store: FeatureStore, clip: str, encoder: Encoder, folder: Path) -> dict[str, int]:
    """Write one clip of a float32 store in every layout to a new folder; return the bytes that each takes on the disk.

    Whole blocks count; of the clip's source, the packets of its sound.
    """
    folder.mkdir(parents=True)
    source, features = store.record(clip).source["path"], store[clip]
    soundfile.write(folder / "pcm.wav", load_audio(source), SAMPLE_RATE, subtype="PCM_16")
    one = FeatureStore.create(folder / "one", store.spec, encoder)
    one.add_rows("clip", features)
    export_frame_files(one, folder / "frames")
    np.save(folder / "float16.npy", features.astype(np.float16), allow_pickle=False)
    np.save(folder / "chunks.npy", feature2chunks(features, 25).batch(), allow_pickle=False)
    with opened(source, name_of(source)) as container:  # its images are no part of what features stand for
        sound = sum(packet.size for packet in container.demux(chosen_audio(container, name_of(source))))
    files = {
        PCM: [folder / "pcm.wav"],
        FLOAT16: [folder / "float16.npy"],
        FLOAT32: [one.path("clip")],
        FRAMES: (folder / "frames").rglob("*.npy"),
        CHUNKS: [folder / "chunks.npy"],
    }
    blocks = {name: sum(os.stat(path).st_blocks for path in paths) for name, paths in files.items()}
    return {SOURCE: sound} | {name: 512 * n for name, n in blocks.items()}


def float16_error(features: np.ndarray) -> np.ndarray:
    """Return the largest error of float16 in each layer of (n_rows, n_layers, width), in the layer's deviations."""
    error = np.abs(features - features.astype(np.float16).astype(np.float32)).max(axis=(0, 2))
    return error / features.astype(np.float64).std(axis=(0, 2))


def loading_rate(dataset: Dataset, n_items: int, *, workers: int = 0) -> float:
    """Measure how many items a second a DataLoader returns in random order, page cache warm.

    As many items are loaded before, to warm up; the start of workers is not counted.
    """
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:n_items].tolist()
    loader = DataLoader(dataset, BATCH, sampler=order, num_workers=workers, persistent_workers=workers > 0)
    for _ in range(2):  # the first round warms up
        start = time.perf_counter()
        deque(loader, maxlen=0)
    return len(order) / (time.perf_counter() - start)


def stale_refusals(store: FeatureStore, source: Source, other: Encoder, folder: str | os.PathLike) -> dict[str, str]:
    """Try to mix into a store what was made in another way, and return how each attempt is refused.

    Parameters
    ----------
    store : FeatureStore
        What is added to.
    source : path, binary file or (array, sample_rate)
        Audio to add.
    other : Encoder
        Another encoder than the store's, or the same in another type.
    folder : path
        Where a store of another spec may be made; it must not be there yet.

    Returns
    -------
    dict of str to str
        By attempt, the first line of the error; empty where nothing was refused.
    """
    spec = "musetalk-v1" if store.spec != FeatureSpec.named("musetalk-v1") else "musetools"
    attempts = {
        "a clip by another encoder": lambda: store.add("stale", source, other),
        "a store of another spec": lambda: store.merge(FeatureStore.create(folder, spec, other)),
    }
    refusals = dict.fromkeys(attempts, "")
    for name, attempt in attempts.items():
        try:
            attempt()
        except StoreError as error:
            refusals[name] = str(error).splitlines()[0]
    return refusals
