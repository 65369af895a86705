"""How samples become frames: rows as windows are complete, a frame's chunk as soon as no row of it is to come."""

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np

from musetools.audio.buffer import Ring
from musetools.audio.loudness import LoudnessMeter
from musetools.audio.resample import BLOCK_S
from musetools.chunks.rows import ZERO_ROW, at_edges, frames_within, rows_around
from musetools.chunks.sequence import gather
from musetools.features.encoder import Encoder
from musetools.features.extract import encode_window
from musetools.features.mel import N_FFT
from musetools.features.spec import FeatureSpec
from musetools.features.windows import MelWindow, MelWindows
from musetools.infer.live import ComputeTime, LiveChunk
from musetools.timing import ROW_RATE, ROW_SAMPLES, SAMPLE_RATE

__all__ = ["LiveFrames", "push_together"]

STEP = BLOCK_S * SAMPLE_RATE


class LiveFrames:
    """The frames of one stream of 16 kHz samples, each handed out once and in order; memory does not grow."""

    def __init__(self, encoder: Encoder, spec: FeatureSpec, fps: Fraction, context: tuple[int, int], edge: str):
        self.encoder, self.spec, self.fps, self.context, self.edge = encoder, spec, fps, context, edge
        self._windows = MelWindows(spec, encoder.n_mels)
        self._meter, self._loudness = LoudnessMeter(fps), Ring()
        self._rows = Ring((encoder.n_layers, encoder.width))
        self.next_frame, self.compute = 0, ComputeTime()

    @property
    def reach(self) -> int:
        """Samples past its end that a window's last mel frame covers."""
        return self._windows.reach

    def push(self, waveform: np.ndarray) -> list[LiveChunk]:
        """Take the next samples, return the frames that are now certain."""
        encode = partial(encode_window, self.encoder, self.spec)
        return push_together([self], [waveform], lambda windows: [encode(window) for window in windows])[0]

    def flush(self) -> list[LiveChunk]:
        """Return the last frames; none of fewer samples than one analysis window."""
        if self._windows.n_samples < N_FFT:
            return []
        self._loudness.append(self._meter.push(np.zeros(self._windows.n_padded, np.float32)))
        started = time.perf_counter()
        rows = [encode_window(self.encoder, self.spec, window) for window in self._windows.flush() if window.keep]
        return self.give(rows, time.perf_counter() - started) + self._chunked(self._certain(ended=True))

    def take(self, piece: np.ndarray) -> list[MelWindow]:
        """Take the next samples, a few seconds at most; return the windows that they complete, to be encoded."""
        self._loudness.append(self._meter.push(piece))
        return [window for window in self._windows.push(piece) if window.keep]

    def give(self, rows: list[np.ndarray], seconds: float) -> list[LiveChunk]:
        """Take the rows of encoded windows, which cost so much; return the frames that are now certain."""
        started, live = time.perf_counter(), []
        for some in rows:
            self._rows.append(some)
            live += self._chunked(self._certain(ended=False))
        spent, audio_s = seconds + time.perf_counter() - started, self._windows.n_samples / SAMPLE_RATE
        self.compute = self.compute.and_then(len(rows), spent, audio_s)
        return live + self._chunked(self._certain(ended=False))  # slow frames are whole after their rows are made

    def _certain(self, *, ended: bool) -> range:
        """Return the frames that can be chunked: whole ones, and before the end, those with no row to come."""
        n_rows = self._rows.stop
        # their rows may still have to be made, but that a frame is whole is known when its samples are there
        stop = int((n_rows if ended else self._windows.n_samples // ROW_SAMPLES) * self.fps // ROW_RATE)
        frames = range(self.next_frame, max(stop, self.next_frame))
        return frames if ended else range(frames.start, frames_within(n_rows, self.fps, self.context, frames))

    def _chunked(self, frames: range) -> list[LiveChunk]:
        if not frames:
            return []
        rows = at_edges(rows_around(frames, self.fps, self.context), self._rows.stop, self.edge)
        local = np.where(rows == ZERO_ROW, ZERO_ROW, rows - self._rows.start)
        chunks = gather(self._rows[self._rows.start : self._rows.stop], local)
        loud = self._loudness[frames.start : frames.stop].tolist()
        kept = (rows != ZERO_ROW).all(axis=1) | (self.edge != "drop")
        times = [float(frame / self.fps) for frame in frames]
        self._forget(frames.stop)
        return [LiveChunk(*known) for *known, whole in zip(frames, chunks, times, loud, kept, strict=True) if whole]

    def _forget(self, next_frame: int) -> None:
        """Drop what no later frame needs; the last row stays, to be repeated at the end."""
        self.next_frame = next_frame
        self._loudness.drop(next_frame)
        first = int(rows_around(next_frame, self.fps, self.context)[0])
        self._rows.drop(min(first, self._rows.stop - 1))


def push_together(
    every: Sequence[LiveFrames],
    waveforms: Sequence[np.ndarray],
    encode: Callable[[list[MelWindow]], list[np.ndarray]],
) -> list[list[LiveChunk]]:
    """Push into several streams, in pieces, so that buffers stay small; `encode` gets the windows of all streams."""
    live: list[list[LiveChunk]] = [[] for _ in every]
    for start in range(0, max(map(len, waveforms), default=0), STEP):
        started = time.perf_counter()
        taken = [one.take(waveform[start : start + STEP]) for one, waveform in zip(every, waveforms, strict=True)]
        rows = iter(encode([window for windows in taken for window in windows]))
        each_s = (time.perf_counter() - started) / max(1, sum(map(len, taken)))
        for one, windows, got in zip(every, taken, live, strict=True):
            got += one.give([next(rows) for _ in windows], each_s * len(windows))
    return live
