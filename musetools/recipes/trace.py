"""The index matrix of anybody's chunker, read by sending numbered rows through it.

A chunker is an index matrix: whatever it does, each row of a chunk is a row of the features, or zeros. So features
whose values are the number of their row come back as the matrix. A row's number is written in digits below 128, which
half precision and bfloat16 hold exactly. Check digits beside them fit no sum or mean of two rows, so a mixture is not
taken for a third row. The order of the layers is read in a second pass, whose values are the layer's number.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from musetools.chunks.rows import ZERO_ROW, checked_count
from musetools.errors import MusetoolsError, ParameterError, as_array
from musetools.recipes.recipe import sinusoids
from musetools.table import ShownAsText

__all__ = ["Trace", "TraceError", "collected", "numbered_features", "read_rows", "trace_rows"]

BASE = 128
DIGITS = 4  # of a row's number: 268 million rows
CHECKS = 2
PRIME = 127
MOST_VALUES = 2**30  # of the features that are sent: 3 h of those of Whisper tiny
NEAR = 0.26  # half precision rounds a digit and a positional encoding together by less
MIXED = 0.02  # of a layer's number: the mean over a row of what half precision rounds off is less
EXACT = 1e-3  # without an encoding digits come back as they are, in half precision, too


class TraceError(MusetoolsError):
    """A chunker that is no gather: it mixes, rescales or reorders what it is given, or stops."""


@dataclass(frozen=True, repr=False)
class Trace(ShownAsText):
    """What `trace_rows` read."""

    rows: np.ndarray  # int64, (n_frames, rows_per_chunk); -1 for a row of zeros
    notes: tuple[str, ...] = ()  # what else the chunker does, in sentences
    positions: bool = False  # whether MuseTalk's positional encoding was added

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.rows, dtype) if copy or dtype else self.rows

    def __repr__(self) -> str:
        return "\n".join([f"Trace: {len(self.rows)} chunks of {self.rows.shape[1]} rows", *self.notes])


def trace_rows(chunker: Callable[[np.ndarray], Any], n_rows: int, *, n_layers: int = 5, width: int = 384) -> Trace:
    """Read the index matrix of anybody's chunker.

    Parameters
    ----------
    chunker : callable
        Takes features, float32 ``(n_rows, n_layers, width)``, and returns a chunk for each frame: an array, tensor,
        list or generator of ``(rows · n_layers, width)`` or ``(rows, n_layers, width)``, of any float type, on any
        device; one batch of them is taken, too. It is called three times.
    n_rows : int
        Feature rows to send through it, 50 a second.
    n_layers, width : int
        Shape of a row; those of Whisper tiny by default.

    Returns
    -------
    Trace

    Raises
    ------
    TraceError
        If rows are mixed, interpolated or rescaled, layers are not row-major, or chosen among; if it gives other rows
        at each call, or the same chunks for other features; or if the chunker itself raises.
    ParameterError
        If a size is no whole number, there are too few rows, or more than fill 4 GiB, or `width` is too small to hold
        a number.
    """
    n_rows, n_layers, width = _checked_sizes(n_rows=n_rows, n_layers=n_layers, width=width)
    shape = n_layers, width
    chunks = _chunks(chunker, numbered_features(n_rows, *shape), shape)
    rows, encoded = read_rows(chunks, n_rows)
    layers = np.broadcast_to(np.arange(1, n_layers + 1, dtype=np.float32)[:, None], (n_rows, *shape))
    of_layers = _chunks(chunker, np.ascontiguousarray(layers), shape)
    if of_layers.shape != chunks.shape:
        raise TraceError(f"it gives {len(chunks)} chunks, then {len(of_layers)} for as many rows of other values")
    if (rows != ZERO_ROW).any() and np.array_equal(of_layers, chunks):
        raise TraceError(
            "it gives the same chunks for other features: it keeps what it made. Make it anew at each call"
        )
    _check_layers(of_layers, rows, encoded)
    if not np.array_equal(_chunks(chunker, numbered_features(n_rows, *shape), shape), chunks):
        raise TraceError("it gives other chunks at each call: it draws at random, or keeps a state. Fix its seed")
    notes = ["MuseTalk's positional encoding is added to each chunk; it was taken off here"] if encoded else []
    return Trace(rows, tuple(notes), encoded)


def _checked_sizes(**sizes: int) -> list[int]:
    """Return the sizes of features as plain integers; ParameterError if they cannot be numbered, or fill the memory."""
    n_rows, n_layers, width = checked = [checked_count(name, size) for name, size in sizes.items()]
    if n_rows < 1 or n_layers < 1 or width < DIGITS + CHECKS:
        raise ParameterError(
            f"at least 1 row, 1 layer and a width of {DIGITS + CHECKS} are needed; got {n_rows}, {n_layers}, {width}"
        )
    if n_rows * n_layers * width > MOST_VALUES:
        raise ParameterError(
            f"{n_rows} rows of {n_layers} layers of {width} are {n_rows * n_layers * width / 2**28:.3g} GiB, at most "
            f"{MOST_VALUES / 2**28:g} are sent. Trace a shorter clip"
        )
    return checked


def numbered_features(n_rows: int, n_layers: int, width: int) -> np.ndarray:
    """Return features whose values are the digits of their row's number, and check digits; no row is zeros."""
    code = _code(np.arange(n_rows))
    columns = np.arange(width) % code.shape[1]
    return np.repeat(code[:, None, columns], n_layers, axis=1)


def _code(rows: np.ndarray) -> np.ndarray:
    """Return the code word of each row, ``(n, DIGITS + CHECKS)``."""
    number = rows.astype(np.int64) + 1
    digits = [number // BASE**i % BASE for i in range(DIGITS)]
    checks = [1 + number * number % PRIME, 1 + number * number * number % (PRIME - 4)]
    return np.stack([*digits, *checks], axis=1).astype(np.float32)


def read_rows(chunks: np.ndarray, n_rows: int) -> tuple[np.ndarray, bool]:
    """Return the index matrix of chunks of numbered features, and whether they carry positional encoding.

    Parameters
    ----------
    chunks : ndarray of float32, shape (n_frames, rows, n_layers, width)
        What a chunker returned for `numbered_features`.
    n_rows : int
        Rows that there were.

    Raises
    ------
    TraceError
        If a row of a chunk is no row of the features.
    """
    rows, bad = _decoded(chunks, n_rows, EXACT)
    if not bad.any():
        return rows, False
    if chunks.shape[-1] % 2 == 0:
        plain, still_bad = _decoded(_without_positions(chunks), n_rows)
        if not still_bad.any() and (plain != ZERO_ROW).any():
            return plain, True
    _check_arrangement(chunks, n_rows)
    frame, place = np.argwhere(bad)[0]
    raise TraceError(f"{_fault(chunks[frame, place], n_rows)} (chunk {frame}, row {place} of it)")


def _check_arrangement(chunks: np.ndarray, n_rows: int) -> None:
    """Raise TraceError if all that chunks hold are rows, whose layers lie in another way or are not all there."""
    n_chunks, per_chunk, n_layers, width = chunks.shape
    layers_first = chunks.reshape(n_chunks, n_layers, per_chunk, width).swapaxes(1, 2)
    if not _decoded(layers_first, n_rows, EXACT)[1].any():
        raise TraceError(
            "layers are in another order: all rows of a layer, then those of the next; expected row-major, then layer: "
            f"chunk.reshape({n_layers}, -1, {width}).swapaxes(0, 1)"
        )
    if n_layers > 1 and not _decoded(chunks.reshape(n_chunks, -1, 1, width), n_rows, EXACT)[1].any():
        raise TraceError(
            f"a chunk holds {per_chunk * n_layers} rows without all {n_layers} layers of each: layers are chosen, "
            "averaged or in another order. Trace it with n_layers=1 if it takes one"
        )


def _without_positions(chunks: np.ndarray) -> np.ndarray:
    """Take the positional encoding off chunks (n_frames, rows, n_layers, width)."""
    per_chunk, n_layers, width = chunks.shape[1:]
    return chunks - sinusoids(per_chunk * n_layers, width).reshape(chunks.shape[1:])


def _decoded(chunks: np.ndarray, n_rows: int, near: float = NEAR) -> tuple[np.ndarray, np.ndarray]:
    """Return the row that each row of each chunk is, and where it is none."""
    length = DIGITS + CHECKS
    code = chunks[..., : chunks.shape[-1] // length * length]
    code = code.reshape(*chunks.shape[:-1], -1, length)
    word = np.rint(code[..., 0, 0, :])
    numbers = (word[..., :DIGITS].astype(np.int64) * BASE ** np.arange(DIGITS)).sum(-1)
    rows = np.where(numbers == 0, ZERO_ROW, numbers - 1)
    expected = np.where((rows == ZERO_ROW)[..., None], 0, _code(rows.ravel()).reshape(*rows.shape, length))
    apart = np.abs(code - expected[..., None, None, :]).reshape(*rows.shape, -1).max(-1)
    return rows, ~(apart <= near) | (rows >= n_rows) | (rows < ZERO_ROW)


def _fault(row: np.ndarray, n_rows: int) -> str:
    """Say what a row of a chunk is that is no row of the features."""
    features = numbered_features(n_rows, *row.shape).reshape(n_rows, -1)
    flat = row.ravel().astype(np.float64)
    scale = features @ flat / np.square(features).sum(1)
    left = np.abs(flat - scale[:, None] * features).max(1)
    best = int(left.argmin())
    if left[best] < NEAR * abs(scale[best]):
        return f"row {best} comes back times {scale[best]:.4g}: values are rescaled, a chunker gathers"
    return "it is no row of the features: rows are mixed or interpolated, or their values are changed"


def _check_layers(chunks: np.ndarray, rows: np.ndarray, encoded: bool) -> None:
    n_layers = chunks.shape[2]
    if encoded:
        chunks = _without_positions(chunks)
    expected = np.where((rows == ZERO_ROW)[..., None], 0, np.arange(1, n_layers + 1))
    mean = chunks.mean(-1)
    got = np.rint(mean).astype(int)
    if (mixed := np.argwhere(np.abs(mean - got) > MIXED)).size:
        frame, place, layer = mixed[0]
        raise TraceError(f"layers are mixed or rescaled (chunk {frame}, row {place} of it, layer {layer})")
    if (wrong := np.argwhere(got != expected)).size:
        frame, place, _ = wrong[0]
        raise TraceError(
            f"layers are in another order: chunk {frame}, row {place} has layers {(got[frame, place] - 1).tolist()}, "
            f"expected {list(range(n_layers))}: row-major, then layer"
        )


def _chunks(chunker: Callable[[np.ndarray], Any], features: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return collected(lambda: chunker(features), f"{len(features)} rows", shape)


def collected(
    call: Callable[[], Any], what: str, shape: tuple[int, int], columns: np.ndarray | slice = slice(None)
) -> np.ndarray:
    """Call somebody's code; return the chunks that it gives as float32 (n_frames, rows, n_layers, columns)."""
    n_layers, width = shape
    try:
        given = call()
        given = list(given) if _is_sequence(given) else given  # a generator may raise on the way
    except (Exception, SystemExit) as error:  # whatever his code raises
        raise TraceError(f"the chunker stops on {what}: {type(error).__name__}: {error}") from error
    chunks = [_array(one) for one in (given if isinstance(given, list) else _unbatched(_array(given), n_layers))]
    lengths = {one.shape for one in chunks}
    if len(lengths) != 1:
        raise TraceError(
            f"chunks have shapes {sorted(lengths)[:4]}: one shape is expected" if lengths else "no chunks came"
        )
    one = lengths.pop()
    is_chunk = (len(one) == 2 and one[0] % n_layers == 0) or (len(one) == 3 and one[1] == n_layers)
    if not is_chunk or one[-1] != width or not one[0]:
        raise TraceError(f"chunks must be (rows · {n_layers}, {width}) or (rows, {n_layers}, {width}); got {one}")
    if (bad := next((number for number, one in enumerate(chunks) if not np.isfinite(one).all()), None)) is not None:
        raise TraceError(f"it holds values that are not finite (chunk {bad})")
    chunks = np.stack([one[..., columns] for one in chunks]).astype(np.float32)
    return chunks.reshape(len(chunks), -1, n_layers, chunks.shape[-1])


def _is_sequence(given: Any) -> bool:
    return isinstance(given, Iterable) and not isinstance(given, (Mapping, str)) and not hasattr(given, "shape")


def _unbatched(chunks: np.ndarray, n_layers: int) -> np.ndarray:
    """Take off the axis of a batch of one: (1, n, rows · n_layers, width) or (1, n, rows, n_layers, width)."""
    if chunks.ndim < 3:
        raise TraceError(f"an array of chunks has three or four axes; got {chunks.shape}. Return one chunk a frame")
    batch = len(chunks) == 1 and (chunks.ndim == 5 or (chunks.ndim == 4 and chunks.shape[2] != n_layers))
    return chunks[0] if batch else chunks


def _array(one: Any) -> np.ndarray:
    """Convert an array or a tensor of any float type on any device."""
    if (array := as_array(one)).dtype.kind in "biuf":
        return array
    keys = f" with {', '.join(map(repr, list(one)[:3]))}" if isinstance(one, Mapping) else ""
    raise TraceError(f"chunks are arrays or tensors of numbers; got {type(one).__name__}{keys}. Return these alone")
