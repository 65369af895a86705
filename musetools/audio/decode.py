"""Sources decoded in process: containers through PyAV, what librosa opens through libsndfile, arrays.

Behind `musetools.audio.load`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from musetools.audio.container import (
    RATES,
    SOUND_ALONE,
    Mapped,
    beyond_end,
    check_rate,
    check_structure,
    chosen_audio,
    last_entry,
    name_of,
    of_tracks,
    opened,
    readable,
    source_structure,
)
from musetools.audio.resample import (
    BLOCK_S,
    SignalCheck,
    checked,
    in_blocks,
    planes_of,
    soxr_mono,
    swresample_mono,
)
from musetools.audio.shown import first_shown_s
from musetools.audio.structure import Structure
from musetools.audio.timeline import SoundTimes, laid_out
from musetools.errors import AudioError, ParameterError, as_array
from musetools.timing import SAMPLE_RATE

if TYPE_CHECKING:
    import av

__all__ = ["Source", "blocks_of_array", "blocks_of_file", "frame_of", "planes_of_array", "scaled", "sound_frames"]

Source = str | os.PathLike | BinaryIO | tuple[np.ndarray, int]

MAX_CHANNELS = 8
LAST_LOST_S = 0.5  # of sound at the end; more is no packet that an encoder left unfinished
# codecs whose frames hold a checksum, which FFmpeg skips by default
CHECKED = {"flac", "ac3", "eac3", "tta", "wavpack"}


# --- arrays


def blocks_of_array(array: np.ndarray, rate: int, decoder: str) -> Iterator[np.ndarray]:
    """Yield a checked array's samples as mono blocks at 16 kHz; as they are, if that is what they are."""
    planes, rate = planes_of_array(array, rate), int(rate)  # a numpy int16 would overflow below
    signal = SignalCheck("the array", rate, len(planes))
    step = BLOCK_S * rate
    blocks = map(scaled, checked((planes[:, i : i + step] for i in range(0, planes.shape[1], step)), signal))
    if rate == SAMPLE_RATE and len(planes) == 1:
        yield from (block[0] for block in blocks)
    else:
        yield from _mono(blocks, signal, decoder)
    signal.finish()


def _mono(blocks: Iterator[np.ndarray], signal: SignalCheck, decoder: str) -> Iterator[np.ndarray]:
    """Mix and resample planes of floats."""
    if decoder == "librosa":
        return soxr_mono(blocks, signal)
    return swresample_mono((frame_of(block, signal.rate) for block in blocks), signal)


def planes_of_array(array: np.ndarray, rate: int) -> np.ndarray:
    """Return samples, channels first, floats as float32; or say what is wrong with them."""
    array = as_array(array)
    whole = isinstance(rate, (int, np.integer)) and not isinstance(rate, bool)
    if not whole or not RATES[0] <= rate <= RATES[1]:
        raise ParameterError(f"the sample rate must be a whole number of Hz, {RATES[0]} … {RATES[1]}; got {rate!r}")
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
    array = np.atleast_2d(array)
    if array.dtype.kind == "i":
        return array
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is an error by name
        return np.ascontiguousarray(array, dtype=np.float32)


def scaled(samples: np.ndarray) -> np.ndarray:
    """Return float32 samples, integers scaled by their range."""
    if samples.dtype.kind == "f":
        return samples
    return (samples / 2.0 ** (8 * samples.itemsize - 1)).astype(np.float32)


def frame_of(planes: np.ndarray, rate: int) -> "av.AudioFrame":
    """Wrap float planes as the 16-bit frame that a wav file of them would decode to."""
    import av

    samples = np.clip(np.rint(planes * 32768.0), -32768, 32767).astype(np.int16)
    layout = {1: "mono", 2: "stereo"}.get(len(samples), f"{len(samples)} channels")
    frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1), format="s16", layout=layout)
    frame.rate = rate
    return frame


# --- files


def blocks_of_file(
    source: Any,
    decoder: str,
    *,
    audio_track: int | None = None,
    video_track: int | None = None,
    times: SoundTimes | None = None,
    structure: Structure | None = None,
) -> Iterator[np.ndarray]:
    """Yield a media file's samples as mono blocks at 16 kHz; where they lie is noted in `times`.

    The file's structure is read unless it is known.
    """
    name = name_of(source)
    with readable(name):
        structure = structure or source_structure(source)
        check_structure(structure, name, lenient=decoder == "timeline")
        by_sndfile = decoder == "librosa" and structure.sized and audio_track is None
        if (by_sndfile or structure.by_sndfile) and (file := _open_sndfile(source, structure)):
            yield from _blocks_of_sndfile(file, name, decoder, structure)
            return
        times = times or SoundTimes(name)
        if decoder == "timeline" and times.zero_s is None and structure.kind not in SOUND_ALONE:
            times.zero_s = first_shown_s(source, name, structure, video_track)
        yield from _blocks_of_container(source, name, decoder, audio_track, structure, times)


def _open_sndfile(source: Any, structure: Structure) -> Any:
    """Open what libsndfile knows (wav, flac, ogg, mp3); None for what it does not, which PyAV then gets."""
    import soundfile

    try:
        if hasattr(source, "seek"):
            source.seek(0)
        # as bytes: soundfile cannot encode what Python made of a name in a locale that is not UTF-8
        file = soundfile.SoundFile(source if hasattr(source, "read") or os.name == "nt" else os.fsencode(source))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: of a file named .raw it wants to be told all
        return None
    if structure.kind == "ogg" and file.channels > 2:  # they may be ambisonic, which only PyAV says
        file.close()
        return None
    return file


def _blocks_of_sndfile(file: Any, name: str, decoder: str, structure: Structure) -> Iterator[np.ndarray]:
    import soundfile

    with file:
        check_rate(file.samplerate, name)
        signal = SignalCheck(name, file.samplerate, file.channels)
        try:
            yield from _mono(checked(_read(file), signal), signal, decoder)
        except soundfile.LibsndfileError as error:
            at = signal.n_in / signal.rate
            raise AudioError(
                f"{name} is truncated or corrupt after {at:.3f} s ({error}). Copy or export it again"
            ) from None
        if file.frames - signal.n_in > 1 and not file.subtype.startswith("MPEG"):  # there libsndfile guesses
            signal.finish(file.frames / file.samplerate)
        signal.finish(structure.exact_s)


def _read(file: Any) -> Iterator[np.ndarray]:
    """Read to the end: ``SoundFile.blocks`` would hand out stale memory for what a truncated mp3 lacks."""
    while len(block := file.read(BLOCK_S * file.samplerate, dtype="float32", always_2d=True)):
        yield block.T


def _blocks_of_container(
    source: Any, name: str, decoder: str, number: int | None, structure: Structure, times: SoundTimes
) -> Iterator[np.ndarray]:
    with sound_frames(source, name, number, structure, times) as (mapped, frames):
        signal = SignalCheck(name, mapped.rate, mapped.n_channels)
        if decoder != "timeline" or structure.kind == "flac":  # a lossless copy is whole or none
            frames = _strict(frames, times)
        if decoder == "timeline":
            yield from laid_out(frames, signal, times)
        else:
            blocks = in_blocks((frame for frame, _ in times.numbered(frames)), signal)
            yield from soxr_mono(planes_of(blocks), signal) if decoder == "librosa" else swresample_mono(blocks, signal)
        if not signal.n_in and times.bad_s:
            raise AudioError(f"{name}: none of its {len(times.bad_s)} packets of sound can be decoded. Copy it again")
        signal.finish(structure.exact_s)


@contextmanager
def sound_frames(
    source: Any, name: str, number: int | None, structure: Structure, times: SoundTimes
) -> Iterator[tuple[Mapped, Iterator["av.AudioFrame"]]]:
    """Open a track of sound: how its frames are made safe to read, and these frames, decoded packet by packet."""
    with opened(source, name) as container:
        stream = chosen_audio(container, name, number)
        check_structure(of_tracks(structure, stream), name, lenient=True)
        if structure.kind == "mp4" and not structure.trimmed:
            _check_index(stream, name)
        mapped = Mapped(stream, name)
        if stream.codec_context.name in CHECKED:
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        times.rate, times.tick_s = mapped.rate, float(stream.time_base)
        times.stamped = structure.kind != "caf"  # FFmpeg makes its own, of a length of packets that is none
        if missing := beyond_end(container):
            raise AudioError(f"{name} is truncated: {missing} bytes that its index names are missing. Copy it again")
        yield mapped, _frames(container, stream, mapped, times, structure.tail)
        if structure.kind == "mp4":
            _check_end(stream, times)


def _check_end(stream: Any, times: SoundTimes) -> None:
    """Raise AudioError if nothing could be decoded from some packet on to the end of an mp4's index."""
    last = float(entry.timestamp * stream.time_base) if (entry := last_entry(stream)) else 0.0
    if times.bad_s and last - times.end_s > LAST_LOST_S:
        raise AudioError(
            f"{times.name} is truncated: from {times.end_s:.3f} s on nothing can be decoded, its index goes on to "
            f"{last:.3f} s. Copy it again"
        )


def _check_index(stream: Any, name: str) -> None:
    """Raise AudioError if an mp4's index lost most packets of a track; PCM has more samples there than entries."""
    n_found = len(stream.index_entries)
    if stream.codec_context.frame_size and 2 * n_found < stream.frames:
        lost = f"{n_found} of the {stream.frames} packets that it declares can be found"
        raise AudioError(f"{name}: its index is damaged: {lost}. Copy or export it again")


def _frames(
    container: Any, stream: Any, mapped: Mapped, times: SoundTimes, tail: int | None
) -> Iterator["av.AudioFrame"]:
    """Decode packet by packet, so that one bad packet is one bad packet, up to the tags at the end."""
    import av

    for packet in container.demux(stream):
        if tail is not None and packet.pos is not None and packet.pos >= tail:
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError:
            times.bad_s.append(float((packet.pts or packet.dts or 0) * stream.time_base))
            frames = []
        for frame in frames:
            yield from mapped(frame)


def _strict(frames: Iterator["av.AudioFrame"], times: SoundTimes) -> Iterator["av.AudioFrame"]:
    """Pass frames on until a packet could not be decoded: to count on would move all that follows."""
    for frame in frames:
        if times.bad_s:
            raise AudioError(
                f"{times.name}: one packet at {times.bad_s[0]:.3f} s cannot be decoded. decoder='timeline' puts "
                "silence there; or copy or export it again"
            )
        yield frame
    if times.bad_s:
        at = times.bad_s[0]
        raise AudioError(f"{times.name} is truncated: its last packet ({at:.3f} s) is not whole. Copy it again")
