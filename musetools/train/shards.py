"""A store as tar shards for webdataset: the same bytes for the same store, with an index that tells of loss."""

import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO

from musetools.errors import OutputError, ParameterError, StoreError
from musetools.files import replacing, sha256_of, sweep, write_whole
from musetools.table import ShownAsText
from musetools.train.integrity import StoreCheck
from musetools.train.manifest import Record
from musetools.train.schema import SHARD_INDEX

__all__ = ["Shards", "verify_shards", "write_shards"]

INDEX, SHARDS = "index.json", "shard-*.tar"
BEGUN = ".exporting"  # there while shards are written: without it they are somebody's


@dataclass(frozen=True, repr=False)
class Shards(ShownAsText):
    """Tar shards in a folder, as their index has it."""

    folder: Path
    shards: tuple[Mapping[str, Any], ...]  # of each: its file's name, number of clips, bytes and SHA-256

    @property
    def paths(self) -> list[str]:
        """Paths of the shards, as ``webdataset.WebDataset`` takes them."""
        return [str(self.folder / shard["url"]) for shard in self.shards]

    @property
    def clips(self) -> int:
        """How many clips they hold together."""
        return sum(shard["nsamples"] for shard in self.shards)

    def __repr__(self) -> str:
        mib = sum(shard["filesize"] for shard in self.shards) / 2**20
        return f"{self.clips} clips in {len(self.shards)} shards of {mib:.0f} MiB: {self.folder}"


def write_shards(
    records: Sequence[Record],
    opened: Callable[[str], BinaryIO],
    folder: str | os.PathLike,
    shard_size: int,
    provenance: Mapping[str, Any],
) -> Shards:
    """Write the clips of some records, whose files `opened` opens, as shards; see `FeatureStore.export_webdataset`."""
    if isinstance(shard_size, bool) or not isinstance(shard_size, Integral) or shard_size < 1:
        raise ParameterError(f"shard_size must be a whole number of clips, 1 or more; got {shard_size!r}")
    folder = Path(folder)
    _make_room(folder)
    numbered, written = list(enumerate(records)), []
    for start in range(0, len(records), shard_size):
        path = folder / f"shard-{len(written):06d}.tar"
        written.append(_write_shard(path, numbered[start : start + shard_size], len(records), opened))
    index = {"wids_version": 1, "shardlist": written, "samples": len(records), "provenance": provenance}
    write_whole(folder / INDEX, json.dumps(index, indent=1).encode())
    (folder / BEGUN).unlink()
    return Shards(folder, tuple(written))


def _make_room(folder: Path) -> None:
    """Make a folder, and remove what an export left in it that was killed before it had an index."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        begun = (folder / BEGUN).exists()
        if (folder / INDEX).exists() or (any(folder.glob(SHARDS)) and not begun):
            raise OutputError(f"{folder} holds shards already. Name a new folder")
        (folder / BEGUN).touch()
        sweep(folder)
        for path in folder.glob(SHARDS):
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}. Name a folder that is writable") from None


def _write_shard(
    path: Path, numbered: Sequence[tuple[int, Record]], n_clips: int, opened: Callable[[str], BinaryIO]
) -> dict[str, Any]:
    """Write one shard; return its entry in the index."""
    with replacing(path) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for number, record in numbered:
                with opened(record.clip) as features:
                    if sha256_of(features) != record.sha256:
                        raise StoreError(f"clip {record.clip!r} is damaged: repair the store first")
                    _add(tar, f"{number:08d}.npy", features)
                facts = json.dumps(asdict(record) | {"number": number, "of": n_clips}, ensure_ascii=False)
                _add(tar, f"{number:08d}.json", io.BytesIO(facts.encode(errors="backslashreplace")))
        return {"url": path.name, "nsamples": len(numbered), "filesize": file.tell(), "sha256": sha256_of(file)}


def _add(tar: tarfile.TarFile, name: str, content: BinaryIO) -> None:
    """Add a member that says nothing of when, where and by whom it was made."""
    member = tarfile.TarInfo(name)
    member.size = content.seek(0, os.SEEK_END)
    content.seek(0)
    tar.addfile(member, content)


def verify_shards(folder: str | os.PathLike) -> StoreCheck:
    """Compare the shards in a folder with their index: what is lost, cut or changed is bad.

    Raises
    ------
    StoreError
        If there is no index, or none that can be read.
    """
    path = Path(folder) / INDEX
    try:
        shards = SHARD_INDEX.parse(path.read_bytes())["shardlist"]
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is no index of shards ({error}): export the store again") from None
    found = {shard["url"]: _fault(path.with_name(shard["url"]), shard) for shard in shards}
    orphans = {shard.name for shard in path.parent.glob(SHARDS)} - found.keys()
    bad = {name: fault for name, fault in found.items() if fault}
    return StoreCheck(sum(shard["nsamples"] for shard in shards), bad, tuple(sorted(orphans)))


def _fault(path: Path, shard: Mapping[str, Any]) -> str:
    try:
        with open(path, "rb") as file:
            if sha256_of(file) == shard["sha256"]:
                return ""
            size, whole = file.tell(), _whole_clips(file)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}): export the store again"
    return (
        f"{path} is not what was written: {size} bytes, {shard['filesize']} expected; {whole} of {shard['nsamples']} "
        "clips are whole. Export the store again"
    )


def _whole_clips(file: BinaryIO) -> int:
    """Count the clips of which both members are there."""
    file.seek(0)
    names: Counter[str] = Counter()
    with suppress(tarfile.TarError, OSError), tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content and len(content.read()) == member.size:
                names[Path(member.name).stem] += 1
    return sum(count == 2 for count in names.values())
