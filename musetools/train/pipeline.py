"""Clips into a store in three stages, each a little ahead of the next: read in processes, encoded, written.

The encoder waits for neither decoders nor disks, and clips come into the store in the order in which they are named.
"""

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch

from musetools.audio.container import name_of
from musetools.audio.probe import MediaInfo
from musetools.audio.reading import read_media
from musetools.audio.timeline import Timeline
from musetools.check.clip import ClipAudit, ClipFacts, judged
from musetools.errors import AudioError, MusetoolsError, OutputError, StoreError
from musetools.features.encoder import Encoder
from musetools.features.extract import FeatureRows, encode_in_batches, encode_window
from musetools.features.windows import MelWindow
from musetools.files import sha256_of
from musetools.recipes.recipe import Recipe
from musetools.timing import SAMPLE_RATE
from musetools.train.provenance import SourceFile
from musetools.train.report import Outcome
from musetools.train.sources import ClipSource
from musetools.train.store import FeatureStore
from musetools.worker import Ahead, Worker, side_by_side

__all__ = ["Options", "Pipeline", "known_outcome"]

BLOCKS_AHEAD = 64  # of sound, for each clip that is being read
# Encoder passes at a time on a CPU, each with its share of the threads. One pass with all threads would wait in each of
# its steps for the core that a decoder has taken; memory grows with each that runs.
MOST_SIDE_BY_SIDE = 4
ROWS_AHEAD = 1  # encoder windows that may wait to be written; of the largest model one takes 250 MB


@dataclass(frozen=True)
class Options:
    """How clips are read and judged."""

    recipe: Recipe  # the pipeline for which they are checked
    lenient: bool  # whether clips with errors are taken all the same
    audio_track: int | None
    video_track: int | None
    workers: int | None  # processes that read, for each encoder; None: by the machine


@dataclass(eq=False)
class _Reading:
    """A clip on its way through the stages."""

    source: ClipSource
    items: Ahead[MediaInfo | np.ndarray | Timeline] | None = None
    file: SourceFile | None = None
    audit: ClipAudit | None = None
    moved: Timeline | None = None  # where its sound lies, if it was moved there
    error: Exception | None = None

    def close(self) -> None:
        """Read no more of it."""
        if self.items:
            self.items.close()


class Pipeline(ExitStack):
    """Adds clips to a store; its processes go on from run to run until the pipeline is closed."""

    def __init__(self, store: FeatureStore, encoder: Encoder, options: Options):
        super().__init__()
        self.store, self.encoder, self.options = store, encoder, options
        self._idle = [self.enter_context(Worker()) for _ in range(options.workers)]

    def run(self, clips: Iterable[ClipSource]) -> Iterator[Outcome]:
        """Add clips and yield what became of each, in order."""
        with closing(Ahead(self._encoded(clips), ROWS_AHEAD)) as encoded:
            for reading, rows in groupby(encoded, key=itemgetter(0)):
                yield self._written(reading, (block for _, block in rows if block is not None))

    # --- read

    def _started(self, clips: Iterable[ClipSource]) -> Iterator[_Reading]:
        """Yield clips in order; while one is out, as many as there are processes are being read."""
        running: deque[_Reading] = deque()
        try:
            for clip in clips:
                running.append(self._begun(clip))
                if len(running) == self.options.workers:
                    yield running[0]
                    running.popleft().close()
            while running:
                yield running[0]
                running.popleft().close()
        finally:
            for reading in running:
                reading.close()

    def _begun(self, source: ClipSource) -> _Reading:
        """Begin to read a clip, unless another process was faster."""
        reading = _Reading(source)
        if not self._is_added(source):
            reading.items = Ahead(self._items(reading), BLOCKS_AHEAD)
        return reading

    def _items(self, reading: _Reading) -> Iterator[MediaInfo | np.ndarray | Timeline]:
        """Yield what an idle process reads of a clip; runs in a thread of its own."""
        name_of(path := reading.source.path)  # raises for what is no file
        tracks = {"audio_track": self.options.audio_track, "video_track": self.options.video_track}
        worker, decoder = self._idle.pop(), self.store.spec.decoder
        try:
            with closing(worker.run(read_media, path, decoder=decoder, decode_video=False, **tracks)) as items:
                info = next(items)
                reading.file = SourceFile.of(path, info)
                yield info
                yield from items
        finally:
            self._idle.append(worker)

    def _is_added(self, source: ClipSource) -> bool:
        """Tell whether another process was faster, as far as is known."""
        return source.clip in self.store and not source.again

    # --- encoded

    def _encoded(self, clips: Iterable[ClipSource]) -> Iterator[tuple[_Reading, np.ndarray | None]]:
        """Yield each clip with its rows, block by block, and at its end with None; runs in a thread of its own."""
        windows = self._windows(clips)
        if self.encoder.in_batches:
            yield from encode_in_batches(self.encoder, self.store.spec, windows)
            return
        n_threads = torch.get_num_threads()
        side, each = min(MOST_SIDE_BY_SIDE, n_threads), max(1, n_threads // MOST_SIDE_BY_SIDE)
        try:
            with closing(windows):
                calls = (partial(self._encode, *one) for one in windows)
                yield from side_by_side(calls, side, partial(torch.set_num_threads, each))
        finally:
            torch.set_num_threads(n_threads)

    def _windows(self, clips: Iterable[ClipSource]) -> Iterator[tuple[_Reading, MelWindow | None]]:
        """Yield each clip with its encoder windows, and at its end with None."""
        with closing(self._started(clips)) as started:
            for reading in started:
                try:
                    for window in self._rows(reading).windows():
                        yield reading, window
                except (MusetoolsError, OSError) as error:
                    reading.error = error
                yield reading, None

    def _encode(self, reading: _Reading, window: MelWindow | None) -> tuple[_Reading, np.ndarray | None]:
        return reading, encode_window(self.encoder, self.store.spec, window) if window else None

    def _rows(self, reading: _Reading) -> FeatureRows:
        source = reading.source
        if reading.items is None or self._is_added(source):
            raise StoreError(f"another process has added clip {source.clip!r} meanwhile. Run again")
        blocks = self._passing(reading, next(reading.items))
        return FeatureRows(source.path, self.encoder, self.store.spec, blocks=blocks)

    def _passing(self, reading: _Reading, info: MediaInfo) -> Iterator[np.ndarray]:
        """Yield a clip's sound; at its end audit it, and raise AudioError if it must be left out."""
        source, n_samples = reading.source, 0
        for item in reading.items:
            if not isinstance(item, Timeline):
                n_samples += len(item)
                yield item
                continue
            facts = ClipFacts(info, item, n_samples)
            reading.audit = judged(source.clip, self.options.recipe, facts, source.n_frames, source.fps)
            by_stamps, found = self.store.spec.decoder == "timeline", reading.audit.findings
            reading.moved = item if by_stamps and any(f.mended for f in found) else None
            errors = [f.sentence for f in found if f.level == "error" and not (f.mended and by_stamps)]
            if errors and not self.options.lenient:
                raise AudioError(f"left out: {'; '.join(errors)}. To take it all the same: lenient=True, or --lenient")

    # --- written

    def _written(self, reading: _Reading, rows: Iterator[np.ndarray]) -> Outcome:
        source, file = reading.source, reading.file
        try:
            self.store.add_rows(
                source.clip,
                _whole(rows, reading),
                lambda: reading.audit.n_samples,
                source=lambda: file.to_json() | ({"timeline": reading.moved.to_json()} if reading.moved else {}),
                # what a table says comes before what the file says
                fps=source.fps or (file and file.fps),
                n_frames=file.frames if file and source.n_frames is None else source.n_frames,
                replace=source.again,
            )
        except StoreError as error:  # another process may have been faster
            return known_outcome(self.store, source) or Outcome(source, error)
        except (MusetoolsError, OSError) as error:
            return Outcome(source, error, stops=_stops(error))
        audit = replace(reading.audit, info=None, timeline=None)  # of ten thousand hours they would not fit in memory
        return Outcome(source, audit=audit, moved=reading.moved, seconds=audit.n_samples / SAMPLE_RATE)


def _whole(rows: Iterator[np.ndarray], reading: _Reading) -> Iterator[np.ndarray]:
    """Yield a clip's rows; raise what cut them short."""
    yield from rows
    if reading.error:
        raise reading.error


def known_outcome(
    store: FeatureStore, source: ClipSource, refuse: Callable[[Path], str | None] | None = None
) -> Outcome | None:
    """Return what becomes of a clip, if that is known before it is read: it is there, cannot be, or is refused."""
    try:
        if _is_there(store, source):
            return Outcome(source, there=True)
        reason = refuse(source.path) if refuse else None
        return Outcome(source, AudioError(reason)) if reason else None
    except (AudioError, StoreError, OSError) as error:  # what else is raised would meet every clip: a missing extra
        return Outcome(source, error)


def _is_there(store: FeatureStore, source: ClipSource) -> bool:
    """Tell whether a clip was made of its file as it is now; StoreError if it was made of another one."""
    if source.clip not in store:
        return False
    record, stat = store.record(source.clip), source.path.stat()
    known, n_frames = record.source or {}, source.n_frames
    if (source.fps or record.rate, record.frames if n_frames is None else n_frames) != (record.rate, record.frames):
        return False
    # of another path size and time say nothing: corpora hold files of one length, and archives set one time for all
    same_path = known.get("path") == str(source.path.resolve())
    if same_path and (known.get("bytes"), known.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return True
    with open(source.path, "rb") as file:
        if known.get("sha256") == sha256_of(file):
            return True
    if same_path:
        return False
    raise StoreError(
        f"clip {source.clip!r} was made of another file, {known.get('path')}: name this one otherwise "
        "({id: path}, or a table with a column clip)"
    )


def _stops(error: Exception) -> bool:
    """Tell whether an error would meet every clip: a store that cannot be written, but for a file that is too long."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, OutputError) and getattr(cause, "errno", None) != errno.EFBIG
