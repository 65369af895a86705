"""Edit lists of MP4: FFmpeg follows what they cut off at both ends, not pauses inside nor another speed."""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import dropwhile
from typing import BinaryIO

from musetools.audio.structure.found import read_at
from musetools.audio.structure.fragments import whole_boxes

__all__ = ["edit_fault", "is_trimmed", "tracks_in"]

Edit = tuple[int, int, int]  # its length in ticks of the movie, where it starts in the track (-1: a pause), its speed
Track = tuple[int, int, list[Edit]]  # the movie's clock in Hz, its length in ticks of that, and its edits
PAUSE, NORMAL = -1, 0x10000
LARGEST = 2**16  # bytes of an edit list that are read
STEP = 25  # the clock of a movie is a multiple of it; with a bit flipped it is none


def edit_fault(tracks: Iterable[Track]) -> str:
    """Say what an edit list asks for that no decoder here does; empty if there is nothing."""
    for *_, edits in tracks:
        played = list(dropwhile(lambda edit: edit[1] == PAUSE, edits))
        if any(start == PAUSE for _, start, _ in played):
            return "its edit list makes a pause inside the clip, which FFmpeg does not. Export it again"
        if any(speed != NORMAL for *_, speed in played):
            return "its edit list plays at another speed, which FFmpeg does not. Export it again"
    return ""


def is_trimmed(tracks: Sequence[Track]) -> bool:
    """Whether all tracks are as long as their edit lists say, as where an editor kept a part of a clip."""
    return bool(tracks) and all(
        not edits or (clock % STEP == 0 and abs(length - sum(edit[0] for edit in edits)) <= clock / 10)
        for clock, length, edits in tracks
    )


def tracks_in(file: BinaryIO) -> Iterator[Track]:
    """Yield the movie's clock in Hz, and the length in its ticks and the edit list of each track of sound or video."""
    clock = 0
    for _, start, end in whole_boxes(file, 0, file.seek(0, os.SEEK_END), b"moov"):
        for name, first, last in whole_boxes(file, start, end, b"mvhd", b"trak"):
            if name == b"mvhd":
                clock = _number(file, first, (12, 4), (20, 4))
            elif _kind(file, first, last) in (b"soun", b"vide"):
                heads = (
                    _number(file, head, (20, 4), (28, 8)) for _, head, _ in whole_boxes(file, first, last, b"tkhd")
                )
                yield clock, next(heads, 0), list(_edits(file, first, last))


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
