"""What an extraction is given, as one list of clips: files, folders, globs, tables, mappings, and shards of them."""

import csv
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from musetools.errors import MissingExtraError, ParameterError
from musetools.files import Found, find_media
from musetools.timing import exact_fps

__all__ = ["ClipSource", "find_clips", "in_shard"]

TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class ClipSource:
    """A clip that is to be in a store."""

    clip: str  # its id
    path: Path
    fps: Fraction | None = None  # of the video that it belongs to, where a table says so
    n_frames: int | None = None
    again: bool = False  # whether the store holds the features of what the file was before


def find_clips(sources: Any) -> tuple[list[ClipSource], Found]:
    """List clips of paths, globs, tables, or a mapping of ids to paths, and what `find_media` found; errors as its."""
    if isinstance(sources, Mapping):
        return [ClipSource(clip, Path(path)) for clip, path in sources.items()], Found()
    paths = [Path(p) for p in ([sources] if isinstance(sources, (str, os.PathLike)) else sources)]
    tables = [path for path in paths if path.suffix.lower() in TABLES and path.is_file()]
    others = [path for path in paths if path not in tables]
    found = find_media(others) if others or not tables else Found()
    clips = [ClipSource(clip, path) for clip, path in found]
    clips += [clip for table in tables for clip in _clips_of(table)]
    return clips, found


def in_shard(clips: Iterable[ClipSource], shard: str | None) -> list[ClipSource]:
    """Return the clips of a shard, ``"i/n"``; each clip is in one of n, by its id alone."""
    if shard is None:
        return list(clips)
    given = re.fullmatch(r"([0-9]+)/([0-9]+)", shard)
    number, of = map(int, given.groups()) if given else (0, 0)
    if not 1 <= number <= of:
        raise ParameterError(f"a shard is i/n with i from 1 to n, such as 1/8; got {shard!r}")
    return [clip for clip in clips if _hash(str(clip.clip)) % of == number - 1]


def _hash(clip: str) -> int:
    return int.from_bytes(hashlib.sha256(clip.encode(errors="surrogateescape")).digest()[:8], "big")


def _clips_of(table: Path) -> list[ClipSource]:
    """Read a table; ParameterError with the line that cannot be used."""
    try:
        lines = _lines_of(table)
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors, too
        raise ParameterError(f"the table {table} cannot be read: {error}. Write it as UTF-8 csv or parquet") from None
    clips = []
    for number, line in enumerate(lines, 2 if table.suffix.lower() == ".csv" else 1):
        try:
            clips.append(_clip_of(line, table.parent))
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise ParameterError(f"{table}, line {number}: {error}") from None
    if not clips:
        raise ParameterError(f"the table {table} names no clip. Its column is called path")
    return clips


def _lines_of(table: Path) -> list[dict[str, Any]]:
    if table.suffix.lower() == ".csv":
        with open(table, encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    try:
        from pyarrow.parquet import read_table
    except ImportError:
        raise MissingExtraError(f"{table} needs pyarrow: pip install 'musetools[corpus]', or write it as csv") from None
    return read_table(table).to_pylist()


def _clip_of(line: dict[str, Any], folder: Path) -> ClipSource:
    """Make a clip of a table's columns path, clip, fps and frames; all but the path may be missing or empty."""
    if None in line:  # csv's name for cells without a column
        raise ValueError(f"it has {len(line[None])} cells more than there are columns. A decimal comma needs quotes")
    given = {name: str(value).strip() for name, value in line.items() if name and value not in (None, "")}
    if not given.get("path"):
        raise ValueError(
            f"it has no path. Its columns are {', '.join(map(str, line))}; expected: path, clip, fps, frames"
        )
    path = Path(given["path"])
    clip = given.get("clip") or (path.name if path.is_absolute() else "__".join(path.parts))
    fps, frames = given.get("fps"), given.get("frames")
    if frames and not (float(frames).is_integer() and float(frames) >= 0):
        raise ValueError(f"frames must be a whole number; got {frames}")
    rate = exact_fps(Fraction(fps) if "/" in fps else float(fps)) if fps else None
    return ClipSource(clip, folder / path, rate, int(float(frames)) if frames else None)
