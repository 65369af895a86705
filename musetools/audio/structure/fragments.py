"""Fragmented MP4: where its pieces end by an index in front of them, and the composition offsets of its frames.

FFmpeg moves all frames of a track by the lowest offset that is below 0.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from musetools.audio.structure.found import is_name, read_at

__all__ = ["boxes_in", "indexed_end", "lowest_offset", "whole_boxes"]


def boxes_in(file: BinaryIO, place: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield the name of each box between two places, where it starts, where what it holds starts, and its end.

    The last one may end beyond.
    """
    while place + 8 <= end:
        length, name = struct.unpack(">I4s", read_at(file, place, 8))
        head = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        after = place + length if length else end
        if not is_name(name) or after < place + head:
            return
        yield name, place, place + head, after
        place = after


def lowest_offset(file: BinaryIO, track: int) -> int:
    """Return the lowest composition offset in the first fragment of an mp4's track, in ticks; 0 if none is below."""
    for _, start, end in whole_boxes(file, 0, file.seek(0, os.SEEK_END), b"moof"):
        for _, first, last in whole_boxes(file, start, end, b"traf"):
            if offsets := _offsets(file, track, first, last):
                return min(0, *offsets)
    return 0


def whole_boxes(file: BinaryIO, place: int, end: int, *names: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of what each box of these names holds, of those that are whole."""
    for name, _, start, after in boxes_in(file, place, end):
        if name in names and after <= end:
            yield name, start, after


def indexed_end(index: bytes, after: int) -> int:
    """Return where the pieces end that an index (sidx) lists, the body of a box that ends at byte `after`."""
    wide = 8 if index[:1] == b"\1" else 4  # bytes of time and of offset
    first = 12 + 2 * wide
    offset = int.from_bytes(index[first - wide : first], "big")
    sizes = np.frombuffer(index[first + 4 : first + 4 + (len(index) - first - 4) // 12 * 12], ">u4")[::3]
    return after + offset + int((sizes & 0x7FFFFFFF).sum(dtype=np.int64))


def _offsets(file: BinaryIO, track: int, place: int, end: int) -> list[int]:
    """Return the composition offsets of a fragment (traf); none if it is of another track."""
    found = []
    for name, start, after in whole_boxes(file, place, end, b"tfhd", b"trun"):
        body = read_at(file, start, after - start)
        if name == b"tfhd" and int.from_bytes(body[4:8], "big") != track:
            return []
        if name == b"trun" and body[2] & 8:  # flags: what comes before the samples, and fields of each
            before, fields = 8 + 4 * (body[3] & 1) + 4 * (body[3] >> 2 & 1), (body[2] & 15).bit_count()
            values = np.frombuffer(body[before : before + (len(body) - before) // 4 * 4], ">i4")
            found += values[fields - 1 :: fields].tolist()
    return found
