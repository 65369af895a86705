"""Formats made of pages, tags, packets and frames, one after the other: Ogg, FLV, MPEG streams, ADTS, MP3, FLAC."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from musetools.audio.structure.found import SPARE, UNKNOWN, Structure, broken_off, ends, find, read_at

__all__ = ["adts", "flac", "flv", "id3_length", "mp3", "ogg", "program", "transport"]

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
SYNC, PACKET = b"\x47", 188  # of a transport stream
LYRICS = 2**16  # bytes among which a tag of lyrics ends
FLV_TAGS = (8, 9, 18)  # sound, video, text
LAME = (b"LAME", b"Lavf", b"Lavc", b"L3.9", b"GOGO")  # who writes a tag with the delay of the encoder
KBPS_1 = {  # MPEG-1, by the code of the layer in a frame's header: III, II, I
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: tuple(range(32, 449, 32)),
}
KBPS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2 and 2.5, layers II and III
KBPS_2_I = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)  # layer I


def ogg(file: BinaryIO, size: int) -> Structure:
    """Ogg: each page has a checksum and a number, each stream's last page says that it is the last."""
    serials: dict[int, tuple[int, bool]] = {}  # of each stream: number of its last page, whether it ended
    granules, ended, damage = 0, False, ""
    for place, page in _pages(file, size):
        if page is None:
            return Structure("ogg", missing=1)
        flags, serial, number = page[5], *struct.unpack("<II", page[14:22])
        if _ogg_crc(page) != page[22:26]:
            damage = damage or f"the page at byte {place} does not match its checksum"
            continue
        if flags & 2 and ended and all(done for _, done in serials.values()):
            second = "" if not granules else f" after sample {granules} of the first"
            fault = f"a second stream begins at byte {place}{second}: files were joined. Take them apart again"
            return Structure("ogg", fault=fault, damage=damage)
        if serial in serials and number != serials[serial][0] + 1:
            damage = damage or f"pages are missing before byte {place}"
        serials[serial] = number, bool(flags & 4)
        ended = ended or bool(flags & 4)
        granules = max(granules, struct.unpack("<q", page[6:14])[0])
    return Structure("ogg", missing=int(not all(done for _, done in serials.values())), damage=damage)


def _pages(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield the place and the bytes of each page; None for one that is not whole."""
    place = 0
    while place < size:
        head = read_at(file, place, 27)
        if not head.startswith(b"OggS"):
            place = find(file, b"OggS", place + 1)
            continue
        table = file.read(head[26]) if len(head) == 27 else b""
        page = head + table + file.read(sum(table))
        whole = len(head) == 27 and len(table) == head[26] and len(page) == 27 + len(table) + sum(table)
        if not whole and place + len(page) >= size:
            yield place, None
        yield place, page
        following = file.read(4)
        good = not following or following == b"OggS"
        place = place + len(page) if good else find(file, b"OggS", place + 4)


def _ogg_crc(page: bytes) -> bytes:
    """Return a page's checksum: zlib's polynomial, from the other end of each byte, started at 0."""
    bits = (page[:22] + bytes(4) + page[26:]).translate(REVERSED)
    crc = zlib.crc32(bits, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little")


def flv(file: BinaryIO, size: int) -> Structure:
    """FLV: tags, with nothing at the end."""
    place = 13
    while place < size:
        head = read_at(file, place, 11)
        if head.startswith(b"FLV\1"):
            fault = f"a second file begins at byte {place}: files were joined. Take them apart again"
            return Structure("flv", fault=fault)
        if head[0] & 0xDF not in FLV_TAGS:
            return broken_off(file, "flv", place, size, "tag", verified=False)
        place += 11 + int.from_bytes(head[1:4], "big") + 4 if len(head) == 11 else 11
    return ends("flv", place, size, verified=False)


def transport(file: BinaryIO, size: int) -> Structure:
    """MPEG transport stream: packets of 188 bytes."""
    if read_at(file, 188, 1) != SYNC:
        return UNKNOWN
    n, rest = divmod(size, PACKET)
    if rest and read_at(file, size - rest, 1) == SYNC:
        return Structure("mpegts", missing=PACKET - rest, verified=False)
    while n:
        first = max(0, n - 4096)
        if (last := read_at(file, PACKET * first, PACKET * (n - first))[::PACKET].rfind(SYNC)) >= 0:
            n = first + last + 1
            break
        n = first
    return broken_off(file, "mpegts", PACKET * n, size, "packet", verified=False)


def program(file: BinaryIO, size: int) -> Structure:
    """MPEG program stream: nothing says where it ends."""
    return Structure("mpeg", verified=False)


def adts(file: BinaryIO, size: int, place: int) -> Structure:
    """Raw AAC: frames that say how long they are."""
    while place < size:
        head = read_at(file, place, 7)
        length = int.from_bytes(head[3:6], "big") >> 5 & 0x1FFF
        if head[0] != 0xFF or (len(head) == 7 and length < 7):
            break
        place += length or 7
    return broken_off(file, "adts", place, size, "frame", verified=False)


def id3_length(head: bytes) -> int:
    """Return the length of the tag that a header of ten bytes begins."""
    return 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(head[6:10]))


def mp3(file: BinaryIO, size: int, place: int) -> Structure:
    """MP3, MP2, MP1: frames whose headers say how long they are; a Xing header, if there is one, how many there are."""
    start, count, declared, tail, known = place, 0, None, None, {"verified": False, "sized": False}
    while place + 4 <= size:
        head = read_at(file, place, 32)
        if length := _tag_length(file, head, place):  # of this file, or of one that was joined to it
            tail = place if tail is None else tail
            place += length
            continue
        if not (length := _mpeg_frame(head[:4])):
            break
        if place == start:
            first = head + file.read(min(length, 250))
            declared = _xing(first)
            known = {"verified": declared is not None, "sized": declared is not None}
            known |= _lame(first) if known["verified"] else {}
        place, count, tail = place + length, count + 1, None
    if not count:
        return UNKNOWN
    if declared and count - 1 >= declared:
        return _counted(place if tail is None else tail, count, declared, size, known)
    if not declared or size - place > SPARE:
        return replace(broken_off(file, "mp3", place, size, "frame", **known), tail=tail)
    return Structure("mp3", missing=int("fault" not in known), **known)


def _counted(tail: int, count: int, declared: int, size: int, known: dict[str, object]) -> Structure:
    """Judge an mp3 that has as many frames as its Xing header counts; what lies behind them is no sound."""
    if "fault" not in known and count - 2 > declared:  # one that counts itself is no fault
        fault = f"it has {count - 1} frames, its Xing header counts {declared}: files were joined. Export it again"
        return Structure("mp3", **known, fault=fault)
    return ends("mp3", tail, size, tail=tail if tail < size else None, **known)


def _tag_length(file: BinaryIO, head: bytes, place: int) -> int:
    """Return the length of the tag that begins at a place; 0 if there is none."""
    if head.startswith(b"ID3"):
        return id3_length(head[:10])
    if head.startswith(b"TAG"):
        return 128
    if head.startswith(b"APETAGEX"):
        is_header = head[23] & 0x20 if len(head) > 23 else 0
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    if not head.startswith(b"LYRICSBEGIN"):
        return 0
    stops = [at + 9 for mark in (b"LYRICSEND", b"LYRICS200") if (at := read_at(file, place, LYRICS).find(mark)) >= 0]
    return min(stops, default=0)


def _mpeg_frame(head: bytes) -> int:
    """Return the length in bytes of the frame that a header begins; 0 if it is none."""
    word = int.from_bytes(head, "big")
    version, layer, rate, speed = word >> 19 & 3, word >> 17 & 3, word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 0 or rate in (0, 15) or speed == 3:
        return 0
    kbps = (KBPS_1[layer] if version == 3 else KBPS_2_I if layer == 3 else KBPS_2)[rate - 1]
    hertz, padding = (44_100, 48_000, 32_000)[speed] >> {3: 0, 2: 1, 0: 2}[version], word >> 9 & 1
    if layer == 3:
        return 4 * (12_000 * kbps // hertz + padding)
    return (72 if layer == 1 and version != 3 else 144) * 1000 * kbps // hertz + padding


def _xing(frame: bytes) -> int | None:
    """Return how many frames a Xing header counts; None where there is none."""
    for mark in (b"Xing", b"Info"):
        if (at := frame.find(mark)) >= 0 and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big")
    return None


def _lame(frame: bytes) -> dict[str, object]:
    """Check the tag behind a Xing header, which says what to cut at both ends; without it, nobody knows."""
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if frame[at + 7] & 15 != 15 or frame[at + 120 : at + 124] not in LAME:
        return {"verified": False}
    if at != 36:  # in mono and at low rates writers differ on what the checksum covers
        return {}
    crc = 0
    for byte in frame[:190]:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    if int.from_bytes(frame[190:192], "big") in (0, crc):
        return {}
    return {"fault": "the tag of its first frame does not match its checksum: it is damaged. Copy or export it again"}


def flac(file: BinaryIO, size: int, place: int = 0) -> Structure:
    """FLAC: its first block holds rate and number of samples, 0 where that was not known."""
    if size < place + 42:
        return Structure("flac", missing=1)
    packed = int.from_bytes(read_at(file, place + 18, 8), "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    if (second := find(file, b"fLaC\0\0\0\x22", place + 42)) < size:
        return Structure(
            "flac", fault=f"a second file begins at byte {second}: files were joined. Take them apart again"
        )
    known, first = samples > 0, place + 4
    while first < size and (block := read_at(file, first, 4)) and not block[0] & 0x80:  # up to the last one
        first += 4 + int.from_bytes(block[1:], "big")
    frame = read_at(file, first + 4 + int.from_bytes(read_at(file, first + 1, 3), "big"), 5)
    if known and frame.startswith(b"\xff") and len(frame) == 5 and frame[4]:  # libsndfile makes up what is missing
        fault = "its first frame is not number 0: it was cut, and its header is of the whole. Convert it again"
        return Structure("flac", fault=fault)
    return Structure("flac", verified=known, sized=known, exact_s=samples / rate if samples and rate else None)
