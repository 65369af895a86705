"""Find out why lips are out of sync before a week of training: clips, folders, stores, samplers, converters."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from musetools.check.clip import ClipAudit, audit_clip
from musetools.check.findings import LEVELS, Finding, Notes, declared_samples
from musetools.errors import ParameterError
from musetools.lab.alignment.converter import ConverterAudit, audit_converter
from musetools.lab.alignment.lag import MeasuredLag, measure_lag
from musetools.lab.alignment.offset import OffsetEstimate, estimate_offset
from musetools.recipes.profile import WindowLag, recipe_of, window_lag
from musetools.recipes.published import Recipe
from musetools.recipes.sampler import SamplerAudit, audit_sampler
from musetools.table import Table
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE
from musetools.train.corpus import AUDIO, VIDEO

if TYPE_CHECKING:
    from musetools.train.store import FeatureStore

__all__ = ["ClipAudit", "Finding", "FolderAudit", "audit_clip", "audit_folder", "check_store"]
__all__ += ["ConverterAudit", "MeasuredLag", "OffsetEstimate", "SamplerAudit", "WindowLag"]
__all__ += ["audit_converter", "audit_sampler", "estimate_offset", "measure_lag", "window_lag"]


@dataclass(frozen=True, repr=False)
class FolderAudit:
    """Audits of many clips, worst first."""

    audits: tuple[ClipAudit, ...]

    @property
    def errors(self) -> int:
        """How many clips have an error."""
        return sum(audit.level == "error" for audit in self.audits)

    @property
    def focus(self) -> ClipAudit:
        """The worst clip that has picture and sound to look into."""
        whole = (audit for audit in self.audits if audit.fps and audit.n_frames and audit.n_samples)
        if (first := next(whole, None)) is None:
            raise ParameterError(f"none of {len(self.audits)} clips has picture and sound that can be read:\n{self!r}")
        return first

    def table(self) -> Table:
        """Return a line for each clip."""
        caption = f"{self.errors} of {len(self.audits)} clips have errors"
        return Table(["level", "clip", "sound", "frames", "found"], [audit.line() for audit in self.audits], caption)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def to_json(self) -> str:
        """Return all audits as JSON."""
        return json.dumps([audit.to_json() for audit in self.audits], indent=1)


def audit_folder(
    paths: str | os.PathLike | Iterable[str | os.PathLike], recipe: str | Recipe = "musetools", *, quick: bool = False
) -> FolderAudit:
    """Audit every media file of some folders and files; see `audit_clip`.

    Raises
    ------
    ParameterError
        If a path is neither a file nor a folder, or there is no such recipe.
    """
    found: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, (str, os.PathLike)) else paths):
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO + VIDEO and p.is_file())
        elif path.exists():
            found.append(path)
        else:
            raise ParameterError(f"no file or folder {path}; the working folder is {Path.cwd()}")
    return _worst_first(audit_clip(path, recipe, quick=quick) for path in found)


def _worst_first(audits: Iterable[ClipAudit]) -> FolderAudit:
    order = (*LEVELS, "ok")
    return FolderAudit(tuple(sorted(audits, key=lambda audit: order.index(audit.level))))


def check_store(
    store: "FeatureStore", videos: str | os.PathLike | None = None, *, recipe: str | Recipe = "musetools"
) -> FolderAudit:
    """Audit a whole training set against its features.

    Parameters
    ----------
    store : FeatureStore
        The features.
    videos : path, optional
        Folder of the videos, by the names or below the folders that they were extracted from; by default where the
        store found them.
    recipe : Recipe or str, default "musetools"
        The pipeline that is to be trained.

    Returns
    -------
    FolderAudit
        A line for each clip; a clip whose video is gone, or has another length than its features, has an error.
    """
    return _worst_first(_check_clip(store, clip, videos, recipe_of(recipe)) for clip in store)


def _check_clip(store: "FeatureStore", clip: str, videos: str | os.PathLike | None, recipe: Recipe) -> ClipAudit:
    record = store.record(clip)
    origin = Path((record.source or {}).get("path", clip))
    path = origin if videos is None else _below(Path(videos), clip, origin.name)
    audit = audit_clip(path, recipe, quick=True)
    notes = Notes(list(audit.findings))
    declared = declared_samples(audit.info)
    if declared is not None and abs(declared - record.samples) > 2 * ROW_SAMPLES:
        gap = (declared - record.samples) / SAMPLE_RATE
        notes.add(
            "error",
            "other sound",
            gap,
            f"{path} has {gap:+.2f} s of sound against its features in the store. Extract it again",
        )
    return ClipAudit(clip, recipe, audit.info, record.samples, audit.n_frames, audit.fps, notes.done())


def _below(folder: Path, clip: str, name: str) -> Path:
    """Find a clip's video: `extract` writes the folders that it lay in into its id."""
    path = folder.joinpath(*clip.split("__"))
    return path if path.is_file() else folder / name
