"""Video frames as a decoder shows them: one after the other, each with its time on the container's clock."""

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any

from musetools.audio.container import check_structure, chosen_video, of_tracks, opened, shown_late_s
from musetools.audio.structure import Structure

if TYPE_CHECKING:
    import av

__all__ = ["first_shown_s", "is_untimed", "packets_of", "shown_frames", "shown_times"]

LOOKED_AT = 32  # packets among which those lie that are shown before the first one
REORDERED = 16  # frames at most that a codec decodes before they are shown


def is_untimed(stream: Any) -> bool:
    """Whether a container says nowhere when frames are shown: FFmpeg guesses, late or out of order."""
    return stream.container.format.name == "avi"


def packets_of(container: Any, *streams: Any) -> Iterator["av.Packet"]:
    """Demux tracks; where nothing says when frames are shown, they are one after the other, from the first place on."""
    untimed = any(map(is_untimed, streams))
    for packet in container.demux(streams):
        if untimed:
            packet.pts = packet.dts
        yield packet


def shown_frames(container: Any, stream: Any) -> Iterator["av.VideoFrame"]:
    """Yield the frames that a decoder shows; what it cannot show is left out."""
    frames = _decoded(packets_of(container, stream))
    return _in_order(frames) if stream.codec_context.has_b_frames else frames


def _decoded(packets: Iterator["av.Packet"]) -> Iterator["av.VideoFrame"]:
    import av

    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from (frame for frame in frames if frame.pts is not None)


def _in_order(frames: Iterator["av.VideoFrame"]) -> Iterator["av.VideoFrame"]:
    """Give frames, which come as they are shown, their time stamps in order."""
    held, stamps = deque(), []
    for frame in chain(frames, [None] * REORDERED):
        if frame is not None:
            held.append(frame)
            heappush(stamps, frame.pts)
        if held and (frame is None or len(held) > REORDERED):
            first = held.popleft()
            first.pts = heappop(stamps)
            yield first


def shown_times(container: Any, stream: Any) -> tuple[list[float], int]:
    """Return when each frame is shown, on the container's clock, and how many have an earlier time than the one before.

    A file that was copied from AVI, or H.264 in MXF or WMV, may time frames as they are decoded.
    """
    times = [float(frame.pts * frame.time_base) for frame in _decoded(packets_of(container, stream))]
    n_falling = 0 if is_untimed(stream) else sum(after < before for before, after in pairwise(times))
    return sorted(times), n_falling


def first_shown_s(source: Any, name: str, structure: Structure, number: int | None = None) -> float | None:
    """Return when the first frame is shown, on the container's clock; None without a moving one.

    A key frame that no other frame precedes is it; else, as after a cut in mid-stream, the decoder says which it shows.
    """
    with opened(source, name) as container:
        if (stream := chosen_video(container, number)) is None:
            return None
        check_structure(of_tracks(structure, stream), name, lenient=True)
        first, track, tick = _first_shown_s(container, stream), stream.id, stream.time_base
    return None if first is None else first - shown_late_s(source, track, tick)


def _first_shown_s(container: Any, stream: Any) -> float | None:
    packets = packets_of(container, stream)
    start = list(islice(packets, LOOKED_AT))
    first, stamps = start[0], [packet.pts for packet in start if packet.size]
    if first.is_keyframe and not first.is_discard and None not in stamps and first.pts == min(stamps):
        return float(first.pts * stream.time_base)
    shown = (float(frame.pts * frame.time_base) for frame in _decoded(chain(start, packets)))
    return min(islice(shown, LOOKED_AT), default=None)  # the first ones may be out of order
