"""A torch Dataset over a store: chunks are cut while a batch is read, straight from disk into its one buffer."""

import hashlib
import json
import os
import warnings
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torch.utils.data._utils.collate import collate, default_collate_fn_map

from musetools.chunks.rows import chunk_offsets, chunk_rows
from musetools.errors import OutputError, ParameterError, StoreError
from musetools.timing import ROW_RATE, exact_fps
from musetools.train.settings import Cutting
from musetools.train.store import FeatureStore

__all__ = ["ChunkBatch", "ChunkDataset"]

MAX_OPEN = 256  # files a process keeps open
Pictures = Callable[[str, int], Any]


class ChunkItem(dict):
    """One sample: ``audio`` (chunk tensor), ``clip`` (id), ``frame`` (index), and what `frames` adds."""


class ChunkBatch(Sequence):
    """Samples whose chunks lie in one buffer; an item is made when it is asked for.

    ``torch.utils.data.default_collate`` takes the buffer as it is, without stacking.
    """

    def __init__(self, audio: torch.Tensor, clips: list[str], frames: list[int], extras: list[dict[str, Any]]):
        self.audio, self.clips, self.frames, self.extras = audio, clips, frames, extras

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> ChunkItem:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = {"audio": self.audio[index], "clip": self.clips[index], "frame": self.frames[index]}
        return ChunkItem(place, **self.extras[index])


def _collate_items(batch: Sequence[ChunkItem], *, collate_fn_map: Mapping | None = None) -> dict[str, Any]:
    """Collate samples; the one buffer of a `ChunkBatch` becomes the batch's tensor."""
    if not isinstance(batch, ChunkBatch):
        return collate([dict(item) for item in batch], collate_fn_map=collate_fn_map)
    extras = collate(batch.extras, collate_fn_map=collate_fn_map)
    return {"audio": batch.audio, "clip": batch.clips, "frame": torch.tensor(batch.frames), **extras}


# the extension point that torch documents for types of one's own
default_collate_fn_map[ChunkItem] = _collate_items


class ChunkDataset(Dataset):
    """Map-style dataset over every frame of every clip in a store.

    Parameters
    ----------
    store : FeatureStore
        Where the features are.
    fps : float, Fraction or None, default 25
        Video frames per second of all clips; None takes each clip's own from the store.
    context : (int, int), default (2, 2)
        Frames of audio left and right of a frame.
    edge : {"drop", "clamp", "zeros"}
        What becomes of frames whose chunk reaches beyond the clip; see `chunk_rows`.
    frames : callable, optional
        ``(clip, frame) -> tensor`` or dict of tensors: the picture that goes with a chunk, under ``picture`` or under
        the dict's keys.
    frames_per_sample : int, default 1
        T consecutive frames a sample; ``audio`` is then ``(T, rows · layers, width)``, `frame` the first of them.

    Attributes
    ----------
    cutting : Cutting
        How chunks are cut.
    left_out : tuple of str
        Clips too short for a single sample, of which a warning tells.

    Raises
    ------
    ParameterError
        If an argument is out of range, a clip's own frame rate is not known, or pictures would be paired with chunks of
        another frame rate.
    StoreError
        If no clip is long enough for a single sample, or, while reading, a file is not what was written.

    Notes
    -----
    How chunks were cut is written down in the store, so that `FeatureStore.chunker` cuts inference's in the same way.
    Works with shuffling, workers (fork and spawn), pinned memory and `torch.utils.data.DistributedSampler`.
    """

    def __init__(
        self,
        store: FeatureStore,
        fps: float | Fraction | None = 25,
        context: tuple[int, int] = (2, 2),
        *,
        edge: str = "drop",
        frames: Pictures | None = None,
        frames_per_sample: int = 1,
    ):
        chunk_rows(0, 1 if fps is None else fps, context, edge=edge, n_frames=0)  # raises for what cannot be
        if not isinstance(frames_per_sample, Integral) or frames_per_sample < 1:
            raise ParameterError(f"frames_per_sample must be a whole number, 1 or more; got {frames_per_sample!r}")
        self.store, self.pictures, self.frames_per_sample = store, frames, frames_per_sample
        self.cutting = Cutting(None if fps is None else exact_fps(fps), tuple(context), edge)
        self.offsets = chunk_offsets(context)
        clips = [_Clip(self, clip) for clip in store]
        self._clips = [clip for clip in clips if clip.n_samples]
        self.left_out = tuple(clip.id for clip in clips if not clip.n_samples)
        self._ends = np.cumsum([clip.n_samples for clip in self._clips], dtype=np.int64).tolist()
        if not self._ends:
            raise StoreError(f"no clip among the {len(store)} of {store.root} is long enough for {self}")
        if self.left_out:
            short = ", ".join(map(repr, self.left_out[:5]))
            warnings.warn(f"{len(self.left_out)} clips are too short for {self}, left out: {short}", stacklevel=2)
        self._files = _OpenFiles(store)
        try:
            store.record_cutting(self.cutting)
        except OutputError as error:  # features may well lie where one may only read
            warnings.warn(f"{error}. Inference cannot be built from this store", stacklevel=2)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> ChunkItem:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> ChunkBatch:
        """Read a batch of samples into one new buffer."""
        places = [self.place(index) for index in indices]
        n_layers, width = self.store.row_shape
        shape = (len(places), self.frames_per_sample, len(self.offsets), n_layers, width)
        buffer = torch.empty(shape, dtype=getattr(torch, str(self.store.dtype)))
        lines = buffer.numpy()
        for line, (clip, first) in enumerate(places):
            for step in range(self.frames_per_sample):
                clip.read(first + step, lines[line, step], self._files)
        audio = buffer.flatten(2, 3) if self.frames_per_sample > 1 else buffer.flatten(2, 3)[:, 0]
        extras = [self._extras(clip.id, first) for clip, first in places]
        return ChunkBatch(audio, [clip.id for clip, _ in places], [first for _, first in places], extras)

    def place(self, index: int) -> "tuple[_Clip, int]":
        """Return the clip and the frame that a sample starts with."""
        index = int(index)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        clip = self._clips[number]
        return clip, clip.first + index - (self._ends[number] - clip.n_samples)

    def _extras(self, clip: str, first: int) -> dict[str, Any]:
        if self.pictures is None:
            return {}
        made = [self.pictures(clip, first + step) for step in range(self.frames_per_sample)]
        made = [one if isinstance(one, dict) else {"picture": one} for one in made]
        return made[0] if self.frames_per_sample == 1 else {key: torch.stack([m[key] for m in made]) for key in made[0]}

    def fingerprint(self) -> str:
        """Return a hash of what each index means: which frame of which clip, cut how."""
        clips = [(clip.id, clip.first, clip.n_samples) for clip in self._clips]
        told = json.dumps([self.cutting.to_json(), self.frames_per_sample, clips])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"ChunkDataset({str(self.cutting).removeprefix('at ')}, {self.frames_per_sample} frames a sample)"


class _Clip:
    """A clip's samples: which frames it has, and how one frame's rows are read."""

    def __init__(self, dataset: ChunkDataset, clip: str):
        record = dataset.store.record(clip)
        fps = dataset.cutting.fps or record.rate
        if fps is None:
            raise ParameterError(f"the frame rate of clip {clip!r} is not known: add it with fps=, or name one for all")
        if dataset.pictures and record.rate not in (None, fps):
            raise ParameterError(
                f"clip {clip!r} has {float(record.rate):.6g} fps, its pictures are not those of chunks at "
                f"{float(fps):.6g} fps: pass fps=None for each clip's own"
            )
        self.id, self.n_rows = clip, record.rows
        self.step = ROW_RATE / fps
        self.low, self.high = int(dataset.offsets[0]), int(dataset.offsets[-1])
        n_frames = record.rows * fps // ROW_RATE
        if record.frames is not None and record.rate == fps:
            n_frames = min(n_frames, record.frames)
        self.first, stop = self._whole(int(n_frames)) if dataset.cutting.edge == "drop" else (0, int(n_frames))
        self.n_samples = max(0, stop - self.first - dataset.frames_per_sample + 1)
        self.clamps = dataset.cutting.edge == "clamp"

    def _whole(self, n_frames: int) -> tuple[int, int]:
        """Return the range of frames whose rows are all there."""
        first = next((i for i in range(n_frames) if self.centre(i) + self.low >= 0), n_frames)
        stop = n_frames
        while stop > first and self.centre(stop - 1) + self.high >= self.n_rows:
            stop -= 1
        return first, stop

    def centre(self, frame: int) -> int:
        """Return the row that a frame starts with."""
        return frame * self.step.numerator // self.step.denominator

    def read(self, frame: int, out: np.ndarray, files: "_OpenFiles") -> None:
        """Read a frame's rows, (rows, layers, width), from disk to where they belong."""
        start, stop = self.centre(frame) + self.low, self.centre(frame) + self.high + 1
        if start >= 0 and stop <= self.n_rows:
            files.read(self.id, start, out)
            return
        inside = slice(max(0, start) - start, min(stop, self.n_rows) - start)
        out[...] = 0
        if inside.start < inside.stop:
            files.read(self.id, start + inside.start, out[inside])
            if self.clamps:
                out[: inside.start], out[inside.stop :] = out[inside.start], out[inside.stop - 1]
        elif self.clamps:
            files.read(self.id, 0 if stop <= 0 else self.n_rows - 1, out[:1])
            out[1:] = out[0]


class _OpenFiles:
    """The last few clips' files, kept open, each checked when it is opened."""

    def __init__(self, store: FeatureStore):
        self.store = store
        self.row_bytes = store.dtype.itemsize * int(np.prod(store.row_shape))
        self._open: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def read(self, clip: str, row: int, out: np.ndarray) -> None:
        """Fill `out` with rows from `row` on."""
        descriptor, offset = self._opened(clip)
        wanted = memoryview(out).cast("B")
        position = offset + row * self.row_bytes
        got = os.preadv(descriptor, [wanted], position)
        while 0 < got < len(wanted):  # a signal may cut a read short
            more = os.preadv(descriptor, [wanted[got:]], position + got)
            got = got + more if more else -1
        if got != len(wanted):
            raise StoreError(f"clip {clip!r}: {self.store.path(clip)} ends before row {row + len(out)}; make it again")

    def _opened(self, clip: str) -> tuple[int, int]:
        if clip in self._open:
            self._open.move_to_end(clip)
            return self._open[clip]
        with self.store.file(clip) as file:
            self._open[clip] = os.dup(file.fileno()), file.tell()
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1][0])
        return self._open[clip]

    def __del__(self) -> None:
        for descriptor, _ in self._open.values():
            os.close(descriptor)

    def __reduce__(self) -> tuple:
        return _OpenFiles, (self.store,)  # a spawned worker opens its own
