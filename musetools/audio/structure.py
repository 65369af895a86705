"""Where a media file ends by its own structure: the evidence for "truncated", which no declared duration gives.

A container is a row of elements, each with a size: boxes, chunks, pages, tags, packets. A file is truncated if its last
element reaches beyond the end of the file, or if a mark that a writer puts at the end is missing. Where a format has
neither a total size nor such a mark, a file cut between two elements looks whole: `Structure.verified` is then False.
Formats without evidence: MP3 without a Xing header, ADTS, MPEG transport and program streams, FLV, live WebM and
Matroska, fragmented MP4 without an index at its end. No structure shows a bit that flipped inside uncompressed samples.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["Structure", "structure_of"]

UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFF024, 0x80000000)  # sizes of writers that cannot seek back
SPARE = 512  # bytes after the end that are no loss: tags, padding
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
SEGMENT, EBML = 0x18538067, 0x1A45DFA3
MP3_KBPS_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG-1 layer III
MP3_KBPS_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2 and 2.5
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
W64_HEADER = b"riff\x2e\x91\xcf\x11"


@dataclass(frozen=True)
class Structure:
    """What a file's structure says of its end."""

    kind: str = "unknown"  # of container
    missing: int = 0  # bytes, at least, that its last element lacks; it is truncated
    fault: str = ""  # what else is wrong, for an error
    damage: str = ""  # what is wrong inside, where the rest can be decoded in place
    verified: bool = True  # whether a file cut between two elements would show
    sized: bool = True  # whether its header knows its length: libsndfile reads no other
    exact_s: float | None = None  # length that its header guarantees: less decoded is truncated


def structure_of(file: BinaryIO) -> Structure:
    """Read a file's structure; `Structure` with kind "unknown" for a format that is not known here."""
    file.seek(0)
    head, size = file.read(16), file.seek(0, os.SEEK_END)
    if head.startswith(b"ID3"):
        return _after_id3(file, head, size)
    for starts, walk in WALKS.items():
        if head.startswith(starts) or head[4:8] in starts:
            return walk(file, size)
    if head[:1] == b"\x47":
        return _transport(file, size)
    if head[:1] == b"\xff" and len(head) > 4:
        return _adts(file, size, 0) if head[1] & 0xF6 == 0xF0 else _mp3(file, size, 0)
    return Structure()


def _after_id3(file: BinaryIO, head: bytes, size: int) -> Structure:
    """Skip the tag in front of an mp3, an aac or a flac."""
    start = 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
    file.seek(start)
    sync = file.read(4)
    if sync == b"fLaC":
        return _flac(file, size, start)
    if len(sync) == 4 and sync[0] == 0xFF:
        return _adts(file, size, start) if sync[1] & 0xF6 == 0xF0 else _mp3(file, size, start)
    return Structure()


def _ends(kind: str, end: int, size: int, **known: object) -> Structure:
    """Compare where the last element ends with where the file does."""
    return Structure(kind, missing=max(0, end - size), **known)


def _spare(file: BinaryIO, end: int, size: int) -> str:
    """Say what lies after the declared end, if it is more than tags and padding."""
    file.seek(end)
    rest = size - end
    if rest <= SPARE or file.read(11).startswith(TAGS) or not any(file.read(2**16)):
        return ""
    return (
        f"{rest} bytes follow the end that its header declares, as where files are joined byte by byte. "
        "Join them with an audio program instead, or take them apart again"
    )


# --- chunks with a name and a size


def _riff(file: BinaryIO, size: int) -> Structure:
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
            return Structure(kind, fault=_spare(file, place, size))
        place += 8 + length + length % 2
    if not data_seen:
        return Structure(kind, fault="the wav file ends inside its header", missing=1)
    return _ends(kind, place - (place == size + 1), size)


def _avi(file: BinaryIO, size: int) -> Structure:
    place, unknown = 0, False
    while place + 8 <= size:
        file.seek(place)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF":
            return Structure("avi", fault=_spare(file, place, size))
        unknown = unknown or length in UNKNOWN
        place = size if unknown else place + 8 + length + length % 2
    return _ends("avi", place - (place == size + 1), size, verified=not unknown)


def _aiff(file: BinaryIO, size: int) -> Structure:
    file.seek(4)
    length = int.from_bytes(file.read(4), "big")
    return _ends("aiff", size if length in UNKNOWN else 8 + length, size, verified=length not in UNKNOWN)


def _caf(file: BinaryIO, size: int) -> Structure:
    place = 8
    while place + 12 <= size:
        file.seek(place + 4)
        length = int.from_bytes(file.read(8), "big", signed=True)
        if length < 0:  # samples to the end, how many was not known
            return Structure("caf", verified=False, sized=False)
        place += 12 + length
    return _ends("caf", place, size)


def _wave64(file: BinaryIO, size: int) -> Structure:
    file.seek(16)
    return _ends("w64", int.from_bytes(file.read(8), "little"), size)


def _au(file: BinaryIO, size: int) -> Structure:
    file.seek(4)
    start, length = struct.unpack(">II", file.read(8).ljust(8, b"\0"))
    return _ends("au", size if length in UNKNOWN else start + length, size, verified=length not in UNKNOWN)


# --- boxes, elements, objects


def _boxes(file: BinaryIO, size: int) -> Structure:
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
    return _ends("mp4", place, size, verified=b"moof" not in names or b"mfra" in names or b"sidx" in names)


def _matroska(file: BinaryIO, size: int) -> Structure:
    """EBML elements; live ones have segments and clusters of unknown size, whose children tile the file."""
    place, live = 0, False
    while place < size:
        file.seek(place)
        name, length, start = _element(file)
        if length is None:
            live, place = True, start  # go on with its children
        elif name == SEGMENT and start + length > size:
            return _ends("matroska", start + length, size)
        elif name == SEGMENT and not live:
            return Structure("matroska")
        elif name == 0 and not live:
            return Structure("matroska", fault=_spare(file, place, size))
        elif name == 0:
            return Structure("matroska", missing=1)
        else:
            place = start + length
    return _ends("matroska", place, size, verified=not live)


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


def _asf(file: BinaryIO, size: int) -> Structure:
    """ASF (wma, wmv): the file properties hold the file's size, unless it was broadcast."""
    file.seek(0)
    head = file.read(2**16)
    place = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if place < 0 or len(head) < place + 92:
        return Structure("asf", missing=1)
    declared, flags = int.from_bytes(head[place + 40 : place + 48], "little"), head[place + 88]
    if flags & 1 or not declared:
        return Structure("asf", verified=False)
    return _ends("asf", declared, size)


# --- pages, tags, packets, frames


def _ogg(file: BinaryIO, size: int) -> Structure:
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
        file.seek(place)
        head = file.read(27)
        if not head.startswith(b"OggS"):
            place = _find(file, b"OggS", place + 1)
            continue
        table = file.read(head[26]) if len(head) == 27 else b""
        page = head + table + file.read(sum(table))
        whole = len(head) == 27 and len(table) == head[26] and len(page) == 27 + len(table) + sum(table)
        if not whole and place + len(page) >= size:
            yield place, None
        yield place, page
        following = file.read(4)
        good = not following or following == b"OggS"
        place = place + len(page) if good else _find(file, b"OggS", place + 4)


def _find(file: BinaryIO, mark: bytes, place: int) -> int:
    """Return where a mark comes next; the end of the file where it does not."""
    file.seek(place)
    while block := file.read(2**20):
        if (found := block.find(mark)) >= 0:
            return place + found
        if len(block) < 2**20:
            break
        place += len(block) - len(mark) + 1
        file.seek(place)
    return file.seek(0, os.SEEK_END)


def _ogg_crc(page: bytes) -> bytes:
    """Return a page's checksum: zlib's polynomial, from the other end of each byte, started at 0."""
    bits = (page[:22] + bytes(4) + page[26:]).translate(REVERSED)
    crc = zlib.crc32(bits, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little")


def _flv(file: BinaryIO, size: int) -> Structure:
    place = 13
    while place + 11 <= size:
        file.seek(place + 1)
        place += 11 + int.from_bytes(file.read(3), "big") + 4
    if place < size:
        place = size + 1  # not even a tag's header
    return _ends("flv", place, size, verified=False)


def _transport(file: BinaryIO, size: int) -> Structure:
    """MPEG transport stream: packets of 188 bytes."""
    file.seek(188)
    if file.read(1) != b"\x47":
        return Structure()
    return Structure("mpegts", missing=-size % 188, verified=False)


def _program(file: BinaryIO, size: int) -> Structure:
    return Structure("mpeg", verified=False)


def _adts(file: BinaryIO, size: int, place: int) -> Structure:
    """Raw AAC: frames that say how long they are."""
    while place + 7 <= size:
        file.seek(place)
        head = file.read(7)
        length = int.from_bytes(head[3:6], "big") >> 5 & 0x1FFF
        if head[0] != 0xFF or length < 7:
            return Structure("adts", verified=False)
        place += length
    return _ends("adts", place if place >= size else size + 1, size, verified=False)


def _mp3(file: BinaryIO, size: int, place: int) -> Structure:
    """MP3: frames whose headers say how long they are; a Xing header, where there is one, how many there are."""
    start, count, declared = place, 0, None
    while place + 4 <= size:
        file.seek(place)
        head = file.read(4)
        if not (length := _mp3_frame(head)):
            break
        if place == start:
            first = head + file.read(min(length, 200))
            declared = _xing(first)
        place, count = place + length, count + 1
    if not count:
        return Structure()
    known = {"verified": declared is not None, "sized": declared is not None}
    if declared and count - 1 < declared:
        return Structure("mp3", missing=1, **known)
    return _ends("mp3", place, size, **known)


def _mp3_frame(head: bytes) -> int:
    """Return the length in bytes of the layer III frame that a header begins; 0 if it is none."""
    word = int.from_bytes(head, "big")
    version, layer, rate, speed = word >> 19 & 3, word >> 17 & 3, word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer != 1 or rate in (0, 15) or speed == 3:
        return 0
    kbps = (MP3_KBPS_1 if version == 3 else MP3_KBPS_2)[rate - 1]
    hertz = (44_100, 48_000, 32_000)[speed] >> {3: 0, 2: 1, 0: 2}[version]
    return (144 if version == 3 else 72) * 1000 * kbps // hertz + (word >> 9 & 1)


def _xing(frame: bytes) -> int | None:
    """Return how many frames a Xing header counts; None where there is none."""
    for mark in (b"Xing", b"Info"):
        if (at := frame.find(mark)) >= 0 and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big")
    return None


def _flac(file: BinaryIO, size: int, place: int = 0) -> Structure:
    """FLAC: its first block holds rate and number of samples, 0 where that was not known."""
    file.seek(place + 18)
    packed = int.from_bytes(file.read(8), "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    if (second := _find(file, b"fLaC\0\0\0\x22", place + 42)) < size:
        return Structure(
            "flac", fault=f"a second file begins at byte {second}: files were joined. Take them apart again"
        )
    return Structure("flac", sized=samples > 0, exact_s=samples / rate if samples and rate else None)


WALKS: dict[tuple[bytes, ...], Callable[[BinaryIO, int], Structure]] = {
    (b"RIFF", b"RF64", b"RIFX"): _riff,
    (b"FORM",): _aiff,
    (b"caff",): _caf,
    (W64_HEADER,): _wave64,
    (b".snd",): _au,
    (b"ftyp", b"moov", b"mdat", b"styp", b"wide", b"free", b"skip"): _boxes,
    (EBML.to_bytes(4, "big"),): _matroska,
    (ASF_HEADER,): _asf,
    (b"OggS",): _ogg,
    (b"FLV\x01",): _flv,
    (b"\0\0\1\xba",): _program,
    (b"fLaC",): _flac,
}
