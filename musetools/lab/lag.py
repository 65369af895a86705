"""Lag, read off an index matrix and measured with clicks; and what the v1.5 training loader does to late frames."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from musetools.chunks import ZERO_ROW, row_lag_ms
from musetools.clock import ROW_MS, SAMPLE_RATE, exact_fps
from musetools.cuts import MUSETALK_FPS, training_window
from musetools.encoder import Encoder
from musetools.errors import ParameterError
from musetools.features import audio2feat
from musetools.lab.profile import recipe_of
from musetools.recipes import Recipe

__all__ = ["MeasuredLag", "SamplerAudit", "WindowLag", "audit_sampler", "measure_lag", "window_lag"]

CLICK_S, CLICK_PEAK, NOISE_RMS = 0.002, 0.3, 0.003


@dataclass(frozen=True)
class WindowLag:
    """Lag of an index matrix: how far chunks lie in the future of their frames.

    Attributes
    ----------
    mean_ms, min_ms, max_ms : float
        Over all frames that are at no edge; NaN if there is none.
    drift_ms_s : float
        Slope of a straight line through it, in ms per second of clip.
    """

    mean_ms: float
    min_ms: float
    max_ms: float
    drift_ms_s: float


def window_lag(rows: np.ndarray, fps: float | Fraction, *, first_frame: int = 0) -> WindowLag:
    """Read lag and drift off an index matrix.

    Parameters
    ----------
    rows : ndarray of int, shape (n_frames, rows_per_chunk)
        The matrix.
    fps : float or Fraction
        Video frames per second.
    first_frame : int, default 0
        Number of the frame that its first line belongs to.

    Returns
    -------
    WindowLag
    """
    lag = row_lag_ms(rows, fps, first_frame=first_frame)
    inside = np.flatnonzero(~np.isnan(lag))
    if len(inside) == 0:
        return WindowLag(np.nan, np.nan, np.nan, 0.0)
    times = (first_frame + inside) / float(exact_fps(fps))
    drift = float(np.polyfit(times, lag[inside], 1)[0]) if len(inside) > 1 else 0.0
    return WindowLag(float(lag[inside].mean()), float(lag[inside].min()), float(lag[inside].max()), drift)


@dataclass(frozen=True)
class MeasuredLag:
    """Lag measured with clicks, frame by frame.

    Attributes
    ----------
    frames : ndarray of int
        Frames whose chunk holds a click.
    lag_ms : ndarray of float
        Lag of each, by where in its chunk the click was found.
    foretold_ms : ndarray of float
        Lag of each by the index matrix.
    """

    frames: np.ndarray
    lag_ms: np.ndarray
    foretold_ms: np.ndarray

    @property
    def mean_ms(self) -> float:
        """Mean of the measured lag."""
        return float(self.lag_ms.mean())

    @property
    def error_ms(self) -> float:
        """Largest difference, over the clicks, of the measured lag and the one that the matrix foretells."""
        return float(np.abs(self.lag_ms - self.foretold_ms).max())


def measure_lag(
    recipe: str | Recipe, encoder: Encoder, fps: float | Fraction = 25, *, seconds: float = 12.0
) -> MeasuredLag:
    """Send clicks through decoder, mel and encoder, and find them again in layer 0 of a recipe's chunks.

    Layer 0 is the encoder's input embedding: it knows what was heard when, but not yet attention.

    Parameters
    ----------
    recipe : Recipe or str
        The pipeline.
    encoder : Encoder
        Any weights.
    fps : float or Fraction, default 25
        Frame rate that the pipeline is told.
    seconds : float, default 12
        Length of the sound.

    Returns
    -------
    MeasuredLag

    Raises
    ------
    RecipeError
        If the pipeline stops at this frame rate.
    ParameterError
        If no click was found in the interior of a chunk.
    """
    recipe, n_samples = recipe_of(recipe), round(seconds * SAMPLE_RATE)
    quiet = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32) * NOISE_RMS
    clicks = np.arange(1.013, seconds - 1, 0.737)  # s; at every place between two rows in turn
    heard = quiet.copy()
    for click in clicks:
        at = round(click * SAMPLE_RATE)
        heard[at : at + round(CLICK_S * SAMPLE_RATE)] += CLICK_PEAK
    embedding, spec = encoder.truncated(1), replace(recipe.features, final_norm=False)
    with_clicks, without = (
        recipe.chunks(audio2feat((sound, SAMPLE_RATE), embedding, spec=spec), n_samples, fps)
        for sound in (heard, quiet)
    )
    change = np.square(with_clicks.batch() - without.batch()).sum(axis=-1)
    found = [_found(click + CLICK_S / 2, with_clicks, change) for click in clicks]
    found = np.array([one for one in found if one is not None])
    if len(found) == 0:
        raise ParameterError(f"no click found again in the chunks of {recipe.name}: are these Whisper's weights?")
    frames = found[:, 0].astype(int)
    return MeasuredLag(frames, found[:, 1], with_clicks.lag_ms()[frames - with_clicks.frames.start])


def _found(click_s: float, chunks, change: np.ndarray) -> tuple[int, float] | None:
    """Find a click in the chunk that it lies most in the middle of; return the frame and its lag in ms."""
    inside = ~np.isnan(chunks.lag_ms())
    places = np.arange(chunks.rows.shape[1])
    weight = change.sum(axis=1)
    centre = (change * places).sum(axis=1) / np.maximum(weight, 1e-12)
    middle = np.where(chunks.rows != ZERO_ROW, places, np.nan)
    middle = np.nanmean(middle, axis=1) if inside.any() else None
    if middle is None:
        return None
    time_ms = chunks.rows.max(axis=1) * ROW_MS  # near which clicks a chunk can be, to tell one click from the next
    near = inside & (np.abs(time_ms - ROW_MS * places[-1] / 2 - 1000 * click_s) < ROW_MS * places[-1])
    if not near.any():
        return None
    line = int(np.argmin(np.where(near & (weight > 0.5 * weight[near].max()), np.abs(centre - middle), np.inf)))
    frame = chunks.frames[line]
    lag = 1000 * click_s + ROW_MS * (middle[line] - centre[line]) - (1000 * frame / float(chunks.fps) + ROW_MS / 2)
    return frame, lag


@dataclass(frozen=True)
class SamplerAudit:
    """What the v1.5 training loader does to the samples of a clip.

    Attributes
    ----------
    n_frames, frames_per_sample : int
        Of the clip and of a sample.
    starts : int
        Frames that a sample may start with.
    wrong_audio : tuple of int
        Starts that get the audio of another half minute (K5).
    wrong_mel : tuple of int
        Starts whose sync loss gets another mel than that of the frame (K6).
    """

    n_frames: int
    frames_per_sample: int
    starts: int
    wrong_audio: tuple[int, ...]
    wrong_mel: tuple[int, ...]

    @property
    def wrong_audio_share(self) -> float:
        """Share of the starts with wrong audio, 0 … 1."""
        return len(self.wrong_audio) / max(1, self.starts)

    @property
    def wrong_mel_share(self) -> float:
        """Share of the starts with a wrong sync mel, 0 … 1."""
        return len(self.wrong_mel) / max(1, self.starts)

    def __repr__(self) -> str:
        return (
            f"of {self.starts} starts in {self.n_frames} frames, {100 * self.wrong_audio_share:.1f} % get wrong audio, "
            f"{100 * self.wrong_mel_share:.1f} % a wrong sync mel"
        )


def audit_sampler(n_frames: int, frames_per_sample: int = 16) -> SamplerAudit:
    """Replay the index arithmetic of MuseTalk 1.5's training loader over every start of a clip.

    Parameters
    ----------
    n_frames : int
        Video frames of the clip.
    frames_per_sample : int, default 16
        T, consecutive frames a sample.

    Returns
    -------
    SamplerAudit

    Raises
    ------
    ParameterError
        If there is no frame to a sample.

    Notes
    -----
    Source: ``FaceDataset.__getitem__`` in ``musetalk/data/dataset.py`` (TMElyralab/MuseTalk).
    """
    if frames_per_sample < 1:
        raise ParameterError(f"a sample has 1 frame or more; got {frames_per_sample}")
    starts = range(max(0, n_frames - frames_per_sample + 1))
    windows = [training_window(start) for start in starts]
    samples_per_frame = SAMPLE_RATE // MUSETALK_FPS
    heard = [first // samples_per_frame + shifted for first, shifted in windows]
    wrong_audio = tuple(start for start in starts if heard[start] != start)
    wrong_mel = tuple(start for start in starts if windows[start][1] != start)
    return SamplerAudit(n_frames, frames_per_sample, len(starts), wrong_audio, wrong_mel)
