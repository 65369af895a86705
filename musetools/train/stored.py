"""What a store of features holds, as one reads it: one ``.npy`` a clip, a manifest, and how all of it was made."""

import os
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from musetools.chunks.settings import ChunkSettings
from musetools.errors import OutputError, ParameterError, StoreError
from musetools.features.encoder import Encoder
from musetools.features.spec import FeatureSpec
from musetools.files import sha256_of, sweep
from musetools.recipes.contract import AudioContract
from musetools.table import ShownAsText
from musetools.train.integrity import StoreCheck
from musetools.train.manifest import Manifest, Record, line_of
from musetools.train.shards import Shards, write_shards

__all__ = ["CLIPS", "MANIFEST", "StoredFeatures"]

MANIFEST, CLIPS = "manifest.jsonl", "clips"
AGAIN = "make the clip again (verify(repair=True) puts it on the list)"
UNOPENED = "it may be whole: raise the limit of open files, or change its permissions"


class StoredFeatures(ShownAsText):
    """The half of a `FeatureStore` that reads, and sees whether what it reads is what was written."""

    def __init__(self, root: Path, provenance: dict[str, Any]):
        self.root, self.provenance = root.absolute(), provenance  # a job may change its working folder
        self.spec = FeatureSpec.from_json(provenance["features"])
        self.dtype = np.dtype(provenance["dtype"])
        self.row_shape = provenance["encoder"]["n_layers"], provenance["encoder"]["width"]
        self.manifest = Manifest(self.root / MANIFEST, self.dtype.itemsize * self.row_shape[0] * self.row_shape[1])

    @property
    def clips(self) -> tuple[str, ...]:
        """Ids of the clips, in the order in which they were added."""
        return tuple(self.manifest.records)

    def record(self, clip: str) -> Record:
        """Return what is known of a clip; StoreError if there is none of this id."""
        if clip not in self.manifest.records:
            fault = self.manifest.quarantined.get(clip)
            why = f": a repair quarantined it ({fault}), make it again" if fault else ""
            raise StoreError(f"no clip {clip!r} among the {len(self)} in {self.root}{why}")
        return self.manifest.records[clip]

    def path(self, clip: str) -> Path:
        """Return the path of a clip's file."""
        return self.root / CLIPS / self.record(clip).file

    def __getitem__(self, clip: str) -> np.ndarray:
        with self.file(clip) as file:
            offset = file.tell()
            shape = (self.record(clip).rows, *self.row_shape)
            return np.memmap(file, self.dtype, mode="r", offset=offset, shape=shape)

    def file(self, clip: str, known: Record | None = None) -> BinaryIO:
        """Open a clip's file where its numbers begin, having seen that header and size are what was written.

        Parameters
        ----------
        clip : str
            Its id.
        known : Record, optional
            What the reader takes the clip for; by default what this store knows of it.

        Raises
        ------
        StoreError
            If the file is missing, truncated, or another than the manifest says, or the clip was replaced.
        """
        known = known or self.record(clip)
        try:
            if self.record(clip) == known:
                return self._opened(known)
        except StoreError:
            with suppress(OSError):
                self.manifest.refresh()  # another process may have replaced it
            if self.record(clip) == known:
                raise
        raise StoreError(f"clip {clip!r} was replaced since {self.root} was opened: open the store again")

    def _opened(self, record: Record) -> BinaryIO:
        """Open a clip's file where its numbers begin; StoreError if it is not the file that was written."""
        path, header = self.root / CLIPS / record.file, None
        try:
            file = open(path, "rb")  # noqa: SIM115  handed on open
        except OSError as error:
            how = AGAIN if isinstance(error, (FileNotFoundError, IsADirectoryError)) else UNOPENED
            raise StoreError(f"clip {record.clip!r}: {path} cannot be opened ({error.strerror}): {how}") from None
        size = os.fstat(file.fileno()).st_size
        # what numpy's parser raises for a damaged header
        with suppress(ValueError, SyntaxError, tokenize.TokenError):
            if size == record.bytes and np.lib.format.read_magic(file) == (1, 0):
                header = np.lib.format.read_array_header_1_0(file)
        if header == ((record.rows, *self.row_shape), False, self.dtype):
            return file
        file.close()
        found = f"{size} bytes" if size != record.bytes else f"header {header}"
        raise StoreError(
            f"clip {record.clip!r}: {path} is damaged: {record.bytes} bytes of {record.rows} rows of {self.dtype} "
            f"expected, found {found}: {AGAIN}"
        )

    def size_mib(self) -> float:
        """Return what the clips' files take together, in MiB."""
        return sum(record.bytes for record in self.manifest.records.values()) / 2**20

    def __len__(self) -> int:
        return len(self.manifest.records)

    def __contains__(self, clip: object) -> bool:
        return clip in self.manifest.records

    def __iter__(self) -> Iterator[str]:
        return iter(self.clips)

    def verify(self, *, repair: bool = False) -> StoreCheck:
        """Read every file and compare size, header and SHA-256 with the manifest.

        Parameters
        ----------
        repair : bool, default False
            Whether clips that are bad are removed, to be made again, and so are what killed processes left and lines
            of the manifest that cannot be read. Other processes may go on adding: each bad clip is judged again when
            none of them can.

        Returns
        -------
        StoreCheck
        """
        self.manifest.refresh()
        checked, bad = len(self), self._bad(self.clips)
        if repair:
            sweep(self.root / CLIPS)
            with self.manifest.writing():
                bad = self._bad(bad)
                self._quarantine(bad.values())
        else:  # another process may replace a clip while it is read: until two looks agree
            while bad and (again := self._bad(bad)) != bad:
                bad = again
        files = {path.name for path in (self.root / CLIPS).iterdir()}
        orphans = files - {record.file for record in self.manifest.records.values()}
        return StoreCheck(checked, {clip: fault for clip, (_, fault) in bad.items()}, tuple(sorted(orphans)))

    def _bad(self, clips: Iterable[str]) -> dict[str, tuple[Record, str]]:
        """Read the files of clips as they are now; return those that are not what was written, with the reason."""
        self.manifest.refresh()
        records = [self.manifest.records[clip] for clip in clips if clip in self]
        return {record.clip: (record, fault) for record in records if (fault := self._fault(record))}

    def _fault(self, record: Record) -> str:
        """Say what is wrong with a clip's file; "" if it is what was written."""
        try:
            with self._opened(record) as file:
                found = sha256_of(file)
        except StoreError as error:
            return str(error)
        except OSError as error:
            return f"{record.file} cannot be read ({error.strerror}): {AGAIN}"
        if found == record.sha256:
            return ""
        return f"its numbers are not those that were written: SHA-256 {found[:12]}, {record.sha256[:12]} expected"

    def _quarantine(self, bad: Iterable[tuple[Record, str]]) -> None:
        """Remove clips, and lines of the manifest that cannot be read; only while nobody else writes."""
        self.manifest.drop_truncated()
        for record, fault in bad:
            path = self.root / CLIPS / record.file
            try:
                with suppress(FileNotFoundError):
                    open(path, "rb").close()  # what cannot be opened may be whole: it is not removed
                    path.unlink()
            except OSError as error:
                raise OutputError(
                    f"clip {record.clip!r} is not removed: {path}: {error.strerror}. Make it readable, or remove it"
                ) from None
            self.manifest.append(line_of({"clip": record.clip, "bad": fault}))

    def contract(
        self, settings: ChunkSettings, encoder: Encoder | None = None, *, positional_encoding: bool = False
    ) -> AudioContract:
        """Return everything that makes chunks as they were made for training, to be saved beside the checkpoint.

        Parameters
        ----------
        settings : ChunkSettings
            How training took its chunks: the `settings` of its `ChunkDataset`.
        encoder : Encoder, optional
            With the weights that the store was made with: it makes the contract's probe, by which code that is not ours
            is checked. Without, there is no probe.
        positional_encoding : bool, default False
            Whether the model gets its chunks through `add_positions`.

        Raises
        ------
        ContractError
            If the weights are others.
        ParameterError
            If `settings` are none.
        """
        if not isinstance(settings, ChunkSettings):
            raise ParameterError(f"settings must be a ChunkSettings, such as dataset.settings; got {settings!r}")
        rates = {record.rate for record in self.manifest.records.values()} - {None}
        facts, libraries = self.provenance["encoder"], self.provenance["libraries"]
        made = AudioContract(self.spec, facts, settings, tuple(sorted(rates)), positional_encoding, libraries)
        return made.with_probe(encoder) if encoder else made

    def export_webdataset(self, folder: str | os.PathLike, shard_size: int = 256) -> Shards:
        """Write all clips as tar shards for ``webdataset``, sorted by id.

        A clip is two members, ``NNNNNNNN.npy`` (its features) and ``NNNNNNNN.json`` (its record, with its ``number`` of
        how many, ``of``). Each shard is written whole or not at all; ``index.json``, written last, holds their numbers
        of clips and SHA-256, so that `verify_shards` and ``musetools store verify`` notice what is lost.

        Parameters
        ----------
        folder : path
            A new folder, or one in which an export was killed, as its file ``.exporting`` says.
        shard_size : int, default 256
            Clips a shard.

        Returns
        -------
        Shards
            Whose `paths` ``webdataset.WebDataset`` takes. Name all decoders, as its own unpickle what they are given:
            ``.decode(webdataset.handle_extension("npy", load), webdataset.handle_extension("json", json.loads),
            only=["npy", "json"])``, with ``load = lambda data: numpy.load(io.BytesIO(data), allow_pickle=False)``.

        Raises
        ------
        StoreError
            If a clip's file is not what was written.
        OutputError
            If there are shards already, it is the store's own folder, or nothing can be written.
        """
        if Path(folder).resolve() == self.root.resolve():
            raise OutputError(f"{folder} is the store itself, whose verify would look at the shards. Name a new folder")
        self.manifest.refresh()
        records = sorted(self.manifest.records.values(), key=lambda record: record.clip)
        return write_shards(records, self.file, folder, shard_size, self.provenance)

    def __repr__(self) -> str:
        made, seconds = self.provenance["encoder"], sum(r.duration_s for r in self.manifest.records.values())
        what = f"{len(self)} clips, {seconds / 3600:.3g} h, {self.dtype}"
        return f"FeatureStore({str(self.root)!r}: {what}, {made['name']} {made['fingerprint'][:12]})"
