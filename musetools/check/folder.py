"""Findings of many clips, worst first."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from musetools.check.clip import ClipAudit, audit_clip
from musetools.check.findings import LEVELS
from musetools.errors import ParameterError
from musetools.files import find_media
from musetools.recipes.recipe import Recipe
from musetools.table import Table

__all__ = ["FolderAudit", "audit_folder", "worst_first"]


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
        return Table(
            ["level", "clip", "sound", "frames", "found"], [audit.table_row() for audit in self.audits], caption
        )

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
    return worst_first(audit_clip(path, recipe, quick=quick) for _, path in find_media(paths))


def worst_first(audits: Iterable[ClipAudit]) -> FolderAudit:
    """Sort the audits of many clips."""
    order = (*LEVELS, "ok")
    return FolderAudit(tuple(sorted(audits, key=lambda audit: order.index(audit.level))))
