"""Sources opened and decoded in process: containers through PyAV, what librosa opens through libsndfile, arrays.

Behind `musetools.audio.load`.
"""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from musetools.audio.resample import (
    BLOCK_S,
    FRAME_S,
    SignalCheck,
    checked,
    in_blocks,
    planes_of,
    soxr_mono,
    swresample_mono,
)
from musetools.errors import AudioError, ParameterError
from musetools.timing import SAMPLE_RATE

if TYPE_CHECKING:
    import av

__all__ = ["Source", "blocks_of_array", "blocks_of_file", "declared_s", "frame_of", "name_of", "planes_of_array"]

Source = str | os.PathLike | BinaryIO | tuple[np.ndarray, int]

MAX_CHANNELS = 8
MAX_RATE = 768_000  # Hz; the highest that converters have


# --- arrays


def blocks_of_array(array: np.ndarray, rate: int, decoder: str) -> Iterator[np.ndarray]:
    """Yield a checked array's samples as mono blocks at 16 kHz; as they are, if that is what they are."""
    planes, rate = planes_of_array(array, rate), int(rate)  # a numpy int16 would overflow below
    signal = SignalCheck(name_of((array, rate)), rate, len(planes))
    step = BLOCK_S * rate
    blocks = checked((planes[:, i : i + step] for i in range(0, planes.shape[1], step)), signal)
    if rate == SAMPLE_RATE and len(planes) == 1:
        yield from (block[0] for block in blocks)
    elif decoder == "librosa":
        yield from soxr_mono(blocks, signal)
    else:
        yield from swresample_mono((frame_of(block, rate) for block in blocks), signal)
    signal.finish()


def planes_of_array(array: np.ndarray, rate: int) -> np.ndarray:
    """Return float32 samples, channels first; or say what is wrong with them."""
    array = np.asarray(array)
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or not 0 < rate <= MAX_RATE:
        raise ParameterError(f"the sample rate must be a whole number of Hz, 1 … {MAX_RATE}; got {rate!r}")
    if array.ndim not in (1, 2) or array.dtype.kind not in "fi":
        raise ParameterError(
            "an array of audio must be of floats or signed integers, (n_samples,) or (n_channels, n_samples); "
            f"got {array.dtype} {array.shape}. Convert it first"
        )
    if array.ndim == 2 and not 0 < array.shape[0] <= MAX_CHANNELS:
        raise ParameterError(
            f"an array of audio has its channels first, at least 1 and at most {MAX_CHANNELS}; got {array.shape}. "
            "If these are (n_samples, n_channels), pass array.T"
        )
    if array.dtype.kind == "i":
        array = array / 2.0 ** (8 * array.itemsize - 1)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is told of by name
        return np.ascontiguousarray(np.atleast_2d(array), dtype=np.float32)


def frame_of(planes: np.ndarray, rate: int) -> "av.AudioFrame":
    """Wrap float planes as the 16-bit frame that a wav file of them would decode to."""
    import av

    samples = np.clip(np.rint(planes * 32768.0), -32768, 32767).astype(np.int16)
    layout = {1: "mono", 2: "stereo"}.get(len(samples), f"{len(samples)} channels")
    frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1), format="s16", layout=layout)
    frame.rate = rate
    return frame


# --- files


def blocks_of_file(source: Any, decoder: str) -> Iterator[np.ndarray]:
    """Yield a media file's samples as mono blocks at 16 kHz."""
    name = name_of(source)
    try:
        _check_riff(source, name)
        if decoder == "librosa" and (opened := _open_sndfile(source)):
            yield from _blocks_of_sndfile(opened, name)
        else:
            yield from _blocks_of_container(source, name, decoder)
    except OSError as error:
        raise AudioError(f"{name} cannot be read ({error.strerror or error}). Copy it again") from None


def name_of(source: Any) -> str:
    """Return the name an error calls the source by; a path must lead to a file that is not empty."""
    if isinstance(source, tuple):
        return "the array"
    if hasattr(source, "read") and hasattr(source, "seek") and not isinstance(source, io.TextIOBase):
        return str(getattr(source, "name", "the file object"))
    if not isinstance(source, (str, os.PathLike)):
        kind = type(source).__name__
        raise ParameterError(f"audio must be a path, a seekable binary file or (array, sample_rate); got {kind}")
    path = Path(source)
    if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
        fault = "a folder" if os.path.isdir(path) else "not there"
        raise AudioError(f"{path} is {fault}. Name a file; the working folder is {Path.cwd()}")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes). Record or copy it again")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path} cannot be read: permission denied. Change its permissions, or copy it again")
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
        if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
            return
        large = None
        while len(header := file.read(8)) == 8 and header[:4] != b"data":
            size = int.from_bytes(header[4:], "little")
            if header[:4] == b"ds64":  # RF64 keeps the size of its data here
                large = int.from_bytes(file.read(16)[8:], "little")
                size -= 16
            file.seek(size + size % 2, os.SEEK_CUR)
        declared, start = large or int.from_bytes(header[4:], "little"), file.tell()
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
        # as bytes: soundfile cannot encode what Python made of a name in a locale that is not UTF-8
        return soundfile.SoundFile(source if hasattr(source, "read") or os.name == "nt" else os.fsencode(source))
    except soundfile.LibsndfileError:
        return None


def _blocks_of_sndfile(opened: Any, name: str) -> Iterator[np.ndarray]:
    import soundfile

    with opened:
        signal = SignalCheck(name, opened.samplerate, opened.channels)
        try:
            yield from soxr_mono(checked(_read(opened), signal), signal)
        except soundfile.LibsndfileError as error:
            at = signal.n_in / signal.rate
            raise AudioError(
                f"{name} is truncated or corrupt after {at:.3f} s ({error}). Copy or export it again"
            ) from None
        signal.finish(opened.frames / opened.samplerate)


def _read(opened: Any) -> Iterator[np.ndarray]:
    """Read to the end: ``SoundFile.blocks`` would hand out stale memory for what a truncated mp3 lacks."""
    while len(block := opened.read(BLOCK_S * opened.samplerate, dtype="float32", always_2d=True)):
        yield block.T


def _blocks_of_container(source: Any, name: str, decoder: str) -> Iterator[np.ndarray]:
    import av

    try:
        if hasattr(source, "seek"):
            source.seek(0)
        # an absolute path: FFmpeg takes "12:30.wav" for a protocol. Titles in Latin-1 are no reason to fail
        opened = source if hasattr(source, "read") else os.path.abspath(source)
        with av.open(opened, metadata_errors="replace") as container:
            stream = _audio_stream(container, name)
            signal = SignalCheck(name, stream.rate, stream.channels)
            frames = in_blocks(container.decode(stream), signal)
            if decoder == "librosa":
                yield from soxr_mono(planes_of(frames), signal)
            else:
                yield from swresample_mono(frames, signal)
            signal.finish(*_declared(stream))
    except av.FFmpegError as error:
        raise AudioError(
            f"{name} cannot be decoded ({error.strerror}): it is no media file, truncated or corrupt. "
            "Copy or export it again"
        ) from None


def _audio_stream(container: Any, name: str) -> Any:
    stream = container.streams.best("audio")
    if stream is not None and stream.codec_context is not None:
        return stream
    if container.streams.audio:
        raise AudioError(f"{name} cannot be decoded: unknown codec, truncated or corrupt. Copy or export it again")
    kinds = ", ".join(s.type for s in container.streams) or "none"
    raise AudioError(f"{name} has no audio stream (streams: {kinds}). Mux its sound into it first")


def _declared(stream: Any) -> tuple[float | None, float]:
    """Return the length that a stream's header promises, in seconds, and how far that can be trusted."""
    slack = max(FRAME_S, (stream.codec_context.frame_size or 0) / stream.rate)
    tagged = stream.duration is None  # Matroska counts the encoder's priming samples, too
    return declared_s(stream), 2 * slack if tagged else slack


def declared_s(stream: Any) -> float | None:
    """Return the length that a stream's header declares, in seconds; None where FFmpeg guesses it from the bit rate."""
    kind = stream.container.format.name
    if kind == "aac" or (kind == "mp3" and stream.type == "audio" and not stream.start_time):
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if tag := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""), re.ASCII):
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds
    return None
