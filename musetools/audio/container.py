"""Containers opened safely: no playlist is followed, and no layout of channels ends the process."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from musetools.audio.structure import Structure, lowest_offset, structure_of
from musetools.errors import AudioError, MusetoolsError, ParameterError

__all__ = ["RATES", "SOUND_ALONE", "Mapped", "beyond_end", "check_rate", "check_structure", "chosen_audio"]
__all__ += [
    "chosen_video",
    "last_entry",
    "moving",
    "name_of",
    "of_tracks",
    "opened",
    "readable",
    "shown_late_s",
    "source_structure",
]

PLAYLISTS = (b"ffconcat", b"#EXTM3U", b"<?xml", b"<MPD", b"[playlist]", b"v=0")
PLAYLIST_FORMATS = {"concat", "hls", "dash", "imf", "sdp", "hls,applehttp", "webm_dash_manifest", "rtsp"}
# formats of sound alone, without time stamps, by FFmpeg's names and by those of `Structure`
SOUND_ALONE = ("wav", "flac", "mp3", "aac", "aiff", "caf", "w64", "au")
AT_ONCE = "00:00:00.0"  # how Matroska writes less than 100 ms
STILLS = {"mjpeg", "png", "bmp", "gif", "webp", "tiff"}  # codecs of covers, if there is a single frame
FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"free")  # of an mp4 that may have fragments
MOST_PLANES = 7  # PyAV counts the planes of a frame with more one too many, and reads beyond its memory
RATES = (2_000, 768_000)  # Hz; below, a few kilobytes would become gigabytes
CUSTOM = " channels ("  # in the name of a layout whose channels are in an order of their own
NATIVE = {  # names of layouts by the set of their channels, in FFmpeg's own order
    "3.0": "FL FR FC",
    "2.1": "FL FR LFE",
    "4.0": "FL FR FC BC",
    "quad": "FL FR BL BR",
    "quad(side)": "FL FR SL SR",
    "3.1": "FL FR FC LFE",
    "5.0": "FL FR FC BL BR",
    "5.0(side)": "FL FR FC SL SR",
    "5.1": "FL FR FC LFE BL BR",
    "5.1(side)": "FL FR FC LFE SL SR",
    "6.1": "FL FR FC LFE BC SL SR",
    "7.0": "FL FR FC BL BR SL SR",
    "7.1": "FL FR FC LFE BL BR SL SR",
    "7.1(wide)": "FL FR FC LFE BL BR FLC FRC",
}


def name_of(source: Any) -> str:
    """Return the name an error calls the source by; a path must lead to a file that is not empty."""
    if isinstance(source, tuple):
        return "the array"
    if hasattr(source, "read") and hasattr(source, "seek") and not hasattr(source, "encoding"):
        return source.name if isinstance(getattr(source, "name", None), str) else "the file object"
    if not isinstance(source, (str, os.PathLike)):
        kind = type(source).__name__
        raise ParameterError(f"audio must be a path, a seekable binary file or (array, sample_rate); got {kind}")
    path = Path(source)
    if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
        fault = "a folder" if os.path.isdir(path) else "a pipe or a device" if os.path.exists(path) else "not there"
        raise AudioError(f"{path} is {fault}. Name a file; the working folder is {Path.cwd()}")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes). Record or copy it again")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path} cannot be read: permission denied. Change its permissions, or copy it again")
    return str(path)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Raise AudioError for what a disk or a file object cannot give."""
    try:
        yield
    except OSError as error:
        raise AudioError(f"{name} cannot be read ({error.strerror or error}). Copy it again") from None


@contextmanager
def reading(source: Any) -> Iterator[BinaryIO]:
    """Open a path, or lend a file object, at its start."""
    if isinstance(source, (str, os.PathLike)):
        with readable(os.fspath(source)), open(source, "rb") as file:
            yield file
    else:
        with readable(name_of(source)):
            source.seek(0)
            yield source


def source_structure(source: Any) -> Structure:
    """Return the structure of a path or a file object."""
    with reading(source) as file:
        return structure_of(file)


def of_tracks(structure: Structure, *streams: Any) -> Structure:
    """Return a structure with what is wrong with these tracks alone; None is no track."""
    faults = (dict(structure.edits).get(stream.id, "") for stream in streams if stream)
    return replace(structure, fault=structure.fault or next(filter(None, faults), ""))


def check_structure(structure: Structure, name: str, *, lenient: bool) -> None:
    """Raise AudioError if a file ends early, was joined, or, unless lenient, is damaged inside."""
    if structure.missing:
        lacks = f"at least {structure.missing} bytes are" if structure.missing > 1 else "its end is"
        why = structure.fault or f"by its {structure.kind} structure {lacks} missing"
        raise AudioError(f"{name} is truncated: {why}. Copy or export it again")
    if fault := structure.fault or ("" if lenient else structure.damage):
        raise AudioError(f"{name}: {fault}" + ("" if structure.fault else ". Copy or export it again"))


@contextmanager
def opened(source: Any, name: str, verb: str = "decoded") -> Iterator[Any]:
    """Open a media file with PyAV; AudioError if it is none, or a playlist, or fails in the block."""
    import av

    with reading(source) as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
        file.seek(0)
    if head.startswith(PLAYLISTS):
        raise AudioError(f"{name} is a playlist, which names other files, and no media file. Name the files themselves")
    try:
        # an absolute path: FFmpeg takes "12:30.wav" for a protocol
        where = source if hasattr(source, "read") else os.path.abspath(source)
        # "r": PyAV would ask a file object, which may say "w+b"; titles in Latin-1 are no reason to fail
        with av.open(where, "r", metadata_errors="replace") as container:
            if container.format.name in PLAYLIST_FORMATS:
                raise AudioError(f"{name} is a playlist ({container.format.name}). Name the files that it lists")
            yield container
    except MusetoolsError:
        raise
    except (av.FFmpegError, ValueError, IndexError) as error:  # PyAV: an index, for a track that begins on the way
        structure = source_structure(source)
        check_structure(structure, name, lenient=True)
        unknown = structure.kind == "unknown"
        what = "it is no media file, truncated or corrupt" if unknown else f"this {structure.kind} file is damaged"
        why = getattr(error, "strerror", None) or error
        raise AudioError(f"{name} cannot be {verb} ({why}): {what}. Copy or export it again") from None


# --- tracks


def moving(stream: Any) -> bool:
    """Whether a video track is no cover and no still."""
    flags = stream.disposition
    if flags & (flags.attached_pic | flags.still_image | flags.timed_thumbnails):
        return False
    if stream.container.format.name.startswith("matroska"):  # whose index has an entry of any track while it is opened
        still = stream.metadata.get("DURATION", "").startswith(AT_ONCE)
    else:
        still = 1 in (stream.frames, len(stream.index_entries) if not stream.frames else 0)
    return not (still and stream.codec_context and stream.codec_context.name in STILLS)


def chosen_video(container: Any, number: int | None = None) -> Any:
    """Return the video track that counts: one that moves, decodable, the default one, in that order; None without."""
    usable = [stream for stream in container.streams.video if moving(stream) and stream.codec_context]
    return _chosen("video", container.streams.video, usable, number)


def chosen_audio(container: Any, name: str, number: int | None = None) -> Any:
    """Return the audio track that counts: decodable, the default one, most channels; AudioError without."""
    tracks = container.streams.audio
    if track := _chosen("audio", tracks, [s for s in tracks if s.codec_context], number):
        return track
    if tracks:
        raise AudioError(
            f"{name}: no codec is known for its sound ({len(tracks)} audio tracks). Export it again as AAC"
        )
    kinds = ", ".join(s.type for s in container.streams) or "none"
    raise AudioError(f"{name} has no audio stream (streams: {kinds}). Mux its sound into it first")


def _chosen(kind: str, tracks: Any, usable: list[Any], number: int | None) -> Any:
    if number is not None:
        if not 1 <= number <= len(tracks):
            there = f"1 … {len(tracks)}, the {kind} tracks that there are"
            raise ParameterError(f"{kind}_track must be {there}; got {number}")
        if not tracks[number - 1].codec_context:
            raise ParameterError(f"no codec is known for {kind} track {number}. Choose another one, or export it again")
        return tracks[number - 1]
    return max(
        usable, key=lambda s: (s.frames != 1, bool(s.disposition & s.disposition.default), _n_channels(s)), default=None
    )


def _n_channels(stream: Any) -> int:
    """Return how many channels a track of sound has: of several the ffmpeg program takes the one with most."""
    return _layout(stream).nb_channels if stream.type == "audio" else 0


def _layout(stream: Any) -> Any:
    """Return a track's layout of channels; PyAV's copies of one in another order share memory that each would free."""
    layout = stream.codec_context.layout
    if CUSTOM in layout.name:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))  # never freed
    return layout


def shown_late_s(source: Any, track: int, tick: Fraction) -> float:
    """Return how late FFmpeg shows a track of a fragmented mp4 that has composition offsets below 0, as CMAF allows.

    It adds the lowest to the time stamp of each frame, and takes it off again in files without fragments alone.
    """
    with reading(source) as file:
        if file.read(8)[4:] not in FIRST_BOXES:
            return 0.0
        return float(-lowest_offset(file, track) * tick)


def last_entry(stream: Any) -> Any:
    """Return the last entry of a track's index; None without one."""
    entries = stream.index_entries
    return entries[len(entries) - 1] if len(entries) else None


def beyond_end(container: Any) -> int:
    """Return how many bytes a file's index reaches beyond its end."""
    last = max((entry.pos + entry.size for s in container.streams if (entry := last_entry(s))), default=0)
    return max(0, last - container.size)


def check_rate(rate: int, name: str) -> None:
    """Raise AudioError for a sample rate that sound does not have."""
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(
            f"{name} declares {rate} samples a second; {RATES[0]} … {RATES[1]} is what sound has. "
            "Its header is damaged: copy or export it again"
        )


class Mapped:
    """Makes frames of any layout safe to read: few planes, channels in an order that FFmpeg has a downmix for."""

    def __init__(self, stream: Any, name: str):
        import av

        self._name, self._kind, self._n_in = name, "", 0
        self.rate = stream.codec_context.sample_rate
        if not self.rate or not stream.codec_context.format:
            raise AudioError(f"{name} cannot be decoded: it is no media file, truncated or corrupt. Copy it again")
        check_rate(self.rate, name)
        layout = _layout(stream)
        self.n_channels, self._order, self._layout = layout.nb_channels, None, layout.name
        if "ambisonic" in self._layout:
            raise AudioError(
                f"{name} holds ambisonic sound ({self._layout}), which has no downmix. Export it as stereo"
            )
        if CUSTOM in self._layout:
            self._reorder(stream, name)
        self._packed = av.AudioResampler(format=stream.codec_context.format.packed.name)
        self._repack = self.n_channels > MOST_PLANES and stream.codec_context.format.is_planar

    def _reorder(self, stream: Any, name: str) -> None:
        """Give the decoder a layout that PyAV can copy; remember where each of its channels comes from."""
        given = self._layout.partition("(")[2].rstrip(")").split("+")
        alone = {"mono": given[0]} if len(given) == 1 else {}  # one channel is mono, whatever side it is of
        for native, channels in (NATIVE | alone).items():
            if sorted(given) == sorted(channels.split()):
                self._layout, self._order = native, [given.index(channel) for channel in channels.split()]
                stream.codec_context.layout = native
                return
        raise AudioError(f"{name}: no downmix is known for its channels ({self._layout}). Export it as mono or stereo")

    def __call__(self, frame: Any) -> Iterator[Any]:
        """Yield the frame as it can be read; AudioError if it is of another format than the first."""
        layout = self._layout if self._order else frame.layout.name  # PyAV cannot read the name of another order
        kind = f"{layout} {frame.format.name} at {frame.sample_rate} Hz"
        self._kind = self._kind or kind
        if kind != self._kind:
            raise AudioError(
                f"{self._name} changes from {self._kind} to {kind} after {self._n_in / self.rate:.3f} s: "
                "it is corrupt, or was put together. Export it again in one format"
            )
        self._n_in += frame.samples
        frames = self._packed.resample(frame) if self._repack else [frame]
        for each in frames:
            yield each if self._order is None else self._ordered(each)

    def _ordered(self, frame: Any) -> Any:
        import av

        samples = frame.to_ndarray()
        if frame.format.is_planar:
            samples = samples[self._order]
        else:
            samples = samples.reshape(-1, self.n_channels)[:, self._order].reshape(1, -1)
        made = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=frame.format.name, layout=self._layout)
        made.rate, made.pts, made.time_base = frame.sample_rate, frame.pts, frame.time_base
        return made
