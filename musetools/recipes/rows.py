"""How the published pipelines cut: one index matrix each, in the pipeline's own arithmetic, rounding faults included.

A cut is ``(n_samples, fps, context) -> (first_frame, rows)``. Rows stand on the clip's own axis: row k is centred at
20·k ms, -1 is a row of zeros. Where the pipeline stops on its input, so does the cut.
"""

import math
from bisect import bisect_right
from fractions import Fraction
from numbers import Rational

import numpy as np

from musetools.chunks.rows import LARGEST_COUNT, ZERO_ROW, chunk_offsets, chunk_rows
from musetools.errors import ParameterError, RecipeError
from musetools.features.spec import MAX_WINDOW_S
from musetools.recipes.sampler import training_window
from musetools.timing import MEL_HOP, ROW_RATE, ROW_SAMPLES, SAMPLE_RATE, exact_fps, frame_count

__all__ = ["Context", "Cut", "as_passed", "canonical", "livetalking", "openavatarchat", "plus_files"]
__all__ += ["v1", "v1_files", "v15", "v15_loader"]

Context = tuple[int, int]  # frames of audio left and right of a frame
Cut = tuple[int, np.ndarray]  # number of the first frame, index matrix

WINDOW_ROWS = MAX_WINDOW_S * ROW_RATE  # that an encoder pass sees


def as_passed(fps: float | Fraction) -> float | int:
    """Return a frame rate as OpenCV or a literal would pass it to a pipeline, not as it is meant."""
    return int(fps) if isinstance(fps, Rational) and fps.denominator == 1 else float(fps)


def canonical(n_samples: int, fps: float | Fraction, context: Context) -> Cut:
    """Cut as `chunk_rows` does: exact fps, edges clamped, one chunk for every whole frame."""
    n_rows, n_frames = n_samples // ROW_SAMPLES, frame_count(n_samples, fps)
    if n_frames and not n_rows:
        raise RecipeError("no feature row to clamp to", ParameterError)
    return 0, chunk_rows(n_rows, fps, context, n_frames=n_frames)


def v1(n_samples: int, fps: float | Fraction, context: Context) -> Cut:
    """Cut until a frame's first row lies behind the last one, which is tested too late: two chunks too many."""
    n_rows, fps = n_samples // ROW_SAMPLES, as_passed(fps)
    if n_rows == 0:
        raise RecipeError("no feature row to clamp to", IndexError)
    # its loop over frames ends at the first that starts behind the last row
    n_frames = bisect_right(range(LARGEST_COUNT), n_rows, key=lambda i: int(i * (50.0 / fps))) + 1
    centres = np.floor(np.arange(n_frames) * 50 / fps).astype(np.int64)
    return 0, (centres[:, None] + chunk_offsets(context)).clip(0, n_rows - 1)


def v1_files(n_samples: int, fps: float | Fraction, context: Context) -> Cut:
    """Load a frame's neighbours from files of two rows each, whatever the fps; drop it where one is missing."""
    n_files, (left, right) = n_samples // ROW_SAMPLES // 2, context
    frames = np.arange(left, max(left, n_files - right))
    return left, 2 * frames[:, None] + chunk_offsets(context)


def v15(n_samples: int, fps: float | Fraction, context: Context) -> Cut:
    """Pad with zeros by a rounded-up number of rows, count in rounded-down fps and in floats."""
    fps, (left, right) = int(fps), context
    multiplier, duration = ROW_RATE / fps, n_samples / SAMPLE_RATE
    n_frames, n_rows = math.floor(duration * fps), math.floor(duration * ROW_RATE)
    padding = math.ceil(multiplier)
    # torch.zeros_like of a slice: no more zeros than there are rows
    before, after = min(padding * left, n_rows), min(3 * padding * right, n_rows)
    starts = np.floor(np.arange(n_frames) * multiplier).astype(np.int64)
    taken = starts[:, None] + np.arange(len(chunk_offsets(context)))
    if n_frames == 0:
        raise RecipeError("not one whole frame", ValueError)
    if taken[-1, -1] >= before + n_rows + after:
        raise RecipeError(
            f"{n_frames} frames of {n_rows} rows, padded by {before} and {after}: a chunk comes out short"
        )
    rows = taken - before
    return 0, np.where((rows >= 0) & (rows < n_rows), rows, ZERO_ROW)


def v15_loader(n_samples: int, fps: float | Fraction, context: Context) -> Cut:
    """Count two rows a frame inside one 30 s window, which for late frames is the wrong one.

    The loader counts the video's frames, not the audio's: the matrix goes to the frame that starts as the audio ends.
    """
    starts, shifted = training_window(np.arange(frame_count(n_samples, fps) + 1))
    rows = 2 * shifted[:, None] + chunk_offsets(context)
    inside = (rows >= 0) & (rows < WINDOW_ROWS)
    return 0, np.where(inside, rows + starts[:, None] // ROW_SAMPLES, ZERO_ROW)


def livetalking(n_samples: int, fps: float | Fraction, context: Context, *, centred: bool) -> Cut:
    """Cut batches out of a sliding buffer of PCM blocks, taking two rows a frame whatever the fps."""
    batch, stride = 16, 10  # frames a step; blocks kept either side
    if exact_fps(fps).denominator != 1 or fps > SAMPLE_RATE // 2:
        raise RecipeError("its PCM block of 16000 // (2·fps) samples must be a whole number, so fps an int", TypeError)
    block = SAMPLE_RATE // (2 * int(fps))
    n_blocks, n_rows = n_samples // block, n_samples // ROW_SAMPLES
    n_steps = max(0, (n_blocks - stride) // (2 * batch))
    # the buffer starts `stride` blocks before its first frame's; the first time, these are the silence of the warm-up
    starts = np.rint((np.arange(n_steps) * 2 * batch - stride) * block / ROW_SAMPLES).astype(np.int64)
    offsets = chunk_offsets(context if centred else (0, sum(context)))
    in_buffer = 2 * np.arange(batch)[:, None] + stride + offsets
    rows = (starts[:, None, None] + in_buffer).reshape(-1, len(offsets))
    return 0, rows.clip(0, max(0, n_rows - 1))


def openavatarchat(n_samples: int, fps: float | Fraction, context: Context) -> Cut:
    """Treat every second as a clip of its own, padded to a second, with zeros at its ends."""
    output_rate = 24_000  # Hz at which the avatar speaks, and in which it counts frames
    per_frame = output_rate // as_passed(fps)
    second = v15(SAMPLE_RATE, fps, context)[1]
    seconds, rest = divmod(n_samples, SAMPLE_RATE)
    whole, last = (second[: math.ceil(n * output_rate // SAMPLE_RATE / per_frame)] for n in (SAMPLE_RATE, rest))
    rows = np.concatenate([np.tile(whole, (seconds, 1)), last])  # a segment without a sample is dropped
    starts = ROW_RATE * (np.arange(len(rows)) // len(whole))
    return 0, np.where(rows == ZERO_ROW, ZERO_ROW, rows + starts[:, None])


def plus_files(n_samples: int, fps: float | Fraction, context: Context) -> Cut:
    """Load a frame's neighbours but for the last future one, and never the clip's last file; the rest stays zero."""
    left, right = context
    if left != right:
        raise RecipeError("its audio_window is one number, the same left and right", TypeError)
    n_files = n_samples // MEL_HOP // 4
    frames = np.arange(n_files)[:, None]
    rows = 2 * frames + chunk_offsets(context)
    files = rows // 2
    return 0, np.where((files >= 0) & (files < np.minimum(frames + right, n_files - 1)), rows, ZERO_ROW)
