"""An append-only list of clips, one JSON line each: a torn line costs its clip alone, two processes may append."""

import fcntl
import json
import os
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from musetools.errors import OutputError, StoreError

__all__ = ["Manifest", "Record", "check_clip_id"]

MAX_ID = 120  # characters; a file name may have 255 bytes
FILE = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9._@-]*\.npy")  # what `keeping.file_name` gives
LOCK = ".lock"
FORBIDDEN = '/\\:*?"<>|'


@dataclass(frozen=True)
class Record:
    """What a store knows of a clip.

    Attributes
    ----------
    clip : str
        Its id.
    file : str
        Name of its ``.npy`` in the store.
    rows : int
        Feature rows.
    dtype : str
        Type of a number in the file.
    bytes : int
        Size of the file.
    sha256 : str
        Hash of the file.
    samples : int
        Length of the waveform, 16 kHz.
    duration_s : float
        The same in seconds.
    fps : str or None
        Frame rate of its video as a fraction, where known.
    frames : int or None
        Frames of its video, where known.
    source : dict or None
        Path, size, modification time and hash of the media file.
    """

    clip: str
    file: str
    rows: int
    dtype: str
    bytes: int
    sha256: str
    samples: int
    duration_s: float
    fps: str | None = None
    frames: int | None = None
    source: dict[str, Any] | None = None

    @property
    def rate(self) -> Fraction | None:
        """Frame rate of its video, exactly."""
        return Fraction(self.fps) if self.fps else None


class Manifest:
    """The manifest of a store: the last whole line on a clip counts.

    Attributes
    ----------
    records : dict of str to Record
        The clips that are there, by id.
    put_aside : dict of str to str
        The clips that a repair took out, with the reason.

    Warns
    -----
    UserWarning
        If a line is torn: its clip is not there, and has to be made again.
    """

    def __init__(self, path: Path):
        self.path = path
        self.records: dict[str, Record] = {}
        self.put_aside: dict[str, str] = {}
        self._by_form: dict[str, str] = {}
        self._read_to = 0
        if self.refresh():  # torn, or just being written
            with self._settled():
                tail = self.refresh()
            if tail:
                self._warn(len(tail))

    def refresh(self) -> bytes:
        """Read what was appended since; return what follows the last whole line."""
        with open(self.path, "rb") as file:
            file.seek(self._read_to)
            *lines, tail = file.read().split(b"\n")
        for line in lines:
            self._read_to += len(line) + 1
            self._take(line)
        return tail

    def twin(self, clip: str) -> str | None:
        """Return the id that is there and is this one but for case or Unicode form, or is this very one."""
        return self._by_form.get(_folded(clip))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock under which one process at a time appends, having read what the others did."""
        try:
            lock = open(self.path.with_name(LOCK), "ab")  # noqa: SIM115  closed below; the block has errors of its own
        except OSError as error:
            raise OutputError(
                f"cannot write to {self.path.parent}: {error.strerror}. Make the folder writable"
            ) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            yield

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Wait until no other process is appending."""
        with ExitStack() as stack:
            with suppress(OSError):  # no lock, no writer
                fcntl.flock(stack.enter_context(open(self.path.with_name(LOCK), "rb")), fcntl.LOCK_SH)
            yield

    def append(self, entry: Record | dict[str, Any]) -> None:
        """Append one line, whole and on disk when this returns; only while `writing`."""
        plain = asdict(entry) if isinstance(entry, Record) else entry
        # a path may hold bytes that are no UTF-8: their escapes are JSON's, too
        line = json.dumps(plain, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace") + b"\n"
        try:
            with open(self.path, "r+b") as file:
                file.truncate(self._read_to)  # a line that a killed process left without its end is not glued to
                file.seek(0, os.SEEK_END)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, self._read_to)
            raise OutputError(f"cannot write to {self.path}: {error.strerror}. The clip is not in the store") from None
        self.refresh()

    def _take(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            clip = entry["clip"]
            record = None if "bad" in entry else Record(**entry)
            if not isinstance(clip, str) or (record and not FILE.fullmatch(record.file)):
                raise ValueError("no clip of this folder")
        except (ValueError, KeyError, TypeError):
            self._warn(len(line))
            return
        self.records.pop(clip, None)
        self.put_aside.pop(clip, None)
        if record is None:
            self.put_aside[clip] = entry["bad"]
            self._by_form.pop(_folded(clip), None)
        else:
            self.records[clip] = record
            self._by_form[_folded(clip)] = clip

    def _warn(self, length: int) -> None:
        message = f"{self.path}: a torn line of {length} bytes is dropped; its clip is not in the store, make it again"
        warnings.warn(message, stacklevel=5)


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
