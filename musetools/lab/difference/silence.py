"""The mouth that moves in silence: how far rows of silence are from those of padding, and what a mask would catch.

Four clips begin with the same 5 s of speech. Then follow: nothing (the rows are made of padding), 2 s of digital
silence, 2 s of a noise floor, or more speech; speech goes on after a pause. Two clips more hold no speech at all. Rows
are compared at the same places in the encoder's window, so that only the sound there, and around it, differs.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from musetools.audio.loudness import loudness
from musetools.chunks.rows import chunk_rows
from musetools.chunks.sequence import Chunks
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.lab.answer import Answer
from musetools.lab.content import gap_of, looped
from musetools.timing import ROW_RATE, ROW_SAMPLES, SAMPLE_RATE, exact_fps, frame_count

__all__ = ["SITUATIONS", "Silence", "measure_silence"]

BEFORE_S, PAUSE_S, AFTER_S = 5, 2, 5
MARGIN = 10  # rows: what is next to speech is left out
NOISE_DBFS = -60
SITUATIONS = ("padding after the end", "digital pause", "pause with noise")
SITUATIONS += ("digital silence alone", "noise alone", "speech")
PAUSES = SITUATIONS[1:3]


@dataclass(frozen=True, eq=False, repr=False)
class Silence(Answer):
    """How far rows of silence are from those of padding and of each other, and what a mask would catch."""

    weights: str
    below_dbfs: float
    distances: dict[str, np.ndarray]  # by spec, (6, 6) in the order of `SITUATIONS`: rms over content, mean of layers
    # by the kind of pause and for "the clip": silent frames, and of them those whose chunk covers nothing else
    caught: dict[str, tuple[int, int]]
    n_frames: int  # of the clip

    def sentences(self) -> list[str]:
        """Write the answer, computed from the numbers."""
        pauses = [f"{self.caught[kind][1]} of {self.caught[kind][0]} frames of a {kind}" for kind in PAUSES]
        silent, masked = self.caught["the clip"]
        return [
            *map(self._of_spec, self.distances),
            f"Chunks.silent at {self.below_dbfs:g} dBFS marks {', '.join(pauses)}: "
            "chunks that reach into speech are not silent.",
            f"In the clip itself {silent} of {self.n_frames} frames are silent, and of their chunks {masked}.",
        ]

    def _of_spec(self, spec: str) -> str:
        *silent, speech = self.distances[spec][0, 1:]  # from padding
        parts = [f"{name} {100 * far / speech:.0f} %" for name, far in zip(SITUATIONS[1:], silent, strict=False)]
        return (
            f"{spec}: of the distance between padding and speech ({speech:.2g}), silence is this far from padding: "
            f"{', '.join(parts)}."
        )

    def results(self) -> dict[str, object]:
        """Return what a notebook records: distances by spec, silent frames and chunks by kind of pause."""
        caught = {kind: list(found) for kind, found in self.caught.items()}
        return {"distances": {spec: matrix.tolist() for spec, matrix in self.distances.items()}, "caught": caught}


def measure_silence(
    waveform: np.ndarray,
    encoder: Encoder,
    content: dict[str, np.ndarray],
    *,
    fps: float | Fraction = 25,
    below_dbfs: float = -50,
) -> Silence:
    """Measure how far rows of silence are from those of padding and of each other, and what a mask would catch.

    Parameters
    ----------
    waveform : ndarray of float32, shape (n_samples,)
        Speech, mono, 16 kHz; its first 12 s are used, repeated where there are fewer.
    encoder : Encoder
        The weights.
    content : dict of str to ndarray, shape (n_layers,)
        Standard deviation of the content by the name of a spec: what is measured, and the unit.
    fps : float or Fraction, default 25
        Video frames per second.
    below_dbfs : float, default -50
        A frame below this is silent.

    Returns
    -------
    Silence
    """
    clips = _clips(looped(waveform, BEFORE_S + PAUSE_S + AFTER_S))
    distances = {spec: _distances(clips, encoder, spec, std) for spec, std in content.items()}
    start, stop = (round(seconds * float(exact_fps(fps))) for seconds in (BEFORE_S, BEFORE_S + PAUSE_S))
    caught = {kind: _caught(clips[kind], fps, below_dbfs, slice(start, stop)) for kind in PAUSES}
    caught["the clip"] = _caught(waveform, fps, below_dbfs, slice(None))
    return Silence(encoder.name, below_dbfs, distances, caught, frame_count(len(waveform), fps))


def _clips(speech: np.ndarray) -> dict[str, np.ndarray]:
    start, stop = BEFORE_S * SAMPLE_RATE, (BEFORE_S + PAUSE_S) * SAMPLE_RATE
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32) * 10 ** (NOISE_DBFS / 20)
    nothing = np.zeros_like(speech)
    with_pause = (np.concatenate([speech[:start], fill[start:stop], speech[stop:]]) for fill in (nothing, noise))
    return dict(zip(SITUATIONS, (speech[:start], *with_pause, nothing, noise, speech), strict=True))


def _distances(clips: dict[str, np.ndarray], encoder: Encoder, spec: str, std: np.ndarray) -> np.ndarray:
    kept = replace(FeatureSpec.named(spec), keep_padding=True)
    places = slice(BEFORE_S * ROW_RATE + MARGIN, (BEFORE_S + PAUSE_S) * ROW_RATE - MARGIN)
    rows = [audio2feat((samples, SAMPLE_RATE), encoder, spec=kept)[places] for samples in clips.values()]
    return np.array([[gap_of(a - b, std).rms.mean() for b in rows] for a in rows])


def _caught(waveform: np.ndarray, fps: float | Fraction, below_dbfs: float, frames: slice) -> tuple[int, int]:
    """Count silent frames and chunks, of some frames of a clip."""
    dbfs, n_rows = loudness(waveform, fps), len(waveform) // ROW_SAMPLES
    chunks = Chunks(np.empty((n_rows, 1, 1)), chunk_rows(n_rows, fps, n_frames=len(dbfs)), fps)
    silent, quiet = chunks.silent(dbfs, below_dbfs=below_dbfs)[frames], dbfs[frames] < below_dbfs
    return int(quiet.sum()), int((silent & quiet).sum())
