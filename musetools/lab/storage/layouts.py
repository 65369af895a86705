"""The layouts that are compared: datasets over one file a frame, over chunks on disk, and over stores."""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import ConcatDataset, Dataset

from musetools import ChunkDataset, Encoder, FeatureStore, ParameterError, feature2chunks
from musetools.audio.container import chosen_video, opened
from musetools.audio.shown import shown_frames
from musetools.check.clip import clip_facts
from musetools.files import find_media
from musetools.timing import ROW_RATE
from musetools.train.layouts import export_frame_files

__all__ = ["BASELINE", "ChunkFiles", "FrameFiles", "VideoFrames", "make_layouts", "videos_in"]

BASELINE = "one npy a frame"
CONTEXT = 2  # frames either side
KEPT_VIDEOS = 4


def videos_in(folder: str | os.PathLike) -> list[Path]:
    """Return a folder's videos that have sound, and what cannot be opened, of which `extract` says why."""
    infos = {path: next(clip_facts(path, quick=True)).info for _, path in find_media(folder)}
    if not any(infos.values()) or not (videos := [p for p, i in infos.items() if i is None or (i.video and i.audio)]):
        raise ParameterError(f"no video with sound among {len(infos)} media files in {folder}. Name another folder")
    return videos


class FrameFiles(Dataset):
    """The baseline: what `export_frame_files` wrote, loaded as MuseTalk's ``train_codes/DataLoader.py`` does it."""

    def __init__(self, folder: str | os.PathLike):
        counts = {clip: len(list(clip.iterdir())) for clip in sorted(Path(folder).iterdir())}
        self.items = [(str(clip), frame) for clip, n in counts.items() for frame in range(CONTEXT, n - CONTEXT)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> torch.Tensor:
        folder, frame = self.items[index]
        files = [np.load(f"{folder}/{k}.npy") for k in range(frame - CONTEXT, frame + CONTEXT + 1)]
        return torch.FloatTensor(np.concatenate(files))


class ChunkFiles(ConcatDataset):
    """All chunks of a clip at 25 fps in one npy, written to a folder, each row five times over, and mapped."""

    def __init__(self, store: FeatureStore, folder: str | os.PathLike):
        clips = []
        for number, clip in enumerate(store):
            path = Path(folder) / f"{number}.npy"
            np.save(path, feature2chunks(store[clip], 25, edge="drop").batch(), allow_pickle=False)
            clips.append(np.load(path, mmap_mode="r"))
        super().__init__(clips)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.array(super().__getitem__(index)))


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

    def __call__(self, clip: str, frame: int) -> torch.Tensor:
        """Return an image, uint8 (3, size, size)."""
        path = self.store.record(clip).source["path"]
        return _images(path, os.stat(path).st_mtime_ns, self.size)[frame]


@lru_cache(KEPT_VIDEOS)
def _images(path: str, written_ns: int, size: int) -> torch.Tensor:
    with opened(path, path) as container:
        if (stream := chosen_video(container)) is None:
            raise ParameterError(f"{path} has no moving picture. Leave frames= out, or add clips with video")
        shown = [frame.reformat(size, size, "rgb24").to_ndarray() for frame in shown_frames(container, stream)]
    return torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).contiguous()


def make_layouts(
    folder: Path, features: np.ndarray, encoder: Encoder, n_clips: int, seconds: float
) -> dict[str, Dataset]:
    """Write the same clips in every layout and return a dataset over each, the baseline first.

    Every clip is made of these features over and over, from another row on: a loader does not look at values.
    """
    (folder / "chunks").mkdir(parents=True)
    stores = {t: FeatureStore.create(folder / t, "musetools", encoder, dtype=t) for t in ("float32", "float16")}
    rows = np.arange(round(seconds * ROW_RATE))
    for store in stores.values():
        for number in range(n_clips):
            store.add_rows(f"clip_{number:05d}", features[(rows + number) % len(features)], fps=25)
    export_frame_files(stores["float32"], folder / "frames")
    return {
        BASELINE: FrameFiles(folder / "frames"),
        "chunks, mapped": ChunkFiles(stores["float32"], folder / "chunks"),
        **{f"store, {dtype}": ChunkDataset(store) for dtype, store in stores.items()},
    }
