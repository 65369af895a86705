"""What a live stream hands out: a frame with its chunk, and what it has cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ComputeTime", "LiveChunk"]


@dataclass(frozen=True, eq=False)
class LiveChunk:
    """A video frame and its chunk; unpacks as the pair ``frame, chunk = live``."""

    frame: int  # number of the video frame since the start of the stream
    chunk: np.ndarray  # float32, (rows_per_chunk · n_layers, width): what it is conditioned on; no view of a buffer
    time_s: float  # when the frame starts, in seconds of audio
    loudness: float  # of the frame's own samples, in dBFS, as `musetools.loudness` measures it; -120 for silence

    def __iter__(self) -> Iterator[Any]:
        return iter((self.frame, self.chunk))

    def __repr__(self) -> str:
        at = f"frame {self.frame} at {self.time_s:.3f} s, {self.loudness:.1f} dBFS"
        return f"LiveChunk({at}, chunk {self.chunk.shape} {self.chunk.dtype})"


@dataclass(frozen=True)
class ComputeTime:
    """What a stream has cost so far."""

    steps: int = 0  # encoder passes
    total_s: float = 0.0  # seconds spent on spectra, encoder passes and cutting
    longest_s: float = 0.0  # the longest time per step of a push
    audio_s: float = 0.0  # seconds of audio taken

    @property
    def mean_s(self) -> float:
        """Seconds a step."""
        return self.total_s / max(1, self.steps)

    @property
    def of_real_time(self) -> float:
        """Seconds spent a second of audio: below 1 it keeps up."""
        return self.total_s / self.audio_s if self.audio_s else 0.0

    def and_then(self, steps: int, seconds: float, audio_s: float) -> "ComputeTime":
        """Add a push."""
        longest = max(self.longest_s, seconds / steps) if steps else self.longest_s
        return ComputeTime(self.steps + steps, self.total_s + seconds, longest, audio_s)

    def __str__(self) -> str:
        each = f"{1000 * self.mean_s:.1f} ms on average, {1000 * self.longest_s:.1f} ms at most"
        return f"{self.steps} steps of {each}; {self.of_real_time:.3f} s a second of audio"
