"""Lag measured with clicks, against the lag expected from an index matrix.

Two waveforms that differ by clicks alone go through decoder, log-mel and encoder. Where the chunks of the two differ, a
click was found; its position in the chunk shows how far the chunk lies in the future of its frame.
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
from musetools.recipes.profile import profile
from musetools.recipes.recipe import RECIPES, Recipe, recipe_of
from musetools.timing import ROW_MS, SAMPLE_RATE

__all__ = ["MeasuredLag", "measure_lags"]

CLICK_S, CLICK_PEAK, NOISE_RMS = 0.002, 0.3, 0.003


@dataclass(frozen=True)
class MeasuredLag:
    """Lag of the frames whose chunk holds a click, each ``(n,)``."""

    frames: np.ndarray
    lag_ms: np.ndarray  # by where in its chunk the click was found
    expected_ms: np.ndarray  # by the index matrix

    @property
    def mean_ms(self) -> float:
        """Mean of the measured lag."""
        return float(self.lag_ms.mean())

    @property
    def error_ms(self) -> float:
        """Largest difference, over the clicks, between measured and expected lag."""
        return float(np.abs(self.lag_ms - self.expected_ms).max())


def measure_lags(
    encoder: Encoder,
    fps: float | Fraction = 25,
    recipes: Iterable[str | Recipe] = RECIPES,
    *,
    seconds: float = 12.0,
) -> dict[str, MeasuredLag]:
    """Send clicks through decoder, log-mel and encoder, and find them again in layer 0 of each recipe's chunks.

    Layer 0 is the encoder's input embedding, before attention spreads a click over all rows: any weights will do.
    Recipes that stop at the frame rate are left out; ParameterError if no click was found in the interior of a
    recipe's chunks. The measurements are by name of the recipe.
    """
    click_s, waveforms = _waveforms(seconds)
    embedding, n_samples, made, measured = encoder.truncated(1), len(waveforms[0]), {}, {}
    for recipe in map(recipe_of, recipes):
        if profile(recipe, n_samples, fps).stops:
            continue
        spec = replace(recipe.features, final_norm=False)
        if spec not in made:
            made[spec] = [audio2feat((waveform, SAMPLE_RATE), embedding, spec=spec) for waveform in waveforms]
        clicking, plain = (recipe.chunks(features, n_samples, fps) for features in made[spec])
        measured[recipe.name] = _lag_of(recipe.name, clicking, plain, click_s)
    return measured


def _waveforms(seconds: float) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the middle of each click in s, and noise with clicks and without."""
    starts = np.arange(1.013, seconds - 1, 0.737)  # at every place between two rows in turn
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE)).astype(np.float32) * NOISE_RMS
    clicking = noise.copy()
    for start in starts:
        first = round(start * SAMPLE_RATE)
        clicking[first : first + round(CLICK_S * SAMPLE_RATE)] += CLICK_PEAK
    return starts + CLICK_S / 2, (clicking, noise)


def _lag_of(name: str, clicking: Chunks, plain: Chunks, click_s: np.ndarray) -> MeasuredLag:
    """Find each click in the chunk that has it nearest to its middle."""
    expected, places, real = clicking.lag_ms(), np.arange(clicking.rows.shape[1]), clicking.rows != ZERO_ROW
    change = np.square(clicking.batch() - plain.batch()).sum(axis=-1)
    weight = change.sum(axis=1)
    centre = (change * places).sum(axis=1) / np.maximum(weight, 1e-12)
    middle = (real * places).sum(axis=1) / np.maximum(real.sum(axis=1), 1)
    span_ms = ROW_MS * places[-1]
    middle_ms = ROW_MS * clicking.rows.max(axis=1) - span_ms / 2
    found = []
    for click_ms in 1000 * click_s:
        # chunks that can hold this click, not the one before or after it
        near = ~np.isnan(expected) & (np.abs(middle_ms - click_ms) < span_ms)
        if near.any():
            sure = near & (weight > 0.5 * weight[near].max())
            index = int(np.argmin(np.where(sure, np.abs(centre - middle), np.inf)))
            start_ms = 1000 * clicking.frames[index] / float(clicking.fps)
            found.append((index, click_ms + ROW_MS * (middle[index] - centre[index]) - (start_ms + ROW_MS / 2)))
    if not found:
        raise ParameterError(f"no click found again in the chunks of {name}: are these Whisper's weights?")
    indices, lag_ms = map(np.array, zip(*found, strict=True))
    return MeasuredLag(np.array(clicking.frames)[indices], lag_ms, expected[indices])
