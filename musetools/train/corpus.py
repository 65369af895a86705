"""Many files into a store: a bad file is recorded with its reason, the rest goes on, a rerun adds what is missing."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from html import escape
from pathlib import Path

from tqdm import tqdm

from musetools.audio.probe import probe_media
from musetools.errors import MusetoolsError, StoreError
from musetools.features.encoder import Encoder
from musetools.files import find_media, sweep, write_whole
from musetools.train.integrity import digest
from musetools.train.store import CLIPS, FeatureStore

__all__ = ["ExtractReport", "extract"]

FAILURES = "failures.json"


@dataclass(repr=False)
class ExtractReport:
    """What `extract` did.

    Attributes
    ----------
    added : list of str
        Clips that are new in the store.
    skipped : list of str
        Clips that were there already, of the same file.
    failed : dict of str to str
        Files that gave no clip, with the reason.
    """

    added: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no file failed."""
        return not self.failed

    def __repr__(self) -> str:
        counts = f"{len(self.added)} added, {len(self.skipped)} there already, {len(self.failed)} failed"
        return "\n".join([counts, *(f"  {path}: {reason}" for path, reason in self.failed.items())])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


def extract(
    sources: Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike],
    store: FeatureStore,
    encoder: Encoder,
    *,
    progress: bool = True,
) -> ExtractReport:
    """Extract the features of many files into a store.

    Parameters
    ----------
    sources : iterable of paths, or mapping of clip id to path
        Media files and folders, which are searched; a clip's id is its path below the folder, ``/`` written ``__``. A
        mapping names the clips as it likes.
    store : FeatureStore
        Where they go.
    encoder : Encoder
        The one that the store was made with.
    progress : bool, default True
        Whether a bar is drawn on a terminal.

    Returns
    -------
    ExtractReport
        Its failures are kept in the store's ``failures.json``, too.

    Raises
    ------
    StoreError
        If the store was made otherwise.
    ParameterError
        If a source is neither a file nor a folder.
    """
    store.check_making(encoder)
    sweep(store.root / CLIPS)
    report = ExtractReport()
    found = list(sources.items() if isinstance(sources, Mapping) else find_media(sources))
    for clip, path in tqdm(found, unit="clip", file=sys.stderr, disable=None if progress else True):
        try:
            if _is_there(store, clip, Path(path)):
                report.skipped.append(clip)
                continue
            fps, n_frames = _video_facts(Path(path))
            store.add(clip, path, encoder, fps=fps, n_frames=n_frames)
            report.added.append(clip)
        except (MusetoolsError, OSError) as error:
            report.failed[_printable(path)] = _printable(error)
    write_whole(store.root / FAILURES, json.dumps(report.failed, indent=1, ensure_ascii=False).encode())
    return report


def _printable(what: object) -> str:
    """Return text that can be written anywhere: a path may hold bytes that are no UTF-8."""
    return str(what).encode(errors="backslashreplace").decode()


def _is_there(store: FeatureStore, clip: str, path: Path) -> bool:
    """Tell whether a clip was made of this very file; StoreError if it was made of another one."""
    if clip not in store:
        return False
    origin, stat = store.record(clip).source or {}, path.stat()
    if (origin.get("bytes"), origin.get("mtime_ns")) == (stat.st_size, stat.st_mtime_ns):
        return True
    with open(path, "rb") as file:
        if origin.get("sha256") == digest(file):
            return True
    raise StoreError(
        f"clip {clip!r} was made of another file, {origin.get('path')}: name this one otherwise ({{id: path}})"
    )


def _video_facts(path: Path) -> tuple[Fraction | None, int | None]:
    """Return frame rate and frame count of a file's video, by its time stamps, where there is one."""
    video = probe_media(path).video
    return (video.timed_rate or video.rate, video.frames_counted) if video else (None, None)
