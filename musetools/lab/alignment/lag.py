"""Lag measured with clicks, against the lag expected from an index matrix.

Two sounds that differ by clicks alone go through decoder, log-mel and encoder. Where the chunks of the two differ, a
click was found; its position in the chunk says how far the chunk lies in the future of its frame.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from musetools.chunks.rows import ZERO_ROW
from musetools.chunks.sequence import Chunks
from musetools.errors import ParameterError
from musetools.features.encoder import Encoder
from musetools.features.extract import audio2feat
from musetools.features.spec import FeatureSpec
from musetools.recipes.profile import profile
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.timing import ROW_MS, SAMPLE_RATE

__all__ = ["MeasuredLag", "measure_lag", "measure_lags"]

CLICK_S, CLICK_PEAK, NOISE_RMS = 0.002, 0.3, 0.003
SECONDS = 12.0


@dataclass(frozen=True)
class MeasuredLag:
    """Lag measured with clicks, frame by frame.

    Attributes
    ----------
    frames : ndarray of int, shape (n,)
        Frames whose chunk holds a click.
    lag_ms : ndarray of float, shape (n,)
        Lag of each, by where in its chunk the click was found.
    expected_ms : ndarray of float, shape (n,)
        Lag of each by the index matrix.
    """

    frames: np.ndarray
    lag_ms: np.ndarray
    expected_ms: np.ndarray

    @property
    def mean_ms(self) -> float:
        """Mean of the measured lag."""
        return float(self.lag_ms.mean())

    @property
    def error_ms(self) -> float:
        """Largest difference, over the clicks, between measured and expected lag."""
        return float(np.abs(self.lag_ms - self.expected_ms).max())


def measure_lag(
    recipe: str | Recipe, encoder: Encoder, fps: float | Fraction = 25, *, seconds: float = SECONDS
) -> MeasuredLag:
    """Send clicks through decoder, mel and encoder, and find them again in layer 0 of a recipe's chunks.

    Layer 0 is the encoder's input embedding, before attention spreads a click over all rows.

    Parameters
    ----------
    recipe : Recipe or str
        The pipeline.
    encoder : Encoder
        Any weights.
    fps : float or Fraction, default 25
        Frame rate, as it is passed to the pipeline.
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
    return _Clicks(encoder, seconds).lag_of(recipe_of(recipe), fps)


def measure_lags(
    encoder: Encoder,
    fps: float | Fraction = 25,
    recipes: Iterable[str | Recipe] = RECIPES,
    *,
    seconds: float = SECONDS,
) -> dict[str, MeasuredLag]:
    """Measure the lag of several recipes, making features once for each way in which they are made.

    Parameters
    ----------
    encoder, fps, seconds
        As for `measure_lag`.
    recipes : iterable of Recipe or str
        By default all; those that stop at this frame rate are left out.

    Returns
    -------
    dict of str to MeasuredLag
        By name of the recipe.
    """
    clicks, chosen = _Clicks(encoder, seconds), map(recipe_of, recipes)
    return {recipe.name: clicks.lag_of(recipe, fps) for recipe in chosen if not profile(recipe, fps=fps).stops}


class _Clicks:
    """Noise with clicks and without, and the features of both by the way in which they are made."""

    def __init__(self, encoder: Encoder, seconds: float):
        self.times_s = np.arange(1.013, seconds - 1, 0.737)  # at every place between two rows in turn
        noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE)).astype(np.float32) * NOISE_RMS
        clicking = noise.copy()
        for time in self.times_s:
            at = round(time * SAMPLE_RATE)
            clicking[at : at + round(CLICK_S * SAMPLE_RATE)] += CLICK_PEAK
        self.sounds, self.embedding = (clicking, noise), encoder.truncated(1)
        self._features: dict[FeatureSpec, list[np.ndarray]] = {}

    def features(self, spec: FeatureSpec) -> list[np.ndarray]:
        if spec not in self._features:
            sounds = ((sound, SAMPLE_RATE) for sound in self.sounds)
            self._features[spec] = [audio2feat(sound, self.embedding, spec=spec) for sound in sounds]
        return self._features[spec]

    def lag_of(self, recipe: Recipe, fps: float | Fraction) -> MeasuredLag:
        recipe.chunk_rows(n_samples := len(self.sounds[0]), fps)  # stops, if it does, before anything is encoded
        both = self.features(replace(recipe.features, final_norm=False))
        clicking, plain = (recipe.chunks(features, n_samples, fps) for features in both)
        change = np.square(clicking.batch() - plain.batch()).sum(axis=-1)
        found = [_found(time + CLICK_S / 2, clicking, change) for time in self.times_s]
        found = np.array([one for one in found if one is not None])
        if len(found) == 0:
            raise ParameterError(f"no click found again in the chunks of {recipe.name}: are these Whisper's weights?")
        frames = found[:, 0].astype(int)
        return MeasuredLag(frames, found[:, 1], clicking.lag_ms()[frames - clicking.frames.start])


def _found(click_s: float, chunks: Chunks, change: np.ndarray) -> tuple[int, float] | None:
    """Find a click in the chunk that it lies most in the middle of; return the frame and its lag in ms."""
    inside, places = ~np.isnan(chunks.lag_ms()), np.arange(chunks.rows.shape[1])
    if not inside.any():
        return None
    weight = change.sum(axis=1)
    centre = (change * places).sum(axis=1) / np.maximum(weight, 1e-12)
    middle = np.nanmean(np.where(chunks.rows != ZERO_ROW, places, np.nan), axis=1)
    time_ms = chunks.rows.max(axis=1) * ROW_MS  # which chunks can hold this click, not the one before or after it
    near = inside & (np.abs(time_ms - ROW_MS * places[-1] / 2 - 1000 * click_s) < ROW_MS * places[-1])
    if not near.any():
        return None
    index = int(np.argmin(np.where(near & (weight > 0.5 * weight[near].max()), np.abs(centre - middle), np.inf)))
    frame = chunks.frames[index]
    lag = 1000 * click_s + ROW_MS * (middle[index] - centre[index]) - (1000 * frame / float(chunks.fps) + ROW_MS / 2)
    return frame, lag
