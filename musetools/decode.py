"""Sources opened and decoded in process: containers through PyAV, what librosa opens through libsndfile, arrays as they are.

Behind `musetools.audio`. Samples pass a `Witness` on their way, which knows at the end whether they can be trusted.
"""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from musetools.clock import SAMPLE_RATE
from musetools.errors import AudioError, ParameterError

if TYPE_CHECKING:
    import av

__all__ = ["Source", "blocks_of_array", "blocks_of_file", "name_of"]

Source = str | os.PathLike | BinaryIO | tuple[np.ndarray, int]

BLOCK_S = 4  # seconds that reach a resampler at once; shorter blocks cost time, longer ones memory
MAX_CHANNELS = 8
FRAME_S = 0.04  # a video frame at 25 fps: how far decoded and declared length may be apart
CANCELLED = 0.01  # a downmix 40 dB below its loudest channel is no downmix of speech


class Witness:
    """What a source's samples show on their way through a decoder: faults, and how much sound went in and came out."""

    def __init__(self, name: str, rate: int, n_channels: int):
        self.name, self.rate, self.n_channels = name, rate, n_channels
        self.n_in, self.peak_in, self.peak_out = 0, 0.0, 0.0

    def saw(self, samples: np.ndarray, n: int) -> None:
        """Take note of `n` samples a channel as the source has them."""
        if samples.dtype.kind == "f" and not np.isfinite(samples).all():
            first = int(np.argwhere(~np.isfinite(samples))[:, -1].min()) * n // samples.shape[-1] + self.n_in
            raise AudioError(
                f"{self.name}: sample {first} (at {first / self.rate:.3f} s) is not finite. "
                "One such sample spoils every feature: cut it out, or replace it by 0"
            )
        self.n_in += n
        self.peak_in = max(self.peak_in, _peak(samples))

    def heard(self, mono: np.ndarray) -> np.ndarray:
        """Take note of a block of the downmix and pass it on."""
        self.peak_out = max(self.peak_out, _peak(mono))
        return mono

    def testify(self, declared_s: float | None = None, tolerance_s: float = FRAME_S) -> None:
        """Raise if, at the end, the source turns out to be empty, truncated or cancelled."""
        if self.n_in == 0:
            raise AudioError(f"{self.name} holds no audio samples. Record or export it again")
        decoded_s = self.n_in / self.rate
        if declared_s is not None and abs(decoded_s - declared_s) > tolerance_s:
            fault = "truncated" if decoded_s < declared_s else "longer than its header says"
            raise AudioError(
                f"{self.name} is {fault}: {decoded_s:.3f} s of audio decoded, {declared_s:.3f} s declared. "
                "Copy or export it again"
            )
        if self.n_channels > 1 and self.peak_out < CANCELLED * self.peak_in:
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


# --- arrays


def blocks_of_array(array: np.ndarray, rate: int, decoder: str) -> Iterator[np.ndarray]:
    """Yield a checked array's samples as mono blocks at 16 kHz; as they are, if that is what they are."""
    planes = _planes_of_array(array, rate)
    witness = Witness(name_of((array, rate)), rate, len(planes))
    step = BLOCK_S * rate
    blocks = _seen((planes[:, i : i + step] for i in range(0, planes.shape[1], step)), witness)
    if rate == SAMPLE_RATE and len(planes) == 1:
        yield from (block[0] for block in blocks)
    elif decoder == "librosa":
        yield from _soxr(blocks, witness)
    else:
        yield from _swresample((_frame_of(block, rate) for block in blocks), witness)
    witness.testify()


def _planes_of_array(array: np.ndarray, rate: int) -> np.ndarray:
    """Return float32 samples, channels first; or say what is wrong with them."""
    array = np.asarray(array)
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or rate <= 0:
        raise ParameterError(f"the sample rate must be a whole number of Hz above zero; got {rate!r}")
    if array.ndim not in (1, 2) or array.dtype.kind not in "fi":
        raise ParameterError(
            "an array of audio must be of floats or signed integers, (n_samples,) or (n_channels, n_samples); "
            f"got {array.dtype} {array.shape}. Convert it first"
        )
    if array.ndim == 2 and array.shape[0] > MAX_CHANNELS:
        raise ParameterError(
            f"an array of audio has its channels first, at most {MAX_CHANNELS}; got {array.shape}. "
            "If these are (n_samples, n_channels), pass array.T"
        )
    if array.dtype.kind == "i":
        array = array / 2.0 ** (8 * array.itemsize - 1)
    return np.ascontiguousarray(np.atleast_2d(array), dtype=np.float32)


def _frame_of(planes: np.ndarray, rate: int) -> "av.AudioFrame":
    """Wrap float planes as the 16-bit frame that a wav file of them would decode to."""
    import av

    samples = np.clip(np.rint(planes * 32768.0), -32768, 32767).astype(np.int16)
    layout = {1: "mono", 2: "stereo"}.get(len(samples), f"{len(samples)} channels")
    frame = av.AudioFrame.from_ndarray(samples, format="s16p", layout=layout)
    frame.rate = rate
    return frame


def _seen(blocks: Iterable[np.ndarray], witness: Witness) -> Iterator[np.ndarray]:
    for block in blocks:
        witness.saw(block, block.shape[1])
        yield block


# --- files


def blocks_of_file(source: Any, decoder: str) -> Iterator[np.ndarray]:
    """Yield a media file's samples as mono blocks at 16 kHz."""
    name = name_of(source)
    _check_riff(source, name)
    if decoder == "librosa" and (opened := _open_sndfile(source)):
        yield from _blocks_of_sndfile(opened, name)
    else:
        yield from _blocks_of_container(source, name, decoder)


def name_of(source: Any) -> str:
    """Return the name an error calls the source by; a path must lead to a file that is not empty."""
    if isinstance(source, tuple):
        return "the array"
    if hasattr(source, "read") and hasattr(source, "seek"):
        return str(getattr(source, "name", "the file object"))
    if not isinstance(source, (str, os.PathLike)):
        kind = type(source).__name__
        raise ParameterError(f"audio must be a path, a seekable binary file or (array, sample_rate); got {kind}")
    path = Path(source)
    if not path.is_file():
        raise AudioError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}. Name a file, seen from {Path.cwd()}"
        )
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes). Record or copy it again")
    return str(path)


@contextmanager
def _opened(source: Any) -> Iterator[BinaryIO]:
    """Open a path, or lend a file object, at its start."""
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield file
    else:
        source.seek(0)
        yield source


def _check_riff(source: Any, name: str) -> None:
    """Compare a wav file's declared data with what is there: every decoder takes half a wav for a whole one."""
    with _opened(source) as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return
        while len(header := file.read(8)) == 8 and header[:4] != b"data":
            size = int.from_bytes(header[4:], "little")
            file.seek(size + size % 2, os.SEEK_CUR)
        declared, start = int.from_bytes(header[4:], "little"), file.tell()
        present = file.seek(0, os.SEEK_END) - start
    if len(header) < 8:
        raise AudioError(f"{name} is truncated: the wav file ends inside its header. Copy or export it again")
    if present < declared != 0xFFFFFFFF:  # that value: written to a pipe, the length was not known
        raise AudioError(
            f"{name} is truncated: its header declares {declared} bytes of samples, {present} are there. "
            "Copy or export it again"
        )


def _open_sndfile(source: Any) -> Any:
    """Open what libsndfile knows (wav, flac, ogg, mp3); None for what it does not, which PyAV then gets."""
    import soundfile

    try:
        if hasattr(source, "seek"):
            source.seek(0)
        return soundfile.SoundFile(source)
    except soundfile.LibsndfileError:
        return None


def _blocks_of_sndfile(opened: Any, name: str) -> Iterator[np.ndarray]:
    import soundfile

    with opened:
        witness = Witness(name, opened.samplerate, opened.channels)
        try:
            yield from _soxr(_seen(_read(opened), witness), witness)
        except soundfile.LibsndfileError as error:
            at = witness.n_in / witness.rate
            raise AudioError(
                f"{name} is truncated or corrupt after {at:.3f} s: {error}. Copy or export it again"
            ) from None
        witness.testify(opened.frames / opened.samplerate)


def _read(opened: Any) -> Iterator[np.ndarray]:
    """Read to the end: ``SoundFile.blocks`` would hand out stale memory for what a truncated mp3 lacks."""
    while len(block := opened.read(BLOCK_S * opened.samplerate, dtype="float32", always_2d=True)):
        yield block.T


def _blocks_of_container(source: Any, name: str, decoder: str) -> Iterator[np.ndarray]:
    import av

    try:
        if hasattr(source, "seek"):
            source.seek(0)
        with av.open(source if hasattr(source, "read") else os.fspath(source)) as container:
            stream = container.streams.best("audio")
            if stream is None:
                kinds = ", ".join(s.type for s in container.streams) or "none"
                raise AudioError(f"{name} has no audio stream (streams: {kinds}). Mux its sound into it first")
            witness = Witness(name, stream.rate, stream.channels)
            frames = _joined(container.decode(stream), witness)
            yield from _soxr(_planes_of(frames), witness) if decoder == "librosa" else _swresample(frames, witness)
            witness.testify(*_declared(stream))
    except av.FFmpegError as error:
        raise AudioError(
            f"{name} cannot be decoded ({error.strerror}): it is no media file, truncated or corrupt. "
            "Copy or export it again"
        ) from None


def _declared(stream: Any) -> tuple[float | None, float]:
    """Return the length that a stream's header promises, in seconds, and how far that can be trusted."""
    slack = max(FRAME_S, (stream.codec_context.frame_size or 0) / stream.rate)
    kind = stream.container.format.name
    if kind == "aac" or kind == "mp3" and not stream.start_time:
        return None, slack  # no header: FFmpeg guesses from the bit rate
    if stream.duration is not None:
        return float(stream.duration * stream.time_base), slack
    if tag := stream.metadata.get("DURATION"):  # Matroska counts the encoder's priming samples, too
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds), 2 * slack
    return None, slack


def _joined(frames: Iterator["av.AudioFrame"], witness: Witness) -> Iterator["av.AudioFrame"]:
    """Join a codec's frames of some 20 ms to blocks of seconds, which resample to the same bits in less time."""
    import av

    fifo = av.AudioFifo()
    for frame in frames:
        witness.saw(frame.to_ndarray(), frame.samples)
        frame.pts = None
        fifo.write(frame)
        if fifo.samples >= BLOCK_S * frame.sample_rate:
            yield fifo.read()
    if fifo.samples:
        yield fifo.read()


# --- mixing and resampling


def _swresample(frames: Iterable["av.AudioFrame"], witness: Witness) -> Iterator[np.ndarray]:
    """Mix and resample to 16 bits: asked for float, swresample would not scale the downmix."""
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    for frame in chain(frames, [None]):
        for out in resampler.resample(frame):
            yield witness.heard(out.to_ndarray()[0].astype(np.float32) / 32768.0)


def _planes_of(frames: Iterable["av.AudioFrame"]) -> Iterator[np.ndarray]:
    """Convert frames to float planes at their own rate."""
    import av

    converter = av.AudioResampler(format="fltp")
    for frame in chain(frames, [None]):
        for out in converter.resample(frame):
            yield out.to_ndarray()


def _soxr(blocks: Iterable[np.ndarray], witness: Witness) -> Iterator[np.ndarray]:
    """Mix to the mean and resample with soxr, block by block, to the bits that librosa gets in one piece."""
    import soxr

    mono = (witness.heard(np.mean(block, axis=0)) for block in blocks)
    if witness.rate == SAMPLE_RATE:
        yield from mono
        return
    stream, n_out = soxr.ResampleStream(witness.rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ"), 0
    for block in mono:
        out = stream.resample_chunk(block)
        n_out += len(out)
        yield out
    tail = stream.resample_chunk(np.empty(0, np.float32), last=True)
    missing = math.ceil(witness.n_in * (SAMPLE_RATE / witness.rate)) - n_out  # librosa's own count, in floats
    yield np.pad(tail[:missing], (0, max(0, missing - len(tail))))
