"""The mouth of a clip beside its sound: what is seen, what is expected, by how much one is late, and a plosive."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from musetools.audio.loudness import loudness
from musetools.features.encoder import Encoder
from musetools.lab.project import project_file
from musetools.lips import LipSync, MouthModel, MouthSeries, mouth_measures, read_mouth
from musetools.lips.estimate import compared, expected_and_sync

__all__ = ["Mouth", "look_at_mouth"]

FINE_FPS = 100  # values of loudness a second in which a burst is looked for
SHUT, BURST_S = 0.25, 0.08  # share of frames in which lips count as shut; length of the burst, and of what is before it


@dataclass(frozen=True, eq=False)
class Mouth:
    """A clip's mouth and its sound."""

    seen: MouthSeries
    expected: np.ndarray  # (n_rows, n_measures): the mouth expected from the sound
    sync: LipSync

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mouth seen and the one expected, (n_points,) each, 100 a second, mean 0 and deviation 1."""
        even, known, wanted = compared(self.seen, self.expected)
        seen, expected = even.mean(axis=1), wanted.mean(axis=1)
        seen = np.where(known, seen / max(seen[known].std(), 1e-9), np.nan)
        return seen, expected / max(expected.std(), 1e-9)

    def plosive(self, waveform: np.ndarray) -> int | None:
        """Return the frame with shut lips after which sound, moved to the mouth, rises most; None without pictures."""
        lips, times = self.seen.values[:, 0], self.seen.times_s + (self.sync.offset_ms or 0) / 1000
        if self.seen.places is None or not np.isfinite(lips).any():
            return None
        loud = np.maximum(loudness(waveform, FINE_FPS), -70)
        sums = np.concatenate([[0.0], np.cumsum(loud)])
        here, step = np.rint(times * FINE_FPS).astype(int), round(BURST_S * FINE_FPS)
        before, middle, after = (np.clip(here + k * step, 0, len(loud)) for k in (-1, 0, 1))
        rise = (sums[after] - 2 * sums[middle] + sums[before]) / step
        inside = (here >= step) & (here < len(loud) - step)
        shut = lips <= np.nanquantile(lips, SHUT)
        return int(np.argmax(np.where(inside & shut, rise, -np.inf)))


def look_at_mouth(
    clip: str | os.PathLike, waveform: np.ndarray, frames_s: np.ndarray, encoder: Encoder, mouth: str = "auto"
) -> Mouth | None:
    """Compare a clip's mouth with its sound.

    Parameters
    ----------
    clip : path
        The video.
    waveform : ndarray of float32, shape (n_samples,)
        Its sound, mono, 16 kHz.
    frames_s : ndarray of float, shape (n_frames,)
        When its frames are shown.
    encoder : Encoder
        If it is tiny.en, the mouth is expected from its rows, otherwise from loudness.
    mouth : str, default "auto"
        "face": measured in the video by MediaPipe; "none"; or a table (see `read_mouth`). "auto": the csv of the clip's
        name beside it where there is one, as for the drawn talker, otherwise the face where MediaPipe is installed.

    Returns
    -------
    Mouth or None
        None without a series. A drawn mouth is compared with loudness, the rule that it was drawn by.

    Raises
    ------
    ParameterError
        If the table does not fit the clip.
    AudioError, MissingExtraError, EncoderError
        As `mouth_measures`.
    """
    beside = Path(clip).with_suffix(".csv")
    if mouth == "auto":
        mouth = str(beside) if beside.is_file() else "face" if find_spec("mediapipe") else "none"
    if mouth == "none":
        return None
    seen = mouth_measures(clip) if mouth == "face" else read_mouth(project_file(mouth), frames_s)
    model = MouthModel.load()
    return Mouth(seen, *expected_and_sync(seen, waveform, encoder if model.fits(encoder) else None, model))
