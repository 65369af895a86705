"""An encoder pass is a window that slides: the one loop that offline extraction and live streams share."""

from dataclasses import dataclass

import numpy as np
import torch

from musetools.audio.buffer import Ring
from musetools.features.mel import N_FFT, centred_log_mel, log_mel
from musetools.features.spec import FeatureSpec
from musetools.timing import MEL_HOP, MEL_PER_ROW, ROW_SAMPLES

__all__ = ["MelWindow", "MelWindows"]

HALF_FFT = N_FFT // 2
# Where padding is kept, audio that ends in the last 2 s of a hop gets one hop of padding more: for these frames the
# v1.5 loader takes its second window, which starts 4 s late, so that chunks reach past the hop; never past the next.
LATE_ROWS = 100


@dataclass(frozen=True)
class MelWindow:
    """One encoder pass: a log-mel, not yet clamped, and which of its rows to keep."""

    first_row: int  # the clip's row that the window starts with
    skip: int  # rows of left context
    keep: int  # rows after them that are this window's own; 0 for a last mel frame that gives no row
    log_mel: torch.Tensor | None  # (n_mels, n_frames)
    peak: torch.Tensor | None = None  # of the file, where that is what counts and not the window's own


class MelWindows:
    """The window loop: push samples as they come, get each window as soon as all its samples are there.

    Holds no more than one window of samples and what was last pushed, in memory for twice that. Windows do not depend
    on how the samples are split into pushes. With padding "audio" each window's STFT stands alone, its waveform padded
    with zeros; with "mel" it is a stretch of the whole file's.
    """

    def __init__(self, spec: FeatureSpec, n_mels: int):
        self.window, self.padding, self.keep_padding = spec.window, spec.padding, spec.keep_padding
        self.n_mels, self._padded = n_mels, spec.window.pad_to * ROW_SAMPLES
        self._samples = Ring()
        self._next_row = 0  # first row of the next window's hop
        # A file's STFT reaches 200 samples either side of a frame's centre; the last centre lies a hop before the end.
        # `reach` is how many samples past its end a window's last mel frame covers.
        self._before, self.reach = (HALF_FFT, HALF_FFT - MEL_HOP) if spec.padding == "mel" else (0, 0)
        # samples past the end whose rows may be kept, at most
        self.n_padded = 2 * spec.window.hop * ROW_SAMPLES if spec.keep_padding else 0

    @property
    def n_samples(self) -> int:
        """Samples pushed so far."""
        return self._samples.stop

    def push(self, samples: np.ndarray) -> list[MelWindow]:
        """Take the next samples, float32; return the windows that they complete."""
        self._samples.append(samples)
        windows = []
        while self._end_of_next() * ROW_SAMPLES + self.reach <= self.n_samples:
            windows.append(self._cut(self._end_of_next(), self.window.hop))
        return windows

    def flush(self) -> list[MelWindow]:
        """Return the windows that the end of the audio cuts short."""
        windows, n_rows = [], self.n_samples // ROW_SAMPLES
        if self.keep_padding and self.padding == "audio":
            n_rows = -(-self.n_samples // ROW_SAMPLES)
            late = (n_rows - 1) % self.window.hop + 1 + LATE_ROWS >= self.window.hop
            n_rows += self.window.hop if late else 0
        while self._next_row < n_rows:
            keep = self.window.hop if self.keep_padding else min(self.window.hop, n_rows - self._next_row)
            windows.append(self._cut(min(self._end_of_next(), -(-self.n_samples // ROW_SAMPLES)), keep))
        if self.padding == "mel" and self.n_samples // MEL_HOP > self._next_row * MEL_PER_ROW:
            windows.append(self._cut(self._next_row + 1, 0))  # a mel frame without a row: it may hold the file's peak
        return windows

    def _end_of_next(self) -> int:
        return self._next_row + self.window.hop + self.window.right

    def _cut(self, end_row: int, keep: int) -> MelWindow:
        """Make the next window, of rows up to `end_row`, and drop the samples that no later one needs."""
        first_row = max(0, self._next_row - self.window.left)
        end = min(end_row * ROW_SAMPLES, self.n_samples)
        mel = self._mel(min(first_row * ROW_SAMPLES, end), end)  # a window of the padding alone starts past the end
        skip = self._next_row - first_row
        self._next_row += self.window.hop
        self._samples.drop((self._next_row - self.window.left) * ROW_SAMPLES - self._before)
        return MelWindow(first_row, skip, keep, mel)

    def _mel(self, start: int, end: int) -> torch.Tensor:
        """Compute the log-mel of the samples from `start` to `end`."""
        if self.padding == "audio":
            samples = self._samples[start:end]
            return centred_log_mel(np.pad(samples, (0, max(0, self._padded - len(samples)))), self.n_mels)
        first, last = max(0, start - self._before), end + self.reach
        # what lies beyond the file's ends, its own mirror image has to give
        mirrored = HALF_FFT if start == 0 else 0, max(0, last - self.n_samples)
        padded = np.pad(self._samples[first : min(last, self.n_samples)], mirrored, mode="reflect")
        n_frames = (end - start) // MEL_HOP
        return log_mel(padded[: n_frames * MEL_HOP + N_FFT - MEL_HOP], self.n_mels)
