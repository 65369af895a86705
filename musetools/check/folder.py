"""Findings of many clips, worst first."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from musetools.check.clip import ClipAudit, ClipFacts, clip_facts, judged
from musetools.check.findings import LEVELS
from musetools.errors import AudioError, ParameterError
from musetools.files import find_media
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.table import Table

__all__ = ["FolderAudit", "audit_folder", "worst_first"]


@dataclass(frozen=True, repr=False)
class FolderAudit:
    """Audits of many clips, worst first."""

    audits: tuple[ClipAudit, ...]
    passed_over: str = ""  # how many files of the folders are no media, by suffix
    remarks: str = ""  # what lips say of all of them

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
        caption += f"; {self.passed_over}" if self.passed_over else ""
        not_known = max((audit.not_known for audit in self.audits), key=len, default="")
        caption += f"; {not_known}" if not_known else ""
        head, lines = ["level", "clip", "sound", "frames", "found"], [audit.table_row() for audit in self.audits]
        if self.remarks:
            caption += f"\n{self.remarks}"
            head.insert(4, "lips")
            for audit, line in zip(self.audits, lines, strict=True):
                line.insert(4, audit.lips.cell())
        return Table(head, lines, caption)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def to_json(self) -> str:
        """Return all audits as JSON."""
        return json.dumps({"clips": [audit.to_json() for audit in self.audits]}, indent=1)


def audit_folder(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    recipe: str | Recipe = "musetools",
    *,
    quick: bool = False,
    audio_track: int | None = None,
    video_track: int | None = None,
) -> FolderAudit:
    """Audit every media file of some folders and files; see `audit_clip`.

    Files are decoded in a process of their own, so that one that ends it by a fault in native code is a finding.

    Raises
    ------
    ParameterError
        If a path is neither a file nor a folder, or there is no such recipe.
    """
    recipe, found = recipe_of(recipe), find_media(paths)
    tracks = {"audio_track": audio_track, "video_track": video_track}
    if quick or len(found) == 1:
        audits = worst_first(_judged(path, recipe, clip_facts(path, quick=quick, **tracks)) for _, path in found)
    else:
        from musetools.worker import Worker  # which one clip does not wait for

        with Worker() as worker:
            audits = worst_first(_judged(path, recipe, worker.run(clip_facts, path, **tracks)) for _, path in found)
    return replace(audits, passed_over=found.summary())


def _judged(path: Path, recipe: Recipe, read: Iterator[ClipFacts]) -> ClipAudit:
    """Judge what is read of a clip; one that ends its process, or lacks a track that is asked for, is a finding."""
    try:
        (facts,) = read  # to its end, so that the process that reads goes on with the next clip
    except (AudioError, ParameterError) as error:
        facts = ClipFacts(fault=("unreadable", str(error)))
    return judged(os.fspath(path), recipe, facts)


def worst_first(audits: Iterable[ClipAudit]) -> FolderAudit:
    """Sort the audits of many clips."""
    order = (*LEVELS, "ok")
    return FolderAudit(tuple(sorted(audits, key=lambda audit: order.index(audit.level))))
