"""Features and an index matrix as the list of chunks that upstream code expects: one gather, views where possible."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from html import escape
from typing import SupportsIndex, overload

import numpy as np

from musetools.chunks.rows import (
    ZERO_ROW,
    FrameRows,
    checked_count,
    checked_rows,
    chunk_frames,
    row_lag_ms,
)
from musetools.errors import ParameterError, as_array
from musetools.timing import ROW_RATE, exact_fps, floor_product

__all__ = ["Chunks", "are_contiguous", "feature2chunks", "first_rows", "gather"]


def feature2chunks(
    features: np.ndarray,
    fps: float | Fraction,
    context: tuple[int, int] = (2, 2),
    *,
    edge: str = "clamp",
    n_frames: int | None = None,
) -> "Chunks":
    """Cut features into one chunk per video frame.

    Parameters
    ----------
    features : ndarray, shape (n_rows, n_layers, width)
        What `audio2feat` returns; may be memory-mapped.
    fps, context, edge, n_frames
        As in `chunk_rows`.

    Returns
    -------
    Chunks
        A lazy sequence of ``(rows_per_chunk · n_layers, width)`` arrays; ``(50, 384)`` for Whisper tiny.

    Raises
    ------
    ParameterError
        If the features are not three-dimensional, or as `chunk_rows`.
    """
    features = _checked_features(features)
    frames = chunk_frames(len(features), fps, context, edge=edge, n_frames=n_frames)
    return Chunks(features, FrameRows(frames, len(features), fps, context, edge), fps, first_frame=frames.start)


class Chunks(Sequence):
    """A lazy sequence of chunks: features and the index matrix that says which rows each chunk takes.

    Behaves as the list that upstream code expects. A chunk whose rows follow each other is a view of the features; only
    a chunk at an edge is a copy. A list of indices or a mask of bools, or a tensor of either, gives those chunks as one
    new array.

    Parameters
    ----------
    features : ndarray, shape (n_rows, n_layers, width)
        Rows to take from.
    rows : ndarray of int, shape (n_frames, rows_per_chunk)
        Which rows each frame takes, -1 for a row of zeros.
    fps : float or Fraction
        Video frames per second.
    first_frame : int, default 0
        Number of the frame that the first chunk belongs to; above 0 where an edge rule dropped frames.

    Attributes
    ----------
    fps : Fraction
        Video frames per second, exactly.
    frames : range
        The number of the video frame that each chunk belongs to.
    chunk_shape : (int, int)
        Shape of one chunk: (rows_per_chunk · n_layers, width).

    Raises
    ------
    ParameterError
        If the features are not three-dimensional, or `rows` names a row that they lack.
    """

    def __init__(
        self, features: np.ndarray, rows: np.ndarray | FrameRows, fps: float | Fraction, *, first_frame: int = 0
    ):
        self.features, first_frame = _checked_features(features), checked_count("first_frame", first_frame)
        self._rows = rows if isinstance(rows, FrameRows) else _rows_within(rows, len(self.features))
        self._first_rows = rows.first_rows() if isinstance(rows, FrameRows) else first_rows(self._rows)
        n_frames, self._length = self._rows.shape
        self.fps, self.frames = exact_fps(fps), range(first_frame, first_frame + n_frames)
        _, n_layers, width = self.features.shape
        self.chunk_shape = self._length * n_layers, width

    @cached_property
    def rows(self) -> np.ndarray:
        """The index matrix, int64 (n_frames, rows_per_chunk)."""
        return self._rows[:]

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "Chunks": ...
    @overload
    def __getitem__(self, index: Sequence[int] | np.ndarray) -> np.ndarray: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            frames = self.frames[index]
            if frames.step != 1:
                raise ParameterError(f"chunks are sliced in steps of 1; got {index}. Index chunks.rows for others")
            return Chunks(self.features, self._rows[index], self.fps, first_frame=frames.start)
        index = as_array(index) if hasattr(index, "detach") else index  # a tensor
        if isinstance(index, (list, np.ndarray)) and np.ndim(index):
            return gather(self.features, self._rows[self._checked_indices(index)])
        if not isinstance(index, SupportsIndex):
            raise ParameterError(f"chunks are indexed by a whole number, a slice, a list or a mask; got {index!r:.80}")
        first = self._first_rows[index]
        if first == ZERO_ROW:
            return gather(self.features, self._rows[index])
        return self.features[first : first + self._length].reshape(self.chunk_shape)

    def __iter__(self) -> Iterator[np.ndarray]:
        length, shape = self._length, self.chunk_shape
        for index, first in enumerate(self._first_rows):  # without what indexing has to ask
            inside = first != ZERO_ROW
            yield (
                self.features[first : first + length].reshape(shape)
                if inside
                else gather(self.features, self._rows[index])
            )

    def _checked_indices(self, index: list | np.ndarray) -> np.ndarray:
        """Return a list of indices, or a mask of all chunks, as numpy takes it."""
        chosen, n = np.asarray(index, int if len(index) == 0 else None), len(self)
        is_mask = chosen.dtype == bool
        fits = chosen.shape == (n,) if is_mask else chosen.dtype.kind in "iu" and ((chosen >= -n) & (chosen < n)).all()
        if chosen.ndim != 1 or not fits:
            raise ParameterError(
                f"several chunks are taken by a list of whole numbers in {-n} … {n - 1}, or by a mask of {n} bools; "
                f"got {chosen.dtype} {chosen.shape}"
            )
        return chosen

    def index_of(self, frame: int) -> int:
        """Return the index of a video frame's chunk; ParameterError if the frame has none."""
        if frame not in self.frames:
            raise ParameterError(f"frame {frame} has no chunk: there are {self.frames.start} … {self.frames.stop - 1}")
        return self.frames.index(frame)

    def at(self, frame: int) -> np.ndarray:
        """Return the chunk of a video frame, by the frame's number; ParameterError if it has none."""
        return self[self.index_of(frame)]

    def batch(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Gather the chunks of a slice into one new array, shape (stop - start, rows_per_chunk · n_layers, width)."""
        first = self._first_rows[start:stop]
        inside = (first != ZERO_ROW).all()
        rows = first[:, None] + np.arange(self._length) if inside else self._rows[start:stop]
        return gather(self.features, rows)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("chunks overlap, so an array of them is always a copy")
        return self.batch().astype(dtype or self.features.dtype, copy=False)

    def lag_ms(self) -> np.ndarray:
        """Return each frame's lag in ms, NaN at an edge: see `row_lag_ms`."""
        return row_lag_ms(self.rows, self.fps, first_frame=self.frames.start)

    def silent(self, loudness_dbfs: np.ndarray, *, below_dbfs: float = -50) -> np.ndarray:
        """Say which chunks cover only audio below a threshold, so that a mouth can be kept shut there.

        Parameters
        ----------
        loudness_dbfs : ndarray of float, shape (n,)
            Loudness of each video frame of the clip from frame 0 on, at the rate of these chunks: what
            ``musetools.loudness(waveform, chunks.fps)`` returns.
        below_dbfs : float, default -50
            A frame below this is silent. Set it between the noise floor of a recording and its quietest speech.

        Returns
        -------
        ndarray of bool, shape (n_frames,)
            True where every video frame that the chunk's rows touch is silent; row k covers 20·k - 10 … 20·k + 10 ms.
            Rows of zeros cover no audio, and what lies before or after the frames given counts as silent.

        Raises
        ------
        ParameterError
            If the loudness is not a list of numbers.

        Notes
        -----
        Rows of silence still differ from those of padding: the encoder attends to its whole window. So a mask says what
        the features alone do not (MuseTalk issues 32, 16, 52, 337: the mouth moves in silence).
        """
        loudness_dbfs = np.asarray(loudness_dbfs)
        if loudness_dbfs.ndim != 1 or loudness_dbfs.dtype.kind not in "fiu" or np.isnan(loudness_dbfs).any():
            raise ParameterError(
                "loudness_dbfs must be a number for each video frame, as musetools.loudness returns them; "
                f"got {loudness_dbfs.dtype} {loudness_dbfs.shape}"
            )
        real = self.rows != ZERO_ROW
        first, last = np.where(real, self.rows, np.iinfo(np.int64).max).min(axis=1), self.rows.max(axis=1)
        first = np.where(real.any(axis=1), first, last)
        # row k covers (2k - 1)/100 … (2k + 1)/100 s, frame i covers i/fps … (i + 1)/fps: exact in whole numbers
        half_row = self.fps / (2 * ROW_RATE)
        start = floor_product(2 * first - 1, half_row).clip(0, len(loudness_dbfs))
        stop = (-floor_product(-(2 * last + 1), half_row)).clip(0, len(loudness_dbfs))
        loud = np.concatenate([[0], np.cumsum(loudness_dbfs >= below_dbfs)])
        return (loud[stop] == loud[start]) | ~real.any(axis=1)

    def __repr__(self) -> str:
        return f"Chunks({len(self)} frames at {float(self.fps):.6g} fps, each {self.chunk_shape} {self.features.dtype})"

    def _repr_html_(self) -> str:
        shape = " × ".join(map(str, self.chunk_shape))
        dtype = escape(str(self.features.dtype))
        return f"<b>Chunks</b>: {len(self)} frames at {float(self.fps):.6g} fps, each {shape} {dtype}"


def are_contiguous(rows: np.ndarray) -> np.ndarray:
    """Say for each index of an index matrix whether its rows follow each other, none of them zeros."""
    return (rows[..., 0] >= 0) & (rows[..., 1:] == rows[..., :-1] + 1).all(axis=-1)


def first_rows(rows: np.ndarray) -> np.ndarray:
    """Return the first row of each chunk whose rows follow each other, -1 for the others."""
    return np.where(are_contiguous(rows), rows[..., 0], ZERO_ROW)


def _rows_within(rows: np.ndarray, n_rows: int) -> np.ndarray:
    """Return an index matrix; ParameterError if it names a row that there is not."""
    rows = checked_rows(rows)
    if rows.size and not ZERO_ROW <= rows.min() <= rows.max() < n_rows:
        raise ParameterError(
            f"rows must lie in -1 … {n_rows - 1}, the rows that the features have; got {rows.min()} … {rows.max()}"
        )
    return rows


def gather(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take rows, of zeros where -1, and join each chunk's rows and layers: the one way from rows to chunks."""
    if len(features) == 0:
        taken = np.zeros((*rows.shape, *features.shape[1:]), features.dtype)
    else:
        taken = features.take(rows, axis=0, mode="clip")
        taken[rows == ZERO_ROW] = 0
    return taken.reshape(*rows.shape[:-1], rows.shape[-1] * features.shape[1], features.shape[2])


def _checked_features(features: np.ndarray) -> np.ndarray:
    features = as_array(features)
    if features.ndim != 3 or features.dtype.kind not in "biuf":
        raise ParameterError(
            f"features must be (n_rows, n_layers, width), as audio2feat returns them; got {features.ndim} dimensions, "
            f"{features.shape} of {features.dtype}"
        )
    return features
