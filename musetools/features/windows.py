"""An encoder pass is a window that slides: the one loop that offline extraction and live streams share."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real

import numpy as np
import torch
from whisper.audio import HOP_LENGTH, N_FFT

from musetools.audio.buffer import Ring
from musetools.errors import ParameterError
from musetools.features.mel import centred_log_mel, log_mel
from musetools.timing import MEL_PER_ROW, ROW_RATE, ROW_SAMPLES

__all__ = ["EncoderWindow", "MelWindow", "MelWindows"]

MAX_WINDOW_S = 30
POSITIONS = ("window", "clip")
HALF_FFT = N_FFT // 2
LOOK_AHEAD = 6  # rows past the end that there are at least where the fill is kept: a last chunk takes 2·(2 + 1)


def _rows_in(name: str, seconds: float) -> int:
    """Convert seconds to whole rows."""
    number = isinstance(seconds, Real) and not isinstance(seconds, bool) and math.isfinite(seconds)
    rows = Fraction(str(seconds)) * ROW_RATE if number else None
    if rows is None or rows.denominator != 1 or rows < 0:
        raise ParameterError(f"{name} must be a multiple of 0.02 s (one row), not negative; got {seconds!r}")
    return int(rows)


@dataclass(frozen=True)
class EncoderWindow:
    """How an encoder pass slides over a clip.

    Each pass sees `left_s` + `hop_s` + `right_s` seconds, cut off at the clip's ends, and keeps the rows of the hop.

    Parameters
    ----------
    left_s : float, default 0
        Seconds seen before the rows that are kept.
    hop_s : float, default 30
        Seconds kept by a pass: the next one starts where they end.
    right_s : float, default 0
        Seconds seen after them: look-ahead.
    pad_to_s : float or None, default 30
        Length in seconds to which a shorter stretch is filled; None leaves it as it is.
    positions : {"window", "clip"}
        Whether positional embeddings count from the window's start, or each row keeps its place in the clip (row modulo
        1500).

    Raises
    ------
    ParameterError
        If a length is no multiple of 0.02 s, the hop is 0, or a pass would exceed `pad_to_s` or 30 s.

    Examples
    --------
    >>> upstream = EncoderWindow(0, 30, 0, 30)
    >>> without_seams = EncoderWindow(5, 20, 5, 30)
    >>> live = EncoderWindow(2, 0.2, 0.2, None, positions="clip")
    """

    left_s: float = 0
    hop_s: float = MAX_WINDOW_S
    right_s: float = 0
    pad_to_s: float | None = MAX_WINDOW_S
    positions: str = "window"
    left: int = field(init=False, repr=False, compare=False)
    hop: int = field(init=False, repr=False, compare=False)
    right: int = field(init=False, repr=False, compare=False)
    pad_to: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("left", "hop", "right"):
            object.__setattr__(self, name, _rows_in(f"{name}_s", getattr(self, f"{name}_s")))
        object.__setattr__(self, "pad_to", 0 if self.pad_to_s is None else _rows_in("pad_to_s", self.pad_to_s))
        seen, longest = self.left + self.hop + self.right, self.pad_to or MAX_WINDOW_S * ROW_RATE
        if self.hop == 0 or self.pad_to_s == 0 or seen > longest or longest > MAX_WINDOW_S * ROW_RATE:
            raise ParameterError(
                f"a window keeps at least 0.02 s and sees at most pad_to_s, itself at most {MAX_WINDOW_S} s; got {self}"
            )
        if self.positions not in POSITIONS:
            raise ParameterError(f"positions must be one of {', '.join(POSITIONS)}; got {self.positions!r}")


@dataclass(frozen=True)
class MelWindow:
    """One encoder pass: a log-mel, not yet clamped, and which of its rows to keep."""

    first_row: int  # the clip's row that the window starts with
    skip: int  # rows of left context
    keep: int  # rows after them that are this window's own; 0 for a last mel frame that gives no row
    log_mel: torch.Tensor | None  # (n_mels, n_frames)


class MelWindows:
    """The window loop: push samples as they come, get each window as soon as all its samples are there.

    Holds no more than one window of samples and what was last pushed, in memory for twice that. Windows do not depend
    on how the samples are split into pushes.

    Parameters
    ----------
    window : EncoderWindow
        How windows slide.
    fill : {"audio", "mel"}
        Whether each window's STFT stands alone, its waveform zero-filled, or is a stretch of the whole file's.
    n_mels : int
        80 or 128.
    keep_fill : bool, default False
        Whether the last window keeps all rows of its hop, those of the fill too.
    """

    def __init__(self, window: EncoderWindow, *, fill: str, n_mels: int, keep_fill: bool = False):
        self.window, self.fill, self.n_mels, self.keep_fill = window, fill, n_mels, keep_fill
        self._filled = window.pad_to * ROW_SAMPLES
        self._samples = Ring()
        self._next_row = 0  # first row of the next window's hop
        # A file's STFT reaches 200 samples either side of a frame's centre; the last centre lies a hop before the end.
        self._before, self._after = (HALF_FFT, HALF_FFT - HOP_LENGTH) if fill == "mel" else (0, 0)

    @property
    def reach(self) -> int:
        """Samples past its end that a window's last mel frame hears."""
        return self._after

    @property
    def n_filled(self) -> int:
        """Samples past the end whose rows may be kept, at most."""
        return (self.window.hop + LOOK_AHEAD + 1) * ROW_SAMPLES if self.keep_fill else 0

    @property
    def n_samples(self) -> int:
        """Samples pushed so far."""
        return self._samples.stop

    def push(self, samples: np.ndarray) -> list[MelWindow]:
        """Take the next samples, float32; return the windows that they complete."""
        self._samples.append(samples)
        windows = []
        while self._end_of_next() * ROW_SAMPLES + self._after <= self.n_samples:
            windows.append(self._cut(self._end_of_next(), self.window.hop))
        return windows

    def flush(self) -> list[MelWindow]:
        """Return the windows that the end of the audio cuts short."""
        windows, n_rows = [], self.n_samples // ROW_SAMPLES
        if self.keep_fill and self.fill == "audio":  # chunks of the last frames look past the end
            n_rows = -(-self.n_samples // ROW_SAMPLES) + LOOK_AHEAD
        while self._next_row < n_rows:
            keep = self.window.hop if self.keep_fill else min(self.window.hop, n_rows - self._next_row)
            windows.append(self._cut(min(self._end_of_next(), -(-self.n_samples // ROW_SAMPLES)), keep))
        if self.fill == "mel" and self.n_samples // HOP_LENGTH > self._next_row * MEL_PER_ROW:
            windows.append(self._cut(self._next_row + 1, 0))  # a mel frame without a row: it may hold the file's peak
        return windows

    def _end_of_next(self) -> int:
        return self._next_row + self.window.hop + self.window.right

    def _cut(self, end_row: int, keep: int) -> MelWindow:
        """Make the next window, of rows up to `end_row`, and drop the samples that no later one needs."""
        first_row = max(0, self._next_row - self.window.left)
        end = min(end_row * ROW_SAMPLES, self.n_samples)
        mel = self._mel(min(first_row * ROW_SAMPLES, end), end)  # a window of the fill alone starts past the end
        skip = self._next_row - first_row
        self._next_row += self.window.hop
        self._samples.drop((self._next_row - self.window.left) * ROW_SAMPLES - self._before)
        return MelWindow(first_row, skip, keep, mel)

    def _mel(self, start: int, end: int) -> torch.Tensor:
        """Compute the log-mel of the samples from `start` to `end`."""
        if self.fill == "audio":
            samples = self._samples[start:end]
            return centred_log_mel(np.pad(samples, (0, max(0, self._filled - len(samples)))), self.n_mels)
        first, last = max(0, start - self._before), end + self._after
        # what lies beyond the file's ends, its own mirror image has to give
        mirrored = HALF_FFT if start == 0 else 0, max(0, last - self.n_samples)
        padded = np.pad(self._samples[first : min(last, self.n_samples)], mirrored, mode="reflect")
        n_frames = (end - start) // HOP_LENGTH
        return log_mel(padded[: n_frames * HOP_LENGTH + N_FFT - HOP_LENGTH], self.n_mels)
