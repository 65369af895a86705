"""Formats made of chunks, boxes and elements with a name and a size: RIFF, AIFF, CAF, MP4, Matroska, ASF."""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from musetools.audio.structure.found import Structure, ends, spare

__all__ = ["aiff", "asf", "au", "boxes", "caf", "lowest_offset", "matroska", "riff", "wave64"]

UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFF024, 0x80000000)  # sizes of writers that cannot seek back
SEGMENT = 0x18538067
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def riff(file: BinaryIO, size: int) -> Structure:
    """RIFF, RF64, RIFX (wav, avi): chunks in chunks; the data chunk's size is what a wav's decoders trust."""
    file.seek(0)
    head = file.read(12)
    order = "big" if head[:4] == b"RIFX" else "little"
    if head[8:12] != b"WAVE":
        return _avi(file, size)
    kind, large, place, data_seen = "rifx" if order == "big" else "wav", None, 12, False
    while place + 8 <= size:
        file.seek(place)
        name, length = file.read(4), int.from_bytes(file.read(4), order)
        if name == b"ds64":
            large = int.from_bytes(file.read(16)[8:], order)
        if name == b"data":
            data_seen = True
            length = large if large and length == 0xFFFFFFFF else length
            present = size - place - 8
            if length in UNKNOWN and length != present and ((length == 0 and present > 0) or length > present):
                return Structure(kind, sized=False)
        elif data_seen and (name in (b"RIFF", b"RIFX") or not name.strip(b"\0 ").isalnum()):
            return Structure(kind, fault=spare(file, place, size))
        place += 8 + length + length % 2
    if not data_seen:
        return Structure(kind, fault="the wav file ends inside its header", missing=1)
    return ends(kind, place - (place == size + 1), size)


def _avi(file: BinaryIO, size: int) -> Structure:
    place, unknown = 0, False
    while place + 8 <= size:
        file.seek(place)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF":
            return Structure("avi", fault=spare(file, place, size))
        unknown = unknown or length in UNKNOWN
        place = size if unknown else place + 8 + length + length % 2
    return ends("avi", place - (place == size + 1), size, verified=not unknown)


def aiff(file: BinaryIO, size: int) -> Structure:
    """AIFF: the size of the whole."""
    file.seek(4)
    length = int.from_bytes(file.read(4), "big")
    return ends("aiff", size if length in UNKNOWN else 8 + length, size, verified=length not in UNKNOWN)


def caf(file: BinaryIO, size: int) -> Structure:
    """CAF: chunks; the samples may go on to the end."""
    place = 8
    while place + 12 <= size:
        file.seek(place + 4)
        length = int.from_bytes(file.read(8), "big", signed=True)
        if length < 0:  # samples to the end, how many was not known
            return Structure("caf", verified=False, sized=False)
        place += 12 + length
    return ends("caf", place, size)


def wave64(file: BinaryIO, size: int) -> Structure:
    """Wave64: the size of the whole."""
    file.seek(16)
    return ends("w64", int.from_bytes(file.read(8), "little"), size)


def au(file: BinaryIO, size: int) -> Structure:
    """Sun au: where the samples start, and how many bytes they are."""
    file.seek(4)
    start, length = struct.unpack(">II", file.read(8).ljust(8, b"\0"))
    return ends("au", size if length in UNKNOWN else start + length, size, verified=length not in UNKNOWN)


def boxes(file: BinaryIO, size: int) -> Structure:
    """MP4, MOV, 3GP: boxes; one that is fragmented may go on for ever."""
    place, names = 0, []
    while place + 8 <= size:
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        if length and length < 8:
            break
        names.append(name)
        place = size if length == 0 else place + length
    if 0 < size - place < 8:
        place = size + 1  # not even a box's header
    if b"moov" not in names and b"moof" not in names:
        return Structure("mp4", missing=max(1, place - size), fault="its index (moov) is missing")
    return ends("mp4", place, size, verified=b"moof" not in names or b"mfra" in names or b"sidx" in names)


def lowest_offset(file: BinaryIO, track: int) -> int:
    """Return the lowest composition offset in the first fragment of an mp4's track, in ticks; 0 if none is below."""
    for name, start, end in _boxes(file, 0, file.seek(0, os.SEEK_END)):
        if name == b"moof":
            for _, first, last in (box for box in _boxes(file, start, end) if box[0] == b"traf"):
                if offsets := _offsets(file, track, first, last):
                    return min(0, *offsets)
    return 0


def _boxes(file: BinaryIO, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of what each box between two places holds."""
    while place + 8 <= end:
        file.seek(place)
        length, name = struct.unpack(">I4s", file.read(8))
        head = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        after = place + length if length else end
        if not place + head <= after <= end:
            return
        yield name, place + head, after
        place = after


def _offsets(file: BinaryIO, track: int, place: int, end: int) -> list[int]:
    """Return the composition offsets of a fragment (traf); none if it is of another track."""
    found = []
    for name, start, after in _boxes(file, place, end):
        file.seek(start)
        body = file.read(after - start)
        if name == b"tfhd" and int.from_bytes(body[4:8], "big") != track:
            return []
        if name == b"trun" and body[2] & 8:  # flags: what comes before the samples, and fields of each
            before, fields = 8 + 4 * (body[3] & 1) + 4 * (body[3] >> 2 & 1), (body[2] & 15).bit_count()
            values = np.frombuffer(body[before : before + (len(body) - before) // 4 * 4], ">i4")
            found += values[fields - 1 :: fields].tolist()
    return found


def matroska(file: BinaryIO, size: int) -> Structure:
    """EBML elements; live ones have segments and clusters of unknown size, whose children tile the file."""
    place, live = 0, False
    while place < size:
        file.seek(place)
        name, length, start = _element(file)
        if length is None:
            live, place = True, start  # go on with its children
        elif name == SEGMENT and start + length > size:
            return ends("matroska", start + length, size)
        elif name == SEGMENT and not live:
            return Structure("matroska")
        elif name == 0 and not live:
            return Structure("matroska", fault=spare(file, place, size))
        elif name == 0:
            return Structure("matroska", missing=1)
        else:
            place = start + length
    return ends("matroska", place, size, verified=not live)


def _element(file: BinaryIO) -> tuple[int, int | None, int]:
    """Read an EBML element's name, length (None: unknown) and start; a name of 0 is none."""
    head = file.read(12)
    if len(head) < 2 or head[0] < 16:
        return 0, 0, 0
    wide = 9 - head[0].bit_length()
    if len(head) <= wide or not head[wide]:
        return 0, 0, 0
    long = 9 - head[wide].bit_length()
    mask = (1 << 7 * long) - 1
    length = int.from_bytes(head[wide : wide + long], "big") & mask
    start = file.tell() - len(head) + wide + long
    return int.from_bytes(head[:wide], "big"), None if length == mask else length, start


def asf(file: BinaryIO, size: int) -> Structure:
    """ASF (wma, wmv): the file properties hold the file's size, unless it was broadcast."""
    file.seek(0)
    head = file.read(2**16)
    place = head.find(ASF_PROPERTIES)
    if place < 0 or len(head) < place + 92:
        return Structure("asf", missing=1)
    declared, flags = int.from_bytes(head[place + 40 : place + 48], "little"), head[place + 88]
    if flags & 1 or not declared:
        return Structure("asf", verified=False)
    return ends("asf", declared, size)
