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

__all__ = ["BLOCK_S", "LOUDEST", "SignalCheck", "SoxrMono", "SwresampleMono", "checked", "first_unsound"]
__all__ += ["in_blocks", "planes_of", "planes_of_frame", "soxr_mono", "swresample_mono"]

BLOCK_S = 4  # seconds that reach a resampler at once; shorter blocks cost time, longer ones memory
AUDIBLE = 4 / 32768
CANCELLED = 0.01  # of energy: a downmix 20 dB below its loudest channel is no downmix of speech
LOUDEST = 8.0  # times full scale: more than a mix overshoots
NARROW = 2**16  # wider integers that stay below this were never scaled


class SignalCheck:
    """Checks a source on its way through a decoder: the samples that go in, those that come out, both at the end."""

    def __init__(self, name: str, rate: int, n_channels: int):
        self.name, self.rate, self.n_channels = name, rate, n_channels
        self.n_in, self.peak_in, self._low_bits = 0, 0.0, False
        self._energy_in, self._energy_out, self._n_out = np.zeros(n_channels), 0.0, 0

    def input(self, samples: np.ndarray) -> None:
        """Check samples as the source has them, (n_channels, n); AudioError for one that is no sound."""
        scale = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.itemsize - 1)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            floats = samples.astype(np.float32, copy=False)
        if samples.dtype.kind == "u":
            floats = floats - 128
        peak = float(np.maximum(floats.max(initial=0), -floats.min(initial=0)))  # NaN where a sample is
        if samples.dtype.kind == "f" and not peak <= LOUDEST:
            raise AudioError(f"{self.name}: {_not_sound(samples, self.n_in, self.rate)}")
        if samples.dtype.kind == "i" and samples.itemsize > 2:
            self._low_bits = self._low_bits or bool((samples & 0xFF).any())
        self.peak_in = max(self.peak_in, peak / scale)
        self._energy_in += [float(np.dot(channel, channel)) / scale**2 for channel in floats]
        self.n_in += samples.shape[1]
        self._scale = scale

    def output(self, mono: np.ndarray) -> np.ndarray:
        """Note the energy of a block of the downmix and pass it on."""
        self._energy_out += float(np.dot(mono, mono))
        self._n_out += len(mono)
        return mono

    def finish(self, exact_s: float | None = None) -> None:
        """Raise if, at the end, the source turns out to be empty, truncated, joined, unscaled or cancelled."""
        if self.n_in == 0:
            raise EmptyAudioError(f"{self.name} holds no audio samples. Record or export it again")
        decoded_s = self.n_in / self.rate
        if exact_s is not None and abs(decoded_s - exact_s) > 1.5 / self.rate:
            fault = (
                "is truncated or damaged"
                if decoded_s < exact_s
                else "is longer than its header says: files were joined"
            )
            raise AudioError(
                f"{self.name} {fault}: {decoded_s:.3f} s of audio decoded, {exact_s:.3f} s declared. "
                "Copy or export it again"
            )
        if self._low_bits and 0 < self.peak_in * self._scale < NARROW:
            raise AudioError(
                f"{self.name}: its integers use almost none of their range, {self.peak_in * self._scale:.0f} of "
                f"{self._scale:.0f}. They look like 16-bit samples in a wider type: export them again as 16-bit"
            )
        self._check_downmix()

    def _check_downmix(self) -> None:
        """Compare energies: below a few steps of 16 bits a downmix rounds to nothing without any cancelling."""
        if self.n_channels == 1 or self.peak_in <= AUDIBLE or not self._n_out:
            return
        loudest, mono = self._energy_in.max() / self.n_in, self._energy_out / self._n_out
        if mono < CANCELLED * loudest * (2 / self.n_channels) ** 2:
            raise AudioError(
                f"{self.name}: its channels cancel each other when mixed to mono ({_dbfs(loudest):.0f} dBFS before, "
                f"{_dbfs(mono):.0f} after). Invert one channel, or pass a single one as (array, sample_rate)"
            )


def _dbfs(energy: float) -> float:
    return 10 * math.log10(max(energy, 1e-12))


def first_unsound(samples: np.ndarray) -> tuple[int, float] | None:
    """Return the place and value of the first sample that is not finite or far beyond full scale; None without one."""
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(samples) <= LOUDEST)
    if not bad.any():
        return None
    first = int(np.argwhere(bad)[:, -1].min())
    return first, samples[bad[:, first], first][0]


def _not_sound(samples: np.ndarray, n_before: int, rate: int) -> str:
    """Say which float sample is not finite or far beyond full scale; there is one."""
    first, value = first_unsound(samples)
    at = f"sample {n_before + first} (at {(n_before + first) / rate:.3f} s)"
    if not np.isfinite(value):
        return f"{at} is not finite. One such sample spoils every feature: cut it out, or replace it by 0"
    peak = float(np.abs(samples[np.isfinite(samples)]).max())
    integers = 128 < peak <= 32768
    cause = "16-bit integers that were not divided by 32768" if integers else "samples of another scale, or damage"
    return f"samples reach {peak:.6g}, full scale is 1 ({at}). They look like {cause}: scale them first"


def checked(blocks: Iterable[np.ndarray], signal: SignalCheck) -> Iterator[np.ndarray]:
    """Pass on blocks of (n_channels, n), each checked as what the source has."""
    for block in blocks:
        signal.input(block)
        yield block


def in_blocks(frames: Iterable["av.AudioFrame"], signal: SignalCheck) -> Iterator["av.AudioFrame"]:
    """Join a codec's frames of some 20 ms into blocks of seconds, which resample to the same bits in less time.

    All must be of one format: PyAV would write beyond the memory of others.
    """
    import av

    fifo = av.AudioFifo()
    for frame in frames:
        frame.pts = None
        fifo.write(frame)
        if fifo.samples >= BLOCK_S * frame.sample_rate:
            yield _noted(fifo.read(), signal)
    if fifo.samples:
        yield _noted(fifo.read(), signal)


def _noted(block: "av.AudioFrame", signal: SignalCheck) -> "av.AudioFrame":
    signal.input(planes_of_frame(block))
    return block


def planes_of_frame(frame: "av.AudioFrame") -> np.ndarray:
    """Return a frame's samples as they are, (n_channels, n_samples)."""
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T


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
    import av

    resampler = SwresampleMono()
    for frame in chain(frames, [None]):
        try:
            blocks = list(resampler.push(frame))
        except av.ArgumentError:
            raise AudioError(
                f"{signal.name}: no downmix is known for its {signal.n_channels} channels. Export it as stereo, "
                "or take decoder='librosa', which takes their mean"
            ) from None
        yield from map(signal.output, blocks)


def planes_of(frames: Iterable["av.AudioFrame"]) -> Iterator[np.ndarray]:
    """Convert frames to float planes at their own rate."""
    import av

    converter = av.AudioResampler(format="flt")  # packed: PyAV reads beyond the memory of eight planes and more
    for frame in chain(frames, [None]):
        for out in converter.resample(frame):
            yield np.ascontiguousarray(planes_of_frame(out))


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
