"""What the ffmpeg program of this machine does to audio-visual sync, measured on clips that flash and click together.

Training sets are prepared with it. musetools decodes in process; only here the program runs, to be audited.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
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
CONVERT = "-crf 15 -c:v libx264 -pix_fmt yuv420p"
SEGMENT, SEGMENT_S = "-c copy -f segment", 10
WAV = f"-vn -acodec pcm_s16le -f wav -ar {SAMPLE_RATE} -ac 1"
QUIET = "-nostdin -hide_banner -loglevel error -y"
Run = Callable[[str], str]  # runs the program with arguments and returns what it prints


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
    def mean_ms(self) -> float:
        """Mean of `late_ms`."""
        return float(np.mean(self.late_ms))

    @property
    def audio_minus_video_ms(self) -> float:
        """How much longer the audio is than the video."""
        return 1000 * (self.audio_s - self.video_s)

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

    version: str = ""  # first line of `ffmpeg -version`
    conversions: tuple[Conversion, ...] = ()  # one for each frame rate and option
    segments: tuple[Conversion, ...] = ()  # of a clip of 40 s; that clip itself, with a note, if it could not be cut
    missing: str = ""  # why there is no program to measure

    def sentences(self) -> list[str]:
        """Write what was found, computed from the numbers."""
        if self.missing:
            advice = "musetools needs none; to audit one, apt install ffmpeg, or pass ffmpeg=PATH."
            return [f"{self.missing}, so what it does to sync was not measured. {advice}"]
        version = self.version.partition(" Copyright")[0]
        return [f"Measured with {version}.", *self._of_options(), *self._of_segments(), *self._of_failures()]

    def _of_options(self) -> Iterator[str]:
        for option in OPTIONS:
            measured = [c for c in self.conversions if c.option == option and c.late_ms]
            late = [f"{signed(c.mean_ms)} ms at {c.clip}" for c in measured if abs(c.mean_ms) > MATTERS_MS]
            kept = [c.clip for c in measured if abs(c.mean_ms) <= MATTERS_MS]
            if late:
                moved = ", ".join(late)
                yield f"{option} moves video against audio (positive: video late): {moved}. Prepare no clips with it."
            if kept:
                yield f"{option} keeps them together within {MATTERS_MS:g} ms on average at {', '.join(kept)}."

    def _of_segments(self) -> Iterator[str]:
        if self.segments and self.segments[0].late_ms:
            mean = signed(self.segments[0].mean_ms)
            yield f"Video minus wav in the first segment, frames counted from 0: {mean} ms."
        if lengths := [clip.video_s for clip in self.segments[:-1] if clip.video_s]:  # the last is what was left
            span = f"{min(lengths):.1f}…{max(lengths):.1f} s"
            yield f"Cut every {SEGMENT_S} s, segments last {span}: a cut waits for the next key frame."
        if apart := [clip.audio_minus_video_ms for clip in self.segments if clip.audio_s is not None]:
            yield f"Length of a segment's wav minus that of its video: {signed(min(apart))}…{signed(max(apart))} ms."

    def _of_failures(self) -> Iterator[str]:
        failed = {}  # one sentence for each reason
        for c in (*self.conversions, *self.segments):
            failed.setdefault(c.note, []).append(f"{c.option} at {c.clip}")
        yield from (f"Not measured ({why}): {', '.join(what)}." for why, what in failed.items() if why)

    def table(self) -> Table | None:
        """Return every conversion and every segment."""
        head = ["clip", "option", "flashes", "mean, ms", "range, ms", "lengths", "note"]
        caption = "Video minus audio, positive: video late. Segments: frame i at i/25 s against the wav."
        lines = [c.cells() for c in (*self.conversions, *self.segments)]
        return None if self.missing else Table(head, lines, caption)


def audit_converter(ffmpeg: str | os.PathLike = "ffmpeg") -> ConverterAudit:
    """Measure what the ffmpeg program of this machine, a name looked up on PATH or a path, does to audio-visual sync.

    What fails has a note, and the rest goes on; OutputError if the clips cannot be written.
    """
    if not (found := shutil.which(ffmpeg)):
        return ConverterAudit(missing=f"There is no program {os.fspath(ffmpeg)!r} on this machine")
    try:
        with tempfile.TemporaryDirectory(prefix="musetools-") as name:
            folder = Path(name)
            run = partial(_run, os.path.abspath(found), folder)
            version = run("-version").partition("\n")[0]
            conversions = tuple(c for fps in SOURCE_FPS for c in _conversions(run, fps, folder))
            return ConverterAudit(version, conversions, tuple(_segments(run, folder)))
    except MusetoolsError as error:  # of its version: later ones are notes
        return ConverterAudit(missing=str(error))
    except OSError as error:
        raise OutputError(f"cannot write the clips of the audit: {error}. Set TMPDIR to a folder with space") from None


def _run(program: str, folder: Path, arguments: str) -> str:
    """Run the program in a folder and return what it prints; MusetoolsError, with what it says, if it fails."""
    # names are relative to the folder: a % or a space in its path would be taken for more than a name
    command = [program, *f"{QUIET} {arguments}".split()]
    options = {"cwd": folder, "stdin": subprocess.DEVNULL, "capture_output": True, "timeout": TIMEOUT_S, "check": True}
    try:
        return subprocess.run(command, encoding="utf-8", errors="replace", **options).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = error.stderr.strip().splitlines() if isinstance(error, subprocess.CalledProcessError) else ()
        raise MusetoolsError(f"{program} failed: {said[-1] if said else error}") from None


def _conversions(run: Run, fps: Fraction, folder: Path) -> Iterator[Conversion]:
    """Convert a clip of one frame rate with every option, and measure."""
    source = write_flash_clip(folder / f"source_{float(fps):.3f}.mp4", fps, CLIP_S)
    for number, option in enumerate(OPTIONS):
        result = source.with_name(f"{source.stem}_{number}.mp4")
        arguments = f"-i {source.name} {option} {CONVERT} {result.name}"
        yield _measured(Conversion(f"{float(fps):.5g} fps", option), run, arguments, result, result, fps)


def _segments(run: Run, folder: Path) -> Iterator[Conversion]:
    """Cut a long clip into segments, extract the wav of each, and measure them as training reads them."""
    # B-frames as in what the conversion to 25 fps leaves: they make the wavs shorter than the clips
    source = write_flash_clip(folder / "long.mp4", TARGET_FPS, LONG_S, b_frames=3, key_frames=KEY_FRAMES)
    try:
        run(f"-i {source.name} {SEGMENT} -map 0 -segment_time {SEGMENT_S} -reset_timestamps 1 clip%03d.mp4")
    except MusetoolsError as error:
        yield Conversion(source.name, SEGMENT, note=str(error))
        return
    if not (clips := sorted(folder.glob("clip*.mp4"))):
        yield Conversion(source.name, SEGMENT, note="the ffmpeg program reported no error but left no segment")
    for clip in clips:
        wav = clip.with_suffix(".wav")
        arguments = f"-i {clip.name} {WAV} {wav.name}"
        yield _measured(Conversion(clip.name, SEGMENT), run, arguments, clip, wav, TARGET_FPS, counted=True)


def _measured(
    result: Conversion, run: Run, arguments: str, video: Path, audio: Path, fps: float, *, counted: bool = False
) -> Conversion:
    """Run the program, and find flashes and clicks in what it wrote; see `flash_starts`."""
    try:
        run(arguments)
        starts, n_frames = flash_starts(video, fps, counted=counted)
        clicks, audio_s = click_times(audio)
        result = replace(result, video_s=n_frames / TARGET_FPS, audio_s=audio_s)
        late_ms, n_flashes = lateness_ms(starts, clicks)
        return replace(result, late_ms=tuple(late_ms.tolist()), n_flashes=n_flashes)
    except (MusetoolsError, av.FFmpegError) as error:
        return replace(result, note=str(error))
