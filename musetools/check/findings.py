"""What can be wrong with a clip, check by check: a level, a number, and a sentence that says how to correct it."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from musetools.audio.probe import MediaInfo, StreamInfo
from musetools.audio.timeline import Piece, Timeline
from musetools.recipes.profile import profile
from musetools.recipes.recipe import Recipe
from musetools.recipes.rows import as_passed
from musetools.recipes.sampler import audit_sampler
from musetools.timing import ROW_MS, ROW_RATE, ROW_SAMPLES, SAMPLE_RATE

__all__ = ["LEVELS", "SILENT_DBFS", "Finding", "as_counted", "by_level", "of_claim", "of_lengths"]
__all__ += ["is_plausible", "of_other_tracks", "of_recipe", "of_silence", "of_streams", "of_timeline", "surplus_rows"]
__all__ += ["timed_rate"]

LEVELS = ("error", "warning", "note")
LATE_MS, OFF_MS = 20.0, 45.0  # start offsets: a warning; seen by viewers (ITU-R BT.1359: 45 ms early, 125 ms late)
SHORT_ROWS = 10  # |2·frames − rows| above which MuseTalk's authors drop a clip (K18)
RATES = (1, 1000)  # fps; beyond, time stamps are wrong
LATE_FRAME = 700  # from here on the v1.5 loader's windows go wrong, which is a finding of its own
RATE_GAP = 0.0002  # relative; 29.97 and 30 are 0.001 apart
SILENT_DBFS, MOSTLY = -50.0, 0.5
COUNTING = "a pipeline that counts samples (musetalk-v1.5-infer)"
CLAIM_S = 0.1  # between declared and decoded sound: encoders' priming and last packets are shorter
MOST_BAD = 5  # packets of sound that silence may stand for; more is damage


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a clip, or worth knowing."""

    level: str  # "error", "warning" or "note": training on the clip would go wrong, may, or needs to know
    what: str  # its name
    number: float  # how much of it there is, in the unit that the sentence says
    sentence: str  # what it is, and how to mend it
    mended: bool = False  # whether decoder="timeline" mends it


def by_level(findings: list[Finding]) -> tuple[Finding, ...]:
    """Sort findings, worst first."""
    return tuple(sorted(findings, key=lambda f: (LEVELS.index(f.level), -abs(f.number))))


def of_streams(info: MediaInfo) -> Iterator[Finding]:
    """Check what headers and packets say."""
    if info.audio is None:
        sentence = f"{info.path} has no audio stream. Mux its sound into it, or leave it out"
        yield Finding("error", "no audio", 1.0, sentence)
    if missing := info.missing_bytes:
        lacks = f"at least {missing} bytes that its index or structure names" if missing > 1 else "its end"
        sentence = f"{info.path} lacks {lacks}. Copy it again"
        yield Finding("error", "truncated", float(missing), sentence)
    elif after := info.structure.after:
        sentence = f"The length cannot be verified: {after} bytes follow its declared end, or slipped in before"
        yield Finding("note", "unverified length", float(after), sentence)
    elif not info.structure.verified:
        kind = info.container if info.structure.kind == "unknown" else info.structure.kind
        sentence = f"The length cannot be verified: {kind} without a mark at its end, cut, looks whole"
        yield Finding("note", "unverified length", 1.0, sentence)
    if info.structure.damage:
        yield Finding("error", "damage", 1.0, f"In {info.path} {info.structure.damage}. Copy it again", mended=True)
    if info.video is not None:
        yield from _of_rates(info.video)
    for kind, used in (("video", info.video_stream), ("audio", info.audio_stream)):
        tracks = [i for i, stream in enumerate(info.streams) if stream.kind == kind]
        if used in tracks and len(tracks) > 1:
            number, others = tracks.index(used) + 1, ", ".join(info.streams[i].codec for i in tracks if i != used)
            which = f"{kind.title()} track {number} of {len(tracks)} is used"
            sentence = f"{which}; --{kind}-track N takes another ({others})"
            yield Finding("note", f"{kind} tracks", float(number), sentence)


def of_timeline(timeline: Timeline, recipe: Recipe) -> Iterator[Finding]:
    """Compare where sound lies with where a pipeline that counts samples puts it."""
    if n := timeline.disordered:
        sentence = (
            f"{n} frames have an earlier time stamp than the one before them, as where B-frames are copied from AVI: "
            "players show them out of order. Encode them again"
        )
        yield Finding("warning", "frame order", float(n), sentence)
    if timeline.kept and timeline.frames_s:
        yield from _of_start(timeline.kept[0], _counting(recipe))
    for what, gaps, which in (
        ("hole", timeline.holes, "are missing"),
        ("overlap", timeline.overlaps, "are there twice"),
    ):
        if gaps:
            yield _of_gaps(what, gaps, which, timeline, _counting(recipe))
    if bad := timeline.bad_s:
        level, mended = ("error", False) if len(bad) > MOST_BAD else ("warning", True)
        where = ", ".join(f"{at:.2f} s" for at in bad[:3])
        packets = "One packet of sound" if len(bad) == 1 else f"{len(bad)} packets of sound"
        sentence = f"{packets} at {where} cannot be decoded; decoder='timeline' puts silence there. Copy the clip again"
        yield Finding(level, "bad packet", float(len(bad)), sentence, mended)


def _counting(recipe: Recipe) -> str:
    return COUNTING if recipe.features.decoder == "timeline" else recipe.name


def of_claim(declared_s: float | None, timeline: Timeline) -> Iterator[Finding]:
    """Compare the length that a header declares with the sound that there is: alone it proves nothing."""
    if declared_s is None or not timeline.pieces:
        return
    there = timeline.sound_s, timeline.end_s, timeline.end_s - timeline.start_offset_s
    gap = min((length - declared_s for length in there), key=abs)
    if abs(gap) > CLAIM_S:
        sentence = (
            f"The header declares {declared_s:.2f} s of sound, {declared_s + gap:.2f} s are there. "
            "Listen to its end, or export it again"
        )
        yield Finding("warning", "declared length", 1000 * gap, sentence)


def _of_start(first: Piece, who: str) -> Iterator[Finding]:
    late_ms, early_ms = 1000 * first.start_s, 1000 * first.early_s
    if abs(late_ms) >= LATE_MS:
        what, mend = ("late", "puts silence there") if late_ms > 0 else ("early", "cuts it off")
        level, counted = "error" if abs(late_ms) > OFF_MS else "warning", "early" if early_ms > 0 else "late"
        sentence = (
            f"Sound starts {abs(late_ms):.0f} ms {what} against the first frame that is shown; decoder='timeline' "
            f"{mend}; {who} plays it {abs(early_ms):.0f} ms {counted}"
        )
        yield Finding(level, "start offset", late_ms, sentence, mended=True)


def _of_gaps(what: str, gaps: tuple[tuple[float, float], ...], which: str, timeline: Timeline, who: str) -> Finding:
    total_ms, (first, _) = 1000 * sum(length for _, length in gaps), gaps[0]
    worst = 1000 * max(abs(piece.early_s - timeline.kept[0].early_s) for piece in timeline.kept)
    level = "error" if max(worst, total_ms) > OFF_MS else "warning" if max(worst, total_ms) >= LATE_MS else "note"
    places = "" if len(gaps) == 1 else f" in {len(gaps)} places"
    sentence = (
        f"{total_ms:.0f} ms of sound {which}{places}, at {first:.2f} s, by its time stamps; decoder='timeline' lays "
        f"the rest in place; {who} plays it {as_counted(timeline)}"
    )
    return Finding(level, what, total_ms, sentence, mended=True)


def as_counted(timeline: Timeline) -> str:
    """Say where a pipeline that counts samples puts the piece that it puts farthest from its place."""
    if (worst := timeline.worst) is None or abs(worst.early_s) < LATE_MS / 1000:
        return "in place"
    side = "early" if worst.early_s > 0 else "late"
    return f"{abs(1000 * worst.early_s):.0f} ms {side} from {max(0.0, worst.start_s):.1f} s on"


def of_other_tracks(used_dbfs: float, others: dict[int, float]) -> Iterator[Finding]:
    """Compare the loudest frame of the track that is used with those of the others."""
    loud = [number for number, dbfs in others.items() if dbfs >= SILENT_DBFS]
    if used_dbfs < SILENT_DBFS and loud:
        mend = f"Choose it with --audio-track {loud[0]}"
        sentence = f"The audio track that is used is silent, track {loud[0]} is not. {mend}"
        yield Finding("warning", "silent track", float(loud[0]), sentence)


def _of_rates(video: StreamInfo) -> Iterator[Finding]:
    if video.frames_counted == 0:
        sentence = "The video has no frame. Of a stream that was saved in pieces, join them: cat init.mp4 PIECES > CLIP"
        yield Finding("error", "no frames", 1.0, sentence)
    if video.variable:
        sentence = "Frames lie unevenly in time, so frame i is not at i/fps. Convert with -vf fps=25 to a constant rate"
        yield Finding("error", "variable rate", 1.0, sentence)
    timed = timed_rate(video)
    if timed and not is_plausible(timed):
        sentence = f"Time stamps show {float(timed):.6g} fps, no rate of a camera. Encode again at one constant rate"
        yield Finding("error", "frame rate", float(timed), sentence)
        return
    for declared, who in ((video.coded_rate, "The video codec's header"), (video.rate, "The container")):
        if declared and timed and not video.variable and abs(declared / timed - 1) > RATE_GAP:
            drift = 1000 * float(declared / timed - 1)
            sentence = (
                f"{who} declares {float(declared):.6g} fps, time stamps show {float(timed):.6g}: a pipeline that uses "
                f"the declared rate drifts {abs(drift):.1f} ms a second. Encode again at one constant rate"
            )
            yield Finding("error", "declared rate", drift, sentence)
    if video.frames_declared and video.frames_declared != video.frames_counted:
        sentence = f"{video.frames_declared} frames declared, {video.frames_counted} shown. Count frames instead"
        yield Finding("note", "frame count", float(video.frames_counted - video.frames_declared), sentence)


def timed_rate(video: StreamInfo) -> Fraction | None:
    """Return the frame rate that time stamps show, or what the container declares where they show none."""
    return video.timed_rate or video.rate


def is_plausible(rate: Fraction) -> bool:
    """Whether a frame rate is one that a file may have."""
    return RATES[0] <= rate <= RATES[1]


def of_silence(loudness_dbfs: np.ndarray) -> Iterator[Finding]:
    """Say how many frames are silent; `loudness_dbfs` has a value for each."""
    silent = float((loudness_dbfs < SILENT_DBFS).mean()) if len(loudness_dbfs) else 0.0
    if silent == 1:
        sentence = (
            f"No audible speech: all frames are below {SILENT_DBFS:.0f} dBFS. Leave it out, or mux its sound into it"
        )
        yield Finding("error", "silence", silent, sentence)
    elif silent > 0:
        below = f"{100 * silent:.0f} % of the frames are silent (below {SILENT_DBFS:.0f} dBFS)"
        yield Finding("warning" if silent > MOSTLY else "note", "silence", silent, f"{below}: the mouth should rest")


def surplus_rows(n_samples: int, n_frames: int, rate: Fraction) -> float:
    """Return 2·frames − rows for any frame rate; positive where the sound is too short."""
    return float(n_frames * ROW_RATE / rate) - n_samples // ROW_SAMPLES


def of_lengths(n_samples: int, n_frames: int, rate: Fraction) -> Iterator[Finding]:
    """Compare the lengths of sound and video."""
    surplus = surplus_rows(n_samples, n_frames, rate)
    ms = 1000 * float(n_frames / rate) - 1000 * n_samples / SAMPLE_RATE
    if abs(surplus) > SHORT_ROWS:
        which = "video goes on without sound" if surplus > 0 else "sound goes on without video"
        rows = f"({surplus:+.0f} rows; MuseTalk's authors drop clips beyond {SHORT_ROWS})"
        sentence = f"For {abs(ms) / 1000:.2f} s the {which} {rows}. Cut both to the shorter"
        yield Finding("error", "length", ms, sentence)
    elif abs(surplus) > 2:
        rows = f"({surplus:+.1f} rows of {ROW_MS} ms)"
        sentence = f"Sound and video differ in length by {abs(ms):.0f} ms {rows}. Cut both to the shorter"
        yield Finding("warning", "length", ms, sentence)


def of_recipe(recipe: Recipe, n_samples: int, n_frames: int, rate: Fraction) -> Iterator[Finding]:
    """Say what a recipe does to the clip."""
    if n_samples < ROW_SAMPLES:
        sentence = f"{n_samples} samples of sound are no feature row. Leave it out"
        yield Finding("error", "too short", float(n_samples), sentence)
        return
    stops, lag, drift, n_chunks = _effect(recipe, n_samples, as_passed(rate))
    fps = f"{float(rate):.6g} fps"
    if stops:
        yield Finding("error", "recipe stops", 1.0, f"{stops}. Convert the clip to 25 fps first")
        return
    if drift:
        sentence = f"{recipe.name} drifts {drift:+.1f} ms a second at {fps}. Convert to 25 fps, or use recipe musetools"
        yield Finding("error", "drift", drift, sentence)
    elif abs(lag) > ROW_MS + LATE_MS / 2:
        side = "ahead of" if lag > 0 else "behind"
        cuts = f"{recipe.name} cuts chunks {abs(lag):.0f} ms {side} their frames at {fps}"
        yield Finding("warning", "lag", lag, f"{cuts}. Convert the clip to 25 fps")
    if (lost := n_frames - n_chunks) > 2:
        sentence = f"{lost} of {n_frames} frames get no chunk from {recipe.name}"
        yield Finding("warning", "frames lost", float(lost), sentence)
    if recipe.name == "musetalk-v1.5-train" and (sampler := audit_sampler(n_frames)).wrong_mel:
        level = "error" if sampler.wrong_audio else "warning"
        sentence = f"The v1.5 loader gives late frames wrong input: {sampler!r}. Cut clips below 28 s"
        yield Finding(level, "over 28 s", sampler.wrong_mel_share, sentence)


@lru_cache(maxsize=1024)
def _effect(recipe: Recipe, n_samples: int, fps: float) -> tuple[str, float, float, int]:
    """Return why a recipe stops, its mean lag, its drift and its number of chunks: the same for clips of one length."""
    whole = profile(recipe, n_samples, fps)
    early = profile(recipe, min(n_samples, int(LATE_FRAME / fps * SAMPLE_RATE)), fps)
    drift = early.lag.drift_ms_s if early.drifts else 0.0
    return whole.stops, early.lag.mean_ms, drift, len(whole.rows)
