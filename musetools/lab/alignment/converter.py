"""What the ffmpeg program on this machine does to audio-visual sync, measured on clips that flash and click together.

Training sets are prepared with it. musetools decodes in process; only here the program runs, being what is audited.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av

from musetools.errors import MusetoolsError, OutputError, ParameterError
from musetools.lab.alignment.flashes import click_times, flash_starts, lateness_ms, write_flash_clip
from musetools.lab.answer import Answer
from musetools.table import Table, signed
from musetools.timing import SAMPLE_RATE, exact_fps

__all__ = ["Conversion", "ConverterAudit", "Segment", "audit_converter"]

SOURCE_FPS, FPS_RANGE = (Fraction(30000, 1001), 30, 50, 60, 25), (10, 240)
TARGET_FPS, CLIP_S, LONG_S, SEGMENT_S, TIMEOUT_S = 25, 12, 40, 10, 120
KEY_FRAMES = (283, 447, 655, 820)  # as scenes would set them: none at a multiple of 10 s
MATTERS_MS = 20.0  # a mean below half a frame may be the rounding to whole frames
# The commands of scripts/preprocess.py (TMElyralab/MuseTalk), which asks for segments of 30 s
OPTIONS = {"-r 25": ("-r", "25"), "-vf fps=25": ("-vf", "fps=25")}
CONVERT = ("-crf", "15", "-c:v", "libx264", "-pix_fmt", "yuv420p")
SEGMENT = ("-c", "copy", "-map", "0", "-segment_time", str(SEGMENT_S), "-f", "segment", "-reset_timestamps", "1")
QUIET = ("-nostdin", "-hide_banner", "-loglevel", "error", "-y")
WAV = ("-vn", "-acodec", "pcm_s16le", "-f", "wav", "-ar", str(SAMPLE_RATE), "-ac", "1")


@dataclass(frozen=True)
class Conversion:
    """What one option does to clips of one frame rate.

    Attributes
    ----------
    source_fps : Fraction
        Frame rate before.
    option : str
        The option, as it was passed to the program.
    n_flashes : int
        Flashes found together with their clicks.
    mean_ms, min_ms, max_ms : float or None
        Video minus sound over the frames of these flashes; positive: video later. None if not measured.
    note : str
        Why it was not measured.
    """

    source_fps: Fraction
    option: str
    n_flashes: int = 0
    mean_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Segment:
    """A clip cut by `-c copy -f segment`, and its wav.

    Attributes
    ----------
    name : str
        File name.
    video_s, wav_s : float or None
        Length of the clip's frames at 25 fps, and of its wav.
    n_flashes : int
        Flashes found together with their clicks.
    offset_ms : float or None
        Video minus sound as training reads them: frame *i* at *i*/25 s, the wav from its first sample. Negative: the
        wav is late.
    note : str
        Why something was not measured.
    """

    name: str
    video_s: float | None = None
    wav_s: float | None = None
    n_flashes: int = 0
    offset_ms: float | None = None
    note: str = ""

    @property
    def wav_minus_video_ms(self) -> float | None:
        """How much longer the wav is than the video."""
        return None if self.wav_s is None else 1000 * (self.wav_s - self.video_s)


@dataclass(frozen=True, repr=False)
class ConverterAudit(Answer):
    """What the ffmpeg program of this machine does to sync.

    Attributes
    ----------
    available : bool
        Whether there is such a program.
    program, version : str
        Its path, or the name that was looked for; the first line of `ffmpeg -version`.
    conversions : tuple of Conversion
        One for each frame rate and option.
    segments : tuple of Segment
        What a clip of 40 s was cut into; that clip itself, with a note, if it could not be cut.
    """

    available: bool
    program: str
    version: str = ""
    conversions: tuple[Conversion, ...] = ()
    segments: tuple[Segment, ...] = ()

    @property
    def first_offset_ms(self) -> float | None:
        """Offset of the first segment; None if not measured."""
        return self.segments[0].offset_ms if self.segments else None

    def sentences(self) -> list[str]:
        """Write what was found, computed from the numbers."""
        if not self.available:
            missing = f"There is no program {self.program!r} on this machine, so what it does to sync was not measured."
            return [f"{missing} musetools needs none; to audit one, apt install ffmpeg, or pass ffmpeg=PATH."]
        sentences = [sentence for option in OPTIONS for sentence in self._of_option(option)]
        version = self.version.partition(" Copyright")[0]
        return [f"Measured with {version}.", *sentences, *self._of_segments(), *self._of_failures()]

    def _of_option(self, option: str) -> Iterator[str]:
        measured = [c for c in self.conversions if c.option == option and c.mean_ms is not None]
        if late := [c for c in measured if abs(c.mean_ms) > MATTERS_MS]:
            means = ", ".join(f"{signed(c.mean_ms)} ms at {_rate(c)}" for c in late)
            yield f"{option} moves video against sound (positive: video later): {means}; do not prepare clips with it."
        if kept := [_rate(c) for c in measured if c not in late]:
            yield f"{option} keeps them together within {MATTERS_MS:g} ms on average at {', '.join(kept)}."

    def _of_segments(self) -> Iterator[str]:
        if self.first_offset_ms is not None:
            yield f"Video minus wav in the first segment, frames counted from 0: {signed(self.first_offset_ms)} ms."
        if lengths := [clip.video_s for clip in self.segments[:-1] if clip.video_s]:  # the last is what was left
            span = f"{min(lengths):.1f}…{max(lengths):.1f} s"
            yield f"Cut every {SEGMENT_S} s, segments last {span}: a cut waits for the next key frame."
        if apart := [clip.wav_minus_video_ms for clip in self.segments if clip.wav_s is not None]:
            yield f"Length of a segment's wav minus that of its video: {signed(min(apart))}…{signed(max(apart))} ms."

    def _of_failures(self) -> Iterator[str]:
        failed = {}  # one sentence for each reason: where the program is broken, it is always the same
        for c in self.conversions:
            failed.setdefault(c.note, []).append(f"{c.option} at {_rate(c)}")
        for clip in self.segments:
            failed.setdefault(clip.note, []).append(f"segments: {clip.name}")
        yield from (f"Not measured ({why}): {', '.join(what)}." for why, what in failed.items() if why)

    def table(self) -> Table:
        """Return every conversion and every segment."""
        head = ["clip", "option", "flashes", "mean, ms", "range, ms", "note"]
        cells = []
        for c in self.conversions:
            span = f"{_ms(c.min_ms)}…{_ms(c.max_ms)}" if c.n_flashes else ""
            cells.append([_rate(c), c.option, c.n_flashes, _ms(c.mean_ms), span, c.note])
        for clip in self.segments:
            lengths = "" if clip.wav_s is None else f"{clip.video_s:.2f} s, wav {_ms(clip.wav_minus_video_ms)} ms"
            note = "; ".join(filter(None, [lengths, clip.note]))
            cells.append([clip.name, "-c copy -f segment", clip.n_flashes, _ms(clip.offset_ms), "", note])
        return Table(head, cells, "Video minus sound, positive: video later. Segments: frame i at i/25 s, and the wav.")

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *([repr(self.table())] if self.available else [])])

    def _repr_html_(self) -> str:
        return super()._repr_html_() + (self.table()._repr_html_() if self.available else "")


def _rate(conversion: Conversion) -> str:
    return f"{float(conversion.source_fps):.5g} fps"


def _ms(number: float | None) -> str:
    return "–" if number is None else signed(number)


def audit_converter(
    *,
    ffmpeg: str | os.PathLike = "ffmpeg",
    source_fps: Iterable[float | Fraction] = SOURCE_FPS,
    folder: str | os.PathLike | None = None,
) -> ConverterAudit:
    """Measure what the ffmpeg program on this machine does to audio-visual sync.

    Parameters
    ----------
    ffmpeg : str or path, default "ffmpeg"
        The program: a name looked up on PATH, or a path.
    source_fps : iterable of float or Fraction
        Frame rates to convert to 25 fps, 10 … 240 each.
    folder : path, optional
        Where to keep the clips, in a new folder of their own; by default they are thrown away.

    Returns
    -------
    ConverterAudit
        `available` is False without the program; what fails has a note, and the rest goes on.

    Raises
    ------
    ParameterError
        If a frame rate is out of range.
    OutputError
        If the clips cannot be written.
    """
    rates = [_checked(fps) for fps in source_fps]
    found = shutil.which(ffmpeg)
    if not found:
        return ConverterAudit(False, os.fspath(ffmpeg))
    program = os.path.abspath(found)  # it is going to run in another folder
    try:
        with _workplace(folder) as place:
            conversions = tuple(c for fps in rates for c in _converted(program, fps, place))
            return ConverterAudit(
                True, program, _version(program, place), conversions, tuple(_segments(program, place))
            )
    except OSError as error:
        raise OutputError(f"cannot write the clips of the audit: {error}. Pass a folder with space") from None


def _checked(fps: float | Fraction) -> Fraction:
    low, high = FPS_RANGE
    if not low <= exact_fps(fps) <= high:
        raise ParameterError(f"source_fps must be {low} … {high} frames per second each; got {fps!r}")
    return exact_fps(fps)


@contextmanager
def _workplace(folder: str | os.PathLike | None) -> Iterator[Path]:
    """Yield a new folder, where no clip of an earlier audit can be taken for one of this."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="musetools-") as place:
            yield Path(place)
    else:
        os.makedirs(folder, exist_ok=True)
        yield Path(tempfile.mkdtemp(prefix="converter-", dir=folder)).absolute()


class _Failed(MusetoolsError):
    """A run of the program that failed; it becomes a note."""


def _run(program: str, place: Path, *arguments: str) -> str:
    """Run the program in a folder and return what it prints, or raise the last line of its errors."""
    try:
        # names are relative to the folder: a % in its path would be taken for a pattern
        options = {"cwd": place, "stdin": subprocess.DEVNULL, "capture_output": True, "timeout": TIMEOUT_S}
        done = subprocess.run([program, *arguments], **options)
    except subprocess.TimeoutExpired:
        raise _Failed(f"{program} had not ended after {TIMEOUT_S} s") from None
    except OSError as error:
        raise _Failed(f"{program} cannot be run: {error.strerror}") from None
    if done.returncode:
        errors = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise _Failed(f"{program} ended with {done.returncode}: {errors[-1]}")
    return done.stdout.decode(errors="replace")


def _version(program: str, place: Path) -> str:
    try:
        return _run(program, place, "-version").partition("\n")[0].strip() or f"{program}, which reports no version"
    except _Failed:
        return f"{program}, which reports no version"


def _converted(program: str, fps: Fraction, place: Path) -> Iterator[Conversion]:
    """Convert a clip of one frame rate with every option, and measure."""
    source = write_flash_clip(place / f"source_{float(fps):.3f}.mp4", fps, CLIP_S)
    for number, (name, option) in enumerate(OPTIONS.items()):
        result = source.with_name(f"{source.stem}_{number}.mp4")
        try:
            _run(program, place, *QUIET, "-i", source.name, *option, *CONVERT, result.name)
            late, n_flashes = lateness_ms(flash_starts(result, fps)[0], click_times(result)[0])
            yield Conversion(fps, name, n_flashes, float(late.mean()), float(late.min()), float(late.max()))
        except (MusetoolsError, av.FFmpegError) as error:
            yield Conversion(fps, name, note=str(error))


def _segments(program: str, place: Path) -> Iterator[Segment]:
    """Cut a long clip into segments, and measure each."""
    # B-frames as in what the conversion to 25 fps leaves: they make the wavs shorter than the clips
    source = write_flash_clip(place / "long.mp4", TARGET_FPS, LONG_S, b_frames=3, key_frames=KEY_FRAMES)
    try:
        _run(program, place, *QUIET, "-i", source.name, *SEGMENT, "clip%03d.mp4")
    except _Failed as error:
        yield Segment(source.name, note=str(error))
        return
    clips = sorted(place.glob("clip*.mp4"))
    yield from (_measured(program, clip) for clip in clips)
    if not clips:
        yield Segment(source.name, note=f"{program} reported no error but left no segment")


def _measured(program: str, clip: Path) -> Segment:
    """Extract a segment's wav and compare the two as training reads them, counting frames and samples."""
    segment, wav = Segment(clip.name), clip.with_suffix(".wav")
    try:
        _run(program, clip.parent, *QUIET, "-i", clip.name, *WAV, wav.name)
        starts, n_frames = flash_starts(clip, TARGET_FPS, counted=True)
        clicks, wav_s = click_times(wav)
        segment = replace(segment, video_s=n_frames / TARGET_FPS, wav_s=wav_s)
        late, n_flashes = lateness_ms(starts, clicks)
        return replace(segment, n_flashes=n_flashes, offset_ms=float(late.mean()))
    except (MusetoolsError, av.FFmpegError) as error:
        return replace(segment, note=str(error))
