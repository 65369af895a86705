"""What the ffmpeg program on this machine does to audio-visual sync, measured on clips that flash and click together.

Training sets are prepared with it. musetools decodes in process; only here the program runs, being what is audited.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av

from musetools.errors import MusetoolsError, OutputError, ParameterError
from musetools.lab.alignment.conversions import OPTIONS, SEGMENT_S, Conversion, ConverterAudit, Segment
from musetools.lab.alignment.flashes import click_times, flash_starts, lateness_ms, write_flash_clip
from musetools.timing import SAMPLE_RATE, exact_fps

__all__ = ["audit_converter"]

SOURCE_FPS, FPS_RANGE = (Fraction(30000, 1001), 30, 50, 60, 25), (10, 240)
TARGET_FPS, CLIP_S, LONG_S, TIMEOUT_S = 25, 12, 40, 120
KEY_FRAMES = (283, 447, 655, 820)  # as scenes would set them: none at a multiple of 10 s
# the commands of scripts/preprocess.py (TMElyralab/MuseTalk)
CONVERT = ("-crf", "15", "-c:v", "libx264", "-pix_fmt", "yuv420p")
SEGMENT = ("-c", "copy", "-map", "0", "-segment_time", str(SEGMENT_S), "-f", "segment", "-reset_timestamps", "1")
QUIET = ("-nostdin", "-hide_banner", "-loglevel", "error", "-y")
WAV = ("-vn", "-acodec", "pcm_s16le", "-f", "wav", "-ar", str(SAMPLE_RATE), "-ac", "1")


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
