"""Formats made of chunks, boxes and elements with a name and a size: RIFF, AIFF, CAF, MP4, Matroska, ASF."""

import re
import struct
import zlib
from typing import BinaryIO

from musetools.audio.structure.edits import edit_faults, is_trimmed, tracks_in
from musetools.audio.structure.found import Structure, broken_off, closed, is_name, read_at
from musetools.audio.structure.fragments import boxes_in, indexed_end

__all__ = ["aiff", "asf", "au", "boxes", "caf", "matroska", "riff", "wave64"]

# sizes of writers that cannot seek back: none, or nearly what 31 or 32 bits hold, of whole samples or with a header
NO_SIZES = range(1), range(0x7FFFE000, 0x80000001), range(0xFFFFE000, 0x100000000)
EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
TRACKS = 0x1654AE6B
BLOCK = 0xA3
LARGEST = 2**27  # bytes of an element that is read for its checksum
PARTS = {0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}  # of a segment
PARTS |= {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xEC, 0xBF, 0x5854}  # of a cluster, and padding
AGAIN = ": it is damaged. Copy or export it again"
EXTENSIBLE = 0xFFFE
PCM = (1, 3, EXTENSIBLE)  # tags of a wav's header: integers, floats, either
RIFFS = (b"RIFF", b"RF64", b"BW64", b"RIFX")
CAF_CHUNKS = set(b"pakt kuki info free chan strg mark uuid umid ovvw peak midi".split())
BOXES = set(b"mdat moof moov mfra sidx ssix styp free skip wide uuid udta meta emsg prft".split())
PACKET = b"\x82\0\0"  # how a packet of ASF begins
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def riff(file: BinaryIO, size: int) -> Structure:
    """RIFF, RF64, BW64, RIFX (wav, avi): chunks in chunks; a wav's decoders trust the size of its data chunk."""
    head = read_at(file, 0, 12)
    if head[8:12] != b"WAVE":
        return _avi(file, size)
    order = "big" if head[:4] == b"RIFX" else "little"
    declared, large, place, data_seen, odd = int.from_bytes(head[4:8], order), 0, 12, False, False
    known: dict[str, object] = {}
    while place + 8 <= size:
        file.seek(place)
        name, length = file.read(4), int.from_bytes(file.read(4), order)
        if name == b"fmt ":
            known |= _format(file.read(20), order)
        if name == b"ds64":
            declared, large = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))
        if name == b"data":
            if data_seen:
                fault = f"a second data chunk begins at byte {place}: files were joined. Take them apart again"
                return Structure("wav", fault=fault, **known)
            data_seen = True
            length = large if large and length == 0xFFFFFFFF else length
            present = size - place - 8
            if _is_none(length) and length != present and ((length == 0 and present > 0) or length > present):
                return Structure("wav", sized=False, verified=False, **known)
        beyond = place + 8 + length > size and not _is_none(declared) and place >= 8 + declared
        if data_seen and (name in RIFFS or beyond or not is_name(name)):
            return closed(file, "wav", place, size, **known)
        odd = length % 2 == 1 and not is_name(read_at(file, place + 8 + length, 4))  # some writers pad nothing
        place += 8 + length + odd
    if not data_seen:
        return Structure("wav", fault="the wav file ends inside its header", missing=1)
    return closed(file, "wav", place - (odd and place == size + 1), size, **known)


def _is_none(length: int) -> bool:
    """Whether a declared size is none."""
    return any(length in sizes for sizes in NO_SIZES)


def _format(head: bytes, order: str) -> dict[str, object]:
    """Return what is wrong with a wav's header of PCM: rates that do not fit, samples of fewer bytes."""
    places = ((0, 2), (2, 4), (4, 8), (8, 12), (12, 14), (14, 16), (18, 20))
    tag, channels, rate, of_bytes, block, bits, valid = (int.from_bytes(head[i:j], order) for i, j in places)
    bits = valid if tag == EXTENSIBLE and valid else bits
    narrow = tag in (1, EXTENSIBLE) and 0 < channels * ((bits + 7) // 8) < block
    known: dict[str, object] = {"by_sndfile": order == "big" or narrow}
    if tag in PCM and of_bytes not in (0, rate * block):
        both = f"{rate} samples of {block} bytes and {of_bytes} bytes a second"
        known["damage"] = f"its header declares {both}, which do not fit"
    return known


def _avi(file: BinaryIO, size: int) -> Structure:
    place, odd = 0, False
    while place + 12 <= size:
        name, length, form = struct.unpack("<4sI4s", read_at(file, place, 12))
        if name != b"RIFF" or (place and form != b"AVIX"):  # what goes on beyond 1 GiB
            break
        if _is_none(length):
            return Structure("avi", verified=False, sized=False)
        odd = length % 2 == 1
        start, place = place + 12, place + 8 + length + odd
        if place <= size + odd and (fault := _not_tiled(file, start, min(place, size))):
            return Structure("avi", fault=fault + AGAIN)
    return closed(file, "avi", place - (odd and place == size + 1), size)


def _not_tiled(file: BinaryIO, place: int, end: int) -> str:
    """Say where the chunks of an avi, and of its lists of frames and sound, are not one after the other."""
    chunks, movi = {}, 0
    while place + 8 <= end:
        name, length, form = struct.unpack("<4sI4s", read_at(file, place, 12).ljust(12, b"\0"))
        if not is_name(name):
            return f"no chunk begins at byte {place}, where one should"
        if name == b"idx1" and place + 8 + length <= end:
            entries = list(struct.iter_unpack("<4sIII", read_at(file, place + 8, length - length % 16)))
            first = min((at for _, _, at, _ in entries), default=0)
            base = movi if first < movi else 0
            if any(chunks.get(base + at) != (kind, size) for kind, _, at, size in entries if kind != b"rec "):
                return f"its index at byte {place} does not match its chunks"
        elif name == b"LIST" and form == b"movi":
            movi = place + 8
        elif movi:
            chunks[place] = name, length
        place += 12 if name == b"LIST" and form in (b"movi", b"rec ") else 8 + length + length % 2
    return "" if place in (end, end + 1) else f"its chunks do not end at byte {end}"


def aiff(file: BinaryIO, size: int) -> Structure:
    """AIFF: the size of the whole, and how many samples there are behind the offset of their chunk."""
    head = read_at(file, 0, 12)
    length = int.from_bytes(head[4:8], "big")
    place, least, there = 12, 0, None
    while place + 16 <= size and head[8:] == b"AIFF" and not _is_none(length):
        name, chunk, body = struct.unpack(">4sI8s", read_at(file, place, 16))
        if name == b"COMM":
            channels, frames, bits = struct.unpack(">HIH", body)
            least = channels * frames * ((bits + 7) // 8)
        elif name == b"SSND":
            there = chunk - 8 - int.from_bytes(body[:4], "big")
        place += 8 + chunk + chunk % 2
    if there is not None and there < least:
        return Structure("aiff", missing=least - there)
    return closed(file, "aiff", size if _is_none(length) else 8 + length, size, verified=not _is_none(length))


def caf(file: BinaryIO, size: int) -> Structure:
    """CAF: chunks; the samples may go on to the end."""
    place, data_seen = 8, False
    while place + 12 <= size:
        name, length = struct.unpack(">4sq", read_at(file, place, 12))
        beyond = length < 0 or (place + 12 + length > size and name not in CAF_CHUNKS)
        if data_seen and (name == b"caff" or beyond or not is_name(name)):
            break
        if length < 0:  # samples to the end, how many was not known
            return Structure("caf", verified=False, sized=False)
        data_seen = data_seen or name == b"data"
        place += 12 + length
    return closed(file, "caf", place, size)


def wave64(file: BinaryIO, size: int) -> Structure:
    """Wave64: the size of the whole."""
    length = int.from_bytes(read_at(file, 16, 8), "little", signed=True)
    return closed(file, "w64", length if length > 0 else size, size, verified=length > 0)


def au(file: BinaryIO, size: int) -> Structure:
    """Sun au: where the samples start, and how many bytes they are."""
    start, length = struct.unpack(">II", read_at(file, 4, 8).ljust(8, b"\0"))
    return closed(file, "au", size if _is_none(length) else start + length, size, verified=not _is_none(length))


def boxes(file: BinaryIO, size: int) -> Structure:
    """MP4, MOV, 3GP: boxes; one that is fragmented may go on for ever, unless an index in front says how far."""
    place, names, indexed = 0, [], 0
    for name, start, body, after in boxes_in(file, 0, size):
        if name == b"moov" and name in names:
            fault = f"a second index (moov) begins at byte {start}: files were joined. Take them apart again"
            return Structure("mp4", fault=fault)
        if after > size and b"moov" in names and name not in BOXES:
            break  # these bytes are no box
        if name == b"sidx" and after <= size:
            indexed = max(indexed, indexed_end(read_at(file, body, after - body), after))
        names.append(name)
        place = after
    if b"moov" not in names and b"moof" in names:
        why = "its index (moov) is in another file, as in pieces of a stream"
        return Structure("mp4", fault=f"{why}. Put that in front: cat init.mp4 PIECE > CLIP")
    if b"moov" not in names:
        return Structure("mp4", missing=max(1, place - size), fault="its index (moov) is missing")
    if b"moof" in names and b"mfra" not in names and size - place >= 8:
        return broken_off(file, "mp4", place, size, "box", verified=False)
    rest = read_at(file, place, 8) if place < size else b""
    if any(rest) and len(rest) < 8 and rest[0] < 16:
        place = size + 1  # it ends inside a box's header
    alone = names.count(b"sidx") == 1 < names.count(b"moof") and b"styp" not in names  # not one for each piece
    verified = b"moof" not in names or b"mfra" in names or alone
    missing = max(0, place - size, indexed - size)
    tracks = list(tracks_in(file))
    known = {"verified": verified, "sized": b"moof" not in names, "trimmed": is_trimmed(tracks)}
    return Structure("mp4", missing=missing, after=max(0, size - place), edits=edit_faults(tracks), **known)


def matroska(file: BinaryIO, size: int) -> Structure:
    """EBML elements, those of the segment too; live ones have segments and clusters of unknown size."""
    place, end, live, damage, tracks = 0, None, False, "", set()
    while place < (size if end is None else end):
        name, length, start, _ = _element(file, place)
        if name == EBML and place:
            return Structure("matroska", fault=f"a second file begins at byte {place}: files were joined")
        if length is None:
            live, place = True, start  # go on with its children
        elif name == SEGMENT:
            place, end = start, start + length
            if end > size:
                break
        elif name == 0 and end is None:
            return Structure("matroska", missing=1)
        else:
            intact = _intact(file, start, start + length)
            fine = end is None or (intact and name in PARTS)  # then its elements need not be looked at
            if not fine and (fault := _not_part(file, name, place, start, start + length, end, tracks)):
                return Structure("matroska", fault=fault + AGAIN)
            place = start + length
            if name == TRACKS and place <= size:
                tracks |= set(re.findall(rb"\xd7[\x81-\x88]\0*(.)", read_at(file, start, length), re.DOTALL))
            if name == CLUSTER and intact is False:
                damage = damage or f"the checksum at byte {start} does not match"
    return closed(file, "matroska", end or place, size, damage=damage, verified=end is not None or not live)


def _not_part(file: BinaryIO, name: int, place: int, start: int, stop: int, end: int, tracks: set[bytes]) -> str:
    """Say what is wrong with an element of a segment, by its own elements or, unless these have times, its checksum."""
    if name not in PARTS or stop > end:
        return f"what begins at byte {place} is no part of Matroska"
    if name != CLUSTER:
        return f"the checksum at byte {start} does not match" if _intact(file, start, stop) is False else ""
    while start < stop:
        part, length, first, body = _element(file, start)
        if part not in PARTS or length is None or first + length > stop:
            return f"what begins at byte {start} is no part of Matroska"
        head = body[:4].ljust(4, b"\0")
        odd = tracks and head[0] & 0x80 and (bytes([head[0] & 0x7F]) not in tracks or head[3] & 0x70)
        if part == BLOCK and (odd or not head[0]):  # FFmpeg skips the rest of the cluster
            return f"the block at byte {start} is of no track, or of no known kind"
        start = first + length
    return ""


def _intact(file: BinaryIO, start: int, stop: int) -> bool | None:
    """Whether an element matches its checksum; None where it has none."""
    head = read_at(file, start, 6)
    if not head.startswith(b"\xbf\x84") or stop - start > LARGEST:
        return None
    return zlib.crc32(file.read(stop - start - 6)) == int.from_bytes(head[2:], "little")


def _element(file: BinaryIO, place: int) -> tuple[int, int | None, int, bytes]:
    """Read an EBML element's name, length (None: unknown), start and first bytes; a name of 0 is none."""
    head = read_at(file, place, 16)
    if len(head) < 2 or head[0] < 16:
        return 0, 0, 0, b""
    wide = 9 - head[0].bit_length()
    if len(head) <= wide or not head[wide]:
        return 0, 0, 0, b""
    first = wide + 9 - head[wide].bit_length()
    mask = (1 << 7 * (first - wide)) - 1
    length = int.from_bytes(head[wide:first], "big") & mask
    return int.from_bytes(head[:wide], "big"), None if length == mask else length, place + first, head[first:]


def asf(file: BinaryIO, size: int) -> Structure:
    """ASF (wma, wmv): the properties hold the file's size, unless it was broadcast; packets have one length."""
    head = read_at(file, 0, 2**16)
    place = head.find(ASF_PROPERTIES)
    if place < 0 or len(head) < place + 100:
        return Structure("asf", missing=1)
    declared, flags = int.from_bytes(head[place + 40 : place + 48], "little"), head[place + 88]
    n_packets, length = int.from_bytes(head[place + 56 : place + 64], "little"), head[place + 92 : place + 96]
    if flags & 1 or not declared:
        return Structure("asf", verified=False)
    first, step = int.from_bytes(head[16:24], "little") + 50, int.from_bytes(length, "little")
    if step and max(declared, first) <= size and read_at(file, first, 3) == PACKET:
        places = range(first, min(first + n_packets * step, size), step)
        if bad := next((place for place in places if read_at(file, place, 3) != PACKET), None):
            return Structure("asf", fault=f"the packet at byte {bad} has no header" + AGAIN)
    return closed(file, "asf", declared, size)
