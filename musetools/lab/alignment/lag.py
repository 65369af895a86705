"""Lag measured with clicks, against the one that is read off an index matrix."""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from musetools.chunks.rows import ZERO_ROW
from musetools.errors import ParameterError
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.recipes.recipe import Recipe, recipe_of
from musetools.timing import ROW_MS, SAMPLE_RATE

__all__ = ["MeasuredLag", "measure_lag"]

CLICK_S, CLICK_PEAK, NOISE_RMS = 0.002, 0.3, 0.003


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
