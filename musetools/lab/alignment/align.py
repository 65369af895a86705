"""Find out why lips are out of sync before a week of training: clips, folders, stores, samplers, converters."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from musetools.check.clip import ClipAudit, audit_clip, declared_samples
from musetools.check.findings import Finding, by_level
from musetools.check.folder import FolderAudit, worst_first
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.timing import ROW_SAMPLES, SAMPLE_RATE

if TYPE_CHECKING:
    from musetools.train.store import FeatureStore

__all__ = ["check_store"]


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
    return worst_first(_check_clip(store, clip, videos, recipe_of(recipe)) for clip in store)


def _check_clip(store: "FeatureStore", clip: str, videos: str | os.PathLike | None, recipe: Recipe) -> ClipAudit:
    record = store.record(clip)
    origin = Path((record.source or {}).get("path", clip))
    path = origin if videos is None else _below(Path(videos), clip, origin.name)
    audit = audit_clip(path, recipe, quick=True)
    found = list(audit.findings)
    declared = declared_samples(audit.info) if audit.info else None
    if declared is not None and abs(declared - record.samples) > 2 * ROW_SAMPLES:
        gap = (declared - record.samples) / SAMPLE_RATE
        sentence = f"{path} has {gap:+.2f} s of sound against its features in the store. Extract it again"
        found.append(Finding("error", "other sound", gap, sentence))
    return ClipAudit(clip, recipe, audit.info, record.samples, audit.n_frames, audit.fps, by_level(found))


def _below(folder: Path, clip: str, name: str) -> Path:
    """Find a clip's video: `extract` writes the folders that it lay in into its id."""
    path = folder.joinpath(*clip.split("__"))
    return path if path.is_file() else folder / name
