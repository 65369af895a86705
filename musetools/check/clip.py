"""The audit of one clip: everything about it that puts lips out of sync with sound."""

import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from musetools.audio.container import SOUND_ALONE, check_structure
from musetools.audio.load import load_audio
from musetools.audio.loudness import LoudnessMeter, loudness
from musetools.audio.probe import MediaInfo, probe_media
from musetools.audio.reading import read_media
from musetools.audio.timeline import Timeline
from musetools.check import findings
from musetools.check.findings import Finding
from musetools.errors import AudioError, ParameterError
from musetools.recipes.profile import Profile, profile
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.recipes.rows import as_passed
from musetools.recipes.sampler import MUSETALK_FPS
from musetools.table import Table
from musetools.timing import SAMPLE_RATE, exact_fps

__all__ = ["ClipAudit", "ClipFacts", "audit_clip", "clip_facts", "judged", "known_samples"]

QUICK = "packets alone were read: silence, damage, and frames or packets that cannot be decoded are not known"
MENDED = {"start offset", "hole", "overlap", "length", "bad packet", "frame order"}  # what `fix` mends as it is
SEVERAL = ("audio tracks", "video tracks")  # findings that say which track was judged, which `fix` must be told
RATES_MENDED = {"variable rate", "declared rate", "drift", "lag", "recipe stops"}  # and with 25 fps


@dataclass(frozen=True, repr=False)
class ClipAudit:
    """What `audit_clip` found."""

    name: str  # the clip
    recipe: Recipe  # the pipeline that it was audited for
    info: MediaInfo | None  # what its file says; None for audio given as an array, and where it cannot be opened
    n_samples: int | None  # length of its sound at 16 kHz, on its timeline; by packets where nothing was decoded
    n_frames: int | None  # frames of its video that are shown
    fps: Fraction | None  # their rate, by their time stamps
    findings: tuple[Finding, ...]  # worst first
    timeline: Timeline | None = None  # where its frames and its sound lie
    lips: Any = None  # LipSync, where lips were looked at

    @property
    def level(self) -> str:
        """The worst level found; "ok" if nothing but notes was."""
        return next((f.level for f in self.findings if f.level != "note"), "ok")

    @property
    def is_quick(self) -> bool:
        """Whether it has sound that was not decoded."""
        return bool(self.timeline and self.info.audio and not self.timeline.decoded)

    @property
    def not_known(self) -> str:
        """What packets alone could not tell; empty where sound was decoded, or there is none."""
        if not self.is_quick:
            return ""
        placed = self.timeline.pieces or self.info.container in SOUND_ALONE
        return QUICK if placed else f"{QUICK}, nor is where sound lies"

    @property
    def mend(self) -> str:
        """The command that mends what can be mended; empty if nothing can."""
        whats = {finding.what: finding for finding in self.findings if finding.level != "note"}
        options = ["--fps25"] if RATES_MENDED & {*whats} else []
        if "lips" in whats and "lips drift" not in whats:  # what drifts is moved into place nowhere
            options.append(f"--sound {-whats['lips'].number:+.0f}")
        tracks = [f"--{f.what[:5]}-track {f.number:.0f}" for f in self.findings if f.what in SEVERAL]
        if self.info is None or self.info.video is None or not (options or MENDED & {*whats}):
            return ""
        path, here = Path(self.name), "./" * self.name.startswith("-")  # else it would be taken for an option
        names = (shlex.quote(here + name) for name in (self.name, str(path.with_name(f"{path.stem}_fixed.mp4"))))
        return " ".join(["musetools fix", *names, *options, *tracks])

    @property
    def surplus_rows(self) -> float | None:
        """``frames · 50 / fps − rows``: 2·frames − rows at 25 fps; positive where the sound is too short."""
        if None in (self.n_samples, self.n_frames, self.fps):
            return None
        return findings.surplus_rows(self.n_samples, self.n_frames, self.fps)

    def recipes(self, names: Iterable[str] | None = None) -> Table:
        """Say what each recipe would do to this clip: lag, frames lost, or why it stops."""
        if self.n_samples is None or self.fps is None:
            raise ParameterError(f"{self.name}: without sound and a frame rate no recipe can be applied")
        profiles = (profile(name, self.n_samples, as_passed(self.fps)) for name in names or RECIPES)
        head = [f"at {float(self.fps):.6g} fps", "lag in ms", "frames", "against the video", "sound"]
        return Table(head, [[*_recipe_row(one, self.n_frames), self._sound(one.recipe)] for one in profiles])

    def _sound(self, recipe: Recipe) -> str:
        """Say where a recipe's decoder puts the sound."""
        if self.timeline is None or recipe.features.decoder == "timeline":
            return "in place"
        return findings.as_counted(self.timeline)

    def to_json(self) -> dict:
        """Return plain values."""
        known = {"fps": str(self.fps) if self.fps else None, "frames": self.n_frames, "samples": self.n_samples}
        judged = {"clip": self.name, "recipe": self.recipe.name, "level": self.level, "quick": self.is_quick}
        findings = [asdict(finding) for finding in self.findings]
        return {**judged, **known, "findings": findings, "lips": self.lips and self.lips.to_json()}

    def table_row(self) -> list[str]:
        """Sum the audit up in the cells of a table."""
        seconds = f"{self.n_samples / SAMPLE_RATE:.2f} s" if self.n_samples is not None else "–"
        video = f"{self.n_frames} at {float(self.fps):.6g}" if self.fps else "–"
        found = "; ".join(f.what for f in self.findings if f.level != "note") or "–"
        return [self.level, self.name, seconds, video, found]

    def __repr__(self) -> str:
        lines = [f"{f.level}: {f.sentence}" for f in self.findings] or ["nothing found"]
        lines += self._remarks()
        return "\n".join([f"{self.name} for {self.recipe.name}: {self.level}", *(f"  {line}" for line in lines)])

    def _remarks(self) -> Iterator[str]:
        yield from [self.not_known] if self.not_known else ()
        yield from [f"lips: {self.lips!r}"] if self.lips else ()
        yield from [f"to mend it: {self.mend}"] if self.mend else ()

    def _repr_html_(self) -> str:
        items = "".join(f"<li><b>{f.level}</b> {escape(f.sentence)}</li>" for f in self.findings)
        head = f"{escape(self.name)} for {escape(self.recipe.name)}: <b>{self.level}</b>"
        remarks = "".join(f"<p>{escape(line)}</p>" for line in self._remarks())
        return f"<p>{head}</p><ul>{items or '<li>nothing found</li>'}</ul>{remarks}"


def audit_clip(
    source: str | os.PathLike | tuple[np.ndarray, int],
    recipe: str | Recipe = "musetools",
    *,
    n_frames: int | None = None,
    fps: float | Fraction | None = None,
    quick: bool = False,
    audio_track: int | None = None,
    video_track: int | None = None,
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
        Whether to read headers and packets alone, decoding nothing: frames that cannot be decoded, bad packets, silence
        and damage stay unknown.
    audio_track, video_track : int, optional
        Tracks, counted from 1; see `load_audio`.

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
    if isinstance(source, tuple):
        return judged("the array", recipe, _array_facts(source, rate or MUSETALK_FPS), n_frames, rate)
    tracks = {"audio_track": audio_track, "video_track": video_track}
    return judged(os.fspath(source), recipe, next(clip_facts(source, quick=quick, **tracks)), n_frames, rate)


@dataclass(frozen=True)
class ClipFacts:
    """What was read of a clip, before it is judged."""

    info: MediaInfo | None = None
    timeline: Timeline | None = None
    n_samples: int | None = None
    loudness_dbfs: np.ndarray | None = None  # of each frame
    others_dbfs: dict[int, float] = field(default_factory=dict)  # loudest frame of each other track, if asked for
    fault: tuple[str, str] | None = None  # "unreadable" or "undecodable", and why


def clip_facts(
    path: str | os.PathLike, *, quick: bool = False, audio_track: int | None = None, video_track: int | None = None
) -> Iterator[ClipFacts]:
    """Yield, once, what there is to know of a media file; a generator, so that a `Worker` can run it."""
    tracks, info, blocks = {"audio_track": audio_track, "video_track": video_track}, None, []
    try:
        info = probe_media(path, **tracks)
        if quick:
            check_structure(info.structure, os.fspath(path), lenient=True)
        if quick or info.audio is None:
            yield ClipFacts(info, info.timeline, known_samples(info))
            return
        reading = read_media(path, **tracks, info=info)
        info = next(reading)
        meter, n_samples = LoudnessMeter(_rate(info) or MUSETALK_FPS), 0
        for item in reading:
            if isinstance(item, Timeline):
                timeline = item
            else:
                blocks.append(meter.push(item))
                n_samples += len(item)
    except AudioError as error:
        fault = ("unreadable" if info is None else "undecodable", str(error))
        yield ClipFacts(info, info.timeline if info else None, fault=fault)
        return
    dbfs = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    silent = not len(dbfs) or float(dbfs.max()) < findings.SILENT_DBFS
    yield ClipFacts(info, timeline, n_samples, dbfs, _others(path, info) if silent else {})


def _array_facts(source: tuple[np.ndarray, int], fps: float | Fraction) -> ClipFacts:
    try:
        waveform = load_audio(source)
    except AudioError as error:
        return ClipFacts(fault=("undecodable", str(error)))
    return ClipFacts(n_samples=len(waveform), loudness_dbfs=loudness(waveform, fps))


def _others(path: str | os.PathLike, info: MediaInfo) -> dict[int, float]:
    """Measure the loudest frame of each track that is not used; what cannot be decoded is left out."""
    tracks, found = [i for i, stream in enumerate(info.streams) if stream.kind == "audio"], {}
    for number, index in enumerate(tracks, 1):
        if index != info.audio_stream:
            with suppress(AudioError):
                found[number] = float(loudness(load_audio(path, audio_track=number), MUSETALK_FPS).max(initial=-120))
    return found


def judged(
    name: str, recipe: Recipe, facts: ClipFacts, n_frames: int | None = None, rate: Fraction | None = None
) -> ClipAudit:
    """Judge what was read of a clip."""
    found, info, timeline = [], facts.info, facts.timeline
    if facts.fault:
        found.append(Finding("error", facts.fault[0], 1.0, facts.fault[1]))
    if info is not None:
        found += findings.of_streams(info)
        n_frames, rate = n_frames or (len(timeline.frames_s) if info.video else None), rate or _rate(info)
    if timeline is not None and info.audio is not None:
        found += findings.of_timeline(timeline, recipe)
        found += findings.of_claim(info.audio.duration_s, timeline)
    if facts.loudness_dbfs is not None:
        found += findings.of_silence(facts.loudness_dbfs)
        found += findings.of_other_tracks(float(facts.loudness_dbfs.max(initial=-120)), facts.others_dbfs)
    if None not in (facts.n_samples, n_frames, rate):
        found += findings.of_lengths(_length(facts, n_frames, rate), n_frames, rate)
        found += findings.of_recipe(recipe, facts.n_samples, n_frames, rate)
    return ClipAudit(name, recipe, info, facts.n_samples, n_frames, rate, findings.by_level(found), timeline)


def _length(facts: ClipFacts, n_frames: int, rate: Fraction) -> int:
    """Return the samples of sound that answer the video's length: sound that is late may go on after it."""
    counted = facts.n_samples if facts.timeline is None else round(facts.timeline.sound_s * SAMPLE_RATE)
    return min(facts.n_samples, counted or facts.n_samples, key=lambda n: abs(n - n_frames / rate * SAMPLE_RATE))


def _rate(info: MediaInfo) -> Fraction | None:
    """Return the frame rate that the video's time stamps show, if a file may have it."""
    timed = findings.timed_rate(info.video) if info.video else None
    return timed if timed and findings.is_plausible(timed) else None


def known_samples(info: MediaInfo) -> int | None:
    """Return the length of the sound at 16 kHz on its timeline, by its packets; else what the header declares."""
    if info.audio is None:
        return None
    end = info.timeline.end_s
    seconds = end if end is not None else info.audio.duration_s
    return None if seconds is None else round(seconds * SAMPLE_RATE)


def _recipe_row(found: Profile, n_frames: int | None) -> list[str]:
    if found.stops:
        return [found.recipe.name, "stops", "–", found.stops]
    gap = len(found.rows) - (n_frames if n_frames is not None else len(found.rows))
    return [found.recipe.name, found.lag_text(), str(len(found.rows)), f"{gap:+d} frames" if gap else "as many"]
