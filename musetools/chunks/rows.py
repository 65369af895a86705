"""Which feature rows each video frame is conditioned on: the equation, the edge rules, and the lag that follows.

Rows are numbered from the start of the clip; row k is centred at 20·k ms. An index matrix has one index for each frame
and the frame's rows in order, -1 for a row of zeros. Nothing else in the package computes the rows of a frame.
"""

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral

import numpy as np

from musetools.errors import ParameterError, as_array, one_of
from musetools.timing import ROW_MS, ROW_RATE, exact_fps, frame_start

__all__ = [
    "EDGES",
    "ZERO_ROW",
    "FrameRows",
    "at_edges",
    "checked_context",
    "checked_count",
    "checked_rows",
    "checked_size",
    "chunk_frames",
    "chunk_offsets",
    "chunk_rows",
]
__all__ += ["frames_within", "interior_rows", "row_lag_ms", "rows_around"]

EDGES = ("clamp", "zeros", "drop")
LARGEST_COUNT = 2**53  # up to which a float is exact
ZERO_ROW = -1  # in an index matrix: no row of the features, but zeros
MOST_ENTRIES = 2**29  # of an index matrix, 4 GiB: 24 days at 25 fps with context (2, 2)
WIDEST = 10_000  # frames of context on one side
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
        Frames of the video, before any is dropped. By default every whole frame: ``floor(n_rows · fps / 50)``.

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
    frames = chunk_frames(n_rows, fps, context, edge=edge, n_frames=n_frames)
    return FrameRows(frames, n_rows, fps, context, edge)[:]


@dataclass(frozen=True)
class FrameRows:
    """The index matrix of `chunk_rows`, computed where it is asked for: an hour's takes 7 MB."""

    frames: range  # that have a chunk
    n_rows: int
    fps: float | Fraction
    context: tuple[int, int]
    edge: str

    @property
    def shape(self) -> tuple[int, int]:
        """(n_frames, rows_per_chunk)."""
        return len(self.frames), len(chunk_offsets(self.context))

    def __getitem__(self, index: int | slice | list | np.ndarray) -> np.ndarray:
        several = isinstance(index, (list, np.ndarray))
        frames = np.asarray(self.frames)[index] if several else self.frames[index]
        return at_edges(rows_around(frames, self.fps, self.context), self.n_rows, self.edge)

    def first_rows(self) -> np.ndarray:
        """Return the first row of each chunk whose rows follow each other, -1 for a chunk at an edge."""
        return interior_rows(rows_around(self.frames, self.fps, self.context, [0, -1]), self.n_rows)


def chunk_frames(
    n_rows: int, fps: float | Fraction, context: tuple[int, int], *, edge: str, n_frames: int | None = None
) -> range:
    """Return the numbers of the frames that get a chunk; arguments and errors as in `chunk_rows`."""
    fps, n_rows, context = exact_fps(fps), checked_count("n_rows", n_rows), checked_context(context)
    n_frames = int(n_rows * fps // ROW_RATE) if n_frames is None else checked_count("n_frames", n_frames)
    checked_size(n_frames, context)
    one_of("edge", edge, EDGES)
    if edge == "clamp" and n_frames and not n_rows:
        raise ParameterError(f"no rows to clamp {n_frames} frames to: the features are empty. Use edge='zeros'")
    if edge != "drop":
        return range(n_frames)
    first = bisect_left(range(n_frames), 0, key=lambda frame: rows_around(frame, fps, context)[0])
    stop = frames_within(n_rows, fps, context, range(n_frames))
    return range(first, stop) if first < stop else range(0)


def frames_within(n_rows: int, fps: float | Fraction, context: tuple[int, int], frames: range) -> int:
    """Return the first of some frames that takes a row from `n_rows` on; their stop if none does."""
    # rows grow with the frame, so that bisection finds it
    return bisect_left(range(frames.stop), n_rows, frames.start, key=lambda i: rows_around(i, fps, context)[-1])


def rows_around(
    frames: int | range | np.ndarray,
    fps: float | Fraction,
    context: tuple[int, int],
    places: list[int] | slice = slice(None),
) -> np.ndarray:
    """Return the rows around each frame, ``floor(50·i / fps) - 2·left + j``, whether or not there are such rows.

    All rows of a chunk, or those at some of its places.
    """
    return frame_start(frames, fps, ROW_RATE)[..., None] + chunk_offsets(context)[places]


def at_edges(rows: np.ndarray, n_rows: int | np.ndarray, edge: str) -> np.ndarray:
    """Apply the edge rule to rows before the first or after the last: "clamp" repeats the nearest, others give -1."""
    if edge == "clamp":
        return rows.clip(0, np.maximum(0, n_rows - 1))
    return np.where((rows >= 0) & (rows < n_rows), rows, ZERO_ROW)


def interior_rows(rows: np.ndarray, n_rows: int | np.ndarray) -> np.ndarray:
    """Return the first of the rows around each frame, -1 where some of them lie before the first or after the last."""
    return np.where((rows[..., 0] >= 0) & (rows[..., -1] < n_rows), rows[..., 0], ZERO_ROW)


def chunk_offsets(context: tuple[int, int]) -> np.ndarray:
    """Return the rows of a chunk relative to the row that its frame starts with: ``-2·left … 2·(right + 1) - 1``."""
    left, right = checked_context(context)
    return np.arange(-ROWS_PER_FRAME * left, ROWS_PER_FRAME * (right + 1))


def row_lag_ms(rows: np.ndarray, fps: float | Fraction, *, first_frame: int = 0) -> np.ndarray:
    """Measure how far each chunk of an index matrix lies in the future of its frame, float64 (n_frames,).

    Mean time of the frame's rows (row k at 20·k ms; zeros have no time) minus (i/fps + 10 ms): 0 for the published
    chunk at 25 fps, positive where the mouth would move early. NaN for a frame at an edge, whose rows repeat or which
    has more rows of zeros than others. `first_frame` is the number of the frame that index 0 belongs to.
    """
    rows = checked_rows(rows)
    real = rows != ZERO_ROW
    count = real.sum(axis=1)
    frames = first_frame + np.arange(len(rows))
    mean = np.where(real, rows, 0).sum(axis=1) / np.maximum(count, 1)
    lag = ROW_MS * mean - (1000 * frames / float(exact_fps(fps)) + ROW_MS / 2)
    follows = (np.diff(rows, axis=1) == 1) | ~(real[:, 1:] & real[:, :-1])
    holes = ~real.any(axis=0)  # places that are zeros in every chunk, as a recipe may leave them
    whole = follows.all(axis=1) & (real | holes).all(axis=1) & (count > 0)
    return np.where(whole, lag, np.nan)


def checked_context(context: tuple[int, int]) -> tuple[int, int]:
    """Return a context as two plain integers; ParameterError if it is no such thing."""
    try:
        left, right = context
    except (TypeError, ValueError):
        left = right = None
    if not all(
        isinstance(side, Integral) and not isinstance(side, bool) and 0 <= side <= WIDEST for side in (left, right)
    ):
        raise ParameterError(
            f"context must be two whole numbers of frames, (left, right), 0 … {WIDEST}; got {context!r:.60}"
        )
    return int(left), int(right)


def checked_rows(rows: np.ndarray) -> np.ndarray:
    """Return an index matrix as int64; ParameterError if it is none."""
    rows = as_array(rows)
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype.kind not in "iu":
        raise ParameterError(
            f"rows must be whole numbers, (n_frames, rows_per_chunk), as chunk_rows returns them; "
            f"got {rows.dtype} {rows.shape}"
        )
    if rows.size and not -LARGEST_COUNT <= int(rows.min()) <= int(rows.max()) <= LARGEST_COUNT:
        raise ParameterError(f"rows must lie in ±2^53, as a clip's rows do; got {rows.min()} … {rows.max()}")
    return rows.astype(np.int64, copy=False)


def checked_size(n_frames: int, context: tuple[int, int]) -> None:
    """Raise ParameterError if the index matrix of so many frames would not fit in memory."""
    if (entries := n_frames * len(chunk_offsets(context))) > MOST_ENTRIES:
        raise ParameterError(
            f"{n_frames} frames with context {context} have an index matrix of {entries / 2**27:.3g} GiB, "
            f"at most {MOST_ENTRIES / 2**27:g} are made. Cut a shorter clip"
        )


def checked_count(name: str, count: int) -> int:
    """Return a count as a plain integer; ParameterError if it is no such thing."""
    if isinstance(count, bool) or not isinstance(count, Integral) or not 0 <= count <= LARGEST_COUNT:
        raise ParameterError(f"{name} must be a whole number, zero or more, at most 2^53; got {count!r:.60}")
    return int(count)
