"""What keeps a store's files whole: names, checks on the way in, checks on the way out, repair, merging."""

import hashlib
import os
import re
import shutil
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from musetools.errors import AudioError, ParameterError, StoreError
from musetools.files import replacing, sweep
from musetools.train.manifest import Record

if TYPE_CHECKING:
    from musetools.train.store import FeatureStore

__all__ = ["StoreCheck", "checked_rows", "digest", "file_name", "merge", "open_checked", "origin", "repair", "verify"]

AGAIN = "make the clip again (verify(repair=True) puts it on the list)"


@dataclass(frozen=True, repr=False)
class StoreCheck:
    """What `FeatureStore.verify` found.

    Attributes
    ----------
    checked : int
        Clips looked at.
    bad : dict of str to str
        Clips whose file is not what was written, with the reason.
    strays : tuple of str
        Files in the store's folder that belong to no clip.
    """

    checked: int
    bad: dict[str, str]
    strays: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every clip is as it was written."""
        return not self.bad

    def __repr__(self) -> str:
        lines = [f"{self.checked} clips checked, {len(self.bad)} bad, {len(self.strays)} stray files"]
        return "\n".join([*lines, *(f"  {clip}: {reason}" for clip, reason in self.bad.items())])


def file_name(clip: str, other_than: str | None = None) -> str:
    """Name a clip's file: by its id where that is plain, else by the id's hash; no plain id has an @."""
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", clip)
    stem = clip if plain else f"@{hashlib.sha256(clip.encode()).hexdigest()[:40]}"
    return f"{stem}@.npy" if other_than == f"{stem}.npy" else f"{stem}.npy"


def digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a whole open file."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def origin(source: Any) -> dict[str, Any] | None:
    """Say which media file features come from, so that it is known again."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = Path(source)
    if not path.is_file():
        return None  # whoever decodes it says so better
    try:
        stat = path.stat()
        with open(path, "rb") as file:
            told = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": digest(file)}
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror}") from None
    return {"path": str(path.resolve()), **told}


def checked_rows(blocks: Iterable[np.ndarray], row_shape: tuple[int, int], dtype: np.dtype) -> Iterator[np.ndarray]:
    """Pass on blocks of rows that can be stored; ParameterError for any other."""
    n_rows = 0
    for block in blocks:
        block = np.asarray(block)
        if block.ndim != 3 or block.shape[1:] != row_shape or block.dtype.kind != "f":
            raise ParameterError(
                f"rows must be float (n, {row_shape[0]}, {row_shape[1]}); got {block.dtype} {block.shape}"
            )
        with np.errstate(over="ignore"):
            stored = block.astype(dtype)
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


def verify(store: "FeatureStore") -> StoreCheck:
    """Compare every file with what the manifest says of it."""
    store.manifest.refresh()
    bad = {}
    for clip, record in store.manifest.records.items():
        try:
            with store.file(clip) as file:
                found = digest(file)
            if found != record.sha256:
                bad[clip] = (
                    f"its numbers are not those that were written: SHA-256 {found[:12]}, {record.sha256[:12]} expected"
                )
        except StoreError as error:
            bad[clip] = str(error)
    known = {record.file for record in store.manifest.records.values()}
    strays = sorted(path.name for path in (store.root / "clips").iterdir() if path.name not in known)
    return StoreCheck(len(store), bad, tuple(strays))


def repair(store: "FeatureStore", check: StoreCheck) -> None:
    """Put bad clips aside, to be made again, and remove what killed processes left."""
    sweep(store.root / "clips")
    with store.manifest.writing():
        for clip, reason in check.bad.items():
            store.path(clip).unlink(missing_ok=True)
            store.manifest.append({"clip": clip, "bad": reason})


def merge(store: "FeatureStore", other: "FeatureStore") -> int:
    """Copy the clips that a store lacks from another of equal making."""
    clashes = [c for c in other if store.manifest.twin(c) not in (None, c)]
    clashes += [c for c in other if c in store and store.record(c).sha256 != other.record(c).sha256]
    if clashes:
        raise StoreError(
            f"both stores have other clips called {', '.join(map(repr, clashes[:5]))}: rename or remove one"
        )
    missing = [clip for clip in other if clip not in store]
    for clip in missing:
        record = replace(other.record(clip), file=file_name(clip))
        with store.manifest.writing():
            with other.file(clip) as source, replacing(store.root / "clips" / record.file) as file:
                source.seek(0)
                shutil.copyfileobj(source, file)
                if digest(file) != record.sha256:
                    raise StoreError(f"clip {clip!r} of {other.root} is damaged: repair that store first")
            store.manifest.append(record)
    return len(missing)
