"""What can be wrong with a clip, check by check: each finding has a level, a number, and a sentence on the mend."""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from musetools.audio.load import load_audio
from musetools.audio.loudness import loudness
from musetools.audio.probe import MediaInfo
from musetools.errors import AudioError
from musetools.recipes.profile import profile
from musetools.recipes.recipe import Recipe
from musetools.recipes.sampler import MUSETALK_FPS, audit_sampler
from musetools.timing import ROW_MS, ROW_RATE, ROW_SAMPLES, SAMPLE_RATE

__all__ = ["Finding", "Notes", "ask_recipe", "compare_lengths", "declared_samples", "listen", "look_at_streams", "told"]

LEVELS = ("error", "warning", "note")
LATE_MS, OFF_MS = 20.0, 45.0  # start offsets: worth a word; seen by viewers (ITU-R BT.1359: 45 ms early, 125 ms late)
SHORT_ROWS = 10  # |2·frames − rows| above which MuseTalk's authors drop a clip (K18)
RATES = (1, 1000)  # fps; beyond, time stamps are wrong
LATE_FRAME = 700  # from here on the v1.5 loader's windows go wrong, which is a finding of its own
RATE_GAP = 0.0002  # relative; 29.97 and 30 are 0.001 apart
SILENT_DBFS, MOSTLY = -50.0, 0.5


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Attributes
    ----------
    level : {"error", "warning", "note"}
        Whether training on the clip would go wrong, may, or is only worth knowing.
    what : str
        Its name.
    number : float
        How much of it there is, in the unit that the sentence says.
    sentence : str
        What it is, and how to mend it.
    """

    level: str
    what: str
    number: float
    sentence: str


@dataclass
class Notes:
    """Findings as they come; `done` sorts them, worst first."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, level: str, what: str, number: float, sentence: str) -> None:
        """Take note of a finding."""
        self.findings.append(Finding(level, what, float(number), sentence))

    def done(self) -> tuple[Finding, ...]:
        """Return the findings, worst first."""
        return tuple(sorted(self.findings, key=lambda f: (LEVELS.index(f.level), -abs(f.number))))


def look_at_streams(info: MediaInfo, notes: Notes, n_frames: int | None, rate: Fraction | None) -> tuple:
    """Check what headers and time stamps say; return frame count and rate."""
    video, audio = info.video, info.audio
    if audio is None:
        notes.add("error", "no audio", 1, f"{info.path} has no audio stream. Mux its sound into it, or leave it out")
    if info.missing_bytes:
        notes.add(
            "error",
            "truncated",
            info.missing_bytes,
            f"{info.path} lacks {info.missing_bytes} bytes that its index names. Copy it again",
        )
    if video is None:
        return n_frames, rate
    if audio is not None:
        _compare_starts(audio.start_s - video.start_s, notes)
    if video.variable:
        notes.add(
            "error",
            "variable rate",
            1,
            "Frames lie unevenly in time, so frame i is not at i/fps. Convert with -vf fps=25 to a constant rate",
        )
    timed = video.timed_rate or video.rate
    if timed and not RATES[0] <= timed <= RATES[1]:
        notes.add(
            "error",
            "frame rate",
            timed,
            f"Time stamps show {float(timed):.6g} fps, which nobody films at. Encode again at one constant rate",
        )
        return n_frames or video.frames_counted, rate
    for declared, who in ((video.coded_rate, "the video codec's header"), (video.rate, "the container")):
        if declared and timed and not video.variable and abs(declared / timed - 1) > RATE_GAP:
            drift = 1000 * float(declared / timed - 1)
            notes.add(
                "error",
                "declared rate",
                drift,
                f"{who.capitalize()} declares {float(declared):.6g} fps, time stamps show "
                f"{float(timed):.6g}: who believes it drifts {abs(drift):.1f} ms a second. Encode "
                "again at one constant rate",
            )
    if video.frames_declared and video.frames_declared != video.frames_counted:
        notes.add(
            "warning",
            "frame count",
            video.frames_counted - video.frames_declared,
            f"{video.frames_declared} frames declared, {video.frames_counted} there. Count frames, do "
            "not believe the header",
        )
    return n_frames or video.frames_counted, rate or timed


def _compare_starts(late_s: float, notes: Notes) -> None:
    late = 1000 * late_s
    if abs(late) >= LATE_MS:
        level = "error" if abs(late) > OFF_MS else "warning"
        side = "late" if late > 0 else "early"
        notes.add(
            level,
            "start offset",
            late,
            f"Sound starts {abs(late):.0f} ms {side}; pipelines take both to start together. Pad or "
            "cut the sound by that much",
        )


def declared_samples(info: MediaInfo | None) -> int | None:
    """Return the length of the sound at 16 kHz, where the header declares it."""
    if info is None or info.audio is None or info.audio.duration_s is None:
        return None
    return round(info.audio.duration_s * SAMPLE_RATE)


def listen(source, info: MediaInfo | None, rate: Fraction | None, notes: Notes) -> int | None:
    """Decode the sound; return its length."""
    if info is not None and info.audio is None:
        return None
    try:
        waveform = load_audio(source)
    except AudioError as error:
        notes.add("error", "undecodable", 1, str(error))
        return None
    loud = loudness(waveform, rate or MUSETALK_FPS)
    silent = float((loud < SILENT_DBFS).mean()) if len(loud) else 0.0
    if silent > 0:
        level = "warning" if silent > MOSTLY else "note"
        notes.add(
            level,
            "silence",
            silent,
            f"{100 * silent:.0f} % of the frames are silent (below {SILENT_DBFS:.0f} dBFS): the mouth "
            "should rest there",
        )
    return len(waveform)


def compare_lengths(n_samples: int, n_frames: int, rate: Fraction, notes: Notes) -> None:
    """Compare sound and picture: 2·frames − rows, for any frame rate."""
    surplus = float(n_frames * ROW_RATE / rate) - n_samples // ROW_SAMPLES
    ms = 1000 * float(n_frames / rate) - 1000 * n_samples / SAMPLE_RATE
    if abs(surplus) > SHORT_ROWS:
        which = "video goes on without sound" if surplus > 0 else "sound goes on without video"
        notes.add(
            "error",
            "length",
            ms,
            f"For {abs(ms) / 1000:.2f} s the {which} ({surplus:+.0f} rows; MuseTalk's authors drop "
            f"clips beyond {SHORT_ROWS}). Cut both to the shorter",
        )
    elif abs(surplus) > 2:
        notes.add(
            "warning",
            "length",
            ms,
            f"Sound and video differ in length by {abs(ms):.0f} ms ({surplus:+.1f} rows of {ROW_MS} "
            "ms). Cut both to the shorter",
        )


def ask_recipe(recipe: Recipe, n_samples: int, n_frames: int, rate: Fraction, notes: Notes) -> None:
    """Say what the recipe would do to the clip."""
    if n_samples < ROW_SAMPLES:
        notes.add("error", "too short", n_samples, f"{n_samples} samples of sound are no feature row. Leave it out")
        return
    stops, lag, drift, n_chunks = _prospects(recipe, n_samples, told(rate))
    if stops:
        notes.add("error", "recipe stops", 1, f"{stops}. Convert the clip to 25 fps first")
        return
    if drift:
        notes.add(
            "error",
            "drift",
            drift,
            f"{recipe.name} drifts {drift:+.1f} ms a second at {float(rate):.6g} fps. Convert the "
            "clip to 25 fps, or use the recipe musetools",
        )
    elif abs(lag) > ROW_MS + LATE_MS / 2:
        notes.add(
            "warning",
            "lag",
            lag,
            f"{recipe.name} cuts chunks {abs(lag):.0f} ms {'ahead of' if lag > 0 else 'behind'} their "
            f"frames at {float(rate):.6g} fps. Convert the clip to 25 fps",
        )
    if n_frames - n_chunks > 2:
        notes.add(
            "warning",
            "frames lost",
            n_frames - n_chunks,
            f"{n_frames - n_chunks} of {n_frames} frames get no chunk from {recipe.name}",
        )
    if recipe.name == "musetalk-v1.5-train" and (sampler := audit_sampler(n_frames)).wrong_mel:
        level = "error" if sampler.wrong_audio else "warning"
        notes.add(
            level,
            "over 28 s",
            sampler.wrong_mel_share,
            f"The v1.5 loader serves late frames wrongly: {sampler!r}. Cut clips below 28 s",
        )


@lru_cache(maxsize=1024)
def _prospects(recipe: Recipe, n_samples: int, fps: float) -> tuple[str, float, float, int]:
    """Return why a recipe stops, its mean lag, its drift and its number of chunks: the same for clips of one length."""
    seen = profile(recipe, n_samples, fps)
    early = profile(recipe, min(n_samples, int(LATE_FRAME / fps * SAMPLE_RATE)), fps)
    drift = early.lag.drift_ms_s if early.drifts else 0.0
    return seen.stops, early.lag.mean_ms, drift, len(seen.rows)


def told(rate: Fraction) -> float | int:
    """Return a frame rate as OpenCV would tell it to a pipeline."""
    return int(rate) if rate.denominator == 1 else float(rate)
