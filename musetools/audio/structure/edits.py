"""Edit lists of MP4: FFmpeg follows what they cut off and a pause in front, not other pauses nor another speed."""

import os
import struct
from collections.abc import Iterator, Sequence
from itertools import dropwhile
from typing import BinaryIO, NamedTuple

from musetools.audio.structure.found import read_at
from musetools.audio.structure.fragments import whole_boxes

__all__ = ["edit_faults", "is_trimmed", "tracks_in"]

Edit = tuple[int, int, int]  # its length in ticks of the movie, where it starts in the track (-1: a pause), its speed
PAUSE, NORMAL = -1, 0x10000
LARGEST = 2**16  # bytes of an edit list that are read
# the clock of a movie in Hz is a multiple of one of these, or a frame rate; with a bit flipped it is none
CLOCKS, FRAME_CLOCKS = (25, 512, 999), (24, 30, 48, 60, 120)


class Track(NamedTuple):
    """What is read of a track of sound or video."""

    number: int
    clock: int  # of the movie, in Hz
    length: int  # in ticks of that
    edits: list[Edit]


def edit_faults(tracks: Sequence[Track]) -> tuple[tuple[int, str], ...]:
    """Return which tracks have an edit list that asks for what no decoder here does, and what that is."""
    faults = ((track.number, _fault([edit for edit in track.edits if edit[0] or edit[1] != PAUSE])) for track in tracks)
    return tuple((number, fault) for number, fault in faults if fault)


def _fault(edits: list[Edit]) -> str:
    played = list(dropwhile(lambda edit: edit[1] == PAUSE, edits))
    if any(start == PAUSE for _, start, _ in played):
        return "its edit list makes a pause inside the clip or behind it, which FFmpeg puts in front. Export it again"
    if any(speed != NORMAL for *_, speed in played):
        return "its edit list plays at another speed, which FFmpeg does not. Export it again"
    return ""


def is_trimmed(tracks: Sequence[Track]) -> bool:
    """Whether all tracks are as long as their edit lists say, as where an editor kept a part of a clip."""
    return bool(tracks) and all(
        not track.edits
        or (_is_clock(track.clock) and abs(track.length - sum(edit[0] for edit in track.edits)) <= track.clock / 10)
        for track in tracks
    )


def _is_clock(hertz: int) -> bool:
    return hertz in FRAME_CLOCKS or not all(hertz % step for step in CLOCKS)


def tracks_in(file: BinaryIO) -> Iterator[Track]:
    """Yield each track of sound or video of an mp4."""
    clock = 0
    for _, start, end in whole_boxes(file, 0, file.seek(0, os.SEEK_END), b"moov"):
        for name, first, last in whole_boxes(file, start, end, b"mvhd", b"trak"):
            if name == b"mvhd":
                clock = _number(file, first, (12, 4), (20, 4))
            elif _kind(file, first, last) in (b"soun", b"vide"):
                head = next((head for _, head, _ in whole_boxes(file, first, last, b"tkhd")), last)
                number, length = _number(file, head, (12, 4), (20, 4)), _number(file, head, (20, 4), (28, 8))
                yield Track(number, clock, length, list(_edits(file, first, last)))


def _number(file: BinaryIO, start: int, plain: tuple[int, int], wide: tuple[int, int]) -> int:
    """Read a number whose place and size depend on the version of its box."""
    place, size = wide if read_at(file, start, 1) == b"\1" else plain
    return int.from_bytes(read_at(file, start + place, size), "big")


def _kind(file: BinaryIO, place: int, end: int) -> bytes:
    """Return the type of a track's handler."""
    for _, first, last in whole_boxes(file, place, end, b"mdia"):
        for _, start, _ in whole_boxes(file, first, last, b"hdlr"):
            return read_at(file, start + 8, 4)
    return b""


def _edits(file: BinaryIO, place: int, end: int) -> Iterator[Edit]:
    for _, first, last in whole_boxes(file, place, end, b"edts"):
        for _, start, stop in whole_boxes(file, first, last, b"elst"):
            body = read_at(file, start, min(stop - start, LARGEST))
            form = struct.Struct(">Qqi" if body[:1] == b"\1" else ">Iii")
            yield from form.iter_unpack(body[8 : 8 + max(0, len(body) - 8) // form.size * form.size])
