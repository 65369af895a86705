"""Many files into a store: a bad file is recorded with its reason, the rest goes on, a rerun adds what is missing."""

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from musetools.audio.container import name_of
from musetools.audio.probe import MediaInfo
from musetools.audio.reading import read_media
from musetools.audio.timeline import Timeline
from musetools.check.clip import ClipAudit, ClipFacts, judged
from musetools.errors import AudioError, MusetoolsError, OutputError, StoreError
from musetools.features.encoder import Encoder
from musetools.features.extract import FeatureRows
from musetools.files import Found, find_media, sha256_of, sweep, write_whole
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.train.provenance import SourceFile
from musetools.train.store import CLIPS, FeatureStore
from musetools.worker import Worker

__all__ = ["ExtractReport", "extract"]

FAILURES = "failures.json"


@dataclass(repr=False)
class ExtractReport:
    """What `extract` did."""

    added: list[str] = field(default_factory=list)  # clips that are new in the store
    skipped: list[str] = field(default_factory=list)  # clips that were there already, of the same file
    failed: dict[str, str] = field(default_factory=dict)  # files that gave no clip, with the reason
    audits: list[ClipAudit] = field(default_factory=list)  # what the check found in the clips that are new
    aligned: dict[str, Timeline] = field(default_factory=dict)  # new clips whose sound was moved to its time stamps
    passed_over: str = ""  # how many files of the folders are no media, by suffix

    @property
    def ok(self) -> bool:
        """Whether no file failed."""
        return not self.failed

    def __repr__(self) -> str:
        counts = f"{len(self.added)} added, {len(self.skipped)} there already, {len(self.failed)} failed"
        if self.passed_over:
            counts += f"; {self.passed_over}"
        if self.aligned:
            counts += f"; sound of {len(self.aligned)} laid by its time stamps: {', '.join(self.aligned)}"
        failed = (f"  {path}: {reason}" for path, reason in self.failed.items())
        audits = (f"  {audit}" for audit in self.audits if audit.level != "ok")
        return "\n".join([counts, *failed, *audits])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


def extract(
    sources: Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike],
    store: FeatureStore,
    encoder: Encoder,
    *,
    check: str | Recipe = "musetools",
    lenient: bool = False,
    audio_track: int | None = None,
    video_track: int | None = None,
    progress: bool = True,
) -> ExtractReport:
    """Extract the features of many files into a store, but for clips that would train a model on wrong sound.

    Each clip is checked on the way, see `musetools.audit_clip`. Sound that starts late or has holes is laid where its
    time stamps say if the store's spec decodes so (``decoder="timeline"``); the report and the clip's record say so.
    Whatever else the check calls an error leaves the clip out, with the reason. Files are decoded in a process of their
    own: one that ends it by a fault in native code is a failure of that file alone.

    Parameters
    ----------
    sources : iterable of paths, or mapping of clip id to path
        Media files and folders, which are searched; a clip's id is its path below the folder, ``/`` written ``__``. A
        mapping names the clips as it likes.
    store : FeatureStore
        Where they go.
    encoder : Encoder
        The one that the store was made with.
    check : Recipe or str, default "musetools"
        The pipeline for which each new clip is checked.
    lenient : bool, default False
        Whether clips with errors that decoding does not mend are taken all the same.
    audio_track, video_track : int, optional
        Tracks, counted from 1; see `load_audio`.
    progress : bool, default True
        Whether a bar is drawn on a terminal.

    Returns
    -------
    ExtractReport
        Its failures are kept in the store's ``failures.json``, too. Where another process adds the same files to the
        store, a clip counts as added by the one that was faster, and as there already for the other.

    Raises
    ------
    StoreError
        If the store was made otherwise.
    ParameterError
        If a source is neither a file nor a folder, or a folder without media, or there is no such recipe.

    Warns
    -----
    UserWarning
        If ``failures.json`` cannot be written.
    """
    store.check_provenance(encoder)
    sweep(store.root / CLIPS)
    found = Found(sources.items()) if isinstance(sources, Mapping) else find_media(sources)
    report = ExtractReport(passed_over=found.summary())
    tracks = {"audio_track": audio_track, "video_track": video_track}
    with Worker() as worker:
        job = _Extraction(store, encoder, recipe_of(check), lenient, tracks, worker, report)
        for clip, path in tqdm(found, unit="clip", file=sys.stderr, disable=None if progress else True):
            try:
                new = job.add(clip, Path(path))
                (report.added if new else report.skipped).append(clip)
            except (MusetoolsError, OSError) as error:
                report.failed[_printable(path)] = _printable(error)
    _keep(report, store.root / FAILURES)
    return report


@dataclass
class _Extraction:
    """Reads, judges and adds one clip after another."""

    store: FeatureStore
    encoder: Encoder
    recipe: Recipe
    lenient: bool
    tracks: dict[str, int | None]
    worker: Worker
    report: ExtractReport

    def add(self, clip: str, path: Path) -> bool:
        """Add a clip and return True; False if it is there already, of this very file."""
        if _is_there(self.store, clip, path):
            return False
        name_of(path)  # raises for what is no file
        decoder = self.store.spec.decoder
        reading = self.worker.run(read_media, path, decoder=decoder, decode_video=False, **self.tracks)
        with closing(reading):
            info = next(reading)
            source, audits = SourceFile.of(path, info), []
            blocks = self._passing(clip, info, reading, audits)
            rows = FeatureRows(path, self.encoder, self.store.spec, blocks=blocks)
            facts = {"source": lambda: source.to_json() | self._moved(*audits)}
            facts |= {"fps": source.fps, "n_frames": source.frames}
            try:
                self.store.add_rows(clip, rows, lambda: rows.n_samples, **facts)
            except StoreError:
                if _is_there(self.store, clip, path):
                    return False  # another process was faster
                raise
        self.report.audits += audits
        if self._moved(*audits):
            self.report.aligned[clip] = audits[0].timeline
        return True

    def _passing(
        self, clip: str, info: MediaInfo, reading: Iterator[np.ndarray | Timeline], audits: list[ClipAudit]
    ) -> Iterator[np.ndarray]:
        """Yield a clip's sound; at its end add its audit, or raise AudioError if the clip must be left out."""
        n_samples = 0
        for item in reading:
            if not isinstance(item, Timeline):
                n_samples += len(item)
                yield item
                continue
            audits.append(judged(clip, self.recipe, ClipFacts(info, item, n_samples)))
            found = audits[0].findings
            errors = [f.sentence for f in found if f.level == "error" and not (f.mended and self._by_stamps)]
            if errors and not self.lenient:
                raise AudioError(f"left out: {'; '.join(errors)}. To take it all the same: lenient=True, or --lenient")

    @property
    def _by_stamps(self) -> bool:
        return self.store.spec.decoder == "timeline"

    def _moved(self, audit: ClipAudit) -> dict[str, Any]:
        """Return what a clip's record says where its sound was moved to its time stamps."""
        moved = self._by_stamps and any(f.mended for f in audit.findings)
        return {"timeline": audit.timeline.to_json()} if moved else {}


def _keep(report: ExtractReport, path: Path) -> None:
    """Write down what failed; where that cannot be written, the report says it all the same."""
    try:
        write_whole(path, json.dumps(report.failed, indent=1, ensure_ascii=False).encode())
    except OutputError as error:
        warnings.warn(f"{error}. The report is complete, but it is not kept in the store", stacklevel=3)


def _printable(what: object) -> str:
    """Return text that can be written anywhere: a path may hold bytes that are no UTF-8."""
    return str(what).encode(errors="backslashreplace").decode()


def _is_there(store: FeatureStore, clip: str, path: Path) -> bool:
    """Tell whether a clip was made of this very file; StoreError if it was made of another one."""
    store.manifest.refresh()  # other processes may be adding
    if clip not in store:
        return False
    known, stat = store.record(clip).source or {}, path.stat()
    if (known.get("bytes"), known.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return True
    with open(path, "rb") as file:
        if known.get("sha256") == sha256_of(file):
            return True
    raise StoreError(
        f"clip {clip!r} was made of another file, {known.get('path')}: name this one otherwise ({{id: path}})"
    )
