"""Many files into a store: a bad file is recorded with its reason, the rest goes on, a rerun adds what is missing."""

import json
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tqdm import tqdm

from musetools.check.clip import ClipAudit, audit_clip
from musetools.errors import MusetoolsError, OutputError, StoreError
from musetools.features.encoder import Encoder
from musetools.features.extract import FeatureRows
from musetools.files import find_media, sha256_of, sweep, write_whole
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.train.provenance import SourceFile
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
    audits : list of ClipAudit
        What the check found in the clips that are new, where it was asked for.
    """

    added: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    audits: list[ClipAudit] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no file failed."""
        return not self.failed

    def __repr__(self) -> str:
        counts = f"{len(self.added)} added, {len(self.skipped)} there already, {len(self.failed)} failed"
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
    check: str | Recipe | None = None,
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
    check : Recipe or str, optional
        The pipeline for which each new clip is checked by its headers and packets; see `musetools.audit_clip`.
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
    recipe = None if check is None else recipe_of(check)
    sweep(store.root / CLIPS)
    report = ExtractReport()
    found = list(sources.items() if isinstance(sources, Mapping) else find_media(sources))
    for clip, path in tqdm(found, unit="clip", file=sys.stderr, disable=None if progress else True):
        try:
            new = _add(store, clip, Path(path), encoder)
            (report.added if new else report.skipped).append(clip)
            if new and recipe:
                report.audits.append(audit_clip(path, recipe, quick=True))
        except (MusetoolsError, OSError) as error:
            report.failed[_printable(path)] = _printable(error)
    _keep(report, store.root / FAILURES)
    return report


def _add(store: FeatureStore, clip: str, path: Path, encoder: Encoder) -> bool:
    """Add a clip and return True; False if it is there already, of this very file."""
    if _is_there(store, clip, path):
        return False
    source, rows = SourceFile.of(path), FeatureRows(path, encoder, store.spec)
    facts = {"source": source.to_json(), "fps": source.fps, "n_frames": source.frames}
    try:
        store.add_rows(clip, rows, lambda: rows.n_samples, **facts)
    except StoreError:
        if _is_there(store, clip, path):
            return False  # another process was faster
        raise
    return True


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
