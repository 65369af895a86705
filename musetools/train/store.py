"""Features that one can trust for a year of training: made, opened, added to, verified and merged."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from musetools.audio.decode import Source
from musetools.errors import OutputError, ParameterError, StoreError, one_of
from musetools.features.encoder import Encoder
from musetools.features.extract import FeatureRows
from musetools.features.spec import FeatureSpec
from musetools.files import PART, replacing, save_rows, sha256_of, write_whole
from musetools.recipes.contract import differing
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE, exact_fps
from musetools.train.integrity import file_name, storable
from musetools.train.manifest import Record, check_clip_id, line_of
from musetools.train.provenance import FORMAT, SourceFile, provenance_of, renamed
from musetools.train.schema import DTYPES, STORE
from musetools.train.stored import CLIPS, MANIFEST, StoredFeatures

__all__ = ["FeatureStore", "checked_store"]

PROVENANCE = "store.json"


class FeatureStore(StoredFeatures):
    """A folder of features with provenance.

    Make one with `create`, use one with `open`. ``store[clip]`` gives a clip's features, mapped read-only.

    Attributes
    ----------
    root : Path
        The folder.
    provenance : dict
        How everything in it was made: feature spec, encoder, stored type, library versions.
    spec : FeatureSpec
        How its features are made.
    dtype : dtype
        Type that is stored.
    row_shape : (int, int)
        Shape of one row: (n_layers, width).
    """

    @classmethod
    def create(
        cls, root: str | os.PathLike, spec: str | FeatureSpec, encoder: Encoder, *, dtype: str = "float32"
    ) -> "FeatureStore":
        """Make an empty store.

        Parameters
        ----------
        root : path
            A folder that is not there yet, or empty.
        spec : FeatureSpec or str
            How its features are made.
        encoder : Encoder
            What they are made with.
        dtype : {"float32", "float16"}
            Type that is stored; float16 halves disk and reading.

        Raises
        ------
        StoreError
            If something is there already.
        OutputError
            If the folder cannot be written.
        """
        one_of("dtype", dtype, DTYPES)
        root, provenance = Path(root), provenance_of(FeatureSpec.named(spec), encoder, dtype)
        if root.exists() and not _is_bare(root):
            raise StoreError(f"{root} is not empty: open a store with FeatureStore.open, or name another folder")
        try:
            (root / CLIPS).mkdir(parents=True, exist_ok=True)
            (root / MANIFEST).touch()
        except OSError as error:
            raise OutputError(
                f"cannot make a store in {root}: {error.strerror}. Name a folder that is writable"
            ) from None
        write_whole(root / PROVENANCE, json.dumps(provenance, indent=1).encode())
        return cls(root, provenance)

    @classmethod
    def open(cls, root: str | os.PathLike) -> "FeatureStore":
        """Open a store.

        Raises
        ------
        StoreError
            If there is no store, or none that you and this version can read.
        """
        root = Path(root)
        try:
            provenance = STORE.parse((root / PROVENANCE).read_bytes())
            if (there := provenance["format"]) != FORMAT:
                raise StoreError(f"{root} has format {there}; this version reads {FORMAT}. Update musetools")
            return cls(root, renamed(provenance))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(
                f"{root} holds no store ({error.filename} is missing): FeatureStore.create makes one in a new folder"
            ) from None
        except OSError as error:
            raise StoreError(f"{error.filename} cannot be read: {error.strerror}. Change its permissions") from None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{root / PROVENANCE} cannot be read ({error}): restore it from a copy") from None

    def add(
        self,
        clip: str,
        source: Source,
        encoder: Encoder,
        *,
        fps: float | Fraction | None = None,
        n_frames: int | None = None,
        replace: bool = False,
    ) -> Record:
        """Extract a clip's features into the store.

        Parameters
        ----------
        clip : str
            Its id: up to 120 characters that any file system takes.
        source : path, binary file or (array, sample_rate)
            Its audio, or a video.
        encoder : Encoder
            The one that the store was made with.
        fps : float or Fraction, optional
            Frame rate of its video, by default what the file says.
        n_frames : int, optional
            Frames of its video, by default what the file says, unless `fps` is another rate than the file's.
        replace : bool, default False
            Whether a clip of this id may be there already.

        Returns
        -------
        Record

        Raises
        ------
        StoreError
            If the id cannot be used or is taken, or the store was made otherwise.
        AudioError
            If the audio cannot be trusted.
        OutputError
            If it cannot be written; the store is as it was.
        """
        self.check_provenance(encoder)
        self.manifest.check_free(check_clip_id(clip), replace)  # before anything is read
        file = SourceFile.of(source) if isinstance(source, (str, os.PathLike)) else None
        if file and (fps is None or exact_fps(fps) == file.fps):  # whose frames are counted at this rate
            fps, n_frames = file.fps, file.frames if n_frames is None else n_frames
        rows, known = FeatureRows(source, encoder, self.spec), file.to_json() if file else None
        return self.add_rows(
            clip, rows, lambda: rows.n_samples, source=known, fps=fps, n_frames=n_frames, replace=replace
        )

    def add_rows(
        self,
        clip: str,
        rows: np.ndarray | Iterable[np.ndarray],
        n_samples: int | Callable[[], int] | None = None,
        *,
        source: dict[str, Any] | Callable[[], dict[str, Any]] | None = None,
        fps: float | Fraction | None = None,
        n_frames: int | None = None,
        replace: bool = False,
    ) -> Record:
        """Write rows that are made already, or are being made, as a clip; see `add`.

        Parameters
        ----------
        clip, fps, n_frames, replace
            As in `add`.
        rows : ndarray (n_rows, n_layers, width), or an iterable of such
            Features, taken block by block.
        n_samples : int or callable, optional
            Length of the waveform, asked for when the rows are written; by default 320 a row.
        source : dict, or callable that returns one, optional
            The file that they come from: its ``path`` and whatever else is known, asked for when the rows are written.
        """
        check_clip_id(clip)
        self.manifest.refresh()
        self.manifest.check_free(clip, replace)
        rate, folder = str(exact_fps(fps)) if fps is not None else None, self.root / CLIPS
        with ExitStack() as lock:
            with replacing(folder / file_name(clip)) as file:
                blocks = storable(rows, self.row_shape, self.dtype)
                n_rows = save_rows(file, blocks, self.row_shape, self.dtype.newbyteorder("<").str)
                n_bytes, sha256 = file.tell(), sha256_of(file)
                # from here to the line in the manifest no other process can add
                lock.enter_context(self.manifest.writing())
                self.manifest.check_free(clip, replace)
                old = self.manifest.records.get(clip)
                # a clip that is replaced keeps its file until the manifest names the new one
                file.path = folder / file_name(clip, other_than=old.file if old else None)
                samples = int(n_samples() if callable(n_samples) else n_samples or n_rows * ROW_SAMPLES)
                record = Record(
                    clip=clip,
                    file=file.path.name,
                    rows=n_rows,
                    dtype=str(self.dtype),
                    bytes=n_bytes,
                    sha256=sha256,
                    samples=samples,
                    duration_s=samples / SAMPLE_RATE,
                    fps=rate,
                    frames=None if n_frames is None else int(n_frames),  # numpy's are no JSON
                    source=source() if callable(source) else source,
                )
                line = line_of(record)  # raises before the file takes its place
            self._append(record, line, old)
        return self.record(clip)

    def _append(self, record: Record, line: bytes, old: Record | None = None) -> None:
        """Put a clip whose file is there into the manifest, or remove that file; only while it is written to."""
        try:
            self.manifest.append(line)
        except OutputError:
            (self.root / CLIPS / record.file).unlink(missing_ok=True)
            raise
        if old and old.file != record.file:
            (self.root / CLIPS / old.file).unlink(missing_ok=True)

    def merge(self, other: "FeatureStore") -> int:
        """Copy the clips of another store of equal provenance into this one; return how many were not there yet.

        Raises
        ------
        ParameterError
            If the other is no FeatureStore.
        StoreError
            If the other was made otherwise, holds another clip of an id that is there, or a file that is not whole.
        """
        self._check_equal(checked_store(other).provenance)
        for store in (self, other):
            store.manifest.refresh()
        clashes = [clip for clip in other if self.manifest.twin(clip) not in (None, clip)]
        clashes += [clip for clip in other if clip in self and self.record(clip).sha256 != other.record(clip).sha256]
        if clashes:
            names = ", ".join(map(repr, clashes[:5]))
            raise StoreError(f"both stores have other clips called {names}: rename or remove one")
        missing = [clip for clip in other if clip not in self]
        for clip in missing:
            self._copy(clip, other)
        return len(missing)

    def _copy(self, clip: str, other: "FeatureStore") -> None:
        record = dataclasses.replace(other.record(clip), file=file_name(clip))
        with self.manifest.writing():
            self.manifest.check_free(clip, replace=False)
            with other.file(clip) as source, replacing(self.root / CLIPS / record.file) as file:
                source.seek(0)
                shutil.copyfileobj(source, file)
                if sha256_of(file) != record.sha256:
                    raise StoreError(f"clip {clip!r} of {other.root} is damaged: repair that store first")
            self._append(record, line_of(record))

    def check_provenance(self, encoder: Encoder) -> None:
        """Raise StoreError, showing both, if what this encoder makes here and now does not belong into the store."""
        self._check_equal(provenance_of(self.spec, encoder, self.provenance["dtype"]))

    def _check_equal(self, provenance: dict[str, Any]) -> None:
        if other := differing(self.provenance, provenance, "in the store", "now"):
            raise StoreError(f"{self.root} was made otherwise: {'; '.join(other)}. Never mix: use a new store")


def checked_store(store: FeatureStore) -> FeatureStore:
    """Return a store; ParameterError if it is none, but the path of one, say."""
    if not isinstance(store, FeatureStore):
        raise ParameterError(f"a FeatureStore is needed; got {store!r:.160}. Open it: musetools.FeatureStore.open")
    return store


def _is_bare(root: Path) -> bool:
    """Tell whether a folder holds nothing but what `create` leaves when it is killed."""
    if not root.is_dir():
        return False
    names = {path.name for path in root.iterdir() if not path.match(f".{PROVENANCE}.*{PART}")}
    written = MANIFEST in names and (root / MANIFEST).stat().st_size
    return names <= {CLIPS, MANIFEST} and not written and not any((root / CLIPS).glob("*"))
