"""The audit of one clip: everything about it that puts lips out of sync with sound."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from html import escape

import numpy as np

from musetools.audio.load import load_audio
from musetools.audio.loudness import loudness
from musetools.audio.probe import MediaInfo, probe_media
from musetools.check import findings
from musetools.check.findings import Finding, as_passed
from musetools.errors import AudioError, ParameterError
from musetools.recipes.profile import Profile, profile
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.recipes.sampler import MUSETALK_FPS
from musetools.table import Table
from musetools.timing import ROW_RATE, ROW_SAMPLES, SAMPLE_RATE, exact_fps

__all__ = ["ClipAudit", "audit_clip", "declared_samples"]


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
            raise ParameterError(f"{self.name}: without sound and a frame rate no recipe can be applied")
        profiles = (profile(name, self.n_samples, as_passed(self.fps)) for name in names or RECIPES)
        head = [f"at {float(self.fps):.6g} fps", "lag in ms", "frames", "against the video"]
        return Table(head, [_recipe_row(one, self.n_frames) for one in profiles])

    def to_json(self) -> dict:
        """Return plain values."""
        known = {"fps": str(self.fps) if self.fps else None, "frames": self.n_frames, "samples": self.n_samples}
        plain = [asdict(finding) for finding in self.findings]
        return {"clip": self.name, "recipe": self.recipe.name, "level": self.level, **known, "findings": plain}

    def table_row(self) -> list[str]:
        """Sum the audit up in the cells of a table."""
        seconds = f"{self.n_samples / SAMPLE_RATE:.2f} s" if self.n_samples is not None else "–"
        video = f"{self.n_frames} at {float(self.fps):.6g}" if self.fps else "–"
        return [
            self.level,
            self.name,
            seconds,
            video,
            "; ".join(f.what for f in self.findings if f.level != "note") or "–",
        ]

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
    recipe, rate = recipe_of(recipe), exact_fps(fps) if fps is not None else None
    name, info, found = "the array", None, []
    if not isinstance(source, tuple):
        name = os.fspath(source)
        try:
            info = probe_media(source)
        except AudioError as error:
            return ClipAudit(
                name, recipe, None, None, n_frames, rate, (Finding("error", "unreadable", 1.0, str(error)),)
            )
        found += findings.of_streams(info)
        n_frames, rate = _frames_and_rate(info, n_frames, rate)
    n_samples = declared_samples(info) if quick and info else _decoded_samples(source, info, rate, found)
    if None not in (n_samples, n_frames, rate):
        found += findings.of_lengths(n_samples, n_frames, rate)
        found += findings.of_recipe(recipe, n_samples, n_frames, rate)
    return ClipAudit(name, recipe, info, n_samples, n_frames, rate, findings.by_level(found))


def _frames_and_rate(
    info: MediaInfo, n_frames: int | None, rate: Fraction | None
) -> tuple[int | None, Fraction | None]:
    """Return what was given; else what the video's packets and time stamps show."""
    if info.video is None:
        return n_frames, rate
    timed = findings.timed_rate(info.video)
    usable = timed if timed and findings.is_plausible(timed) else None
    return n_frames or info.video.frames_counted, rate or usable


def declared_samples(info: MediaInfo) -> int | None:
    """Return the length of the sound at 16 kHz, where the header declares it."""
    if info.audio is None or info.audio.duration_s is None:
        return None
    return round(info.audio.duration_s * SAMPLE_RATE)


def _decoded_samples(
    source: str | os.PathLike | tuple[np.ndarray, int],
    info: MediaInfo | None,
    rate: Fraction | None,
    found: list[Finding],
) -> int | None:
    """Decode the sound and return its length; what that shows is added to `found`."""
    if info is not None and info.audio is None:
        return None
    try:
        waveform = load_audio(source)
    except AudioError as error:
        found.append(Finding("error", "undecodable", 1.0, str(error)))
        return None
    found += findings.of_silence(loudness(waveform, rate or MUSETALK_FPS))
    return len(waveform)


def _recipe_row(found: Profile, n_frames: int | None) -> list[str]:
    if found.stops:
        return [found.recipe.name, "stops", "–", found.stops]
    gap = len(found.rows) - (n_frames if n_frames is not None else len(found.rows))
    return [found.recipe.name, found.lag_text(), str(len(found.rows)), f"{gap:+d} frames" if gap else "as many"]
