"""A media file read once: what it says of itself, its sound block by block, and its timeline at the end."""

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from musetools.audio.container import chosen_video, opened, shown_late_s
from musetools.audio.decode import blocks_of_file
from musetools.audio.probe import MediaInfo, as_shown, probe_media
from musetools.audio.shown import first_shown_s, shown_times
from musetools.audio.timeline import ROUNDED_S, SoundTimes, Timeline
from musetools.errors import AudioError

__all__ = ["read_media", "read_timeline"]


def read_timeline(
    path: str | os.PathLike, *, audio_track: int | None = None, video_track: int | None = None
) -> Timeline:
    """Decode a clip and return when each frame is shown and where its sound lies.

    Parameters
    ----------
    path : path
        A media file.
    audio_track, video_track : int, optional
        Tracks, counted from 1; see `load_audio`.

    Returns
    -------
    Timeline
        Seconds from the first shown frame; without video, from the first sample.

    Raises
    ------
    AudioError
        As `load_audio`.
    """
    *_, timeline = read_media(path, audio_track=audio_track, video_track=video_track)
    return timeline


def read_media(
    path: str | os.PathLike,
    *,
    decoder: str = "timeline",
    audio_track: int | None = None,
    video_track: int | None = None,
    decode_video: bool = True,
    info: MediaInfo | None = None,
) -> Iterator[MediaInfo | np.ndarray | Timeline]:
    """Yield what `probe_media` finds, with the frames that are shown, then blocks as `audio_blocks`, then the timeline.

    Without `decode_video`, video is decoded up to its first frame alone; which others are shown is read off packets.
    What `probe_media` found of these tracks is read unless it is given as `info`.
    """
    name = os.fspath(path)
    tracks = {"audio_track": audio_track, "video_track": video_track}
    info = info or probe_media(path, **tracks)
    frames, disordered = _frames_s(path, name, info, video_track, decode_video) if info.video else ([], 0)
    times = SoundTimes(name, zero_s=frames[0] if frames else None)
    found = times.timeline(frames)
    if decode_video:
        info = as_shown(info, frames)
    yield replace(info, timeline=replace(info.timeline, frames_s=found.frames_s))
    yield from blocks_of_file(path, decoder, **tracks, times=times, structure=info.structure)
    yield replace(times.timeline(frames), disordered=disordered)


def _frames_s(
    path: str | os.PathLike, name: str, info: MediaInfo, number: int | None, decode: bool
) -> tuple[list[float], int]:
    """Return when each frame is shown, on the container's clock, and how many are out of order."""
    disordered = 0
    if decode:
        with opened(path, name) as container:
            stream = chosen_video(container, number)
            stream.thread_type = "AUTO"
            late = shown_late_s(path, stream.id, stream.time_base)
            times, disordered = shown_times(container, stream)
            frames = [at - late for at in times]
    else:
        first, zero = first_shown_s(path, name, info.structure, number), info.video.start_s
        packets = [zero + at for at in info.timeline.frames_s]
        frames = [] if first is None else [at for at in packets if at > first - ROUNDED_S]
    if not frames:
        raise AudioError(f"{name}: none of its {info.video.codec} frames can be decoded. Copy or export it again")
    return frames, disordered
