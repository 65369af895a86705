"""Where a media file ends by its own structure: the evidence for "truncated", which no declared duration gives.

A container is a row of elements, each with a size: boxes, chunks, pages, tags, packets. A file is truncated if its last
element reaches beyond the end of the file, or if a mark that a writer puts at the end is missing. Where a format has
neither a total size nor such a mark, a file cut between two elements looks whole: `Structure.verified` is then False.
Formats without evidence of their end: MP3 without a Xing header or the encoder's tag behind it, ADTS, MPEG transport
and program streams, FLV, live WebM and Matroska, fragmented MP4 without an index of all of it, wav, FLAC, CAF, au and
AVI that were written to a pipe, and all that is not known here; where bytes follow a declared end, none can tell
padding from as many that slipped in. Formats without evidence of their samples: a bit that flips inside changes
samples, and nothing shows it unless the decoder raises an error. These are PCM in any container, and MP3, AAC, WMA and
MP2 in any but Matroska with checksums, as FFmpeg writes it; Opus and Vorbis in WebM, which has none. FLAC and Ogg have
a checksum in each frame and page. ASF does not say how many tracks it has: where the name of a video's header is
damaged, FFmpeg leaves the video out, and sound counts from its own start.
"""

import os
from collections.abc import Callable
from typing import BinaryIO

from musetools.audio.structure.chunks import aiff, asf, au, boxes, caf, matroska, riff, wave64
from musetools.audio.structure.found import UNKNOWN, Structure, read_at
from musetools.audio.structure.fragments import lowest_offset
from musetools.audio.structure.pages import adts, flac, flv, id3_length, mp3, ogg, program, transport

__all__ = ["Structure", "lowest_offset", "structure_of"]

EBML, W64_HEADER = b"\x1a\x45\xdf\xa3", b"riff\x2e\x91\xcf\x11"
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def structure_of(file: BinaryIO) -> Structure:
    """Read a file's structure; `Structure` with kind "unknown" for a format that is not known here."""
    size, start = file.seek(0, os.SEEK_END), 0
    while (head := read_at(file, start, 16)).startswith(b"ID3"):
        start += id3_length(head)  # of a tag in front of an mp3, an aac or a flac
    for starts, walk in WALKS.items() if not start else ():
        if head.startswith(starts) or head[4:8] in starts:
            return walk(file, size) if size > len(head) else Structure("stub", missing=1)
    if head.startswith(b"fLaC"):
        return flac(file, size, start)
    if len(head) > 3 and head[0] == 0xFF:
        return adts(file, size, start) if head[1] & 0xF6 == 0xF0 else mp3(file, size, start)
    return UNKNOWN


WALKS: dict[tuple[bytes, ...], Callable[[BinaryIO, int], Structure]] = {
    (b"RIFF", b"RF64", b"RIFX", b"BW64"): riff,
    (b"FORM",): aiff,
    (b"caff",): caf,
    (W64_HEADER,): wave64,
    (b".snd",): au,
    (b"ftyp", b"moov", b"mdat", b"styp", b"wide", b"free", b"skip", b"moof", b"sidx", b"emsg"): boxes,
    (EBML,): matroska,
    (ASF_HEADER,): asf,
    (b"OggS",): ogg,
    (b"FLV\x01",): flv,
    (b"\0\0\1\xba",): program,
    (b"\x47",): transport,
}
