"""The files of a store: how they are named and written, and whether they are what was written."""

import hashlib
import os
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from musetools.errors import ParameterError, StoreError
from musetools.files import save_rows, sha256_of
from musetools.train.manifest import Record

__all__ = ["StoreCheck", "faults", "file_name", "open_checked", "orphans", "write_rows"]

AGAIN = "make the clip again (verify(repair=True) puts it on the list)"
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)  # names of devices on Windows


@dataclass(frozen=True, repr=False)
class StoreCheck:
    """What `FeatureStore.verify` found."""

    checked: int  # clips looked at
    bad: dict[str, str]  # clips whose file is not what was written, with the reason
    orphans: tuple[str, ...]  # files in the store's folder that belong to no clip

    @property
    def ok(self) -> bool:
        """Whether every clip is as it was written."""
        return not self.bad

    def __repr__(self) -> str:
        lines = [f"{self.checked} clips checked, {len(self.bad)} bad, {len(self.orphans)} orphan files"]
        return "\n".join([*lines, *(f"  {clip}: {reason}" for clip, reason in self.bad.items())])


def file_name(clip: str, other_than: str | None = None) -> str:
    """Name a clip's file: by its id where any system takes that, else by the id's hash; no plain id has an @."""
    plain = PLAIN.fullmatch(clip) and not RESERVED.match(clip)
    stem = clip if plain else f"@{hashlib.sha256(clip.encode()).hexdigest()[:40]}"
    return f"{stem}@.npy" if other_than == f"{stem}.npy" else f"{stem}.npy"


def write_rows(
    file: BinaryIO, rows: np.ndarray | Iterable[np.ndarray], row_shape: tuple[int, int], dtype: np.dtype
) -> int:
    """Write rows, block by block, as a ``.npy`` file, and return how many; ParameterError for what cannot be stored."""
    blocks = _checked([rows] if isinstance(rows, np.ndarray) else rows, row_shape, dtype)
    return save_rows(file, blocks, row_shape, dtype.newbyteorder("<").str)


def _checked(blocks: Iterable[np.ndarray], row_shape: tuple[int, int], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Pass on blocks of rows that can be stored; ParameterError for any other."""
    n_rows = 0
    for block in blocks:
        block = np.asarray(block)
        if block.ndim != 3 or block.shape[1:] != row_shape or block.dtype.kind != "f":
            raise ParameterError(
                f"rows must be float (n, {row_shape[0]}, {row_shape[1]}); got {block.dtype} {block.shape}. "
                "Make them with the store's encoder"
            )
        with np.errstate(over="ignore"):
            stored = block.astype(dtype, copy=False)
        if not np.isfinite(stored).all():
            bad = n_rows + int(np.argwhere(~np.isfinite(stored))[0, 0])
            raise ParameterError(
                f"row {bad} is not finite as {dtype}: its audio or its weights are broken, or use float32"
            )
        n_rows += len(block)
        yield stored


def open_checked(path: Path, record: Record, dtype: np.dtype, row_shape: tuple[int, int]) -> BinaryIO:
    """Open a clip's file where its numbers begin; StoreError if it is not the file that was written."""
    try:
        file = open(path, "rb")  # noqa: SIM115  handed on open
    except OSError as error:
        raise StoreError(f"clip {record.clip!r}: {path} cannot be opened ({error.strerror}): {AGAIN}") from None
    size, header = os.fstat(file.fileno()).st_size, None
    if size == record.bytes:
        try:
            if np.lib.format.read_magic(file) == (1, 0):
                header = np.lib.format.read_array_header_1_0(file)
        except (ValueError, SyntaxError, tokenize.TokenError):  # as numpy's parser has it
            header = None
    if header == ((record.rows, *row_shape), False, dtype):
        return file
    file.close()
    found = f"{size} bytes" if size != record.bytes else f"header {header}"
    raise StoreError(
        f"clip {record.clip!r}: {path} is damaged: {record.bytes} bytes of {record.rows} rows of {dtype} expected, "
        f"found {found}: {AGAIN}"
    )


def faults(folder: Path, records: Mapping[str, Record], dtype: np.dtype, row_shape: tuple[int, int]) -> dict[str, str]:
    """Read the files of some clips; return those that are not what was written, with the reason."""
    found = {clip: _fault(folder / record.file, record, dtype, row_shape) for clip, record in records.items()}
    return {clip: fault for clip, fault in found.items() if fault}


def _fault(path: Path, record: Record, dtype: np.dtype, row_shape: tuple[int, int]) -> str:
    try:
        with open_checked(path, record, dtype, row_shape) as file:
            found = sha256_of(file)
    except StoreError as error:
        return str(error)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}): {AGAIN}"
    if found == record.sha256:
        return ""
    return f"its numbers are not those that were written: SHA-256 {found[:12]}, {record.sha256[:12]} expected"


def orphans(folder: Path, records: Iterable[Record]) -> tuple[str, ...]:
    """Return the names of files in a folder that belong to no clip."""
    known = {record.file for record in records}
    return tuple(sorted(path.name for path in folder.iterdir() if path.name not in known))
