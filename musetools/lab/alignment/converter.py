"""What the ffmpeg program of this machine does to audio-visual sync, measured on clips that flash and click together.

Training sets are prepared with it. musetools decodes in process; only here the program runs, to be audited.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from musetools.errors import MusetoolsError, OutputError
from musetools.lab.alignment.flashes import click_times, flash_starts, lateness_ms, write_flash_clip
from musetools.lab.answer import Answer
from musetools.table import Table, signed
from musetools.timing import SAMPLE_RATE

__all__ = ["Conversion", "ConverterAudit", "audit_converter"]

SOURCE_FPS = (Fraction(30000, 1001), Fraction(30), Fraction(50), Fraction(60), Fraction(25))  # converted to 25
TARGET_FPS, CLIP_S, LONG_S, TIMEOUT_S = 25, 12, 40, 120
KEY_FRAMES = (283, 447, 655, 820)  # of the long clip, as scenes would set them: none at a multiple of 10 s
MATTERS_MS = 20.0  # a mean below half a frame may be the rounding to whole frames
# the commands of scripts/preprocess.py (TMElyralab/MuseTalk), but segments of 10 s instead of 30 s
OPTIONS = ("-r 25", "-vf fps=25")  # the first is that script's
CONVERT = ("-crf", "15", "-c:v", "libx264", "-pix_fmt", "yuv420p")
SEGMENT, SEGMENT_S = "-c copy -f segment", 10
CUT = (*SEGMENT.split(), "-map", "0", "-segment_time", str(SEGMENT_S), "-reset_timestamps", "1")
QUIET = ("-nostdin", "-hide_banner", "-loglevel", "error", "-y")
WAV = ("-vn", "-acodec", "pcm_s16le", "-f", "wav", "-ar", str(SAMPLE_RATE), "-ac", "1")


@dataclass(frozen=True)
class Conversion:
    """What the program does to one clip: converted to 25 fps, or cut out of a long one."""

    clip: str  # frame rate before the conversion, or file name of the segment
    option: str  # as it was passed to the program
    late_ms: tuple[float, ...] = ()  # video minus audio, of each frame of a flash: positive where video is late
    n_flashes: int = 0  # flashes found together with their clicks
    video_s: float | None = None  # length of the frames at 25 fps
    audio_s: float | None = None
    note: str = ""  # why something was not measured

    @property
    def mean_ms(self) -> float | None:
        """Mean of `late_ms`; None if nothing was measured."""
        return float(np.mean(self.late_ms)) if self.late_ms else None

    @property
    def audio_minus_video_ms(self) -> float | None:
        """How much longer the audio is than the video."""
        return None if self.audio_s is None else 1000 * (self.audio_s - self.video_s)

    def cells(self) -> list[str]:
        """Return a table row."""
        mean, span, lengths = "–", "", ""
        if self.late_ms:
            mean, span = signed(self.mean_ms), f"{signed(min(self.late_ms))}…{signed(max(self.late_ms))}"
        if self.audio_s is not None:
            lengths = f"{self.video_s:.2f} s, audio {signed(self.audio_minus_video_ms)} ms"
        return [self.clip, self.option, str(self.n_flashes), mean, span, lengths, self.note]


@dataclass(frozen=True, repr=False)
class ConverterAudit(Answer):
    """What the ffmpeg program of this machine does to sync."""

    program: str  # its path, or the name that was not found
    version: str = ""  # first line of `ffmpeg -version`; empty without the program
    conversions: tuple[Conversion, ...] = ()  # one for each frame rate and option
    segments: tuple[Conversion, ...] = ()  # of a clip of 40 s; that clip itself, with a note, if it could not be cut

    @property
    def available(self) -> bool:
        """Whether there is such a program."""
        return bool(self.version)

    def sentences(self) -> list[str]:
        """Write what was found, computed from the numbers."""
        if not self.available:
            missing = f"There is no program {self.program!r} on this machine, so what it does to sync was not measured."
            return [f"{missing} musetools needs none; to audit one, apt install ffmpeg, or pass ffmpeg=PATH."]
        version = self.version.partition(" Copyright")[0]
        return [f"Measured with {version}.", *self._of_options(), *self._of_segments(), *self._of_failures()]

    def _of_options(self) -> Iterator[str]:
        for option in OPTIONS:
            measured = [c for c in self.conversions if c.option == option and c.mean_ms is not None]
            late = ", ".join(f"{signed(c.mean_ms)} ms at {c.clip}" for c in measured if abs(c.mean_ms) > MATTERS_MS)
            kept = ", ".join(c.clip for c in measured if abs(c.mean_ms) <= MATTERS_MS)
            if late:
                yield f"{option} moves video against audio (positive: video late): {late}. Prepare no clips with it."
            if kept:
                yield f"{option} keeps them together within {MATTERS_MS:g} ms on average at {kept}."

    def _of_segments(self) -> Iterator[str]:
        if self.segments and self.segments[0].mean_ms is not None:
            mean = signed(self.segments[0].mean_ms)
            yield f"Video minus wav in the first segment, frames counted from 0: {mean} ms."
        if lengths := [clip.video_s for clip in self.segments[:-1] if clip.video_s]:  # the last is what was left
            span = f"{min(lengths):.1f}…{max(lengths):.1f} s"
            yield f"Cut every {SEGMENT_S} s, segments last {span}: a cut waits for the next key frame."
        if apart := [clip.audio_minus_video_ms for clip in self.segments if clip.audio_s is not None]:
            yield f"Length of a segment's wav minus that of its video: {signed(min(apart))}…{signed(max(apart))} ms."

    def _of_failures(self) -> Iterator[str]:
        failed = {}  # one sentence for each reason: where the program is broken, it is always the same
        for c in (*self.conversions, *self.segments):
            failed.setdefault(c.note, []).append(f"{c.option} at {c.clip}")
        yield from (f"Not measured ({why}): {', '.join(what)}." for why, what in failed.items() if why)

    def table(self) -> Table | None:
        """Return every conversion and every segment."""
        head = ["clip", "option", "flashes", "mean, ms", "range, ms", "lengths", "note"]
        caption = "Video minus audio, positive: video late. Segments: frame i at i/25 s against the wav."
        lines = [c.cells() for c in (*self.conversions, *self.segments)]
        return Table(head, lines, caption) if self.available else None


def audit_converter(ffmpeg: str | os.PathLike = "ffmpeg") -> ConverterAudit:
    """Measure what the ffmpeg program of this machine does to audio-visual sync.

    Parameters
    ----------
    ffmpeg : str or path, default "ffmpeg"
        The program: a name looked up on PATH, or a path.

    Returns
    -------
    ConverterAudit
        `available` is False without the program; what fails has a note, and the rest goes on.

    Raises
    ------
    OutputError
        If the clips cannot be written.
    """
    if not (found := shutil.which(ffmpeg)):
        return ConverterAudit(os.fspath(ffmpeg))
    program = os.path.abspath(found)  # it is going to run in another folder
    try:
        with tempfile.TemporaryDirectory(prefix="musetools-") as name:
            folder = Path(name)
            conversions = tuple(c for fps in SOURCE_FPS for c in _conversions(program, fps, folder))
            segments = tuple(_segments(program, folder))
            return ConverterAudit(program, _version(program, folder), conversions, segments)
    except OSError as error:
        raise OutputError(f"cannot write the clips of the audit: {error}. Set TMPDIR to a folder with space") from None


def _run(program: str, folder: Path, *arguments: str) -> str:
    """Run the program in a folder and return what it prints; MusetoolsError, with what it says, if it fails."""
    try:
        # names are relative to the folder: a % in its path would be taken for a pattern
        options = {"cwd": folder, "stdin": subprocess.DEVNULL, "capture_output": True, "timeout": TIMEOUT_S}
        done = subprocess.run([program, *arguments], **options)
    except subprocess.TimeoutExpired:
        raise MusetoolsError(f"{program} had not ended after {TIMEOUT_S} s. Run it where less else runs") from None
    except OSError as error:
        raise MusetoolsError(f"{program} cannot be run: {error.strerror}. Pass ffmpeg=PATH of one that can") from None
    if done.returncode:
        errors = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise MusetoolsError(f"{program} ended with {done.returncode}: {errors[-1]}. Pass ffmpeg=PATH of another")
    return done.stdout.decode(errors="replace")


def _version(program: str, folder: Path) -> str:
    try:
        return _run(program, folder, "-version").splitlines()[0]
    except (MusetoolsError, IndexError):
        return f"{program}, which reports no version"


def _conversions(program: str, fps: Fraction, folder: Path) -> Iterator[Conversion]:
    """Convert a clip of one frame rate with every option, and measure."""
    source = write_flash_clip(folder / f"source_{float(fps):.3f}.mp4", fps, CLIP_S)
    for number, option in enumerate(OPTIONS):
        result = source.with_name(f"{source.stem}_{number}.mp4")
        arguments = ("-i", source.name, *option.split(), *CONVERT, result.name)
        yield _measured(Conversion(f"{float(fps):.5g} fps", option), program, arguments, result, result, fps)


def _segments(program: str, folder: Path) -> Iterator[Conversion]:
    """Cut a long clip into segments, extract the wav of each, and measure them as training reads them."""
    # B-frames as in what the conversion to 25 fps leaves: they make the wavs shorter than the clips
    source = write_flash_clip(folder / "long.mp4", TARGET_FPS, LONG_S, b_frames=3, key_frames=KEY_FRAMES)
    try:
        _run(program, folder, *QUIET, "-i", source.name, *CUT, "clip%03d.mp4")
        clips, note = sorted(folder.glob("clip*.mp4")), f"{program} reported no error but left no segment"
    except MusetoolsError as error:
        clips, note = [], str(error)
    for clip in clips:
        wav = clip.with_suffix(".wav")
        arguments = ("-i", clip.name, *WAV, wav.name)
        yield _measured(Conversion(clip.name, SEGMENT), program, arguments, clip, wav, TARGET_FPS, counted=True)
    if not clips:
        yield Conversion(source.name, SEGMENT, note=note)


def _measured(
    result: Conversion, program: str, arguments: tuple, video: Path, audio: Path, fps: float, *, counted: bool = False
) -> Conversion:
    """Run the program, and find flashes and clicks in what it wrote; see `flash_starts`."""
    try:
        _run(program, video.parent, *QUIET, *arguments)
        starts, n_frames = flash_starts(video, fps, counted=counted)
        clicks, audio_s = click_times(audio)
        result = replace(result, video_s=n_frames / TARGET_FPS, audio_s=audio_s)
        late_ms, n_flashes = lateness_ms(starts, clicks)
        return replace(result, late_ms=tuple(late_ms.tolist()), n_flashes=n_flashes)
    except (MusetoolsError, av.FFmpegError) as error:
        return replace(result, note=str(error))
