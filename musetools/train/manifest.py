"""An append-only list of clips, one JSON line each: a truncated line costs its clip alone, two processes may append."""

import json
import os
import re
import time
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from filelock import FileLock

from musetools.errors import OutputError, ParameterError, StoreError
from musetools.train.schema import CLIP, RECORD

__all__ = ["Manifest", "Record", "check_clip_id", "line_of"]

MAX_ID = 120  # characters; a file name may have 255 bytes
LOCK = ".lock"
POLL_S = 0.01  # seconds between two looks at a lock that another process holds
SETTLE_S = 0.1  # seconds in which a line that is being appended is whole
MAX_HEADER = 2**16  # bytes before the numbers in a .npy file
BEGINNING = re.compile(rb'\{"clip": ("(?:[^"\\]|\\.)*")')  # how each line of ours begins
FORBIDDEN = '/\\:*?"<>|'


@dataclass(frozen=True)
class Record:
    """What a store knows of a clip."""

    clip: str  # its id
    file: str  # name of its ``.npy`` in the store
    rows: int  # feature rows
    dtype: str  # type of a number in the file
    bytes: int  # size of the file
    sha256: str  # of the file
    samples: int  # length of the waveform, 16 kHz
    duration_s: float  # the same in seconds
    fps: str | None = None  # frame rate of its video as a fraction, where known
    frames: int | None = None  # frames of its video, where known
    source: dict[str, Any] | None = None  # path, size, modification time and hash of the media file

    @property
    def rate(self) -> Fraction | None:
        """Frame rate of its video, exactly."""
        return Fraction(self.fps) if self.fps else None


class Manifest:
    """The manifest of a store: the last whole line on a clip counts.

    A line that is truncated, or no record, is warned of whenever the store is opened, until its clip is added again or
    a repair blanks it.
    """

    def __init__(self, path: Path, row_bytes: int):
        self.path, self.row_bytes = path, row_bytes
        self.records: dict[str, Record] = {}  # the clips that are there, by id
        self.quarantined: dict[str, str] = {}  # the clips that a repair took out, with the reason
        self._by_form: dict[str, str] = {}
        self._by_file: dict[str, str] = {}  # no two clips share a file
        self._truncated: dict[int, tuple[int, str | None]] = {}  # by offset: length, and the clip where it can be read
        self._read_to = 0
        if self.refresh() and (tail := self._settled()):  # truncated, or just being written
            self._warn(len(tail))

    def refresh(self) -> bytes:
        """Read what was appended since; return what follows the last whole line."""
        start = self._read_to
        with open(self.path, "rb") as file:
            file.seek(start)
            *lines, tail = file.read().split(b"\n")
        for line in lines:
            self._take(line)
            self._read_to += len(line) + 1
        for offset, (length, _) in self._truncated.items():
            if offset >= start:
                self._warn(length)
        return tail

    def twin(self, clip: str) -> str | None:
        """Return the id that is there and is this one but for case or Unicode form, or is this very one."""
        return self._by_form.get(_folded(clip))

    def check_free(self, clip: str, replace: bool) -> None:
        """Raise StoreError if an id is taken."""
        twin = self.twin(clip)
        if twin not in (None, clip):
            raise StoreError(f"clip {clip!r} differs from {twin!r} in case or Unicode form only. Choose another id")
        if twin == clip and not replace:
            raise StoreError(f"clip {clip!r} is in {self.path.parent} already. Pass replace=True, or choose another id")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock under which one process at a time appends, having read what the others did."""
        with self._cannot_write("the store is as it was"):
            held = FileLock(self.path.with_name(LOCK)).acquire(poll_interval=POLL_S)
        with held:
            self.refresh()
            yield

    def append(self, line: bytes) -> None:
        """Append what `line_of` returned, whole and on disk when this returns; only while `writing`."""
        self._write({self._read_to: line}, "the clip is not in the store")
        self.refresh()

    def drop_truncated(self) -> None:
        """Blank the lines that cannot be read: every other line stays where other processes know it; only `writing`."""
        blanks = {offset: b" " * length for offset, (length, _) in self._truncated.items()}
        self._write(blanks, "its truncated lines are still there")
        self._truncated.clear()

    def _write(self, content: dict[int, bytes], otherwise: str) -> None:
        """Write at offsets, behind or within what was read; a line that a killed process left without its end goes."""
        with self._cannot_write(otherwise):
            try:
                with open(self.path, "r+b") as file:
                    file.truncate(self._read_to)
                    for offset, piece in content.items():
                        file.seek(offset)
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(self.path, self._read_to)
                raise

    def _settled(self) -> bytes:
        """Return what follows the last whole line when no other process is appending."""
        try:
            with self.writing():
                return self.refresh()
        except OutputError:  # one may only read here
            time.sleep(SETTLE_S)
            return self.refresh()

    @contextmanager
    def _cannot_write(self, left: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.path}: {error.strerror or error}; {left}. Make room, or the folder writable"
            ) from None

    def _take(self, line: bytes) -> None:
        if not line.strip(b" "):
            return  # blanked by a repair
        try:
            entry = RECORD.parse(line)
            record = None if "bad" in entry else Record(**entry)
            if record and not 0 <= record.bytes - record.rows * self.row_bytes <= MAX_HEADER:
                raise ValueError(f"{record.bytes} bytes are not {record.rows} rows")
            if record and (owner := self._by_file.get(record.file.lower(), record.clip)) != record.clip:
                raise ValueError(f"{record.file} is the file of clip {owner!r}")
        except ValueError:
            self._truncated[self._read_to] = len(line), _clip_of(line)
            return
        clip = entry["clip"]
        self._truncated = {at: lost for at, lost in self._truncated.items() if lost[1] != clip}
        if old := self.records.pop(clip, None):
            self._by_file.pop(old.file.lower())
        self.quarantined.pop(clip, None)
        if record is None:
            self.quarantined[clip] = entry["bad"]
            self._by_form.pop(_folded(clip), None)
        else:
            self.records[clip] = record
            self._by_form[_folded(clip)] = self._by_file[record.file.lower()] = clip

    def _warn(self, length: int) -> None:
        warnings.warn(
            f"{self.path}: a truncated line of {length} bytes is dropped; its clip is not in the store, make it again. "
            "verify(repair=True) ends this warning",
            stacklevel=5,
        )


def line_of(entry: Record | dict[str, Any]) -> bytes:
    """Return an entry as its line of a manifest; ParameterError if it could not be read again."""
    plain = asdict(entry) if isinstance(entry, Record) else entry
    try:
        # a path may hold bytes that are no UTF-8: their escapes are JSON's, too
        line = json.dumps(plain, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace")
        (CLIP if isinstance(entry, Record) else RECORD).parse(line)  # which names the property
    except (TypeError, ValueError) as error:
        raise ParameterError(f"what is said of clip {plain['clip']!r} cannot be kept: {error}. Mend it") from None
    return line + b"\n"


def _clip_of(line: bytes) -> str | None:
    """Return the clip of a line that cannot be read, where its beginning says so."""
    with suppress(ValueError):
        return json.loads(begun[1]) if (begun := BEGINNING.match(line)) else None
    return None


def _folded(clip: str) -> str:
    """Return the form in which two ids must differ: file systems may ignore case and Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", clip).casefold())


def check_clip_id(clip: str) -> str:
    """Return an id that can stand for a file on any system, or say what is wrong with it."""
    fault = None
    if not isinstance(clip, str) or not 1 <= len(clip) <= MAX_ID:
        fault = f"1 to {MAX_ID} characters of text expected"
    elif any(letter in FORBIDDEN or not letter.isprintable() for letter in clip):
        fault = f"it may hold no control character and none of {FORBIDDEN}"
    elif clip[0] in ". " or clip[-1] in ". ":
        fault = "it may not start or end with a dot or a space"
    if fault:
        raise StoreError(f"{repr(clip)[:160]} is no clip id: {fault}. Name it otherwise")
    return clip
