"""One timeline a clip: when each frame is shown, where sound lies by its time stamps, and where counting puts it.

Time 0 is the first video frame that a decoder shows; without video, the first sample. Sound is a row of *pieces*
without a break: inside one, time stamps and the number of samples agree within 5 ms, FFmpeg's own limit. Between two
pieces lies a hole or an overlap. A decoder that counts samples, as all published pipelines do, puts piece after piece.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from musetools.audio.resample import BLOCK_S, SignalCheck, in_blocks, swresample_mono
from musetools.errors import AudioError
from musetools.timing import SAMPLE_RATE

if TYPE_CHECKING:
    import av

__all__ = ["BREAK_S", "ROUNDED_S", "Piece", "SoundTimes", "Timeline", "laid_out"]

BREAK_S = 0.005  # as aresample's min_hard_comp where FFmpeg lays sound by time stamps
ROUNDED_S = 0.001  # Matroska and Flash count milliseconds: a start within one is no offset
LONGEST_HOLE_S, LONGEST_OVERLAP_S = 600, 10  # beyond, time stamps start anew: files were joined
MOST_LOST, MOST_LOST_S = 0.5, 0.5  # an overlap of more, of all sound before and in seconds, is no overlap either
MOST_SILENCE = 60  # seconds of holes for each of sound, once they are longer than the longest one


@dataclass(frozen=True)
class Piece:
    """Sound without a break; seconds from the first shown frame."""

    start_s: float  # by time stamps
    counted_s: float  # where a decoder that counts samples puts it
    duration_s: float

    @property
    def end_s(self) -> float:
        """Where it ends, by time stamps."""
        return self.start_s + self.duration_s

    @property
    def early_s(self) -> float:
        """How early a decoder that counts samples puts it; negative: late."""
        return self.start_s - self.counted_s


@dataclass(frozen=True)
class Timeline:
    """What `audit_clip` and `extract` know of a clip's time; seconds from the first shown frame.

    Source: ``aresample=async=1:min_hard_comp=0.005:first_pts=0`` of FFmpeg lays sound by the same rule.
    """

    frames_s: tuple[float, ...] = ()  # when each shown frame appears
    pieces: tuple[Piece, ...] = ()
    bad_s: tuple[float, ...] = ()  # packets of sound that cannot be decoded
    decoded: bool = True  # False: packets alone were read
    disordered: int = 0  # frames whose time stamp is before that of the frame that a decoder shows before them

    @property
    def kept(self) -> tuple[Piece, ...]:
        """The pieces that reach beyond time 0; what ends before it is cut off."""
        return tuple(piece for piece in self.pieces if piece.end_s > 0)

    @property
    def start_offset_s(self) -> float:
        """When sound starts, of what reaches beyond time 0; positive: late."""
        return self.kept[0].start_s if self.kept else 0.0

    @property
    def holes(self) -> tuple[tuple[float, float], ...]:
        """Start and length of each stretch without sound between two pieces."""
        return self._gaps(1)

    @property
    def overlaps(self) -> tuple[tuple[float, float], ...]:
        """Start and length of each stretch that two pieces claim; the later one loses it."""
        return self._gaps(-1)

    def _gaps(self, sign: int) -> tuple[tuple[float, float], ...]:
        found = ((a.end_s, sign * (b.start_s - a.end_s)) for a, b in pairwise(self.kept))
        return tuple((start, length) for start, length in found if length > ROUNDED_S)

    @property
    def worst(self) -> Piece | None:
        """The piece that is kept and that a decoder which counts samples puts farthest from its place."""
        return max(self.kept, key=lambda piece: abs(piece.early_s), default=None)

    @property
    def end_s(self) -> float | None:
        """Where the last sound ends; None where nothing is known of sound."""
        return max((piece.end_s for piece in self.pieces), default=None)

    @property
    def sound_s(self) -> float:
        """How much sound there is, holes not counted."""
        return sum(piece.duration_s for piece in self.pieces)

    def to_json(self) -> dict[str, Any]:
        """Return what a store keeps of it: start offset, holes and overlaps, in seconds."""
        gaps = {"holes": self.holes, "overlaps": self.overlaps}
        plain = {name: [[round(x, 6) for x in gap] for gap in found] for name, found in gaps.items()}
        return {"start_offset_s": round(self.start_offset_s, 6), **plain, "bad_packets_s": list(self.bad_s)}


@dataclass
class SoundTimes:
    """Notes, frame by frame of a decoder, where sound breaks."""

    name: str
    rate: int = SAMPLE_RATE
    tick_s: float = 0.0
    zero_s: float | None = None  # time of the first shown frame on the container's clock
    starts_s: list[float] = field(default_factory=list)  # of each piece, on the container's clock
    lengths: list[int] = field(default_factory=list)  # of each piece, in samples
    stamped: bool = True  # whether frames have time stamps of their own
    n_decoded: int = 0  # samples that frames have brought so far
    bad_s: list[float] = field(default_factory=list)

    def numbered(self, frames: Iterable["av.AudioFrame"]) -> Iterator[tuple["av.AudioFrame", int]]:
        """Pass on a decoder's frames, each with the number of its piece.

        A frame whose time stamp is off starts a piece if the next one's is off as well: those of Vorbis in Ogg are
        10 ms late for a single frame wherever blocks change their length.
        """
        held = None
        for frame in frames:
            if held is not None:
                ahead = self._off_s(frame, held.samples)
                yield held, self._note(held, breaks=ahead * self._off_s(held) > 0)
                held = None
            if self.starts_s and self._off_s(frame):
                held = frame
            else:
                yield frame, self._note(frame, breaks=not self.starts_s)
        if held is not None:
            yield held, self._note(held, breaks=False)

    def _off_s(self, frame: "av.AudioFrame", n_before: int = 0) -> float:
        """Return how far a frame's time stamp is from where the sound before it ends; 0 for what rounding explains."""
        if frame.pts is None or not self.stamped:
            return 0.0
        off = frame.time - self.end_s - n_before / self.rate  # not by fractions, which took a tenth of decoding
        return off if abs(off) > max(BREAK_S, 2 * self.tick_s) else 0.0

    def _note(self, frame: "av.AudioFrame", *, breaks: bool) -> int:
        if breaks:
            at = self.end_s if frame.pts is None else float(frame.pts * frame.time_base)
            self._check_place(at)
            self.starts_s.append(at)
            self.lengths.append(0)
        self.lengths[-1] += frame.samples
        self.n_decoded += frame.samples
        return len(self.starts_s) - 1

    def _check_place(self, at: float) -> None:
        """Raise AudioError if no piece can start at a time: files were joined, or a stamp or a clock is damaged."""
        if not self.starts_s:
            if self.zero_s is not None and abs(at - self.zero_s) > LONGEST_HOLE_S:
                raise AudioError(
                    f"{self.name}: by its time stamps its sound starts {at - self.zero_s:.3f} s from its video: "
                    "it is damaged. Export it again"
                )
            return
        overlap_s, sound_s = self.end_s - at, self.n_decoded / self.rate
        anew = overlap_s > min(LONGEST_OVERLAP_S, max(MOST_LOST_S, MOST_LOST * sound_s))
        if anew or overlap_s < -LONGEST_HOLE_S:
            raise AudioError(
                f"{self.name}: its time stamps jump from {self.end_s:.3f} s to {at:.3f} s: files were joined, or "
                "it is damaged. Export it again"
            )
        silent_s = at - self.starts_s[0] - sound_s
        if silent_s > max(LONGEST_HOLE_S, MOST_SILENCE * sound_s):
            raise AudioError(
                f"{self.name}: its time stamps spread {sound_s:.3f} s of sound over {silent_s:.0f} s of silence: "
                "it is damaged. Export it again"
            )

    @property
    def end_s(self) -> float:
        """Where the sound so far ends, on the container's clock."""
        return self.starts_s[-1] + self.lengths[-1] / self.rate if self.starts_s else 0.0

    def place(self, number: int) -> int:
        """Return the sample at 16 kHz where a piece starts; negative before the first shown frame."""
        at = self.starts_s[number] - self._zero_s
        return 0 if abs(at) < ROUNDED_S else round(at * SAMPLE_RATE)

    @property
    def _zero_s(self) -> float:
        return self.starts_s[0] if self.zero_s is None else self.zero_s

    def timeline(self, frames_s: Iterable[float] = (), *, decoded: bool = True) -> Timeline:
        """Return what was noted, with the times of shown frames on the container's clock."""
        zero, before, pieces = self._zero_s if self.starts_s else self.zero_s or 0.0, 0, []
        for start, length in zip(self.starts_s, self.lengths, strict=True):
            pieces.append(Piece(start - zero, before / self.rate, length / self.rate))
            before += length
        bad = tuple(round(at - zero, 6) for at in self.bad_s)
        return Timeline(tuple(at - zero for at in frames_s), tuple(pieces), bad, decoded)


def laid_out(frames: Iterator["av.AudioFrame"], signal: SignalCheck, times: SoundTimes) -> Iterator[np.ndarray]:
    """Yield mono blocks at 16 kHz where time stamps put them: holes are silence, of an overlap the later piece loses.

    Each piece passes the resampler alone, so a clip of one piece that starts at 0 equals decoder "ffmpeg" to the bit.
    """
    n_out = n_lost = 0
    for number, piece in groupby(times.numbered(frames), itemgetter(1)):
        blocks = swresample_mono(in_blocks((frame for frame, _ in piece), signal), signal)
        cut = max(0, n_out - times.place(number))
        n_lost += min(cut, n_out)
        _check_lost(n_lost / SAMPLE_RATE, times)
        for silence in _silence(times.place(number) - n_out):
            n_out += len(silence)
            yield silence
        for block in blocks:
            kept, cut = block[cut:], max(0, cut - len(block))
            n_out += len(kept)
            if len(kept):
                yield kept


def _check_lost(lost_s: float, times: SoundTimes) -> None:
    """Raise AudioError if overlaps have cost more than they can: packets were stamped in bursts, as they arrived."""
    sound_s = times.n_decoded / times.rate
    if lost_s > max(MOST_LOST_S, MOST_LOST * sound_s):
        raise AudioError(
            f"{times.name}: by its time stamps {lost_s:.3f} s of its first {sound_s:.3f} s of sound lie on top of each "
            "other: they were given in bursts. decoder='ffmpeg' counts samples instead; or export it again"
        )


def _silence(n_samples: int) -> Iterator[np.ndarray]:
    step = BLOCK_S * SAMPLE_RATE
    yield from (np.zeros(min(step, n_samples - i), np.float32) for i in range(0, n_samples, step))
