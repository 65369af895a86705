"""Speech with known mouth openings: the drawn talker, spoken on the spot or bundled, or a user's own clips."""

import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from musetools.audio.load import load_audio
from musetools.errors import ParameterError
from musetools.features.encoder import Encoder, load_encoder
from musetools.files import find_media
from musetools.lab.project import project_file
from musetools.lab.talker import RATE, SPOKEN, VOICES, openings, speak
from musetools.lips import lip_sync, mouth_measures, read_mouth
from musetools.lips.expected import GRID_RATE, on_grid
from musetools.timing import SAMPLE_RATE

__all__ = ["Talker", "find_talkers", "hold_out"]

CURVE_RATE = 1000  # points a second at which the drawn talker's rule is evaluated
PIECE_S = 28  # the part of a clip that v1.5's loader reads without fault (K5)
MOUTH_ENCODER = "tiny.en"  # whose rows the model of mouths takes
LONGEST_NAME = 80  # of several clips that are held out: it becomes a store's clip id
DRAWN = "0 shut, 1 wide"
BUNDLED = ("speech.flac", "voice_a.m4a", "voice_b.m4a", "voice_c.m4a")


@dataclass(frozen=True)
class Talker:
    """A clip of speech, and how far its mouth is open."""

    name: str
    waveform: np.ndarray  # float32, (n_samples,): mono, 16 kHz
    times_s: np.ndarray  # (n,): when each opening was measured
    opening: np.ndarray  # (n,): in the unit below
    speaker: str = ""  # clips of one speaker are never on both sides; empty: of nobody else
    unit: str = DRAWN

    @property
    def duration_s(self) -> float:
        """Length of the audio."""
        return len(self.waveform) / SAMPLE_RATE

    def at(self, times_s: np.ndarray) -> np.ndarray:
        """Return the openings at any times, linear between those that are known."""
        return np.interp(times_s, self.times_s, self.opening)

    def part(self, start_s: float, stop_s: float) -> "Talker":
        """Return the stretch between two times as a clip."""
        waveform = self.waveform[round(start_s * SAMPLE_RATE) : round(stop_s * SAMPLE_RATE)]
        inside = (self.times_s >= start_s) & (self.times_s <= stop_s)
        series = self.times_s[inside] - start_s, self.opening[inside]
        return Talker(f"{self.name}-{start_s:g}s", waveform, *series, self.speaker, self.unit)


def find_talkers(speech: str = "auto") -> list[Talker]:
    """Make or read clips of speech whose mouth openings are known; the last ones are meant to be held out.

    Parameters
    ----------
    speech : str, default "auto"
        "spoken": sentences that espeak-ng says now, in several voices; "bundled": the clips in ``data/``; "auto":
        spoken where espeak-ng is installed, bundled otherwise. Anything else is a folder of clips, those of one speaker
        in a folder of their own below it. Where a clip has a csv of the same name beside it, that is its mouth (see
        `read_mouth`); otherwise the mouth is measured in the video, moved by the offset that `lip_sync` finds.

    Raises
    ------
    ParameterError
        If the folder or its tables cannot be used, or espeak-ng is missing where it is asked for.
    AudioError, MissingExtraError, EncoderError
        As `mouth_measures`, for clips without a csv.
    """
    if speech == "auto":
        speech = "spoken" if shutil.which("espeak-ng") else "bundled"
    if speech == "spoken":
        texts = (*SPOKEN, VOICES["voice_b"], VOICES["voice_c"])
        return [_drawn(f"{i}-{voice}", load_audio((speak(text, voice), RATE))) for i, (voice, text) in enumerate(texts)]
    if speech == "bundled":
        return [_drawn(name.split(".")[0], load_audio(project_file(f"data/{name}"))) for name in BUNDLED]
    folder = project_file(speech)
    media = find_media(folder) if folder.is_dir() else ()
    weights = cache(lambda: load_encoder(MOUTH_ENCODER))  # loaded once, and only if a mouth is measured
    if not (talkers := [talker for name, path in media if (talker := _measured(name, path, folder, weights))]):
        raise ParameterError(f"speech must be 'auto', 'spoken', 'bundled' or a folder of clips of speech; got {folder}")
    return talkers


def _measured(name: str, path: Path, folder: Path, weights: Callable[[], Encoder]) -> Talker | None:
    """Read a clip and its mouth; None where its lips cannot be compared with its sound."""
    waveform, table = load_audio(path), path.with_suffix(".csv")
    speaker = path.parent.name if path.parent != folder else path.stem
    if table.is_file():
        mouth = read_mouth(table)
        if not len(mouth.opening[0]):
            raise ParameterError(f"{table} has no opening: give a column inner or opening")
        return Talker(Path(name).stem, waveform, *mouth.opening, speaker, DRAWN if mouth.drawn else "as in its table")
    seen = mouth_measures(path)
    sync = lip_sync(seen, waveform, weights())
    if sync.offset_ms is None:
        warnings.warn(f"{name} is left out: {sync.why}", stacklevel=2)
        return None
    even, known = on_grid(seen.times_s, seen.values)
    times = np.arange(len(even)) / GRID_RATE + sync.offset_ms / 1000
    return Talker(Path(name).stem, waveform, times[known], even[known].mean(axis=1), speaker, "in deviations")


def _drawn(name: str, waveform: np.ndarray) -> Talker:
    opening = openings(waveform.astype(np.float64), SAMPLE_RATE, Fraction(CURVE_RATE))
    return Talker(name, waveform, np.arange(len(opening)) / CURVE_RATE, opening)


def hold_out(talkers: Sequence[Talker], seconds: float = 60) -> tuple[list[Talker], Talker]:
    """Split clips into pieces for training and one stretch of some seconds that is held out.

    The stretch is cut from as many of the last clips as it needs, joined. Pieces are of up to 28 s, longer than a
    second, and have openings; none is of a clip or a speaker of the stretch. ParameterError if there is not enough.
    """
    kept, rest = [], list(talkers)
    while rest and sum(t.duration_s for t in kept) < seconds:
        kept.insert(0, rest.pop())
    speakers = {t.speaker for t in kept} - {""}
    rest = [t for t in rest if t.speaker not in speakers]
    pieces = [
        piece
        for talker in rest
        for start in np.arange(0, talker.duration_s - 1, PIECE_S)
        if len((piece := talker.part(start, min(start + PIECE_S, talker.duration_s))).times_s)
    ]
    if not pieces or sum(t.duration_s for t in kept) < seconds:
        total = sum(t.duration_s for t in talkers)
        raise ParameterError(
            f"{seconds:g} s in whole clips are to be held out, and some must remain for training; got {len(talkers)} "
            f"clips of {total:.1f} s together. Add clips, cut a long one in two, or hold out less"
        )
    return pieces, _joined(kept).part(0, seconds)


def _joined(talkers: Sequence[Talker]) -> Talker:
    starts = np.cumsum([0, *(len(t.waveform) for t in talkers[:-1])]) / SAMPLE_RATE
    # a table may reach beyond its audio, where the next clip's begins
    used = [t.times_s < t.duration_s for t in talkers]
    names = "+".join(t.name for t in talkers)
    return Talker(
        names if len(names) <= LONGEST_NAME else f"{talkers[0].name}+{len(talkers) - 1}_more",
        np.concatenate([t.waveform for t in talkers]),
        np.concatenate([t.times_s[u] + start for t, u, start in zip(talkers, used, starts, strict=True)]),
        np.concatenate([t.opening[u] for t, u in zip(talkers, used, strict=True)]),
        unit=talkers[0].unit,
    )
