"""The audit of one clip: everything about it that puts lips out of sync with sound."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from html import escape

import numpy as np

from musetools.audio.probe import MediaInfo, probe_media
from musetools.check import findings as checks
from musetools.check.findings import Finding, Notes
from musetools.errors import AudioError, ParameterError
from musetools.recipes.profile import Profile, profile
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.table import Table
from musetools.timing import ROW_RATE, ROW_SAMPLES, SAMPLE_RATE, exact_fps

__all__ = ["ClipAudit", "audit_clip"]


@dataclass(frozen=True, repr=False)
class ClipAudit:
    """What `audit_clip` found.

    Attributes
    ----------
    name : str
        The clip.
    recipe : Recipe
        The pipeline that it was audited for.
    info : MediaInfo or None
        What its file says of itself; None for audio given as an array, and where it cannot be opened.
    n_samples : int or None
        Length of its sound, 16 kHz; by its header where nothing was decoded.
    n_frames : int or None
        Frames of its video.
    fps : Fraction or None
        Their rate, by their time stamps.
    findings : tuple of Finding
        Worst first.
    """

    name: str
    recipe: Recipe
    info: MediaInfo | None
    n_samples: int | None
    n_frames: int | None
    fps: Fraction | None
    findings: tuple[Finding, ...]

    @property
    def level(self) -> str:
        """The worst level found; "ok" if nothing but notes was."""
        return next((f.level for f in self.findings if f.level != "note"), "ok")

    @property
    def surplus_rows(self) -> float | None:
        """``frames · 50 / fps − rows``: 2·frames − rows at 25 fps; positive where the sound is too short."""
        if None in (self.n_samples, self.n_frames, self.fps):
            return None
        return float(self.n_frames * ROW_RATE / self.fps) - self.n_samples // ROW_SAMPLES

    def recipes(self, names: Iterable[str] | None = None) -> Table:
        """Say what each recipe would do to this clip: lag, frames lost, or why it stops."""
        if self.n_samples is None or self.fps is None:
            raise ParameterError(f"{self.name}: without sound and a frame rate no recipe can be asked")
        lines = [
            _fate(profile(name, self.n_samples, checks.told(self.fps)), self.n_frames) for name in names or RECIPES
        ]
        return Table([f"at {float(self.fps):.6g} fps", "lag in ms", "frames", "against the video"], lines)

    def to_json(self) -> dict:
        """Return plain values."""
        known = {"fps": str(self.fps) if self.fps else None, "frames": self.n_frames, "samples": self.n_samples}
        findings = [asdict(finding) for finding in self.findings]
        return {"clip": self.name, "recipe": self.recipe.name, "level": self.level, **known, "findings": findings}

    def line(self) -> list[str]:
        """Sum the audit up in the cells of a table."""
        seconds = f"{self.n_samples / SAMPLE_RATE:.2f} s" if self.n_samples is not None else "–"
        video = f"{self.n_frames} at {float(self.fps):.6g}" if self.fps else "–"
        told = "; ".join(f.what for f in self.findings if f.level != "note") or "–"
        return [self.level, self.name, seconds, video, told]

    def __repr__(self) -> str:
        lines = [f"{f.level}: {f.sentence}" for f in self.findings] or ["nothing found"]
        return "\n".join([f"{self.name} for {self.recipe.name}: {self.level}", *(f"  {line}" for line in lines)])

    def _repr_html_(self) -> str:
        items = "".join(f"<li><b>{f.level}</b> {escape(f.sentence)}</li>" for f in self.findings)
        head = f"{escape(self.name)} for {escape(self.recipe.name)}: <b>{self.level}</b>"
        return f"<p>{head}</p><ul>{items or '<li>nothing found</li>'}</ul>"


def audit_clip(
    source: str | os.PathLike | tuple[np.ndarray, int],
    recipe: str | Recipe = "musetools",
    *,
    n_frames: int | None = None,
    fps: float | Fraction | None = None,
    quick: bool = False,
) -> ClipAudit:
    """Audit a clip: everything about it that puts lips out of sync with sound.

    Parameters
    ----------
    source : path or (array, sample_rate)
        A video; or audio, with the frames and fps of the video it belongs to.
    recipe : Recipe or str, default "musetools"
        The pipeline that is to be trained or run on it.
    n_frames : int, optional
        Video frames, where the file has none of its own.
    fps : float or Fraction, optional
        Their rate.
    quick : bool, default False
        Whether to read headers and packets alone, decoding nothing.

    Returns
    -------
    ClipAudit
        A file that cannot be read is a finding, not an error.

    Raises
    ------
    ParameterError
        If there is no such recipe, or an argument cannot be used.
    """
    recipe, notes, rate = recipe_of(recipe), Notes(), exact_fps(fps) if fps is not None else None
    info, name = None, "the array"
    if not isinstance(source, tuple):
        name = os.fspath(source)
        try:
            info = probe_media(source)
        except AudioError as error:
            notes.add("error", "unreadable", 1, str(error))
            return ClipAudit(name, recipe, None, None, n_frames, rate, notes.done())
        n_frames, rate = checks.look_at_streams(info, notes, n_frames, rate)
    read = quick and info is not None  # an array is heard at no cost
    n_samples = checks.declared_samples(info) if read else checks.listen(source, info, rate, notes)
    if n_samples is not None and n_frames is not None and rate is not None:
        checks.compare_lengths(n_samples, n_frames, rate, notes)
        checks.ask_recipe(recipe, n_samples, n_frames, rate, notes)
    return ClipAudit(name, recipe, info, n_samples, n_frames, rate, notes.done())


def _fate(seen: Profile, n_frames: int | None) -> list[str]:
    if seen.stops:
        return [seen.recipe.name, "stops", "–", seen.stops]
    gap = len(seen.rows) - (n_frames if n_frames is not None else len(seen.rows))
    return [seen.recipe.name, seen.lag_text(), str(len(seen.rows)), f"{gap:+d} frames" if gap else "as many"]
