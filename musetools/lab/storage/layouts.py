"""The layouts that are compared: datasets over one file a frame, over chunks on disk, and over stores."""

import os
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from musetools.chunks.sequence import feature2chunks
from musetools.features.encoder import Encoder
from musetools.timing import ROW_RATE
from musetools.train.dataset import ChunkDataset
from musetools.train.layouts import export_frame_files
from musetools.train.store import FeatureStore

__all__ = ["BASELINE", "ChunkFiles", "FrameFiles", "VideoFrames", "fill_store", "make_layouts"]

BASELINE = "one npy a frame"
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


class VideoFrames:
    """Images for a `ChunkDataset`: decodes the video that a clip came from, and keeps the last few clips.

    Parameters
    ----------
    store : FeatureStore
        Whose clips were extracted from videos.
    size : int, default 96
        Width and height of an image.
    """

    def __init__(self, store: FeatureStore, size: int = 96):
        self.store, self.size = store, size
        self._decoded: dict[str, torch.Tensor] = {}

    def __call__(self, clip: str, frame: int) -> torch.Tensor:
        """Return an image, uint8 (3, size, size)."""
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


def make_layouts(
    folder: Path, features: np.ndarray, encoder: Encoder, n_clips: int, seconds: float
) -> dict[str, Dataset]:
    """Write the same clips in every layout and return a dataset over each, the baseline first."""
    folder.mkdir(parents=True)
    made: dict[str, Dataset] = {}
    for dtype in ("float32", "float16"):
        store = FeatureStore.create(folder / dtype, "musetools", encoder, dtype=dtype)
        fill_store(store, features, n_clips, seconds)
        if dtype == "float32":
            export_frame_files(store, folder / "frames")
            made[BASELINE] = FrameFiles(folder / "frames")
            os.mkdir(folder / "chunks")
            made["chunks, mapped"] = ChunkFiles(store, folder / "chunks")
        made[f"store, {dtype}"] = ChunkDataset(store)
    return made
