"""Samples on their way to a 16 kHz mono waveform: mixed, resampled, and checked on the way."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from musetools.errors import AudioError, EmptyAudioError
from musetools.timing import SAMPLE_RATE

if TYPE_CHECKING:
    import av

__all__ = ["BLOCK_S", "FRAME_S", "SignalCheck", "SoxrMono", "SwresampleMono", "checked", "in_blocks", "planes_of"]
__all__ += ["soxr_mono", "swresample_mono"]

BLOCK_S = 4  # seconds that reach a resampler at once; shorter blocks cost time, longer ones memory
FRAME_S = 0.04  # a video frame at 25 fps: how far decoded and declared length may be apart
AUDIBLE = 4 / 32768
CANCELLED = 0.01  # a downmix 40 dB below its loudest channel is no downmix of speech


class SignalCheck:
    """Checks a source on its way through a decoder: the samples that go in, those that come out, both at the end."""

    def __init__(self, name: str, rate: int, n_channels: int):
        self.name, self.rate, self.n_channels = name, rate, n_channels
        self.n_in, self.peak_in, self.peak_out = 0, 0.0, 0.0

    def input(self, samples: np.ndarray, n: int) -> None:
        """Check `n` samples a channel as the source has them; AudioError for one that is not finite."""
        if samples.dtype.kind == "f" and not np.isfinite(samples).all():
            first = int(np.argwhere(~np.isfinite(samples))[:, -1].min()) * n // samples.shape[-1] + self.n_in
            raise AudioError(
                f"{self.name}: sample {first} (at {first / self.rate:.3f} s) is not finite. "
                "One such sample spoils every feature: cut it out, or replace it by 0"
            )
        self.n_in += n
        self.peak_in = max(self.peak_in, _peak(samples))

    def output(self, mono: np.ndarray) -> np.ndarray:
        """Note the peak of a block of the downmix and pass it on."""
        self.peak_out = max(self.peak_out, _peak(mono))
        return mono

    def finish(self, declared_s: float | None = None, tolerance_s: float = FRAME_S) -> None:
        """Raise if, at the end, the source turns out to be empty, truncated or cancelled."""
        if self.n_in == 0:
            raise EmptyAudioError(f"{self.name} holds no audio samples. Record or export it again")
        decoded_s = self.n_in / self.rate
        if declared_s is not None and abs(decoded_s - declared_s) > tolerance_s:
            fault = "truncated" if decoded_s < declared_s else "longer than its header says"
            raise AudioError(
                f"{self.name} is {fault}: {decoded_s:.3f} s of audio decoded, {declared_s:.3f} s declared. "
                "Copy or export it again"
            )
        # below a few steps of 16 bits a downmix rounds to nothing without any cancelling
        if self.n_channels > 1 and self.peak_in > AUDIBLE and self.peak_out < CANCELLED * self.peak_in:
            raise AudioError(
                f"{self.name}: its channels cancel each other when mixed to mono (peak {self.peak_in:.3f} before, "
                f"{self.peak_out:.5f} after). Invert one channel, or pass a single one as (array, sample_rate)"
            )


def _peak(samples: np.ndarray) -> float:
    """Return the largest magnitude, full scale at 1."""
    if samples.size == 0:
        return 0.0
    low, high = float(samples.min()), float(samples.max())
    if samples.dtype.kind == "u":
        low, high = low - 128, high - 128
    return max(-low, high) / (1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.itemsize - 1))


def checked(blocks: Iterable[np.ndarray], signal: SignalCheck) -> Iterator[np.ndarray]:
    """Pass on blocks of (n_channels, n), each checked as what the source has."""
    for block in blocks:
        signal.input(block, block.shape[1])
        yield block


def in_blocks(frames: Iterator["av.AudioFrame"], signal: SignalCheck) -> Iterator["av.AudioFrame"]:
    """Join a codec's frames of some 20 ms into blocks of seconds, which resample to the same bits in less time."""
    import av

    fifo, kept = av.AudioFifo(), None
    for frame in frames:
        kind = f"{frame.layout.name} {frame.format.name} at {frame.sample_rate} Hz"
        if kind != (kept := kept or kind):  # PyAV would write beyond the FIFO's memory
            raise AudioError(
                f"{signal.name} changes from {kept} to {kind} after {signal.n_in / signal.rate:.3f} s: it is "
                "corrupt, or was put together. Export it again in one format"
            )
        signal.input(frame.to_ndarray(), frame.samples)
        frame.pts = None
        fifo.write(frame)
        if fifo.samples >= BLOCK_S * frame.sample_rate:
            yield fifo.read()
    if fifo.samples:
        yield fifo.read()


class SwresampleMono:
    """Mixes and resamples to 16 bits, as it comes: asked for float, swresample would not scale the downmix."""

    def __init__(self):
        import av

        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)

    def push(self, frame: "av.AudioFrame | None") -> Iterator[np.ndarray]:
        """Take a frame, or None for the end; yield mono blocks at 16 kHz."""
        for out in self._resampler.resample(frame):
            yield out.to_ndarray()[0].astype(np.float32) / 32768.0


def swresample_mono(frames: Iterable["av.AudioFrame"], signal: SignalCheck) -> Iterator[np.ndarray]:
    """Mix and resample frames with swresample."""
    resampler = SwresampleMono()
    for frame in chain(frames, [None]):
        yield from map(signal.output, resampler.push(frame))


def planes_of(frames: Iterable["av.AudioFrame"]) -> Iterator[np.ndarray]:
    """Convert frames to float planes at their own rate."""
    import av

    converter = av.AudioResampler(format="fltp")
    for frame in chain(frames, [None]):
        for out in converter.resample(frame):
            yield out.to_ndarray()


class SoxrMono:
    """Resamples mono with soxr, as it comes, to the bits that librosa gets in one piece."""

    def __init__(self, rate: int):
        import soxr

        self._ratio = SAMPLE_RATE / rate
        self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        self._n_in = self._n_out = 0

    def push(self, mono: np.ndarray) -> np.ndarray:
        """Take samples, return those at 16 kHz that are now certain."""
        out = self._stream.resample_chunk(mono)
        self._n_in, self._n_out = self._n_in + len(mono), self._n_out + len(out)
        return out

    def flush(self) -> np.ndarray:
        """Return the last samples."""
        tail = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        missing = math.ceil(self._n_in * self._ratio) - self._n_out  # librosa's own count, in floats
        return np.pad(tail[:missing], (0, max(0, missing - len(tail))))


def soxr_mono(blocks: Iterable[np.ndarray], signal: SignalCheck) -> Iterator[np.ndarray]:
    """Mix planes to their mean and resample with soxr."""
    mono = (signal.output(np.mean(block, axis=0)) for block in blocks)
    if signal.rate == SAMPLE_RATE:
        yield from mono
        return
    resampler = SoxrMono(signal.rate)
    yield from map(resampler.push, mono)
    yield resampler.flush()
