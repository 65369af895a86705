"""Files that are whole or not there: written under a temporary name in the same folder, then moved into place."""

import hashlib
import io
import os
import secrets
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from glob import has_magic, iglob
from itertools import chain, takewhile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from musetools.errors import OutputError, ParameterError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = [
    "MEDIA",
    "Found",
    "find_media",
    "make_folder",
    "read_npy",
    "replacing",
    "save_rows",
    "sha256_of",
    "sweep",
    "write_whole",
]

PART = ".part"
ABANDONED_S = 24 * 3600  # age at which nobody writes to a temporary file any more, where there are no locks to ask
# Suffixes that are looked for in a folder; a file that is named itself may have any.
AUDIO = ".wav .flac .mp3 .m4a .aac .ogg .oga .opus .aiff .aif .aifc .caf .wma .mka .au .w64 .amr .ac3 .m4b .mp2 .weba"
AUDIO += " .tta .wv .ape .dts .eac3 .ec3 .gsm .mpc .ra .sph .spx .voc"
VIDEO = ".mp4 .m4v .mov .mkv .webm .avi .ts .mts .m2ts .3gp .3g2 .flv .f4v .mpg .mpeg .mpe .vob .wmv .asf .ogv .mxf .dv"
VIDEO += " .divx .m2t .nut .ogm .qt .rm .rmvb .swf .wtv"
MEDIA = tuple((AUDIO + " " + VIDEO).split())


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a whole open file, in hexadecimal digits."""
    file.seek(0)
    sha256 = hashlib.sha256()
    while block := file.read(2**20):
        sha256.update(block)
    return sha256.hexdigest()


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, to be read and written, that takes its place when the block ends well.

    Whoever has the old file open or mapped keeps it whole. If the block fails, the temporary file is removed and the
    old file stays; what the block itself raises is passed on as it is. The file's `path` is its final name, which may
    be changed within the folder. OutputError, with the space that is left, if the folder is missing or read-only, or
    the disk is full.
    """
    path = Path(path)
    with _cannot_write(path):
        file = _locked_part(path)
    try:
        with file:
            yield file
            with _cannot_write(path):
                file.flush()
                os.fsync(file.fileno())
                if not fcntl:
                    file.close()  # Windows moves no open file
                os.replace(file.name, file.path)  # while it is locked: `sweep` takes what nobody holds
    finally:
        with suppress(FileNotFoundError):
            os.unlink(file.name)


class _Part(io.BufferedRandom):
    """A temporary file whose failure to write is an OutputError about the file that it stands for."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path.with_name(f".{path.name[:64]}.{secrets.token_hex(4)}{PART}"), "x+"))
        self.path = path

    def write(self, content: bytes) -> int:
        with _cannot_write(self.path):
            return super().write(content)

    def close(self) -> None:
        with _cannot_write(self.path):
            super().close()


def _locked_part(path: Path) -> _Part:
    """Make a temporary file that is locked as long as its writer lives."""
    while True:
        file = _Part(path)
        if not fcntl:
            return file
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # swept before it was locked


@contextmanager
def _cannot_write(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {path}: {reason}{_space(path.parent)}") from error


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write a file whole or not at all; errors as `replacing`."""
    with replacing(path) as file:
        file.write(content)


def sweep(folder: str | os.PathLike) -> list[str]:
    """Remove the temporary files that killed processes left in a folder; return their names."""
    swept = []
    for path in Path(folder).glob(f".*{PART}"):
        with suppress(OSError):
            _take_abandoned(path)
            swept.append(path.name)
    return swept


def _take_abandoned(path: Path) -> None:
    """Remove a temporary file that nobody writes to; OSError for any other."""
    with open(path, "rb") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            return
    if time.time() - path.stat().st_mtime < ABANDONED_S:
        raise BlockingIOError
    path.unlink()  # closed: Windows removes no open file


def _space(folder: Path) -> str:
    """Say how much room a folder has, if it is there to be asked."""
    if not folder.is_dir():
        return f". The folder {folder} does not exist: create it first"
    return f". {shutil.disk_usage(folder).free / 2**20:.0f} MiB are free in {folder}"


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, unless it is there; OutputError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}. Name one that is writable") from None


def save_rows(file: BinaryIO, blocks: Iterable[np.ndarray], row_shape: tuple[int, ...], dtype: str = "<f4") -> int:
    """Write blocks of rows, (n, *row_shape), to a new ``.npy`` file as they come; return the number of rows."""
    n_rows, header = 0, {"descr": dtype, "fortran_order": False, "shape": (0, *row_shape)}
    np.lib.format.write_array_header_1_0(file, header)
    for block in blocks:
        file.write(np.ascontiguousarray(block, dtype).data)
        n_rows += len(block)
        del block  # not needed while the next one is made
    file.seek(0)
    # numpy leaves room in a header for its first axis to grow to 21 digits, so that this one has the same length
    np.lib.format.write_array_header_1_0(file, header | {"shape": (n_rows, *row_shape)})
    file.seek(0, os.SEEK_END)
    return n_rows


def read_npy(source: str | os.PathLike | BinaryIO) -> np.ndarray:
    """Read an array of numbers from a ``.npy`` file, no archive or pickle; ValueError if it is none."""
    try:
        with nullcontext(source) if hasattr(source, "read") else open(source, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # numpy raises many kinds for a damaged or forged header
        raise ValueError(f"the array cannot be read: {type(error).__name__}: {error}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it must hold numbers; got {array.dtype}")
    return array


class Found(list[tuple[str, Path]]):
    """Clip ids and paths of media files; `passed_over` are the other files of the folders that were searched."""

    passed_over: tuple[Path, ...] = ()
    closed: dict[str, str]  # folders that cannot be searched, with the reason

    def __init__(self, found: Iterable[tuple[str, Path]] = ()):
        super().__init__(found)
        self.closed = {}

    def summary(self) -> str:
        """Say which files were passed over: how many of each suffix, and hidden ones; and folders that are closed."""
        kinds = Counter("hidden" if p.name.startswith(".") else p.suffix or "no suffix" for p in self.passed_over)
        listed = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        n = len(self.passed_over)
        closed = [f"the folder {path} cannot be searched ({reason})" for path, reason in self.closed.items()]
        return "; ".join([f"{n} file{'s' * (n > 1)} passed over: {listed}"] * bool(n) + closed)


def find_media(sources: Iterable[str | os.PathLike]) -> Found:
    """Find media files and name their clips, in one order; ParameterError for what is not there, or where none is.

    A source is a file, a folder or a glob such as ``talks/**/*.mp4``. Hidden files, macOS's ``._name`` beside each file
    among them, and hidden folders are passed over. A folder without media among others is warned of. Links to folders
    are followed. A link that leads nowhere is found: whoever opens it says so.
    """
    found, bare = Found(), []
    for source in map(Path, [sources] if isinstance(sources, (str, os.PathLike)) else sources):
        if source.is_file():
            found.append((source.name, source))
            continue
        root, files = _files_of(source, found.closed)
        inside = [p for p in files if p.suffix.lower() in MEDIA and not p.name.startswith(".")]
        found.passed_over += tuple(sorted({*files} - {*inside}))
        found += [("__".join(path.relative_to(root).parts), path) for path in inside]
        bare += [] if inside else [str(source)]
    if bare:
        reasons = "".join(f"; {path} cannot be searched: {reason}" for path, reason in found.closed.items())
        message = f"no media file ({', '.join(MEDIA)}) in {', '.join(bare)}{reasons}"
        if not found:
            raise ParameterError(f"{message}. Name a file or another folder")
        warnings.warn(message, stacklevel=2)
    return found


def _files_of(source: Path, closed: dict[str, str]) -> tuple[Path, list[Path]]:
    """Return the folder of a folder or a glob, and the files below it, in order."""
    fixed = Path(*takewhile(lambda part: not has_magic(part), source.parts))
    if source.is_dir():
        return source, sorted(_below(source, closed))
    if fixed == source:
        if os.path.exists(source):
            raise ParameterError(f"{source} is a pipe or a device, not a file. Write it to a file first")
        raise ParameterError(f"no file or folder {source}; the working folder is {Path.cwd()}")
    matches = [Path(match) for match in iglob(str(source), recursive=True)]
    below = chain.from_iterable(_below(match, closed) for match in matches if match.is_dir())
    return fixed, sorted({*below, *filter(_is_named, matches)})


def _below(folder: Path, closed: dict[str, str]) -> Iterator[Path]:
    # not rglob, which says nothing of a folder that it may not read and, as some versions, of one behind a link
    errors = {"onerror": lambda error: closed.update({error.filename: error.strerror})}
    for top, folders, names in os.walk(folder, followlinks=True, **errors):
        folders[:] = (name for name in folders if not name.startswith(".") and not _leads_up(Path(top, name)))
        yield from (path for name in names if _is_named(path := Path(top, name)))


def _leads_up(folder: Path) -> bool:
    """Whether a folder is a link to one that it lies in: what is there is found already, and there would be no end."""
    return folder.is_symlink() and folder.resolve() in (above.resolve() for above in folder.absolute().parents)


def _is_named(path: Path) -> bool:
    return path.is_file() or (path.is_symlink() and not path.exists())
