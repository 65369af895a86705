"""What an ffmpeg program does to sync: conversions to 25 fps, segments, and what they say in sentences and a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from musetools.lab.answer import Answer
from musetools.table import Table, signed

__all__ = ["OPTIONS", "SEGMENT_S", "Conversion", "ConverterAudit", "Segment"]

SEGMENT_S = 10  # scripts/preprocess.py (TMElyralab/MuseTalk) asks for segments of 30 s
OPTIONS = {"-r 25": ("-r", "25"), "-vf fps=25": ("-vf", "fps=25")}  # the first is that script's
MATTERS_MS = 20.0  # a mean below half a frame may be the rounding to whole frames


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
