"""Speech with known mouth openings: the drawn talker, spoken on the spot or bundled, or a user's own clips."""

import csv
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from musetools.audio.load import load_audio
from musetools.errors import ParameterError
from musetools.files import MEDIA
from musetools.lab.project import project_file
from musetools.lab.talker import RATE, SPOKEN, VOICES, openings, speak
from musetools.timing import SAMPLE_RATE, exact_fps

__all__ = ["Talker", "find_talkers", "hold_out", "read_openings"]

CURVE_RATE = 1000  # points a second at which the drawn talker's rule is evaluated
PIECE_S = 28  # the part of a clip that v1.5's loader reads without fault (K5)
BUNDLED = ("speech.flac", "voice_a.m4a", "voice_b.m4a", "voice_c.m4a")


@dataclass(frozen=True)
class Talker:
    """A clip of speech, and how far its mouth is open."""

    name: str
    waveform: np.ndarray  # float32, (n_samples,): mono, 16 kHz
    times_s: np.ndarray  # (n,): when each opening was measured
    opening: np.ndarray  # (n,): 0 (shut) … 1 (wide)

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
        return Talker(f"{self.name}-{start_s:g}s", waveform, self.times_s[inside] - start_s, self.opening[inside])


def find_talkers(speech: str = "auto") -> list[Talker]:
    """Make or read clips of speech whose mouth openings are known.

    Parameters
    ----------
    speech : str, default "auto"
        "spoken": sentences that espeak-ng says now, in several voices; "bundled": the clips in ``data/``; "auto":
        spoken where espeak-ng is installed, bundled otherwise. Anything else is a folder of media files, each with its
        openings in a csv of the same name (see `read_openings`).

    Returns
    -------
    list of Talker
        The last ones, of other texts and voices, are meant to be held out.

    Raises
    ------
    ParameterError
        If the folder or its tables cannot be used, or espeak-ng is missing where it is asked for.
    """
    if speech == "auto":
        speech = "spoken" if shutil.which("espeak-ng") else "bundled"
    if speech == "spoken":
        texts = (*SPOKEN, VOICES["voice_b"], VOICES["voice_c"])
        return [_drawn(f"{i}-{voice}", load_audio((speak(text, voice), RATE))) for i, (voice, text) in enumerate(texts)]
    if speech == "bundled":
        return [_drawn(name.split(".")[0], load_audio(project_file(f"data/{name}"))) for name in BUNDLED]
    folder = project_file(speech)
    media = sorted(p for p in folder.iterdir() if p.suffix.lower() in MEDIA) if folder.is_dir() else []
    if not media:
        raise ParameterError(
            f"speech must be 'auto', 'spoken', 'bundled' or a folder of media files, each with a csv; got {folder}"
        )
    return [Talker(path.stem, load_audio(path), *read_openings(path.with_suffix(".csv"))) for path in media]


def _drawn(name: str, waveform: np.ndarray) -> Talker:
    opening = openings(waveform.astype(np.float64), SAMPLE_RATE, Fraction(CURVE_RATE))
    return Talker(name, waveform, np.arange(len(opening)) / CURVE_RATE, opening)


def hold_out(talkers: Sequence[Talker], seconds: float = 60) -> tuple[list[Talker], Talker]:
    """Split clips into those for training and one stretch that is held out.

    Parameters
    ----------
    talkers : sequence of Talker
        Two or more.
    seconds : float, default 60
        Length of what is held out, taken from as many of the last clips as it needs, joined.

    Returns
    -------
    training : list of Talker
        The other clips, in pieces of up to 28 s, each longer than a second.
    held_out : Talker
        Never part of the same clip as anything in `training`.

    Raises
    ------
    ParameterError
        If there is not enough.
    """
    kept, rest = [], list(talkers)
    while rest and sum(t.duration_s for t in kept) < seconds:
        kept.insert(0, rest.pop())
    pieces = [
        talker.part(start, min(start + PIECE_S, talker.duration_s))
        for talker in rest
        for start in np.arange(0, talker.duration_s - 1, PIECE_S)
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
    return Talker(
        "+".join(t.name for t in talkers),
        np.concatenate([t.waveform for t in talkers]),
        np.concatenate([t.times_s[u] + start for t, u, start in zip(talkers, used, starts, strict=True)]),
        np.concatenate([t.opening[u] for t, u in zip(talkers, used, strict=True)]),
    )


def read_openings(
    path: str | os.PathLike, *, fps: float | Fraction | None = None, n_frames: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a table of mouth openings.

    Parameters
    ----------
    path : path
        A csv with the columns ``time_s`` and ``opening``, as in ``data/``, in the order of time.
    fps : float or Fraction, optional
        Frame rate of a clip, where the table must hold an opening for each of its frames: the k-th at k/fps.
    n_frames : int, optional
        Frames of that clip; the table may differ by one.

    Returns
    -------
    times_s, opening : ndarray of float64, shape (n,)
        Seconds and openings.

    Raises
    ------
    ParameterError
        If the file is missing or no such table, a number is not finite, time does not grow, or the table does not
        belong to the clip.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = [(float(row["time_s"]), float(row["opening"])) for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise ParameterError(f"no {path}: each clip needs its openings in a csv of the same name beside it") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ParameterError(
            f"{path} must have the columns time_s and opening, numbers in every table row; got {error!r}"
        ) from None
    times, opening = np.array(table, np.float64).reshape(-1, 2).T
    if len(times) < 2 or not np.isfinite([times, opening]).all() or (np.diff(times) <= 0).any():
        raise ParameterError(f"{path} must hold two table rows or more, finite, with time_s growing; got {len(times)}")
    if np.ptp(opening) == 0:
        raise ParameterError(f"{path}: every opening is {opening[0]:g}, so there is nothing to learn. Use another clip")
    if fps is not None:
        late = np.abs(times - np.arange(len(times)) / float(exact_fps(fps)))
        if abs(len(times) - n_frames) > 1 or late.max() > 0.5 / exact_fps(fps):
            raise ParameterError(
                f"{path} must have an opening for each frame of the clip, {n_frames} at {float(fps):.5g} fps; "
                f"got {len(times)}, up to {late.max():.3f} s away from their frames"
            )
    return times, opening
