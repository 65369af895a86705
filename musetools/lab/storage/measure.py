"""What features cost on disk and in a loader, layout by layout, measured on the spot."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from musetools.audio.decode import Source
from musetools.chunks.sequence import feature2chunks
from musetools.errors import StoreError
from musetools.features.encoder import Encoder
from musetools.features.spec import FeatureSpec
from musetools.lab.process import resident_mib
from musetools.timing import ROW_RATE
from musetools.train.store import FeatureStore

__all__ = [
    "ChunkFiles",
    "FrameFiles",
    "VideoFrames",
    "disk_bytes",
    "fill_store",
    "float16_error",
    "loading_rate",
    "stale_refusals",
]

LEFT = RIGHT = 2  # frames of context
KEPT_VIDEOS = 4


class FrameFiles(Dataset):
    """The baseline: one npy a frame, loaded as MuseTalk's ``train_codes/DataLoader.py`` does it.

    Parameters
    ----------
    folder : path
        What `musetools.train.layouts.export_frame_files` wrote.
    """

    def __init__(self, folder: str | os.PathLike):
        clips = sorted(path for path in Path(folder).iterdir() if path.is_dir())
        counts = [(clip, len(list(clip.iterdir()))) for clip in clips]
        self.samples = [(str(clip), k) for clip, n in counts for k in range(LEFT, n - RIGHT)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> torch.Tensor:
        folder, frame = self.samples[index]
        files = []
        for k in range(frame - LEFT, frame + RIGHT + 1):
            path = os.path.join(folder, f"{k}.npy")
            if not os.path.exists(path):
                raise FileNotFoundError(path)
            files.append(np.load(path))
        audio = np.concatenate(files, axis=0).reshape(1, -1, files[0].shape[-1])
        return torch.squeeze(torch.FloatTensor(audio))


class ChunkFiles(Dataset):
    """All chunks of a clip in one npy, each row written five times over, mapped.

    Parameters
    ----------
    store : FeatureStore
        Where the features are.
    folder : path
        Where the chunks are written.
    fps : float, default 25
        Frame rate.
    """

    def __init__(self, store: FeatureStore, folder: str | os.PathLike, fps: float = 25):
        self.clips = []
        for number, clip in enumerate(store):
            path = Path(folder) / f"{number}.npy"
            np.save(path, feature2chunks(store[clip], fps, edge="drop").batch(), allow_pickle=False)
            self.clips.append(np.load(path, mmap_mode="r"))
        self.samples = [(clip, i) for clip, chunks in enumerate(self.clips) for i in range(len(chunks))]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> torch.Tensor:
        clip, i = self.samples[index]
        return torch.from_numpy(np.array(self.clips[clip][i]))


def fill_store(store: FeatureStore, features: np.ndarray, n_clips: int, seconds: float) -> None:
    """Add clips of a length, made of one clip's features over and over: a loader does not look at values.

    Parameters
    ----------
    store : FeatureStore
        Where they go.
    features : ndarray, shape (n_rows, n_layers, width)
        Rows to repeat.
    n_clips : int
        Clips to add.
    seconds : float
        Length of each.
    """
    wanted = np.arange(round(seconds * ROW_RATE))
    for number in range(n_clips):
        store.add_rows(f"clip_{number:05d}", np.asarray(features)[(wanted + number) % len(features)], fps=25)


def loading_rate(dataset: Dataset, n_samples: int, *, batch_size: int = 64, workers: int = 0, seed: int = 0) -> float:
    """Measure how many samples a second a DataLoader hands out in random order, page cache warm.

    Parameters
    ----------
    dataset : Dataset
        What to load.
    n_samples : int
        Samples to load, after as many to warm up.
    batch_size, workers : int
        For the DataLoader.
    seed : int
        Seed of the order.

    Returns
    -------
    float
        Samples per second; with workers, their start is not counted.
    """
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:n_samples].tolist()
    loader = DataLoader(dataset, min(batch_size, len(order)), sampler=order * 2, num_workers=workers)
    warm_up, timed, start = 0, 0, 0.0
    for batch in loader:
        size = len(batch["audio"] if isinstance(batch, dict) else batch)
        if warm_up < len(order):
            warm_up, start = warm_up + size, time.perf_counter()
        else:
            timed += size
    return timed / (time.perf_counter() - start)


def disk_bytes(paths: Iterable[str | os.PathLike]) -> int:
    """Add up what files take on the disk, whole blocks counted."""
    return sum(os.stat(path).st_blocks * 512 for path in paths)


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


def stale_refusals(store: FeatureStore, source: Source, other: Encoder, folder: str | os.PathLike) -> dict[str, str]:
    """Try to mix into a store what was made otherwise, and return how each attempt is refused.

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


class VideoFrames:
    """Pictures for a `ChunkDataset`: decodes the video that a clip came from, and keeps the last few clips.

    Parameters
    ----------
    store : FeatureStore
        Whose clips were extracted from videos.
    size : int, default 96
        Width and height of a picture.
    """

    def __init__(self, store: FeatureStore, size: int = 96):
        self.store, self.size = store, size
        self._decoded: dict[str, torch.Tensor] = {}

    def __call__(self, clip: str, frame: int) -> torch.Tensor:
        """Return a picture, uint8 (3, size, size)."""
        if clip not in self._decoded:
            if len(self._decoded) >= KEPT_VIDEOS:
                self._decoded.pop(next(iter(self._decoded)))
            self._decoded[clip] = self._decode(self.store.record(clip).source["path"])
        return self._decoded[clip][frame]

    def _decode(self, path: str) -> torch.Tensor:
        import av

        with av.open(path) as container:
            shown = (frame.reformat(self.size, self.size, "rgb24").to_ndarray() for frame in container.decode(video=0))
            return torch.from_numpy(np.stack(list(shown))).permute(0, 3, 1, 2).contiguous()
