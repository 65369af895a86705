"""What a media file says of itself: streams, codecs, exact rates, time stamps; headers and packets, nothing decoded."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from musetools.audio.decode import declared_s, name_of
from musetools.errors import AudioError
from musetools.timing import exact_fps

__all__ = ["MediaInfo", "StreamInfo", "probe_media"]

CLOCKED = ("mpeg4", "msmpeg4v2", "msmpeg4v3")  # their headers declare the ticks of a clock, no frame rate
UNEVEN = 0.1  # frames whose distance is off by more than this share of a frame make a rate variable
ON_FILM = (1, 1001)  # denominators of the frame rates that cameras have


@dataclass(frozen=True)
class StreamInfo:
    """One stream of a media file.

    Attributes
    ----------
    kind : str
        "video", "audio", "cover" (a song's picture, which containers hold as a video), …
    codec : str
        Name of the codec.
    start_s : float
        Time of its first sample or frame, in seconds.
    duration_s : float or None
        Length that its header declares, in seconds.
    rate : Fraction or None
        Frames per second (video, average over the stream) or samples per second (audio).
    coded_rate : Fraction or None
        Frames per second that the codec's own header declares.
    timed_rate : Fraction or None
        Frames per second that the time stamps show.
    variable : bool
        Whether frames lie unevenly in time.
    frames_declared, frames_counted : int or None
        Video frames by the header, and by their packets.
    lead_s : float
        Seconds of packets before the start, which an edit list hides: an encoder's priming.
    """

    kind: str
    codec: str
    start_s: float
    duration_s: float | None
    rate: Fraction | None
    coded_rate: Fraction | None = None
    timed_rate: Fraction | None = None
    variable: bool = False
    frames_declared: int | None = None
    frames_counted: int | None = None
    lead_s: float = 0.0


@dataclass(frozen=True, repr=False)
class MediaInfo:
    """What `probe_media` found.

    Attributes
    ----------
    path : str
        The file.
    container : str
        Name of its format.
    duration_s : float or None
        Length of the whole, in seconds.
    streams : tuple of StreamInfo
        All its streams.
    missing_bytes : int
        How many bytes its index names that the file does not have: it is truncated.
    """

    path: str
    container: str
    duration_s: float | None
    streams: tuple[StreamInfo, ...]
    missing_bytes: int = 0

    @property
    def video(self) -> StreamInfo | None:
        """Its first moving picture."""
        return next((s for s in self.streams if s.kind == "video"), None)

    @property
    def audio(self) -> StreamInfo | None:
        """Its first sound."""
        return next((s for s in self.streams if s.kind == "audio"), None)

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


def probe_media(path: str | os.PathLike) -> MediaInfo:
    """Read what a media file says of itself, in process, decoding nothing.

    Parameters
    ----------
    path : path
        A file that PyAV can open.

    Returns
    -------
    MediaInfo

    Raises
    ------
    AudioError
        If the file is missing, empty, or no media.
    """
    import av

    name = name_of(path)
    try:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            streams = tuple(_stream(container, stream) for stream in container.streams if stream.codec_context)
            duration = container.duration / av.time_base if container.duration else None
            return MediaInfo(name, container.format.name, duration, streams, _missing(container, Path(path)))
    except av.FFmpegError as error:
        raise AudioError(
            f"{name} cannot be opened ({error.strerror}): it is no media file, truncated or corrupt"
        ) from None


def _stream(container: Any, stream: Any) -> StreamInfo:
    base = stream.time_base
    start = float(stream.start_time * base) if stream.start_time else 0.0
    duration, codec = declared_s(stream), stream.codec_context.name
    if stream.type == "audio":
        lead = _lead(stream, start)
        if duration is not None and stream.duration is None:  # Matroska's tag counts what comes before the start
            duration = max(0.0, duration - lead)
        return StreamInfo("audio", codec, start, duration, Fraction(stream.rate), lead_s=lead)
    cover = stream.disposition & stream.disposition.attached_pic
    if stream.type != "video" or cover:
        return StreamInfo("cover" if cover else stream.type, codec, start, duration, None)
    times = _time_stamps(container, stream)
    timed, variable = _timing(times, base, (stream.codec_context.framerate, stream.average_rate))
    return StreamInfo(
        "video",
        codec,
        start,
        duration,
        stream.average_rate,
        coded_rate=None if codec in CLOCKED else stream.codec_context.framerate or None,
        timed_rate=timed,
        variable=variable,
        frames_declared=stream.frames or None,
        frames_counted=len(times),
    )


def _time_stamps(container: Any, stream: Any) -> np.ndarray:
    """Return the time stamps of a stream's frames, in order: from the file's index where it has one, or packets."""
    entries = stream.index_entries
    if stream.frames and len(entries) == stream.frames:
        return np.sort(np.fromiter((entry.timestamp for entry in entries), np.int64, len(entries)))
    stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
    container.seek(0)
    return np.sort(np.array(stamps, np.int64))


def _timing(times: np.ndarray, base: Fraction, declared: Iterable[Fraction | None]) -> tuple[Fraction | None, bool]:
    """Return the frame rate that time stamps show, and whether they lie unevenly."""
    if len(times) < 2 or times[-1] == times[0]:
        return None, False
    steps, span = np.diff(times), int(times[-1] - times[0]) * base
    rate = len(steps) / span
    # a container that counts in milliseconds cannot but round: what it declares may be exact
    near = (r for r in declared if r and r.denominator in ON_FILM and abs(len(steps) / r - span) <= base)
    exact = next(near, None) or (exact_fps(float(round(rate, 5))) if rate > 1e-4 else rate)
    ticks = float(1 / (rate * base))  # a frame
    slack = max(UNEVEN * ticks, 1.0 if ticks > 2 else 0.0)
    return exact, bool(np.abs(steps - np.median(steps)).max() > slack)


def _lead(stream: Any, start_s: float) -> float:
    """Return how much comes before a stream's start, by the first entry of its index."""
    first = next(iter(stream.index_entries), None)
    return max(0.0, start_s - float(first.timestamp * stream.time_base)) if first else 0.0


def _missing(container: Any, path: Path) -> int:
    """Return how far a file's index reaches beyond its end."""
    last = max((e.pos + e.size for s in container.streams for e in list(s.index_entries)[-1:]), default=0)
    return max(0, last - path.stat().st_size)
