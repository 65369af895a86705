"""Chunks straight from disk: a clip's rows are read into the place in a batch where they belong."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from musetools.chunks.rows import ZERO_ROW, at_edges, interior_rows
from musetools.chunks.sequence import gather
from musetools.errors import StoreError
from musetools.train.manifest import Record
from musetools.train.store import FeatureStore

__all__ = ["OpenFiles"]

MAX_OPEN = 128  # files a process keeps open; macOS allows 256


class _OpenFile(NamedTuple):
    """A file that is closed when nobody has it any more: another thread may read what is no longer kept open."""

    descriptor: int
    offset: int  # at which its numbers begin

    def __del__(self) -> None:
        os.close(self.descriptor)


class OpenFiles:
    """The files of the clips that were opened last, kept open, each checked when it is opened."""

    def __init__(self, store: FeatureStore, records: Mapping[str, Record]):
        self.store, self.records = store, records
        self.row_bytes = store.dtype.itemsize * int(np.prod(store.row_shape))
        self._open: dict[str, _OpenFile] = {}

    def read(self, clips: Sequence[str], rows: np.ndarray, edge: str, out: np.ndarray) -> None:
        """Fill `out`, (chunks, rows, layers, width), with the rows around each frame of its clip, by the edge rule."""
        room, size = memoryview(out.reshape(-1).view(np.uint8)), rows.shape[1] * self.row_bytes
        n_rows = np.array([self.records[clip].rows for clip in clips])
        firsts, places = interior_rows(rows, n_rows).tolist(), range(0, len(room), size)
        for clip, first, place in zip(clips, firsts, places, strict=True):
            if first != ZERO_ROW:
                self._read(clip, first, room[place : place + size])
            else:
                chunk = place // size
                self._gather(clip, at_edges(rows[chunk], n_rows[chunk], edge), out[chunk])

    def _read(self, clip: str, row: int, wanted: memoryview) -> None:
        """Fill memory with the rows from `row` on."""
        file = self._open.get(clip) or self._opened(clip)
        position = file.offset + row * self.row_bytes
        while (got := _preadv(file.descriptor, (wanted,), position)) < len(wanted):  # a signal may cut a read short
            if not got:
                raise StoreError(f"clip {clip!r}: {self.store.path(clip)} ends after row {row}; make it again")
            position, wanted = position + got, wanted[got:]

    def _gather(self, clip: str, rows: np.ndarray, out: np.ndarray) -> None:
        """Fill `out` with rows that do not follow each other: read the span they lie in, then gather."""
        real = rows[rows != ZERO_ROW]
        if not real.size:
            out[...] = 0
            return
        first, stop = int(real.min()), int(real.max()) + 1
        span = np.empty((stop - first, *self.store.row_shape), self.store.dtype)
        self._read(clip, first, memoryview(span).cast("B"))
        out[...] = gather(span, np.where(rows == ZERO_ROW, ZERO_ROW, rows - first)).reshape(out.shape)

    def _opened(self, clip: str) -> _OpenFile:
        with self.store.file(clip, self.records[clip]) as file:
            opened = self._open[clip] = _OpenFile(os.dup(file.fileno()), file.tell())
        if len(self._open) > MAX_OPEN:
            self._open.pop(next(iter(tuple(self._open))), None)
        return opened

    def __reduce__(self) -> tuple:
        return OpenFiles, (self.store, self.records)  # a spawned worker opens its own


def _read_at(descriptor: int, buffers: list[memoryview], position: int) -> int:
    """Do what `os.preadv` does, for one buffer, where the system lacks it."""
    (out,) = buffers
    if hasattr(os, "pread"):
        content = os.pread(descriptor, len(out), position)
    else:  # Windows, where no process inherits the place in a file that it could move
        os.lseek(descriptor, position, os.SEEK_SET)
        content = os.read(descriptor, len(out))
    out[: len(content)] = content
    return len(content)


_preadv = getattr(os, "preadv", _read_at)
