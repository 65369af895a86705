"""A torch Dataset over a store: a batch's chunks are read straight from disk into its one buffer."""

import hashlib
import json
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torch.utils.data._utils.collate import collate, default_collate_fn_map

from musetools.chunks.rows import chunk_frames, chunk_offsets, rows_around
from musetools.chunks.settings import ChunkSettings
from musetools.errors import ContractError, ParameterError, StoreError
from musetools.recipes.contract import AudioContract, checked_contract
from musetools.train.manifest import Record
from musetools.train.reading import OpenFiles
from musetools.train.store import FeatureStore, checked_store

__all__ = ["ChunkBatch", "ChunkDataset"]

OWN_KEYS = {"audio", "clip", "frame"}  # of every item


class ChunkItem(dict):
    """One item: ``audio`` (chunk tensor), ``clip`` (id), ``frame`` (index), and what `frames` adds."""


class ChunkBatch(Sequence):
    """Items whose chunks lie in one buffer; each is made when it is asked for.

    ``torch.utils.data.default_collate`` takes the buffer as it is, without stacking.
    """

    def __init__(self, audio: torch.Tensor, clips: list[str], frames: list[int], extras: list[dict[str, Any]]):
        self.audio, self.clips, self.frames, self.extras = audio, clips, frames, extras

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int | slice) -> ChunkItem | list[ChunkItem]:
        index = range(len(self))[index]
        if isinstance(index, range):
            return [self[place] for place in index]
        place = {"audio": self.audio[index], "clip": self.clips[index], "frame": self.frames[index]}
        return ChunkItem(place, **self.extras[index])


def _collate_items(batch: Sequence[ChunkItem], *, collate_fn_map: Mapping | None = None) -> dict[str, Any]:
    """Collate items; the one buffer of a `ChunkBatch` becomes the batch's tensor."""
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
        ``(clip, frame) -> tensor`` or dict of tensors: the image that goes with a chunk, under ``picture`` or under
        the dict's keys, which must not be those of an item.
    frames_per_sample : int, default 1
        T consecutive frames an item; ``audio`` is then ``(T, rows · layers, width)``, `frame` the first of them.
    contract : AudioContract, optional
        Whose fps, context and edge are taken, and whose features and weights the store must have.

    Attributes
    ----------
    settings : ChunkSettings
        Frame rate, context and edge rule: what `FeatureStore.contract` writes down for inference.
    left_out : tuple of str
        Clips too short for a single item; a warning names them.

    Raises
    ------
    ParameterError
        If an argument is out of range, a clip's own frame rate is not known, images would be paired with chunks of
        another frame rate, or, while reading, take the place of what an item holds.
    ContractError
        If the contract says otherwise than the store or the other arguments.
    StoreError
        If no clip is long enough for a single item, or, while reading, a file is not what was written, or a clip was
        replaced since the dataset was made.

    Notes
    -----
    Making one writes nothing, so that features may lie where one may only read. Works with shuffling, workers (fork and
    spawn), pinned memory and `torch.utils.data.DistributedSampler`.
    """

    def __init__(
        self,
        store: FeatureStore,
        fps: float | Fraction | None = 25,
        context: tuple[int, int] = (2, 2),
        *,
        edge: str = "drop",
        frames: Callable[[str, int], Any] | None = None,
        frames_per_sample: int = 1,
        contract: AudioContract | None = None,
    ):
        self.settings = _kept(contract, checked_store(store), ChunkSettings(fps, context, edge))
        if not isinstance(frames_per_sample, Integral) or frames_per_sample < 1:
            raise ParameterError(f"frames_per_sample must be a whole number, 1 or more; got {frames_per_sample!r}")
        self.store, self.images, self.frames_per_sample = store, frames, int(frames_per_sample)
        self._rows_per_chunk = len(chunk_offsets(self.settings.context))
        records = dict(sorted(store.manifest.records.items()))  # items do not depend on who added what first
        self._index(list(records.values()))
        self._files = OpenFiles(store, records)

    def _index(self, records: Sequence[Record]) -> None:
        """List the items: which frames of which clips."""
        every = [(record, rate := self._rate(record), self._starts(record, rate)) for record in records]
        kept = [(record, rate, starts) for record, rate, starts in every if starts]
        self.left_out = tuple(record.clip for record, _, starts in every if not starts)
        if not kept:
            raise StoreError(
                f"no clip among the {len(records)} of {self.store.root} is long enough for {self}. "
                "Take fewer frames a sample, or add longer clips"
            )
        if self.left_out:
            short = ", ".join(map(repr, self.left_out[:5]))
            warnings.warn(f"{len(self.left_out)} clips are too short for {self}, left out: {short}", stacklevel=3)
        records, rates, self._starts_of = zip(*kept, strict=True)
        self._clips = [record.clip for record in records]
        self._ends = np.cumsum([len(starts) for starts in self._starts_of])
        self._stops = np.array([starts.stop for starts in self._starts_of])
        self._rates, self._rate_of = np.unique(rates, return_inverse=True)

    def _rate(self, record: Record) -> Fraction:
        """Return the frame rate at which a clip's chunks are taken."""
        fps = self.settings.fps or record.rate
        if fps is None:
            raise ParameterError(
                f"the frame rate of clip {record.clip!r} is not known: add it with fps=, or name one for all"
            )
        if self.images and record.rate not in (None, fps):
            raise ParameterError(
                f"clip {record.clip!r} has {float(record.rate):.6g} fps, its images are not those of chunks at "
                f"{float(fps):.6g} fps: pass fps=None for each clip's own"
            )
        return fps

    def _starts(self, record: Record, fps: Fraction) -> range:
        """Return the frames that a clip's items start with."""
        frames = chunk_frames(record.rows, fps, self.settings.context, edge=self.settings.edge)
        stop = frames.stop
        if record.frames is not None and record.rate in (None, fps):
            stop = min(stop, record.frames)  # sound may go on after the last image
        return range(frames.start, max(frames.start, stop - self.frames_per_sample + 1))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> ChunkItem:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> ChunkBatch:
        """Read a batch of items into one new buffer."""
        clips, firsts = self._places(indices)
        rows = self._rows(clips, firsts)
        buffer = np.empty((*rows.shape, *self.store.row_shape), self.store.dtype)  # numpy asks for huge pages
        names = [self._clips[clip] for clip in clips.tolist()]
        of_chunks = names if self.frames_per_sample == 1 else np.repeat(names, self.frames_per_sample).tolist()
        around, out = rows.reshape(-1, rows.shape[-1]), buffer.reshape(-1, *buffer.shape[2:])
        self._files.read(of_chunks, around, self.settings.edge, out)
        audio = torch.from_numpy(buffer).flatten(2, 3)
        firsts = firsts.tolist()
        extras = [self._extras(*item) for item in zip(names, firsts, strict=True)] if self.images else [{}] * len(names)
        return ChunkBatch(audio if self.frames_per_sample > 1 else audio[:, 0], names, firsts, extras)

    def _places(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each index, the number of its clip and its first frame."""
        indices, n_items = np.fromiter(map(operator.index, indices), np.int64), len(self)
        if (bad := (indices < -n_items) | (indices >= n_items)).any():
            raise IndexError(f"item {indices[bad][0]} of {n_items}")
        indices = indices % n_items
        clips = self._ends.searchsorted(indices, side="right")
        return clips, indices - self._ends[clips] + self._stops[clips]

    def _rows(self, clips: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """Return the rows around the frames of each item, shape (n_items, frames_per_sample, rows_per_chunk)."""
        frames, rates = firsts[:, None] + np.arange(self.frames_per_sample), self._rate_of[clips]
        rows = np.empty((*frames.shape, self._rows_per_chunk), np.int64)
        for number, fps in enumerate(self._rates):
            those = rates == number if len(self._rates) > 1 else slice(None)
            rows[those] = rows_around(frames[those], fps, self.settings.context)
        return rows

    def _extras(self, clip: str, first: int) -> dict[str, Any]:
        made = [self.images(clip, first + step) for step in range(self.frames_per_sample)]
        made = [one if isinstance(one, dict) else {"picture": one} for one in made]
        if taken := OWN_KEYS & made[0].keys():
            raise ParameterError(
                f"frames must add other keys than an item's own; got {', '.join(sorted(taken))} for clip {clip!r}, "
                f"frame {first}. Name it otherwise"
            )
        if self.frames_per_sample == 1:
            return made[0]
        return {key: torch.stack([torch.as_tensor(m[key]) for m in made]) for key in made[0]}

    def fingerprint(self) -> str:
        """Return a hash of what each index means: which frame of which clip, and which rows."""
        clips = zip(self._clips, map(str, self._rates[self._rate_of]), map(str, self._starts_of), strict=True)
        content = json.dumps([self.settings.to_json(), self.frames_per_sample, *clips])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"ChunkDataset({self.settings}, {self.frames_per_sample} frames an item)"


def _kept(contract: AudioContract | None, store: FeatureStore, settings: ChunkSettings) -> ChunkSettings:
    """Return the settings of a contract, if there is one; ContractError if store or settings are not what it says."""
    if contract is None:
        return settings
    checked_contract(contract)
    asked = contract.settings if settings == ChunkSettings() else settings  # defaults ask for nothing
    stored = replace(store.contract(asked), rates=contract.rates, positional_encoding=contract.positional_encoding)
    if other := contract.differences(stored):
        raise ContractError(
            f"the contract is not kept (here: the contract, there: {store.root}): {'; '.join(other)}. "
            "Make the store as it says, or train without it"
        )
    return asked
