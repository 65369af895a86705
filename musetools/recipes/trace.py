"""The index matrix of anybody's chunker, read by sending numbered rows through it.

A chunker is an index matrix: whatever it does, each row of a chunk is a row of the features, or zeros. So features
whose values are the number of their row and layer come back as the matrix. A number is written in digits below 128,
which half precision and bfloat16 hold exactly; check digits beside them fit no sum or mean of two numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from musetools.chunks.rows import ZERO_ROW, checked_count
from musetools.errors import MusetoolsError, ParameterError, as_array
from musetools.recipes.recipe import sinusoids
from musetools.table import ShownAsText

__all__ = ["Trace", "TraceError", "collected", "trace_rows"]

BASE = 128
DIGITS = 4  # of a number: up to 268 million
WORD = DIGITS + 2  # with check digits
PRIME = 127
MOST_VALUES = 2**30  # of the features that are sent: 3 h of those of Whisper tiny
NEAR = 0.26  # half precision rounds a digit and a positional encoding together by less
EXACT = 1e-3  # without an encoding digits come back as they are, in half precision, too
SCALED = 0.1  # half precision rounds a digit that was rescaled by less of its scale
NONE = ZERO_ROW - 1  # no number


class TraceError(MusetoolsError):
    """A chunker that is no gather: it mixes, rescales or reorders what it is given, or stops."""


@dataclass(frozen=True, repr=False)
class Trace(ShownAsText):
    """What `trace_rows` read."""

    rows: np.ndarray  # int64, (n_frames, rows_per_chunk); -1 for a row of zeros
    notes: tuple[str, ...] = ()  # what else the chunker does, in sentences

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
        device; one batch of them is taken, too. It is called three times, and once more at a fault.
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
        If rows or layers are mixed, interpolated, rescaled or chosen among, layers are not row-major, or the chunker
        raises, gives other rows at each call, or the same chunks for other features.
    ParameterError
        If a size is no whole number, there are too few rows, or more than fill 4 GiB, or `width` is too small to hold
        a number.
    """
    sizes = {"n_rows": n_rows, "n_layers": n_layers, "width": width}
    n_rows, *shape = [checked_count(name, size) for name, size in sizes.items()]
    if n_rows < 1 or shape[0] < 1 or shape[1] < WORD:
        raise ParameterError(f"at least 1 row, 1 layer and a width of {WORD} are needed; got {sizes}")
    if (n_values := n_rows * shape[0] * shape[1]) > MOST_VALUES:
        raise ParameterError(
            f"{n_rows} rows of {shape[0]} layers of {shape[1]} are {n_values / 2**28:.3g} GiB, at most "
            f"{MOST_VALUES / 2**28:g} are sent. Trace a shorter clip"
        )

    def chunks_of(sent: np.ndarray) -> np.ndarray:
        return collected(lambda: chunker(sent), f"{n_rows} rows", shape)

    chunks = chunks_of(_numbered(0, n_rows, *shape))
    try:
        return _trace(
            chunks, chunks_of(np.ones((n_rows, *shape), np.float32)), chunks_of(_numbered(1, n_rows, *shape)), n_rows
        )
    except TraceError:
        if np.array_equal(chunks_of(_numbered(0, n_rows, *shape)), chunks):
            raise
        raise TraceError(
            "it gives other chunks at each call: it draws at random, or keeps a state. Fix its seed, switch "
            "dropout off, or make it anew at each call"
        ) from None


def _trace(chunks: np.ndarray, ones: np.ndarray, others: np.ndarray, n_rows: int) -> Trace:
    """Read the index matrix of chunks of numbered rows, and compare it with chunks of ones and of other numbers."""
    rows, encoded = _read(chunks, 0, n_rows)
    for again in (ones, others):
        if again.shape != chunks.shape:
            raise TraceError(f"it gives {len(chunks)} chunks, then {len(again)} for as many rows of other values")
        if (rows != ZERO_ROW).any() and np.array_equal(again, chunks):
            raise TraceError(
                "it gives the same chunks for other features: it keeps what it made. Make it anew at each call"
            )
    added = sinusoids(rows.shape[1] * chunks.shape[2], chunks.shape[3]).reshape(chunks.shape[1:]) if encoded else 0
    changed = (np.abs(ones - added - (rows != ZERO_ROW)[..., None, None]) > NEAR).any()
    if changed or not np.array_equal(_read(others, 1, n_rows)[0], rows):
        raise TraceError("it takes other rows where they have other values, or changes these: a chunker gathers")
    notes = ["MuseTalk's positional encoding is added to each chunk; it was taken off here"] if encoded else []
    return Trace(rows, tuple(notes))


def _numbered(first: int, n_rows: int, n_layers: int, width: int) -> np.ndarray:
    """Return features whose values are the digits of the number of their row and layer, and check digits."""
    code = _code(np.arange(first * n_layers, (first + n_rows) * n_layers))
    return code[:, np.arange(width) % WORD].reshape(n_rows, n_layers, width)


def _code(numbers: np.ndarray) -> np.ndarray:
    """Return the code word of each number, float32 (..., WORD); zeros for -1 alone."""
    number = numbers.astype(np.int64) + 1
    digits = [number // BASE**i % BASE for i in range(DIGITS)]
    checks = [1 + number * number % PRIME, 1 + number * number * number % (PRIME - 4)]
    return (np.stack([*digits, *checks], axis=-1) * (number != 0)[..., None]).astype(np.float32)


def _read(chunks: np.ndarray, first: int, n_rows: int) -> tuple[np.ndarray, bool]:
    """Return the index matrix of chunks of numbered features, and whether they carry positional encoding."""
    _, per_chunk, n_layers, width = chunks.shape
    end, encoded = (first + n_rows) * n_layers, False
    numbers = _decoded(chunks, EXACT, end)
    if (numbers == NONE).any() and width % 2 == 0:
        added = sinusoids(per_chunk * n_layers, width).reshape(chunks.shape[1:])
        plain = _decoded(chunks - added, NEAR, end)
        if not (plain == NONE).any() and (plain != ZERO_ROW).any():
            numbers, encoded = plain, True
    rows = np.where(numbers[..., 0] == ZERO_ROW, ZERO_ROW, numbers[..., 0] // n_layers - first)
    layers, row = np.arange(n_layers), rows[..., None]
    bad = numbers == NONE
    wrong = bad if bad.any() else numbers != np.where(row == ZERO_ROW, ZERO_ROW, (row + first) * n_layers + layers)
    if not wrong.any():
        return rows, encoded
    frame, place, layer = np.argwhere(wrong)[0]
    if bad.any():
        raise TraceError(f"{_fault(chunks[frame, place, layer], end)} (chunk {frame}, row {place} of it)")
    layers_first = numbers.reshape(-1, n_layers, per_chunk).swapaxes(1, 2)
    if ((layers_first % n_layers == layers) | (layers_first == ZERO_ROW)).all():
        raise TraceError(
            "layers are in another order: all rows of a layer, then those of the next; expected row-major, then layer: "
            f"chunk.reshape({n_layers}, -1, {width}).swapaxes(0, 1)"
        )
    raise TraceError(
        f"layers are in another order, or not all there: chunk {frame}, row {place} of it has layers "
        f"{(numbers[frame, place] % n_layers).tolist()}, expected {layers.tolist()} of one row. "
        "Trace it with n_layers=1 if it takes one"
    )


def _decoded(chunks: np.ndarray, near: float, end: int) -> np.ndarray:
    """Return the number of each row and layer of chunks, (n_frames, rows, n_layers): ZERO_ROW for zeros, or NONE."""
    words = chunks[..., : chunks.shape[-1] // WORD * WORD].reshape(*chunks.shape[:-1], -1, WORD)
    digits = np.rint(words[..., 0, :DIGITS].clip(0, BASE - 1)).astype(np.int64)
    numbers = (digits * BASE ** np.arange(DIGITS)).sum(-1) - 1
    apart = np.abs(words - _code(numbers)[..., None, :]).reshape(*numbers.shape, -1).max(-1)
    return np.where((apart <= near) & (numbers < end), numbers, NONE)


def _fault(values: np.ndarray, end: int) -> str:
    """Say what one layer of a row of a chunk is that is none of the features."""
    codes, word = _code(np.arange(end)), values[:WORD].astype(np.float64)
    scale = codes @ word / np.square(codes).sum(1)
    left = np.abs(word - scale[:, None] * codes).max(1) - SCALED * np.abs(scale)
    scaled = scale[left.argmin()] * np.resize(codes[left.argmin()], len(values))
    if left.min() < 0 and np.abs(values - scaled).max() < SCALED * abs(scale[left.argmin()]):
        return f"a row comes back times {scale[left.argmin()]:.4g}: values are rescaled, a chunker gathers"
    return "it is no row of the features: rows or layers are mixed or interpolated, or their values are changed"


def collected(call: Callable[[], Any], what: str, shape: Sequence[int]) -> np.ndarray:
    """Call somebody's code; return the chunks that it gives as float32 (n_frames, rows, n_layers, width)."""
    n_layers, width = shape
    try:
        given = call()
        if isinstance(given, Iterable) and not isinstance(given, (Mapping, str)) and not hasattr(given, "shape"):
            given = [_array(one).copy() for one in given]  # a generator may raise on the way, or fill one array anew
    except TraceError:
        raise
    except (Exception, SystemExit) as error:  # whatever his code raises
        raise TraceError(f"the chunker stops on {what}: {type(error).__name__}: {error}") from error
    if isinstance(given, list):
        if len(shapes := {one.shape for one in given}) > 1:
            raise TraceError(f"chunks have shapes {sorted(shapes)[:4]}: one shape is expected")
        chunks = np.stack(given) if given else np.empty(0)
    else:
        chunks = _array(given)
        if chunks.ndim < 3:
            raise TraceError(f"an array of chunks has three or four axes; got {chunks.shape}. Return one chunk a frame")
        if len(chunks) == 1 and (chunks.ndim == 5 or (chunks.ndim == 4 and chunks.shape[2] != n_layers)):
            chunks = chunks[0]  # a batch of one
    if not chunks.size:
        raise TraceError("no chunks came")
    one = chunks.shape[1:]
    is_chunk = (len(one) == 2 and one[0] % n_layers == 0) or (len(one) == 3 and one[1] == n_layers)
    if not is_chunk or one[-1] != width:
        raise TraceError(
            f"chunks must be (rows · {n_layers}, {width}) or (rows, {n_layers}, {width}), one for each "
            f"frame; got {one}. Take batches apart"
        )
    finite = np.isfinite(chunks).reshape(len(chunks), -1).all(axis=1)
    if not finite.all():
        raise TraceError(f"it holds values that are not finite (chunk {finite.argmin()})")
    return chunks.astype(np.float32).reshape(len(chunks), -1, n_layers, width)


def _array(one: Any) -> np.ndarray:
    """Convert an array or a tensor of any float type on any device."""
    if (array := as_array(one)).dtype.kind == "f":
        return array
    keys = f" with {', '.join(map(repr, list(one)[:3]))}" if isinstance(one, Mapping) else ""
    keys = f" of {one.dtype}" if hasattr(one, "dtype") else keys
    raise TraceError(f"chunks are arrays or tensors of floats; got {type(one).__name__}{keys}. Return these alone")
