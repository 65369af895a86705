"""Features that one can trust for a year of training: one ``.npy`` a clip, a manifest, and how all of it was made."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from musetools.audio.decode import Source
from musetools.errors import OutputError, ParameterError, StoreError
from musetools.features.encoder import Encoder
from musetools.features.extract import FeatureRows
from musetools.features.spec import FeatureSpec
from musetools.files import PART, replacing, save_rows, write_whole
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE, exact_fps
from musetools.train import integrity as keeping
from musetools.train.manifest import Manifest, Record, check_clip_id
from musetools.train.provenance import FORMAT, differences, in_words_of_today, making_of, spec_of
from musetools.train.settings import Chunker, ChunkSettings

__all__ = ["FeatureStore"]

DTYPES = ("float32", "float16")
MAKING, MANIFEST, CLIPS = "store.json", "manifest.jsonl", "clips"


class FeatureStore:
    """A folder of features with provenance.

    Make one with `create`, use one with `open`. ``store[clip]`` gives a clip's features, mapped read-only.

    Attributes
    ----------
    root : Path
        The folder.
    making : dict
        How everything in it was made: feature spec, encoder, stored type, library versions.
    spec : FeatureSpec
        How its features are made.
    dtype : dtype
        Type that is stored.
    row_shape : (int, int)
        Shape of one row: (n_layers, width).
    """

    def __init__(self, root: Path, making: dict[str, Any]):
        self.root, self.making = root, making
        self.spec = spec_of(making)
        self.dtype = np.dtype(making["dtype"])
        self.row_shape = making["encoder"]["n_layers"], making["encoder"]["width"]
        self.manifest = Manifest(root / MANIFEST)

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
        if dtype not in DTYPES:
            raise ParameterError(f"a store's dtype is one of {', '.join(DTYPES)}; got {dtype!r}")
        root, making = Path(root), making_of(FeatureSpec.named(spec), encoder, dtype)
        if root.exists() and not _is_bare(root):
            raise StoreError(f"{root} is not empty: open a store with FeatureStore.open, or name another folder")
        try:
            (root / CLIPS).mkdir(parents=True, exist_ok=True)
            (root / MANIFEST).touch()
        except OSError as error:
            raise OutputError(
                f"cannot make a store in {root}: {error.strerror}. Name a folder that is writable"
            ) from None
        _write_json(root / MAKING, making)
        return cls(root, making)

    @classmethod
    def open(cls, root: str | os.PathLike) -> "FeatureStore":
        """Open a store.

        Raises
        ------
        StoreError
            If there is no store, or none that this version can read.
        """
        root = Path(root)
        try:
            making = json.loads((root / MAKING).read_text(encoding="utf-8"))
            if making["format"] != FORMAT:
                raise StoreError(f"{root} has format {making['format']}; this version reads {FORMAT}. Update musetools")
            return cls(root, in_words_of_today(making))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(
                f"{root} holds no store ({error.filename} is missing): FeatureStore.create makes one"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{root / MAKING} cannot be read ({error!r}): restore it from a copy") from None

    # --- reading

    @property
    def clips(self) -> tuple[str, ...]:
        """Ids of the clips, in the order in which they were added."""
        return tuple(self.manifest.records)

    def record(self, clip: str) -> Record:
        """Return what is known of a clip; StoreError if there is none of this id."""
        if clip not in self.manifest.records:
            aside = self.manifest.put_aside.get(clip)
            why = f": a repair put it aside ({aside}), make it again" if aside else ""
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

    def file(self, clip: str) -> BinaryIO:
        """Open a clip's file where its numbers begin, having seen that header and size are what was written.

        Raises
        ------
        StoreError
            If the file is missing, truncated, or another than the manifest says.
        """
        return keeping.open_checked(self.path(clip), self.record(clip), self.dtype, self.row_shape)

    def size_mib(self) -> float:
        """Return what the clips' files take together, in MiB."""
        return sum(record.bytes for record in self.manifest.records.values()) / 2**20

    def __len__(self) -> int:
        return len(self.manifest.records)

    def __contains__(self, clip: object) -> bool:
        return clip in self.manifest.records

    def __iter__(self) -> Iterator[str]:
        return iter(self.clips)

    def verify(self, *, repair: bool = False) -> keeping.StoreCheck:
        """Read every file and compare size, header and SHA-256 with the manifest.

        Parameters
        ----------
        repair : bool, default False
            Whether bad clips are put aside, to be made again, and what a killed process left is removed.

        Returns
        -------
        StoreCheck
        """
        check = keeping.verify(self)
        if repair:
            keeping.repair(self, check)
        return check

    # --- adding

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
            Frame rate of its video.
        n_frames : int, optional
            Frames of its video.
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
        self.check_making(encoder)
        self._check_free(clip, replace)
        rows, origin = FeatureRows(source, encoder, self.spec), keeping.origin(source)
        known = {"origin": origin, "fps": fps, "n_frames": n_frames, "replace": replace}
        return self.add_rows(clip, rows, lambda: rows.n_samples, **known)

    def add_rows(
        self,
        clip: str,
        rows: Iterable[np.ndarray],
        n_samples: int | Callable[[], int] | None = None,
        *,
        origin: dict[str, Any] | None = None,
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
        origin : dict, optional
            Where they come from.
        """
        self.manifest.refresh()
        self._check_free(clip, replace)
        old = self.manifest.records.get(clip)
        # a clip that is replaced keeps its file until the manifest names the new one
        name = keeping.file_name(clip, other_than=old.file if old else None)
        rate = str(exact_fps(fps)) if fps is not None else None
        n_frames = None if n_frames is None else int(n_frames)  # numpy's are no JSON
        blocks = keeping.checked_rows([rows] if isinstance(rows, np.ndarray) else rows, self.row_shape, self.dtype)
        with ExitStack() as lock:
            with replacing(self.root / CLIPS / name) as file:
                n_rows = save_rows(file, blocks, self.row_shape, self.dtype.newbyteorder("<").str)
                size, digest = file.tell(), keeping.digest(file)
                # from here to the line in the manifest no other process can add
                lock.enter_context(self.manifest.writing())
                self._check_free(clip, replace)
            samples = int(n_samples() if callable(n_samples) else n_samples or n_rows * ROW_SAMPLES)
            seconds = samples / SAMPLE_RATE
            dtype = str(self.dtype)
            record = Record(clip, name, n_rows, dtype, size, digest, samples, seconds, rate, n_frames, origin)
            self.manifest.append(record)
            if old and old.file != name:
                (self.root / CLIPS / old.file).unlink(missing_ok=True)
        return record

    def merge(self, other: "FeatureStore") -> int:
        """Copy the clips of another store of equal making into this one; return how many were not there yet.

        Raises
        ------
        StoreError
            If the other was made otherwise, holds another clip of an id that is there, or a file that is not whole.
        """
        self._check_equal(other.making)
        return keeping.merge(self, other)

    def check_making(self, encoder: Encoder) -> None:
        """Raise StoreError, showing both, if what this encoder makes here and now does not belong into the store."""
        self._check_equal(making_of(self.spec, encoder, self.making["dtype"]))

    def _check_equal(self, making: dict[str, Any]) -> None:
        if differing := differences(self.making, making):
            raise StoreError(f"{self.root} was made otherwise: {'; '.join(differing)}. Never mix: use a new store")

    def _check_free(self, clip: str, replace: bool) -> None:
        twin = self.manifest.twin(check_clip_id(clip))
        if twin not in (None, clip):
            raise StoreError(f"clip {clip!r} differs from {twin!r} in case or Unicode form only. Choose another id")
        if twin == clip and not replace:
            raise StoreError(f"clip {clip!r} is in {self.root} already. Pass replace=True, or choose another id")

    # --- the same on both sides

    def chunker(self, encoder: Encoder, settings: ChunkSettings) -> Chunker:
        """Return what makes chunks for inference exactly as they were made for training.

        Parameters
        ----------
        encoder : Encoder
            With the weights that the store was made with.
        settings : ChunkSettings
            How training took its chunks: the `settings` of its `ChunkDataset`.

        Raises
        ------
        StoreError
            If the weights are others.
        ParameterError
            If `settings` are none.
        """
        if not isinstance(settings, ChunkSettings):
            raise ParameterError(f"settings must be a ChunkSettings, such as dataset.settings; got {settings!r}")
        if encoder.fingerprint != self.making["encoder"]["fingerprint"]:
            ours, theirs = self.making["encoder"]["fingerprint"], encoder.fingerprint
            raise StoreError(
                f"{self.root} was made with weights {ours[:12]}, got {theirs[:12]} ({encoder.name}). Load those"
            )
        rates = {record.rate for record in self.manifest.records.values()}
        return Chunker(encoder, self.spec, settings, frozenset(rates - {None}))

    def __repr__(self) -> str:
        made, seconds = self.making["encoder"], sum(r.duration_s for r in self.manifest.records.values())
        what = f"{len(self)} clips, {seconds / 3600:.3g} h, {self.dtype}"
        return f"FeatureStore({str(self.root)!r}: {what}, {made['name']} {made['fingerprint'][:12]})"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


def _is_bare(root: Path) -> bool:
    """Tell whether a folder holds nothing but what `create` leaves when it is killed."""
    if not root.is_dir():
        return False
    names = {path.name for path in root.iterdir() if not path.match(f".{MAKING}.*{PART}")}
    written = MANIFEST in names and (root / MANIFEST).stat().st_size
    return names <= {CLIPS, MANIFEST} and not written and not any((root / CLIPS).glob("*"))


def _write_json(path: Path, plain: dict[str, Any]) -> None:
    write_whole(path, json.dumps(plain, indent=1).encode())
