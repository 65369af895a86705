"""What features cost on disk and in a loader, layout by layout, measured on the spot."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

from musetools.audio.decode import Source
from musetools.audio.load import load_audio
from musetools.chunks.sequence import feature2chunks
from musetools.errors import StoreError
from musetools.features.encoder import Encoder
from musetools.features.spec import FeatureSpec
from musetools.lab.answer import Answer
from musetools.lab.process import resident_mib
from musetools.lab.storage.layouts import BASELINE, make_layouts
from musetools.timing import SAMPLE_RATE
from musetools.train.layouts import export_frame_files
from musetools.train.store import FeatureStore

__all__ = ["StorageCosts", "clip_sizes", "disk_bytes", "evaluate", "float16_error", "loading_rate"]
__all__ += ["loading_sentences", "resident_growth", "size_sentences", "stale_refusals"]

SOURCE, PCM = "the media file", "16 kHz PCM, 16 bits"
FLOAT32, FLOAT16 = "one npy a clip, float32", "one npy a clip, float16"
FRAMES, CHUNKS = "one npy a frame, float32", "chunks, float32"
WORKERS = (0, 1, 2)


@dataclass(frozen=True, eq=False, repr=False)
class StorageCosts(Answer):
    """What features cost.

    Attributes
    ----------
    duration_s, hours : float
        Length of the clip that sizes were measured on, and of the corpus that they are scaled to.
    sizes : dict of str to int
        Bytes of the clip on the disk, by layout.
    errors : ndarray of float64, shape (n_layers,)
        Largest error of float16, in standard deviations of each layer.
    rates : dict of str to float
        Items loaded per second without workers, by layout.
    worker_rates : dict of int to float
        The same from a store in float32, by number of workers.
    store_mib, epoch_mib : float
        Size of that store, and what reading all of it adds to the memory of the loading process.
    """

    duration_s: float
    hours: float
    sizes: dict[str, int]
    errors: np.ndarray
    rates: dict[str, float]
    worker_rates: dict[int, float]
    store_mib: float
    epoch_mib: float

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        return [
            *size_sentences(self.sizes, self.duration_s, self.hours),
            *loading_sentences(self.rates, self.worker_rates, self.errors),
            f"An epoch over {self.store_mib:.0f} MiB adds {self.epoch_mib:.0f} MiB to the process.",
        ]


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

    Returns
    -------
    StorageCosts
    """
    clip = store.clips[0]
    made = make_layouts(folder / "loading", store[clip], encoder, n_clips, seconds)
    epoch = made["store, float32"]
    return StorageCosts(
        store.record(clip).duration_s,
        hours,
        clip_sizes(store, clip, encoder, folder / "layouts"),
        float16_error(store[clip]),
        {name: loading_rate(dataset, min(n_items, len(dataset))) for name, dataset in made.items()},
        {n: loading_rate(epoch, n_items, workers=n) for n in WORKERS},
        epoch.store.size_mib(),
        resident_growth(lambda: loading_rate(epoch, len(epoch))),
    )


def clip_sizes(store: FeatureStore, clip: str, encoder: Encoder, folder: Path) -> dict[str, int]:
    """Write one clip in every layout and return the bytes that each takes on the disk.

    Parameters
    ----------
    store : FeatureStore
        In float32, with clips that were extracted from files.
    clip : str
        Which clip.
    encoder : Encoder
        The store's.
    folder : Path
        Where to write.

    Returns
    -------
    dict of str to int
        Bytes by layout.
    """
    folder.mkdir(parents=True)
    source, features = store.record(clip).source["path"], store[clip]
    soundfile.write(folder / "pcm.wav", load_audio(source), SAMPLE_RATE, subtype="PCM_16")
    one = FeatureStore.create(folder / "one", store.spec, encoder)
    one.add_rows("clip", np.asarray(features))
    export_frame_files(one, folder / "frames")
    np.save(folder / "float16.npy", features.astype(np.float16), allow_pickle=False)
    np.save(folder / "chunks.npy", feature2chunks(features, 25).batch(), allow_pickle=False)
    return {
        SOURCE: disk_bytes([source]),
        PCM: disk_bytes([folder / "pcm.wav"]),
        FLOAT16: disk_bytes([folder / "float16.npy"]),
        FLOAT32: disk_bytes([one.path("clip")]),
        FRAMES: disk_bytes((folder / "frames").rglob("*.npy")),
        CHUNKS: disk_bytes([folder / "chunks.npy"]),
    }


def size_sentences(sizes: dict[str, int], duration_s: float, hours: float) -> list[str]:
    """Write what features are larger and smaller than."""
    gb = hours * 3600 / duration_s / 1e9
    return [
        f"Features are larger than the sound that they come from: {sizes[FLOAT32] / sizes[PCM]:.0f} times 16-bit PCM, "
        f"{sizes[FLOAT32] / sizes[SOURCE]:.0f} times the media file ({sizes[FLOAT32] * gb:,.0f} GB for {hours:g} h).",
        f"They are smaller than what is made of them: chunks take {sizes[CHUNKS] / sizes[FLOAT32]:.1f} times as much, "
        "since every row stands in five of them.",
        f"One npy a frame takes {sizes[FRAMES] / sizes[FLOAT32]:.2f} times one npy a clip: headers, unused blocks.",
        f"float16 takes {sizes[FLOAT16] / sizes[FLOAT32]:.2f} times float32.",
    ]


def float16_error(features: np.ndarray) -> np.ndarray:
    """Measure what float16 costs: the largest error of each layer over that layer's standard deviation.

    Parameters
    ----------
    features : ndarray of float32, shape (n_rows, n_layers, width)

    Returns
    -------
    ndarray of float64, shape (n_layers,)
    """
    error = np.abs(features - features.astype(np.float16).astype(np.float32)).max(axis=(0, 2))
    return error / features.astype(np.float64).std(axis=(0, 2))


def loading_rate(dataset: Dataset, n_items: int, *, batch_size: int = 64, workers: int = 0, seed: int = 0) -> float:
    """Measure how many items a second a DataLoader returns in random order, page cache warm.

    Parameters
    ----------
    dataset : Dataset
        What to load.
    n_items : int
        Items to load, after as many to warm up.
    batch_size, workers : int
        For the DataLoader.
    seed : int
        Seed of the order.

    Returns
    -------
    float
        Items per second; with workers, their start is not counted.
    """
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:n_items].tolist()
    loader = DataLoader(dataset, min(batch_size, len(order)), sampler=order * 2, num_workers=workers)
    warm_up, timed, start = 0, 0, 0.0
    for batch in loader:
        size = len(batch["audio"] if isinstance(batch, dict) else batch)
        if warm_up < len(order):
            warm_up, start = warm_up + size, time.perf_counter()
        else:
            timed += size
    return timed / (time.perf_counter() - start)


def loading_sentences(rates: dict[str, float], worker_rates: dict[int, float], errors: np.ndarray) -> list[str]:
    """Write which of the usual claims hold."""
    base, none = rates[BASELINE], worker_rates[0]
    best = max((n for n in worker_rates if n), key=worker_rates.get)
    return [
        f"One npy a clip, chunked while it is read, loads {rates['store, float32'] / base:.0f} times as fast as one "
        f"npy a frame, in float16 {rates['store, float16'] / base:.0f} times.",
        f"Chunks on disk load {rates['chunks, mapped'] / base:.0f} times as fast, at their size.",
        f"With {best} workers features alone load {worker_rates[best] / none:.2f} times as fast as without.",
        f"float16 changes a feature by {errors.max():.2g} standard deviations at most.",
    ]


def disk_bytes(paths: Iterable[str | os.PathLike]) -> int:
    """Add up what files take on the disk, whole blocks counted."""
    return sum(os.stat(path).st_blocks * 512 for path in paths)


def stale_refusals(store: FeatureStore, source: Source, other: Encoder, folder: str | os.PathLike) -> dict[str, str]:
    """Try to mix into a store what was made in another way, and return how each attempt is refused.

    Parameters
    ----------
    store : FeatureStore
        The store.
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
    return {name: _refusal(attempt) for name, attempt in attempts.items()}


def _refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except StoreError as error:
        return str(error).splitlines()[0]
    return ""


def resident_growth(run: Callable[[], object]) -> float:
    """Return by how many MiB the resident memory grows while something runs."""
    before = resident_mib()
    run()
    return resident_mib() - before
