"""The published pipelines once more, slow and plain: loops over lists, a row's number standing for its values.

Each takes ``(n_samples, fps, context)`` and gives the first frame and the rows of every chunk, -1 for zeros, or raises
what the original raises (SystemExit where it ends the process). Written from FACTS section 1 and the originals'
behaviour. Python's slices stop where torch's do, so what runs short there runs short here.
"""

import math
from fractions import Fraction

import numpy as np

from musetools.errors import ParameterError
from musetools.timing import exact_fps

ZEROS = -1


def told(fps):
    """A frame rate as code is told it: an int, or a float that has lost its fraction."""
    return fps if isinstance(fps, int) else float(fps)


def zeros_like(rows: list[int]) -> list[int]:
    return [ZEROS] * len(rows)


def numbered(n_rows: int, n_layers: int = 3, width: int = 4, dtype: str = "float32") -> np.ndarray:
    """Features in which no two values are alike, none of them 0."""
    return np.arange(1, 1 + n_rows * n_layers * width).reshape(n_rows, n_layers, width).astype(dtype)


def gathered(features: np.ndarray, rows: list[int]) -> np.ndarray:
    """Join rows one by one, zeros for -1."""
    return np.concatenate([np.zeros_like(features[0]) if row == ZEROS else features[row] for row in rows])


def musetools(n_samples, fps, context):
    """DESIGN section 4: exact fps, every whole frame, edges clamped."""
    fps, last, chunks = exact_fps(fps), n_samples // 320 - 1, []
    while Fraction(len(chunks) + 1) / fps <= Fraction(n_samples, 16_000):
        first = math.floor(50 * len(chunks) / fps) - 2 * context[0]
        chunks.append([min(max(first + j, 0), last) for j in range(2 * (sum(context) + 1))])
    if chunks and last < 0:
        raise ParameterError("a frame, but no row to clamp to")
    return 0, chunks


def v1_infer(n_samples, fps, context):
    """Append a chunk, then see whether it was one too many."""
    fps, rows, chunks = told(fps), list(range(n_samples // 320)), []
    while True:
        frame = len(chunks)
        centre = int(frame * 50 / fps)
        wanted = range(centre - 2 * context[0], centre + 2 * (context[1] + 1))
        chunks.append([rows[min(max(row, 0), len(rows) - 1)] for row in wanted])
        if int(frame * (50.0 / fps)) > len(rows):
            return 0, chunks


def v1_train(n_samples, fps, context):
    """Write a file for every two rows; load a frame's neighbours by their numbers; skip it where one is missing."""
    files = {first // 2: [first, first + 1] for first in range(0, n_samples // 320 - 1, 2)}
    kept = {}
    for frame in files:
        wanted = range(frame - context[0], frame + context[1] + 1)
        if all(number in files for number in wanted):
            kept[frame] = [row for number in wanted for row in files[number]]
    return min(kept, default=context[0]), list(kept.values())


def v15_infer(n_samples, fps, context):
    """Pad with slices of the features made zero, which are shorter than asked for where the features are."""
    left, right = context
    fps = int(told(fps))
    multiplier = 50 / fps
    encoded = list(range(1500 * math.ceil(n_samples / 480_000)))
    feature = encoded[: math.floor((n_samples / 16_000) * 50)]
    padding, chunks = math.ceil(multiplier), []
    padded = zeros_like(feature[: padding * left]) + feature + zeros_like(feature[: padding * 3 * right])
    for frame in range(math.floor((n_samples / 16_000) * fps)):
        start = math.floor(frame * multiplier)
        chunks.append(padded[start : start + 2 * (left + right + 1)])
        if len(chunks[-1]) < 2 * (left + right + 1):
            raise SystemExit
    if not chunks:
        raise ValueError  # torch.cat of nothing
    return 0, chunks


def v15_train(n_samples, fps, context):
    """Encode 30 s from 0 or from 4 s on, and count the frame inside them; frames as the video has them."""
    left, right = context
    encoded, chunks = list(range(1500)), []
    padded = zeros_like(encoded[: 2 * left]) + encoded + zeros_like(encoded[: 2 * right])
    for frame in range(math.floor(n_samples * exact_fps(fps) / 16_000) + 1):
        shifted, start = frame, 0
        while shifted >= 25 * 30:
            shifted -= 25 * 30
        if shifted + 2 * 25 >= 25 * 30:
            shifted, start = shifted - 4 * 25, 4 * 16_000
        rows = padded[2 * shifted : 2 * shifted + 2 * (left + right + 1)]
        chunks.append([row if row == ZEROS else row + start // 320 for row in rows])
    return 0, chunks


def _livetalking(n_samples, fps, window):
    """Fill a buffer with silence, then with 32 blocks a step; cut 16 chunks out of each buffer, two rows a frame."""
    if told(fps) != int(fps):
        raise TypeError  # numpy.zeros of 266.9 samples
    block, n_rows, chunks = 16_000 // (int(fps) * 2), n_samples // 320, []
    queue = list(range(-10, n_samples // block))  # the numbers of the clip's blocks; before them, silence
    buffer, queue = queue[:20], queue[20:]
    while len(queue) >= 32:
        buffer, queue = buffer[-20:] + queue[:32], queue[32:]
        origin = round(Fraction(buffer[0] * block, 320))
        for i in range(16):
            centre = int((i + 5) * 2)
            wanted = range(centre - 2 * window[0], centre + 2 * window[1])
            chunks.append([min(max(origin + row, 0), n_rows - 1) for row in wanted])
    return 0, chunks


def livetalking(n_samples, fps, context):
    return _livetalking(n_samples, fps, (context[0], context[1] + 1))


def livetalking_0_5(n_samples, fps, context):
    return _livetalking(n_samples, fps, (0, sum(context) + 1))


def openavatarchat(n_samples, fps, context):
    """Hand over a second at a time, padded to a second, and keep as many chunks as the second has frames at 24 kHz."""
    second, chunks = v15_infer(16_000, fps, context)[1], []  # its worker warms up with a silent one
    for start in range(0, n_samples, 16_000):
        heard = min(16_000, n_samples - start) * 24_000 // 16_000
        for chunk in second[: int(np.ceil(heard / (24_000 // told(fps))))]:
            chunks.append([row if row == ZEROS else row + start // 320 for row in chunk])
    return 0, chunks


def musetalkplus_train(n_samples, fps, context):
    """Fill places from the first neighbour on, but stop one short: at the frame's last neighbour, at the last file."""
    around, other = context
    if around != other:
        raise TypeError  # one number is all that it takes
    n_files, chunks = n_samples // 160 // 4, []
    for frame in range(n_files):
        places = [[ZEROS, ZEROS] for _ in range(2 * around + 1)]
        skipped = 0 if frame > around else around - frame
        for place, file in enumerate(range(max(0, frame - around), min(frame + around, n_files - 1))):
            places[place + skipped] = [2 * file, 2 * file + 1]
        chunks.append([row for place in places for row in place])
    return 0, chunks


PIPELINES = {
    "musetools": musetools,
    "musetalk-v1-train": v1_train,
    "musetalk-v1-infer": v1_infer,
    "musetalk-v1.5-train": v15_train,
    "musetalk-v1.5-infer": v15_infer,
    "livetalking": livetalking,
    "livetalking-0-5": livetalking_0_5,
    "latentsync": v1_infer,
    "openavatarchat": openavatarchat,
    "musetalkplus-train": musetalkplus_train,
}
