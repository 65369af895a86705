"""Feature rows in, one chunk per video frame out: a chunker is an index matrix, and one gather turns it into chunks."""

from collections.abc import Sequence
from fractions import Fraction
from html import escape
from numbers import Integral
from typing import overload

import numpy as np

from musetools.errors import ParameterError
from musetools.timing import ROW_MS, ROW_RATE, exact_fps, frame_starts

__all__ = ["EDGES", "Chunks", "at_edges", "chunk_rows", "feature2chunks", "gather", "row_lag_ms", "rows_around"]
__all__ += ["window_offsets"]

EDGES = ("clamp", "zeros", "drop")
ZERO_ROW = -1  # in an index matrix: no row of the features, but zeros
ROWS_PER_FRAME = 2  # what upstream calls a frame of context: the rows of one frame at 25 fps


def chunk_rows(
    n_rows: int,
    fps: float | Fraction,
    context: tuple[int, int] = (2, 2),
    *,
    edge: str = "clamp",
    n_frames: int | None = None,
) -> np.ndarray:
    """Return which feature rows each video frame is conditioned on.

    The contract is this equation and the edge rule::

        rows[i, j] = floor(50·i / fps) - 2·left + j        j in 0 … 2·(left + right + 1) - 1

    Parameters
    ----------
    n_rows : int
        Feature rows that there are, 50 a second.
    fps : float or Fraction
        Video frames per second; 29.97 is taken for 30000/1001 (see `musetools.timing.exact_fps`).
    context : (int, int), default (2, 2)
        Frames of audio, 40 ms each, taken `left` and `right` of a frame.
    edge : {"clamp", "zeros", "drop"}
        What becomes of rows before the first or after the last: the nearest row, -1 (a row of zeros), or the frame is
        left out.
    n_frames : int, optional
        Frames to cut, before any is dropped. By default every whole frame: ``floor(n_rows · fps / 50)``.

    Returns
    -------
    ndarray of int64, shape (n_frames, 2·(left + right + 1))
        Row numbers, -1 for a row of zeros. With "drop", the frames that remain follow each other without a gap.

    Raises
    ------
    ParameterError
        If an argument is of the wrong type or out of range.

    Notes
    -----
    At 25 fps and context (2, 2) an interior frame takes the ten rows 2i-4 … 2i+5, as every MuseTalk release does:
    ``musetalk/whisper/audio2feature.py``, ``musetalk/utils/audio_processor.py`` (TMElyralab/MuseTalk).
    """
    return _cut(n_rows, fps, context, edge, n_frames)[1]


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
    first, rows = _cut(len(features), fps, context, edge, n_frames)
    return Chunks(features, rows, fps, first_frame=first)


class Chunks(Sequence):
    """A lazy sequence of chunks: features and the index matrix that cuts them.

    Behaves as the list that upstream code expects. A chunk whose rows follow each other is a view of the features; only
    a chunk at an edge is a copy.

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
    rows : ndarray of int64, shape (n_frames, rows_per_chunk)
        The index matrix.
    fps : Fraction
        Video frames per second, exactly.
    frames : range
        The number of the video frame that each chunk belongs to.

    Raises
    ------
    ParameterError
        If the features are not three-dimensional, or `rows` names a row that they lack.
    """

    def __init__(self, features: np.ndarray, rows: np.ndarray, fps: float | Fraction, *, first_frame: int = 0):
        self.features, self.rows = _checked_features(features), _checked_rows(rows)
        self.fps, self.frames = exact_fps(fps), range(first_frame, first_frame + len(self.rows))
        if self.rows.size and not ZERO_ROW <= self.rows.min() <= self.rows.max() < len(self.features):
            raise ParameterError(
                f"rows must lie in -1 … {len(self.features) - 1}, the rows that the features have; "
                f"got {self.rows.min()} … {self.rows.max()}"
            )
        self._first_rows = np.where(_contiguous(self.rows), self.rows[:, 0], ZERO_ROW).tolist()

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """Shape of one chunk: (rows_per_chunk · n_layers, width)."""
        _, n_layers, width = self.features.shape
        return self.rows.shape[1] * n_layers, width

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "Chunks": ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            frames = self.frames[index]
            if frames.step != 1:
                raise ParameterError(f"chunks are sliced in steps of 1; got {index}. Index chunks.rows for others")
            return Chunks(self.features, self.rows[index], self.fps, first_frame=frames.start)
        first = self._first_rows[index]
        if first == ZERO_ROW:
            return gather(self.features, self.rows[index])
        return self.features[first : first + self.rows.shape[1]].reshape(self.chunk_shape)

    def line(self, frame: int) -> int:
        """Return the place at which a video frame's chunk stands; ParameterError if it has none."""
        if frame not in self.frames:
            raise ParameterError(f"frame {frame} has no chunk: there are {self.frames.start} … {self.frames.stop - 1}")
        return self.frames.index(frame)

    def at(self, frame: int) -> np.ndarray:
        """Return the chunk of a video frame, by the frame's number; ParameterError if it has none."""
        return self[self.line(frame)]

    def batch(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Gather the chunks of a slice into one new array, shape (stop - start, rows_per_chunk · n_layers, width)."""
        return gather(self.features, self.rows[start:stop])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if copy is False:
            raise ValueError("chunks overlap, so an array of them is always a copy")
        return self.batch().astype(dtype or self.features.dtype, copy=False)

    def lag_ms(self) -> np.ndarray:
        """Return each frame's lag in ms, NaN at an edge: see `row_lag_ms`."""
        return row_lag_ms(self.rows, self.fps, first_frame=self.frames.start)

    def __repr__(self) -> str:
        return f"Chunks({len(self)} frames at {float(self.fps):.6g} fps, each {self.chunk_shape} {self.features.dtype})"

    def _repr_html_(self) -> str:
        shape = " × ".join(map(str, self.chunk_shape))
        dtype = escape(str(self.features.dtype))
        return f"<b>Chunks</b>: {len(self)} frames at {float(self.fps):.6g} fps, each {shape} {dtype}"


def row_lag_ms(rows: np.ndarray, fps: float | Fraction, *, first_frame: int = 0) -> np.ndarray:
    """Measure how far each chunk lies in the future of its frame.

    Parameters
    ----------
    rows : ndarray of int, shape (n_frames, rows_per_chunk)
        An index matrix.
    fps : float or Fraction
        Video frames per second.
    first_frame : int, default 0
        Number of the frame that the first line of the matrix belongs to.

    Returns
    -------
    ndarray of float64, shape (n_frames,)
        Mean time of the frame's rows (row k at 20·k ms; zeros have no time) minus (i/fps + 10 ms): 0 for the published
        window at 25 fps, positive where the mouth would move early. NaN for a frame at an edge, whose rows repeat or
        which has more rows of zeros than others.
    """
    rows = np.asarray(rows)
    real = rows != ZERO_ROW
    count = real.sum(axis=1)
    frames = first_frame + np.arange(len(rows))
    mean = np.where(real, rows, 0).sum(axis=1) / np.maximum(count, 1)
    lag = ROW_MS * mean - (1000 * frames / float(exact_fps(fps)) + ROW_MS / 2)
    follows = (np.diff(rows, axis=1) == 1) | ~(real[:, 1:] & real[:, :-1])
    holes = ~real.any(axis=0)  # places that are zeros in every chunk, as a recipe may leave them
    whole = follows.all(axis=1) & (real | holes).all(axis=1) & (count > 0)
    return np.where(whole, lag, np.nan)


def window_offsets(context: tuple[int, int]) -> np.ndarray:
    """Return the rows of a chunk relative to the row that its frame starts with: ``-2·left … 2·(right + 1) - 1``."""
    left, right = _checked_context(context)
    return np.arange(-ROWS_PER_FRAME * left, ROWS_PER_FRAME * (right + 1))


def _cut(n_rows: int, fps: float | Fraction, context: tuple[int, int], edge: str, n_frames: int | None) -> tuple:
    """Return the number of the first frame and the index matrix."""
    fps, n_rows = exact_fps(fps), _checked_count("n_rows", n_rows)
    n_frames = int(n_rows * fps // ROW_RATE) if n_frames is None else _checked_count("n_frames", n_frames)
    if edge not in EDGES:
        raise ParameterError(f"edge must be one of {', '.join(EDGES)}; got {edge!r}")
    if edge == "clamp" and n_frames and not n_rows:
        raise ParameterError(f"no rows to clamp {n_frames} frames to: the features are empty. Use edge='zeros'")
    rows = rows_around(range(n_frames), fps, context)
    if edge != "drop":
        return 0, at_edges(rows, n_rows, edge)
    whole = ((rows >= 0) & (rows < n_rows)).all(axis=1)
    return int(whole.argmax()) if whole.any() else 0, rows[whole]


def rows_around(frames: range, fps: float | Fraction, context: tuple[int, int]) -> np.ndarray:
    """Return the rows around each frame, ``floor(50·i / fps) - 2·left + j``, whether or not there are such rows."""
    return frame_starts(frames, fps, ROW_RATE)[:, None] + window_offsets(context)


def at_edges(rows: np.ndarray, n_rows: int, edge: str) -> np.ndarray:
    """Apply the edge rule "clamp" or "zeros" to rows before the first or after the last."""
    if edge == "clamp":
        return rows.clip(0, max(0, n_rows - 1))
    return np.where((rows >= 0) & (rows < n_rows), rows, ZERO_ROW)


def _contiguous(rows: np.ndarray) -> np.ndarray:
    """Tell for each line of an index matrix whether its rows follow each other, none of them zeros."""
    return (rows[:, 0] >= 0) & (np.diff(rows, axis=1) == 1).all(axis=1)


def gather(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take rows, of zeros where -1, and join each chunk's rows and layers."""
    if len(features) == 0:
        taken = np.zeros((*rows.shape, *features.shape[1:]), features.dtype)
    else:
        taken = features.take(rows, axis=0, mode="clip")
        taken[rows == ZERO_ROW] = 0
    return taken.reshape(*rows.shape[:-1], rows.shape[-1] * features.shape[1], features.shape[2])


def _checked_features(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features)
    if features.ndim != 3:
        raise ParameterError(
            f"features must be (n_rows, n_layers, width), as audio2feat returns them; got {features.ndim} dimensions, "
            f"{features.shape}"
        )
    return features


def _checked_rows(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind not in "iu":
        raise ParameterError(
            f"rows must be whole numbers, (n_frames, rows_per_chunk), as chunk_rows returns them; "
            f"got {rows.dtype} {rows.shape}"
        )
    return rows.astype(np.int64, copy=False)


def _checked_context(context: tuple[int, int]) -> tuple[int, int]:
    try:
        left, right = context
    except (TypeError, ValueError):
        left = right = None
    if not all(isinstance(side, Integral) and not isinstance(side, bool) and side >= 0 for side in (left, right)):
        raise ParameterError(
            f"context must be two whole numbers of frames, (left, right), not negative; got {context!r}"
        )
    return int(left), int(right)


def _checked_count(name: str, count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 0:
        raise ParameterError(f"{name} must be a whole number, zero or more; got {count!r}")
    return int(count)
