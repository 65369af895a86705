"""What a media file says of itself: streams, codecs, exact rates, time stamps; headers and packets, nothing decoded."""

import os
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from html import escape
from itertools import pairwise
from statistics import median  # numpy's would import numpy.ma
from typing import Any

import numpy as np

from musetools.audio.container import (
    SOUND_ALONE,
    beyond_end,
    chosen_audio,
    chosen_video,
    moving,
    name_of,
    of_tracks,
    opened,
    shown_late_s,
    source_structure,
)
from musetools.audio.rates import shown_rate
from musetools.audio.shown import packets_of
from musetools.audio.structure import Structure
from musetools.audio.timeline import BREAK_S, SoundTimes, Timeline
from musetools.errors import AudioError

__all__ = ["MediaInfo", "StreamInfo", "as_shown", "probe_media"]

# codecs whose headers declare the ticks of a clock, no frame rate
CLOCKED = ("h261", "h263", "h263i", "h263p", "mpeg4", "msmpeg4v2", "msmpeg4v3")
GUESSED = ("aac", "amr", "mpegts", "mpeg", "ogg")  # formats whose headers declare no length
LONGEST_BLOCK = 1024  # samples of Vorbis
FASTEST = 1000  # fps; a header that declares more declares a clock
UNKNOWN, NOTHING = Structure(), Timeline(decoded=False)
SHOWN_VP8 = 0x10  # bit of a frame's first byte: frames without it serve others and are not shown


@dataclass(frozen=True)
class StreamInfo:
    """One stream of a media file: what its header claims, and what the time stamps of its packets show."""

    kind: str  # "video", "audio", "cover" (an image that does not move), …
    codec: str  # "unknown" where it cannot be decoded
    start_s: float  # time of its first sample or frame
    duration_s: float | None  # that its header declares
    rate: Fraction | None  # frames per second (video, average over the stream) or samples per second (audio)
    tick: Fraction | None = None  # of its time stamps, in seconds
    coded_rate: Fraction | None = None  # frames per second that the codec's own header declares
    timed_rate: Fraction | None = None  # frames per second that the time stamps show
    variable: bool = False  # whether frames lie unevenly in time
    frames_declared: int | None = None
    frames_counted: int | None = None  # packets of frames that are shown
    lead_s: float = 0.0  # seconds of packets before the start, which an edit list hides: an encoder's priming


@dataclass(frozen=True, repr=False)
class MediaInfo:
    """What `probe_media` found."""

    path: str
    container: str  # name of its format
    duration_s: float | None  # of the whole, as declared
    streams: tuple[StreamInfo, ...]
    missing_bytes: int = 0  # that its index or its structure names and the file does not have: it is truncated
    structure: Structure = UNKNOWN
    timeline: Timeline = NOTHING  # as packets show it
    video_stream: int | None = None  # which of `streams` counts
    audio_stream: int | None = None

    @property
    def video(self) -> StreamInfo | None:
        """The video track that counts: one that moves, decodable, the default one, in that order."""
        return None if self.video_stream is None else self.streams[self.video_stream]

    @property
    def audio(self) -> StreamInfo | None:
        """The audio track that counts: decodable, the default one."""
        return None if self.audio_stream is None else self.streams[self.audio_stream]

    def __repr__(self) -> str:
        lines = [f"{self.path} ({self.container})"]
        for s in self.streams:
            rate = f"{float(s.rate):.6g} {'Hz' if s.kind == 'audio' else 'fps'}" if s.rate else ""
            length = "" if s.duration_s is None else f"{s.duration_s:.3f} s"
            uneven = "variable rate" if s.variable else ""
            parts = [f"{s.kind} {s.codec}", rate, length, f"from {s.start_s:.3f} s", uneven]
            lines.append("  " + ", ".join(part for part in parts if part))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


def probe_media(
    path: str | os.PathLike, *, audio_track: int | None = None, video_track: int | None = None
) -> MediaInfo:
    """Read what a media file says of itself, in process, decoding nothing.

    Parameters
    ----------
    path : path
        A file that PyAV can open.
    audio_track, video_track : int, optional
        Tracks, counted from 1; see `load_audio`.

    Returns
    -------
    MediaInfo

    Raises
    ------
    AudioError
        If the file is missing, empty, or no media.
    ParameterError
        If there is no such track.
    """
    import av

    name = name_of(path)
    structure = source_structure(path)
    with opened(path, name, "opened") as container:
        video, sound = chosen_video(container, video_track), _sound(container, name, audio_track)
        structure = of_tracks(structure, video, sound)
        stamps, times, unseen = _stamps(container, video, sound, name)
        late = shown_late_s(path, video.id, video.time_base) - float(unseen * video.time_base) if video else 0.0
        found = {video.index: (stamps, late)} if video else {}
        streams = tuple(_stream(stream, *found.get(stream.index, (None, 0.0))) for stream in container.streams)
        if structure.tail or structure.by_sndfile or not structure.sized:  # FFmpeg takes for sound what is none
            streams = tuple(replace(stream, duration_s=None, frames_declared=None) for stream in streams)
        shown = _seconds(stamps, video, streams[video.index].start_s) if len(stamps) else []
        times.zero_s = shown[0] if shown else None
        return MediaInfo(
            name,
            container.format.name,
            container.duration / av.time_base if container.duration else None,
            streams,
            max(structure.missing, beyond_end(container)),
            structure,
            times.timeline(shown, decoded=False),
            video.index if video else None,
            sound.index if sound else None,
        )


def _sound(container: Any, name: str, number: int | None) -> Any:
    try:
        return chosen_audio(container, name, number)
    except AudioError:
        return None


def _stream(stream: Any, stamps: np.ndarray | None, late_s: float) -> StreamInfo:
    base, context = stream.time_base, stream.codec_context
    start = (float(stream.start_time * base) if stream.start_time else 0.0) - late_s
    duration, codec = declared_s(stream), context.name if context else "unknown"
    if stream.type == "audio":
        lead = _lead(stream, start)
        if duration is not None and stream.duration is None:  # Matroska's tag counts from zero, and what comes before
            duration = max(0.0, duration - max(lead, start))
        return StreamInfo(
            "audio", codec, start, duration, Fraction(context.sample_rate) if context else None, lead_s=lead
        )
    if stream.type != "video" or not moving(stream):
        return StreamInfo("cover" if stream.type == "video" else stream.type, codec, start, duration, None)
    coded = context.framerate if context else None
    coded = None if codec in CLOCKED or not coded or coded > FASTEST else coded
    average = stream.average_rate if (stream.average_rate or 0) <= FASTEST else None  # FFmpeg gives raw DV's ticks
    claims = {"tick": base, "coded_rate": coded, "frames_declared": stream.frames or None}
    if stamps is None:
        return StreamInfo("video", codec, start, duration, average, **claims)
    timed, variable = shown_rate(stamps, base, (coded, average))
    shown = {"timed_rate": timed, "variable": variable, "frames_counted": len(stamps)}
    return StreamInfo("video", codec, start, duration, average, **claims, **shown)


def as_shown(info: MediaInfo, frames_s: list[float]) -> MediaInfo:
    """Return what was found, with the frame rate of what a decoder shows, where that is not every packet."""
    video = info.video
    if video is None or not video.tick or video.frames_counted == len(frames_s):
        return info
    stamps = np.round(np.array(frames_s) / float(video.tick)).astype(np.int64)
    timed, variable = shown_rate(stamps, video.tick, (video.coded_rate, video.rate))
    shown = replace(video, timed_rate=timed, variable=variable, frames_counted=len(frames_s))
    streams = tuple(shown if stream is video else stream for stream in info.streams)
    return replace(info, streams=streams)


def declared_s(stream: Any) -> float | None:
    """Return the length that a stream's header declares, in seconds; None where FFmpeg guesses it from the bit rate."""
    kind = stream.container.format.name
    if kind in GUESSED or (kind == "mp3" and stream.type == "audio" and not stream.start_time):
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if tag := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""), re.ASCII):
        hours, minutes, seconds = map(float, tag.groups())
        return 3600 * hours + 60 * minutes + seconds
    return None


def _stamps(container: Any, video: Any, sound: Any, name: str) -> tuple[np.ndarray, SoundTimes, int]:
    """Return the time stamps of the frames that are shown, in order, and where sound lies by its packets.

    From the file's index where it has one, else from its packets; and for how many ticks the first show nothing.
    """
    unseen = 0
    if video is None and container.format.name in SOUND_ALONE:
        entries = [], []
    elif all(s is None or (s.frames and len(s.index_entries) >= s.frames) for s in (video, sound)):
        entries = [_of_index(stream) if stream else [] for stream in (video, sound)]
        if video and video.codec_context.has_b_frames and _uneven(entries[0], video.time_base):
            entries[0], unseen = _of_packets(container, video, None)[0][0], 0
    else:
        entries, unseen = _of_packets(container, video, sound)
    times = SoundTimes(name, tick_s=float(sound.time_base) if sound else 0.0)
    codec, lasting = sound.codec_context if sound else None, any(lasts for _, lasts in entries[1])
    if sound and "wma" not in codec.name and (lasting or codec.frame_size or "opus" in codec.name):  # WMA plays later
        _note(times, np.array(entries[1], np.int64).reshape(-1, 2), sound)
    elif sound and entries[1] and codec.name.startswith("pcm") and sound.duration:  # whose index has no holes
        times.starts_s.append(float((sound.start_time or 0) * sound.time_base))
        times.lengths.append(round(float(sound.duration * sound.time_base) * times.rate))
    return np.sort(np.array([at for at, _ in entries[0]], np.int64)), times, unseen


def _seconds(stamps: np.ndarray, video: Any, start_s: float) -> list[float]:
    """Convert time stamps, which an index counts from another start than packets do."""
    return (start_s + (stamps - stamps[0]) * float(video.time_base)).tolist()


def _uneven(entries: list[tuple[int, int]], tick: Fraction) -> bool:
    """Whether frames of an index lie unevenly in time: its stamps say when they are decoded, not when shown."""
    return shown_rate(np.sort([at for at, _ in entries]), tick, ())[1]


def _of_index(stream: Any) -> list[tuple[int, int]]:
    return [(entry.timestamp, 0) for entry in stream.index_entries if not entry.is_discard]


def _of_packets(container: Any, video: Any, sound: Any) -> tuple[list[list[tuple[int, int]]], int]:
    """Demux once; return time stamp and duration of each packet that is shown, of video and of sound.

    And how long, in ticks, packets of video go on that cannot be shown: a stream that was cut begins between two key
    frames.
    """
    found, first_key = [[], []], None
    timed = "mp4" not in container.format.name  # which knows no holes: the packet before one lasts longer
    for packet in packets_of(container, *filter(None, (video, sound))):
        if packet.pts is None:
            continue
        of_sound = sound is not None and packet.stream_index == sound.index
        if packet.is_keyframe and not of_sound and first_key is None:
            first_key = len(found[0]), packet.pts
        hidden = not of_sound and video.codec_context.name in ("vp8", "libvpx") and not bytes(packet)[0] & SHOWN_VP8
        if not hidden and not packet.is_discard:
            found[of_sound].append((packet.pts, (timed and packet.duration) or 0))
    if not first_key or not first_key[0]:
        return found, 0
    number, key = first_key
    return [[(at, lasts) for at, lasts in found[0][number:] if at >= key], found[1]], key - (video.start_time or 0)


def _note(times: SoundTimes, packets: np.ndarray, sound: Any) -> None:
    """Note where packets of one length break off; stretches in seconds, since no sample was counted."""
    base, at = float(sound.time_base), packets[:, 0] * float(sound.time_base)
    usual = sound.codec_context.frame_size / sound.codec_context.sample_rate
    if len(at) > 2:  # a decoder that doubles the rate (HE-AAC) may not know it yet
        usual = median(np.diff(at).tolist())
    ends = at + np.where(packets[:, 1] > 0, packets[:, 1] * base, usual)
    if sound.start_time is not None:  # what comes before is an encoder's priming, which decoders skip
        start = sound.start_time * base
        kept = ends > start + base / 2
        at, ends = np.maximum(at[kept], start), ends[kept]
    off, limit = at[1:] - ends[:-1], max(BREAK_S, 2 * base)
    if "vorbis" in sound.codec_context.name:  # FFmpeg does not know how long a block between two sizes is
        limit = max(limit, LONGEST_BLOCK / sound.codec_context.sample_rate)
    apart = np.abs(off) > limit
    lone = apart[:-1] & apart[1:] & (np.abs(off[:-1] + off[1:]) <= limit)  # a packet after which all goes on as before
    apart[:-1] &= ~lone
    apart[1:] &= ~lone
    breaks = np.flatnonzero(apart) + 1
    for first, last in pairwise([0, *breaks.tolist(), len(at)] if len(at) else []):
        times.starts_s.append(float(at[first]))
        times.lengths.append(round((float(ends[last - 1]) - float(at[first])) * times.rate))


def _lead(stream: Any, start_s: float) -> float:
    """Return how much comes before a stream's start, by the first entry of its index."""
    first = next(iter(stream.index_entries), None)
    return max(0.0, start_s - float(first.timestamp * stream.time_base)) if first else 0.0
