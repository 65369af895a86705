"""What the structure of a media file says of its end, and what every walk over one needs."""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

__all__ = ["SPARE", "UNKNOWN", "Structure", "broken_off", "closed", "ends", "find", "is_name", "read_at"]

SPARE = 512  # bytes after the end that are no loss: padding
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"18273645")  # the last one of MusicMatch
PADDING = 2**16  # bytes of zeros in front of a tag that are no loss either


@dataclass(frozen=True)
class Structure:
    """What a file's structure says of its end."""

    kind: str = "unknown"  # of container
    missing: int = 0  # bytes, at least, that its last element lacks; it is truncated
    fault: str = ""  # what else is wrong, for an error
    damage: str = ""  # what is wrong inside, where the rest can be decoded in place
    after: int = 0  # bytes after its declared end, too few or too empty for sound: padding, or others slipped in before
    verified: bool = True  # whether a file cut between two elements would show
    sized: bool = True  # whether its header knows its length: libsndfile reads no other
    exact_s: float | None = None  # length that its header guarantees: less decoded is truncated
    tail: int | None = None  # byte where tags follow its last frame, in which a decoder may find frames that are none
    trimmed: bool = False  # whether an edit list keeps a part of it, as it says
    edits: tuple[tuple[int, str], ...] = ()  # tracks whose edit list asks for what no decoder here does, and that
    by_sndfile: bool = False  # whether FFmpeg takes its samples for what they are not, and libsndfile does not


UNKNOWN = Structure(verified=False)


def ends(kind: str, end: int, size: int, **known: object) -> Structure:
    """Compare where the last element ends with where the file does."""
    return Structure(kind, missing=max(0, end - size), **known)


def closed(file: BinaryIO, kind: str, end: int, size: int, **known: object) -> Structure:
    """Compare as `ends` does, for a header that declares where the file ends; look at what lies after."""
    if found := _nothing_behind(file, kind, end, size, known):
        return found
    rest = size - end
    if not any(read_at(file, end, 2**16)):
        return Structure(kind, after=rest, **known)
    fault = (
        f"{rest} bytes follow the end that its header declares, as where files are joined byte by byte. "
        "Join them with an audio program instead, or take them apart again"
    )
    return Structure(kind, fault=fault, **known)


def broken_off(file: BinaryIO, kind: str, place: int, size: int, what: str, **known: object) -> Structure:
    """Look at what lies where the next element should begin, in a format of which nothing says how long it is."""
    tags = _tags_begin(file, size)
    if found := _nothing_behind(file, kind, place, tags if place <= tags else size, known):
        return found
    if place < tags < size and tags - place <= PADDING and not any(read_at(file, place, tags - place)):
        return Structure(kind, after=tags - place, **known)
    zeros = not any(read_at(file, place, 16))
    why = "zeros follow, as where a download was broken off" if zeros else "it is damaged"
    fault = f"no {what} begins at byte {place}, where one should: {why}. Copy or export it again"
    return Structure(kind, **known | {"fault": fault})


def _nothing_behind(file: BinaryIO, kind: str, end: int, size: int, known: dict[str, object]) -> Structure | None:
    """Return what is known where no more than tags or a few bytes lie behind an end; None where there is more."""
    rest = size - end
    if rest <= 0 or read_at(file, end, 16).startswith(TAGS):
        return ends(kind, end, size, **known)
    return Structure(kind, after=rest, **known) if rest <= SPARE else None


def _tags_begin(file: BinaryIO, end: int) -> int:
    """Return where the tags begin that a file ends with, of those that say so at their end."""
    while end > 0:
        foot = read_at(file, max(0, end - 32), 32)
        if read_at(file, max(0, end - 128), 3) == b"TAG":
            end -= 128
        elif foot.startswith(b"APETAGEX"):
            end -= max(32, int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0))
        else:
            return end
    return 0


@lru_cache(maxsize=64)
def is_name(name: bytes) -> bool:
    """Whether four bytes may be the name of a chunk."""
    return len(name) == 4 and re.fullmatch(rb"[!-~][ -~]*\0*", name) is not None


def read_at(file: BinaryIO, place: int, n: int) -> bytes:
    """Read at most n bytes from a place on."""
    file.seek(place)
    return file.read(n)


def find(file: BinaryIO, mark: bytes, place: int) -> int:
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
